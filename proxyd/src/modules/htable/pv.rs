//! `$sht` and its kin (Kamailio module htable, "Exported pseudo-variables").

use super::Htable;
use super::table::Item;
use super::table::Life;
use super::table::Table;
use super::table::Test;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::module::SetError;
use crate::script::program::Format;
use crate::script::value::Value;

/// A table and an item, compiled.
struct Place {
    table: Format,
    key: Format,
}

/// The rows.
pub(super) static PVS: &[Pv] = &[
    Pv::class(
        &["sht"],
        "An item of a hash table; null when it is not there.",
        compile,
        sht,
    )
    .settable(set_sht),
    Pv::class(
        &["shtex"],
        "Seconds until an item ends; 0 for never.",
        compile,
        shtex,
    )
    .settable(set_shtex),
    Pv::class(
        &["shtcn"],
        "How many items have names that fit: ~~regex, %~beginning, ~%end, ==name.",
        compile,
        shtcn,
    ),
    Pv::class(
        &["shtcv"],
        "How many items have string values that fit.",
        compile,
        shtcv,
    ),
    Pv::class(
        &["shtinc"],
        "Adds 1 to an integer item and reads it.",
        compile,
        shtinc,
    ),
    Pv::class(
        &["shtdec"],
        "Takes 1 from an integer item and reads it.",
        compile,
        shtdec,
    ),
    Pv::class(
        &["shtitkey"],
        "The name of the item an iterator is at.",
        compile_name,
        shtitkey,
    ),
    Pv::class(
        &["shtitval"],
        "The value of the item an iterator is at.",
        compile_name,
        shtitval,
    ),
    Pv::class(
        &["shtrecord"],
        "key or value of the item that expired.",
        compile_record,
        shtrecord,
    ),
];

/// Compiles `table=>key`.
fn compile(inner: &PvInner<'_>) -> Result<PvData, String> {
    let wrong = || format!("{:?} is not TABLE=>KEY", String::from_utf8_lossy(inner.text));
    let at = memchr::memmem::find(inner.text, b"=>").ok_or_else(wrong)?;
    let (table, key) = inner.text.split_at_checked(at).ok_or_else(wrong)?;
    let key = key.get(2..).unwrap_or_default();
    let place = Place {
        table: (inner.parse)(table.trim_ascii())?,
        key: (inner.parse)(key)?,
    };
    Ok(PvData::Other(Box::new(place)))
}

fn compile_name(inner: &PvInner<'_>) -> Result<PvData, String> {
    if inner.text.contains(&b'$') {
        (inner.parse)(inner.text).map(PvData::Format)
    } else {
        Ok(PvData::Text(inner.text.into()))
    }
}

fn compile_record(inner: &PvInner<'_>) -> Result<PvData, String> {
    match inner.text {
        b"key" => Ok(PvData::Number(0)),
        b"value" => Ok(PvData::Number(1)),
        other => Err(format!(
            "{:?} is neither key nor value",
            String::from_utf8_lossy(other)
        )),
    }
}

/// Wall time in seconds.
pub(super) fn now(env: &Env<'_>) -> u64 {
    env.host.wall().as_secs()
}

/// The table and the key that a use means.
fn place<'e, 'x>(env: &'e Env<'x>, spec: &'e PvSpec) -> Option<(&'x Table, std::borrow::Cow<'e, [u8]>)> {
    let place: &Place = spec.other()?;
    let table = env.state::<Htable>()?.table(&place.table.expand(env))?;
    Some((table, place.key.expand(env)))
}

fn sht<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    place(env, spec).map_or(Value::Null, |(table, key)| table.get(&key, || now(env)))
}

fn set_sht(env: &mut Env<'_>, spec: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    let (table, key) = place(env, spec).ok_or_else(|| SetError::Missing("hash table".to_owned()))?;
    let set = table.set(&key, value.into_owned(), Life::Defined, now(env));
    set.map_err(|error| SetError::Missing(format!("{}: {error}", table.definition.name)))
}

fn shtex<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let Some((table, key)) = place(env, spec) else {
        return Value::Null;
    };
    Value::Int(i64::try_from(table.ends_in(&key, now(env))).unwrap_or(i64::MAX))
}

fn set_shtex(env: &mut Env<'_>, spec: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    let (table, key) = place(env, spec).ok_or_else(|| SetError::Missing("hash table".to_owned()))?;
    let seconds = u64::try_from(value.to_int()).unwrap_or(0);
    table.set_end(&key, seconds, now(env));
    Ok(())
}

fn counted(env: &Env<'_>, spec: &PvSpec, by: fn(&Test, &Item) -> bool) -> Value<'static> {
    let Some((table, text)) = place(env, spec) else {
        return Value::Null;
    };
    match Test::written(&text) {
        Ok(test) => Value::Int(table.count(now(env), |item| by(&test, item))),
        Err(why) => {
            crate::log::error("htable", format_args!("{why}"));
            Value::Int(0)
        }
    }
}

fn shtcn<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    counted(env, spec, |test, item| test.holds(&item.key))
}

fn shtcv<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    counted(env, spec, |test, item| test.holds_value(&item.value))
}

fn added(env: &Env<'_>, spec: &PvSpec, n: i64) -> Value<'static> {
    if !env.may_write() {
        // a sandbox shows the sum and keeps the value
        let sum = sht(env, spec).to_int().saturating_add(n);
        return Value::Int(sum);
    }
    let sum = place(env, spec).and_then(|(table, key)| table.add(&key, n, now(env)));
    sum.map_or(Value::Null, Value::Int)
}

fn shtinc<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    added(env, spec, 1)
}

fn shtdec<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    added(env, spec, -1)
}

fn shtitkey<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let item = env
        .state::<Htable>()
        .and_then(|state| state.worker(env)?.lock().current(&spec.text(env)));
    item.map_or(Value::Null, |item| Value::owned(item.key.into_vec()))
}

fn shtitval<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let item = env
        .state::<Htable>()
        .and_then(|state| state.worker(env)?.lock().current(&spec.text(env)));
    item.map_or(Value::Null, |item| item.value)
}

fn shtrecord<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let record = env
        .state::<Htable>()
        .and_then(|state| state.worker(env)?.lock().record.clone());
    match (record, &spec.data) {
        (Some(item), PvData::Number(0)) => Value::owned(item.key.into_vec()),
        (Some(item), _) => item.value,
        (None, _) => Value::text(b""),
    }
}
