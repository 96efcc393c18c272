//! `{uri.*}` `{urialias.*}` `{sock.*}` `{url.*}`: parts of URIs and socket addresses (RFC 3261 §19.1).

use super::param;
use super::part;
use super::text;
use crate::script::module::Transformation;
use crate::script::value::Value;
use shared::net::Transport;
use shared::sip::Scheme;
use shared::sip::Uri;
use shared::sip::UriParts;

/// The rows.
pub(super) static TABLE: &[Transformation] = &[
    Transformation {
        name: "uri.user",
        params: (0, 0),
        doc: "User part.",
        apply: user,
    },
    Transformation {
        name: "uri.host",
        params: (0, 0),
        doc: "Host.",
        apply: host,
    },
    Transformation {
        name: "uri.domain",
        params: (0, 0),
        doc: "Host.",
        apply: host,
    },
    Transformation {
        name: "uri.passwd",
        params: (0, 0),
        doc: "Password.",
        apply: passwd,
    },
    Transformation {
        name: "uri.port",
        params: (0, 0),
        doc: "Port as written.",
        apply: port,
    },
    Transformation {
        name: "uri.params",
        params: (0, 0),
        doc: "Parameters.",
        apply: params,
    },
    Transformation {
        name: "uri.param",
        params: (1, 1),
        doc: "Value of a parameter.",
        apply: named_param,
    },
    Transformation {
        name: "uri.rmparam",
        params: (1, 1),
        doc: "The URI without a parameter.",
        apply: without_param,
    },
    Transformation {
        name: "uri.headers",
        params: (0, 0),
        doc: "Headers.",
        apply: headers,
    },
    Transformation {
        name: "uri.transport",
        params: (0, 0),
        doc: "Parameter transport.",
        apply: transport,
    },
    Transformation {
        name: "uri.ttl",
        params: (0, 0),
        doc: "Parameter ttl.",
        apply: ttl,
    },
    Transformation {
        name: "uri.uparam",
        params: (0, 0),
        doc: "Parameter user.",
        apply: uparam,
    },
    Transformation {
        name: "uri.maddr",
        params: (0, 0),
        doc: "Parameter maddr.",
        apply: maddr,
    },
    Transformation {
        name: "uri.method",
        params: (0, 0),
        doc: "Parameter method.",
        apply: method,
    },
    Transformation {
        name: "uri.lr",
        params: (0, 0),
        doc: "Parameter lr.",
        apply: lr,
    },
    Transformation {
        name: "uri.r2",
        params: (0, 0),
        doc: "Parameter r2.",
        apply: r2,
    },
    Transformation {
        name: "uri.scheme",
        params: (0, 0),
        doc: "Scheme.",
        apply: scheme,
    },
    Transformation {
        name: "uri.tosocket",
        params: (0, 0),
        doc: "Transport, host and port as a socket.",
        apply: tosocket,
    },
    Transformation {
        name: "uri.duri",
        params: (0, 0),
        doc: "What routing needs: scheme, host, port, transport.",
        apply: duri,
    },
    Transformation {
        name: "uri.saor",
        params: (0, 0),
        doc: "Address of record: scheme, user and host.",
        apply: saor,
    },
    Transformation {
        name: "uri.suri",
        params: (0, 0),
        doc: "Scheme, user, host, port and transport.",
        apply: suri,
    },
    Transformation {
        name: "urialias.encode",
        params: (0, 0),
        doc: "A URI as address~port~transport.",
        apply: alias_encode,
    },
    Transformation {
        name: "urialias.decode",
        params: (0, 0),
        doc: "The URI of address~port~transport.",
        apply: alias_decode,
    },
    Transformation {
        name: "sock.host",
        params: (0, 0),
        doc: "Host of proto:host:port.",
        apply: sock_host,
    },
    Transformation {
        name: "sock.port",
        params: (0, 0),
        doc: "Port of proto:host:port.",
        apply: sock_port,
    },
    Transformation {
        name: "sock.proto",
        params: (0, 0),
        doc: "Transport of proto:host:port.",
        apply: sock_proto,
    },
    Transformation {
        name: "sock.touri",
        params: (0, 0),
        doc: "proto:host:port as a URI.",
        apply: sock_uri,
    },
    Transformation {
        name: "url.path",
        params: (0, 0),
        doc: "Path of an HTTP URL.",
        apply: url_path,
    },
    Transformation {
        name: "url.querystring",
        params: (0, 0),
        doc: "Query of an HTTP URL.",
        apply: url_query,
    },
];

