//! Headers: `$hdr(name)` `$hfl(name)`, their counts, and those with a name of their own (RFC 3261 §7.3, §20).

use super::compile_name;
use super::number;
use super::place;
use crate::script::module::Env;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvSpec;
use crate::script::value::Value;
use shared::sip::Header;
use shared::sip::HeaderName;
use shared::sip::Message;
use std::borrow::Cow;

/// The rows.
pub(super) static TABLE: &[Pv] = &[
    Pv::class(
        &["hdr"],
        "Value of a header by name (or its compact form) and index; [*] joins all by commas.",
        compile,
        hdr,
    ),
    Pv::class(
        &["hdrc"],
        "How many headers of that name there are.",
        compile,
        hdrc,
    ),
    Pv::class(
        &["hfl"],
        "One value of a comma list: Contact, Via, Route, Record-Route; else as $hdr.",
        compile,
        hfl,
    ),
    Pv::class(
        &["hflc"],
        "How many values there are in such lists.",
        compile,
        hflc,
    ),
    Pv::plain(&["ci"], "Call-ID.", |env, _| {
        Value::text_or_null(env.ctx.msg.call_id())
    }),
    Pv::plain(&["cs"], "Number in CSeq, as text.", |env, _| {
        let value = env.ctx.msg.first(HeaderName::CSeq).unwrap_or_default();
        let digits = value.iter().position(|byte| !byte.is_ascii_digit());
        Value::text_or_null(value.get(..digits.unwrap_or(value.len())).unwrap_or_default())
    }),
    Pv::plain(&["csb"], "CSeq.", |env, _| {
        Value::maybe(env.ctx.msg.first(HeaderName::CSeq))
    }),
    Pv::plain(&["cl"], "Content-Length.", |env, _| {
        env.ctx
            .msg
            .content_length()
            .map_or(Value::Null, |n| Value::Int(n as i64))
    }),
    Pv::plain(&["cT"], "Content-Type.", |env, _| {
        Value::maybe(env.ctx.msg.first(HeaderName::ContentType))
    }),
    Pv::plain(&["ct"], "Contact.", |env, _| {
        Value::maybe(env.ctx.msg.first(HeaderName::Contact))
    }),
    Pv::plain(&["cts"], "1 when Contact is a star, else 0.", |env, _| {
        let contact = env.ctx.msg.first(HeaderName::Contact);
        Value::Int(i64::from(contact.is_some_and(|value| value.trim_ascii() == b"*")))
    }),
    Pv::plain(&["ctu"], "URI of Contact.", |env, _| {
        let contact = env.ctx.msg.contacts().next().and_then(Result::ok);
        Value::maybe(
            contact
                .filter(|contact| !contact.is_star())
                .map(|contact| contact.uri()),
        )
    }),
    Pv::plain(&["ua"], "User-Agent.", |env, _| {
        Value::maybe(env.ctx.msg.first(HeaderName::UserAgent))
    }),
    Pv::plain(&["route_uri"], "URI of the first Route.", route_uri),
    Pv::class(
        &["expires"],
        "Smallest (min) or largest (max) lifetime in Contact and Expires.",
        |inner| compile_name(inner, &["min", "max"]),
        expires,
    ),
];

/// The header that a pseudo-variable names.
#[derive(Debug)]
enum Named {
    /// One with a name of its own.
    Known(HeaderName),
    /// Any other.
    Other(Box<[u8]>),
    /// `*`.
    Any,
}

/// A compiled `$hdr` parameter: a fixed header, or text to be expanded.
fn compile(inner: &PvInner<'_>) -> Result<PvData, String> {
    if inner.text.contains(&b'$') {
        return (inner.parse)(inner.text).map(PvData::Format);
    }
    let name = inner.text.trim_ascii();
    if name.is_empty() {
        return Err("header name is empty".into());
    }
    Ok(PvData::Other(Box::new(resolve(name))))
}

fn resolve(name: &[u8]) -> Named {
    match (name, HeaderName::from_bytes(name)) {
        (b"*", _) => Named::Any,
        (_, HeaderName::Other) => Named::Other(name.into()),
        (_, known) => Named::Known(known),
    }
}

