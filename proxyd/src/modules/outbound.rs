//! `loadmodule "outbound"`: flow tokens of an edge proxy (RFC 5626 §5, Kamailio outbound module).
//!
//! The user part of our Path and Record-Route names the flow that a request came by; `path` and `rr` ask for it.

use crate::proxy::context::Source;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::State;
use crate::script::transform::coding::BASE64_URL;
use crate::script::transform::coding::Padding;
use crate::script::transform::coding::of_base64;
use crate::script::transform::coding::to_base64;
use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use sha2::Sha256;
use shared::net::Transport;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::Method;
use shared::sip::Uri;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::Int(
            "force_outbound_flag",
            -1,
            "Flag of messages that get a flow token whatever they say; -1 none.",
        ),
        Param::Int(
            "force_no_outbound_flag",
            -1,
            "Flag of messages that get no flow token; -1 none.",
        ),
        Param::Text(
            "flow_token_secret",
            "",
            "What the key of flow tokens is made of; empty: a new key at each start.",
        ),
    ],
    functions: &[Function::anywhere(
        &["check_flow_token"],
        &[],
        "1 when the topmost Route leads to a flow that is there, else -1 no Route, -2 not ours, -3 no flow token, \
         -4 a forged one, -5 no such connection, -7 a Route that cannot be read.",
        check_flow_token,
    )],
    init: Some(init),
    ..ModuleDef::new("outbound", "Flow tokens of an edge proxy (RFC 5626).")
};

/// Bytes of the message authentication code in a token; with them it fills its digits to the last bit.
const MAC: usize = 11;

/// The module's state.
pub(crate) struct Outbound {
    key: Hmac<Sha256>,
    force: u32,
    force_no: u32,
}

/// The two ends of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) transport: Transport,
    /// Our end.
    pub(crate) local: SocketAddr,
    /// The client's end.
    pub(crate) peer: SocketAddr,
}

/// A token that we did not make.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Forged;

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let secret = init.text("flow_token_secret");
    let key = match (secret.is_empty(), init.previous::<Outbound>()) {
        (true, Some(previous)) => previous.key.clone(),
        (true, None) => key_of(&crate::ids::token())?,
        (false, _) => key_of(secret.as_bytes())?,
    };
    let flag = |name| crate::modules::usrloc::bit(init.int(name));
    Ok(Arc::new(Outbound {
        key,
        force: flag("force_outbound_flag"),
        force_no: flag("force_no_outbound_flag"),
    }))
}

fn key_of(secret: &[u8]) -> Result<Hmac<Sha256>, InitError> {
    let refused = |_| InitError::Param {
        name: "flow_token_secret",
        why: "makes no key".into(),
    };
    Hmac::new_from_slice(secret).map_err(refused)
}

impl Outbound {
    /// Whether a request gets a flow token.
    pub(crate) fn is_wanted(&self, env: &Env<'_>) -> bool {
        let (msg, flags) = (&env.ctx.msg, env.ctx.flags);
        if flags & self.force_no != 0 {
            return false;
        }
        if flags & self.force != 0 {
            return true;
        }
        let mut contacts = msg.contacts().filter_map(Result::ok);
        if msg.method() == Method::Register {
            return is_first_hop(msg) && contacts.any(|contact| contact.param(b"reg-id").is_some());
        }
        let has_ob = |uri: &Uri<'_>| uri.param(b"ob").is_some();
        let came_by_flow = top_route(msg).is_some_and(|uri| has_ob(&uri) && env.is_own_route(&uri));
        came_by_flow
            || is_first_hop(msg)
                && names_outbound(msg)
                && contacts.any(|contact| Uri::parse(contact.uri()).is_ok_and(|uri| has_ob(&uri)))
    }

    /// The token of the flow that a message came by.
    pub(crate) fn token(&self, source: &Source) -> Vec<u8> {
        let mut said = Vec::with_capacity(38);
        said.push(number(source.transport));
        for end in [source.local, source.peer] {
            match end.ip() {
                IpAddr::V4(ip) => said.extend_from_slice(&ip.octets()),
                IpAddr::V6(ip) => said.extend_from_slice(&ip.octets()),
            }
            said.extend_from_slice(&end.port().to_be_bytes());
        }
        let mut token = self.mac(&said);
        token.extend_from_slice(&said);
        to_base64(&token, BASE64_URL, Padding::Optional)
    }

