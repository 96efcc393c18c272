//! `tm.*`: transactions seen and acted on from outside (Kamailio tm module, "RPC Commands").

use super::Guard;
use super::Runtime;
use super::host::Live;
use super::transaction::Server;
use super::transaction::Transaction;
use crate::control::methods::PeerTransport;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcDef;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::modules::tm::uac;
use crate::script::host::LocalReply;
use crate::script::host::LocalRequest;
use crate::script::host::TimerOverrides;
use crate::script::vars::Vars;
use crate::transaction::key::Id;
use serde_json::Value;
use serde_json::json;
use shared::sip::Message;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// Work for the worker that minds the timers, asked for by another thread.
pub(crate) type Errand = Box<dyn FnOnce(&mut Live, &mut Vars) + Send>;

/// How long such work may take to begin.
const SOON: Duration = Duration::from_secs(5);

/// How long a request of ours may be under way.
const LONGEST: Duration = Duration::from_secs(200);

type Work = fn(&RpcCall<'_>, &Arc<Runtime>) -> RpcResult;

const METHODS: &[(&str, &str, Work)] = &[
    ("tm.list", "Lists the transactions.", list),
    (
        "tm.hash_stats",
        "How the transactions spread over their table.",
        hash_stats,
    ),
    (
        "tm.clean",
        "Accepted: transactions that are over are freed at once.",
        |_, _| Ok(RpcReply::empty()),
    ),
    (
        "tm.cancel",
        "Cancels a request of our own: Call-ID, CSeq number.",
        cancel,
    ),
    (
        "tm.reply",
        "Answers a request: code, reason, index:label, To tag, headers or a dot, body.",
        reply,
    ),
    (
        "tm.reply_callid",
        "Answers a request: code, reason, Call-ID, CSeq, To tag, headers or a dot, body.",
        reply_callid,
    ),
    (
        "tm.retransmit_reply",
        "Sends the last reply of a transaction again: index:label.",
        retransmit,
    ),
    (
        "tm.retransmit_reply_callid",
        "Sends the last reply of a transaction again: Call-ID, CSeq.",
        retransmit_callid,
    ),
    (
        "tm.t_uac_start",
        "Sends a request: method, URI, next hop or a dot, socket or a dot, headers with From and To, body.",
        |call, runtime| send(call, runtime, Attributes::new(Mode::Start)),
    ),
    (
        "tm.t_uac_start_hex",
        "The same with a body in hexadecimal.",
        |call, runtime| send(call, runtime, Attributes::new(Mode::Start).hex()),
    ),
    (
        "tm.t_uac_start_noack",
        "The same; a 2xx to an INVITE is not acknowledged.",
        |call, runtime| send(call, runtime, Attributes::new(Mode::Start).no_ack()),
    ),
    (
        "tm.t_uac_start_noack_hex",
        "The same with a body in hexadecimal.",
        |call, runtime| send(call, runtime, Attributes::new(Mode::Start).no_ack().hex()),
    ),
    (
        "tm.t_uac_wait",
        "Sends a request and answers with code, reason and text of its reply.",
        |call, runtime| send(call, runtime, Attributes::new(Mode::Wait)),
    ),
    (
        "tm.t_uac_wait_hex",
        "The same with a body in hexadecimal.",
        |call, runtime| send(call, runtime, Attributes::new(Mode::Wait).hex()),
    ),
    (
        "tm.t_uac_wait_noack",
        "The same; a 2xx to an INVITE is not acknowledged.",
        |call, runtime| send(call, runtime, Attributes::new(Mode::Wait).no_ack()),
    ),
    (
        "tm.t_uac_wait_noack_hex",
        "The same with a body in hexadecimal.",
        |call, runtime| send(call, runtime, Attributes::new(Mode::Wait).no_ack().hex()),
    ),
    (
        "tm.t_uac_wait_block",
        "Sends a request and answers with code and text of its reply.",
        |call, runtime| send(call, runtime, Attributes::new(Mode::Block)),
    ),
    (
        "tm.t_uac_wait_block_hex",
        "The same with a body in hexadecimal.",
        |call, runtime| send(call, runtime, Attributes::new(Mode::Block).hex()),
    ),
    (
        "tm.t_uac_wait_block_noack",
        "The same; a 2xx to an INVITE is not acknowledged.",
        |call, runtime| send(call, runtime, Attributes::new(Mode::Block).no_ack()),
    ),
    (
        "tm.t_uac_wait_block_noack_hex",
        "The same with a body in hexadecimal.",
        |call, runtime| send(call, runtime, Attributes::new(Mode::Block).no_ack().hex()),
    ),
    (
        "tm.t_uac_attrs",
        "Attributes mode=start|wait|block;cbflags=noack;rpflags=1;fr_timeout=;fr_inv_timeout=, then as tm.t_uac_start.",
        uac_attrs,
    ),
];

/// The methods, for a script that loads tm.
pub(crate) fn methods(runtime: &Arc<Runtime>) -> Vec<RpcDef> {
    let def = |(name, doc, work): &(&'static str, &'static str, Work)| {
        let (runtime, work) = (Arc::clone(runtime), *work);
        RpcDef::new(name, doc, move |call: &RpcCall<'_>| {
            if !runtime.script.load().has("tm") {
                return Err(RpcFault::failed("module tm is not loaded"));
            }
            work(call, &runtime)
        })
    };
    METHODS.iter().map(def).collect()
}

