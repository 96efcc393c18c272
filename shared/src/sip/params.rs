//! The `;name=value` grammar that headers and URIs share, with its escapes (RFC 3261 §7.3.1, §25.1).

use std::borrow::Cow;

use crate::sip::scan::find_outside;
use crate::sip::scan::trim;

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
    rest: &'a [u8],
}

impl<'a> Params<'a> {
    /// Walks `params`, whose first `;` may be missing.
    pub const fn new(params: &'a [u8]) -> Self {
        Self { rest: params }
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Param<'a>> {
        while !self.rest.is_empty() {
            let end = find_outside(self.rest, 0, b';');
            let one = self.rest.get(..end).unwrap_or_default();
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            let (name, value) = match memchr::memchr(b'=', one) {
                Some(at) => (one.get(..at).unwrap_or_default(), one.get(at + 1..).map(trim)),
                None => (one, None),
            };
            let name = trim(name);
            if !name.is_empty() {
                return Some(Param { name, value });
            }
        }
        None
    }
}

/// Finds a parameter: `None` absent, `Some(None)` a flag, `Some(Some(value))` as it stands.
pub fn find<'a>(params: &'a [u8], name: &[u8]) -> Option<Option<&'a [u8]>> {
    Params::new(params)
        .find(|p| p.name.eq_ignore_ascii_case(name))
        .map(|p| p.value)
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
    if memchr::memchr(b'\\', inner).is_none() {
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
    if memchr::memchr(b'%', text).is_none() {
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
