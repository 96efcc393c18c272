//! `{msrpuri.*}`: parts of MSRP URIs (RFC 4975 §6).

use super::part;
use super::text;
use crate::script::module::Transformation;
use crate::script::value::Value;

/// The rows.
pub(super) static TABLE: &[Transformation] = &[
    row("msrpuri.user", "User part.", |value, _| {
        piece(value, |uri| uri.user)
    }),
    row("msrpuri.host", "Host.", |value, _| {
        piece(value, |uri| Some(uri.host))
    }),
    row("msrpuri.port", "Port as written.", |value, _| {
        piece(value, |uri| uri.port)
    }),
    row("msrpuri.session", "Session id.", |value, _| {
        piece(value, |uri| uri.session)
    }),
    row("msrpuri.proto", "Transport.", |value, _| {
        piece(value, |uri| uri.proto)
    }),
    row("msrpuri.params", "Parameters.", |value, _| {
        piece(value, |uri| uri.params)
    }),
    row(
        "msrpuri.userinfo",
        "All between the scheme and the @ before the host.",
        |value, _| piece(value, |uri| uri.userinfo),
    ),
];

const fn row(
    name: &'static str,
    doc: &'static str,
    apply: for<'v> fn(Value<'v>, &[Value<'_>]) -> Value<'v>,
) -> Transformation {
    Transformation {
        name,
        params: (0, 0),
        doc,
        apply,
    }
}

/// `msrp://userinfo@host:port/session;transport;parameters`.
struct MsrpUri<'a> {
    userinfo: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
    host: &'a [u8],
    port: Option<&'a [u8]>,
    session: Option<&'a [u8]>,
    proto: Option<&'a [u8]>,
    params: Option<&'a [u8]>,
}

/// What stands before and behind the first of a byte.
fn cut(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(at, text) {
        Some(n) => (text.get(..n).unwrap_or(text), text.get(n + 1..)),
        None => (text, None),
    }
}

impl<'a> MsrpUri<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        let schemes: [&[u8]; 2] = [b"msrp://", b"msrps://"];
        let rest = schemes.iter().find_map(|scheme| {
            let (start, rest) = text.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        })?;
        // a semicolon before the host belongs to the user
        let host = memchr::memchr(b'@', rest).unwrap_or(0);
        let semicolon = memchr::memchr(b';', rest.get(host..)?).map(|at| host + at);
        let (address, params) = match semicolon {
            Some(at) => (rest.get(..at)?, rest.get(at + 1..)),
            None => (rest, None),
        };
        let (authority, session) = cut(address, b'/');
        let (userinfo, place) = match memchr::memrchr(b'@', authority) {
            Some(at) => (authority.get(..at), authority.get(at + 1..)?),
            None => (None, authority),
        };
        // a colon within brackets belongs to an IPv6 address
        let from = memchr::memchr(b']', place).unwrap_or(0);
        let colon = memchr::memchr(b':', place.get(from..)?).map(|at| from + at);
        let (host, port) = match colon {
            Some(at) => (place.get(..at)?, place.get(at + 1..)),
            None => (place, None),
        };
        let (proto, params) = params.map_or((None, None), |params| {
            let (proto, rest) = cut(params, b';');
            (Some(proto), rest)
        });
        Some(Self {
            userinfo,
            user: userinfo.map(|info| cut(cut(info, b':').0, b';').0),
            host,
            port,
            session,
            proto,
            params,
        })
    }
}

/// A part of the URI, empty when it has none; null for what is no MSRP URI.
fn piece<'v>(value: Value<'v>, choose: impl for<'a> FnOnce(MsrpUri<'a>) -> Option<&'a [u8]>) -> Value<'v> {
    let Some(text) = text(value) else {
        return Value::Null;
    };
    part(text, |bytes| {
        MsrpUri::parse(bytes).map(|uri| choose(uri).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found() {
        let whole = "msrp://al;x=1@[2001:db8::1]:7654/jshA7weztas;tcp;a=b;c";
        for (uri, name, expected) in [
            (whole, "user", Some("al")),
            (whole, "userinfo", Some("al;x=1")),
            (whole, "host", Some("[2001:db8::1]")),
            (whole, "port", Some("7654")),
            (whole, "session", Some("jshA7weztas")),
            (whole, "proto", Some("tcp")),
            (whole, "params", Some("a=b;c")),
            ("MSRPS://h", "host", Some("h")),
            ("msrps://h", "port", Some("")),
            ("msrp://h:2855;tcp", "session", Some("")),
            ("sip:h", "host", None),
            ("", "host", None),
        ] {
            let name = format!("msrpuri.{name}");
            let row = TABLE.iter().find(|row| row.name == name).expect("a row");
            let made = (row.apply)(Value::text(uri.as_bytes()), &[]);
            let expected = expected.map_or(Value::Null, |text| Value::text(text.as_bytes()));
            assert_eq!(made, expected, "{uri} {name}");
        }
    }
}