impl Named {
    fn fits(&self, msg: &Message, header: &Header) -> bool {
        match self {
            Self::Any => true,
            Self::Known(name) => header.name == *name,
            Self::Other(name) => msg.name(header).eq_ignore_ascii_case(name),
        }
    }
}

/// Runs `found` with the header that a pseudo-variable names.
fn with<R>(env: &Env<'_>, spec: &PvSpec, found: impl FnOnce(&Named) -> R) -> R {
    match spec.other::<Named>() {
        Some(named) => found(named),
        None => found(&resolve(spec.text(env).trim_ascii())),
    }
}

fn hdr<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let msg = &env.ctx.msg;
    let index = spec.at(env);
    with(env, spec, |named| {
        if !spec.is_all() && index.is_none_or(|at| at == 0) {
            if let Named::Known(name) = named {
                return Value::maybe(msg.first(*name));
            }
            return Value::maybe(
                msg.headers()
                    .iter()
                    .find(|h| named.fits(msg, h))
                    .map(|h| msg.value(h)),
            );
        }
        let mut fitting = msg.headers().iter().filter(|header| named.fits(msg, header));
        if spec.is_all() {
            return joined(fitting.map(|header| msg.value(header)));
        }
        let header = match index {
            Some(at) if at < 0 => {
                let back = usize::try_from(-(at + 1)).ok();
                back.and_then(|back| fitting.rev().nth(back))
            }
            at => usize::try_from(at.unwrap_or(0))
                .ok()
                .and_then(|at| fitting.nth(at)),
        };
        Value::maybe(header.map(|header| msg.value(header)))
    })
}

/// Texts with commas between them; null without any.
fn joined<'e>(mut texts: impl Iterator<Item = &'e [u8]>) -> Value<'e> {
    let Some(first) = texts.next() else {
        return Value::Null;
    };
    let mut out = Cow::Borrowed(first);
    for text in texts {
        let all = out.to_mut();
        all.push(b',');
        all.extend_from_slice(text);
    }
    Value::Str(out)
}

fn hdrc<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let msg = &env.ctx.msg;
    let count = with(env, spec, |named| {
        msg.headers()
            .iter()
            .filter(|header| named.fits(msg, header))
            .count()
    });
    Value::Int(count as i64)
}

/// The list header that a pseudo-variable names, if it is one whose values are taken apart.
fn list_of(env: &Env<'_>, spec: &PvSpec) -> Option<HeaderName> {
    with(env, spec, |named| match named {
        Named::Known(name) if name.is_list() => Some(*name),
        _ => None,
    })
}

fn hfl<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let Some(name) = list_of(env, spec).filter(|_| !spec.is_all()) else {
        return hdr(env, spec);
    };
    let msg = &env.ctx.msg;
    let mut values: Vec<_> = msg.values(name).collect();
    if name == HeaderName::Contact {
        // Kamailio: the contacts of one header are listed from its end
        values.reverse();
        values.sort_by_key(|value| value.header);
    }
    let at = place(spec.at(env), values.len());
    Value::maybe(at.and_then(|at| values.get(at)).map(|value| value.bytes))
}

fn hflc<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    match list_of(env, spec) {
        Some(name) => Value::Int(env.ctx.msg.values(name).count() as i64),
        None => hdrc(env, spec),
    }
}

fn route_uri<'e>(env: &'e Env<'_>, _: &'e PvSpec) -> Value<'e> {
    if let Some(own) = &env.ctx.route_uri {
        return Value::text(own);
    }
    let first = env
        .ctx
        .msg
        .routes()
        .next()
        .and_then(|value| value.name_addr().ok());
    // Kamailio: without a Route it is empty, not null
    Value::text(first.map(|addr| addr.uri).unwrap_or_default())
}

fn expires<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let msg = &env.ctx.msg;
    let header = msg.expires();
    let (mut least, mut most) = (None, None);
    for contact in msg.contacts().flatten() {
        let Some(own) = contact.expires().or(header) else {
            continue;
        };
        least = Some(least.map_or(own, |known: u32| known.min(own)));
        most = Some(most.map_or(own, |known: u32| known.max(own)));
    }
    let found = if number(spec) == 0 { least } else { most }.or(header);
    found.map_or(Value::Null, |seconds| Value::Int(i64::from(seconds)))
}
