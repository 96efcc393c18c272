//! Parts that the steps of a select choose: of URIs, addresses, Via, credentials, ends.

use crate::script::module::Env;
use crate::script::pv::request::host;
use crate::script::pv::request::user;
use crate::script::transform::uri::bare;
use crate::script::value::Value;
use shared::sip::HeaderName;
use shared::sip::NameAddr;
use shared::sip::Uri;
use shared::sip::Via;
use shared::sip::header::auth::Auth;

/// An end of the way that the message took last.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Peer,
    Local,
}

/// What of that end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Ip,
    Port,
    IpPort,
    Proto,
    ProtoIpPort,
}

/// Of a URI.
pub(super) fn uri<'e>(text: &'e [u8], path: &[Box<[u8]>]) -> Value<'e> {
    let Some(step) = path.first() else {
        return Value::text_or_null(text);
    };
    let Ok(parsed) = Uri::parse(text) else {
        return Value::Null;
    };
    match &**step {
        b"user" => user(text),
        b"pwd" => Value::maybe(parsed.password),
        b"host" => host(text),
        b"hostport" => Value::owned(match parsed.port {
            Some(port) => [parsed.host, b":", port.to_string().as_bytes()].concat(),
            None => parsed.host.to_vec(),
        }),
        b"port" => parsed
            .port
            .map_or(Value::Null, |port| Value::Int(i64::from(port))),
        b"type" | b"scheme" => Value::text(parsed.scheme_name),
        b"params" => match path.get(1) {
            Some(name) => Value::maybe(parsed.param(name).map(Option::unwrap_or_default)),
            None => Value::text_or_null(parsed.params),
        },
        b"transport" => Value::maybe(parsed.param(b"transport").flatten()),
        _ => Value::Null,
    }
}

/// Of the first header of a name that holds addresses.
pub(super) fn header<'e>(env: &'e Env<'_>, name: HeaderName, path: &[Box<[u8]>]) -> Value<'e> {
    let msg = &env.ctx.msg;
    let value = msg.first(name);
    if path.is_empty() {
        return Value::maybe(value);
    }
    let value = match name {
        HeaderName::Contact => {
            // Kamailio: of several contacts in one header the last comes first
            let mut values = msg.values(name).filter(|value| value.bytes != b"*");
            let first = values.next();
            let rest =
                values.take_while(|value| first.as_ref().is_some_and(|first| first.header == value.header));
            rest.last().or(first.clone()).map(|value| value.bytes)
        }
        HeaderName::RecordRoute => msg.values(name).next().map(|value| value.bytes),
        _ => value,
    };
    let display = path.first().is_some_and(|step| **step == *b"name");
    match value.map(NameAddr::parse) {
        // Kamailio: only From and To tell an absent name from an empty one
        Some(Ok(addr)) if display && !matches!(name, HeaderName::From | HeaderName::To) => {
            Value::text(addr.display)
        }
        Some(Ok(addr)) => of_address(&addr, path),
        _ => Value::Null,
    }
}

/// Of a value that may be an address.
pub(super) fn address<'e>(value: &'e [u8], path: &[Box<[u8]>]) -> Value<'e> {
    let Some(step) = path.first() else {
        return Value::text(value);
    };
    match (&**step, NameAddr::parse(value)) {
        (b"name", Ok(addr)) => Value::text(bare(addr.display)),
        (b"uri", Ok(addr)) => of_address(&addr, path),
        (b"uri", Err(_)) => uri(value, path.get(1..).unwrap_or_default()),
        (b"p", Ok(addr)) => {
            let param = path.get(1).and_then(|name| addr.param(name).flatten());
            Value::maybe(param)
        }
        _ => Value::Null,
    }
}

fn of_address<'e>(addr: &NameAddr<'e>, path: &[Box<[u8]>]) -> Value<'e> {
    let Some(step) = path.first() else {
        return Value::Null;
    };
    match &**step {
        b"uri" => uri(addr.uri, path.get(1..).unwrap_or_default()),
        b"tag" => Value::maybe(addr.tag()),
        b"name" => Value::text_or_null(addr.display),
        b"params" => match path.get(1) {
            Some(name) => Value::maybe(addr.param(name).map(Option::unwrap_or_default)),
            None => Value::text_or_null(addr.params.strip_prefix(b";").unwrap_or(addr.params)),
        },
        other => Value::maybe(addr.param(other).flatten()),
    }
}

/// Of the credentials for a realm.
pub(super) fn credentials<'e>(
    env: &'e Env<'_>,
    name: HeaderName,
    realm: &[u8],
    path: &[Box<[u8]>],
) -> Value<'e> {
    let msg = &env.ctx.msg;
    let found = msg
        .all(name)
        .filter_map(|header| Auth::parse(msg.value(header)).ok())
        .find(|auth| auth.realm == Some(realm));
    let (Some(auth), Some(step)) = (found, path.first()) else {
        return Value::Null;
    };
    Value::maybe(match &**step {
        b"username" if path.get(1).is_some_and(|part| **part == *b"user") => auth
            .username
            .and_then(|name| name.split(|byte| *byte == b'@').next()),
        b"username" => auth.username,
        b"realm" => auth.realm,
        b"nonce" => auth.nonce,
        b"uri" => auth.uri,
        b"response" => auth.response,
        b"cnonce" => auth.cnonce,
        b"opaque" => auth.opaque,
        b"algorithm" => auth.algorithm,
        b"qop" => auth.qop,
        b"nc" => auth.nc,
        _ => None,
    })
}

/// Of a Via, the first being 1.
pub(super) fn via<'e>(env: &'e Env<'_>, index: i64, path: &[Box<[u8]>]) -> Value<'e> {
    let msg = &env.ctx.msg;
    let found = match usize::try_from(index) {
        Ok(index) => index.checked_sub(1).and_then(|at| msg.vias().nth(at)),
        // Kamailio: whatever is below 0 is the last
        Err(_) => msg.vias().last(),
    };
    let Some(text) = found.map(|value| value.bytes) else {
        return Value::Null;
    };
    let (Some(step), Ok(via)) = (path.first(), Via::parse(text)) else {
        return Value::text(text);
    };
    match &**step {
        b"name" => Value::text(via.protocol),
        b"version" => Value::text(via.version),
        b"transport" => Value::text(via.transport),
        b"host" => Value::text(via.host),
        b"port" => via.port.map_or(Value::Null, |port| Value::Int(i64::from(port))),
        b"branch" => Value::maybe(via.branch()),
        b"received" => Value::maybe(via.received()),
        b"params" => match path.get(1) {
            Some(name) => Value::maybe(via.param(name).flatten()),
            None => Value::text_or_null(via.params),
        },
        other => Value::maybe(via.param(other).flatten()),
    }
}

/// Of where the message came from and arrived.
pub(super) fn source<'e>(env: &'e Env<'_>, end: End, part: Part) -> Value<'e> {
    let source = &env.ctx.source;
    let address = match end {
        End::Peer => source.peer,
        End::Local => source.local,
    };
    match part {
        Part::Ip => Value::owned(address.ip().to_string().into_bytes()),
        Part::Port => Value::Int(i64::from(address.port())),
        Part::IpPort => Value::owned(address.to_string().into_bytes()),
        Part::ProtoIpPort => Value::owned(format!("{}:{address}", source.transport.as_str())),
        Part::Proto => Value::text(source.transport.as_str().as_bytes()),
    }
}
