//! The first line of a message: request line or status line (RFC 3261 §7.1, §7.2).

use crate::sip::block::position_within;
use crate::sip::error::ParseError;
use crate::sip::method::Method;
use crate::sip::scan::Span;
use crate::sip::scan::is_lws;
use crate::sip::scan::is_token;
use crate::sip::scan::number;
use crate::sip::scan::trim;
use crate::sip::scan::trim_end;
use crate::sip::scan::trim_start;

/// The parts of a first line as places in the message.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FirstLine {
    pub(crate) kind: Kind,
    pub(crate) whole: Span,
    pub(crate) method: Span,
    /// The method, when it is one with a name of its own.
    pub(crate) known: Option<Method<'static>>,
    pub(crate) uri: Span,
    pub(crate) version: Span,
    pub(crate) reason: Span,
    pub(crate) status: u16,
    /// The version is SIP/2.0.
    pub(crate) is_current: bool,
    /// A request line with more than one space before the version, any after it, or what no URI can have.
    pub(crate) is_loose: bool,
}

/// What a first line begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Empty,
    Request,
    Reply,
}

const CURRENT: &[u8] = b"SIP/2.0";

impl FirstLine {
    /// Reads the line at the start of `buf` that ends at `end`, tolerant of more than one space (§7.1, §7.2).
    pub(crate) fn parse(buf: &[u8], end: usize) -> Result<Self, ParseError> {
        let raw = buf.get(..end).unwrap_or_default();
        let line = raw.strip_suffix(b"\r").unwrap_or(raw);
        let space = position_within(buf, 0, line.len(), |b| b.equal(b' ') | b.equal(b'\t'));
        let Some((word, rest)) = line.split_at_checked(space).filter(|(_, rest)| !rest.is_empty()) else {
            return Err(error("first line of one word"));
        };
        match Method::named(word) {
            None if is_version(word) => Self::status_line(line, word, rest),
            known => Self::request_line(buf, line, (word, known), rest),
        }
    }

    fn status_line(line: &[u8], version: &[u8], rest: &[u8]) -> Result<Self, ParseError> {
        let invalid = Err(ParseError::new("invalid status code", version.len() + 1, "7.2"));
        let (code, reason) = trim(rest).split_at_checked(3).unwrap_or_default();
        let Some(status @ 100..=699) = number(code) else {
            return invalid;
        };
        if !reason.first().is_none_or(|b| is_lws(*b)) {
            return invalid;
        }
        Ok(Self {
            kind: Kind::Reply,
            whole: Span::new(0, line.len()),
            version: Span::new(0, version.len()),
            is_current: is_current(version),
            reason: Span::of(line, trim(reason)),
            status: status as u16,
            ..Self::default()
        })
    }

    #[inline]
    fn request_line(
        buf: &[u8],
        line: &[u8],
        (method, known): (&[u8], Option<Method<'static>>),
        rest: &[u8],
    ) -> Result<Self, ParseError> {
        if known.is_none() && (method.is_empty() || !method.iter().all(|b| is_token(*b))) {
            return Err(error("invalid method"));
        }
        let target = trim_start(rest);
        let words = trim_end(target);
        // The usual version is taken at once.
        let (uri, version) = match words.strip_suffix(CURRENT) {
            Some(uri) if uri.last() == Some(&b' ') => (uri, CURRENT),
            _ => {
                let space = words.iter().rposition(|b| matches!(b, b' ' | b'\t'));
                let Some((uri, version)) = space.and_then(|at| words.split_at_checked(at + 1)) else {
                    return Err(error("no version in the request line"));
                };
                (uri, trim_start(version))
            }
        };
        if !is_version(version) {
            return Err(ParseError {
                offset: line.len(),
                ..error("no version in the request line")
            });
        }
        let start = line.len() - target.len();
        let version_end = start + words.len();
        // Nothing may stand between the URI and the version but one space, and nothing behind the version.
        let spaced = trim_end(uri).len() + 1 == uri.len() && version_end == line.len();
        let uri = trim_end(uri);
        let foreign = position_within(buf, start, start + uri.len(), |b| {
            b.within(0, b' ') | b.equal(b'<') | b.equal(b'>') | b.equal(b'"')
        });
        Ok(Self {
            kind: Kind::Request,
            whole: Span::new(0, line.len()),
            method: Span::new(0, method.len()),
            known,
            uri: Span::new(start, start + uri.len()),
            version: Span::new(version_end - version.len(), version_end),
            is_current: is_current(version),
            is_loose: !spaced || foreign < start + uri.len(),
            ..Self::default()
        })
    }
}

/// True for a protocol name that shares SIP's syntax, a slash, and a version.
#[inline]
fn is_version(word: &[u8]) -> bool {
    let named = |name: &[u8]| {
        word.split_at_checked(name.len()).is_some_and(|(start, version)| {
            start.eq_ignore_ascii_case(name) && version.first().is_some_and(u8::is_ascii_digit)
        })
    };
    word == CURRENT || named(b"SIP/") || named(b"HTTP/")
}

#[inline]
fn is_current(version: &[u8]) -> bool {
    version == CURRENT || version.eq_ignore_ascii_case(CURRENT)
}

const fn error(what: &'static str) -> ParseError {
    ParseError::new(what, 0, "7.1")
}
