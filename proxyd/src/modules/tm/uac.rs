//! `tm.t_uac_start`, `tm.t_uac_wait`, `tm.t_uac_wait_block`: requests that an operator has the proxy send, as kamctl's `ping` does.

use super::Tm;
use crate::control::methods::PeerTransport;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::script::host::LocalReply;
use crate::script::host::LocalRequest;
use crate::script::host::Millis;
use crate::script::module::Env;
use crate::script::module::ModuleTimer;
use crate::script::module::Script;
use parking_lot::Mutex;
use serde_json::json;
use shared::sip::NameAddr;
use shared::sip::Uri;
use shared::sip::status::reason;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

/// Requests that wait to be sent.
const QUEUE: usize = 256;
/// How long a caller waits for the final reply.
const PATIENCE: Duration = Duration::from_secs(80);
/// How often the queue is looked at.
const INTERVAL: Millis = 10;
/// The CSeq of a request whose headers have none, as Kamailio's.
const CSEQ: u32 = 10;

/// Sends what is in the queue.
pub(super) const TIMER: ModuleTimer = ModuleTimer {
    name: "tm.t_uac",
    interval: |_| Some(INTERVAL),
    run: send,
};

/// Requests on their way to the timer worker, each with the name of its socket.
#[derive(Default)]
pub(super) struct Outgoing(Mutex<Vec<(LocalRequest, String)>>);

/// `tm.t_uac_start`: the reply is nobody's concern.
pub(super) fn start(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    enqueue(call, script, |_| {})?;
    Ok(RpcReply::empty())
}

/// `tm.t_uac_wait` and `tm.t_uac_wait_block`: answers with the final reply.
pub(super) fn wait(call: &RpcCall<'_>, script: &Arc<Script>) -> RpcResult {
    if matches!(
        call.peer.transport,
        PeerTransport::Xhttp | PeerTransport::Internal
    ) {
        // The call holds a worker that may be the one to receive the reply.
        return Err(RpcFault::new(
            600,
            "Reply wait/async mode not supported by this rpc transport",
        ));
    }
    let (replied, reply) = mpsc::sync_channel(1);
    enqueue(call, script, move |end| {
        let text = match end.message {
            Some(message) => String::from_utf8_lossy(message.reason()).into_owned(),
            None => reason(end.status).to_owned(),
        };
        // A caller that has gone away wants no answer.
        let _ = replied.try_send((end.status, text));
    })?;
    match reply.recv_timeout(PATIENCE) {
        Ok((code, text)) => Ok(json!({ "code": code, "text": text }).into()),
        Err(_) => Err(RpcFault::failed("no final reply in time")),
    }
}

fn enqueue(
    call: &RpcCall<'_>,
    script: &Arc<Script>,
    done: impl FnOnce(&mut LocalReply<'_>) + Send + 'static,
) -> Result<(), RpcFault> {
    let tm = script
        .states
        .get::<Tm>()
        .ok_or_else(|| RpcFault::failed("module tm is not loaded"))?;
    let (mut request, socket) = read(call)?;
    request.done = Some(Box::new(done));
    let mut queue = tm.outgoing.0.lock();
    if queue.len() >= QUEUE {
        return Err(RpcFault::failed("too many requests wait to be sent"));
    }
    queue.push((request, socket));
    Ok(())
}

fn send(env: &mut Env<'_>) {
    let script = env.script;
    let Some(tm) = script.states.get::<Tm>() else {
        return;
    };
    for (mut request, socket) in std::mem::take(&mut *tm.outgoing.0.lock()) {
        request.socket = env.host.sockets().named(&socket);
        env.host.originate(request);
    }
}

/// Method, Request-URI, next hop, socket, headers and body; `.` stands for none.
fn read(call: &RpcCall<'_>) -> Result<(LocalRequest, String), RpcFault> {
    if call.count() < 5 {
        let text = format!("too few parameters ({}/5)", call.count());
        return Err(RpcFault::bad_request(text));
    }
    let text = |index| Ok(call.opt_str(index)?.unwrap_or_default().into_owned());
    let optional = |index| text(index).map(|text: String| if text == "." { String::new() } else { text });
    let (method, uri) = (text(0)?, text(1)?);
    if method.is_empty()
        || !method
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
    {
        return Err(RpcFault::bad_request(format!("Invalid method {method:?}")));
    }
    let (next, socket, body) = (optional(2)?, optional(3)?, optional(5)?);
    for (uri, what) in [(&uri, "request"), (&next, "next hop")] {
        let is_absent = what == "next hop" && uri.is_empty();
        if !is_absent && (Uri::parse(uri.as_bytes()).is_err() || uri.contains(char::is_control)) {
            return Err(RpcFault::bad_request(format!("Invalid {what} uri {uri:?}")));
        }
    }
    let mut request = LocalRequest {
        method: method.into_bytes(),
        uri: uri.into_bytes(),
        dst_uri: Some(next.into_bytes()).filter(|next| !next.is_empty()),
        cseq: CSEQ,
        body: body.into_bytes(),
        ..LocalRequest::default()
    };
    let mut has_type = false;
    for line in text(4)?.lines().filter(|line| !line.is_empty()) {
        has_type |= header(&mut request, line)?;
    }
    let missing = |name| Err(RpcFault::bad_request(format!("{name} missing")));
    match () {
        () if request.to.is_empty() => missing("To"),
        () if request.from.is_empty() => missing("From"),
        () if !has_type && !request.body.is_empty() => missing("Content-Type"),
        () => Ok((request, socket)),
    }
}

/// Takes over a header line; tells whether it is a Content-Type.
fn header(request: &mut LocalRequest, line: &str) -> Result<bool, RpcFault> {
    let invalid = || RpcFault::bad_request("Invalid headers");
    let (name, value) = line.split_once(':').ok_or_else(invalid)?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(invalid());
    }
    match name.to_ascii_lowercase().as_str() {
        // What the transaction writes by itself.
        "via" | "v" | "max-forwards" | "content-length" | "l" => {}
        "from" | "f" => (request.from, request.from_tag) = party(value).ok_or_else(invalid)?,
        "to" | "t" => (request.to, request.to_tag) = party(value).ok_or_else(invalid)?,
        "call-id" | "i" => request.call_id = Some(value.as_bytes().to_vec()),
        "cseq" => {
            let number = value.split_whitespace().next().unwrap_or_default();
            request.cseq = number.parse().map_err(|_| invalid())?;
        }
        lower => {
            request
                .headers
                .extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            return Ok(matches!(lower, "content-type" | "c"));
        }
    }
    Ok(false)
}

