//! Credentials: `$au` `$ar` and their kin of Authorization or Proxy-Authorization (RFC 3261 §22, RFC 7616).

use super::request::host;
use super::request::user;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvSpec;
use crate::script::value::Value;
use shared::sip::HeaderName;
use shared::sip::Method;
use shared::sip::header::auth::Auth;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    Pv::plain(&["au"], "User part of the credentials' username.", au),
    Pv::plain(&["ad"], "Domain part of the credentials' username.", ad),
    Pv::plain(&["aU"], "Username of the credentials.", |env, _| {
        Value::maybe(auth(env).and_then(|auth| auth.username))
    }),
    Pv::plain(&["ar"], "Realm of the credentials.", |env, _| {
        Value::maybe(auth(env).and_then(|auth| auth.realm))
    }),
    Pv::plain(
        &["aa"],
        "Algorithm of the credentials, empty when they name none.",
        |env, _| {
            let auth = auth(env).filter(Auth::is_digest);
            Value::maybe(auth.map(|auth| auth.algorithm.unwrap_or_default()))
        },
    ),
    Pv::plain(&["adu"], "URI of the credentials.", |env, _| {
        Value::text_or_null(auth(env).and_then(|auth| auth.uri).unwrap_or_default())
    }),
    Pv::plain(&["adn"], "Nonce of the credentials.", |env, _| {
        Value::maybe(auth(env).and_then(|auth| auth.nonce))
    }),
    Pv::plain(&["adc"], "Cnonce of the credentials.", |env, _| {
        Value::maybe(auth(env).and_then(|auth| auth.cnonce))
    }),
    Pv::plain(&["adr"], "Response of the credentials.", |env, _| {
        Value::maybe(auth(env).and_then(|auth| auth.response))
    }),
    Pv::plain(
        &["AU"],
        "Username for accounting: of the credentials that were accepted, else of From.",
        accounting_user,
    ),
    Pv::plain(
        &["Au"],
        "Username and realm for accounting: of the credentials that were accepted, else of From.",
        accounting_address,
    ),
];

/// The first credentials of the request; a proxy's before the user agent's.
fn auth<'e>(env: &'e Env<'_>) -> Option<Auth<'e>> {
    let msg = &env.ctx.msg;
    // Kamailio: these two are never challenged, so that nothing is said of them.
    if matches!(msg.method(), Method::Ack | Method::Cancel) {
        return None;
    }
    let names = [HeaderName::ProxyAuthorization, HeaderName::Authorization];
    let first = names.into_iter().find_map(|name| msg.first(name))?;
    Auth::parse(first).ok()
}

fn split(name: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'@', name) {
        Some(at) => (name.get(..at).unwrap_or_default(), name.get(at + 1..)),
        None => (name, None),
    }
}

fn au<'e>(env: &'e Env<'_>, _: &'e PvSpec) -> Value<'e> {
    Value::maybe(auth(env).and_then(|auth| auth.username).map(|name| split(name).0))
}

fn ad<'e>(env: &'e Env<'_>, _: &'e PvSpec) -> Value<'e> {
    // Kamailio: credentials without a domain have an empty one
    match auth(env).and_then(|auth| auth.username) {
        Some(name) => Value::text(split(name).1.unwrap_or_default()),
        None => Value::Null,
    }
}

fn accounting_user<'e>(env: &'e Env<'_>, _: &'e PvSpec) -> Value<'e> {
    match env.ctx.accepted_credentials().and_then(|auth| auth.username) {
        Some(name) => Value::text(split(name).0),
        None => match env.ctx.msg.from().map(|from| user(from.uri)) {
            Some(Value::Null) => Value::text(b""),
            found => found.unwrap_or(Value::Null),
        },
    }
}

fn accounting_address<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let realm = match env.ctx.accepted_credentials() {
        Some(auth) => Value::maybe(auth.realm),
        None => env.ctx.msg.from().map_or(Value::Null, |from| host(from.uri)),
    };
    let name = accounting_user(env, spec);
    if name.is_null() {
        return Value::Null;
    }
    Value::owned([name.to_text(), realm.to_text()].join(b"@".as_slice()))
}
