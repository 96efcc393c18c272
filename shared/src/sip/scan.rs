//! The byte cursor under every grammar: tokens, white space, quotes, comma lists (RFC 3261 §25.1).

use std::ops::Range;

use crate::sip::block::position;
use crate::sip::block::position_within;

/// A range of a message that can be copied and kept in a `Cell`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

/// Where `part`, a slice of `whole`, lies in it; empty at 0 when it is none.
pub fn range_of(whole: &[u8], part: &[u8]) -> Range<usize> {
    Span::of(whole, part).range()
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self::new(range.start, range.end)
    }
}

impl Span {
    /// Where `part`, a slice of `whole`, lies in it; empty at 0 when it is none.
    pub(crate) fn of(whole: &[u8], part: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        match start.checked_add(part.len()) {
            Some(end) if end <= whole.len() => Self::new(start, end),
            _ => Self::default(),
        }
    }

    /// Makes a span; messages are kept below 4 GiB, so that nothing is cut here.
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    /// The bytes of the span.
    pub(crate) fn cut<'a>(&self, whole: &'a [u8]) -> &'a [u8] {
        whole
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// The span as a range of offsets.
    pub(crate) const fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// True for the characters of a `token`.
pub const fn is_token(b: u8) -> bool {
    #[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
    TOKEN[b as usize]
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 256 {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        {
            table[b] = (b as u8).is_ascii_alphanumeric()
                || matches!(
                    b as u8,
                    b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
                );
        }
        b += 1;
    }
    table
};

/// True for white space, line ends included, as it stands in a folded value.
pub const fn is_lws(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

/// Cuts white space off both ends.
#[inline]
pub fn trim(data: &[u8]) -> &[u8] {
    trim_end(trim_start(data))
}

/// Cuts white space off the start.
#[inline]
pub(crate) fn trim_start(mut data: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = data
        && is_lws(*first)
    {
        data = rest;
    }
    data
}

/// Cuts white space off the end.
#[inline]
pub(crate) fn trim_end(mut data: &[u8]) -> &[u8] {
    while let [rest @ .., last] = data
        && is_lws(*last)
    {
        data = rest;
    }
    data
}

/// Reads a whole decimal number; `None` when empty, no number, or too large.
#[inline]
pub fn number(data: &[u8]) -> Option<u32> {
    if data.is_empty() {
        return None;
    }
    let mut number = 0u64;
    for b in data {
        let digit = b.wrapping_sub(b'0');
        // Below 2^32 before, it cannot leave 64 bits now.
        number = number * 10 + u64::from(digit);
        if digit > 9 || number > u64::from(u32::MAX) {
            return None;
        }
    }
    Some(number as u32)
}

/// Writes a decimal number without formatting machinery.
pub fn write_number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut len = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (n % 10) as u8;
        len += 1;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - len..).unwrap_or_default());
}

/// Offset just after the quoted string that starts at `at`; `None` when it never ends.
pub(crate) fn quoted_end(data: &[u8], at: usize) -> Option<usize> {
    let mut pos = at + 1;
    loop {
        pos += position(data.get(pos..)?, |b| b.equal(b'"') | b.equal(b'\\'))?;
        if data.get(pos) == Some(&b'"') {
            return Some(pos + 1);
        }
        pos += 2;
    }
}

/// Offset of the first `stop` from `from` to `to` outside quotes and angle brackets, else `to`.
#[inline]
pub(crate) fn find_outside(data: &[u8], from: usize, to: usize, stop: u8) -> usize {
    let mut at = from;
    loop {
        at = position_within(data, at, to, |b| b.equal(stop) | b.equal(b'"') | b.equal(b'<'));
        if at == to || data.get(at) == Some(&stop) {
            return at;
        }
        at = hidden_end(data, at, to);
    }
}

/// Offset just after the quoted string or the angle brackets that begin at `at`; `to` when they never end.
#[cold]
fn hidden_end(data: &[u8], at: usize, to: usize) -> usize {
    let part = data.get(..to).unwrap_or_default();
    if part.get(at) == Some(&b'"') {
        return quoted_end(part, at).unwrap_or(to);
    }
    let close = position_within(data, at, to, |b| b.equal(b'>'));
    to.min(close + 1)
}

/// A range without the white space around it.
#[inline]
pub(crate) fn trim_range(data: &[u8], range: Range<usize>) -> Range<usize> {
    match data.get(range.clone()) {
        // Nearly all have none.
        Some([b'!'..=0xff, .., b'!'..=0xff]) => range,
        Some(part) => {
            let text = trim_start(part);
            let start = range.end - text.len();
            start..start + trim_end(text).len()
        }
        None => range,
    }
}

