//! The compiled script: immutable, every name resolved, shared by all workers.

use super::host::RouteId;
use super::module::Env;
use super::module::SetError;
use super::value::Value;
use std::borrow::Cow;

/// A compiled script.
#[derive(Debug, Default)]
pub struct Program {}

impl Program {
    /// The block that every request runs.
    pub fn request_route(&self) -> Option<RouteId> {
        None
    }

    /// The block that every reply runs (`reply_route`, or `onreply_route` without a name).
    pub fn reply_route(&self) -> Option<RouteId> {
        None
    }

    /// The block of an event: `xhttp:request`.
    pub fn event_route(&self, _name: &str) -> Option<RouteId> {
        None
    }

    /// The value of Server in replies made here; none when switched off.
    pub fn server_header(&self) -> Option<&[u8]> {
        Some(b"proxyd")
    }

    /// The block `route[NAME]`.
    pub fn route(&self, _name: &[u8]) -> Option<RouteId> {
        None
    }

    /// A custom parameter: `group.name = value desc "…"`.
    pub fn custom(&self, _group: &str, _name: &str) -> Option<&super::module::ParamValue> {
        None
    }

    /// Every custom parameter: group, name, value and description.
    pub fn customs(&self) -> impl Iterator<Item = (&str, &str, &super::module::ParamValue, &str)> {
        std::iter::empty()
    }

    /// The value of a define.
    pub fn define(&self, _name: &[u8]) -> Option<&[u8]> {
        None
    }

    /// The core parameter `server_id`.
    pub fn server_id(&self) -> i64 {
        0
    }

    /// The value of User-Agent in requests made here.
    pub fn user_agent_header(&self) -> Option<&[u8]> {
        Some(b"proxyd")
    }
}

/// Text with pseudo-variables.
#[derive(Debug, Default)]
pub struct Format {}

impl Format {
    /// The text with every pseudo-variable put in; null is empty. Borrowed when there is nothing to put in.
    pub fn expand<'e>(&'e self, _env: &'e Env<'_>) -> Cow<'e, [u8]> {
        Cow::Borrowed(b"")
    }

    /// The same as a log line: null is `<null>`; appended.
    pub fn print(&self, _env: &Env<'_>, _out: &mut Vec<u8>) {}
}

/// A pseudo-variable with its transformations.
#[derive(Debug)]
pub struct PvRef {}

impl PvRef {
    /// Its value.
    pub fn read<'e>(&'e self, _env: &'e Env<'_>) -> Value<'e> {
        Value::Null
    }

    /// Assigns to it.
    pub fn write(&self, _env: &mut Env<'_>, _value: Value<'_>) -> Result<(), SetError> {
        Ok(())
    }
}

/// An expression that calls no function.
#[derive(Debug)]
pub struct Expr {}

impl Expr {
    /// Its value.
    pub fn read<'e>(&'e self, _env: &'e Env<'_>) -> Value<'e> {
        Value::Null
    }
}
