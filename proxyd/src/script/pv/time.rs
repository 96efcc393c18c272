//! Time: `$Ts` `$TF` `$TV(name)` `$time(name)` `$timef(format)` and their kin (Kamailio pseudo-variables cookbook).

use super::compile_name;
use super::compile_text;
use super::number;
use crate::calendar;
use crate::calendar::Calendar;
use crate::calendar::Field;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::value::Value;
use std::time::Duration;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    Pv::plain(&["Ts", "TS"], "Unix time in seconds.", |env, _| {
        Value::Int(seconds(env))
    }),
    Pv::plain(&["Tsm"], "Microseconds within the second.", |env, _| {
        Value::Int(i64::from(env.host.wall().subsec_micros()))
    }),
    Pv::plain(&["Tf", "TF"], "Time as text.", |env, _| {
        Value::owned(calendar::local(seconds(env)).ctime())
    }),
    Pv::plain(&["Tb"], "Unix time of the start.", started),
    Pv::class(
        &["TV"],
        "Time: s and sn seconds, u and un microseconds within, Sn both.",
        |inner| compile_name(inner, &["s", "u", "sn", "un", "Sn"]),
        precise,
    ),
    Pv::class(
        &["time"],
        "A part of local time: sec min hour mday mon year wday yday isdst.",
        compile_field,
        |env, spec| field(&calendar::local(seconds(env)), spec),
    ),
    Pv::class(
        &["utime"],
        "A part of UTC: sec min hour mday mon year wday yday isdst.",
        compile_field,
        |env, spec| field(&calendar::utc(seconds(env)), spec),
    ),
    Pv::class(
        &["timef", "ftime"],
        "Local time as strftime(3) writes it.",
        compile_text,
        |env, spec| Value::owned(calendar::format(&spec.text(env), &calendar::local(seconds(env)))),
    ),
    Pv::class(
        &["utimef"],
        "UTC as strftime(3) writes it.",
        compile_text,
        |env, spec| Value::owned(calendar::format(&spec.text(env), &calendar::utc(seconds(env)))),
    ),
];

fn wall(env: &Env<'_>) -> Duration {
    env.host.wall()
}

fn seconds(env: &Env<'_>) -> i64 {
    i64::try_from(wall(env).as_secs()).unwrap_or(i64::MAX)
}

/// Monotonic time counts from the start.
fn started<'e>(env: &'e Env<'_>, _: &'e PvSpec) -> Value<'e> {
    let running = i64::try_from(env.host.now() / 1000).unwrap_or(0);
    Value::Int(seconds(env).saturating_sub(running))
}

fn precise<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let now = wall(env);
    match number(spec) {
        0 | 2 => Value::Int(seconds(env)),
        1 | 3 => Value::Int(i64::from(now.subsec_micros())),
        _ => Value::owned(format!("{}.{:06}", now.as_secs(), now.subsec_micros()).into_bytes()),
    }
}

fn compile_field(inner: &PvInner<'_>) -> Result<PvData, String> {
    match Field::from_bytes(inner.text) {
        Some(field) => Ok(PvData::Other(Box::new(field))),
        None => Err(format!(
            "{:?} is no part of a time",
            String::from_utf8_lossy(inner.text)
        )),
    }
}

fn field(time: &Calendar, spec: &PvSpec) -> Value<'static> {
    spec.other::<Field>()
        .map_or(Value::Null, |field| Value::Int(time.field(*field)))
}
