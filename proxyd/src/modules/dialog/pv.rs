//! `$DLG_…`, `$dlg(…)`, `$dlg_ctx(…)`, `$dlg_var(…)`.

use super::Dialogs;
use super::record::ANSWERED;
use super::record::CONFIRMED_NA;
use super::track;
use crate::script::lists::Item;
use crate::script::module::Env;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::module::SetError;
use crate::script::value::Value;

/// `$DLG_count`.
pub(super) fn count<'e>(env: &'e Env<'_>, _spec: &'e PvSpec) -> Value<'e> {
    let active = env
        .state::<Dialogs>()
        .map_or(0, |state| state.table.count(&ANSWERED));
    Value::Int(i64::try_from(active).unwrap_or(i64::MAX))
}

/// `$DLG_status`.
pub(super) fn status<'e>(env: &'e Env<'_>, _spec: &'e PvSpec) -> Value<'e> {
    let known = track::is_known(env).then(|| track::current(env)).flatten();
    let status = known
        .map(|(dialog, _)| dialog.state())
        .filter(|state| *state >= CONFIRMED_NA);
    status.map_or(Value::Null, |status| Value::Int(status.into()))
}

/// `$DLG_lifetime`.
pub(super) fn lifetime<'e>(env: &'e Env<'_>, _spec: &'e PvSpec) -> Value<'e> {
    let known = track::is_known(env).then(|| track::current(env)).flatten();
    let now = env.host.wall().as_secs();
    known.map_or(Value::Null, |(dialog, _)| {
        seconds(now.saturating_sub(dialog.inner.lock().start_ts))
    })
}

fn seconds(n: u64) -> Value<'static> {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

const KEYS: [&str; 24] = [
    "h_id",
    "h_entry",
    "ref",
    "state",
    "to_rs",
    "from_rs",
    "dflags",
    "sflags",
    "callid",
    "to_uri",
    "to_tag",
    "toroute",
    "lifetime",
    "start_ts",
    "end_ts",
    "init_ts",
    "to_cseq",
    "from_uri",
    "from_tag",
    "from_cseq",
    "from_contact",
    "to_contact",
    "from_bindaddr",
    "to_bindaddr",
];

/// Reads the key of `$dlg`.
pub(super) fn compile(inner: &PvInner<'_>) -> Result<PvData, String> {
    let name = std::str::from_utf8(inner.text).unwrap_or_default();
    let known = KEYS
        .iter()
        .find(|key| **key == name)
        .ok_or_else(|| format!("{name:?} is no part of $dlg"))?;
    Ok(PvData::Text(known.as_bytes().into()))
}

/// `$dlg(key)`.
pub(super) fn attribute<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let (Some((dialog, _)), PvData::Text(key)) = (track::current(env), &spec.data) else {
        return Value::Null;
    };
    let inner = dialog.inner.lock();
    let text = |bytes: &[u8]| {
        if bytes.is_empty() {
            Value::Null
        } else {
            Value::owned(bytes)
        }
    };
    match &**key {
        b"h_id" => Value::Int(dialog.h_id.into()),
        b"h_entry" => Value::Int(dialog.h_entry.into()),
        b"ref" => Value::Int(1),
        b"state" => Value::Int(inner.state.into()),
        b"to_rs" => text(&inner.callee.route_set.join(&b", "[..])),
        b"from_rs" => text(&inner.caller.route_set.join(&b", "[..])),
        b"dflags" | b"toroute" => Value::Int(0),
        b"sflags" => Value::Int(inner.flags.into()),
        b"callid" => text(&dialog.call_id),
        b"to_uri" => text(&dialog.to_uri),
        b"to_tag" => text(&inner.callee.tag),
        b"lifetime" => seconds(inner.lifetime),
        b"start_ts" => seconds(inner.start_ts),
        b"end_ts" => seconds(inner.end_ts),
        b"init_ts" => seconds(dialog.init_ts),
        b"to_cseq" => Value::Int(inner.callee.cseq.into()),
        b"from_uri" => text(&dialog.from_uri),
        b"from_tag" => text(&inner.caller.tag),
        b"from_cseq" => Value::Int(inner.caller.cseq.into()),
        b"from_contact" => text(&inner.caller.contact),
        b"to_contact" => text(&inner.callee.contact),
        b"from_bindaddr" => text(inner.caller.socket.as_bytes()),
        b"to_bindaddr" => text(inner.callee.socket.as_bytes()),
        _ => Value::Null,
    }
}

