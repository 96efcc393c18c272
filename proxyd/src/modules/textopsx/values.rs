//! Values of header lists and their parameters: `append_hf_value` and its kin (Kamailio textopsx).

use super::dashed;
use crate::proxy::context::Context;
use crate::script::module::Call;
use crate::script::module::Code;
use shared::sip::Message;
use std::borrow::Cow;
use std::ops::Range;

/// `NAME[INDEX].PARAM` taken apart.
struct Target<'a> {
    name: Cow<'a, [u8]>,
    index: Index,
    param: Option<&'a [u8]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Index {
    None,
    /// 0 and 1 are the first, -1 the last.
    At(i64),
    All,
}

/// Whether commas part values, or belong to one (`Authorization`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Commas {
    PartValues,
    PartParameters,
}

fn target(text: &[u8]) -> Option<Target<'_>> {
    let (head, param) = match memchr::memchr(b'.', text) {
        Some(dot) => (text.get(..dot)?, text.get(dot + 1..)),
        None => (text, None),
    };
    let (name, index) = match memchr::memchr(b'[', head) {
        Some(open) => {
            let inner = head.get(open + 1..)?.strip_suffix(b"]")?;
            let index = if inner == b"*" {
                Index::All
            } else {
                Index::At(std::str::from_utf8(inner).ok()?.parse().ok()?)
            };
            (head.get(..open)?, index)
        }
        None => (head, Index::None),
    };
    (!name.is_empty()).then(|| Target {
        name: dashed(name),
        index,
        param,
    })
}

/// A value: its place in the message, and that of the header field it stands in.
#[derive(Clone)]
struct Placed {
    value: Range<usize>,
    field: Range<usize>,
    /// From the end of the value before it, or its own start.
    with_comma: Range<usize>,
    alone: bool,
}

/// Every value of a header's name in order.
fn placed(msg: &Message, name: &[u8], commas: Commas) -> Vec<Placed> {
    let mut found: Vec<Placed> = Vec::new();
    for header in msg.all_named(name) {
        let field = header.field.start as usize..header.field.end as usize;
        let whole = header.value.start as usize..header.value.end as usize;
        let text = msg.as_bytes().get(whole.clone()).unwrap_or_default();
        let pieces = match commas {
            Commas::PartValues => split(text),
            Commas::PartParameters => std::iter::once(0..text.len()).collect(),
        };
        let count = pieces.len();
        let mut before = None;
        for (at, piece) in pieces.iter().enumerate() {
            let value = whole.start + piece.start..whole.start + piece.end;
            let next = pieces.get(at + 1).map(|next| whole.start + next.start);
            let with_comma = match (before, next) {
                (Some(end), _) => end..value.end,
                (None, Some(start)) => value.start..start,
                (None, None) => value.clone(),
            };
            before = Some(value.end);
            found.push(Placed {
                value,
                field: field.clone(),
                with_comma,
                alone: count == 1,
            });
        }
    }
    found
}

