//! `{s.*}`: length, case, parts, replacing (Kamailio transformations cookbook, string transformations).

use super::number;
use super::param;
use super::part;
use super::text;
use crate::script::module::Transformation;
use crate::script::value::Value;
use crate::script::value::print_int;
use std::borrow::Cow;

/// Texts built here stay below this, whatever a script asks for.
const LONGEST: usize = 1 << 20;

/// The rows.
pub(super) static TABLE: &[Transformation] = &[
    Transformation {
        name: "s.len",
        params: (0, 0),
        doc: "Length in bytes.",
        apply: len,
    },
    Transformation {
        name: "s.int",
        params: (0, 0),
        doc: "The integer that the whole text spells.",
        apply: int,
    },
    Transformation {
        name: "s.substr",
        params: (2, 2),
        doc: "Bytes from an offset, negative from the end; length 0: all.",
        apply: substr,
    },
    Transformation {
        name: "s.select",
        params: (2, 2),
        doc: "A field by index, negative from the end, and separator.",
        apply: select,
    },
    Transformation {
        name: "s.intv",
        params: (0, 0),
        doc: "The integer that the whole text spells.",
        apply: int,
    },
    Transformation {
        name: "s.selectws",
        params: (1, 1),
        doc: "A field by index, negative from the end, between single blanks, tabs or line ends.",
        apply: select_blank,
    },
    Transformation {
        name: "s.charat",
        params: (1, 1),
        doc: "The character at a position, 0 the first.",
        apply: char_at,
    },
    Transformation {
        name: "s.byte",
        params: (1, 1),
        doc: "The code of the byte at a position, 0 the first; -1 beyond the end.",
        apply: byte_at,
    },
    Transformation {
        name: "s.byteat",
        params: (1, 1),
        doc: "The same.",
        apply: byte_at,
    },
    Transformation {
        name: "s.rmhdws",
        params: (0, 0),
        doc: "Folded lines as one, a blank at each fold.",
        apply: unfold_with_blank,
    },
    Transformation {
        name: "s.rmhlws",
        params: (0, 0),
        doc: "Folded lines as one, nothing at a fold.",
        apply: unfold,
    },
    Transformation {
        name: "s.strip",
        params: (1, 1),
        doc: "Without so many leading bytes.",
        apply: strip,
    },
    Transformation {
        name: "s.striptail",
        params: (1, 1),
        doc: "Without so many trailing bytes.",
        apply: striptail,
    },
    Transformation {
        name: "s.prefixes",
        params: (0, 1),
        doc: "All prefixes, comma separated, up to a length.",
        apply: prefixes,
    },
    Transformation {
        name: "s.prefixes.quoted",
        params: (0, 1),
        doc: "All prefixes in single quotes.",
        apply: prefixes_quoted,
    },
    Transformation {
        name: "s.replace",
        params: (2, 2),
        doc: "Every occurrence of a text replaced by another.",
        apply: replace,
    },
    Transformation {
        name: "s.rm",
        params: (1, 1),
        doc: "Without any occurrence of a text.",
        apply: remove,
    },
    Transformation {
        name: "s.rmws",
        params: (0, 0),
        doc: "Without blanks, tabs and line ends.",
        apply: remove_blanks,
    },
    Transformation {
        name: "s.numeric",
        params: (0, 0),
        doc: "Its digits only.",
        apply: numeric,
    },
    Transformation {
        name: "s.tolower",
        params: (0, 0),
        doc: "ASCII letters in lower case.",
        apply: lower,
    },
    Transformation {
        name: "s.toupper",
        params: (0, 0),
        doc: "ASCII letters in upper case.",
        apply: upper,
    },
    Transformation {
        name: "s.trim",
        params: (0, 0),
        doc: "Without white space around.",
        apply: trim,
    },
    Transformation {
        name: "s.ltrim",
        params: (0, 0),
        doc: "Without white space before.",
        apply: ltrim,
    },
    Transformation {
        name: "s.rtrim",
        params: (0, 0),
        doc: "Without white space behind.",
        apply: rtrim,
    },
    Transformation {
        name: "s.unquote",
        params: (0, 0),
        doc: "Without surrounding quotes.",
        apply: unquote,
    },
    Transformation {
        name: "s.unbracket",
        params: (0, 0),
        doc: "Without surrounding (), [], {} or <>.",
        apply: unbracket,
    },
    Transformation {
        name: "s.count",
        params: (1, 1),
        doc: "How often a character appears.",
        apply: count,
    },
    Transformation {
        name: "s.after",
        params: (1, 1),
        doc: "What follows a character; empty without it.",
        apply: after,
    },
    Transformation {
        name: "s.rafter",
        params: (1, 1),
        doc: "Empty: what follows the last such character is not found.",
        apply: rafter,
    },
    Transformation {
        name: "s.before",
        params: (1, 1),
        doc: "What precedes a character; everything without it.",
        apply: before,
    },
    Transformation {
        name: "s.rbefore",
        params: (1, 1),
        doc: "The whole: what precedes the last such character is not found.",
        apply: rbefore,
    },
    Transformation {
        name: "s.fmtlines",
        params: (2, 2),
        doc: "Lines of n bytes, m blanks before each but the first.",
        apply: lines_with_blanks,
    },
    Transformation {
        name: "s.fmtlinet",
        params: (2, 2),
        doc: "Lines of n bytes, m tabs before each but the first.",
        apply: lines_with_tabs,
    },
];