const CONTEXT: [&str; 9] = [
    "on",
    "set",
    "flags",
    "dir",
    "timeout",
    "timeout_route",
    "timeout_route_id",
    "timeout_bye",
    "to_tag",
];

/// Kamailio: these keys are notes for the script; how long a dialog lasts is said by `timeout_avp`.
const NOTED: [&[u8]; 2] = [b"on", b"timeout"];

/// Reads the key of `$dlg_ctx`.
pub(super) fn compile_context(inner: &PvInner<'_>) -> Result<PvData, String> {
    let name = std::str::from_utf8(inner.text).unwrap_or_default();
    let known = CONTEXT
        .iter()
        .find(|key| **key == name)
        .ok_or_else(|| format!("{name:?} is no part of $dlg_ctx"))?;
    Ok(PvData::Text(known.as_bytes().into()))
}

/// What was set before there is a dialog.
pub(super) fn pending(env: &Env<'_>, list: &[u8], name: &[u8]) -> Option<Value<'static>> {
    env.lists.xavp.field(list, name).cloned()
}

pub(super) fn set_pending(env: &mut Env<'_>, list: &[u8], name: &[u8], value: Value<'_>) {
    if env.lists.xavp.count(list) == 0 {
        env.lists.xavp.push(list, Item::Fields(Vec::new()));
    }
    if let Some(Item::Fields(fields)) = env.lists.xavp.item_mut(list, 0) {
        fields.retain(|(known, _)| **known != *name);
        if !value.is_null() {
            fields.insert(0, (name.into(), value.into_owned()));
        }
    }
}

/// `$dlg_ctx(key)`.
pub(super) fn context<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let PvData::Text(key) = &spec.data else {
        return Value::Null;
    };
    let current = track::current(env).filter(|_| !NOTED.contains(&&**key));
    let Some((dialog, side)) = current else {
        return pending(env, track::PENDING_CTX, key).unwrap_or(Value::Int(0));
    };
    let inner = dialog.inner.lock();
    match &**key {
        b"set" => Value::Int(1),
        b"dir" => Value::Int(if side == super::record::Side::Caller { 1 } else { 2 }),
        b"timeout_bye" => Value::Int(inner.timeout_bye.into()),
        b"timeout_route" if !inner.timeout_route.is_empty() => Value::owned(&*inner.timeout_route),
        b"timeout_route" => Value::Null,
        b"to_tag" => Value::owned(&*inner.callee.tag),
        _ => Value::Int(0),
    }
}

/// Assigns to `$dlg_ctx(key)`.
pub(super) fn set_context(env: &mut Env<'_>, spec: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    let PvData::Text(key) = &spec.data else {
        return Ok(());
    };
    let current = track::current(env).filter(|_| !NOTED.contains(&&**key));
    let Some((dialog, _)) = current else {
        set_pending(env, track::PENDING_CTX, key, value);
        return Ok(());
    };
    let mut inner = dialog.inner.lock();
    match &**key {
        b"timeout_bye" => inner.timeout_bye = value.to_int() != 0,
        b"timeout_route" => inner.timeout_route = value.into_text().into_owned(),
        _ => {}
    }
    Ok(())
}

/// `$dlg_var(name)`.
pub(super) fn variable<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let name = spec.text(env);
    match track::current(env) {
        Some((dialog, _)) => dialog.variable(&name).map_or(Value::Null, Value::owned),
        None => pending(env, track::PENDING_VARS, &name).unwrap_or(Value::Null),
    }
}

/// Assigns to `$dlg_var(name)`.
pub(super) fn set_variable(env: &mut Env<'_>, spec: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    let name = spec.text(env).into_owned();
    match track::current(env) {
        Some((dialog, _)) => {
            let value = if value.is_null() {
                None
            } else {
                Some(value.into_text().into_owned())
            };
            dialog.set_variable(&name, value);
        }
        None => set_pending(env, track::PENDING_VARS, &name, value),
    }
    Ok(())
}
