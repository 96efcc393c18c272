//! `loadmodule "xhttp"`: HTTP requests on the SIP ports for `event_route[xhttp:request]` (Kamailio module xhttp).

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
use crate::script::module::Routes;
use crate::script::module::Script;
use crate::script::module::State;
use crate::script::value::Value;
use shared::regex::Options;
use shared::regex::Regex;
use shared::sip::Message;
use std::io::Write;
use std::sync::Arc;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["sl"],
    params: &[
        Param::Text("url_skip", "", "URLs that match are not for the event route."),
        Param::Text("url_match", "", "Only URLs that match are for the event route."),
        Param::Ignored("event_callback", "embedded languages are not supported"),
    ],
    functions: &[Function {
        names: &["xhttp_reply"],
        args: &[
            Arg::Int("code"),
            Arg::Text("reason"),
            Arg::Text("ctype"),
            Arg::Text("body"),
        ],
        routes: Routes::REQUEST.or(Routes::EVENT),
        doc: "Answers an HTTP request, once.",
        call: xhttp_reply,
    }],
    pvs: &[Pv::plain(&["hu"], "The URL of the HTTP request.", hu)],
    events: &["xhttp:request"],
    init: Some(init),
    ..ModuleDef::new("xhttp", "HTTP requests in the script.")
};

struct Xhttp {
    skip: Option<Regex>,
    only: Option<Regex>,
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let regex = |name: &'static str| {
        let text = init.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        let compiled = Regex::compile(text.as_bytes(), Options::PLAIN);
        compiled.map(Some).map_err(|error| InitError::Param {
            name,
            why: error.to_string(),
        })
    };
    Ok(Arc::new(Xhttp {
        skip: regex("url_skip")?,
        only: regex("url_match")?,
    }))
}

/// Whether the script wants this HTTP request.
pub(crate) fn wants(script: &Script, request: &Message) -> bool {
    let Some(state) = script.states.get::<Xhttp>() else {
        return false;
    };
    let url = request.request_uri();
    !state.skip.as_ref().is_some_and(|skip| skip.is_match(url))
        && state.only.as_ref().is_none_or(|only| only.is_match(url))
}

fn xhttp_reply(call: &mut Call<'_, '_>) -> Code {
    let status = call.int(0);
    let Some(status) = u16::try_from(status)
        .ok()
        .filter(|status| (100..=700).contains(status))
    else {
        log::error(
            "xhttp",
            format_args!("xhttp_reply: invalid code parameter {status}"),
        );
        return Code::FALSE;
    };
    let (reason, kind, body) = (call.text_owned(1), call.text_owned(2), call.text_owned(3));
    if reason.is_empty() {
        log::error("xhttp", format_args!("xhttp_reply: invalid reason parameter"));
        return Code::FALSE;
    }
    Code::from(reply(call.env, status, &reason, &kind, &body))
}

/// Answers the HTTP request under way; false when it was answered already, or is none.
pub(super) fn reply(env: &mut Env<'_>, status: u16, reason: &[u8], kind: &[u8], body: &[u8]) -> bool {
    let answer = response(env, status, reason, kind, body);
    answer.is_some_and(|answer| env.host.http_reply(env.ctx, &answer))
}

/// The answer to the HTTP request under way; none when it was answered already, or is none.
pub(super) fn response(
    env: &mut Env<'_>,
    status: u16,
    reason: &[u8],
    kind: &[u8],
    body: &[u8],
) -> Option<Vec<u8>> {
    let ctx = &mut *env.ctx;
    if !ctx.msg.is_http() {
        log::error("xhttp", format_args!("only an HTTP request can be answered so"));
        return None;
    }
    if std::mem::replace(&mut ctx.answered, status) != 0 {
        log::error("xhttp", format_args!("the HTTP request was answered already"));
        return None;
    }
    let version: &[u8] = if ctx.msg.version().ends_with(b"1.0") {
        b"HTTP/1.0"
    } else {
        b"HTTP/1.1"
    };
    let interim = status < 200;
    let (status, peer) = (status.to_string(), ctx.source.peer.to_string());
    let mut out = Vec::with_capacity(256 + body.len());
    line(&mut out, &[version, b" ", status.as_bytes(), b" ", reason]);
    // Kamailio: the Via that it invents for the request comes back under this name.
    line(
        &mut out,
        &[
            b"Sia: SIP/2.0/",
            ctx.source.transport.via().as_bytes(),
            b" ",
            peer.as_bytes(),
        ],
    );
    out.extend_from_slice(&ctx.reply_headers);
    if !kind.is_empty() {
        line(&mut out, &[b"Content-Type: ", kind]);
    }
    if let Some(server) = env.script.program.server_header() {
        line(&mut out, &[b"Server: ", server]);
    }
    // RFC 9110 §8.6: what is no final answer has no body to tell the length of.
    if !interim {
        let _ = write!(out, "Content-Length: {}\r\n", body.len());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    Some(out)
}

/// Appends a header line; a line end in what a script puts together does not begin another one.
fn line(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts
        .iter()
        .for_each(|part| out.extend(part.iter().filter(|byte| !matches!(byte, b'\r' | b'\n'))));
    out.extend_from_slice(b"\r\n");
}

fn hu<'e>(env: &'e Env<'_>, _spec: &'e PvSpec) -> Value<'e> {
    Value::text_or_null(env.ctx.msg.request_uri())
}
