//! The `;name=value` grammar that headers and URIs share, with its escapes (RFC 3261 §7.3.1, §25.1).

use std::borrow::Cow;
use std::ops::Range;

use crate::sip::block::position_within;
use crate::sip::scan::find_byte;
use crate::sip::scan::find_outside;
use crate::sip::scan::trim_range;

/// One parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'a> {
    /// The name as spelt.
    pub name: &'a [u8],
    /// The value as it stands, quotes included; `None` for a flag.
    pub value: Option<&'a [u8]>,
}

impl<'a> Param<'a> {
    /// The value without quotes and escapes; empty for a flag.
    pub fn text(&self) -> Cow<'a, [u8]> {
        unquote(self.value.unwrap_or_default())
    }
}

/// The parameters of `;a=1;b;c="x;y"` in order.
#[derive(Debug, Clone)]
pub struct Params<'a> {
    data: &'a [u8],
    at: usize,
    end: usize,
}

/// Where a parameter lies.
#[derive(Debug, Clone)]
pub(crate) struct ParamPlace {
    pub(crate) name: Range<usize>,
    pub(crate) value: Option<Range<usize>>,
}

impl<'a> Params<'a> {
    /// Walks `params`, whose first `;` may be missing.
    pub const fn new(params: &'a [u8]) -> Self {
        Self::within(params, 0, params.len())
    }

    /// Walks the part of `data` between two offsets.
    pub(crate) const fn within(data: &'a [u8], at: usize, end: usize) -> Self {
        Self { data, at, end }
    }

    /// The place of the next parameter.
    #[inline(always)]
    pub(crate) fn next_place(&mut self) -> Option<ParamPlace> {
        let Self { data, end, .. } = *self;
        while self.at < end {
            let start = self.at + usize::from(data.get(self.at) == Some(&b';'));
            let mark = position_within(data, start, end, |b| {
                b.equal(b';') | b.equal(b'=') | b.equal(b'"') | b.equal(b'<')
            });
            let (stop, equals) = match data.get(mark).filter(|_| mark < end) {
                None | Some(b';') => (mark, None),
                Some(b'=') => (find_outside(data, mark + 1, end, b';'), Some(mark)),
                Some(_) => {
                    let stop = find_outside(data, mark, end, b';');
                    let equals = position_within(data, mark, stop, |b| b.equal(b'='));
                    (stop, (equals < stop).then_some(equals))
                }
            };
            self.at = stop;
            let name = trim_range(data, start..equals.unwrap_or(stop));
            if !name.is_empty() {
                let value = equals.map(|at| trim_range(data, at + 1..stop));
                return Some(ParamPlace { name, value });
            }
        }
        None
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = Param<'a>;

    #[inline]
    fn next(&mut self) -> Option<Param<'a>> {
        let ParamPlace { name, value } = self.next_place()?;
        let cut = |range: Range<usize>| self.data.get(range).unwrap_or_default();
        Some(Param {
            name: cut(name),
            value: value.map(cut),
        })
    }
}

/// Finds a parameter: `None` absent, `Some(None)` a flag, `Some(Some(value))` as it stands.
pub fn find<'a>(params: &'a [u8], name: &[u8]) -> Option<Option<&'a [u8]>> {
    Params::new(params)
        .find(|p| same_name(p.name, name))
        .map(|p| p.value)
}

/// Compares names of parameters, whose case does not count.
#[inline]
pub(crate) fn same_name(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && (a == b || a.eq_ignore_ascii_case(b))
}

/// Takes the quotes and backslashes of a quoted string away; other text stays as it is.
pub fn unquote(text: &[u8]) -> Cow<'_, [u8]> {
    let [b'"', inner @ .., b'"'] = text else {
        return Cow::Borrowed(text);
    };
    unescape_quoted(inner)
}

/// Resolves the `\x` pairs inside a quoted string (`quoted-pair`).
pub fn unescape_quoted(inner: &[u8]) -> Cow<'_, [u8]> {
    if find_byte(inner, b'\\').is_none() {
        return Cow::Borrowed(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&b) = bytes.next() {
        let b = if b == b'\\' {
            bytes.next().copied().unwrap_or(b)
        } else {
            b
        };
        out.push(b);
    }
    Cow::Owned(out)
}

/// Writes `text` as a quoted string.
pub fn write_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &b in text {
        if matches!(b, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(b);
    }
    out.push(b'"');
}

/// Resolves `%hh`; what is no escape stays as it is.
pub fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if find_byte(text, b'%').is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let (b, tail) = escaped(rest).unwrap_or((*first, tail));
        out.push(b);
        rest = tail;
    }
    Cow::Owned(out)
}

/// The byte that an escape at the start of `text` stands for, with what follows it.
pub(crate) fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let [b'%', high, low, tail @ ..] = text else {
        return None;
    };
    Some((hex(*high)? << 4 | hex(*low)?, tail))
}

const fn hex(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks() {
        let got: Vec<_> = Params::new(b";a=1; b ;c = \"x;y=\\\"z\" ;;d=<sip:a;b>;e=").collect();
        let expected: &[(&[u8], Option<&[u8]>)] = &[
            (b"a", Some(b"1")),
            (b"b", None),
            (b"c", Some(b"\"x;y=\\\"z\"")),
            (b"d", Some(b"<sip:a;b>")),
            (b"e", Some(b"")),
        ];
        assert_eq!(
            got,
            expected
                .iter()
                .map(|(name, value)| Param { name, value: *value })
                .collect::<Vec<_>>()
        );
        assert_eq!(&*got[2].text(), b"x;y=\"z");
    }

    #[test]
    fn finds() {
        assert_eq!(find(b";LR;Transport=tcp", b"transport"), Some(Some(&b"tcp"[..])));
        assert_eq!(find(b";LR;Transport=tcp", b"lr"), Some(None));
        assert_eq!(find(b";lrx", b"lr"), None);
    }

    #[test]
    fn escapes() {
        for (input, expected) in [
            ("a%20b", "a b"),
            ("%75se%72", "user"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz%41", "%zzA"),
        ] {
            assert_eq!(&*unescape(input.as_bytes()), expected.as_bytes(), "{input:?}");
        }
        let mut out = Vec::new();
        write_quoted(&mut out, b"a\"b\\");
        assert_eq!(out, b"\"a\\\"b\\\\\"");
        assert_eq!(&*unquote(&out), b"a\"b\\");
    }
}
