//! `{val.*}` `{sql.*}` `{num.*}`: values for other languages, digits (Kamailio transformations cookbook).

use super::coding::escape_quotes;
use crate::script::module::Transformation;
use crate::script::value::Value;

/// The rows.
pub(super) static TABLE: &[Transformation] = &[
    Transformation {
        name: "val.n0",
        params: (0, 0),
        doc: "0 for null.",
        apply: n0,
    },
    Transformation {
        name: "val.ne",
        params: (0, 0),
        doc: "Empty for null.",
        apply: ne,
    },
    Transformation {
        name: "val.json",
        params: (0, 0),
        doc: "Escaped for a JSON string, without quotes.",
        apply: json,
    },
    Transformation {
        name: "val.jsonqe",
        params: (0, 0),
        doc: "A JSON string with its quotes, or a number.",
        apply: json_quoted,
    },
    Transformation {
        name: "sql.val",
        params: (0, 0),
        doc: "An SQL value: NULL, a number or a quoted text.",
        apply: sql,
    },
    Transformation {
        name: "sql.val.int",
        params: (0, 0),
        doc: "The same, 0 for null.",
        apply: sql_int,
    },
    Transformation {
        name: "sql.val.str",
        params: (0, 0),
        doc: "The same, '' for null.",
        apply: sql_str,
    },
    Transformation {
        name: "num.fdigit",
        params: (0, 0),
        doc: "The first digit of a number; 0 for a text.",
        apply: first_digit,
    },
    Transformation {
        name: "num.ldigit",
        params: (0, 0),
        doc: "The last digit of a number; 0 for a text.",
        apply: last_digit,
    },
];

fn n0<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    if value.is_null() { Value::Int(0) } else { value }
}

fn ne<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    if value.is_null() { Value::text(b"") } else { value }
}

/// Appends text escaped for a JSON string (RFC 8259 §7).
pub(crate) fn push_json(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control if *control < 0x20 => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
            other => out.push(*other),
        }
    }
}

fn json<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    match value {
        Value::Null => Value::text(b""),
        Value::Int(n) => Value::Int(n),
        Value::Str(text) => {
            let mut out = Vec::with_capacity(text.len() + 8);
            push_json(&text, &mut out);
            Value::owned(out)
        }
    }
}

fn json_quoted<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    match value {
        Value::Null => Value::text(b"\"\""),
        Value::Int(n) => Value::Int(n),
        Value::Str(text) => {
            let mut out = vec![b'"'];
            push_json(&text, &mut out);
            out.push(b'"');
            Value::owned(out)
        }
    }
}

fn sql_with<'v>(value: Value<'v>, null: &'static [u8]) -> Value<'v> {
    match value {
        Value::Null => Value::text(null),
        Value::Int(n) => Value::Int(n),
        Value::Str(text) => {
            let mut out = vec![b'\''];
            out.extend(escape_quotes(&text));
            out.push(b'\'');
            Value::owned(out)
        }
    }
}

fn sql<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    sql_with(value, b"NULL")
}

fn sql_int<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    sql_with(value, b"0")
}

fn sql_str<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    sql_with(value, b"''")
}

fn first_digit<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    digit(value, |mut n| {
        while n > 9 {
            n /= 10;
        }
        n
    })
}

fn last_digit<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    digit(value, |n| n % 10)
}

fn digit<'v>(value: Value<'v>, choose: fn(u64) -> u64) -> Value<'v> {
    match value {
        Value::Null => Value::Null,
        Value::Int(n) => Value::Int(i64::try_from(choose(n.unsigned_abs())).unwrap_or(0)),
        Value::Str(_) => Value::Int(0),
    }
}