/// Names and help of the methods, for the reference.
pub(crate) fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    METHODS.iter().map(|(name, doc, _)| (*name, *doc))
}

fn list(_: &RpcCall<'_>, runtime: &Arc<Runtime>) -> RpcResult {
    let runtime = Arc::clone(runtime);
    Ok(RpcReply::stream(move |out| {
        out.write_all(b"[")?;
        let mut separator = "";
        for found in runtime.transactions.all() {
            let Some(row) = found.transaction.lock().active().map(row) else {
                continue;
            };
            write!(out, "{separator}{row}")?;
            separator = ",";
        }
        out.write_all(b"]")
    }))
}

fn row(t: &Transaction) -> Value {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // a request of our own is known by what was sent
    let sent = t
        .branches
        .first()
        .and_then(|branch| Message::parse(branch.sent.as_slice()).ok());
    let msg = t.request.as_ref().map(|request| &request.msg).or(sent.as_ref());
    let header = |get: fn(&Message) -> Option<&[u8]>| msg.and_then(get).map(lossy).unwrap_or_default();
    json!({
        "tindex": t.id.index,
        "tlabel": t.id.label,
        "method": msg.map(|msg| lossy(msg.method().as_bytes())).unwrap_or_default(),
        "from": header(|msg| msg.first(shared::sip::HeaderName::From)),
        "to": header(|msg| msg.first(shared::sip::HeaderName::To)),
        "callid": header(|msg| Some(msg.call_id())),
        "cseq": header(|msg| msg.first(shared::sip::HeaderName::CSeq)),
        "uas_request": if matches!(t.server, Server::Local) { "no" } else { "yes" },
        "tflags": t.intent.disable,
        "outgoings": t.branches.len(),
        "status": t.status,
    })
}

fn hash_stats(_: &RpcCall<'_>, runtime: &Arc<Runtime>) -> RpcResult {
    let loads = runtime.transactions.loads();
    let count: usize = loads.iter().sum();
    Ok(json!({
        "hash_size": loads.len(),
        "crt_transactions": count,
        "crt_min": loads.iter().min(),
        "crt_max": loads.iter().max(),
        "crt_worst": loads.iter().filter(|load| **load > 1).count(),
        "crt_zeroes": loads.iter().filter(|load| **load == 0).count(),
    })
    .into())
}

