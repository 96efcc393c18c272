//! The compiled script: immutable, every name resolved, shared by all workers.

use super::module::Env;
use super::module::SetError;
use super::value::Value;
use std::borrow::Cow;

/// A compiled script.
#[derive(Debug, Default)]
pub struct Program {}

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
