//! Flags of the message, its first branch and the script, decimal and hexadecimal (Kamailio pseudo-variables cookbook).

use super::refused;
use super::settable;
use crate::proxy::context::Context;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::SetError;
use crate::script::value::Value;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    settable(
        &["mf"],
        "Flags of the message.",
        |env, _| decimal(env.ctx.flags),
        |env, _, value| set(env, &value, |ctx| &mut ctx.flags),
    ),
    settable(
        &["mF"],
        "Flags of the message, hexadecimal.",
        |env, _| hexadecimal(env.ctx.flags),
        |env, _, value| set(env, &value, |ctx| &mut ctx.flags),
    ),
    settable(
        &["bf"],
        "Flags of the first branch.",
        |env, _| decimal(env.ctx.bflags),
        |env, _, value| set(env, &value, |ctx| &mut ctx.bflags),
    ),
    settable(
        &["bF"],
        "Flags of the first branch, hexadecimal.",
        |env, _| hexadecimal(env.ctx.bflags),
        |env, _, value| set(env, &value, |ctx| &mut ctx.bflags),
    ),
    settable(
        &["sf"],
        "Flags of the script.",
        |env, _| decimal(env.ctx.sflags),
        |env, _, value| set(env, &value, |ctx| &mut ctx.sflags),
    ),
    settable(
        &["sF"],
        "Flags of the script, hexadecimal.",
        |env, _| hexadecimal(env.ctx.sflags),
        |env, _, value| set(env, &value, |ctx| &mut ctx.sflags),
    ),
];

fn decimal(flags: u32) -> Value<'static> {
    Value::Int(i64::from(flags))
}

fn hexadecimal(flags: u32) -> Value<'static> {
    Value::owned(format!("{flags:08x}").into_bytes())
}

fn set(env: &mut Env<'_>, value: &Value<'_>, place: fn(&mut Context) -> &mut u32) -> Result<(), SetError> {
    let Value::Int(n) = value else {
        return Err(refused(value));
    };
    // Kamailio: a negative number gives its bits
    *place(env.ctx) = u32::try_from(*n & i64::from(u32::MAX)).map_err(|_| refused(value))?;
    Ok(())
}
