//! AVPs changed: `avp_copy` `avp_subst` `avp_op` `avp_pushto` `avp_delete` (Kamailio avpops).

use super::name_of;
use super::operand;
use super::slashes;
use super::target;
use super::values;
use crate::proxy::branch::Branch;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::pv::change_uri;
use crate::script::transform::subst::Subst;
use crate::script::value::Value;

pub(super) fn avp_delete(call: &mut Call<'_, '_>) -> Code {
    let asked = target(&call.text(0));
    let lists = &mut *call.env.lists;
    // `a`, `i`, `s`: every AVP
    if matches!(
        asked.text.first(),
        None | Some(b'a' | b'A' | b'i' | b'I' | b's' | b'S')
    ) && asked.text.len() <= 2
    {
        let names: Vec<Vec<u8>> = lists.all_avps().map(|(name, _)| name.to_vec()).collect();
        for name in names {
            lists.clear_avp(&name);
        }
        return Code::TRUE;
    }
    let Some(name) = name_of(call, &asked.text) else {
        return Code::FALSE;
    };
    let lists = &mut *call.env.lists;
    if asked.has(b'g') {
        let some = lists.avps(&name).next().is_some();
        lists.clear_avp(&name);
        return Code::from(some);
    }
    Code::from(lists.remove_avp(&name, 0))
}

pub(super) fn avp_copy(call: &mut Call<'_, '_>) -> Code {
    let (source, destination) = (target(&call.text(0)), target(&call.text(1)));
    let (Some(from), Some(to)) = (name_of(call, &source.text), name_of(call, &destination.text)) else {
        return Code::FALSE;
    };
    let mut taken = values(call, &source.text);
    if taken.is_empty() {
        return Code::FALSE;
    }
    if !destination.has(b'g') {
        taken.truncate(1);
    }
    let lists = &mut *call.env.lists;
    if destination.has(b'd') {
        for _ in &taken {
            lists.remove_avp(&from, 0);
        }
    }
    // Kamailio: the order is reversed, for the newest is copied first
    for value in taken {
        let value = match &value {
            Value::Int(_) if destination.has(b's') => Value::owned(value.to_text().into_owned()),
            Value::Str(_) if destination.has(b'n') => Value::Int(value.to_int()),
            _ => value,
        };
        lists.push_avp(&to, value);
    }
    Code::TRUE
}

fn substitute(call: &mut Call<'_, '_>, apply: impl Fn(&Call<'_, '_>, &[u8]) -> Option<Vec<u8>>) -> Code {
    let asked = target(&call.text(0));
    let Some(from) = name_of(call, &asked.text) else {
        return Code::FALSE;
    };
    let to = match &asked.second {
        Some(second) => match name_of(call, second) {
            Some(name) => Some(name),
            None => return Code::FALSE,
        },
        None => None,
    };
    let (mut done, mut taken) = (false, values(call, &asked.text));
    if !asked.has(b'g') {
        taken.truncate(1);
    }
    let mut removed = Vec::new();
    for (at, value) in taken.iter().enumerate() {
        let Value::Str(text) = value else { continue };
        let Some(changed) = apply(call, text) else {
            continue;
        };
        let lists = &mut *call.env.lists;
        match &to {
            Some(to) => {
                lists.push_avp(to, Value::owned(changed));
                removed.push(at);
            }
            None => {
                lists.replace_avp(&from, at, Value::owned(changed));
            }
        }
        done = true;
    }
    if asked.has(b'd') {
        for at in removed.into_iter().rev() {
            call.env.lists.remove_avp(&from, at);
        }
    }
    Code::from(done)
}

pub(super) fn avp_subst(call: &mut Call<'_, '_>) -> Code {
    substitute(call, |call, text| call.subst(1)?.apply(text, Some(call.env)))
}

pub(super) fn avp_subst_pv(call: &mut Call<'_, '_>) -> Code {
    let Some(subst) = Subst::cached(&call.text(1)) else {
        return Code::FALSE;
    };
    substitute(call, move |_, text| subst.apply(text, None))
}

pub(super) fn avp_op(call: &mut Call<'_, '_>) -> Code {
    let (asked, operation) = (target(&call.text(0)), call.text_owned(1));
    let parts = slashes(&operation);
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    let flags = part(2).to_ascii_lowercase();
    let (Some(from), Some(Value::Int(number))) = (name_of(call, &asked.text), operand(call, part(1))) else {
        crate::log::error(
            "avpops",
            format_args!("avp_op: {:?} is not written operator/i:number", call.value(1)),
        );
        return Code::FALSE;
    };
    let to = asked
        .second
        .as_deref()
        .and_then(|second| name_of(call, second))
        .unwrap_or_else(|| from.clone());
    let mut taken = values(call, &asked.text);
    if !flags.contains(&b'g') {
        taken.truncate(1);
    }
    let mut done = false;
    for value in taken {
        let Value::Int(value) = value else { continue };
        let Some(result) = calculate(part(0), value, number) else {
            continue;
        };
        if flags.contains(&b'd') {
            call.env.lists.remove_avp(&from, 0);
        }
        // Kamailio: the result is added, also when it has the name of its source
        call.env.lists.push_avp(&to, Value::Int(result));
        done = true;
    }
    Code::from(done)
}

fn calculate(operator: &[u8], a: i64, b: i64) -> Option<i64> {
    match operator {
        b"add" => Some(a.wrapping_add(b)),
        b"sub" => Some(a.wrapping_sub(b)),
        b"mul" => Some(a.wrapping_mul(b)),
        b"div" => a.checked_div(b),
        b"mod" => a.checked_rem(b),
        b"and" => Some(a & b),
        b"or" => Some(a | b),
        b"xor" => Some(a ^ b),
        b"not" => Some(!b),
        _ => None,
    }
}

pub(super) fn avp_pushto(call: &mut Call<'_, '_>) -> Code {
    let (destination, source) = (call.text_owned(0), target(&call.text(1)));
    let mut taken = values(call, &source.text);
    if !source.has(b'g') {
        taken.truncate(1);
    }
    let mut done = false;
    for (at, value) in taken.into_iter().enumerate() {
        let text = value.to_text().into_owned();
        if text.is_empty() {
            continue;
        }
        let ctx = &mut *call.env.ctx;
        done |= match slashes(&destination).as_slice() {
            // the first value becomes the Request-URI, further ones branches
            [b"$ru"] if at == 0 => {
                ctx.set_uri(text);
                true
            }
            [b"$ru" | b"$br"] => ctx.append_branch(Branch::new(text)).is_ok(),
            [b"$ru", b"username"] => change_uri(ctx, |parts, user| parts.user = Some(user), &text).is_ok(),
            [b"$ru", b"domain"] => change_uri(ctx, |parts, host| parts.host = host, &text).is_ok(),
            [b"$du"] => {
                ctx.set_dst_uri(Some(text));
                true
            }
            _ => {
                crate::log::error(
                    "avpops",
                    format_args!("avp_pushto: unknown destination {:?}", call.value(0)),
                );
                return Code::FALSE;
            }
        };
    }
    Code::from(done)
}