    /// The flow of a user part; none when it is no token.
    pub(crate) fn flow(&self, user: &[u8]) -> Result<Option<Flow>, Forged> {
        let Some(bytes) = of_base64(user, BASE64_URL, Padding::Optional) else {
            return Ok(None);
        };
        let Some((mac, said)) = bytes.split_at_checked(MAC) else {
            return Ok(None);
        };
        let Some(flow) = read(said) else { return Ok(None) };
        let mut check = self.key.clone();
        check.update(said);
        check.verify_truncated_left(mac).map_err(|_| Forged)?;
        Ok(Some(flow))
    }

    fn mac(&self, said: &[u8]) -> Vec<u8> {
        let mut mac = self.key.clone();
        mac.update(said);
        let whole = mac.finalize().into_bytes();
        whole.iter().copied().take(MAC).collect()
    }
}

/// Whether the client itself sent it.
pub(crate) fn is_first_hop(msg: &Message) -> bool {
    msg.vias().nth(1).is_none()
}

fn names_outbound(msg: &Message) -> bool {
    msg.all(HeaderName::Supported).any(|header| {
        let mut tags = msg.value(header).split(|byte| *byte == b',');
        tags.any(|tag| tag.trim_ascii().eq_ignore_ascii_case(b"outbound"))
    })
}

fn top_route(msg: &Message) -> Option<Uri<'_>> {
    let addr = msg.routes().next()?.name_addr().ok()?;
    Uri::parse(addr.uri).ok()
}

const TRANSPORTS: [Transport; 6] = [
    Transport::Udp,
    Transport::Tcp,
    Transport::Tls,
    Transport::Sctp,
    Transport::Ws,
    Transport::Wss,
];

fn number(transport: Transport) -> u8 {
    (0..)
        .zip(TRANSPORTS)
        .find(|(_, known)| *known == transport)
        .map_or(0, |(n, _)| n)
}

fn read(said: &[u8]) -> Option<Flow> {
    let (transport, ends) = said.split_first()?;
    let transport = *TRANSPORTS.get(usize::from(*transport))?;
    let end = |bytes: &[u8]| {
        let (ip, port) = bytes.split_at_checked(bytes.len().checked_sub(2)?)?;
        let port = u16::from_be_bytes(port.try_into().ok()?);
        let ip = match ip.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
        };
        Some(SocketAddr::new(ip, port))
    };
    let (local, peer) = ends.split_at_checked(ends.len() / 2)?;
    Some(Flow {
        transport,
        local: end(local)?,
        peer: end(peer)?,
    })
}

