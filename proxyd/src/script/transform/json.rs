//! `{json.*}`: parts of JSON texts (Kamailio module json).

use super::param;
use crate::script::module::Transformation;
use crate::script::value::Value;
use serde_json::Value as Json;
use serde_json::ser::Formatter;
use std::io::Result;
use std::io::Write;

/// The rows.
pub(super) static TABLE: &[Transformation] = &[
    Transformation {
        name: "json.parse",
        params: (1, 1),
        doc: "A member of a JSON object, dots between levels.",
        apply: parse,
    },
    Transformation {
        name: "json.parsex",
        params: (1, 1),
        doc: "The same; the first character of the path is what stands between levels.",
        apply: parse_by,
    },
    Transformation {
        name: "json.encode",
        params: (0, 0),
        doc: "Letters, digits, - _ ~ as they are, a blank as +, others as %XY.",
        apply: encode,
    },
];

fn encode<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    if value.is_null() {
        return Value::Null;
    }
    let text = value.into_text();
    // Kamailio: the wildcards of a routing key stand for themselves
    if matches!(&*text, b"#" | b"*") {
        return Value::owned(text.into_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    for byte in text.iter() {
        match byte {
            b'-' | b'~' | b'_' => out.push(*byte),
            b' ' => out.push(b'+'),
            byte if byte.is_ascii_alphanumeric() => out.push(*byte),
            byte => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    Value::owned(out)
}

fn parse<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let path = param(params, 0);
    member(&value.into_text(), String::from_utf8_lossy(&path).split('.'))
}

fn parse_by<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let path = param(params, 0);
    let path = String::from_utf8_lossy(&path);
    let mut chars = path.chars();
    let Some(separator) = chars.next() else {
        return Value::Null;
    };
    member(&value.into_text(), chars.as_str().split(separator))
}

/// The member of a JSON text that lies along a path.
fn member<'v, 'p>(text: &[u8], path: impl Iterator<Item = &'p str>) -> Value<'v> {
    let Ok(mut found) = serde_json::from_slice::<Json>(text) else {
        return Value::Null;
    };
    for step in path {
        let next = match &mut found {
            Json::Object(members) => members.get_mut(step).map(Json::take),
            Json::Array(items) => step
                .parse::<usize>()
                .ok()
                .and_then(|at| items.get_mut(at))
                .map(Json::take),
            _ => None,
        };
        let Some(next) = next else { return Value::Null };
        found = next;
    }
    bare(found)
}

/// What a script gets for a JSON value: strings without their quotes.
pub(crate) fn bare<'v>(json: Json) -> Value<'v> {
    match json {
        Json::Null => Value::Null,
        Json::String(text) => Value::owned(text.into_bytes()),
        Json::Number(n) if n.is_i64() => Value::Int(n.as_i64().unwrap_or(0)),
        other => Value::owned(spaced(&other)),
    }
}

/// JSON as `{ "a": 1, "b": [ 1, 2 ] }`.
pub(crate) fn spaced(json: &Json) -> Vec<u8> {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, Spaced);
    match serde::Serialize::serialize(json, &mut serializer) {
        Ok(()) => text,
        Err(_) => Vec::new(),
    }
}

/// Blanks within brackets and behind commas and colons.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        writer.write_all(b"[")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> Result<()> {
        writer.write_all(if first { b" " } else { b", " })
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        writer.write_all(b" ]")
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        writer.write_all(b"{")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> Result<()> {
        writer.write_all(if first { b" " } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        writer.write_all(b": ")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        writer.write_all(b" }")
    }
}