fn len<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    text(value).map_or(Value::Null, |text| Value::Int(text.len() as i64))
}

fn int<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    match value {
        Value::Str(text) => {
            let digits = std::str::from_utf8(&text).ok();
            if text.is_empty() {
                return Value::text(b"");
            }
            digits
                .and_then(|digits| digits.parse::<i64>().ok())
                .map_or(Value::Null, |number| {
                    // Kamailio: what does not fit in 32 bits is 0
                    Value::Int(i32::try_from(number).map_or(0, i64::from))
                })
        }
        other => other,
    }
}

fn substr<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let (Some(text), Some(offset), Some(length)) = (text(value), number(params, 0), number(params, 1)) else {
        return Value::Null;
    };
    part(text, |bytes| {
        let size = i64::try_from(bytes.len()).ok()?;
        let start = if offset < 0 {
            size.checked_add(offset)?
        } else {
            offset
        };
        if start < 0 || start >= size || length < 0 {
            return None;
        }
        let end = if length == 0 {
            size
        } else {
            start.saturating_add(length).min(size)
        };
        bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    })
}

fn select<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let Some(separator) = param(params, 1).first().copied() else {
        return Value::Null;
    };
    field(value, params, |byte| byte == separator)
}

fn select_blank<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    field(value, params, is_blank)
}

/// The field with the index of the first parameter.
fn field<'v>(value: Value<'v>, params: &[Value<'_>], separates: impl Fn(u8) -> bool) -> Value<'v> {
    let (Some(text), Some(index)) = (text(value), number(params, 0)) else {
        return Value::Null;
    };
    part(text, |bytes| {
        let mut fields = bytes.split(|byte| separates(*byte));
        let field = if index >= 0 {
            usize::try_from(index).ok().and_then(|at| fields.nth(at))
        } else {
            usize::try_from(-(index + 1))
                .ok()
                .and_then(|at| fields.rev().nth(at))
        };
        Some(field.unwrap_or_default())
    })
}

fn at(params: &[Value<'_>]) -> Option<usize> {
    usize::try_from(number(params, 0)?).ok()
}

fn char_at<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    part(text, |bytes| {
        Some(at(params).and_then(|at| bytes.get(at..=at)).unwrap_or_default())
    })
}

fn byte_at<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    let byte = at(params).and_then(|at| text.get(at));
    Value::Int(byte.map_or(-1, |byte| i64::from(*byte)))
}

fn unfold_with_blank<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    unfolded(value, b" ")
}

fn unfold<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    unfolded(value, b"")
}

/// Takes line ends out, with the blanks that follow; `fold` stands for those.
fn unfolded<'v>(value: Value<'v>, fold: &[u8]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if !text.iter().any(is_end) {
        return Value::Str(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(end) = rest.iter().position(is_end) {
        let (line, more) = rest.split_at(end);
        out.extend_from_slice(line);
        let next = more.iter().position(|byte| !is_end(byte)).unwrap_or(more.len());
        let more = more.get(next..).unwrap_or_default();
        let blanks = more
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        if blanks > 0 {
            out.extend_from_slice(fold);
        }
        rest = more.get(blanks..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    Value::owned(out)
}

fn strip<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    let drop = usize::try_from(number(params, 0).unwrap_or(0)).unwrap_or(0);
    part(text, |bytes| Some(bytes.get(drop..).unwrap_or_default()))
}

fn striptail<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    let drop = usize::try_from(number(params, 0).unwrap_or(0)).unwrap_or(0);
    part(text, |bytes| {
        Some(bytes.get(..bytes.len().saturating_sub(drop)).unwrap_or_default())
    })
}

fn prefixes<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    all_prefixes(value, params, b"")
}

fn prefixes_quoted<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    all_prefixes(value, params, b"'")
}

fn all_prefixes<'v>(value: Value<'v>, params: &[Value<'_>], quote: &[u8]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    let longest = match number(params, 0) {
        Some(limit) if limit > 0 => text.len().min(usize::try_from(limit).unwrap_or(usize::MAX)),
        _ => text.len(),
    };
    let mut out = Vec::new();
    for end in 1..=longest {
        if out.len() + end > LONGEST {
            return Value::Null;
        }
        if end > 1 {
            out.push(b',');
        }
        out.extend_from_slice(quote);
        out.extend_from_slice(text.get(..end).unwrap_or_default());
        out.extend_from_slice(quote);
    }
    Value::owned(out)
}

