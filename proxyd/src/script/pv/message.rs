//! The message as a whole: `$mb` `$ml` `$mt` `$rb` `$msg(name)` and their kin (Kamailio pseudo-variables cookbook).

use super::compile_name;
use super::compile_text;
use super::number;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvSpec;
use crate::script::value::Value;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    Pv::plain(&["mb"], "The message as received.", |env, _| {
        Value::text(env.ctx.msg.as_bytes())
    }),
    Pv::plain(&["mbu"], "The message with its edits applied.", |env, _| {
        Value::owned(env.ctx.lumps.apply(&env.ctx.msg))
    }),
    Pv::plain(&["ml"], "Length of the message.", |env, _| {
        Value::Int(env.ctx.msg.as_bytes().len() as i64)
    }),
    Pv::plain(&["mi"], "Number of the message.", |env, _| {
        Value::Int(env.ctx.id as i64)
    }),
    Pv::plain(&["mt"], "1 for a request, 2 for a reply.", |env, _| {
        Value::Int(if env.ctx.msg.is_request() { 1 } else { 2 })
    }),
    Pv::plain(&["rb"], "Body.", |env, _| Value::text(env.ctx.msg.body())),
    Pv::plain(&["bs"], "Size of the body.", |env, _| {
        Value::Int(env.ctx.msg.body().len() as i64)
    }),
    Pv::class(
        &["msg"],
        "A part of the message: len, buf, body, body_len (bsize), hdrs, hdrs_len, fline, fpart, lpart.",
        |inner| compile_name(inner, PARTS),
        part,
    ),
    Pv::class(&["msgbuf"], "One byte of the message.", compile_text, byte),
];

const PARTS: &[&str] = &[
    "len", "buf", "body", "body_len", "bsize", "hdrs", "hdrs_len", "fline", "fpart", "lpart",
];

fn part<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let msg = &env.ctx.msg;
    let bytes = msg.as_bytes();
    // Kamailio: the line end of the last header belongs to neither part
    let headers = bytes
        .get(msg.headers_start()..msg.headers_end())
        .unwrap_or_default();
    let headers = headers
        .strip_suffix(b"\r\n")
        .or_else(|| headers.strip_suffix(b"\n"))
        .unwrap_or(headers);
    match number(spec) {
        0 => Value::Int(bytes.len() as i64),
        1 => Value::text(bytes),
        2 => Value::text(msg.body()),
        3 | 4 => Value::Int(msg.body().len() as i64),
        5 => Value::text(headers),
        6 => Value::Int(headers.len() as i64),
        7 => Value::text(msg.first_line()),
        8 => Value::text(
            bytes
                .get(..msg.headers_start() + headers.len())
                .unwrap_or_default(),
        ),
        9 => Value::text(bytes.get(msg.headers_start()..).unwrap_or_default()),
        _ => Value::Null,
    }
}

fn byte<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let at = crate::script::value::leading_int(&spec.text(env)).and_then(|at| usize::try_from(at).ok());
    Value::maybe(at.and_then(|at| env.ctx.msg.as_bytes().get(at..at.saturating_add(1))))
}
