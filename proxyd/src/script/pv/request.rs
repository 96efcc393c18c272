//! The request line: `$rm` `$ru` and its parts, `$ou` and its parts, the status line of a reply (RFC 3261 §7.1, §7.2).

use super::refused;
use crate::proxy::context::Context;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvSpec;
use crate::script::module::SetError;
use crate::script::value::Value;
use shared::sip::Method;
use shared::sip::Scheme;
use shared::sip::Uri;
use shared::sip::UriParts;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    Pv::plain(&["rm"], "Method; of a reply its CSeq's.", |env, _| {
        Value::text(env.ctx.msg.method().as_bytes())
    }),
    Pv::plain(&["rmid"], "Number of the method.", |env, _| {
        Value::Int(method_number(env.ctx.msg.method()))
    }),
    Pv::plain(&["ru"], "Request-URI as it stands.", |env, _| {
        match Uri::parse(current(env.ctx)) {
            Ok(_) => Value::text(current(env.ctx)),
            Err(_) => Value::Null,
        }
    })
    .settable(set_ru),
    Pv::plain(&["rU"], "User part of the Request-URI.", |env, _| {
        user(current(env.ctx))
    })
    .settable(set_user),
    Pv::plain(&["rul"], "Length of the Request-URI.", |env, _| {
        Value::Int(current(env.ctx).len() as i64)
    }),
    Pv::plain(&["rUl"], "Length of that user part.", |env, _| {
        user_length(current(env.ctx))
    }),
    Pv::plain(&["rd"], "Host of the Request-URI.", |env, _| {
        host(current(env.ctx))
    })
    .settable(set_host),
    Pv::plain(
        &["rp"],
        "Port of the Request-URI, 5060 when it has none.",
        |env, _| port(current(env.ctx)),
    )
    .settable(set_port),
    Pv::plain(&["rP"], "Transport of the Request-URI.", |env, _| {
        transport(current(env.ctx))
    }),
    Pv::plain(&["rz"], "Scheme of the Request-URI.", |env, _| {
        scheme(current(env.ctx))
    }),
    Pv::plain(&["ou"], "Request-URI as received.", |env, _| {
        // Kamailio: one that cannot be read is none
        let uri = env.ctx.msg.request_uri();
        Uri::parse(uri).map_or(Value::Null, |_| Value::text(uri))
    }),
    Pv::plain(&["oU"], "User part of the received Request-URI.", |env, _| {
        user(env.ctx.msg.request_uri())
    }),
    Pv::plain(&["oUl"], "Length of that user part.", |env, _| {
        user_length(env.ctx.msg.request_uri())
    }),
    Pv::plain(&["od"], "Host of the received Request-URI.", |env, _| {
        host(env.ctx.msg.request_uri())
    }),
    Pv::plain(&["op"], "Port of the received Request-URI.", |env, _| {
        port(env.ctx.msg.request_uri())
    }),
    Pv::plain(&["oP"], "Transport of the received Request-URI.", |env, _| {
        transport(env.ctx.msg.request_uri())
    }),
    Pv::plain(&["rs"], "Status of the reply.", |env, _| {
        if env.ctx.msg.is_reply() {
            Value::Int(i64::from(env.ctx.msg.status()))
        } else {
            Value::Null
        }
    }),
    Pv::plain(&["rr"], "Reason phrase of the reply.", |env, _| {
        if env.ctx.msg.is_reply() {
            Value::text(env.ctx.msg.reason())
        } else {
            Value::Null
        }
    }),
    Pv::plain(&["rv"], "Version in the first line.", |env, _| {
        Value::text_or_null(env.ctx.msg.version())
    }),
    Pv::plain(
        &["ruid"],
        "Record id of the contact that lookup() chose.",
        |env, _| super::optional(env.ctx.ruid.as_ref()),
    ),
];

/// Kamailio's number of a method, as `$rmid` and bit masks use it.
pub(crate) fn method_number(method: Method<'_>) -> i64 {
    match method {
        Method::Invite => 1,
        Method::Cancel => 2,
        Method::Ack => 4,
        Method::Bye => 8,
        Method::Info => 16,
        Method::Register => 32,
        Method::Subscribe => 64,
        Method::Notify => 128,
        Method::Message => 256,
        Method::Options => 512,
        Method::Prack => 1024,
        Method::Update => 2048,
        Method::Refer => 4096,
        Method::Publish => 8192,
        Method::Other(_) => 1 << 24,
    }
}

/// The Request-URI as it stands; empty in replies.
fn current(ctx: &Context) -> &[u8] {
    if ctx.msg.is_reply() { b"" } else { ctx.uri() }
}

