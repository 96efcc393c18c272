//! Addresses in headers: From, To, P-Asserted-Identity, P-Preferred-Identity, Remote-Party-ID, Diversion, Refer-To
//! (RFC 3261 §20, RFC 3325, RFC 5806, RFC 3515).

use super::refused;
use super::request::host;
use super::request::user;
use super::request::user_length;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::SetError;
use crate::script::value::Value;
use shared::sip::HeaderName;
use shared::sip::NameAddr;
use shared::sip::Uri;
use shared::sip::scan::range_of;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    Pv::plain(&["fu"], "URI of From.", |env, _| {
        Value::maybe(env.ctx.msg.from().map(|from| from.uri))
    })
    .settable(|env, _, value| set(env, Side::From, Part::Uri, &value)),
    Pv::plain(&["fU"], "User part of From.", |env, _| {
        env.ctx.msg.from().map_or(Value::Null, |from| user(from.uri))
    })
    .settable(|env, _, value| set(env, Side::From, Part::User, &value)),
    Pv::plain(&["fUl"], "Length of that user part.", |env, _| {
        env.ctx
            .msg
            .from()
            .map_or(Value::Null, |from| user_length(from.uri))
    }),
    Pv::plain(&["fd"], "Host of From.", |env, _| {
        env.ctx.msg.from().map_or(Value::Null, |from| host(from.uri))
    })
    .settable(|env, _, value| set(env, Side::From, Part::Host, &value)),
    Pv::plain(&["fn"], "Display name of From, quotes and all.", |env, _| {
        env.ctx
            .msg
            .from()
            .map_or(Value::Null, |from| Value::text_or_null(from.display))
    })
    .settable(|env, _, value| set(env, Side::From, Part::Display, &value)),
    Pv::plain(&["ft", "fti"], "Tag of From.", |env, _| {
        Value::text_or_null(env.ctx.msg.from_tag())
    }),
    Pv::plain(&["tu"], "URI of To.", |env, _| {
        Value::maybe(env.ctx.msg.to().map(|to| to.uri))
    })
    .settable(|env, _, value| set(env, Side::To, Part::Uri, &value)),
    Pv::plain(&["tU"], "User part of To.", |env, _| {
        env.ctx.msg.to().map_or(Value::Null, |to| user(to.uri))
    })
    .settable(|env, _, value| set(env, Side::To, Part::User, &value)),
    Pv::plain(&["tUl"], "Length of that user part.", |env, _| {
        env.ctx.msg.to().map_or(Value::Null, |to| user_length(to.uri))
    }),
    Pv::plain(&["td"], "Host of To.", |env, _| {
        env.ctx.msg.to().map_or(Value::Null, |to| host(to.uri))
    })
    .settable(|env, _, value| set(env, Side::To, Part::Host, &value)),
    Pv::plain(&["tn"], "Display name of To, quotes and all.", |env, _| {
        env.ctx
            .msg
            .to()
            .map_or(Value::Null, |to| Value::text_or_null(to.display))
    })
    .settable(|env, _, value| set(env, Side::To, Part::Display, &value)),
    Pv::plain(&["tt", "tti"], "Tag of To.", |env, _| {
        Value::text_or_null(env.ctx.msg.to_tag())
    }),
    Pv::plain(&["tts"], "1 when To has a tag, else 0.", |env, _| {
        Value::Int(i64::from(!env.ctx.msg.to_tag().is_empty()))
    }),
    Pv::plain(&["ai"], "URI of P-Asserted-Identity.", |env, _| {
        uri(env, HeaderName::PAssertedIdentity)
    }),
    Pv::plain(&["pu"], "URI of P-Preferred-Identity.", |env, _| {
        uri(env, HeaderName::PPreferredIdentity)
    }),
    Pv::plain(&["pU"], "User part of P-Preferred-Identity.", |env, _| {
        of(env, HeaderName::PPreferredIdentity).map_or(Value::Null, |addr| user(addr.uri))
    }),
    Pv::plain(&["pd"], "Host of P-Preferred-Identity.", |env, _| {
        of(env, HeaderName::PPreferredIdentity).map_or(Value::Null, |addr| host(addr.uri))
    }),
    Pv::plain(&["pn"], "Display name of P-Preferred-Identity.", |env, _| {
        of(env, HeaderName::PPreferredIdentity).map_or(Value::Null, |addr| Value::text_or_null(addr.display))
    }),
    Pv::plain(&["re"], "URI of Remote-Party-ID.", |env, _| {
        uri_named(env, b"Remote-Party-ID")
    }),
    Pv::plain(&["di"], "URI of Diversion.", |env, _| {
        uri(env, HeaderName::Diversion)
    }),
    Pv::plain(&["dip"], "Parameter privacy of Diversion.", |env, _| {
        diversion(env, b"privacy")
    }),
    Pv::plain(&["dir"], "Parameter reason of Diversion.", |env, _| {
        diversion(env, b"reason")
    }),
    Pv::plain(&["dic"], "Parameter counter of Diversion.", |env, _| {
        diversion(env, b"counter")
    }),
    Pv::plain(&["rt"], "URI of Refer-To.", |env, _| uri_named(env, b"Refer-To")),
];

