//! `$cfg(…)`, `$lsock(…)`, `$atkv(…)`: places of the script, listening sockets, events of other threads.

use crate::proxy::sockets::Listener;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvParam;
use crate::script::module::PvSpec;
use crate::script::span::Span;
use crate::script::value::Value;

/// The rows.
pub(super) static PVS: &[Pv] = &[
    Pv::class(
        &["cfg"],
        "Where the script is: line, name or file, route.",
        compile_place,
        place,
    ),
    Pv {
        names: &["lsock"],
        param: PvParam::Required,
        doc: "$lsock(n/NAME/field), $lsock(l/proto:host:port/field): name, listen, advertise or index of a socket.",
        compile: Some(|inner| (inner.parse)(inner.text).map(PvData::Format)),
        get: socket,
        set: None,
    },
    Pv::class(
        &["atkv"],
        "Type, key, val and gname of an event of core:tkv; there are none here.",
        compile_event,
        |_, _| Value::Null,
    ),
];

#[derive(Clone, Copy)]
enum Part {
    Line,
    File,
    Route,
}

fn compile_place(inner: &PvInner<'_>) -> Result<PvData, String> {
    let part = match inner.text {
        b"line" => Part::Line,
        b"name" | b"file" => Part::File,
        b"route" => Part::Route,
        _ => return Err("is none of line, name, file, route".to_owned()),
    };
    Ok(PvData::Other(Box::new((part, inner.span))))
}

fn place<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let Some((part, span)) = spec.other::<(Part, Span)>() else {
        return Value::Null;
    };
    let program = &env.script.program;
    let root = program.sources().root(*span);
    match part {
        Part::Line => Value::Int(program.sources().position(root).line as i64),
        Part::File => Value::owned(
            program
                .sources()
                .name(root.file)
                .display()
                .to_string()
                .into_bytes(),
        ),
        Part::Route => program.block_around(root).map_or(Value::Null, |name| {
            let inner = name.split_once('[').and_then(|(_, name)| name.strip_suffix(']'));
            let name = match name {
                "request_route" | "route" => "DEFAULT_ROUTE",
                "reply_route" | "onreply_route" => "DEFAULT_ONREPLY",
                "onsend_route" => "DEFAULT_SEND",
                _ => inner.unwrap_or(name),
            };
            Value::text(name.as_bytes())
        }),
    }
}

fn compile_event(inner: &PvInner<'_>) -> Result<PvData, String> {
    match inner.text {
        b"type" | b"key" | b"val" | b"gname" => Ok(PvData::None),
        _ => Err("is none of type, key, val, gname".to_owned()),
    }
}

/// A socket as `listen` lines and `$lsock` name it.
fn shown(listener: &Listener) -> String {
    format!("{}:{}", listener.transport, listener.address)
}

fn socket<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let text = spec.text(env);
    let text = String::from_utf8_lossy(&text);
    let mut parts = text.splitn(3, '/');
    let (Some(by), Some(value), Some(field)) = (parts.next(), parts.next(), parts.next()) else {
        return Value::Null;
    };
    let sockets = env.host.sockets();
    let found = match by {
        "n" => sockets.position(|listener| listener.name.as_deref() == Some(value)),
        "l" => sockets.position(|listener| shown(listener) == value),
        _ => None,
    };
    let Some((id, listener)) = found.and_then(|id| Some((id, sockets.get(id)?))) else {
        return Value::Null;
    };
    let text = |text: String| Value::owned(text.into_bytes());
    match field.as_bytes().first() {
        Some(b'n') => listener.name.clone().map_or(Value::Null, text),
        Some(b'l') => text(shown(listener)),
        Some(b'a') => {
            let advertised = listener.advertise.as_ref();
            advertised.map_or(Value::Null, |(host, port)| {
                text(format!("{}:{host}:{port}", listener.transport))
            })
        }
        Some(b'i') => Value::Int(i64::from(id)),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::testing::Stage;

    #[test]
    fn sockets_are_found_by_name_and_address() {
        let mut stage = Stage::options();
        stage.host.sockets.listeners[0].advertise = Some(("sip.test".to_owned(), 5090));
        let row = PVS.iter().find(|row| row.names == ["lsock"]).expect("a row");
        for (text, expected) in [
            ("n/main/listen", Some("udp:127.0.0.1:5060")),
            ("l/udp:127.0.0.1:5060/name", Some("main")),
            ("n/main/advertise", Some("udp:sip.test:5090")),
            ("n/main/index", Some("0")),
            ("n/other/listen", None),
            ("n/main", None),
            ("x/main/listen", None),
        ] {
            let spec = PvSpec {
                data: PvData::Text(text.as_bytes().into()),
                ..PvSpec::default()
            };
            let env = stage.env();
            let expected = expected.map_or(Value::Null, |text| Value::text(text.as_bytes()));
            assert_eq!((row.get)(&env, &spec).to_text(), expected.to_text(), "{text}");
        }
    }
}
