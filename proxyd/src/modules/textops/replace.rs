//! `search*` `replace*` `subst*`: regular expressions and texts on the message as received (Kamailio textops).

use crate::proxy::context::Context;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::pv::change_uri;
use crate::script::transform::subst::Subst;
use crate::script::value::Value;
use shared::regex::Options;
use shared::regex::Regex;
use shared::sip::Header;
use shared::sip::Message;
use shared::sip::Uri;
use std::borrow::Cow;
use std::ops::Range;

/// Which part of a message is looked at.
#[derive(Clone, Copy)]
enum Part {
    All,
    HeadersAndBody,
    Headers,
    Body,
}

impl Part {
    fn range(self, msg: &Message) -> Range<usize> {
        match self {
            Self::All => 0..msg.as_bytes().len(),
            Self::HeadersAndBody => msg.headers_start()..msg.body_range().end,
            Self::Headers => msg.headers_start()..msg.headers_end(),
            Self::Body => msg.body_range(),
        }
    }
}

/// How often something is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    Always,
}

fn regex(call: &Call<'_, '_>, n: usize) -> Option<Regex> {
    call.regex(n).map(Cow::into_owned)
}

fn found(call: &Call<'_, '_>, part: Part) -> Code {
    let Some(regex) = regex(call, 0) else {
        return Code::FALSE;
    };
    let msg = &call.env.ctx.msg;
    Code::from(
        msg.as_bytes()
            .get(part.range(msg))
            .is_some_and(|text| regex.is_match(text)),
    )
}

pub(super) fn search(call: &mut Call<'_, '_>) -> Code {
    found(call, Part::All)
}

pub(super) fn search_body(call: &mut Call<'_, '_>) -> Code {
    found(call, Part::Body)
}

pub(super) fn search_str(call: &mut Call<'_, '_>) -> Code {
    let Some(regex) = call.regex(1) else {
        return Code::FALSE;
    };
    Code::from(regex.is_match(&call.text(0)))
}

/// The headers of a name that `a`, `f` or `l` means.
fn chosen(msg: &Message, name: &[u8], flags: &[u8]) -> Vec<Header> {
    let mut all = msg.all_named(name);
    match flags.first() {
        Some(b'f' | b'F') => all.next().cloned().into_iter().collect(),
        Some(b'l' | b'L') => all.next_back().cloned().into_iter().collect(),
        _ => all.cloned().collect(),
    }
}

pub(super) fn search_hf(call: &mut Call<'_, '_>) -> Code {
    let Some(regex) = call.regex(1) else {
        return Code::FALSE;
    };
    let msg = &call.env.ctx.msg;
    let headers = chosen(msg, call.text(0).trim_ascii(), &call.text(2));
    Code::from(headers.iter().any(|header| regex.is_match(msg.value(header))))
}

fn append_after(call: &mut Call<'_, '_>, part: Part) -> Code {
    let (Some(regex), text) = (regex(call, 0), call.text_owned(1)) else {
        return Code::FALSE;
    };
    let ctx = &mut *call.env.ctx;
    let range = part.range(&ctx.msg);
    let at = ctx
        .msg
        .as_bytes()
        .get(range.clone())
        .and_then(|bytes| regex.engine().find(bytes))
        .map(|m| m.end());
    match at {
        Some(at) => {
            ctx.lumps.insert(range.start + at, &text);
            Code::TRUE
        }
        None => Code::FALSE,
    }
}

pub(super) fn search_append(call: &mut Call<'_, '_>) -> Code {
    append_after(call, Part::HeadersAndBody)
}

pub(super) fn search_append_body(call: &mut Call<'_, '_>) -> Code {
    append_after(call, Part::Body)
}

/// Records a replacement of every range.
fn record(ctx: &mut Context, ranges: &[Range<usize>], with: &[u8]) -> Code {
    for range in ranges {
        ctx.lumps.replace(range.clone(), with);
    }
    Code::from(!ranges.is_empty())
}

fn replace_matches(call: &mut Call<'_, '_>, part: Part, times: Times) -> Code {
    let (Some(regex), text) = (regex(call, 0), call.text_owned(1)) else {
        return Code::FALSE;
    };
    let ctx = &mut *call.env.ctx;
    let within = part.range(&ctx.msg);
    let bytes = ctx.msg.as_bytes().get(within.clone()).unwrap_or_default();
    let matches = regex
        .engine()
        .find_iter(bytes)
        .map(|m| m.range())
        .filter(|range| !range.is_empty());
    let matches = matches.take(if times == Times::Once { 1 } else { usize::MAX });
    let ranges: Vec<Range<usize>> = matches
        .map(|r| within.start + r.start..within.start + r.end)
        .collect();
    record(ctx, &ranges, &text)
}

pub(super) fn replace(call: &mut Call<'_, '_>) -> Code {
    replace_matches(call, Part::HeadersAndBody, Times::Once)
}

pub(super) fn replace_hdrs(call: &mut Call<'_, '_>) -> Code {
    replace_matches(call, Part::Headers, Times::Once)
}

pub(super) fn replace_body(call: &mut Call<'_, '_>) -> Code {
    replace_matches(call, Part::Body, Times::Once)
}

