//! Bodies of several parts: `set_body_multipart` `append_body_part` `get_body_part` `filter_body` (Kamailio textops; RFC 2046 §5.1).

use super::body;
use super::body::media_type;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::transform::coding::from_hex;
use crate::script::value::Value;
use shared::sip::HeaderName;
use shared::sip::Message;
use std::ops::Range;

/// The boundary that is used when none is given.
const BOUNDARY: &[u8] = b"unique-boundary-1";

/// One part of a multipart body.
struct Part<'a> {
    content_type: &'a [u8],
    /// Its content without headers.
    content: &'a [u8],
    /// From its delimiter line to the next one, in the body.
    whole: Range<usize>,
}

/// The boundary that Content-Type names, if the body is multipart.
fn boundary(msg: &Message) -> Option<&[u8]> {
    let value = msg.first(HeaderName::ContentType)?;
    let kind = media_type(value);
    if !kind.get(..10)?.eq_ignore_ascii_case(b"multipart/") {
        return None;
    }
    let params = value.get(memchr::memchr(b';', value)?..)?;
    let text = shared::sip::params::find(params, b"boundary").flatten()?;
    Some(
        text.strip_prefix(b"\"")
            .and_then(|t| t.strip_suffix(b"\""))
            .unwrap_or(text),
    )
}

/// The parts of the body.
fn parts(msg: &Message) -> Vec<Part<'_>> {
    let Some(boundary) = boundary(msg) else {
        return Vec::new();
    };
    let body = msg.body();
    let delimiter = [b"--".as_slice(), boundary].concat();
    let starts_line = |at: &usize| *at == 0 || body.get(at - 1) == Some(&b'\n');
    let places: Vec<usize> = memchr::memmem::find_iter(body, &delimiter)
        .filter(starts_line)
        .collect();
    let mut found = Vec::new();
    for pair in places.windows(2) {
        let &[start, end] = pair else { continue };
        let Some(text) = body.get(start + delimiter.len()..end) else {
            continue;
        };
        if text.starts_with(b"--") {
            break;
        }
        let Some(first) = memchr::memchr(b'\n', text) else {
            continue;
        };
        let text = text.get(first + 1..).unwrap_or_default();
        let (headers, content) = split(text);
        let content_type = header(headers, b"content-type").unwrap_or(b"text/plain");
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        found.push(Part {
            content_type,
            content,
            whole: start..end,
        });
    }
    found
}

/// Headers and content of a part.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    if let Some(rest) = text.strip_prefix(b"\r\n").or_else(|| text.strip_prefix(b"\n")) {
        return (b"", rest);
    }
    let blank = memchr::memmem::find(text, b"\r\n\r\n").map(|at| (at, 4));
    let blank = blank.or_else(|| memchr::memmem::find(text, b"\n\n").map(|at| (at, 2)));
    match blank {
        Some((at, len)) => (
            text.get(..at).unwrap_or_default(),
            text.get(at + len..).unwrap_or_default(),
        ),
        None => (text, b""),
    }
}

fn header<'a>(headers: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    headers.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let own = line.get(..colon)?.trim_ascii();
        own.eq_ignore_ascii_case(name)
            .then(|| line.get(colon + 1..).map(<[u8]>::trim_ascii))
            .flatten()
    })
}

fn of_type<'a>(msg: &'a Message, wanted: &[u8]) -> Option<Part<'a>> {
    parts(msg)
        .into_iter()
        .find(|part| media_type(part.content_type).eq_ignore_ascii_case(media_type(wanted)))
}

/// The body that is of this type, or its part that is: its place in the message.
pub(crate) fn place_of_type(msg: &Message, wanted: &[u8]) -> Option<Range<usize>> {
    let is_wanted = |value: &[u8]| media_type(value).eq_ignore_ascii_case(wanted);
    if msg.first(HeaderName::ContentType).is_some_and(is_wanted) {
        return Some(msg.body_range());
    }
    let content = of_type(msg, wanted)?.content;
    let start = content
        .as_ptr()
        .addr()
        .checked_sub(msg.as_bytes().as_ptr().addr())?;
    Some(start..start + content.len())
}

/// Leaves one part of the body; its type is the script's to set.
pub(super) fn filter_body(call: &mut Call<'_, '_>) -> Code {
    let wanted = call.text_owned(0);
    let Some(part) = of_type(&call.env.ctx.msg, &wanted) else {
        return Code::FALSE;
    };
    let content = part.content.to_vec();
    body::replace(call.env.ctx, &content, b"");
    Code::TRUE
}

