//! nat_uac_test(): signs that a client is behind NAT (Kamailio nathelper module).

use super::Nathelper;
use super::contact::rewritten;
use super::sdp;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use shared::net::Transport;
use shared::sip::Uri;
use std::net::IpAddr;
use std::net::Ipv4Addr;

const CONTACT_PRIVATE: i64 = 1;
const VIA_DIFFERS: i64 = 2;
const VIA_PRIVATE: i64 = 4;
const SDP_PRIVATE: i64 = 8;
const PORT_DIFFERS: i64 = 16;
const SOURCE_PRIVATE: i64 = 32;
const WEBSOCKET: i64 = 64;
const CONTACT_PORT_DIFFERS: i64 = 128;
const SDP_DIFFERS: i64 = 256;
const TARGET_DIFFERS: i64 = 512;

pub(super) fn nat_uac_test(call: &mut Call<'_, '_>) -> Code {
    let reserved = call
        .state::<Nathelper>()
        .is_none_or(|nathelper| nathelper.reserved);
    let flags = call.int(0);
    Code::from(test(call.env, flags, reserved))
}

pub(super) fn is_rfc1918(call: &mut Call<'_, '_>) -> Code {
    let reserved = call
        .state::<Nathelper>()
        .is_none_or(|nathelper| nathelper.reserved);
    Code::from(address(&call.text(0)).is_some_and(|ip| is_private(ip, reserved)))
}

fn test(env: &Env<'_>, flags: i64, reserved: bool) -> bool {
    let wants = |flag| flags & flag != 0;
    let (msg, source) = (&env.ctx.msg, &env.ctx.source);
    let private = |ip: Option<IpAddr>| ip.is_some_and(|ip| is_private(ip, reserved));
    if wants(VIA_DIFFERS | VIA_PRIVATE | PORT_DIFFERS)
        && let Some(via) = msg.top_via()
    {
        let host = address(via.host);
        // Kamailio: a name differs from every address.
        if wants(VIA_DIFFERS) && host != Some(source.peer.ip())
            || wants(VIA_PRIVATE) && private(host)
            || wants(PORT_DIFFERS) && via.port.unwrap_or(5060) != source.peer.port()
        {
            return true;
        }
    }
    if wants(CONTACT_PRIVATE | CONTACT_PORT_DIFFERS)
        && let rewritten = rewritten(env.ctx)
        && let Some(Ok(contact)) = rewritten.as_ref().unwrap_or(msg).contacts().next()
        && let Ok(uri) = contact.parsed_uri()
        && (wants(CONTACT_PRIVATE) && private(address(uri.host))
            || wants(CONTACT_PORT_DIFFERS) && uri.port_or_default() != source.peer.port())
    {
        return true;
    }
    if wants(SDP_PRIVATE | SDP_DIFFERS) {
        for ip in sdp::connections(msg.body()) {
            if wants(SDP_PRIVATE) && is_private(ip, reserved) || wants(SDP_DIFFERS) && ip != source.peer.ip()
            {
                return true;
            }
        }
    }
    wants(SOURCE_PRIVATE) && is_private(source.peer.ip(), reserved)
        || wants(WEBSOCKET) && matches!(source.transport, Transport::Ws | Transport::Wss)
        || wants(TARGET_DIFFERS) && target_differs(env)
}

/// Whether what is sent goes elsewhere than its own address says.
fn target_differs(env: &Env<'_>) -> bool {
    let msg = &env.ctx.msg;
    if msg.is_reply() {
        let Some(via) = msg.vias().nth(1).and_then(|value| value.via().ok()) else {
            return false;
        };
        let received = via
            .received()
            .is_some_and(|received| !received.eq_ignore_ascii_case(via.host));
        let rport = via
            .rport()
            .flatten()
            .is_some_and(|rport| rport != via.port.unwrap_or(5060));
        return received
            || rport
            || via.transport.len() >= 2 && via.transport.to_ascii_uppercase().starts_with(b"WS");
    }
    let (Some(next), Ok(uri)) = (&env.ctx.dst_uri, Uri::parse(env.ctx.uri())) else {
        return false;
    };
    let Ok(next) = Uri::parse(next) else { return false };
    let websocket = next
        .param(b"transport")
        .flatten()
        .is_some_and(|t| t.to_ascii_lowercase().starts_with(b"ws"));
    websocket || !next.host.eq_ignore_ascii_case(uri.host) || next.port_or_default() != uri.port_or_default()
}

fn address(text: &[u8]) -> Option<IpAddr> {
    let bare = text
        .strip_prefix(b"[")
        .and_then(|text| text.strip_suffix(b"]"))
        .unwrap_or(text);
    std::str::from_utf8(bare).ok()?.parse().ok()
}

/// Whether an address is private (RFC 1918, RFC 6598, RFC 7335; with `reserved` all of 192.0.0.0/24).
fn is_private(ip: IpAddr, reserved: bool) -> bool {
    let IpAddr::V4(ip) = ip else { return false };
    let within = |net: Ipv4Addr, bits: u32| (ip.to_bits() ^ net.to_bits()) >> (32 - bits) == 0;
    ip.is_private()
        || within(Ipv4Addr::new(100, 64, 0, 0), 10)
        || within(Ipv4Addr::new(192, 0, 0, 0), if reserved { 24 } else { 29 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses() {
        for (ip, plain, reserved) in [
            ("10.1.2.3", true, true),
            ("172.16.0.1", true, true),
            ("172.32.0.1", false, false),
            ("192.168.255.1", true, true),
            ("100.64.1.1", true, true),
            ("100.128.0.1", false, false),
            ("192.0.0.7", true, true),
            ("192.0.0.9", false, true),
            ("1.1.1.1", false, false),
            ("::1", false, false),
        ] {
            let address = address(ip.as_bytes()).unwrap();
            assert_eq!(
                (is_private(address, false), is_private(address, true)),
                (plain, reserved),
                "{ip}"
            );
        }
        assert_eq!(address(b"host"), None);
    }
}
