//! Script variables: `$var` `$vn` of a worker, `$shv` of the process (Kamailio pseudo-variables cookbook).

use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::module::SetError;
use crate::script::value::Value;
use crate::script::vars;
use crate::script::vars::Slot;
use crate::stats::Statistics;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    Pv::class(
        &["var", "vz"],
        "A variable of the worker: integer 0 at first, and for null.",
        compile,
        read,
    )
    .settable(write),
    Pv::class(
        &["vn"],
        "A variable of the worker: null at first.",
        compile,
        read_nullable,
    )
    .settable(write_nullable),
    Pv::class(
        &["shv"],
        "A variable of all workers: integer 0 at first.",
        compile_shared,
        read_shared,
    )
    .settable(write_shared),
];

/// Variables of all workers and the counters, kept by module pv.
#[derive(Default)]
pub(crate) struct Shared {
    values: RwLock<BTreeMap<Box<[u8]>, Value<'static>>>,
    /// The counters that `$stat(name)` shows.
    pub(crate) statistics: Option<Arc<Statistics>>,
}

impl Shared {
    /// With the values of an earlier script, if there was one.
    pub(crate) fn new(previous: Option<&Self>, statistics: Arc<Statistics>) -> Self {
        let values = previous.map(|old| old.values.read().clone()).unwrap_or_default();
        Self {
            values: RwLock::new(values),
            statistics: Some(statistics),
        }
    }

    /// The value of a variable, if it was ever set.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Value<'static>> {
        self.values.read().get(name).cloned()
    }

    /// Sets a variable.
    pub(crate) fn set(&self, name: &[u8], value: Value<'static>) {
        let mut values = self.values.write();
        match values.get_mut(name) {
            Some(place) => *place = value,
            None => {
                values.insert(name.into(), value);
            }
        }
    }

    /// Every variable, by name.
    pub(crate) fn all(&self) -> Vec<(Box<[u8]>, Value<'static>)> {
        self.values
            .read()
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

/// Kamailio: a variable within the name is not put in.
fn name_of<'a>(inner: &PvInner<'a>) -> Result<&'a [u8], String> {
    let name = inner.text.trim_ascii();
    if name.is_empty() {
        return Err("variable name is empty".into());
    }
    Ok(name)
}

fn compile(inner: &PvInner<'_>) -> Result<PvData, String> {
    name_of(inner).map(|name| PvData::Number(i64::from(vars::slot(name))))
}

fn slot(spec: &PvSpec) -> Slot {
    Slot::try_from(super::number(spec)).unwrap_or(Slot::MAX)
}

fn read<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    env.vars.read(slot(spec))
}

fn write(env: &mut Env<'_>, spec: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    env.vars.write(slot(spec), value.into_owned());
    Ok(())
}

fn read_nullable<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    env.vars.read_nullable(slot(spec))
}

fn write_nullable(env: &mut Env<'_>, spec: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    env.vars.write_nullable(slot(spec), value.into_owned());
    Ok(())
}

fn compile_shared(inner: &PvInner<'_>) -> Result<PvData, String> {
    name_of(inner).map(|name| PvData::Text(name.into()))
}

fn read_shared<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let value = env
        .state::<Shared>()
        .and_then(|shared| shared.get(&spec.text(env)));
    value.unwrap_or(Value::Int(0))
}

fn write_shared(env: &mut Env<'_>, spec: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    let missing = || SetError::Missing("module pv is not loaded".to_owned());
    let shared = env.state::<Shared>().ok_or_else(missing)?;
    // Kamailio: null makes it an empty text
    let value = if value.is_null() {
        Value::owned(b"")
    } else {
        value.into_owned()
    };
    shared.set(&spec.text(env), value);
    Ok(())
}