/// The ranges between commas that stand outside quotes and brackets, blanks left out.
fn split(text: &[u8]) -> Vec<Range<usize>> {
    let (mut pieces, mut start, mut quoted, mut bracket, mut escaped) = (Vec::new(), 0, false, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => bracket = true,
            b'>' if !quoted => bracket = false,
            b',' if !quoted && !bracket => {
                pieces.push(trimmed(text, start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(trimmed(text, start..text.len()));
    pieces
}

fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let piece = text.get(range.clone()).unwrap_or_default();
    let lead = piece.len() - piece.trim_ascii_start().len();
    let tail = piece.len() - piece.trim_ascii_end().len();
    if lead == piece.len() {
        range.start..range.start
    } else {
        range.start + lead..range.end - tail
    }
}

/// The values that an index means; none written is the first.
fn chosen(all: Vec<Placed>, index: Index) -> Vec<Placed> {
    let at = match index {
        Index::All => return all,
        Index::None => Some(0),
        Index::At(n) if n >= 0 => usize::try_from(n.max(1) - 1).ok(),
        Index::At(n) => usize::try_from(n.unsigned_abs())
            .ok()
            .and_then(|back| all.len().checked_sub(back)),
    };
    at.and_then(|at| all.get(at).cloned()).into_iter().collect()
}

fn header_line(name: &[u8], value: &[u8]) -> Vec<u8> {
    [name, b": ", value, b"\r\n"].concat()
}

pub(super) fn append(call: &mut Call<'_, '_>) -> Code {
    let (target_text, value) = (call.text_owned(0), call.text_owned(1));
    let Some(target) = target(&target_text) else {
        return Code::FALSE;
    };
    let ctx = &mut *call.env.ctx;
    let found = match target.index {
        Index::None => None,
        // Kamailio: here 0 is the last one
        Index::At(0) => placed(&ctx.msg, &target.name, Commas::PartValues).pop(),
        index => chosen(placed(&ctx.msg, &target.name, Commas::PartValues), index).pop(),
    };
    match found {
        Some(found) => ctx
            .lumps
            .insert(found.value.end, &[b",".as_slice(), &value].concat()),
        None => ctx
            .lumps
            .append_header(&ctx.msg, &header_line(&target.name, &value)),
    }
    Code::TRUE
}

pub(super) fn insert(call: &mut Call<'_, '_>) -> Code {
    let (target_text, value) = (call.text_owned(0), call.text_owned(1));
    let Some(target) = target(&target_text) else {
        return Code::FALSE;
    };
    let ctx = &mut *call.env.ctx;
    let found = match target.index {
        Index::None => None,
        index => chosen(placed(&ctx.msg, &target.name, Commas::PartValues), index)
            .into_iter()
            .next(),
    };
    match found {
        // Kamailio: it follows the comma that stood before
        Some(found) if !found.alone && found.with_comma.start < found.value.start => ctx
            .lumps
            .insert(found.with_comma.start, &[b",".as_slice(), &value].concat()),
        Some(found) => ctx
            .lumps
            .insert(found.value.start, &[&value, b",".as_slice()].concat()),
        None => {
            let line = header_line(&target.name, &value);
            if ctx.msg.all_named(&target.name).next().is_some() {
                ctx.lumps.insert_header_before(&ctx.msg, &target.name, &line);
            } else {
                ctx.lumps.append_header(&ctx.msg, &line);
            }
        }
    }
    Code::TRUE
}

/// A parameter of a value: from its separator to its end, and its own value.
fn parameter(text: &[u8], name: &[u8], separator: u8) -> Option<(Range<usize>, Range<usize>)> {
    let (mut quoted, mut bracket, mut start) = (false, false, None);
    let mut found = None;
    let mut check = |from: usize, to: usize| {
        let one = text.get(from..to).unwrap_or_default();
        let equals = memchr::memchr(b'=', one).unwrap_or(one.len());
        let own = one.get(..equals).unwrap_or_default().trim_ascii();
        // the first parameter of credentials follows their scheme
        let own = own.rsplit(|byte| *byte == b' ').next().unwrap_or(own);
        if found.is_none() && own.eq_ignore_ascii_case(name) {
            let name_at = from + (own.as_ptr() as usize).wrapping_sub(one.as_ptr() as usize);
            let value = from + (equals + 1).min(one.len())..to;
            found = Some((name_at..to, value));
        }
    };
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'<' if !quoted => bracket = true,
            b'>' if !quoted => bracket = false,
            b if *b == separator && !quoted && !bracket => {
                if let Some(from) = start {
                    check(from, at);
                } else if separator == b',' {
                    check(0, at);
                }
                start = Some(at + 1);
            }
            _ => {}
        }
    }
    match start {
        Some(from) => check(from, text.len()),
        None if separator == b',' => check(0, text.len()),
        None => {}
    }
    found
}

const fn separator(commas: Commas) -> u8 {
    if matches!(commas, Commas::PartValues) {
        b';'
    } else {
        b','
    }
}

fn remove_with(call: &mut Call<'_, '_>, commas: Commas) -> Code {
    let target_text = call.text_owned(0);
    let Some(target) = target(&target_text) else {
        return Code::FALSE;
    };
    let ctx = &mut *call.env.ctx;
    let all = chosen(placed(&ctx.msg, &target.name, commas), target.index);
    for found in &all {
        match target.param {
            Some(name) => remove_param(ctx, found, name, separator(commas)),
            None if found.alone || target.index == Index::All => ctx.lumps.delete(found.field.clone()),
            None => ctx.lumps.delete(found.with_comma.clone()),
        }
    }
    Code::from(!all.is_empty())
}

fn remove_param(ctx: &mut Context, found: &Placed, name: &[u8], separator: u8) {
    let text = ctx.msg.as_bytes().get(found.value.clone()).unwrap_or_default();
    let Some((whole, _)) = parameter(text, name, separator) else {
        return;
    };
    let before = text.get(..whole.start).unwrap_or_default();
    // with the separator before it, or else the one behind
    let range = match memchr::memrchr(separator, before) {
        Some(at)
            if before
                .get(at + 1..)
                .is_some_and(|gap| gap.trim_ascii().is_empty()) =>
        {
            at..whole.end
        }
        _ => {
            let rest = text.get(whole.end..).unwrap_or_default();
            let blank = rest
                .iter()
                .take_while(|byte| **byte == separator || **byte == b' ')
                .count();
            whole.start..whole.end + blank
        }
    };
    ctx.lumps
        .delete(found.value.start + range.start..found.value.start + range.end);
}

pub(super) fn remove(call: &mut Call<'_, '_>) -> Code {
    remove_with(call, Commas::PartValues)
}

pub(super) fn remove2(call: &mut Call<'_, '_>) -> Code {
    remove_with(call, Commas::PartParameters)
}

fn assign_with(call: &mut Call<'_, '_>, commas: Commas) -> Code {
    let (target_text, value) = (call.text_owned(0), call.text_owned(1));
    let Some(target) = target(&target_text) else {
        return Code::FALSE;
    };
    let ctx = &mut *call.env.ctx;
    let all = chosen(placed(&ctx.msg, &target.name, commas), target.index);
    for found in &all {
        let Some(name) = target.param else {
            ctx.lumps.replace(found.value.clone(), &value);
            continue;
        };
        let text = ctx.msg.as_bytes().get(found.value.clone()).unwrap_or_default();
        let written = if value.is_empty() {
            name.to_vec()
        } else {
            [name, b"=", &value].concat()
        };
        match parameter(text, name, separator(commas)) {
            Some((whole, _)) => {
                ctx.lumps.replace(
                    found.value.start + whole.start..found.value.start + whole.end,
                    &written,
                );
            }
            None => {
                let glue: &[u8] = if commas == Commas::PartValues { b";" } else { b", " };
                ctx.lumps.insert(found.value.end, &[glue, &written].concat());
            }
        }
    }
    Code::from(!all.is_empty())
}

pub(super) fn assign(call: &mut Call<'_, '_>) -> Code {
    assign_with(call, Commas::PartValues)
}

pub(super) fn assign2(call: &mut Call<'_, '_>) -> Code {
    assign_with(call, Commas::PartParameters)
}

/// The value of a set that equals the one in argument 1.
fn member(call: &Call<'_, '_>) -> (Vec<u8>, Vec<u8>, Option<Placed>, Option<Placed>) {
    let (name, value) = (dashed(call.text(0).trim_ascii()).into_owned(), call.text_owned(1));
    let msg = &call.env.ctx.msg;
    let all = placed(msg, &name, Commas::PartValues);
    let equal = |found: &&Placed| {
        msg.as_bytes()
            .get(found.value.clone())
            .is_some_and(|text| text.eq_ignore_ascii_case(&value))
    };
    let found = all.iter().find(equal).cloned();
    let last = all.last().cloned();
    (name, value, found, last)
}

pub(super) fn include(call: &mut Call<'_, '_>) -> Code {
    let (name, value, found, last) = member(call);
    let ctx = &mut *call.env.ctx;
    match (found, last) {
        (Some(_), _) => {}
        (None, Some(last)) => ctx
            .lumps
            .insert(last.value.end, &[b",".as_slice(), &value].concat()),
        (None, None) => ctx.lumps.append_header(&ctx.msg, &header_line(&name, &value)),
    }
    Code::TRUE
}

pub(super) fn exclude(call: &mut Call<'_, '_>) -> Code {
    let (_, _, found, _) = member(call);
    if let Some(found) = found {
        let range = if found.alone {
            found.field
        } else {
            found.with_comma
        };
        call.env.ctx.lumps.delete(range);
    }
    Code::TRUE
}

pub(super) fn exists(call: &mut Call<'_, '_>) -> Code {
    Code::from(member(call).2.is_some())
}
