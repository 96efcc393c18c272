//! Encapsulation for capture servers: HEP 1 and 2, and HEP 3 (the "HEP/EEP" specification of the Homer project).

use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

const UDP: u8 = 17;
const TCP: u8 = 6;
const SCTP: u8 = 132;
/// `AF_INET` and `AF_INET6`, as the specification has them.
const INET: u8 = 2;
const INET6: u8 = 10;

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    Sip = 1,
    Log = 100,
}

/// How packets are made.
#[derive(Debug, Clone)]
pub(super) struct Hep {
    /// 1, 2 or 3.
    pub(super) version: u8,
    /// Names this agent to the server.
    pub(super) capture_id: u32,
    /// A word that the server may want, in version 3.
    pub(super) auth_key: Vec<u8>,
}

/// What is told of a payload.
pub(super) struct Head<'a> {
    pub(super) at: Duration,
    pub(super) transport: shared::net::Transport,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) kind: Payload,
    pub(super) correlation: Option<&'a [u8]>,
}

impl Hep {
    /// The packet; none when the addresses are of two families, or it would be longer than a packet can say.
    pub(super) fn packet(&self, head: &Head<'_>, payload: &[u8]) -> Option<Vec<u8>> {
        if head.source.is_ipv4() != head.destination.is_ipv4() {
            return None;
        }
        match self.version {
            3 => self.version_3(head, payload),
            version => Some(self.version_1(version, head, payload)),
        }
    }

    fn version_3(&self, head: &Head<'_>, payload: &[u8]) -> Option<Vec<u8>> {
        let mut out = b"HEP3\0\0".to_vec();
        let (source, destination) = (head.source, head.destination);
        chunk(&mut out, 1, &[family(source)])?;
        chunk(&mut out, 2, &[protocol(head.transport)])?;
        for (v4, v6, address) in [(3, 5, source.ip()), (4, 6, destination.ip())] {
            match address {
                IpAddr::V4(address) => chunk(&mut out, v4, &address.octets())?,
                IpAddr::V6(address) => chunk(&mut out, v6, &address.octets())?,
            }
        }
        chunk(&mut out, 7, &source.port().to_be_bytes())?;
        chunk(&mut out, 8, &destination.port().to_be_bytes())?;
        chunk(&mut out, 9, &seconds(head.at).to_be_bytes())?;
        chunk(&mut out, 10, &head.at.subsec_micros().to_be_bytes())?;
        chunk(&mut out, 11, &[head.kind as u8])?;
        chunk(&mut out, 12, &self.capture_id.to_be_bytes())?;
        if let Some(id) = head.correlation.filter(|id| !id.is_empty()) {
            chunk(&mut out, 17, id)?;
        }
        if !self.auth_key.is_empty() {
            chunk(&mut out, 14, &self.auth_key)?;
        }
        chunk(&mut out, 15, payload)?;
        let length = u16::try_from(out.len()).ok()?.to_be_bytes();
        out.get_mut(4..6)?.copy_from_slice(&length);
        Some(out)
    }

    fn version_1(&self, version: u8, head: &Head<'_>, payload: &[u8]) -> Vec<u8> {
        let length = if head.source.is_ipv4() { 16 } else { 40 };
        let mut out = vec![version, length, family(head.source), protocol(head.transport)];
        out.extend_from_slice(&head.source.port().to_be_bytes());
        out.extend_from_slice(&head.destination.port().to_be_bytes());
        for address in [head.source.ip(), head.destination.ip()] {
            match address {
                IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
            }
        }
        if version == 2 {
            // Kamailio: the host's byte order, and a tail that fills the structure
            out.extend_from_slice(&seconds(head.at).to_le_bytes());
            out.extend_from_slice(&head.at.subsec_micros().to_le_bytes());
            let id = u16::try_from(self.capture_id).unwrap_or(u16::MAX);
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(&[0, 0]);
        }
        out.extend_from_slice(payload);
        out
    }
}

/// Appends a chunk of no vendor; none when it is too long.
fn chunk(out: &mut Vec<u8>, kind: u16, value: &[u8]) -> Option<()> {
    let length = u16::try_from(value.len() + 6).ok()?;
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Some(())
}

fn family(address: SocketAddr) -> u8 {
    if address.is_ipv4() { INET } else { INET6 }
}

fn protocol(transport: shared::net::Transport) -> u8 {
    use shared::net::Transport;
    match transport {
        Transport::Udp => UDP,
        Transport::Sctp => SCTP,
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => TCP,
    }
}

fn seconds(at: Duration) -> u32 {
    u32::try_from(at.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::net::Transport;

    fn head(kind: Payload, correlation: Option<&[u8]>) -> Head<'_> {
        Head {
            at: Duration::new(1_795_436_437, 75_403_000),
            transport: Transport::Udp,
            source: SocketAddr::from(([127, 77, 1, 1], 25092)),
            destination: SocketAddr::from(([127, 77, 1, 4], 25060)),
            kind,
            correlation,
        }
    }

    fn hep(version: u8) -> Hep {
        Hep {
            version,
            capture_id: 234,
            auth_key: b"mykey".to_vec(),
        }
    }

    #[test]
    fn version_3_is_what_kamailio_sends() {
        let packet = hep(3)
            .packet(&head(Payload::Log, Some(b"c1")), b"a log c1")
            .unwrap();
        let mut expected = b"HEP3\x00~\x00\x00\x00\x01\x00\x07\x02\x00\x00\x00\x02\x00\x07\x11\x00\x00\x00\x03\x00\n\x7fM\x01\x01\
            \x00\x00\x00\x04\x00\n\x7fM\x01\x04\x00\x00\x00\x07\x00\x08b\x04\x00\x00\x00\x08\x00\x08a\xe4\x00\x00\x00\t\x00\nk\x04/\x95\
            \x00\x00\x00\n\x00\n\x00\x01&\x8b\x00\x00\x00\x0b\x00\x07d\x00\x00\x00\x0c\x00\n\x00\x00\x00\xea"
            .to_vec();
        expected.extend_from_slice(
            b"\x00\x00\x00\x11\x00\x08c1\x00\x00\x00\x0e\x00\x0bmykey\x00\x00\x00\x0f\x00\x0ea log c1",
        );
        assert_eq!(packet, expected);
    }

    #[test]
    fn versions_1_and_2_are_short() {
        let packet = hep(1).packet(&head(Payload::Sip, None), b"INVITE").unwrap();
        assert_eq!(
            packet,
            b"\x01\x10\x02\x11b\x04a\xe4\x7fM\x01\x01\x7fM\x01\x04INVITE"
        );
        let packet = hep(2).packet(&head(Payload::Sip, None), b"INVITE").unwrap();
        assert_eq!(
            packet,
            b"\x02\x10\x02\x11b\x04a\xe4\x7fM\x01\x01\x7fM\x01\x04\x95/\x04k\x8b&\x01\x00\xea\x00\x00\x00INVITE"
        );
    }

    #[test]
    fn what_cannot_be_told_is_not() {
        assert!(
            hep(3)
                .packet(&head(Payload::Sip, None), &vec![0; 65_530])
                .is_none()
        );
        let two = Head {
            source: "[::1]:5060".parse().unwrap(),
            ..head(Payload::Sip, None)
        };
        assert!(hep(3).packet(&two, b"").is_none());
        let both = Head {
            destination: two.source,
            ..two
        };
        assert_eq!(hep(1).packet(&both, b"").unwrap().len(), 40);
    }
}
