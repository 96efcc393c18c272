//! What an expression yields: null, an integer or a string, with Kamailio's idea of truth and conversion.

use shared::sip::scan::write_number;
use std::borrow::Cow;

/// The value of a pseudo-variable or an expression; strings borrow from the message where they can.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Value<'a> {
    /// `$null`: unset.
    #[default]
    Null,
    /// An integer.
    Int(i64),
    /// Bytes; SIP does not promise UTF-8.
    Str(Cow<'a, [u8]>),
}

impl<'a> Value<'a> {
    /// Borrows bytes.
    pub fn text(bytes: &'a [u8]) -> Self {
        Self::Str(Cow::Borrowed(bytes))
    }

    /// Borrows bytes, null when they are empty: the rule of most message parts.
    pub fn text_or_null(bytes: &'a [u8]) -> Self {
        if bytes.is_empty() {
            Self::Null
        } else {
            Self::text(bytes)
        }
    }

    /// Takes bytes.
    pub fn owned(bytes: impl Into<Vec<u8>>) -> Value<'static> {
        Value::Str(Cow::Owned(bytes.into()))
    }

    /// An optional borrow.
    pub fn maybe(bytes: Option<&'a [u8]>) -> Self {
        bytes.map_or(Self::Null, Self::text)
    }

    /// Cuts the tie to what was borrowed.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Int(n) => Value::Int(n),
            Self::Str(s) => Value::Str(Cow::Owned(s.into_owned())),
        }
    }

    /// A second view of the same value.
    pub fn borrow(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Int(n) => Value::Int(*n),
            Self::Str(s) => Value::Str(Cow::Borrowed(s)),
        }
    }

    /// Whether it is `$null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Kamailio: a bare pseudo-variable in a condition is true only as an integer above 0.
    pub fn is_true(&self) -> bool {
        matches!(self, Self::Int(n) if *n > 0)
    }

    /// The integer in it: digits at the start of a string count, everything else is 0.
    pub fn to_int(&self) -> i64 {
        match self {
            Self::Null => 0,
            Self::Int(n) => *n,
            Self::Str(s) => leading_int(s).unwrap_or(0),
        }
    }

    /// Its text: null is empty.
    pub fn to_text(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Null => Cow::Borrowed(b""),
            Self::Int(n) => Cow::Owned(n.to_string().into_bytes()),
            Self::Str(s) => Cow::Borrowed(s),
        }
    }

    /// Its text, taken.
    pub fn into_text(self) -> Cow<'a, [u8]> {
        match self {
            Self::Null => Cow::Borrowed(b""),
            Self::Int(n) => Cow::Owned(n.to_string().into_bytes()),
            Self::Str(s) => s,
        }
    }

    /// Appends what a log line shows of it: null is `<null>`.
    pub fn print(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"<null>"),
            Self::Int(n) => print_int(*n, out),
            Self::Str(s) => out.extend_from_slice(s),
        }
    }
}

/// Appends a decimal without allocating.
pub fn print_int(n: i64, out: &mut Vec<u8>) {
    if n < 0 {
        out.push(b'-');
    }
    write_number(out, n.unsigned_abs());
}

/// The signed decimal that a text begins with; none when there is no digit.
pub fn leading_int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let mut value: Option<i64> = None;
    for digit in digits.iter().take_while(|b| b.is_ascii_digit()) {
        value = Some(
            value
                .unwrap_or(0)
                .saturating_mul(10)
                .saturating_add(i64::from(digit - b'0')),
        );
    }
    value.map(|n| if negative { -n } else { n })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_is_an_integer_above_zero() {
        for (value, expected) in [
            (Value::Null, false),
            (Value::Int(1), true),
            (Value::Int(0), false),
            (Value::Int(-1), false),
            (Value::text(b"1"), false),
        ] {
            assert_eq!(value.is_true(), expected, "{value:?}");
        }
    }

    #[test]
    fn integers_are_read_and_printed() {
        for (text, expected) in [
            ("12abc", Some(12)),
            ("-7", Some(-7)),
            ("", None),
            ("x1", None),
            ("99999999999999999999", Some(i64::MAX)),
        ] {
            assert_eq!(leading_int(text.as_bytes()), expected, "{text}");
        }
        for n in [0, 7, -7, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            print_int(n, &mut out);
            assert_eq!(out, n.to_string().as_bytes());
        }
    }
}
