//! Ending a dialog from the middle: a BYE to each side (RFC 3261 §15).

use super::record::Dialog;
use super::record::Leg;
use super::track;
use crate::script::host::LocalRequest;
use crate::script::module::Env;
use shared::sip::NameAddr;
use shared::sip::Uri;

/// Whom to send a BYE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    Caller,
    Callee,
    Both,
}

/// Sends BYE; `extra` are further header lines.
pub(super) fn send(env: &mut Env<'_>, dialog: &Dialog, whom: Whom, extra: &[u8]) {
    let requests: Vec<LocalRequest> = {
        let mut inner = dialog.inner.lock();
        let mut requests = Vec::new();
        if whom != Whom::Callee {
            inner.callee.cseq = inner.callee.cseq.saturating_add(1);
            let (from, to) = ((&dialog.to_uri, &inner.callee), (&dialog.from_uri, &inner.caller));
            requests.push(request(dialog, from, to, extra));
        }
        if whom != Whom::Caller {
            inner.caller.cseq = inner.caller.cseq.saturating_add(1);
            let (from, to) = ((&dialog.from_uri, &inner.caller), (&dialog.to_uri, &inner.callee));
            requests.push(request(dialog, from, to, extra));
        }
        requests
    };
    for request in requests {
        env.host.originate(request);
    }
}

fn request(dialog: &Dialog, from: (&Vec<u8>, &Leg), to: (&Vec<u8>, &Leg), extra: &[u8]) -> LocalRequest {
    let in_brackets = |uri: &[u8]| [b"<", uri, b">"].concat();
    let routes = &to.1.route_set;
    let next = routes
        .first()
        .and_then(|route| NameAddr::parse(route).ok())
        .map(|addr| addr.uri.to_vec());
    let mut headers = track::route_lines(routes);
    headers.extend_from_slice(extra);
    LocalRequest {
        method: b"BYE".to_vec(),
        uri: to.1.contact.clone(),
        dst_uri: next,
        from: in_brackets(from.0),
        from_tag: Some(from.1.tag.clone()),
        to: in_brackets(to.0),
        to_tag: Some(to.1.tag.clone()),
        call_id: Some(dialog.call_id.clone()),
        cseq: from.1.cseq,
        headers,
        ..LocalRequest::default()
    }
}

/// Whether a route names this proxy.
pub(super) fn is_ours(env: &Env<'_>, route: &[u8]) -> bool {
    let addr = NameAddr::parse(route).ok();
    let uri = addr.and_then(|addr| Uri::parse(addr.uri).ok());
    uri.is_some_and(|uri| env.is_own_route(&uri))
}

/// What an event route works on that no message began: a request of the dialog that nobody sent.
pub(super) fn nobody(dialog: &Dialog) -> Vec<u8> {
    let inner = dialog.inner.lock();
    let tag = |leg: &Leg| {
        if leg.tag.is_empty() {
            Vec::new()
        } else {
            [b";tag=", &*leg.tag].concat()
        }
    };
    [
        b"OPTIONS ",
        &*inner.callee.contact,
        b" SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1\r\nFrom: <",
        &dialog.from_uri,
        b">",
        &tag(&inner.caller),
        b"\r\nTo: <",
        &dialog.to_uri,
        b">",
        &tag(&inner.callee),
        b"\r\nCall-ID: ",
        &dialog.call_id,
        b"\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
    ]
    .concat()
}