fn check_flow_token(call: &mut Call<'_, '_>) -> Code {
    let Some(outbound) = call.state::<Outbound>() else {
        return Code::FALSE;
    };
    let env = &*call.env;
    if env.ctx.msg.routes().next().is_none() {
        return Code(-1);
    }
    let Some(uri) = top_route(&env.ctx.msg) else {
        return Code(-7);
    };
    if !env.is_own_route(&uri) {
        return Code(-2);
    }
    match outbound.flow(uri.user.unwrap_or_default()) {
        Ok(None) => Code(-3),
        Err(Forged) => Code(-4),
        Ok(Some(flow)) if flow.transport != Transport::Udp => {
            if env.host.is_connected(flow.transport, flow.peer) {
                Code::TRUE
            } else {
                Code(-5)
            }
        }
        Ok(Some(_)) => Code::TRUE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::path;
    use crate::modules::rr;
    use crate::script::testing::Bench;

    const REGISTER: &str = "REGISTER sip:test.lan SIP/2.0\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK1\n\
        From: <sip:al@test.lan>;tag=1\nTo: <sip:al@test.lan>\nCall-ID: c\nCSeq: 1 REGISTER\n\
        Contact: <sip:al@10.0.0.9>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"\n\n";

    fn bench() -> Bench {
        Bench::new(&[
            (&MODULE, &[("flow_token_secret", "s")]),
            (&path::MODULE, &[]),
            (&rr::MODULE, &[]),
        ])
    }

    fn token(bench: &Bench) -> String {
        let outbound = bench.script.states.get::<Outbound>().expect("the state");
        String::from_utf8(outbound.token(&bench.ctx.source)).expect("text")
    }

    #[test]
    fn tokens_come_back_and_others_do_not() {
        let outbound = Outbound {
            key: key_of(b"secret").expect("a key"),
            force: 0,
            force_no: 0,
        };
        let ends = [
            ("192.0.2.1:5060", "198.51.100.7:40000"),
            ("[2001:db8::1]:5060", "[2001:db8::2]:7"),
        ];
        for (local, peer) in ends {
            for transport in TRANSPORTS {
                let source = Source {
                    local: local.parse().expect("an address"),
                    peer: peer.parse().expect("an address"),
                    transport,
                    ..Source::default()
                };
                let token = outbound.token(&source);
                let flow = outbound.flow(&token).expect("ours").expect("a token");
                assert_eq!(
                    (flow.transport, flow.local, flow.peer),
                    (transport, source.local, source.peer)
                );
                for at in 0..token.len() {
                    let mut other = token.clone();
                    other[at] = if other[at] == b'A' { b'B' } else { b'A' };
                    assert!(!matches!(outbound.flow(&other), Ok(Some(_))), "byte {at}");
                }
            }
        }
        for user in [&b""[..], b"alice", b"+4312345"] {
            assert_eq!(outbound.flow(user), Ok(None));
        }
    }

    #[test]
    fn a_path_names_the_flow() {
        let mut bench = bench();
        bench.receive(REGISTER);
        let token = token(&bench);
        assert_eq!(bench.call("add_path", &[]), 1);
        let out = String::from_utf8(bench.ctx.lumps.apply(&bench.ctx.msg)).expect("text");
        assert!(
            out.contains(&format!("Path: <sip:{token}@127.0.0.1;lr;ob>\r\n")),
            "{out}"
        );
        bench.receive(&REGISTER.replace(";reg-id=1", ""));
        bench.call("add_path", &[]);
        let out = String::from_utf8(bench.ctx.lumps.apply(&bench.ctx.msg)).expect("text");
        assert!(out.contains("Path: <sip:127.0.0.1;lr>\r\n"), "{out}");
    }

    #[test]
    fn a_route_leads_along_its_flow() {
        let mut bench = bench();
        bench.receive(REGISTER);
        let token = token(&bench);
        let invite = |user: &str| {
            format!(
                "INVITE sip:al@10.0.0.9 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK2\nRoute: <sip:{user}@127.0.0.1;lr;ob>\n\
                 From: <sip:bo@test.lan>;tag=1\nTo: <sip:al@test.lan>\nCall-ID: c\nCSeq: 1 INVITE\n\n"
            )
        };
        bench.receive(&invite(&token));
        bench.ctx.source.peer = SocketAddr::from(([192, 0, 2, 9], 5060));
        assert_eq!(bench.call("check_flow_token", &[]), 1);
        assert_eq!(bench.call("loose_route", &[]), 2);
        assert_eq!(bench.ctx.dst_uri.as_deref(), Some(&b"sip:127.0.0.1:5070"[..]));
        assert_eq!(bench.ctx.send_socket, Some(0));
        assert_eq!(bench.call("record_route", &[]), 1);
        let recorded = bench.ctx.record_route.clone().expect("a Record-Route");
        assert_ne!(recorded.user, token.as_bytes(), "that of the other flow");
        assert!(!recorded.user.is_empty());
        let forged = token.replace(&token[..1], if token.starts_with('A') { "B" } else { "A" });
        bench.receive(&invite(&forged));
        assert_eq!(bench.call("check_flow_token", &[]), -4);
        assert_eq!(bench.call("loose_route", &[]), -2);
        bench.receive(&invite("al"));
        assert_eq!(bench.call("check_flow_token", &[]), -3);
        assert_eq!(bench.call("loose_route", &[]), -3);
    }
}
