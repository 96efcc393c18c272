//! Headers added, looked for and removed (Kamailio textops; RFC 3261 §7.3).

use crate::calendar;
use crate::script::module::Call;
use crate::script::module::Code;
use shared::regex::Options;
use shared::regex::Regex;
use shared::sip::Header;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::Via;
use std::borrow::Cow;

/// Header lines that end as they must; a text without a line end gets one.
pub(crate) fn lines(text: Cow<'_, [u8]>) -> Vec<u8> {
    let mut text = text.into_owned();
    while text.ends_with(b"\n") || text.ends_with(b"\r") {
        text.pop();
    }
    if !text.is_empty() {
        text.extend_from_slice(b"\r\n");
    }
    text
}

pub(super) fn append_to_reply(call: &mut Call<'_, '_>) -> Code {
    let text = call.printed(0);
    if text.is_empty() {
        return Code::FALSE;
    }
    let text = lines(text);
    call.env.ctx.reply_headers.extend_from_slice(&text);
    Code::TRUE
}

pub(super) fn append_hf(call: &mut Call<'_, '_>) -> Code {
    let (text, name) = (lines(call.printed(0)), call.text_owned(1));
    if text.is_empty() {
        return Code::FALSE;
    }
    let ctx = &mut *call.env.ctx;
    if name.is_empty() {
        ctx.lumps.append_header(&ctx.msg, &text);
    } else {
        ctx.lumps.append_header_after(&ctx.msg, &name, &text);
    }
    Code::TRUE
}

pub(super) fn insert_hf(call: &mut Call<'_, '_>) -> Code {
    let (text, name) = (lines(call.printed(0)), call.text_owned(1));
    if text.is_empty() {
        return Code::FALSE;
    }
    let ctx = &mut *call.env.ctx;
    if name.is_empty() {
        ctx.lumps.prepend_header(&ctx.msg, &text);
    } else {
        ctx.lumps.insert_header_before(&ctx.msg, &name, &text);
    }
    Code::TRUE
}

pub(super) fn append_urihf(call: &mut Call<'_, '_>) -> Code {
    if !call.env.ctx.msg.is_request() {
        return Code::FALSE;
    }
    let (prefix, suffix) = (call.text(0), call.text(1));
    let text = lines(Cow::Owned(
        [&prefix, call.env.ctx.msg.request_uri(), &suffix].concat(),
    ));
    let ctx = &mut *call.env.ctx;
    ctx.lumps.append_header(&ctx.msg, &text);
    Code::TRUE
}