/// Writes `text` with every `wanted` replaced; borrowed when there is none.
pub(crate) fn replace_all<'v>(text: Cow<'v, [u8]>, wanted: &[u8], with: &[u8]) -> Cow<'v, [u8]> {
    if wanted.is_empty() || memchr::memmem::find(&text, wanted).is_none() {
        return text;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for found in memchr::memmem::find_iter(&text, wanted) {
        if out.len() > LONGEST {
            break;
        }
        out.extend_from_slice(text.get(at..found).unwrap_or_default());
        out.extend_from_slice(with);
        at = found + wanted.len();
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    Cow::Owned(out)
}

fn replace<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    Value::Str(replace_all(text, &param(params, 0), &param(params, 1)))
}

fn remove<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    Value::Str(replace_all(text, &param(params, 0), b""))
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Keeps the bytes that `keep` wants; borrowed when it wants all.
fn keep<'v>(value: Value<'v>, keep: impl Fn(u8) -> bool) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    if text.iter().all(|byte| keep(*byte)) {
        return Value::Str(text);
    }
    Value::owned(
        text.iter()
            .copied()
            .filter(|byte| keep(*byte))
            .collect::<Vec<u8>>(),
    )
}

fn remove_blanks<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    keep(value, |byte| !is_blank(byte))
}

fn numeric<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    keep(value, |byte| byte.is_ascii_digit())
}

fn lower<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    if text.iter().any(u8::is_ascii_uppercase) {
        Value::owned(text.to_ascii_lowercase())
    } else {
        Value::Str(text)
    }
}

fn upper<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    if text.iter().any(u8::is_ascii_lowercase) {
        Value::owned(text.to_ascii_uppercase())
    } else {
        Value::Str(text)
    }
}

fn left(bytes: &[u8]) -> &[u8] {
    let start = bytes
        .iter()
        .position(|byte| !is_blank(*byte))
        .unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}

fn right(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|byte| !is_blank(*byte))
        .map_or(0, |at| at + 1);
    bytes.get(..end).unwrap_or_default()
}

fn trim<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    text(value).map_or(Value::Null, |text| part(text, |bytes| Some(left(right(bytes)))))
}

fn ltrim<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    text(value).map_or(Value::Null, |text| part(text, |bytes| Some(left(bytes))))
}

fn rtrim<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    text(value).map_or(Value::Null, |text| part(text, |bytes| Some(right(bytes))))
}

/// What stands between the first and last byte, when they are one of the pairs.
fn inside<'v>(value: Value<'v>, pairs: &[(u8, u8)]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    part(text, |bytes| match bytes {
        [open, inner @ .., close] if pairs.contains(&(*open, *close)) => Some(inner),
        _ => Some(bytes),
    })
}

fn unquote<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    inside(value, &[(b'"', b'"'), (b'\'', b'\'')])
}

fn unbracket<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    inside(value, &[(b'(', b')'), (b'[', b']'), (b'{', b'}'), (b'<', b'>')])
}

fn count<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let (Some(text), Some(wanted)) = (text(value), param(params, 0).first().copied()) else {
        return Value::Null;
    };
    Value::Int(memchr::memchr_iter(wanted, &text).count() as i64)
}

fn after<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    cut(value, params, |bytes, at| {
        at.map_or(&[], |at| bytes.get(at + 1..).unwrap_or_default())
    })
}

fn rafter<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    // Kamailio: 5.6 never finds the character from the end; what its documentation promises is not what scripts get
    text(value).map_or(Value::Null, |_| Value::text(b""))
}

fn before<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    cut(value, params, |bytes, at| {
        at.map_or(bytes, |at| bytes.get(..at).unwrap_or_default())
    })
}

fn rbefore<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    // Kamailio: as above
    text(value).map_or(Value::Null, Value::Str)
}

fn cut<'v>(
    value: Value<'v>,
    params: &[Value<'_>],
    side: impl for<'a> Fn(&'a [u8], Option<usize>) -> &'a [u8],
) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    // Kamailio: a blank is no character to look for
    let wanted = param(params, 0).trim_ascii().first().copied();
    part(text, |bytes| {
        Some(side(
            bytes,
            wanted.and_then(|wanted| memchr::memchr(wanted, bytes)),
        ))
    })
}

fn lines_with_blanks<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    folded(value, params, b' ')
}

fn lines_with_tabs<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    folded(value, params, b'\t')
}

fn folded<'v>(value: Value<'v>, params: &[Value<'_>], filler: u8) -> Value<'v> {
    let (Some(text), Some(width), Some(indent)) = (text(value), number(params, 0), number(params, 1)) else {
        return Value::Null;
    };
    let (Ok(width), Ok(indent)) = (usize::try_from(width), usize::try_from(indent)) else {
        return Value::Null;
    };
    if width == 0 || indent > 1024 {
        return Value::Null;
    }
    let mut out = Vec::with_capacity(text.len() + text.len() / width * (indent + 2));
    let mut first = true;
    for line in text.chunks(width) {
        if !first {
            out.extend_from_slice(b"\r\n");
            out.resize(out.len() + indent, filler);
        }
        if out.len() > LONGEST {
            return Value::Null;
        }
        first = false;
        out.extend_from_slice(line);
    }
    Value::owned(out)
}

/// A decimal as text.
pub(super) fn decimal(n: i64) -> Vec<u8> {
    let mut out = Vec::new();
    print_int(n, &mut out);
    out
}
