//! The rest: `$null` `$rc` `$pp` `$_s(…)` `$env(…)` `$def(…)` `$stat(…)` `$version(…)` (Kamailio pseudo-variables cookbook).

use super::class;
use super::compile_name;
use super::compile_text;
use super::number;
use super::plain;
use super::vars::Shared;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::transform::uri::transport_number;
use crate::script::value::Value;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    plain(&["null"], "Nothing.", |_, _| Value::Null),
    plain(&["rc", "retcode"], "Result of the last function.", |env, _| {
        Value::Int(env.rc)
    }),
    plain(&["pp"], "Process id.", |env, _| {
        Value::Int(i64::from(env.host.worker().1))
    }),
    plain(&["sid"], "Server id (core parameter server_id).", |env, _| {
        Value::Int(env.script.program.server_id())
    }),
    class(
        &["_s"],
        "A text with its pseudo-variables put in.",
        compile_text,
        |env, spec| Value::Str(spec.text(env)),
        None,
    ),
    class(&["env"], "An environment variable.", compile_env, constant, None),
    class(&["def"], "The value of a define.", compile_text, define, None),
    class(
        &["defn"],
        "The value of a define as a number.",
        compile_text,
        |env, spec| match define(env, spec) {
            Value::Null => Value::Null,
            value => Value::Int(value.to_int()),
        },
        None,
    ),
    class(&["stat"], "A counter.", compile_text, statistic, None),
    class(
        &["version"],
        "Version of the program: num, full, hash.",
        |inner| compile_name(inner, &["num", "full", "hash"]),
        version,
        None,
    ),
    class(
        &["rcv"],
        "What was received: buf len srcip rcvip srcport rcvport proto sproto af.",
        |inner| compile_name(inner, RECEIVED),
        received,
        None,
    ),
    class(
        &["K"],
        "A constant: IPv4 IPv6 UDP TCP TLS SCTP WS WSS.",
        compile_constant,
        |_, spec| Value::Int(number(spec)),
        None,
    ),
];

fn compile_env(inner: &PvInner<'_>) -> Result<PvData, String> {
    let name = std::str::from_utf8(inner.text).map_err(|_| "the name is no UTF-8".to_owned())?;
    Ok(match std::env::var_os(name) {
        Some(value) => PvData::Text(std::os::unix::ffi::OsStringExt::into_vec(value).into()),
        None => PvData::None,
    })
}

fn constant<'e>(_: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    if let PvData::Text(text) = &spec.data {
        Value::text(text)
    } else {
        Value::Null
    }
}

fn define<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    Value::maybe(env.script.program.define(&spec.text(env)))
}

fn statistic<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let counters = env
        .state::<Shared>()
        .and_then(|shared| shared.statistics.as_deref());
    let name = spec.text(env);
    let name = std::str::from_utf8(&name).unwrap_or_default();
    counters
        .and_then(|counters| counters.value(name))
        .map_or(Value::Null, Value::Int)
}

fn version<'e>(_: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    match number(spec) {
        0 => Value::text(env!("CARGO_PKG_VERSION").as_bytes()),
        1 => {
            let (name, number) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
            Value::owned(
                format!(
                    "{name} {number} ({}/{})",
                    std::env::consts::ARCH,
                    std::env::consts::OS
                )
                .into_bytes(),
            )
        }
        _ => Value::text(b"unknown"),
    }
}

const RECEIVED: &[&str] = &[
    "buf", "len", "srcip", "rcvip", "srcport", "rcvport", "proto", "sproto", "af",
];

fn received<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let (source, bytes) = (&env.ctx.source, env.ctx.msg.as_bytes());
    match number(spec) {
        0 => Value::text(bytes),
        1 => Value::Int(bytes.len() as i64),
        2 => Value::owned(source.peer.ip().to_string().into_bytes()),
        3 => Value::owned(source.local.ip().to_string().into_bytes()),
        4 => Value::Int(i64::from(source.peer.port())),
        5 => Value::Int(i64::from(source.local.port())),
        6 => Value::Int(i64::from(transport_number(source.transport))),
        7 => Value::text(source.transport.as_str().as_bytes()),
        _ => Value::text(if source.peer.is_ipv4() { b"IPv4" } else { b"IPv6" }),
    }
}

fn compile_constant(inner: &PvInner<'_>) -> Result<PvData, String> {
    let n = match inner.text {
        b"IPv4" | b"IP4" => 2,
        b"IPv6" | b"IP6" => 10,
        b"UDP" => 1,
        b"TCP" => 2,
        b"TLS" => 3,
        b"SCTP" => 4,
        b"WS" => 5,
        b"WSS" => 6,
        _ => {
            return Err(format!(
                "unknown constant {:?}",
                String::from_utf8_lossy(inner.text)
            ));
        }
    };
    Ok(PvData::Number(n))
}
