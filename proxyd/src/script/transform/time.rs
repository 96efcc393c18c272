//! `{s.ftime}`: a Unix time as text (Kamailio transformations cookbook; strftime(3)).

use super::param;
use crate::script::module::Transformation;
use crate::script::pv::calendar;
use crate::script::value::Value;

/// The rows.
pub(super) static TABLE: &[Transformation] = &[Transformation {
    name: "s.ftime",
    params: (1, 1),
    doc: "A Unix time, formatted in local time.",
    apply: ftime,
}];

fn ftime<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    if value.is_null() {
        return Value::Null;
    }
    let format = param(params, 0);
    Value::owned(calendar::format(&format, &calendar::local(value.to_int())))
}
