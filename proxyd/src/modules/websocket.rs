//! `loadmodule "websocket"`: connections that begin in HTTP and go on in WebSocket (Kamailio module websocket; RFC 6455, RFC 7118).

use super::xhttp;
use crate::control::methods::RpcFault;
use crate::control::methods::RpcReply;
use crate::control::methods::RpcResult;
use crate::log;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Pv;
use crate::script::module::PvSpec;
use crate::script::module::Rpc;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::value::Value;
use crate::stats::Counter;
use shared::net::Keepalive;
use shared::net::KeepaliveFrame;
use shared::sip::Message;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const PROCESSES: &str = "each connection minds its own time";

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["sl", "xhttp"],
    params: &[
        Param::Int(
            "cors_mode",
            0,
            "Access-Control-Allow-Origin of the answer: 0 none, 1 any, 2 the Origin of the request.",
        ),
        Param::Ignored("event_callback", "embedded languages are not supported"),
        Param::Ignored("keepalive_interval", PROCESSES),
        Param::Int(
            "keepalive_mechanism",
            1,
            "What a quiet connection is sent: 0 nothing, 1 Ping, 2 Pong.",
        ),
        Param::Ignored("keepalive_processes", PROCESSES),
        Param::Int(
            "keepalive_timeout",
            180,
            "Seconds after which a connection is quiet.",
        ),
        Param::Text(
            "ping_application_data",
            "",
            "Content of Ping and Pong; the Server header unless set.",
        ),
        Param::Ignored("rm_delay_interval", PROCESSES),
        Param::Int("sub_protocols", 1, "1: SIP, the only one."),
        Param::Ignored("timer_interval", PROCESSES),
        Param::Ignored("verbose_list", "connections are listed without waiting"),
    ],
    functions: &[
        Function::anywhere(
            &["ws_handle_handshake"],
            &[],
            "Answers an HTTP request that asks for WebSocket, and goes on in it; ends the script when that cannot be.",
            handshake,
        ),
        Function::anywhere(
            &["ws_close"],
            &[
                Arg::OptInt("status"),
                Arg::OptText("reason"),
                Arg::OptInt("connection_id"),
            ],
            "Ends a WebSocket connection: that of the message unless one is named.",
            close,
        ),
    ],
    pvs: &[Pv::plain(
        &["ws_conid"],
        "Number of the WebSocket connection.",
        conid,
    )],
    rpcs: &[
        Rpc {
            name: "ws.disable",
            doc: "Refuses new WebSocket connections.",
            call: |_, script| switch(script, false),
        },
        Rpc {
            name: "ws.enable",
            doc: "Accepts them again.",
            call: |_, script| switch(script, true),
        },
    ],
    events: &["websocket:closed"],
    init: Some(init),
    ..ModuleDef::new("websocket", "SIP over WebSocket.")
};

/// The longest content of a control frame (RFC 6455 §5.5).
const CONTROL: usize = 125;

/// What the answer to a handshake may tell of whom it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cors {
    None,
    Any,
    Origin,
}

struct WebSocket {
    enabled: AtomicBool,
    keepalive: Keepalive,
    cors: Cors,
    successful: Arc<Counter>,
    failed: Arc<Counter>,
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let refuse = |name, why: &str| InitError::Param {
        name,
        why: why.to_owned(),
    };
    if init.int("sub_protocols") != 1 {
        return Err(refuse("sub_protocols", "only 1, SIP, is supported"));
    }
    let frame = match init.int("keepalive_mechanism") {
        0 => KeepaliveFrame::None,
        1 => KeepaliveFrame::Ping,
        2 => KeepaliveFrame::Pong,
        _ => return Err(refuse("keepalive_mechanism", "it is 0, 1 or 2")),
    };
    let cors = match init.int("cors_mode") {
        0 => Cors::None,
        1 => Cors::Any,
        2 => Cors::Origin,
        _ => return Err(refuse("cors_mode", "it is 0, 1 or 2")),
    };
    let mut data = init.text("ping_application_data").into_bytes();
    if data.is_empty() {
        data = init.program.server_header().unwrap_or_default().to_vec();
        data.truncate(CONTROL);
    }
    if data.len() > CONTROL {
        return Err(refuse("ping_application_data", "it has at most 125 bytes"));
    }
    let before = init.previous::<WebSocket>();
    let enabled = before.is_none_or(|before| before.enabled.load(Ordering::Relaxed));
    let counter = |name| init.statistics.counter("websocket", name);
    Ok(Arc::new(WebSocket {
        enabled: AtomicBool::new(enabled),
        keepalive: Keepalive {
            frame,
            idle: Duration::from_secs(u64::try_from(init.int("keepalive_timeout")).unwrap_or(0)),
            data,
        },
        cors,
        successful: counter("ws_successful_handshakes"),
        failed: counter("ws_failed_handshakes"),
    }))
}

