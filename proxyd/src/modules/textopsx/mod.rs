//! `loadmodule "textopsx"`: edits made visible, values of header lists, iterators (Kamailio textopsx).

use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::ModuleDef;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::Routes;
use crate::script::transform::string::replace_all;
use shared::regex::Options;
use shared::regex::Regex;
use shared::sip::HeaderName;
use std::borrow::Cow;

mod iterate;
mod values;

const REPLIES: Routes = Routes::ONREPLY.or(Routes::REPLY);

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    functions: &[
        Function::anywhere(
            &["msg_apply_changes"],
            &[],
            "Makes the edits recorded so far real.",
            msg_apply_changes,
        ),
        Function::anywhere(
            &["msg_changed_route"],
            &[Arg::Route("rname", Routes::ANY)],
            "Runs a route on a copy of the message with its edits applied.",
            msg_changed_route,
        ),
        Function::anywhere(
            &["msg_set_buffer"],
            &[Arg::Text("data")],
            "Replaces the message.",
            msg_set_buffer,
        ),
        Function {
            names: &["change_reply_status"],
            args: &[Arg::Int("code"), Arg::Text("reason")],
            routes: REPLIES,
            doc: "Changes status and reason of the reply under way.",
            call: change_reply_status,
        },
        Function {
            names: &["change_reply_status_code"],
            args: &[Arg::Int("code")],
            routes: REPLIES,
            doc: "Changes the status of the reply under way.",
            call: change_reply_status,
        },
        Function::anywhere(&["remove_body"], &[], "Removes the body.", remove_body),
        Function::anywhere(
            &["keep_hf"],
            &[Arg::OptText("regexp")],
            "Removes the headers whose name does not match, but those every message needs.",
            keep_hf,
        ),
        Function::anywhere(
            &["fnmatch"],
            &[Arg::Text("value"), Arg::Text("expr"), Arg::OptText("flags")],
            "True when a text matches a pattern of the shell; flag i: without case.",
            fnmatch,
        ),
        Function::anywhere(
            &["append_hf_value"],
            &[Arg::Text("hf"), Arg::Text("hvalue")],
            "Adds a value after one of a header, or as a last header.",
            values::append,
        ),
        Function::anywhere(
            &["insert_hf_value"],
            &[Arg::Text("hf"), Arg::Text("hvalue")],
            "Adds a value before one of a header, or as a first header.",
            values::insert,
        ),
        Function::anywhere(
            &["remove_hf_value"],
            &[Arg::Text("hf_par")],
            "Removes a value or its parameter.",
            values::remove,
        ),
        Function::anywhere(
            &["remove_hf_value2"],
            &[Arg::Text("hf_par")],
            "The same for headers such as Authorization.",
            values::remove2,
        ),
        Function::anywhere(
            &["assign_hf_value"],
            &[Arg::Text("hf_par"), Arg::Text("hvalue")],
            "Replaces a value or its parameter.",
            values::assign,
        ),
        Function::anywhere(
            &["assign_hf_value2"],
            &[Arg::Text("hf_par"), Arg::Text("hvalue")],
            "The same for headers such as Authorization.",
            values::assign2,
        ),
        Function::anywhere(
            &["include_hf_value"],
            &[Arg::Text("hf"), Arg::Text("hvalue")],
            "Adds a value to a set unless it is there.",
            values::include,
        ),
        Function::anywhere(
            &["exclude_hf_value"],
            &[Arg::Text("hf"), Arg::Text("hvalue")],
            "Removes a value from a set.",
            values::exclude,
        ),
        Function::anywhere(
            &["hf_value_exists"],
            &[Arg::Text("hf"), Arg::Text("hvalue")],
            "True when a value is in a set.",
            values::exists,
        ),
        Function::anywhere(
            &["hf_iterator_start"],
            &[Arg::Text("iname")],
            "Begins to walk the headers.",
            iterate::start_headers,
        ),
        Function::anywhere(
            &["hf_iterator_end"],
            &[Arg::Text("iname")],
            "Ends a walk.",
            iterate::end_headers,
        ),
        Function::anywhere(
            &["hf_iterator_next"],
            &[Arg::Text("iname")],
            "Goes to the next header; false after the last.",
            iterate::next_header,
        ),
        Function::anywhere(
            &["hf_iterator_prev"],
            &[Arg::Text("iname")],
            "Goes to the header before.",
            iterate::previous_header,
        ),
        Function::anywhere(
            &["hf_iterator_rm"],
            &[Arg::Text("iname")],
            "Removes the header.",
            iterate::remove_header,
        ),
        Function::anywhere(
            &["hf_iterator_append"],
            &[Arg::Text("iname"), Arg::Text("htext")],
            "Adds header lines after it.",
            iterate::append_header,
        ),
        Function::anywhere(
            &["hf_iterator_insert"],
            &[Arg::Text("iname"), Arg::Text("htext")],
            "Adds header lines before it.",
            iterate::insert_header,
        ),
        Function::anywhere(
            &["bl_iterator_start"],
            &[Arg::Text("iname")],
            "Begins to walk the lines of the body.",
            iterate::start_lines,
        ),
        Function::anywhere(
            &["bl_iterator_end"],
            &[Arg::Text("iname")],
            "Ends a walk.",
            iterate::end_lines,
        ),
        Function::anywhere(
            &["bl_iterator_next"],
            &[Arg::Text("iname")],
            "Goes to the next line; false after the last.",
            iterate::next_line,
        ),
        Function::anywhere(
            &["bl_iterator_rm"],
            &[Arg::Text("iname")],
            "Removes the line.",
            iterate::remove_line,
        ),
        Function::anywhere(
            &["bl_iterator_append"],
            &[Arg::Text("iname"), Arg::Text("text")],
            "Adds text after it.",
            iterate::append_line,
        ),
        Function::anywhere(
            &["bl_iterator_insert"],
            &[Arg::Text("iname"), Arg::Text("text")],
            "Adds text before it.",
            iterate::insert_line,
        ),
    ],
    pvs: &[
        Pv::class(
            &["hfitname"],
            "Name of the header that an iterator stands at.",
            compile_name,
            |env, spec| iterate::header_name(env, &spec.text(env)),
        ),
        Pv::class(
            &["hfitbody"],
            "Value of the header that an iterator stands at.",
            compile_name,
            |env, spec| iterate::header_value(env, &spec.text(env)),
        ),
        Pv::class(
            &["blitval"],
            "The line that an iterator stands at, with its end.",
            compile_name,
            |env, spec| iterate::line(env, &spec.text(env)),
        ),
    ],
    ..ModuleDef::new(
        "textopsx",
        "Makes edits visible, edits values of headers, walks headers and lines.",
    )
};

