//! TRANSFORMATIONS: what may stand in braces behind a pseudo-variable (Kamailio transformations cookbook).
//!
//! Parameters are split at commas into as many as a row takes at most; the last one takes the rest, commas and all.

use super::module::Transformation;
use super::value::Value;
use crate::script::value::leading_int;
use std::borrow::Cow;

mod address;
pub(crate) mod coding;
pub(crate) mod json;
pub(crate) mod lines;
mod msrp;
pub(crate) mod params;
pub(crate) mod string;
pub mod subst;
mod time;
pub(crate) mod uri;
pub(crate) mod val;

/// Every transformation of the core, by class.
pub(crate) static TRANSFORMATIONS: &[&[Transformation]] = &[
    string::TABLE,
    coding::TABLE,
    time::TABLE,
    uri::TABLE,
    params::TABLE,
    address::TABLE,
    lines::TABLE,
    msrp::TABLE,
    subst::TABLE,
    val::TABLE,
    json::TABLE,
];

/// The transformation with this class and name: `s.len`.
pub(crate) fn find(name: &[u8]) -> Option<&'static Transformation> {
    TRANSFORMATIONS
        .iter()
        .flat_map(|table| table.iter())
        .find(|row| row.name.as_bytes() == name)
}

/// Kamailio: a parameter of these begins behind the blanks that it is written with.
const UNINDENTED: &[&str] = &["s.replace", "s.rm", "s.strip", "s.striptail", "s.substr"];

impl Transformation {
    /// Splits the text behind the name at its commas, the last parameter taking the rest.
    pub(crate) fn split_params<'t>(&self, text: &'t [u8]) -> Vec<&'t [u8]> {
        let (_, at_most) = self.params;
        if at_most == 0 {
            return Vec::new();
        }
        let params = text.splitn(at_most, |byte| *byte == b',');
        if UNINDENTED.contains(&self.name) {
            params.map(<[u8]>::trim_ascii_start).collect()
        } else {
            params.collect()
        }
    }
}

/// A part of a text, chosen by `choose`; borrowed when the text is.
fn part<'v>(text: Cow<'v, [u8]>, choose: impl for<'a> FnOnce(&'a [u8]) -> Option<&'a [u8]>) -> Value<'v> {
    match text {
        Cow::Borrowed(bytes) => Value::maybe(choose(bytes)),
        Cow::Owned(bytes) => choose(&bytes).map_or(Value::Null, |found| Value::owned(found)),
    }
}

/// The text of a value that is not null.
fn text(value: Value<'_>) -> Option<Cow<'_, [u8]>> {
    if value.is_null() {
        None
    } else {
        Some(value.into_text())
    }
}

/// The text of parameter `n`; empty when it was left out.
fn param<'p>(params: &'p [Value<'_>], n: usize) -> Cow<'p, [u8]> {
    params
        .get(n)
        .map_or(Cow::Borrowed(b"".as_slice()), Value::to_text)
}

/// Parameter `n` as an integer, if given and not null.
fn number(params: &[Value<'_>], n: usize) -> Option<i64> {
    match params.get(n)? {
        Value::Null => None,
        Value::Int(number) => Some(*number),
        Value::Str(text) => Some(leading_int(text.trim_ascii_start()).unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests;