/// The user part of a URI as a value; of a telephone number without its parameters.
pub(super) fn user(uri: &[u8]) -> Value<'_> {
    Value::maybe(Uri::parse(uri).ok().and_then(|uri| user_of(&uri)))
}

fn user_of<'a>(uri: &Uri<'a>) -> Option<&'a [u8]> {
    if is_telephone(uri) {
        uri.user.and_then(|user| user.split(|byte| *byte == b';').next())
    } else {
        uri.user
    }
}

/// The length of a user part, 0 without one.
pub(super) fn user_length(uri: &[u8]) -> Value<'_> {
    match Uri::parse(uri) {
        Ok(uri) => Value::Int(user_of(&uri).map_or(0, <[u8]>::len) as i64),
        Err(_) => Value::Null,
    }
}

/// The host of a URI as a value.
pub(super) fn host(uri: &[u8]) -> Value<'_> {
    Uri::parse(uri).map_or(Value::Null, |uri| Value::text_or_null(uri.host))
}

/// The port of a URI as a value: a text, 5060 (5061 of `transport=tls`) when it has none.
pub(super) fn port(uri: &[u8]) -> Value<'_> {
    match Uri::parse(uri) {
        Ok(uri) => match uri.port {
            Some(port) => Value::owned(port.to_string().into_bytes()),
            None if is_tls(&uri) => Value::text(b"5061"),
            None => Value::text(b"5060"),
        },
        Err(_) => Value::Null,
    }
}

fn is_tls(uri: &Uri<'_>) -> bool {
    let named = uri.param(b"transport").flatten();
    named.is_some_and(|name| name.eq_ignore_ascii_case(b"tls"))
}

/// The transport of a URI as a value: as it is spelt, else UDP.
pub(super) fn transport(uri: &[u8]) -> Value<'_> {
    // Kamailio: the scheme sips changes neither port nor transport here
    Uri::parse(uri).map_or(Value::Null, |uri| {
        Value::text(uri.param(b"transport").flatten().unwrap_or(b"UDP"))
    })
}

fn scheme(uri: &[u8]) -> Value<'_> {
    match Uri::parse(uri) {
        Ok(parsed) => Value::text(match parsed.scheme {
            // Kamailio: what stands for a telephone number is one
            Scheme::Sip if is_telephone(&parsed) => b"tel",
            Scheme::Sip => b"sip",
            Scheme::Sips => b"sips",
            Scheme::Tel => b"tel",
            Scheme::Urn => b"urn",
            Scheme::Other => return Value::Null,
        }),
        Err(_) => Value::Null,
    }
}

fn is_telephone(uri: &Uri<'_>) -> bool {
    let kind = uri.param(b"user").flatten();
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case(b"phone"))
}

fn set_ru(env: &mut Env<'_>, _: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    match value {
        Value::Str(text) if !text.is_empty() => {
            env.ctx.set_uri(text.into_owned());
            Ok(())
        }
        other => Err(refused(&other)),
    }
}

/// Writes the Request-URI anew with one part changed.
pub(crate) fn change(
    ctx: &mut Context,
    edit: impl for<'a> FnOnce(&mut UriParts<'a>, &'a [u8]),
    with: &[u8],
) -> Result<(), SetError> {
    let old = ctx.uri().to_vec();
    let uri = Uri::parse(&old).map_err(|_| SetError::Value(String::from_utf8_lossy(&old).into_owned()))?;
    let mut parts = uri.parts();
    edit(&mut parts, with);
    let new = parts.to_vec();
    ctx.set_uri(new);
    Ok(())
}

fn set_user(env: &mut Env<'_>, _: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    if value.is_null() {
        return change(
            env.ctx,
            |parts, _| (parts.user, parts.password) = (None, None),
            b"",
        );
    }
    change(
        env.ctx,
        |parts, user| parts.user = (!user.is_empty()).then_some(user),
        &value.to_text(),
    )
}

fn set_host(env: &mut Env<'_>, _: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    let host = value.to_text();
    if host.is_empty() {
        return Err(refused(&value));
    }
    change(
        env.ctx,
        |parts, host| {
            // Kamailio: a telephone number that gets a host becomes a SIP URI
            if parts.scheme.eq_ignore_ascii_case(b"tel") {
                (parts.scheme, parts.params) = (b"sip", b"user=phone");
            }
            parts.host = host;
        },
        &host,
    )
}

fn set_port(env: &mut Env<'_>, _: &PvSpec, value: Value<'_>) -> Result<(), SetError> {
    let port = match &value {
        Value::Null => None,
        other if other.to_text().is_empty() => None,
        other => Some(u16::try_from(other.to_int()).map_err(|_| refused(other))?),
    };
    change(env.ctx, |parts, _| parts.port = port, b"")
}
