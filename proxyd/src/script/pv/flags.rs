//! Flags of the message, its first branch and the script, decimal and hexadecimal (Kamailio pseudo-variables cookbook).

use super::refused;
use crate::proxy::context::Context;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::SetError;
use crate::script::value::Value;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    Pv::plain(&["mf"], "Flags of the message.", |env, _| decimal(env.ctx.flags))
        .settable(|env, _, value| set(env, &value, |ctx| &mut ctx.flags)),
    Pv::plain(&["mF"], "Flags of the message, hexadecimal.", |env, _| {
        hexadecimal(env.ctx.flags)
    })
    .settable(|env, _, value| set(env, &value, |ctx| &mut ctx.flags)),
    Pv::plain(&["bf"], "Flags of the first branch.", |env, _| {
        decimal(env.ctx.bflags)
    })
    .settable(|env, _, value| set(env, &value, |ctx| &mut ctx.bflags)),
    Pv::plain(&["bF"], "Flags of the first branch, hexadecimal.", |env, _| {
        hexadecimal(env.ctx.bflags)
    })
    .settable(|env, _, value| set(env, &value, |ctx| &mut ctx.bflags)),
    Pv::plain(&["sf"], "Flags of the script.", |env, _| decimal(env.ctx.sflags))
        .settable(|env, _, value| set(env, &value, |ctx| &mut ctx.sflags)),
    Pv::plain(&["sF"], "Flags of the script, hexadecimal.", |env, _| {
        hexadecimal(env.ctx.sflags)
    })
    .settable(|env, _, value| set(env, &value, |ctx| &mut ctx.sflags)),
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