/// The address of a From or To in brackets, and its tag.
fn party(value: &str) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let addr = NameAddr::parse(value.as_bytes()).ok()?;
    Uri::parse(addr.uri).ok()?;
    let mut text = addr.display.to_vec();
    if !text.is_empty() {
        text.push(b' ');
    }
    text.extend([b"<", addr.uri, b">"].concat());
    let tag = addr.params.split(|b| *b == b';').find_map(|param| {
        let (name, tag) = param.trim_ascii().split_at_checked(4)?;
        name.eq_ignore_ascii_case(b"tag=").then(|| tag.to_vec())
    });
    Some((text, tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::methods::Peer;
    use serde_json::Value;

    fn read_all(params: &Value) -> Result<(LocalRequest, String), String> {
        let peer = Peer::internal();
        let call = RpcCall {
            method: "tm.t_uac_start",
            params: params.as_array().unwrap(),
            peer: &peer,
        };
        read(&call).map_err(|fault| fault.message.into_owned())
    }

    #[test]
    fn a_request_is_read_from_its_parameters() {
        let headers = "From:sip:daemon@here\r\nTo: \"A\" <sip:a@b;x=1>;tag=t\r\nContact:sip:daemon@here\r\nCSeq: 7 OPTIONS\r\n";
        let (request, socket) =
            read_all(&json!(["OPTIONS", "sip:a@b", ".", "udp:127.0.0.1:5060", headers])).unwrap();
        assert_eq!(
            (request.from.as_slice(), request.from_tag),
            (&b"<sip:daemon@here>"[..], None)
        );
        assert_eq!(
            (request.to.as_slice(), request.to_tag.as_deref()),
            (&b"\"A\" <sip:a@b;x=1>"[..], Some(&b"t"[..]))
        );
        assert_eq!(request.headers, b"Contact: sip:daemon@here\r\n");
        assert_eq!(
            (request.cseq, request.dst_uri, socket.as_str()),
            (7, None, "udp:127.0.0.1:5060")
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let table = [
            (json!([]), "too few parameters (0/5)"),
            (
                json!(["OPTIONS", "bad", ".", ".", ""]),
                "Invalid request uri \"bad\"",
            ),
            (
                json!(["OPTIONS", "sip:a@b", "bad", ".", ""]),
                "Invalid next hop uri \"bad\"",
            ),
            (
                json!(["OP TIONS", "sip:a@b", ".", ".", ""]),
                "Invalid method \"OP TIONS\"",
            ),
            (
                json!(["OPTIONS", "sip:a@b", ".", ".", "From:sip:a@b\r\n"]),
                "To missing",
            ),
            (
                json!(["OPTIONS", "sip:a@b", ".", ".", "To:sip:a@b\r\n"]),
                "From missing",
            ),
            (
                json!(["OPTIONS", "sip:a@b", ".", ".", "nonsense"]),
                "Invalid headers",
            ),
            (
                json!([
                    "MESSAGE",
                    "sip:a@b",
                    ".",
                    ".",
                    "To:sip:a@b\r\nFrom:sip:a@b\r\n",
                    "hi"
                ]),
                "Content-Type missing",
            ),
        ];
        for (params, expected) in table {
            assert_eq!(read_all(&params).err().as_deref(), Some(expected), "{params}");
        }
    }
}