fn compile_name(inner: &PvInner<'_>) -> Result<PvData, String> {
    if inner.text.contains(&b'$') {
        return (inner.parse)(inner.text).map(PvData::Format);
    }
    Ok(PvData::Text(inner.text.into()))
}

fn msg_apply_changes(call: &mut Call<'_, '_>) -> Code {
    // the transaction keeps the message that these routes edit
    let kept = Routes::FAILURE.or(Routes::BRANCH).or(Routes::BRANCH_FAILURE);
    if kept.meets(call.env.route) {
        crate::log::error(
            "textopsx",
            format_args!("msg_apply_changes() has no effect in routes of a transaction"),
        );
        return Code::FALSE;
    }
    let done = call.env.ctx.apply_changes();
    if !done {
        crate::log::error("textopsx", format_args!("the edited message cannot be read"));
    }
    Code::from(done)
}

fn msg_set_buffer(call: &mut Call<'_, '_>) -> Code {
    let bytes = call.text_owned(0);
    Code::from(call.env.ctx.set_message(bytes))
}

fn msg_changed_route(call: &mut Call<'_, '_>) -> Code {
    let Some(route) = call.route(0, Routes::ANY) else {
        return Code::FALSE;
    };
    let mut copy = call.env.ctx.clone();
    if !copy.apply_changes() {
        return Code::FALSE;
    }
    let (kind, rc) = (call.env.route, call.env.rc);
    let mut changed = call.env.with(&mut copy, kind);
    changed.rc = rc;
    crate::script::exec::run(route, &mut changed);
    Code::TRUE
}