/// A part of a URI; empty when it lacks it, null when the text is no URI.
fn piece<'v>(value: Value<'v>, choose: impl for<'a> FnOnce(&Uri<'a>) -> Option<&'a [u8]>) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    part(text, |bytes| {
        Uri::parse(bytes).ok().map(|uri| choose(&uri).unwrap_or_default())
    })
}

fn user<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    // Kamailio: parameters inside a telephone number do not belong to it here, but do in $rU
    piece(value, |uri| {
        let kind = uri.param(b"user").flatten();
        if kind.is_some_and(|kind| kind.eq_ignore_ascii_case(b"phone")) {
            uri.user.and_then(|user| user.split(|byte| *byte == b';').next())
        } else {
            uri.user
        }
    })
}

fn host<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    piece(value, |uri| Some(uri.host))
}

fn passwd<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    piece(value, |uri| uri.password)
}

fn port<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    match Uri::parse(&text).map(|uri| uri.port) {
        Ok(Some(port)) => Value::Int(i64::from(port)),
        Ok(None) => Value::text(b""),
        Err(_) => Value::Null,
    }
}

fn params<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    piece(value, |uri| (uri.scheme != Scheme::Tel).then_some(uri.params))
}

fn named<'v>(value: Value<'v>, name: &[u8]) -> Value<'v> {
    piece(value, |uri| uri.param(name).flatten().map(bare))
}

/// A value without the quotes around it.
pub(crate) fn bare(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => inner,
        _ => value,
    }
}

fn named_param<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    named(value, &param(params, 0))
}

fn without_param<'v>(value: Value<'v>, params: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    let name = param(params, 0);
    let Ok(uri) = Uri::parse(&text) else {
        return Value::Null;
    };
    let is_kept = |param: &&[u8]| {
        let own = param.split(|byte| *byte == b'=').next().unwrap_or_default();
        !own.eq_ignore_ascii_case(&name)
    };
    let all = uri.params.split(|byte| *byte == b';');
    let kept: Vec<&[u8]> = all.filter(is_kept).collect();
    let kept = kept.join(&b';');
    let mut parts = uri.parts();
    parts.params = &kept;
    Value::owned(parts.to_vec())
}

fn headers<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    piece(value, |uri| Some(uri.headers))
}

fn transport<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    named(value, b"transport")
}

fn ttl<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    named(value, b"ttl")
}

fn uparam<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    named(value, b"user")
}

fn maddr<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    named(value, b"maddr")
}

fn method<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    named(value, b"method")
}

fn lr<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    named(value, b"lr")
}

fn r2<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    named(value, b"r2")
}

fn scheme<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    piece(value, |uri| Some(uri.scheme_name))
}

fn build<'v>(value: Value<'v>, make: impl FnOnce(&Uri<'_>) -> Option<Vec<u8>>) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    match Uri::parse(&text) {
        Ok(uri) => Value::owned(make(&uri).unwrap_or_default()),
        Err(_) => Value::Null,
    }
}

fn transport_of(uri: &Uri<'_>) -> Transport {
    uri.param(b"transport")
        .flatten()
        .and_then(Transport::from_bytes)
        .unwrap_or(Transport::Udp)
}

fn tosocket<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    build(value, |uri| {
        let (transport, port) = (uri.param(b"transport").flatten()?, uri.port?);
        let transport = Transport::from_bytes(transport)?;
        let host = String::from_utf8_lossy(uri.host);
        Some(format!("{}:{host}:{port}", transport.as_str()).into_bytes())
    })
}

/// What of a URI is kept.
#[derive(Clone, Copy)]
struct Kept {
    user: bool,
    route: bool,
}

fn reduced(uri: &Uri<'_>, kept: Kept) -> Vec<u8> {
    if matches!(uri.scheme, Scheme::Urn | Scheme::Other) {
        return uri.parts().to_vec();
    }
    if uri.scheme == Scheme::Tel {
        return [uri.scheme_name, b":", uri.user.unwrap_or_default()].concat();
    }
    let transport = uri.param(b"transport").flatten().filter(|_| kept.route);
    let params = transport
        .map(|name| [b"transport=".as_slice(), name].concat())
        .unwrap_or_default();
    UriParts {
        scheme: uri.scheme_name,
        user: uri.user.filter(|_| kept.user),
        password: None,
        host: uri.host,
        port: uri.port.filter(|_| kept.route),
        params: &params,
        headers: b"",
    }
    .to_vec()
}

