//! `{s.ftime}`: a Unix time as text (Kamailio transformations cookbook; strftime(3)).

use super::param;
use crate::calendar;
use crate::script::exec::whole_int;
use crate::script::module::Transformation;
use crate::script::value::Value;

/// The rows.
pub(super) static TABLE: &[Transformation] = &[Transformation {
    name: "s.ftime",
    params: (1, 1),
    doc: "A Unix time, formatted in local time.",
    apply: ftime,
}];

fn ftime<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let seconds = match &value {
        Value::Int(seconds) => Some(*seconds),
        Value::Str(text) if text.is_empty() => Some(0),
        Value::Str(text) => whole_int(text),
        Value::Null => None,
    };
    let format = param(params, 0);
    seconds.map_or(Value::Null, |seconds| {
        Value::owned(calendar::format(&format, &calendar::local(seconds)))
    })
}
