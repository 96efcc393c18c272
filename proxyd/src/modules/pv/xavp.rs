//! XAVPs made of texts and texts made of them (Kamailio pv, `xavp_*`).

use crate::script::lists::Extended;
use crate::script::lists::Item;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::pv::xavp::Family;
use crate::script::transform::params::List;
use crate::script::value::Value;
use crate::script::vars;
use std::borrow::Cow;

pub(super) const XAVP: Family = Family::Xavp;
pub(super) const XAVI: Family = Family::Xavi;
pub(super) const XAVU: Family = Family::Xavu;

/// The most fields that one text is made into.
const MOST_FIELDS: usize = 1024;

fn list<'l>(call: &'l mut Call<'_, '_>, family: Family) -> &'l mut Extended {
    family.of_mut(call.env.lists)
}

fn key(call: &Call<'_, '_>, n: usize, family: Family) -> Vec<u8> {
    family.key(call.text(n)).into_owned()
}

/// Makes an item of `a=1;b=2`; false when there is nothing in it.
fn explode_to(call: &mut Call<'_, '_>, name: usize, separator: u8, family: Family) -> Code {
    let (text, name) = (call.text_owned(0), key(call, name, family));
    let mut fields: Vec<(Box<[u8]>, Value<'static>)> = List::new(&text, separator)
        .filter(|(name, _)| !name.is_empty())
        .take(MOST_FIELDS)
        .map(|(name, value)| (family.key(Cow::Borrowed(name)).into(), Value::owned(value)))
        .collect();
    if fields.is_empty() || name.is_empty() {
        return Code::FALSE;
    }
    if family == XAVU {
        list(call, family).clear(&name);
    }
    fields.reverse(); // the newest first
    list(call, family).push(&name, Item::Fields(fields));
    Code::TRUE
}

pub(super) fn explode(call: &mut Call<'_, '_>) -> Code {
    explode_to(call, 1, b';', XAVP)
}

pub(super) fn explode_with(call: &mut Call<'_, '_>) -> Code {
    let separator = call.text(1).first().copied();
    match separator {
        Some(separator) => explode_to(call, 2, separator, XAVP),
        None => Code::FALSE,
    }
}

pub(super) fn explode_xavu(call: &mut Call<'_, '_>) -> Code {
    explode_to(call, 1, b';', XAVU)
}

pub(super) fn explode_list(call: &mut Call<'_, '_>) -> Code {
    let (text, separator, mode, name) = (
        call.text_owned(0),
        call.text_owned(1),
        call.text_owned(2),
        call.text_owned(3),
    );
    let Some(separator) = separator.first() else {
        return Code::FALSE;
    };
    let trims = matches!(mode.first(), Some(b't' | b'T'));
    let items = text.split(|byte| byte == separator).take(MOST_FIELDS);
    let items = items.map(|item| if trims { item.trim_ascii() } else { item });
    let fields: Vec<(Box<[u8]>, Value<'static>)> = items
        .map(|item| (b"v".as_slice().into(), Value::owned(item)))
        .collect();
    if name.is_empty() {
        return Code::FALSE;
    }
    list(call, XAVP).push(&name, Item::Fields(fields));
    Code::TRUE
}

/// `a=1;b=2;` of an item's fields, in the order they were set; none when it is plain.
pub(super) fn text_of(item: &Item, quoted: bool) -> Option<Vec<u8>> {
    let Item::Fields(fields) = item else { return None };
    let mut out = Vec::new();
    for (name, value) in fields.iter().rev() {
        out.extend_from_slice(name);
        let text = value.to_text();
        if quoted {
            out.push(b'=');
            shared::sip::params::write_quoted(&mut out, &text);
        } else if !text.is_empty() {
            out.push(b'=');
            out.extend_from_slice(&text);
        }
        out.push(b';');
    }
    Some(out)
}

fn implode_from(call: &mut Call<'_, '_>, family: Family, quoted: bool) -> Code {
    let name = key(call, 0, family);
    let text = family
        .of(call.env.lists)
        .item(&name, 0)
        .and_then(|item| text_of(item, quoted));
    match text {
        Some(text) => Code::from(call.assign(1, Value::owned(text))),
        None => Code::FALSE,
    }
}

pub(super) fn implode(call: &mut Call<'_, '_>) -> Code {
    implode_from(call, XAVP, false)
}

pub(super) fn implode_quoted(call: &mut Call<'_, '_>) -> Code {
    implode_from(call, XAVP, true)
}

pub(super) fn implode_xavu(call: &mut Call<'_, '_>) -> Code {
    implode_from(call, XAVU, false)
}

pub(super) fn copy(call: &mut Call<'_, '_>) -> Code {
    let (source, index, name) = (call.text_owned(0), call.int(1), call.text_owned(2));
    let place = call.opt_int(3);
    let Some(item) = call.env.lists.xavp.item(&source, index).cloned() else {
        return Code::FALSE;
    };
    match place {
        None => list(call, XAVP).push(&name, item),
        Some(at) => match list(call, XAVP).item_mut(&name, at) {
            Some(place) => *place = item,
            None => return Code::FALSE,
        },
    }
    Code::TRUE
}

pub(super) fn set_child(call: &mut Call<'_, '_>, family: Family) -> Code {
    let (root, field) = (key(call, 0, family), key(call, 1, family));
    let value = if call.name.ends_with('i') {
        Value::Int(call.int(2))
    } else {
        Value::owned(call.text_owned(2))
    };
    let list = list(call, family);
    match list.item_mut(&root, 0) {
        Some(Item::Fields(fields)) => match fields.iter_mut().find(|(name, _)| **name == *field) {
            Some((_, place)) => *place = value,
            None => fields.insert(0, (field.into(), value)),
        },
        Some(Item::Plain(_)) => return Code::FALSE,
        None => list.push(&root, Item::Fields(vec![(field.into(), value)])),
    }
    Code::TRUE
}

pub(super) fn remove(call: &mut Call<'_, '_>, family: Family) -> Code {
    let name = key(call, 0, family);
    Code::from(list(call, family).remove(&name, 0))
}

pub(super) fn remove_all(call: &mut Call<'_, '_>, family: Family) -> Code {
    if call.has(0) {
        let name = key(call, 0, family);
        list(call, family).clear(&name);
    } else {
        *list(call, family) = Extended::default();
    }
    Code::TRUE
}

pub(super) fn remove_child(call: &mut Call<'_, '_>, family: Family) -> Code {
    let (root, field) = (key(call, 0, family), key(call, 1, family));
    let Some(Item::Fields(fields)) = list(call, family).item_mut(&root, 0) else {
        return Code::FALSE;
    };
    let before = fields.len();
    fields.retain(|(name, _)| **name != *field);
    Code::from(fields.len() < before)
}

pub(super) fn left_shift(call: &mut Call<'_, '_>) -> Code {
    let (name, index) = (call.text_owned(0), call.opt_int(1).unwrap_or(0));
    let at = usize::try_from(index).ok();
    Code::from(at.is_some_and(|at| list(call, XAVP).remove(&name, at)))
}

pub(super) fn print(call: &mut Call<'_, '_>, family: Family) -> Code {
    for (name, item) in family.of(call.env.lists).iter() {
        let name = String::from_utf8_lossy(name);
        match item {
            Item::Plain(value) => {
                crate::log::info(
                    "pv",
                    format_args!("{name}: {}", String::from_utf8_lossy(&value.to_text())),
                );
            }
            Item::Fields(fields) => {
                for (field, value) in fields {
                    let (field, value) = (String::from_utf8_lossy(field), value.to_text());
                    crate::log::info(
                        "pv",
                        format_args!("{name}=>{field}: {}", String::from_utf8_lossy(&value)),
                    );
                }
            }
        }
    }
    Code::TRUE
}

pub(super) fn from_var(call: &mut Call<'_, '_>) -> Code {
    let (variable, name) = (call.text_owned(0), call.text_owned(1));
    let value = call.env.vars.read(vars::slot(&variable)).into_owned();
    list(call, XAVP).push(&name, Item::Fields(vec![(variable.into(), value)]));
    Code::TRUE
}

pub(super) fn to_vars(call: &mut Call<'_, '_>) -> Code {
    let name = call.text_owned(0);
    let Some(Item::Fields(fields)) = call.env.lists.xavp.item(&name, 0).cloned() else {
        return Code::FALSE;
    };
    for (field, value) in fields.into_iter().rev() {
        call.env.vars.write(vars::slot(&field), value);
    }
    Code::TRUE
}
