//! `{param.*}`: lists such as `a=1;b=2` (RFC 3261 §7.3.1; Kamailio transformations cookbook).

use super::number;
use super::param;
use super::part;
use super::text;
use super::uri::bare;
use crate::script::module::Transformation;
use crate::script::value::Value;

/// The rows.
pub(super) static TABLE: &[Transformation] = &[
    Transformation {
        name: "param.value",
        params: (1, 2),
        doc: "Value of a parameter; the delimiter may be given.",
        apply: value_of,
    },
    Transformation {
        name: "param.in",
        params: (1, 2),
        doc: "1 when a parameter is there, else 0.",
        apply: contains,
    },
    Transformation {
        name: "param.valueat",
        params: (1, 2),
        doc: "Value at a position, negative from the end.",
        apply: value_at,
    },
    Transformation {
        name: "param.name",
        params: (1, 2),
        doc: "Name at a position, negative from the end.",
        apply: name_at,
    },
    Transformation {
        name: "param.count",
        params: (0, 1),
        doc: "How many parameters there are.",
        apply: count,
    },
];

/// The parameters of a list: name and value, quotes taken away.
pub(crate) struct List<'a> {
    rest: Option<&'a [u8]>,
    delimiter: u8,
}

impl<'a> List<'a> {
    /// Walks a list.
    pub(crate) fn new(text: &'a [u8], delimiter: u8) -> Self {
        Self {
            rest: (!text.trim_ascii().is_empty()).then_some(text),
            delimiter,
        }
    }
}

impl<'a> Iterator for List<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest?;
        let mut quoted = None;
        let mut end = text.len();
        for (at, byte) in text.iter().enumerate() {
            match byte {
                b if quoted == Some(b) => quoted = None,
                _ if quoted.is_some() => {}
                b'"' | b'\'' => quoted = Some(byte),
                b if *b == self.delimiter => {
                    end = at;
                    break;
                }
                // Kamailio: a comma ends the list, as it ends a header's value
                b',' => {
                    self.rest = None;
                    return split(text.get(..at)?);
                }
                _ => {}
            }
        }
        self.rest = text.get(end + 1..).filter(|rest| !rest.trim_ascii().is_empty());
        split(text.get(..end)?)
    }
}

fn split(one: &[u8]) -> Option<(&[u8], &[u8])> {
    Some(match memchr::memchr(b'=', one) {
        Some(at) => (one.get(..at)?.trim_ascii(), bare(one.get(at + 1..)?.trim_ascii())),
        None => (one.trim_ascii(), b"".as_slice()),
    })
}

fn delimiter(params: &[Value<'_>], n: usize) -> u8 {
    param(params, n).first().copied().unwrap_or(b';')
}

/// Chooses from the list; null when there is none.
fn choose<'v>(
    value: Value<'v>,
    delimiter: u8,
    pick: impl for<'a> FnOnce(List<'a>) -> Option<&'a [u8]>,
) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    part(text, |bytes| {
        if bytes.trim_ascii().is_empty() {
            return None;
        }
        Some(pick(List::new(bytes, delimiter)).unwrap_or_default())
    })
}

fn value_of<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let name = param(params, 0);
    // Kamailio: of several with one name the last one counts
    choose(value, delimiter(params, 1), |list| {
        list.filter(|(known, _)| known.eq_ignore_ascii_case(&name))
            .last()
            .map(|(_, value)| value)
    })
}

fn contains<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    if text.trim_ascii().is_empty() {
        return Value::Null;
    }
    let name = param(params, 0);
    let found = List::new(&text, delimiter(params, 1)).any(|(known, _)| known.eq_ignore_ascii_case(&name));
    Value::Int(i64::from(found))
}

fn nth<'a>(mut list: List<'a>, position: i64) -> Option<(&'a [u8], &'a [u8])> {
    if position >= 0 {
        return list.nth(usize::try_from(position).ok()?);
    }
    let all: Vec<_> = list.collect();
    all.len()
        .checked_sub(usize::try_from(position.checked_neg()?).ok()?)
        .and_then(|at| all.get(at).copied())
}

fn value_at<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let position = number(params, 0).unwrap_or(0);
    choose(value, delimiter(params, 1), |list| {
        nth(list, position).map(|(_, value)| value)
    })
}

fn name_at<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let position = number(params, 0).unwrap_or(0);
    choose(value, delimiter(params, 1), |list| {
        nth(list, position).map(|(name, _)| name)
    })
}

fn count<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    if text.trim_ascii().is_empty() {
        return Value::Null;
    }
    Value::Int(List::new(&text, delimiter(params, 0)).count() as i64)
}
