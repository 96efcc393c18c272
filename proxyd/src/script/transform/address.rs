//! `{nameaddr.*}` `{tobody.*}`: parts of addresses with display names and parameters (RFC 3261 §20.10).

use super::part;
use super::text;
use crate::script::module::Transformation;
use crate::script::value::Value;
use shared::sip::NameAddr;
use shared::sip::Uri;

/// The rows.
pub(super) static TABLE: &[Transformation] = &[
    Transformation {
        name: "nameaddr.name",
        params: (0, 0),
        doc: "Display name, quotes and all.",
        apply: name,
    },
    Transformation {
        name: "nameaddr.uri",
        params: (0, 0),
        doc: "The URI, or the whole text without brackets.",
        apply: uri,
    },
    Transformation {
        name: "nameaddr.len",
        params: (0, 0),
        doc: "Length up to the closing bracket.",
        apply: len,
    },
    Transformation {
        name: "tobody.uri",
        params: (0, 0),
        doc: "The URI.",
        apply: body_uri,
    },
    Transformation {
        name: "tobody.display",
        params: (0, 0),
        doc: "Display name, quotes and all.",
        apply: body_display,
    },
    Transformation {
        name: "tobody.tag",
        params: (0, 0),
        doc: "Parameter tag.",
        apply: body_tag,
    },
    Transformation {
        name: "tobody.user",
        params: (0, 0),
        doc: "User part of the URI.",
        apply: body_user,
    },
    Transformation {
        name: "tobody.host",
        params: (0, 0),
        doc: "Host of the URI.",
        apply: body_host,
    },
    Transformation {
        name: "tobody.params",
        params: (0, 0),
        doc: "The parameters.",
        apply: body_params,
    },
];

/// Display name, URI and length; without brackets all of it is the URI.
fn split(text: &[u8]) -> (&[u8], &[u8], usize) {
    let mut quoted = false;
    let open = text.iter().position(|byte| {
        quoted ^= *byte == b'"';
        *byte == b'<' && !quoted
    });
    let Some(open) = open else {
        return (b"", text, text.len());
    };
    let inside = text.get(open + 1..).unwrap_or_default();
    let close = memchr::memchr(b'>', inside).unwrap_or(inside.len());
    // Kamailio: the blank between name and bracket stays
    (
        text.get(..open).unwrap_or_default(),
        inside.get(..close).unwrap_or_default(),
        open + close + 2,
    )
}

fn name<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    text(value).map_or(Value::Null, |text| part(text, |bytes| Some(split(bytes).0)))
}

fn uri<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    text(value)
        .filter(|text| !text.is_empty())
        .map_or(Value::Null, |text| part(text, |bytes| Some(split(bytes).1)))
}

fn len<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    text(value).map_or(Value::Null, |text| {
        Value::Int(split(&text).2.min(text.len()) as i64)
    })
}

/// A part of the address; null when it is none.
fn piece<'v>(value: Value<'v>, choose: impl for<'a> FnOnce(&NameAddr<'a>) -> Option<&'a [u8]>) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    part(text, |bytes| {
        let addr = NameAddr::parse(bytes)
            .ok()
            .filter(|addr| Uri::parse(addr.uri).is_ok())?;
        Some(choose(&addr).unwrap_or_default())
    })
}

fn body_uri<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    piece(value, |addr| Some(addr.uri))
}

fn body_display<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    piece(value, |addr| Some(addr.display))
}

fn body_tag<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    piece(value, |addr| addr.tag())
}

fn body_user<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    piece(value, |addr| Uri::parse(addr.uri).ok().and_then(|uri| uri.user))
}

fn body_host<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    piece(value, |addr| Uri::parse(addr.uri).ok().map(|uri| uri.host))
}

fn body_params<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    piece(value, |addr| {
        Some(addr.params.strip_prefix(b";").unwrap_or(addr.params))
    })
}