/// Does something with a transaction on the worker of the timers, and waits for it.
fn act(
    runtime: &Runtime,
    fits: impl Fn(&Transaction) -> bool,
    work: impl FnOnce(&mut Live, &mut Vars, Guard) -> bool + Send + 'static,
) -> RpcResult {
    let missing = || RpcFault::not_found("Transaction not found");
    let found = runtime
        .transactions
        .all()
        .find(|found| found.transaction.lock().active().is_some_and(&fits));
    let transaction = found.ok_or_else(missing)?.transaction;
    let (tell, told) = sync_channel(1);
    leave(runtime, move |live, vars| {
        let done = Guard::lock(&transaction).is_ok_and(|guard| work(live, vars, guard));
        // who asked may have gone
        let _ = tell.send(done);
    })?;
    match told.recv_timeout(SOON) {
        Ok(true) => Ok(RpcReply::empty()),
        Ok(false) => Err(RpcFault::failed("the transaction has been answered")),
        Err(_) => Err(RpcFault::failed("no worker took it in time")),
    }
}

/// Leaves work to the worker of the timers.
fn leave(
    runtime: &Runtime,
    errand: impl FnOnce(&mut Live, &mut Vars) + Send + 'static,
) -> Result<(), RpcFault> {
    let left = runtime.errands.leave(Box::new(errand));
    let busy = || RpcFault::failed("too many requests of this kind are waiting; try again");
    left.then_some(()).ok_or_else(busy)
}

/// The CSeq of an argument: `10` or `10 INVITE`.
fn cseq(text: &str) -> Option<u32> {
    text.split_whitespace().next()?.parse().ok()
}

fn is_of(t: &Transaction, call_id: &str, number: Option<u32>) -> bool {
    let sent = t
        .branches
        .first()
        .and_then(|branch| Message::parse(branch.sent.as_slice()).ok());
    let msg = t.request.as_ref().map(|request| &request.msg).or(sent.as_ref());
    msg.is_some_and(|msg| msg.call_id() == call_id.as_bytes() && msg.cseq().map(|cseq| cseq.number) == number)
}

fn cancel(call: &RpcCall<'_>, runtime: &Arc<Runtime>) -> RpcResult {
    let (call_id, number) = (call.str(0)?, cseq(&call.str(1)?));
    let fits = |t: &Transaction| t.is_invite() && t.status < 200 && is_of(t, &call_id, number);
    act(runtime, fits, |live, _, mut guard| {
        live.cancel_all(&mut guard, b"");
        live.settle(guard);
        true
    })
}

/// The transaction that `index:label` names.
fn named(text: &str) -> Result<Id, RpcFault> {
    let parse = || {
        let (index, label) = text.split_once(':')?;
        Some(Id {
            index: index.parse().ok()?,
            label: label.parse().ok()?,
        })
    };
    parse().ok_or_else(|| RpcFault::bad_request(format!("{text:?} is not index:label")))
}

fn reply(call: &RpcCall<'_>, runtime: &Arc<Runtime>) -> RpcResult {
    let id = named(&call.str(2)?)?;
    answer(call, runtime, 3, |t| t.id == id)
}

fn reply_callid(call: &RpcCall<'_>, runtime: &Arc<Runtime>) -> RpcResult {
    let (call_id, number) = (call.str(2)?, cseq(&call.str(3)?));
    answer(call, runtime, 4, |t| is_of(t, &call_id, number))
}

/// Answers a transaction; To tag, headers and body stand from `rest` on.
fn answer(
    call: &RpcCall<'_>,
    runtime: &Runtime,
    rest: usize,
    fits: impl Fn(&Transaction) -> bool,
) -> RpcResult {
    let status = u16::try_from(call.int(0)?)
        .ok()
        .filter(|status| (100..700).contains(status))
        .ok_or_else(|| RpcFault::bad_request("the code is not between 100 and 699"))?;
    let reason = call.str(1)?.into_owned();
    let headers = call.opt_str(rest + 1)?.filter(|text| text != ".");
    let headers = uac::header_lines(&headers.unwrap_or_default());
    let body = call.opt_str(rest + 2)?.map(|body| body.as_bytes().to_vec());
    let of_network = |t: &Transaction| !matches!(t.server, Server::Local) && fits(t);
    act(runtime, of_network, move |live, _, mut guard| {
        let done = live.answer_other(&mut guard, status, reason.as_bytes(), headers.as_bytes(), body);
        live.settle(guard);
        done
    })
}