fn duri<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    build(value, |uri| {
        Some(reduced(
            uri,
            Kept {
                user: false,
                route: true,
            },
        ))
    })
}

fn saor<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    build(value, |uri| {
        Some(reduced(
            uri,
            Kept {
                user: true,
                route: false,
            },
        ))
    })
}

fn suri<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    build(value, |uri| {
        Some(reduced(
            uri,
            Kept {
                user: true,
                route: true,
            },
        ))
    })
}

/// The number of a transport in aliases and in `$prid`.
pub(crate) const fn transport_number(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 1,
        Transport::Tcp => 2,
        Transport::Tls => 3,
        Transport::Sctp => 4,
        Transport::Ws => 5,
        Transport::Wss => 6,
    }
}

fn alias_encode<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    build(value, |uri| {
        let (port, number) = (uri.port.unwrap_or(5060), transport_number(transport_of(uri)));
        Some(format!("{}~{port}~{number}", String::from_utf8_lossy(uri.host)).into_bytes())
    })
}

fn alias_decode<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    let decoded = || -> Option<Vec<u8>> {
        let mut parts = text.split(|byte| *byte == b'~');
        let (host, port, number) = (parts.next()?, parts.next()?, parts.next()?);
        let number: u8 = std::str::from_utf8(number).ok()?.parse().ok()?;
        let transport = Transport::ALL
            .into_iter()
            .find(|t| transport_number(*t) == number)?;
        let mut uri = [b"sip:".as_slice(), host, b":", port].concat();
        if transport != Transport::Udp {
            uri.extend_from_slice(b";transport=");
            uri.extend_from_slice(transport.as_str().as_bytes());
        }
        Some(uri)
    };
    decoded().map_or(Value::Null, Value::owned)
}

/// `proto:host:port` taken apart; the transport and port may be missing.
pub(crate) fn split_socket(text: &[u8]) -> Option<(Option<Transport>, &[u8], Option<u16>)> {
    let (transport, rest) = match memchr::memchr(b':', text) {
        Some(colon) => match Transport::from_bytes(text.get(..colon)?) {
            Some(transport) => (Some(transport), text.get(colon + 1..)?),
            None => (None, text),
        },
        None => (None, text),
    };
    let (host, port) = if rest.first() == Some(&b'[') {
        let close = memchr::memchr(b']', rest)?;
        (rest.get(..=close)?, rest.get(close + 1..)?.strip_prefix(b":"))
    } else {
        match memchr::memrchr(b':', rest) {
            Some(colon) => (rest.get(..colon)?, rest.get(colon + 1..)),
            None => (rest, None),
        }
    };
    let port = match port {
        Some(digits) => Some(std::str::from_utf8(digits).ok()?.parse().ok()?),
        None => None,
    };
    (!host.is_empty() && !host.contains(&b'@')).then_some((transport, host, port))
}

fn sock_host<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    part(text, |bytes| split_socket(bytes).map(|(_, host, _)| host))
}

fn sock_port<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    match split_socket(&text) {
        Some((_, _, Some(port))) => Value::Int(i64::from(port)),
        Some((_, _, None)) => Value::text(b""),
        None => Value::Null,
    }
}

fn sock_proto<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    match split_socket(&text) {
        Some((Some(transport), _, _)) => Value::text(transport.as_str().as_bytes()),
        _ => Value::Null,
    }
}

fn sock_uri<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    let Some((transport, host, port)) = split_socket(&text) else {
        return Value::Null;
    };
    let mut uri = [b"sip:".as_slice(), host].concat();
    if let Some(port) = port {
        uri.extend_from_slice(format!(":{port}").as_bytes());
    }
    if let Some(transport) = transport {
        uri.extend_from_slice(b";transport=");
        uri.extend_from_slice(transport.as_str().as_bytes());
    }
    Value::owned(uri)
}

fn url_path<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    part(text, |bytes| bytes.split(|byte| *byte == b'?').next())
}

fn url_query<'v>(value: Value<'v>, _: &[Value<'_>]) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    part(text, |bytes| {
        Some(
            memchr::memchr(b'?', bytes)
                .and_then(|at| bytes.get(at + 1..))
                .unwrap_or_default(),
        )
    })
}