/// Where the first value of a comma list without white space around it lies; empty when there is none.
pub(crate) fn first_value(data: &[u8], list: Range<usize>) -> Range<usize> {
    if position_within(data, list.start, list.end, |b| b.equal(b',')) == list.end {
        return list;
    }
    let values = data.get(list).unwrap_or_default();
    let first = CommaList::new(values).next().unwrap_or_default();
    Span::of(data, first).range()
}

/// Offset of the first `b`.
#[inline]
pub(crate) fn find_byte(data: &[u8], b: u8) -> Option<usize> {
    position(data, |block| block.equal(b))
}

/// A place in bytes that only moves forward.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    data: &'a [u8],
    pos: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte.
    pub const fn new(data: &'a [u8]) -> Self {
        Self { data, pos: 0 }
    }

    /// The offset reached.
    pub const fn pos(&self) -> usize {
        self.pos
    }

    /// Moves over `len` bytes.
    pub(crate) const fn skip(&mut self, len: usize) {
        self.pos += len;
    }

    /// The byte at the cursor.
    pub fn peek(&self) -> Option<u8> {
        self.data.get(self.pos).copied()
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.data.get(self.pos..).unwrap_or_default()
    }

    /// Moves over `b`; false when something else stands there.
    pub fn eat(&mut self, b: u8) -> bool {
        let here = self.peek() == Some(b);
        self.pos += usize::from(here);
        here
    }

    /// Moves over white space, line ends included.
    pub fn skip_lws(&mut self) -> &mut Self {
        self.take_while(is_lws);
        self
    }

    /// Takes bytes as long as `keep` holds.
    pub fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let len = rest.iter().position(|b| !keep(*b)).unwrap_or(rest.len());
        self.pos += len;
        rest.get(..len).unwrap_or_default()
    }

    /// Takes a token, which may turn out empty.
    pub fn token(&mut self) -> &'a [u8] {
        self.take_while(is_token)
    }

    /// Takes a quoted string and answers what stands between the quotes, escapes kept.
    pub fn quoted(&mut self) -> Option<&'a [u8]> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let end = quoted_end(self.data, self.pos)?;
        let inner = self.data.get(self.pos + 1..end - 1);
        self.pos = end;
        inner
    }

    /// Takes everything up to a `stop` outside quotes and brackets.
    pub fn until_outside(&mut self, stop: u8) -> &'a [u8] {
        let end = find_outside(self.data, self.pos, self.data.len(), stop);
        let taken = self.data.get(self.pos..end).unwrap_or_default();
        self.pos = end;
        taken
    }
}

/// The values of a comma list, trimmed, empty ones left out; quotes and brackets hide commas.
#[derive(Debug, Clone)]
pub struct CommaList<'a> {
    cursor: Cursor<'a>,
}

impl<'a> CommaList<'a> {
    /// Splits a header value.
    pub const fn new(value: &'a [u8]) -> Self {
        Self {
            cursor: Cursor::new(value),
        }
    }
}

impl<'a> Iterator for CommaList<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while self.cursor.peek().is_some() {
            let rest = self.cursor.rest();
            // Most values stand alone: where there is no comma none is hidden either.
            let value = match find_byte(rest, b',') {
                None => {
                    self.cursor.pos += rest.len();
                    trim(rest)
                }
                Some(_) => trim(self.cursor.until_outside(b',')),
            };
            self.cursor.eat(b',');
            if !value.is_empty() {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comma_lists() {
        let table: &[(&str, &[&str])] = &[
            ("a, b ,c", &["a", "b", "c"]),
            ("\"x,y\" <sip:a,b@c>,d", &["\"x,y\" <sip:a,b@c>", "d"]),
            ("\"x\\\",y\" <sip:a>, z", &["\"x\\\",y\" <sip:a>", "z"]),
            (",, a,\r\n b,", &["a", "b"]),
            ("", &[]),
            ("\"open, a", &["\"open, a"]),
            ("<open, a", &["<open, a"]),
        ];
        for (input, expected) in table {
            let got: Vec<_> = CommaList::new(input.as_bytes())
                .map(|v| str::from_utf8(v).unwrap())
                .collect();
            assert_eq!(&got, expected, "{input:?}");
        }
    }

    #[test]
    fn numbers() {
        for (input, expected) in [
            ("0", Some(0)),
            ("70", Some(70)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(number(input.as_bytes()), expected, "{input:?}");
        }
        for n in [0, 9, 10, 12345, u64::MAX] {
            let mut out = Vec::new();
            write_number(&mut out, n);
            assert_eq!(out, n.to_string().as_bytes());
        }
    }
}
