//! What the Via of a request learns about its sender: RFC 3261 §18.2.1, RFC 3581 §4.

use shared::sip::Via;
use shared::sip::build::ViaFix;
use std::io::Write;
use std::net::IpAddr;
use std::net::SocketAddr;

/// The text of an address, made without allocating; an IPv6 address without brackets, as `received` has it.
#[derive(Debug, Clone, Copy)]
pub struct AddressText {
    bytes: [u8; 46],
    len: u8,
}

impl AddressText {
    /// Writes an address.
    pub fn new(address: IpAddr) -> Self {
        let mut bytes = [0; 46];
        let mut rest = &mut bytes[..];
        let written = match address {
            // By hand: formatting costs ten times as much, and this runs for each message.
            IpAddr::V4(address) => write_v4(address.octets(), &mut rest),
            IpAddr::V6(address) => write!(rest, "{address}"),
        };
        debug_assert!(written.is_ok());
        let len = 46 - rest.len();
        Self {
            bytes,
            len: u8::try_from(len).unwrap_or(0),
        }
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

fn write_v4(octets: [u8; 4], mut out: impl Write) -> std::io::Result<()> {
    let mut text = [b'.'; 16];
    let mut len = 0;
    let mut push = |byte: u8| {
        if let Some(place) = text.get_mut(len) {
            *place = byte;
            len += 1;
        }
    };
    for (number, octet) in octets.into_iter().enumerate() {
        if number > 0 {
            push(b'.');
        }
        if octet >= 100 {
            push(b'0' + octet / 100);
        }
        if octet >= 10 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
    }
    out.write_all(text.get(..len).unwrap_or_default())
}

/// What the top Via of a request from `peer` learns: `received` when its host is another or `rport` stands there, and
/// the source port when `rport` asks for it or is forced. `text` is the peer's address.
pub fn via_fix<'a>(via: &Via<'_>, peer: SocketAddr, force_rport: bool, text: &'a AddressText) -> ViaFix<'a> {
    let asked = force_rport || via.rport().is_some();
    let bare = via
        .host
        .strip_prefix(b"[")
        .and_then(|host| host.strip_suffix(b"]"))
        .unwrap_or(via.host);
    // The text of the common case is compared first; an IPv6 address has many.
    let same = bare == text.as_bytes()
        || std::str::from_utf8(bare)
            .ok()
            .and_then(|host| host.parse::<IpAddr>().ok())
            == Some(peer.ip());
    // Kamailio: a forced rport alone does not bring received; one that was asked for does (RFC 3581 §4).
    let received = !same || via.rport().is_some() || via.received().is_some();
    ViaFix {
        received: received.then(|| text.as_bytes()),
        rport: asked.then(|| peer.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_learns_what_it_may_not_know() {
        let rows = [
            ("SIP/2.0/UDP 10.0.0.9:5060", false, (None, None)),
            ("SIP/2.0/UDP 10.0.0.1:5060", false, (Some("10.0.0.9"), None)),
            ("SIP/2.0/UDP a.example", false, (Some("10.0.0.9"), None)),
            (
                "SIP/2.0/UDP 10.0.0.9;rport",
                false,
                (Some("10.0.0.9"), Some(4000)),
            ),
            ("SIP/2.0/UDP 10.0.0.9", true, (None, Some(4000))),
            (
                "SIP/2.0/UDP 10.0.0.9;received=1.2.3.4",
                false,
                (Some("10.0.0.9"), None),
            ),
        ];
        let peer = SocketAddr::from(([10, 0, 0, 9], 4000));
        let text = AddressText::new(peer.ip());
        for (via, force, (received, rport)) in rows {
            let fix = via_fix(&Via::parse(via.as_bytes()).unwrap(), peer, force, &text);
            assert_eq!(
                (fix.received, fix.rport),
                (received.map(str::as_bytes), rport),
                "{via} {force}"
            );
        }
        let peer: SocketAddr = "[2001:db8::1]:4000".parse().unwrap();
        let text = AddressText::new(peer.ip());
        assert_eq!(text.as_bytes(), b"2001:db8::1");
        let via = Via::parse(b"SIP/2.0/UDP [2001:0db8:0:0::1]:5060").unwrap();
        assert_eq!(via_fix(&via, peer, false, &text).received, None);
        let longest = AddressText::new("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".parse().unwrap());
        assert_eq!(longest.as_bytes(), b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    }
}
