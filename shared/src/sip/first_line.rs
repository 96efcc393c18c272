//! The first line of a message: request line or status line (RFC 3261 §7.1, §7.2).

use crate::sip::error::ParseError;
use crate::sip::scan::Span;
use crate::sip::scan::is_lws;
use crate::sip::scan::is_token;
use crate::sip::scan::number;
use crate::sip::scan::trim;

/// The parts of a first line as places in the message.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FirstLine {
    pub(crate) kind: Kind,
    pub(crate) whole: Span,
    pub(crate) method: Span,
    pub(crate) uri: Span,
    pub(crate) version: Span,
    pub(crate) reason: Span,
    pub(crate) status: u16,
    /// More than one space before the version, or any after it.
    pub(crate) loose: bool,
}

/// What a first line begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Empty,
    Request,
    Reply,
}

impl FirstLine {
    /// Reads a request line or a status line (§7.1, §7.2), tolerant of more than one space.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self, ParseError> {
        let line = raw.strip_suffix(b"\r").unwrap_or(raw);
        let span = |part: &[u8]| Span::of(raw, part);
        let invalid = |what| Err(ParseError::new(what, 0, "7.1"));
        let Some(space) = memchr::memchr2(b' ', b'\t', line) else {
            return invalid("first line of one word");
        };
        let (word, rest) = line.split_at_checked(space).unwrap_or_default();
        let rest = trim(rest);
        if is_version(word) {
            let (code, reason) = rest.split_at_checked(3).unwrap_or_default();
            let Some(status @ 100..=699) = number(code) else {
                return Err(ParseError::new("invalid status code", space + 1, "7.2"));
            };
            if !reason.first().is_none_or(|b| is_lws(*b)) {
                return Err(ParseError::new("invalid status code", space + 1, "7.2"));
            }
            return Ok(Self {
                kind: Kind::Reply,
                whole: span(line),
                version: span(word),
                reason: span(trim(reason)),
                status: status as u16,
                ..Self::default()
            });
        }
        if word.is_empty() || !word.iter().all(|b| is_token(*b)) {
            return invalid("invalid method");
        }
        let Some(last) = memchr::memrchr2(b' ', b'\t', rest) else {
            return invalid("no version in the request line");
        };
        let (uri, version) = rest.split_at_checked(last).unwrap_or_default();
        let version = trim(version);
        if !is_version(version) {
            return Err(ParseError::new(
                "no version in the request line",
                raw.len(),
                "7.1",
            ));
        }
        let loose = uri.last().is_none_or(|b| is_lws(*b)) || !line.ends_with(version);
        Ok(Self {
            kind: Kind::Request,
            loose,
            whole: span(line),
            method: span(word),
            uri: span(trim(uri)),
            version: span(version),
            ..Self::default()
        })
    }
}

/// True for a protocol name that shares SIP's syntax, a slash, and a version.
fn is_version(word: &[u8]) -> bool {
    let Some(slash) = memchr::memchr(b'/', word) else {
        return false;
    };
    let (name, version) = word.split_at_checked(slash).unwrap_or_default();
    (name.eq_ignore_ascii_case(b"SIP") || name.eq_ignore_ascii_case(b"HTTP"))
        && version.get(1).is_some_and(u8::is_ascii_digit)
}
