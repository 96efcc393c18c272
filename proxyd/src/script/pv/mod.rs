//! PVS: the pseudo-variables that need no module (Kamailio pseudo-variables cookbook), one family a file.

use super::module::Pv;
use super::module::PvData;
use super::module::PvInner;
use super::module::PvSpec;
use super::module::SetError;
use super::value::Value;

mod address;
mod auth;
pub(crate) mod branch;
pub(crate) mod custom;
mod destination;
pub(crate) mod dynamic;
mod flags;
pub(crate) mod headers;
pub(crate) mod lists;
mod message;
mod misc;
pub(crate) mod request;
mod select;
mod source;
mod time;
pub(crate) mod vars;
mod via;
pub(crate) mod xavp;

pub(crate) use request::change as change_uri;
pub(crate) use request::method_number;
pub(crate) use source::find_named;
pub(crate) use source::find_socket;

/// Every pseudo-variable of the core, by family.
pub(crate) static PVS: &[&[Pv]] = &[
    request::TABLE,
    message::TABLE,
    address::TABLE,
    headers::TABLE,
    via::TABLE,
    auth::TABLE,
    source::TABLE,
    destination::TABLE,
    branch::TABLE,
    flags::TABLE,
    vars::TABLE,
    lists::TABLE,
    xavp::TABLE,
    time::TABLE,
    select::TABLE,
    misc::TABLE,
];

/// The pseudo-variable of this name, or class of them, without the dollar.
pub(crate) fn find(name: &[u8]) -> Option<&'static Pv> {
    let mut rows = PVS.iter().flat_map(|table| table.iter());
    rows.find(|row| row.names.iter().any(|known| known.as_bytes() == name))
}

/// Compiles parentheses that hold a name or a text with pseudo-variables.
fn compile_text(inner: &PvInner<'_>) -> Result<PvData, String> {
    if inner.text.contains(&b'$') {
        (inner.parse)(inner.text).map(PvData::Format)
    } else {
        Ok(PvData::Text(inner.text.into()))
    }
}

/// Compiles one of the names in a table to its place there.
fn compile_name(inner: &PvInner<'_>, names: &[&str]) -> Result<PvData, String> {
    let known = names.iter().position(|name| name.as_bytes() == inner.text);
    match known.and_then(|at| i64::try_from(at).ok()) {
        Some(at) => Ok(PvData::Number(at)),
        None => Err(format!(
            "{:?} is none of {}",
            String::from_utf8_lossy(inner.text),
            names.join(", ")
        )),
    }
}

/// The number that `compile_name` made.
fn number(spec: &PvSpec) -> i64 {
    if let PvData::Number(n) = spec.data { n } else { -1 }
}

/// The refusal of a value.
fn refused(value: &Value<'_>) -> SetError {
    SetError::Value(String::from_utf8_lossy(&value.to_text()).into_owned())
}

/// An optional text.
fn optional(value: Option<&Vec<u8>>) -> Value<'_> {
    Value::maybe(value.map(Vec::as_slice))
}

/// The item that an index means among `count`: without one the first, negative from the end.
fn place(index: Option<i64>, count: usize) -> Option<usize> {
    match index {
        None => Some(0),
        Some(at) if at >= 0 => usize::try_from(at).ok(),
        Some(at) => count.checked_sub(usize::try_from(at.checked_neg()?).ok()?),
    }
    .filter(|at| *at < count)
}

#[cfg(test)]
mod tests;
