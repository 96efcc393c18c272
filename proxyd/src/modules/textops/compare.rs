//! Comparisons: `is_method` `is_privacy` `in_list` `cmp_str` `starts_with` `str_find` (Kamailio textops).

use crate::script::module::Call;
use crate::script::module::Code;
use std::cmp::Ordering;

pub(super) fn is_method(call: &mut Call<'_, '_>) -> Code {
    let names = call.text(0);
    let method = call.env.ctx.msg.method();
    let method = method.as_bytes();
    // Most calls name one method, and most of those another one.
    if names.len() < method.len() {
        return Code::FALSE;
    }
    let mut names = names.split(|byte| *byte == b'|');
    Code::from(names.any(|name| name.trim_ascii() == method))
}

pub(super) fn is_privacy(call: &mut Call<'_, '_>) -> Code {
    let wanted = call.text(0);
    let msg = &call.env.ctx.msg;
    let mut values = msg.all_named(b"Privacy").map(|header| msg.value(header));
    let separates = |byte: &u8| matches!(byte, b';' | b',');
    Code::from(values.any(|value| {
        value
            .split(separates)
            .any(|one| one.trim_ascii().eq_ignore_ascii_case(&wanted))
    }))
}

/// Runs `fits` on every item of the list until one does.
fn any_item(call: &Call<'_, '_>, fits: impl Fn(&[u8], &[u8]) -> bool) -> Code {
    let (subject, list, separator) = (call.printed(0), call.printed(1), call.text(2));
    let [separator] = &*separator else {
        crate::log::error(
            "textops",
            format_args!("{}: separator must be a single character", call.name),
        );
        return Code::FALSE;
    };
    if subject.is_empty() {
        crate::log::error(
            "textops",
            format_args!("{}: subject cannot be empty string", call.name),
        );
        return Code::FALSE;
    }
    Code::from(
        list.split(|byte| byte == separator)
            .any(|item| fits(&subject, item.trim_ascii())),
    )
}

pub(super) fn in_list(call: &mut Call<'_, '_>) -> Code {
    any_item(call, |subject, item| subject == item)
}

pub(super) fn in_list_prefix(call: &mut Call<'_, '_>) -> Code {
    any_item(call, |subject, item| {
        !item.is_empty() && subject.starts_with(item)
    })
}

/// Kamailio: -2 tells a smaller text.
fn compare(first: &[u8], second: &[u8]) -> Code {
    match first.cmp(second) {
        Ordering::Equal => Code::TRUE,
        Ordering::Less => Code(-2),
        Ordering::Greater => Code::FALSE,
    }
}

pub(super) fn cmp_str(call: &mut Call<'_, '_>) -> Code {
    compare(&call.printed(0), &call.printed(1))
}

pub(super) fn cmp_istr(call: &mut Call<'_, '_>) -> Code {
    compare(
        &call.printed(0).to_ascii_lowercase(),
        &call.printed(1).to_ascii_lowercase(),
    )
}

pub(super) fn starts_with(call: &mut Call<'_, '_>) -> Code {
    let (text, start) = (call.printed(0), call.printed(1));
    text.get(..start.len())
        .map_or(Code::FALSE, |head| compare(head, &start))
}

pub(super) fn ends_with(call: &mut Call<'_, '_>) -> Code {
    let (text, end) = (call.printed(0), call.printed(1));
    let tail = text.len().checked_sub(end.len()).and_then(|at| text.get(at..));
    tail.map_or(Code::FALSE, |tail| compare(tail, &end))
}

fn place(text: &[u8], wanted: &[u8]) -> Code {
    match memchr::memmem::find(text, wanted) {
        Some(at) => Code(i32::try_from(at).map_or(i32::MAX, |at| at.saturating_add(1))),
        None => Code::FALSE,
    }
}

pub(super) fn str_find(call: &mut Call<'_, '_>) -> Code {
    place(&call.printed(0), &call.printed(1))
}

pub(super) fn str_ifind(call: &mut Call<'_, '_>) -> Code {
    place(
        &call.printed(0).to_ascii_lowercase(),
        &call.printed(1).to_ascii_lowercase(),
    )
}

pub(super) fn str_any_in(call: &mut Call<'_, '_>) -> Code {
    let text = call.printed(0);
    Code::from(call.printed(1).iter().any(|byte| text.contains(byte)))
}

pub(super) fn str_all_in(call: &mut Call<'_, '_>) -> Code {
    let (text, wanted) = (call.printed(0), call.printed(1));
    Code::from(!wanted.is_empty() && wanted.iter().all(|byte| text.contains(byte)))
}