fn retransmit(call: &RpcCall<'_>, runtime: &Arc<Runtime>) -> RpcResult {
    let id = named(&call.str(0)?)?;
    resend(runtime, |t| t.id == id)
}

fn retransmit_callid(call: &RpcCall<'_>, runtime: &Arc<Runtime>) -> RpcResult {
    let (call_id, number) = (call.str(0)?, cseq(&call.str(1)?));
    resend(runtime, |t| is_of(t, &call_id, number))
}

fn resend(runtime: &Runtime, fits: impl Fn(&Transaction) -> bool) -> RpcResult {
    act(runtime, fits, |live, _, guard| {
        let bytes = guard.reply.clone();
        let sent = !bytes.is_empty()
            && live
                .outbox
                .send_with(&live.endpoints.sockets, &guard.reply_to, |out| {
                    out.extend_from_slice(&bytes)
                });
        live.settle(guard);
        sent
    })
}

/// What becomes of the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Start,
    Wait,
    Block,
}

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attributes {
    mode: Mode,
    no_ack: bool,
    hex: bool,
    fr: Option<u32>,
    fr_inv: Option<u32>,
}

impl Attributes {
    const fn new(mode: Mode) -> Self {
        Self {
            mode,
            no_ack: false,
            hex: false,
            fr: None,
            fr_inv: None,
        }
    }

    const fn hex(mut self) -> Self {
        self.hex = true;
        self
    }

    const fn no_ack(mut self) -> Self {
        self.no_ack = true;
        self
    }

    fn parse(text: &str) -> Result<Self, RpcFault> {
        let mut attributes = Self::new(Mode::Start);
        for item in text.split(';').map(str::trim).filter(|item| !item.is_empty()) {
            let wrong = || RpcFault::bad_request(format!("{item:?} is no attribute"));
            let (name, value) = item.split_once('=').ok_or_else(wrong)?;
            match (name, value) {
                ("mode" | "reply", "start") => attributes.mode = Mode::Start,
                ("mode" | "reply", "wait") => attributes.mode = Mode::Wait,
                ("mode" | "reply", "block") => attributes.mode = Mode::Block,
                ("cbflags", "noack") => attributes.no_ack = true,
                ("rpflags", "1") => attributes.hex = true,
                ("fr_timeout", _) => attributes.fr = Some(value.parse().map_err(|_| wrong())?),
                ("fr_inv_timeout", _) => attributes.fr_inv = Some(value.parse().map_err(|_| wrong())?),
                _ => return Err(wrong()),
            }
        }
        Ok(attributes)
    }
}

fn uac_attrs(call: &RpcCall<'_>, runtime: &Arc<Runtime>) -> RpcResult {
    let attributes = Attributes::parse(&call.str(0)?)?;
    let rest = RpcCall {
        params: call.params.get(1..).unwrap_or_default(),
        ..*call
    };
    send(&rest, runtime, attributes)
}

