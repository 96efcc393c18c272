//! AVPs asked about: `avp_check` `is_avp_set` `avp_print` (Kamailio avpops).

use super::operand;
use super::target;
use super::values;
use crate::modules::textopsx::wildcard;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::value::Value;
use shared::regex::Options;
use shared::regex::Regex;
use std::borrow::Cow;
use std::cmp::Ordering;

/// The operator, its value and flags: values may hold slashes.
fn parts(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let slash = memchr::memchr(b'/', text)?;
    let (operator, rest) = (text.get(..slash)?, text.get(slash + 1..)?);
    let (value, flags) = match memchr::memrchr(b'/', rest) {
        Some(at) if rest.get(at + 1..)?.iter().all(|flag| b"gGiI".contains(flag)) => {
            (rest.get(..at)?, rest.get(at + 1..)?)
        }
        _ => (rest, b"".as_slice()),
    };
    Some((operator, value, flags))
}

pub(super) fn avp_check(call: &mut Call<'_, '_>) -> Code {
    let (name, asked) = (call.text_owned(0), call.text_owned(1));
    let Some((operator, wanted, flags)) = parts(&asked) else {
        crate::log::error(
            "avpops",
            format_args!("avp_check: {:?} is not written operator/value", call.value(1)),
        );
        return Code::FALSE;
    };
    let fold = flags.iter().any(|flag| flag.eq_ignore_ascii_case(&b'i'));
    let all = flags.iter().any(|flag| flag.eq_ignore_ascii_case(&b'g'));
    let Some(wanted) = operand(call, wanted) else {
        return Code::FALSE;
    };
    let mut found = values(call, target(&name).text.as_slice());
    if !all {
        found.truncate(1);
    }
    Code::from(found.iter().any(|value| holds(operator, value, &wanted, fold)))
}

fn folded<'a>(value: &'a Value<'_>, fold: bool) -> Cow<'a, [u8]> {
    let text = value.to_text();
    if fold {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        text
    }
}

/// Whether a comparison holds; values of different types never do.
fn holds(operator: &[u8], value: &Value<'_>, wanted: &Value<'_>, fold: bool) -> bool {
    match operator {
        b"re" => {
            let options = Options {
                ignore_case: fold,
                newline: false,
            };
            return Regex::compile(&wanted.to_text(), options)
                .is_ok_and(|regex| regex.is_match(&value.to_text()));
        }
        b"fm" => return wildcard(&folded(wanted, fold), &folded(value, fold)),
        _ => {}
    }
    let order = match (value, wanted) {
        (Value::Int(a), Value::Int(b)) => match operator {
            b"and" => return a & b != 0,
            b"or" => return a | b != 0,
            b"xor" => return a ^ b != 0,
            _ => a.cmp(b),
        },
        (Value::Str(_), Value::Str(_)) => folded(value, fold).cmp(&folded(wanted, fold)),
        _ => return false,
    };
    match operator {
        b"eq" => order == Ordering::Equal,
        b"ne" => order != Ordering::Equal,
        b"lt" => order == Ordering::Less,
        b"le" => order != Ordering::Greater,
        b"gt" => order == Ordering::Greater,
        b"ge" => order != Ordering::Less,
        _ => false,
    }
}

pub(super) fn is_avp_set(call: &mut Call<'_, '_>) -> Code {
    let asked = target(&call.text(0));
    let Some(value) = values(call, &asked.text).into_iter().next() else {
        return Code::FALSE;
    };
    let fits = match &value {
        Value::Int(n) => !asked.has(b's') && (!asked.has(b'e') || *n == 0),
        Value::Str(text) => !asked.has(b'n') && (!asked.has(b'e') || text.is_empty()),
        Value::Null => false,
    };
    Code::from(fits)
}

pub(super) fn avp_print(call: &mut Call<'_, '_>) -> Code {
    for (name, value) in call.env.lists.all_avps() {
        let (name, text) = (String::from_utf8_lossy(name), value.to_text());
        let text = String::from_utf8_lossy(&text);
        match value {
            Value::Int(_) => crate::log::info("avpops", format_args!("name=<{name}> val_int=<{text}>")),
            _ => crate::log::info(
                "avpops",
                format_args!("name=<{name}> val_str=<{text} / {}>", text.len()),
            ),
        }
    }
    Code::TRUE
}
