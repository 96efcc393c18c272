//! `{line.*}`: lines of a text (Kamailio transformations cookbook).

use super::number;
use super::param;
use super::part;
use super::text;
use crate::script::module::Transformation;
use crate::script::value::Value;

/// The rows.
pub(super) static TABLE: &[Transformation] = &[
    Transformation {
        name: "line.count",
        params: (0, 0),
        doc: "How many lines there are.",
        apply: count,
    },
    Transformation {
        name: "line.at",
        params: (1, 1),
        doc: "The line at a position, negative from the end.",
        apply: at,
    },
    Transformation {
        name: "line.sw",
        params: (1, 1),
        doc: "The first line that starts with a text.",
        apply: starting_with,
    },
];

/// The lines without their ends; a line end at the very end starts no line.
pub(crate) fn lines(text: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    let whole = text.strip_suffix(b"\n").unwrap_or(text);
    whole
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn count<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    match text(value) {
        Some(text) if !text.is_empty() => Value::Int(lines(&text).count() as i64),
        _ => Value::Null,
    }
}

fn choose<'v>(value: Value<'v>, pick: impl for<'a> FnOnce(&'a [u8]) -> Option<&'a [u8]>) -> Value<'v> {
    match text(value) {
        Some(text) if !text.is_empty() => part(text, |bytes| Some(pick(bytes).unwrap_or_default())),
        _ => Value::Null,
    }
}

fn at<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let position = number(params, 0).unwrap_or(0);
    choose(value, |bytes| {
        if position >= 0 {
            lines(bytes).nth(usize::try_from(position).ok()?)
        } else {
            lines(bytes).nth_back(usize::try_from(-(position + 1)).ok()?)
        }
    })
}

fn starting_with<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let start = param(params, 0);
    choose(value, |bytes| lines(bytes).find(|line| line.starts_with(&start)))
}