fn change_reply_status(call: &mut Call<'_, '_>) -> Code {
    let msg = &call.env.ctx.msg;
    if !msg.is_reply() {
        return Code::FALSE;
    }
    let (old, reason) = (
        msg.status(),
        if call.has(1) {
            call.text_owned(1)
        } else {
            msg.reason().to_vec()
        },
    );
    let new = u16::try_from(call.int(0))
        .ok()
        .filter(|status| (100..=699).contains(status));
    // provisional, positive or negative
    let kind = |status: u16| (status >= 200, status >= 300);
    let Some(new) = new.filter(|new| kind(*new) == kind(old)) else {
        let wanted = call.int(0);
        crate::log::error(
            "textopsx",
            format_args!(
                "reply status {old} cannot become {wanted}: provisional, positive and negative replies do not mix"
            ),
        );
        return Code::FALSE;
    };
    let reason = reason
        .into_iter()
        .filter(|byte| !matches!(byte, b'\r' | b'\n'))
        .collect();
    call.env.ctx.new_status = Some((new, reason));
    Code::TRUE
}

fn remove_body(call: &mut Call<'_, '_>) -> Code {
    // Kamailio: Content-Type stays
    if !call.env.ctx.msg.body().is_empty() {
        call.env.ctx.lumps.set_body(b"");
    }
    Code::TRUE
}

/// The headers that `keep_hf()` never removes.
const KEPT: &[HeaderName] = &[
    HeaderName::Via,
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::ContentLength,
    HeaderName::ContentType,
    HeaderName::MaxForwards,
    HeaderName::Contact,
    HeaderName::Route,
    HeaderName::RecordRoute,
];

fn keep_hf(call: &mut Call<'_, '_>) -> Code {
    let pattern = call.text_owned(0);
    let regex = match Regex::compile(&pattern, Options::CONDITION) {
        _ if pattern.is_empty() => None,
        Ok(regex) => Some(regex),
        Err(why) => {
            crate::log::error("textopsx", format_args!("keep_hf: {why}"));
            return Code::FALSE;
        }
    };
    let ctx = &mut *call.env.ctx;
    for header in ctx.msg.headers() {
        let fits = regex
            .as_ref()
            .is_some_and(|regex| regex.is_match(ctx.msg.name(header)));
        if !fits && !KEPT.contains(&header.name) {
            ctx.lumps.delete_header(header);
        }
    }
    Code::TRUE
}

fn fnmatch(call: &mut Call<'_, '_>) -> Code {
    let (text, pattern) = (call.printed(0), call.printed(1));
    if matches!(call.text(2).first(), Some(b'i' | b'I')) {
        return Code::from(wildcard(
            &pattern.to_ascii_lowercase(),
            &text.to_ascii_lowercase(),
        ));
    }
    Code::from(wildcard(&pattern, &text))
}

/// Whether a text matches a pattern of `*`, `?`, `[…]` and `\` (fnmatch(3) without flags).
pub(crate) fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while let Some(&byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(b'?') => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            Some(b'[') => {
                if let Some((fits, next)) = class(pattern, p + 1, byte) {
                    if fits {
                        (p, t) = (next, t + 1);
                        continue;
                    }
                } else if byte == b'[' {
                    (p, t) = (p + 1, t + 1);
                    continue;
                }
            }
            Some(b'\\') if pattern.get(p + 1) == Some(&byte) => {
                (p, t) = (p + 2, t + 1);
                continue;
            }
            Some(&same) if same == byte && same != b'\\' => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            _ => {}
        }
        let Some((after, from)) = star else { return false };
        star = Some((after, from + 1));
        (p, t) = (after, from + 1);
    }
    pattern
        .get(p..)
        .unwrap_or_default()
        .iter()
        .all(|byte| *byte == b'*')
}

/// Whether a byte is in the bracket expression that begins at `at`, and where that ends.
fn class(pattern: &[u8], mut at: usize, byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(at), Some(b'!' | b'^'));
    if negated {
        at += 1;
    }
    let (mut fits, mut first) = (false, true);
    loop {
        let low = *pattern.get(at)?;
        if low == b']' && !first {
            return Some((fits != negated, at + 1));
        }
        first = false;
        match (pattern.get(at + 1), pattern.get(at + 2)) {
            (Some(b'-'), Some(&high)) if high != b']' => {
                fits |= (low..=high).contains(&byte);
                at += 3;
            }
            _ => {
                fits |= low == byte;
                at += 1;
            }
        }
    }
}

/// A header name with dashes for underscores, as selects spell it.
fn dashed(name: &[u8]) -> Cow<'_, [u8]> {
    replace_all(Cow::Borrowed(name), b"_", b"-")
}

#[cfg(test)]
mod tests;
