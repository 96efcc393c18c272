//! Global custom parameters, `group.name = value desc "…"`, and what `cfg.*` made of them since (Kamailio core cookbook).

use crate::script::module::Env;
use crate::script::module::ParamValue;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::value::Value;
use parking_lot::RwLock;
use std::collections::BTreeMap;

/// The row of `$ccp`.
pub(super) const ROW: Pv = Pv::class(&["ccp"], "A custom parameter: group.name.", compile, read);

/// A parameter's group and name.
pub(crate) type Id = (String, String);

/// Values changed at run time, kept by module cfg_rpc.
#[derive(Default)]
pub(crate) struct Changed {
    values: RwLock<BTreeMap<Id, ParamValue>>,
    /// Those that wait for `cfg.commit`; none: that of the script.
    waiting: RwLock<BTreeMap<Id, Option<ParamValue>>>,
}

impl Changed {
    /// The value that a parameter was given since the start.
    pub(crate) fn get(&self, group: &str, name: &str) -> Option<ParamValue> {
        let values = self.values.read();
        // most scripts never change one
        if values.is_empty() {
            return None;
        }
        values.get(&(group.to_owned(), name.to_owned())).cloned()
    }

    /// Changes a parameter.
    pub(crate) fn set(&self, group: &str, name: &str, value: ParamValue) {
        self.values
            .write()
            .insert((group.to_owned(), name.to_owned()), value);
    }

    /// Gives a parameter its value of the script again.
    pub(crate) fn reset(&self, group: &str, name: &str) {
        self.values.write().remove(&(group.to_owned(), name.to_owned()));
    }

    /// Every change.
    pub(crate) fn all(&self) -> BTreeMap<Id, ParamValue> {
        self.values.read().clone()
    }

    /// Has a change wait; none: back to the value of the script.
    pub(crate) fn delay(&self, group: &str, name: &str, value: Option<ParamValue>) {
        self.waiting
            .write()
            .insert((group.to_owned(), name.to_owned()), value);
    }

    /// What waits.
    pub(crate) fn waiting(&self) -> BTreeMap<Id, Option<ParamValue>> {
        self.waiting.read().clone()
    }

    /// Takes what waits, which then waits no more.
    pub(crate) fn take_waiting(&self) -> BTreeMap<Id, Option<ParamValue>> {
        std::mem::take(&mut *self.waiting.write())
    }
}

/// A compiled `group.name`.
#[derive(Debug)]
pub(super) struct Named {
    group: String,
    name: String,
}

impl Named {
    /// Splits at the first dot.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(text.trim_ascii());
        match text.split_once('.') {
            Some((group, name)) if !group.is_empty() && !name.is_empty() => Ok(Self {
                group: group.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(format!("{text:?} is not group.name")),
        }
    }

    /// The value as it stands.
    pub(super) fn read<'e>(&self, env: &'e Env<'_>) -> Value<'e> {
        let changed = env
            .state::<Changed>()
            .and_then(|changed| changed.get(&self.group, &self.name));
        match changed {
            Some(ParamValue::Int(n)) => Value::Int(n),
            Some(ParamValue::Text(text)) => Value::owned(text),
            None => match env.script.program.custom(&self.group, &self.name) {
                Some(ParamValue::Int(n)) => Value::Int(*n),
                Some(ParamValue::Text(text)) => Value::text(text),
                None => Value::Null,
            },
        }
    }
}

fn compile(inner: &PvInner<'_>) -> Result<PvData, String> {
    Named::parse(inner.text).map(|named| PvData::Other(Box::new(named)))
}

fn read<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    spec.other::<Named>().map_or(Value::Null, |named| named.read(env))
}