/// Why a handshake fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Disabled,
    Version,
    Twice,
    Missing,
}

impl Refusal {
    /// Status, reason and the headers that say what would do (RFC 6455 §4.4).
    fn answer(self) -> (u16, &'static [u8], &'static [u8]) {
        match self {
            Self::Disabled => (503, b"Service Unavailable", b""),
            Self::Version => (426, b"Upgrade Required", b"Sec-WebSocket-Version: 13\r\n"),
            Self::Twice => (400, b"Bad Request", b""),
            Self::Missing => (
                400,
                b"Bad Request",
                b"Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n",
            ),
        }
    }
}

/// The values of a header.
fn values<'m>(request: &'m Message, name: &'m [u8]) -> impl Iterator<Item = &'m [u8]> {
    request.all_named(name).map(|header| request.value(header))
}

/// The value of a header that may stand once.
fn single<'m>(request: &'m Message, name: &'m [u8]) -> Result<Option<&'m [u8]>, Refusal> {
    let mut found = values(request, name);
    let first = found.next();
    if found.next().is_some() {
        return Err(Refusal::Twice);
    }
    Ok(first)
}

/// Whether a header of this name has a word among its values, in any case.
fn lists(request: &Message, name: &[u8], word: &[u8]) -> bool {
    let mut words = values(request, name).flat_map(|value| value.split(|byte| *byte == b','));
    words.any(|found| found.trim_ascii().eq_ignore_ascii_case(word))
}

/// The headers that accept a handshake (RFC 6455 §4.2.2).
fn accept(request: &Message, cors: Cors) -> Result<Vec<u8>, Refusal> {
    let version = single(request, b"Sec-WebSocket-Version")?;
    if version.is_some_and(|version| version != b"13") {
        return Err(Refusal::Version);
    }
    let key = single(request, b"Sec-WebSocket-Key")?;
    let origin = single(request, b"Origin")?;
    let asked = lists(request, b"Connection", b"upgrade")
        && lists(request, b"Upgrade", b"websocket")
        && lists(request, b"Sec-WebSocket-Protocol", b"sip");
    let Some(key) = key.filter(|_| asked && version.is_some()) else {
        return Err(Refusal::Missing);
    };
    let mut headers = Vec::new();
    let allowed = match cors {
        Cors::None => None,
        Cors::Any => Some(&b"*"[..]),
        Cors::Origin => origin,
    };
    if let Some(allowed) = allowed {
        headers.extend_from_slice(b"Access-Control-Allow-Origin: ");
        headers.extend_from_slice(allowed);
        headers.extend_from_slice(b"\r\n");
    }
    headers
        .extend_from_slice(b"Sec-WebSocket-Protocol: sip\r\nUpgrade: websocket\r\nConnection: upgrade\r\n");
    headers.extend_from_slice(format!("Sec-WebSocket-Accept: {}\r\n", derive_accept_key(key)).as_bytes());
    Ok(headers)
}

