//! Reading a request that is to be forwarded: what names its transaction, loops and spirals (RFC 3261 §16.3, §16.6, §16.11).

use crate::transaction::key::Branch;
use crate::transaction::key::Key;
use crate::transaction::key::MAGIC_COOKIE;
use crate::transaction::key::Parts;
use crate::transaction::key::has_cookie;
use crate::transaction::key::write_hex;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::Via;
use std::hash::BuildHasher;
use std::hash::Hash;
use std::hash::Hasher;

/// The parts of a request that transactions are matched by.
pub fn parts(request: &Message) -> Parts<'_> {
    let via = request.top_via();
    let branch = via.as_ref().and_then(Via::branch).unwrap_or_default();
    Parts {
        method: request.method().as_bytes(),
        call_id: request.call_id(),
        cseq: request.cseq().map_or(0, |cseq| cseq.number),
        branch,
        host: via.as_ref().map_or(b"", |via| via.host),
        port: via.as_ref().and_then(|via| via.port),
        from_tag: request.from_tag(),
        to_tag: request.to_tag(),
        uri: request.request_uri(),
        via: if has_cookie(branch) {
            b""
        } else {
            request.vias().next().map_or(b"", |top| top.bytes)
        },
    }
}

/// The hash of all that routing depends on, for our branch: equal on return means a loop, different a spiral.
///
/// RFC 3261 §16.6 step 8, without the topmost Via, as RFC 5393 §4.2.2 corrects it.
pub fn routed_hash(request: &Message, hasher: &ahash::RandomState) -> u64 {
    let mut state = hasher.build_hasher();
    request.request_uri().hash(&mut state);
    request.call_id().hash(&mut state);
    request.from_tag().hash(&mut state);
    request.to_tag().hash(&mut state);
    state.write_u32(request.cseq().map_or(0, |cseq| cseq.number));
    for header in request.headers() {
        if matches!(
            header.name,
            HeaderName::Route | HeaderName::ProxyRequire | HeaderName::ProxyAuthorization
        ) {
            request.value(header).hash(&mut state);
        }
    }
    state.finish()
}

/// Whether a request was here before and would be routed the same way again (RFC 3261 §16.3 step 4): answer 482.
pub fn is_loop(request: &Message, is_own: impl Fn(&Via<'_>) -> bool, routed: impl Fn() -> u64) -> bool {
    let mut headers = request.all(HeaderName::Via);
    let first = headers.next().map_or(&b""[..], |header| request.value(header));
    if headers.next().is_none() && memchr::memchr(b',', first).is_none() {
        return false; // straight from its sender
    }
    let routed = routed();
    request.vias().any(|value| {
        value.via().is_ok_and(|via| {
            let branch = via.branch().and_then(Branch::read);
            branch.is_some_and(|branch| branch.routed == routed) && is_own(&via)
        })
    })
}

/// Appends the branch of a request that is forwarded without a transaction, the same for its retransmissions, its ACK
/// and its CANCEL (RFC 3261 §16.11).
pub fn stateless_branch(key: Key, number: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(MAGIC_COOKIE);
    // The `s` keeps it from being read as the branch of a transaction.
    out.push(b's');
    write_hex(key.check(), 16, out);
    out.push(b'.');
    write_hex(number.into(), 1, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::key::Hashers;
    use crate::transaction::key::Lookup;

    const INVITE: &str = "INVITE sip:b@x SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bKa, SIP/2.0/UDP 10.0.0.0\r\n\
        From: <sip:a@x>;tag=f\r\n\
        To: <sip:b@x>\r\n\
        Call-ID: c\r\n\
        CSeq: 1 INVITE\r\n\
        Max-Forwards: 70\r\n\
        Content-Type: text/plain\r\n\
        Content-Length: 2\r\n\r\nhi";

    #[test]
    fn a_stateless_branch_is_shared_by_ack_and_cancel() {
        let hashers = Hashers::default();
        let branch = |text: &str| {
            let mut out = Vec::new();
            let request = Message::parse(text).unwrap();
            let key = Lookup::request(&parts(&request), &hashers).key();
            stateless_branch(key, 0, &mut out);
            assert!(has_cookie(&out) && Branch::read(&out).is_none());
            out
        };
        let invite = branch(INVITE);
        for same in [
            INVITE.replace("INVITE", "CANCEL"),
            INVITE
                .replace("INVITE", "ACK")
                .replace("To: <sip:b@x>", "To: <sip:b@x>;tag=t"),
        ] {
            assert_eq!(branch(&same), invite);
        }
        for other in [
            INVITE.replace("z9hG4bKa", "z9hG4bKb"),
            INVITE.replace("CSeq: 1", "CSeq: 2"),
            INVITE.replace("10.0.0.1", "10.0.0.2"),
        ] {
            assert_ne!(branch(&other), invite);
        }
    }
}
