//! Replies to PUBLISH and SUBSCRIBE.

use super::Presence;
use crate::script::module::Code;
use crate::script::module::Env;
use shared::db::Error;

/// Why a request is not served.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It cannot be read.
    BadRequest,
    /// Neither an entity-tag nor a body (RFC 3903 §6).
    InvalidRequest,
    /// No such event package (RFC 6665 §4.2.1.1).
    BadEvent,
    /// No publication has this entity-tag (RFC 3903 §6).
    NoMatch,
    /// The body is too large.
    TooLarge,
    /// The body is not of this type.
    UnsupportedBody(&'static str),
    /// The lifetime asked for is below this.
    TooBrief(u32),
    /// The dialog is not known.
    NoSubscription,
    /// A bound has been reached.
    TooMany,
    /// The database does not answer.
    Database,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        crate::log::error("presence", format_args!("{error}"));
        Self::Database
    }
}

/// Sends the reply to a request that is not served.
pub(super) fn refuse(state: &Presence, env: &mut Env<'_>, refusal: &Refusal) -> Code {
    let (status, reason): (u16, &[u8]) = match refusal {
        Refusal::BadRequest => (400, b"Bad request"),
        Refusal::InvalidRequest => (400, b"Invalid request"),
        Refusal::BadEvent => (489, b"Bad Event"),
        Refusal::NoMatch => (412, b"Conditional request failed"),
        Refusal::TooLarge => (413, b"Request Entity Too Large"),
        Refusal::UnsupportedBody(_) => (415, b"Unsupported media type"),
        Refusal::TooBrief(_) => (423, b"Interval Too Brief"),
        Refusal::NoSubscription => (481, b"Subscription does not exist"),
        Refusal::TooMany => (503, b"Service Unavailable"),
        Refusal::Database => (500, b"Server Internal Error"),
    };
    let line = match refusal {
        Refusal::BadEvent => format!("Allow-Events: {}\r\n", state.packages.names()),
        Refusal::UnsupportedBody(content_type) => format!("Accept: {content_type}\r\n"),
        Refusal::TooBrief(least) => format!("Min-Expires: {least}\r\n"),
        _ => String::new(),
    };
    answer(env, status, reason, line.as_bytes());
    Code::FALSE
}

/// Sends a reply with header lines that are in no other.
pub(super) fn answer(env: &mut Env<'_>, status: u16, reason: &[u8], lines: &[u8]) {
    let before = env.ctx.reply_headers.len();
    env.ctx.reply_headers.extend_from_slice(lines);
    let (host, scope) = env.split();
    host.reply(scope, status, reason);
    env.ctx.reply_headers.truncate(before);
}