/// Sends a request of the caller's, and waits for its reply when that is asked for.
fn send(call: &RpcCall<'_>, runtime: &Arc<Runtime>, attributes: Attributes) -> RpcResult {
    let on_worker = matches!(
        call.peer.transport,
        PeerTransport::Xhttp | PeerTransport::Internal
    );
    if attributes.mode != Mode::Start && on_worker {
        // the call holds a worker that may be the one to receive the reply
        return Err(RpcFault::new(
            600,
            "Reply wait/async mode not supported by this rpc transport",
        ));
    }
    if call.count() < 5 {
        let text = format!("too few parameters ({}/5)", call.count());
        return Err(RpcFault::bad_request(text));
    }
    let request = local_request(call, runtime, attributes)?;
    let (tell, told) = sync_channel(1);
    let done = move |reply: &mut LocalReply<'_>| {
        let text = reply.message.map(|message| message.as_bytes().to_vec());
        // who asked may have gone
        let _ = tell.try_send((reply.status, text));
    };
    let request = LocalRequest {
        done: Some(Box::new(done)),
        ..request
    };
    leave(runtime, move |live, _| {
        live.send_local(request);
    })?;
    if attributes.mode == Mode::Start {
        return Ok(RpcReply::empty());
    }
    let (status, text) = told
        .recv_timeout(LONGEST)
        .map_err(|_| RpcFault::failed("No response"))?;
    let reply = text.and_then(|text| Message::parse(text).ok());
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let reason = match &reply {
        Some(reply) => lossy(reply.reason()),
        None => shared::sip::status::reason(status).to_owned(),
    };
    if attributes.mode == Mode::Block {
        return Ok(json!({ "code": status, "text": reason }).into());
    }
    // Kamailio: code, reason, three places for a dialog's URIs and routes, then the reply from its first header on
    let whole = reply.map(|reply| {
        let from = reply.headers_start();
        lossy(reply.as_bytes().get(from..).unwrap_or_default())
    });
    Ok(json!([status, reason, "", "", "", whole.unwrap_or_default()]).into())
}

fn local_request(
    call: &RpcCall<'_>,
    runtime: &Runtime,
    attributes: Attributes,
) -> Result<LocalRequest, RpcFault> {
    let given = |n: usize| call.opt_str(n).map(Option::unwrap_or_default);
    let body = given(5)?;
    let body = if attributes.hex {
        unhex(&body).ok_or_else(|| RpcFault::bad_request("Invalid hexa body"))?
    } else {
        body.as_bytes().to_vec()
    };
    let template = uac::Template {
        method: &call.str(0)?,
        uri: &call.str(1)?,
        next: &given(2)?,
        socket: &given(3)?,
        headers: &call.str(4)?,
        body,
    };
    let request = template.request(&runtime.endpoints.load().sockets);
    Ok(LocalRequest {
        no_ack: attributes.no_ack,
        timers: TimerOverrides {
            fr: attributes.fr,
            fr_inv: attributes.fr_inv,
            ..TimerOverrides::default()
        },
        ..request.map_err(RpcFault::bad_request)?
    })
}

/// The bytes of hexadecimal digits, white space between them ignored.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|[high, low]| u8::try_from(high * 16 + low).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read() {
        let all = "mode=wait;cbflags=noack;rpflags=1;fr_timeout=500;fr_inv_timeout=900";
        let expected = Attributes {
            fr: Some(500),
            fr_inv: Some(900),
            ..Attributes::new(Mode::Wait).no_ack().hex()
        };
        assert_eq!(Attributes::parse(all).expect("attributes"), expected);
        assert_eq!(Attributes::parse("").expect("none"), Attributes::new(Mode::Start));
        for wrong in ["mode", "mode=x", "colour=red", "fr_timeout=x"] {
            assert!(Attributes::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bodies_in_hexadecimal() {
        for (text, expected) in [
            ("", Some(&b""[..])),
            ("48 65\n6c6C6f", Some(b"Hello")),
            ("4", None),
            ("4g", None),
            ("48é", None),
        ] {
            assert_eq!(unhex(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn transactions_are_named() {
        assert_eq!(named("7:9").ok(), Some(Id { index: 7, label: 9 }));
        for wrong in ["", "7", "7:", ":9", "-1:2", "7:99999999999"] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            (cseq("10"), cseq("10 INVITE"), cseq("x")),
            (Some(10), Some(10), None)
        );
    }
}