pub(super) fn replace_all(call: &mut Call<'_, '_>) -> Code {
    replace_matches(call, Part::HeadersAndBody, Times::Always)
}

pub(super) fn replace_body_all(call: &mut Call<'_, '_>) -> Code {
    replace_matches(call, Part::Body, Times::Always)
}

fn replace_text(call: &mut Call<'_, '_>, part: Part) -> Code {
    let (wanted, with, mode) = (call.text_owned(0), call.text_owned(1), call.text_owned(2));
    if wanted.is_empty() {
        return Code::FALSE;
    }
    let ctx = &mut *call.env.ctx;
    let within = part.range(&ctx.msg);
    let bytes = ctx.msg.as_bytes().get(within.clone()).unwrap_or_default();
    let most = if matches!(mode.first(), Some(b'a' | b'A')) {
        usize::MAX
    } else {
        1
    };
    let places = memchr::memmem::find_iter(bytes, &wanted).take(most);
    let ranges: Vec<Range<usize>> = places
        .map(|at| within.start + at..within.start + at + wanted.len())
        .collect();
    record(ctx, &ranges, &with);
    // Kamailio: true also when nothing was replaced
    Code::TRUE
}

pub(super) fn replace_str(call: &mut Call<'_, '_>) -> Code {
    replace_text(call, Part::HeadersAndBody)
}

pub(super) fn replace_hdrs_str(call: &mut Call<'_, '_>) -> Code {
    replace_text(call, Part::Headers)
}

pub(super) fn replace_body_str(call: &mut Call<'_, '_>) -> Code {
    replace_text(call, Part::Body)
}

/// Records a substitution within a range of the message.
fn substitute(call: &mut Call<'_, '_>, n: usize, within: Range<usize>) -> bool {
    let Some(subst) = call.subst(n) else { return false };
    let bytes = call
        .env
        .ctx
        .msg
        .as_bytes()
        .get(within.clone())
        .unwrap_or_default();
    let edits = subst.edits(bytes, Some(call.env));
    let some = !edits.is_empty();
    for (range, with) in edits {
        call.env
            .ctx
            .lumps
            .replace(within.start + range.start..within.start + range.end, &with);
    }
    some
}

pub(super) fn subst(call: &mut Call<'_, '_>) -> Code {
    let within = Part::HeadersAndBody.range(&call.env.ctx.msg);
    Code::from(substitute(call, 0, within))
}

pub(super) fn subst_body(call: &mut Call<'_, '_>) -> Code {
    let within = Part::Body.range(&call.env.ctx.msg);
    Code::from(substitute(call, 0, within))
}

pub(super) fn subst_hf(call: &mut Call<'_, '_>) -> Code {
    let headers = chosen(&call.env.ctx.msg, call.text(0).trim_ascii(), &call.text(2));
    let mut some = false;
    for header in headers {
        some |= substitute(call, 1, header.value.start as usize..header.value.end as usize);
    }
    Code::from(some)
}

pub(super) fn subst_uri(call: &mut Call<'_, '_>) -> Code {
    let changed = call
        .subst(0)
        .and_then(|subst| subst.apply(call.env.ctx.uri(), Some(call.env)));
    match changed {
        Some(uri) => {
            call.env.ctx.set_uri(uri);
            Code::TRUE
        }
        None => Code::FALSE,
    }
}

pub(super) fn subst_user(call: &mut Call<'_, '_>) -> Code {
    let Ok(uri) = Uri::parse(call.env.ctx.uri()) else {
        return Code::FALSE;
    };
    let user = uri.user.unwrap_or_default();
    let changed = call.subst(0).and_then(|subst| subst.apply(user, Some(call.env)));
    match changed {
        Some(user) => {
            Code::from(change_uri(call.env.ctx, |parts, user| parts.user = Some(user), &user).is_ok())
        }
        None => Code::FALSE,
    }
}

pub(super) fn subst_v(call: &mut Call<'_, '_>) -> Code {
    let text = call.text_owned(0);
    let Some(subst) = Subst::cached(&call.text(1)) else {
        return Code::FALSE;
    };
    match subst.apply(&text, None) {
        Some(changed) => Code::from(call.assign(2, Value::owned(changed))),
        None => Code::FALSE,
    }
}

pub(super) fn regex_substring(call: &mut Call<'_, '_>) -> Code {
    let (text, index, count) = (call.text_owned(0), call.int(2), call.int(3));
    let regex = match Regex::compile(&call.text(1), Options::PLAIN) {
        Ok(regex) => regex,
        Err(why) => {
            crate::log::error("textops", format_args!("regex_substring: {why}"));
            return Code::FALSE;
        }
    };
    if index < 0 || index > count {
        crate::log::error(
            "textops",
            format_args!("regex_substring: index {index} is not within {count} matches"),
        );
        return Code::FALSE;
    }
    let group = usize::try_from(index)
        .ok()
        .and_then(|at| regex.groups(&text)?.into_iter().nth(at).flatten());
    match group.and_then(|range| text.get(range)) {
        Some(found) => Code::from(call.assign(4, Value::text(found))),
        None => Code::FALSE,
    }
}
