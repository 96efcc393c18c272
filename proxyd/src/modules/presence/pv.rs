//! `$subs(attribute)`, `$notify_reply(variable)`.

use super::Presence;
use super::subscription::Subscription;
use crate::proxy::context::Context;
use crate::script::module::Env;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::nowhere;
use crate::script::value::Value;

/// Reads one attribute.
type Read = fn(&Subscription) -> Value<'static>;

const ATTRIBUTES: &[(&str, Read)] = &[
    ("uri", |s| Value::owned(&*s.presentity)),
    ("pres_uri", |s| Value::owned(&*s.presentity)),
    ("to_user", |s| Value::owned(&*s.to_user)),
    ("to_domain", |s| Value::owned(&*s.to_domain)),
    ("from_user", |s| Value::owned(&*s.from_user)),
    ("from_domain", |s| Value::owned(&*s.from_domain)),
    ("watcher_username", |s| Value::owned(&*s.watcher_user)),
    ("watcher_domain", |s| Value::owned(&*s.watcher_domain)),
    ("event", |s| Value::owned(s.event.as_str())),
    ("event_id", |s| Value::owned(&*s.event_id)),
    ("to_tag", |s| Value::owned(&*s.dialog.to_tag)),
    ("from_tag", |s| Value::owned(&*s.dialog.from_tag)),
    ("callid", |s| Value::owned(&*s.dialog.call_id)),
    ("remote_cseq", |s| Value::Int(s.remote_cseq.into())),
    ("local_cseq", |s| Value::Int(s.local_cseq.into())),
    ("contact", |s| Value::owned(&*s.contact)),
    ("local_contact", |s| Value::owned(&*s.local_contact)),
    ("record_route", |s| Value::owned(&*s.record_route)),
    ("expires", |s| Value::Int(s.expires.into())),
    ("status", |s| Value::Int(s.status as i64)),
    ("reason", |s| Value::owned(s.reason.as_str())),
    ("version", |s| Value::Int(s.version.into())),
    ("flags", |_| Value::Int(0)),
    ("user_agent", |s| Value::owned(&*s.user_agent)),
];

/// Finds the attribute in the parentheses of `$subs`.
pub(super) fn compile(inner: &PvInner<'_>) -> Result<PvData, String> {
    let found = ATTRIBUTES.iter().find(|(name, _)| name.as_bytes() == inner.text);
    match found {
        Some((_, read)) => Ok(PvData::Other(Box::new(*read))),
        None => Err(format!(
            "{:?} is no attribute of a subscription",
            String::from_utf8_lossy(inner.text)
        )),
    }
}

/// Reads `$subs(attribute)`.
pub(super) fn subscription<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let (Some(state), Some(read)) = (env.state::<Presence>(), spec.other::<Read>()) else {
        return Value::Null;
    };
    let handled = state.handled.lock();
    match handled.get(&env.host.worker().0) {
        Some(handled) if handled.message == env.ctx.id => read(&handled.subscription),
        _ => Value::Null,
    }
}

/// Keeps the text in the parentheses of `$notify_reply`.
pub(super) fn compile_reply(inner: &PvInner<'_>) -> Result<PvData, String> {
    (inner.parse)(inner.text).map(PvData::Format)
}

/// Reads `$notify_reply(variable)`: of the answer to the NOTIFY.
pub(super) fn reply<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let (Some(state), PvData::Format(format)) = (env.state::<Presence>(), &spec.data) else {
        return Value::Null;
    };
    let answer = {
        let handled = state.handled.lock();
        let mine = handled.get(&env.host.worker().0);
        mine.and_then(|handled| handled.answer.clone())
    };
    let Some(msg) = answer else { return Value::Null };
    let ctx = Context {
        msg,
        ..Context::default()
    };
    nowhere::expand_of(env, ctx, format)
}