/// `Date: Sat, 13 Nov 2010 23:29:00 GMT` (RFC 3261 §20.17); weekdays and months in English whatever the locale.
fn date(call: &Call<'_, '_>) -> Vec<u8> {
    let seconds = i64::try_from(call.env.host.wall().as_secs()).unwrap_or(i64::MAX);
    calendar::format(b"Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &calendar::utc(seconds))
}

pub(super) fn append_time(call: &mut Call<'_, '_>) -> Code {
    let line = date(call);
    call.env.ctx.reply_headers.extend_from_slice(&line);
    Code::TRUE
}

pub(super) fn append_time_to_request(call: &mut Call<'_, '_>) -> Code {
    let line = date(call);
    let ctx = &mut *call.env.ctx;
    ctx.lumps.insert_header_before(&ctx.msg, b"From", &line);
    Code::TRUE
}

pub(super) fn is_present_hf(call: &mut Call<'_, '_>) -> Code {
    let name = call.text(0);
    Code::from(call.env.ctx.msg.all_named(name.trim_ascii()).next().is_some())
}

pub(super) fn is_present_hf_re(call: &mut Call<'_, '_>) -> Code {
    let Some(regex) = call.regex(0) else {
        return Code::FALSE;
    };
    let msg = &call.env.ctx.msg;
    Code::from(
        msg.headers()
            .iter()
            .any(|header| regex.is_match(msg.name(header))),
    )
}

/// Removes the headers that fit; true when there was one.
fn remove(call: &mut Call<'_, '_>, fits: impl Fn(&Message, &Header) -> bool) -> Code {
    let ctx = &mut *call.env.ctx;
    let mut found = false;
    for header in ctx.msg.headers() {
        if fits(&ctx.msg, header) {
            ctx.lumps.delete_header(header);
            found = true;
        }
    }
    Code::from(found)
}

pub(super) fn remove_hf(call: &mut Call<'_, '_>) -> Code {
    let name = call.text_owned(0);
    let ctx = &mut *call.env.ctx;
    let mut found = false;
    for header in ctx.msg.all_named(name.trim_ascii()) {
        ctx.lumps.delete_header(header);
        found = true;
    }
    Code::from(found)
}

/// True also when there is none.
pub(super) fn remove_hf_pv(call: &mut Call<'_, '_>) -> Code {
    remove_hf(call);
    Code::TRUE
}

pub(super) fn remove_hf_re(call: &mut Call<'_, '_>) -> Code {
    let Some(regex) = call.regex(0).map(Cow::into_owned) else {
        return Code::FALSE;
    };
    remove(call, |msg, header| regex.is_match(msg.name(header)))
}

pub(super) fn remove_hf_exp(call: &mut Call<'_, '_>) -> Code {
    let (Some(wanted), Some(kept)) = (
        call.regex(0).map(Cow::into_owned),
        call.regex(1).map(Cow::into_owned),
    ) else {
        return Code::FALSE;
    };
    remove(call, |msg, header| {
        wanted.is_match(msg.name(header)) && !kept.is_match(msg.name(header))
    })
}

pub(super) fn remove_hf_idx(call: &mut Call<'_, '_>) -> Code {
    let (name, index) = (call.text_owned(0), call.int(1));
    let ctx = &mut *call.env.ctx;
    let mut all = ctx.msg.all_named(name.trim_ascii());
    let header = if index >= 0 {
        usize::try_from(index).ok().and_then(|at| all.nth(at))
    } else {
        usize::try_from(-(index + 1)).ok().and_then(|at| all.nth_back(at))
    };
    match header {
        Some(header) => {
            ctx.lumps.delete_header(header);
            Code::TRUE
        }
        // Kamailio: an index out of range is true as well
        None => Code(2),
    }
}

pub(super) fn remove_hf_match(call: &mut Call<'_, '_>) -> Code {
    let (name, operator, wanted) = (call.text_owned(0), call.text_owned(1), call.text_owned(2));
    let regex = if operator == b"re" {
        match Regex::compile(&wanted, Options::PLAIN) {
            Ok(regex) => Some(regex),
            Err(why) => {
                crate::log::error("textops", format_args!("remove_hf_match: {why}"));
                return Code::FALSE;
            }
        }
    } else {
        None
    };
    let ctx = &mut *call.env.ctx;
    let mut found = false;
    for header in ctx.msg.all_named(name.trim_ascii()) {
        let value = ctx.msg.value(header);
        let fits = match &*operator {
            b"eq" => value == wanted,
            b"ne" => value != wanted,
            b"in" => memchr::memmem::find(value, &wanted).is_some(),
            _ => regex.as_ref().is_some_and(|regex| regex.is_match(value)),
        };
        if fits {
            ctx.lumps.delete_header(header);
            found = true;
        }
    }
    if found { Code::TRUE } else { Code(-2) }
}

pub(super) fn via_param_rm(call: &mut Call<'_, '_>) -> Code {
    let (name, index) = (call.text_owned(0), call.int(1));
    let ctx = &mut *call.env.ctx;
    let count = ctx.msg.values(HeaderName::Via).count();
    let at = if index < 0 {
        i64::try_from(count).unwrap_or(0).saturating_add(index)
    } else {
        index
    };
    let Some(value) = usize::try_from(at).ok().and_then(|at| ctx.msg.vias().nth(at)) else {
        return Code::FALSE;
    };
    let Ok(via) = Via::parse(value.bytes) else {
        return Code::FALSE;
    };
    let Some(param) = via
        .param_iter()
        .find(|param| param.name.eq_ignore_ascii_case(&name))
    else {
        return Code::FALSE;
    };
    let end = param.value.map_or(param.name, |value| value).as_ptr_range().end;
    let offset = |pointer: *const u8| (pointer as usize).wrapping_sub(ctx.msg.as_bytes().as_ptr() as usize);
    let (name_start, end) = (offset(param.name.as_ptr()), offset(end));
    let before = ctx
        .msg
        .as_bytes()
        .get(value.range.start..name_start)
        .unwrap_or_default();
    let Some(semicolon) = memchr::memrchr(b';', before) else {
        return Code::FALSE;
    };
    ctx.lumps.delete(value.range.start + semicolon..end);
    Code::TRUE
}
