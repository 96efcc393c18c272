//! CSeq: a number that orders requests, with their method (RFC 3261 §20.16).

use std::ops::Range;

use crate::sip::block::position_within;
use crate::sip::error::ParseError;
use crate::sip::method::Method;
use crate::sip::scan::Cursor;
use crate::sip::scan::Span;
use crate::sip::scan::number;

/// The value of a CSeq header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// The sequence number, below 2^32 in what is read although §8.1.1.5 wants it below 2^31.
    pub number: u32,
    /// The method.
    pub method: Method<'a>,
}

impl<'a> CSeq<'a> {
    /// Reads the value.
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        Ok(CSeqSpans::read(value, 0..value.len())?.view(value))
    }
}

/// The places of a CSeq in its message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CSeqSpans {
    number: u32,
    /// The method, when it is one with a name of its own.
    known: Option<Method<'static>>,
    method: Span,
}

impl CSeqSpans {
    /// Reads the value that lies between two offsets.
    pub(crate) fn read(whole: &[u8], value: Range<usize>) -> Result<Self, ParseError> {
        let Range { start, end } = value;
        // The usual spacing is taken at once.
        let space = position_within(whole, start, end, |b| b.equal(b' '));
        if let Some(number) = whole.get(start..space).and_then(number)
            && let Some(method) = whole.get(space + 1..end).and_then(Method::named)
        {
            return Ok(Self {
                number,
                known: Some(method),
                method: Span::default(),
            });
        }
        Self::read_spaced(whole, value)
    }

    fn read_spaced(whole: &[u8], value: Range<usize>) -> Result<Self, ParseError> {
        let mut at = Cursor::new(whole.get(value).unwrap_or_default());
        let digits = at.skip_lws().take_while(|b| b.is_ascii_digit());
        let number = number(digits).ok_or(error("invalid CSeq number", 0))?;
        let gap = at.pos();
        let method = at.skip_lws().token();
        if method.is_empty() || at.pos() == gap + method.len() {
            return Err(error("invalid CSeq method", gap));
        }
        if !at.skip_lws().rest().is_empty() {
            return Err(error("text after the CSeq method", at.pos()));
        }
        Ok(Self {
            number,
            known: Method::named(method),
            method: Span::of(whole, method),
        })
    }

    #[inline]
    pub(crate) fn view<'a>(&self, whole: &'a [u8]) -> CSeq<'a> {
        CSeq {
            number: self.number,
            method: match self.known {
                Some(method) => method,
                None => Method::Other(self.method.cut(whole)),
            },
        }
    }
}

const fn error(what: &'static str, offset: usize) -> ParseError {
    ParseError::new(what, offset, "20.16")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn grammar() {
        let table = [
            ("4711 INVITE", Some((4711, Method::Invite))),
            (" 0009\r\n  INVITE ", Some((9, Method::Invite))),
            ("1 FOO", Some((1, Method::Other(b"FOO")))),
            ("4294967295 ACK", Some((u32::MAX, Method::Ack))),
            ("36893488147419103232 REGISTER", None),
            ("1", None),
            ("1INVITE", None),
            ("INVITE", None),
            ("1 INVITE x", None),
            ("-1 INVITE", None),
            ("", None),
        ];
        for (input, expected) in table {
            assert_eq!(
                CSeq::parse(input.as_bytes()).ok().map(|c| (c.number, c.method)),
                expected,
                "{input:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(data: Vec<u8>) {
            let _ = CSeq::parse(&data);
        }
    }
}
