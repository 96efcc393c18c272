//! The rest: `$null` `$rc` `$pp` `$_s(…)` `$env(…)` `$def(…)` `$stat(…)` `$version(…)` (Kamailio pseudo-variables cookbook).

use super::compile_name;
use super::compile_text;
use super::number;
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
    Pv::plain(&["null"], "Nothing.", |_, _| Value::Null),
    Pv::plain(&["rc", "retcode"], "Result of the last function.", |env, _| {
        Value::Int(env.rc)
    }),
    Pv::plain(&["pp"], "Process id.", |env, _| {
        Value::Int(i64::from(env.host.worker().1))
    }),
    Pv::plain(&["sid"], "Server id (core parameter server_id).", |env, _| {
        Value::Int(env.script.program.server_id())
    }),
    Pv::class(
        &["_s"],
        "A text with its pseudo-variables put in.",
        compile_text,
        |env, spec| Value::Str(spec.text(env)),
    ),
    Pv::class(&["env"], "An environment variable.", compile_env, constant),
    Pv::class(
        &["envn"],
        "An environment variable as a number.",
        compile_env,
        |env, spec| match constant(env, spec) {
            Value::Null => Value::Null,
            value => Value::Int(value.to_int()),
        },
    ),
    Pv::class(
        &["defs"],
        "The value of a define in double quotes, as it is when it has quotes.",
        compile_text,
        quoted_define,
    ),
    Pv::class(
        &["defv"],
        "The value of a define without quotes around it.",
        compile_text,
        bare_define,
    ),
    Pv::plain(&["Eb"], "A backslash.", |_, _| Value::text(b"\\")),
    Pv::plain(&["En"], "A line feed.", |_, _| Value::text(b"\n")),
    Pv::plain(&["Er"], "A carriage return.", |_, _| Value::text(b"\r")),
    Pv::plain(&["Et"], "A tab.", |_, _| Value::text(b"\t")),
    Pv::plain(&["Es"], "A blank.", |_, _| Value::text(b" ")),
    Pv::plain(&["Ec"], "A comma.", |_, _| Value::text(b",")),
    Pv::plain(&["Eq"], "A double quote.", |_, _| Value::text(b"\"")),
    Pv::plain(&["Ek"], "A single quote.", |_, _| Value::text(b"'")),
    Pv::plain(&["Ei"], "A colon.", |_, _| Value::text(b":")),
    Pv::plain(&["Ej"], "A semicolon.", |_, _| Value::text(b";")),
    Pv::plain(&["Ev"], "A back tick.", |_, _| Value::text(b"`")),
    Pv::class(
        &["C"],
        "A terminal's colours: foreground and background, each of x s r g y b p c w.",
        compile_colours,
        colours,
    ),
    Pv::class(&["def"], "The value of a define.", compile_text, define),
    Pv::class(
        &["defn"],
        "The value of a define as a number, 0 when there is none.",
        compile_text,
        |env, spec| Value::Int(define(env, spec).to_int()),
    ),
    Pv::class(&["stat"], "A counter.", compile_text, statistic),
    Pv::class(
        &["version"],
        "Version of the program: num, full, hash.",
        |inner| compile_name(inner, &["num", "full", "hash"]),
        version,
    ),
    Pv::class(
        &["rcv"],
        "What was received: buf len srcip rcvip srcport rcvport proto sproto af (as $K(name) numbers them).",
        |inner| compile_name(inner, RECEIVED),
        received,
    ),
    Pv::class(
        &["K"],
        "A constant: IPv4 IPv6 UDP TCP TLS SCTP WS WSS.",
        compile_constant,
        |_, spec| Value::Int(number(spec)),
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

fn quoted_define<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    match env.script.program.define(&spec.text(env)) {
        None => Value::Null,
        Some(text) if is_quoted(text) => Value::text(text),
        Some(text) => Value::owned([b"\"", text, b"\""].concat()),
    }
}

fn bare_define<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let text = env.script.program.define(&spec.text(env));
    Value::maybe(text.map(|text| {
        let inner = text.get(1..text.len().saturating_sub(1));
        inner.filter(|_| is_quoted(text)).unwrap_or(text)
    }))
}

/// Whether a text has the same quotes around it.
fn is_quoted(text: &[u8]) -> bool {
    matches!(text, [b'"', .., b'"'] | [b'\'', .., b'\''])
}

/// The escape sequence of two colours (ECMA-48 §8.3.117); a capital letter is bold.
fn compile_colours(inner: &PvInner<'_>) -> Result<PvData, String> {
    let [front, back] = *inner.text else {
        return Err("two letters are needed, as in $C(rx)".to_owned());
    };
    let colour = |letter: u8| {
        let known = b"srgybpcw"
            .iter()
            .position(|known| *known == letter.to_ascii_lowercase());
        known.unwrap_or(9)
    };
    let weight = match front {
        b'_' => "",
        letter if letter.is_ascii_lowercase() => "0;",
        _ => "1;",
    };
    let sequence = format!("\x1b[{weight}3{};4{}m", colour(front), colour(back));
    Ok(PvData::Text(sequence.into_bytes().into()))
}

/// Kamailio: nothing unless log lines go to a terminal.
fn colours<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    if crate::log::is_on_stderr() {
        constant(env, spec)
    } else {
        Value::text(b"")
    }
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
        _ => Value::Int(if source.peer.is_ipv4() { 2 } else { 10 }),
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
