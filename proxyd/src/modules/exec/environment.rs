//! The message as environment variables (Kamailio module exec: SIP_HF_…, SIP_TID, SIP_RURI).

use crate::proxy::context::Context;
use shared::digest::Algorithm;
use shared::sip::HeaderName;
use shared::sip::Uri;

/// Name and value of each.
pub(super) fn of(ctx: &Context) -> Vec<(Vec<u8>, Vec<u8>)> {
    let msg = &ctx.msg;
    let mut variables: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for header in msg.headers() {
        let name = match header.name {
            HeaderName::Other => variable(msg.name(header)),
            // Kamailio: without the stroke
            HeaderName::CallId => b"SIP_HF_CALLID".to_vec(),
            known => variable(known.as_str().as_bytes()),
        };
        let value = msg.value(header);
        match variables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => {
                values.push(b',');
                values.extend_from_slice(value);
            }
            None => variables.push((name, value.to_vec())),
        }
    }
    let mut add = |name: &str, value: &[u8]| variables.push((name.into(), value.to_vec()));
    let via = msg.top_via().and_then(|via| via.branch()).unwrap_or_default();
    let id = [msg.call_id(), msg.from_tag(), via];
    add("SIP_TID", shared::digest::hash(Algorithm::Md5, &id).as_bytes());
    add("SIP_DID", msg.to_tag());
    add("SIP_SRCIP", ctx.source.peer.ip().to_string().as_bytes());
    // Kamailio: the name of what arrived lacks a letter
    add("SIP_ORUI", msg.request_uri());
    add("SIP_RURI", ctx.uri());
    for (name, uri) in [("SIP_OUSER", msg.request_uri()), ("SIP_USER", ctx.uri())] {
        if let Some(user) = Uri::parse(uri).ok().and_then(|uri| uri.user) {
            add(name, user);
        }
    }
    // an environment is text that ends at a zero byte
    variables.retain(|(name, value)| !name.contains(&0) && !value.contains(&0));
    variables
}

/// `SIP_HF_MAX_FORWARDS` of `Max-Forwards`.
fn variable(header: &[u8]) -> Vec<u8> {
    let letters = header.iter().map(|byte| match byte {
        byte if byte.is_ascii_alphanumeric() => byte.to_ascii_uppercase(),
        _ => b'_',
    });
    b"SIP_HF_".iter().copied().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::sip::Message;

    #[test]
    fn headers_and_addresses() {
        let text = b"OPTIONS sip:bob@test.lan SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=f\r\n\
To: <sip:bob@test.lan>;tag=t\r\ni: id\r\nCSeq: 1 OPTIONS\r\nX-a_B.c: 1\r\nx-A_b.C: 2\r\nContent-Length: 0\r\n\r\n";
        let mut ctx = Context {
            msg: Message::parse(&text[..]).unwrap(),
            ..Context::default()
        };
        ctx.set_uri(b"sip:new@test.lan".to_vec());
        let variables = of(&ctx);
        for (name, expected) in [
            ("SIP_HF_VIA", "SIP/2.0/UDP h;branch=z9hG4bKa"),
            ("SIP_HF_CALLID", "id"),
            ("SIP_HF_X_A_B_C", "1,2"),
            ("SIP_DID", "t"),
            ("SIP_ORUI", "sip:bob@test.lan"),
            ("SIP_RURI", "sip:new@test.lan"),
            ("SIP_OUSER", "bob"),
            ("SIP_USER", "new"),
        ] {
            let value = variables.iter().find(|(known, _)| *known == name.as_bytes());
            assert_eq!(
                value.map(|(_, value)| &**value),
                Some(expected.as_bytes()),
                "{name}"
            );
        }
    }
}
