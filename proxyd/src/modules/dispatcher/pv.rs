//! `$dsv(…)`, what an event route is told, and `$dsg(…)`, how a set fares (Kamailio module dispatcher).

use super::Dispatcher;
use super::destination::DISABLED;
use super::destination::INACTIVE;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvParam;
use crate::script::module::PvSpec;
use crate::script::value::Value;
use std::cell::Cell;
use std::cell::RefCell;

/// Why a destination goes up or down.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) set: i64,
    pub(super) uri: Vec<u8>,
    pub(super) code: u16,
    /// None: nobody answered.
    pub(super) reason: Option<Vec<u8>>,
}

thread_local! {
    /// What the event route that this thread runs is about.
    static EVENT: RefCell<Option<Event>> = const { RefCell::new(None) };
    /// The set that `ds_dsg_fetch()` named.
    static GROUP: Cell<Option<i64>> = const { Cell::new(None) };
}

/// Runs an event route of which `$dsv(…)` tells.
pub(super) fn during(event: Event, run: impl FnOnce()) {
    let before = EVENT.replace(Some(event));
    run();
    EVENT.set(before);
}

/// The pseudo-variables.
pub(super) const PVS: &[Pv] = &[
    Pv {
        names: &["dsv"],
        param: PvParam::Required,
        doc: "In event routes: $dsv(code), reason, flags (1 an answer came), uri, setid.",
        compile: Some(|inner| key(inner, &["code", "reason", "flags", "uri", "setid", "group"])),
        get: dsv,
        set: None,
    },
    Pv {
        names: &["dsg"],
        param: PvParam::Required,
        doc: "Of the set of ds_dsg_fetch(): $dsg(count), active, inactive, and in percent pactive, pinactive.",
        compile: Some(|inner| key(inner, &["count", "active", "inactive", "pactive", "pinactive"])),
        get: dsg,
        set: None,
    },
];

fn key(inner: &PvInner<'_>, keys: &[&str]) -> Result<PvData, String> {
    let found = keys.iter().find(|key| key.as_bytes() == inner.text);
    found.map_or_else(
        || Err(format!("it is one of {}", keys.join(", "))),
        |key| Ok(PvData::Text(key.as_bytes().into())),
    )
}

fn dsv<'e>(_: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let PvData::Text(key) = &spec.data else {
        return Value::Null;
    };
    EVENT.with_borrow(|event| {
        let Some(event) = event else { return Value::Null };
        match &**key {
            b"code" => Value::Int(event.code.into()),
            b"reason" => event
                .reason
                .as_ref()
                .map_or(Value::Null, |text| Value::owned(text.as_slice())),
            b"flags" => Value::Int(event.reason.is_some().into()),
            b"uri" => Value::owned(event.uri.as_slice()),
            _ => Value::Int(event.set),
        }
    })
}

/// `ds_dsg_fetch(set)`.
pub(super) fn fetch(call: &mut Call<'_, '_>) -> Code {
    GROUP.set(Some(call.int(0)));
    Code::TRUE
}

fn dsg<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let (PvData::Text(key), Some(state)) = (&spec.data, env.state::<Dispatcher>()) else {
        return Value::Null;
    };
    let sets = state.sets.load();
    let Some(set) = GROUP.get().and_then(|id| sets.get(id)) else {
        return Value::Null;
    };
    let all = set.destinations.len();
    let down = set
        .destinations
        .iter()
        .filter(|destination| destination.flags() & (INACTIVE | DISABLED) != 0)
        .count();
    let percent = |part: usize| (part * 100).checked_div(all).unwrap_or(0);
    let number = match &**key {
        b"count" => all,
        b"active" => all - down,
        b"inactive" => down,
        b"pactive" => percent(all - down),
        _ => percent(down),
    };
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
