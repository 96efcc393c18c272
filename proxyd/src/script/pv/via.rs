//! Via by place: `$via0(part)` the first, `$via1(part)` the second, `$viaZ(part)` the last (RFC 3261 §20.42).

use super::compile_name;
use super::number;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvSpec;
use crate::script::transform::uri::transport_number;
use crate::script::value::Value;
use shared::net::Transport;
use shared::sip::ListValue;
use shared::sip::Via;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    Pv::class(
        &["via0"],
        "A part of the first Via: host port proto protoid branch rport received i params.",
        |inner| compile_name(inner, PARTS),
        |env, spec| part(env.ctx.msg.vias().next(), spec),
    ),
    Pv::class(
        &["via1"],
        "The same of the second Via.",
        |inner| compile_name(inner, PARTS),
        |env, spec| part(env.ctx.msg.vias().nth(1), spec),
    ),
    Pv::class(
        &["viaZ"],
        "The same of the last Via.",
        |inner| compile_name(inner, PARTS),
        last,
    ),
];

const PARTS: &[&str] = &[
    "host", "port", "proto", "protoid", "branch", "rport", "received", "i", "params",
];

fn last<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    part(env.ctx.msg.vias().last(), spec)
}

fn part<'e>(value: Option<ListValue<'e>>, spec: &PvSpec) -> Value<'e> {
    let via = value.and_then(|value| Via::parse(value.bytes).ok());
    let Some(via) = via else { return Value::Null };
    match number(spec) {
        0 => Value::text(via.host),
        1 => Value::Int(i64::from(via.port.unwrap_or(5060))),
        2 => Value::text(via.transport),
        3 => {
            let known = Transport::from_bytes(via.transport);
            Value::Int(known.map_or(0, |known| i64::from(transport_number(known))))
        }
        4 => Value::maybe(via.branch()),
        5 => Value::text_or_null(via.param(b"rport").flatten().unwrap_or_default()),
        6 => Value::maybe(via.received()),
        7 => Value::text_or_null(via.param(b"i").flatten().unwrap_or_default()),
        _ => Value::text_or_null(via.params.strip_prefix(b";").unwrap_or(via.params)),
    }
}