/// Kamailio: a body that is not multipart is given as a whole, of whatever type it is.
fn assign(call: &mut Call<'_, '_>, take: impl Fn(&Message, &Part<'_>) -> Option<Vec<u8>>) -> Code {
    let wanted = call.text_owned(0);
    let msg = &call.env.ctx.msg;
    if boundary(msg).is_none() && !msg.body().is_empty() {
        let body = Value::owned(msg.body());
        return Code::from(call.assign(1, body));
    }
    match of_type(msg, &wanted).and_then(|part| take(msg, &part)) {
        Some(text) => Code::from(call.assign(1, Value::owned(text))),
        None => Code::FALSE,
    }
}

pub(super) fn get_body_part(call: &mut Call<'_, '_>) -> Code {
    assign(call, |_, part| Some(part.content.to_vec()))
}

pub(super) fn get_body_part_raw(call: &mut Call<'_, '_>) -> Code {
    assign(call, |msg, part| {
        msg.body().get(part.whole.clone()).map(<[u8]>::to_vec)
    })
}

pub(super) fn remove_body_part(call: &mut Call<'_, '_>) -> Code {
    let wanted = call.text_owned(0);
    let ctx = &mut *call.env.ctx;
    let Some(part) = of_type(&ctx.msg, &wanted) else {
        return Code::FALSE;
    };
    let start = ctx.msg.body_range().start;
    let range = start + part.whole.start..start + part.whole.end;
    ctx.lumps.delete(range);
    Code::TRUE
}

/// Appends a part with its delimiter line.
fn push_part(out: &mut Vec<u8>, boundary: &[u8], content_type: &[u8], disposition: &[u8], content: &[u8]) {
    for piece in [
        b"--".as_slice(),
        boundary,
        b"\r\nContent-Type: ",
        content_type,
        b"\r\n",
    ] {
        out.extend_from_slice(piece);
    }
    if !disposition.is_empty() {
        for piece in [b"Content-Disposition: ".as_slice(), disposition, b"\r\n"] {
            out.extend_from_slice(piece);
        }
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(content);
    if !content.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
}

pub(super) fn set_body_multipart(call: &mut Call<'_, '_>) -> Code {
    let msg = &call.env.ctx.msg;
    let (content, content_type) = if call.has(0) {
        (call.text_owned(0), call.text_owned(1))
    } else {
        (
            msg.body().to_vec(),
            msg.first(HeaderName::ContentType).unwrap_or_default().to_vec(),
        )
    };
    let given = call.text_owned(2);
    let boundary = if given.is_empty() { BOUNDARY } else { &given };
    if content_type.is_empty() {
        crate::log::error(
            "textops",
            format_args!("set_body_multipart: there is no content-type"),
        );
        return Code::FALSE;
    }
    let mut out = Vec::with_capacity(content.len() + 128);
    push_part(&mut out, boundary, &content_type, b"", &content);
    for piece in [b"--".as_slice(), boundary, b"--\r\n"] {
        out.extend_from_slice(piece);
    }
    let multipart = [b"multipart/mixed;boundary=\"".as_slice(), boundary, b"\""].concat();
    let ctx = &mut *call.env.ctx;
    body::replace(ctx, &out, &multipart);
    if ctx.msg.first(HeaderName::MimeVersion).is_none() {
        ctx.lumps.append_header(&ctx.msg, b"Mime-Version: 1.0\r\n");
    }
    Code::TRUE
}

fn append(call: &mut Call<'_, '_>, content: &[u8]) -> Code {
    let (content_type, disposition) = (call.text_owned(1), call.text_owned(2));
    let ctx = &mut *call.env.ctx;
    let Some(boundary) = boundary(&ctx.msg).map(<[u8]>::to_vec) else {
        crate::log::error(
            "textops",
            format_args!("append_body_part: the body is not multipart"),
        );
        return Code::FALSE;
    };
    let range = ctx.msg.body_range();
    let end = [b"--".as_slice(), &boundary, b"--"].concat();
    let at = memchr::memmem::rfind(ctx.msg.body(), &end);
    let mut out = Vec::new();
    push_part(&mut out, &boundary, &content_type, &disposition, content);
    if at.is_none() {
        out.extend_from_slice(&end);
        out.extend_from_slice(b"\r\n");
    }
    ctx.lumps
        .insert(at.map_or(range.end, |at| range.start + at), &out);
    Code::TRUE
}

pub(super) fn append_body_part(call: &mut Call<'_, '_>) -> Code {
    let content = call.text_owned(0);
    append(call, &content)
}

pub(super) fn append_body_part_hex(call: &mut Call<'_, '_>) -> Code {
    let digits: Vec<u8> = call
        .text(0)
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b' ' | b'\t'))
        .collect();
    match from_hex(&digits) {
        Some(content) => append(call, &content),
        None => Code::FALSE,
    }
}