/// The first address of a header.
fn of<'e>(env: &'e Env<'_>, name: HeaderName) -> Option<NameAddr<'e>> {
    env.ctx
        .msg
        .values(name)
        .next()
        .and_then(|value| value.name_addr().ok())
}

fn uri<'e>(env: &'e Env<'_>, name: HeaderName) -> Value<'e> {
    Value::maybe(of(env, name).map(|addr| addr.uri))
}

fn uri_named<'e>(env: &'e Env<'_>, name: &'e [u8]) -> Value<'e> {
    let msg = &env.ctx.msg;
    let value = msg.all_named(name).next().map(|header| msg.value(header));
    Value::maybe(
        value
            .and_then(|value| NameAddr::parse(value).ok())
            .map(|addr| addr.uri),
    )
}

fn diversion<'e>(env: &'e Env<'_>, param: &[u8]) -> Value<'e> {
    Value::maybe(
        of(env, HeaderName::Diversion)
            .and_then(|addr| addr.param(param))
            .flatten(),
    )
}

/// Which of the two addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    From,
    To,
}

/// Which part of it.
#[derive(Clone, Copy)]
enum Part {
    Uri,
    User,
    Host,
    Display,
}

/// Records an edit of one part of From or To; reads show it once the message was rebuilt.
fn set(env: &mut Env<'_>, side: Side, part: Part, value: &Value<'_>) -> Result<(), SetError> {
    let ctx = &mut *env.ctx;
    let addr = if side == Side::From {
        ctx.msg.from()
    } else {
        ctx.msg.to()
    };
    let Some(addr) = addr else {
        return Err(SetError::Missing("the message has no such header".to_owned()));
    };
    let whole = ctx.msg.as_bytes();
    let text = value.to_text();
    let uri = || Uri::parse(addr.uri).map_err(|_| refused(value));
    let (old, after) = match part {
        Part::Uri | Part::Host if text.is_empty() => return Err(refused(value)),
        Part::Uri => (range_of(whole, addr.uri), &b""[..]),
        Part::Host => (range_of(whole, uri()?.host), &b""[..]),
        Part::User => {
            let uri = uri()?;
            let host = range_of(whole, uri.host);
            match uri.user {
                Some(user) if text.is_empty() => (range_of(whole, user).start..host.start, &b""[..]),
                Some(user) => (range_of(whole, user), &b""[..]),
                None if text.is_empty() => return Ok(()),
                None => (host.start..host.start, &b"@"[..]),
            }
        }
        Part::Display if addr.display.is_empty() => {
            // A name needs the URI in brackets (RFC 3261 §20).
            let uri = range_of(whole, addr.uri);
            let bracket = uri.start.saturating_sub(1);
            if whole.get(bracket) == Some(&b'<') {
                (bracket..bracket, &b" "[..])
            } else {
                ctx.lumps.insert(uri.end, b">");
                (uri.start..uri.start, &b" <"[..])
            }
        }
        Part::Display => (range_of(whole, addr.display), &b""[..]),
    };
    ctx.lumps.replace(old, &[&text, after].concat());
    Ok(())
}