fn handshake(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<WebSocket>() else {
        return Code::FALSE;
    };
    if !call.env.ctx.msg.is_http() {
        log::error(
            "websocket",
            format_args!("ws_handle_handshake: the message is no HTTP request"),
        );
        return Code::EXIT;
    }
    let accepted = match state.enabled.load(Ordering::Relaxed) {
        false => Err(Refusal::Disabled),
        true => accept(&call.env.ctx.msg, state.cors),
    };
    let headers = match accepted {
        Ok(headers) => headers,
        Err(refusal) => {
            state.failed.inc();
            let (status, reason, headers) = refusal.answer();
            log::warning(
                "websocket",
                format_args!("handshake of {}: {refusal:?}", call.env.ctx.source.peer),
            );
            call.env.ctx.reply_headers.extend_from_slice(headers);
            call.env.ctx.switches.reply_close = true;
            xhttp::reply(call.env, status, reason, b"", b"");
            return Code::EXIT;
        }
    };
    call.env.ctx.reply_headers.extend_from_slice(&headers);
    let Some(answer) = xhttp::response(call.env, 101, b"Switching Protocols", b"", b"") else {
        return Code::EXIT;
    };
    if !call.env.host.upgrade(call.env.ctx, &answer, &state.keepalive) {
        state.failed.inc();
        return Code::EXIT;
    }
    state.successful.inc();
    Code::TRUE
}

fn close(call: &mut Call<'_, '_>) -> Code {
    let status = call.opt_int(0).map_or(Ok(1000), u16::try_from);
    let reason = if call.has(1) {
        call.text_owned(1)
    } else {
        b"Normal closure".to_vec()
    };
    let conn = match call.opt_int(2) {
        Some(id) => u64::try_from(id).ok(),
        None => call.env.ctx.source.conn,
    };
    let (Ok(status), Some(conn)) = (status, conn) else {
        return Code::FALSE;
    };
    let reason = String::from_utf8_lossy(&reason);
    Code::from(reason.len() + 2 <= CONTROL && call.env.host.close_websocket(conn, status, &reason))
}

fn conid<'e>(env: &'e Env<'_>, _spec: &'e PvSpec) -> Value<'e> {
    let source = &env.ctx.source;
    let id = source.conn.filter(|_| source.transport.is_web());
    id.map_or(Value::Null, |id| {
        Value::Int(i64::try_from(id).unwrap_or(i64::MAX))
    })
}

fn switch(script: &Arc<Script>, enabled: bool) -> RpcResult {
    let state = script.states.get::<WebSocket>();
    let state = state.ok_or_else(|| RpcFault::failed("module websocket is not loaded"))?;
    state.enabled.store(enabled, Ordering::Relaxed);
    Ok(RpcReply::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &str) -> Message {
        Message::parse(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{headers}\r\n").into_bytes()).unwrap()
    }

    /// The handshake of RFC 6455 §1.3.
    const ASKED: &str = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                         Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, sip\r\nSec-WebSocket-Version: 13\r\n";

    #[test]
    fn a_handshake_is_accepted() {
        let answer = "Sec-WebSocket-Protocol: sip\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        for (cors, before) in [
            (Cors::None, ""),
            (Cors::Any, "Access-Control-Allow-Origin: *\r\n"),
            (
                Cors::Origin,
                "Access-Control-Allow-Origin: http://example.com\r\n",
            ),
        ] {
            let accepted = accept(&request(ASKED), cors).unwrap();
            assert_eq!(String::from_utf8(accepted).unwrap(), format!("{before}{answer}"));
        }
    }

    #[test]
    fn a_handshake_that_lacks_something_is_refused() {
        for (from, to, expected) in [
            ("Version: 13", "Version: 8", Refusal::Version),
            ("Sec-WebSocket-Version: 13\r\n", "", Refusal::Missing),
            ("chat, sip", "chat, sips", Refusal::Missing),
            ("keep-alive, Upgrade", "keep-alive", Refusal::Missing),
            ("Upgrade: websocket", "Upgrade: h2c", Refusal::Missing),
            (
                "Origin: http://example.com",
                "Sec-WebSocket-Key: AAAA",
                Refusal::Twice,
            ),
        ] {
            let asked = request(&ASKED.replace(from, to));
            assert_eq!(accept(&asked, Cors::None), Err(expected), "{to}");
        }
    }
}
