//! Following Route headers: RFC 3261 §16.4, §16.6 step 6, §16.12; module rr's `loose_route()`.

use shared::sip::HeaderName;
use shared::sip::ListValue;
use shared::sip::Lumps;
use shared::sip::Message;
use shared::sip::Uri;

/// What `loose_route_mode()` switches off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Loose and strict routing.
    #[default]
    Full,
    /// The Request-URI is never taken for a strict router's rewriting.
    LooseOnly,
}

/// How a request goes on; the Route headers used up are deleted in the lumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// What `loose_route()` returns.
    pub code: Code,
    /// The URI of the topmost Route, `$route_uri`.
    pub top: Option<&'a [u8]>,
    /// The URI of the Route that was ours, whose parameters `check_route_param` reads.
    pub own: Option<&'a [u8]>,
    /// The URI of the second Route of ours (`r2=on`), which names the socket to send from.
    pub second: Option<&'a [u8]>,
    /// The new Request-URI.
    pub uri: Option<&'a [u8]>,
    /// The next hop.
    pub dst_uri: Option<&'a [u8]>,
}

/// The results of `loose_route()` without flow tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// There is a route.
    Routed = 1,
    /// There is no Route header, or one that cannot be read.
    Failed = -1,
    /// The Route of a request outside a dialog led to us alone.
    Preloaded = -3,
}

/// Which way a request of a dialog goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the caller to the callee.
    Downstream,
    /// From the callee to the caller.
    Upstream,
}

/// Follows the Route headers of a request whose Request-URI is now `uri`, and records in `lumps` which of them go.
///
/// Only Routes of our own, by `is_local`, are used up; the one of the next hop stays, unless that is a strict router.
pub fn loose_route<'a>(
    request: &'a Message,
    uri: &'a [u8],
    mode: Mode,
    is_local: impl Fn(&Uri<'_>) -> bool,
    lumps: &mut Lumps,
) -> Verdict<'a> {
    let mut verdict = Verdict {
        code: Code::Failed,
        top: None,
        own: None,
        second: None,
        uri: None,
        dst_uri: None,
    };
    let mut routes = request.routes();
    let Some(first) = routes.next() else {
        return verdict;
    };
    let Some(first) = Hop::read(first) else {
        return verdict;
    };
    verdict.top = Some(first.text);
    // RFC 3261 §16.4: a strict router put the Route that was ours in the Request-URI. Kamailio: only within a dialog.
    if mode == Mode::Full
        && !request.to_tag().is_empty()
        && let Ok(target) = Uri::parse(uri)
        && is_local(&target)
    {
        strict(request, &target, first, &is_local, lumps, &mut verdict);
        return verdict;
    }
    let mut next = Some(first);
    if is_local(&first.uri) {
        verdict.own = Some(first.text);
        lumps.delete_value(request, &first.value());
        next = match read_next(&mut routes) {
            Ok(next) => next,
            Err(BadRoute) => return verdict,
        };
        if let Some(second) = next.filter(|hop| is_double(&first.uri, hop, &is_local)) {
            verdict.second = Some(second.text);
            lumps.delete_value(request, &second.value());
            next = match read_next(&mut routes) {
                Ok(next) => next,
                Err(BadRoute) => return verdict,
            };
        }
    }
    match next {
        None if request.to_tag().is_empty() => verdict.code = Code::Preloaded,
        None => verdict.code = Code::Routed,
        Some(hop) if hop.is_loose() => {
            verdict.code = Code::Routed;
            verdict.dst_uri = Some(hop.text);
        }
        // RFC 3261 §16.6 step 6: a strict router reads the Request-URI, so what stands there moves to the end.
        Some(hop) => {
            verdict.code = Code::Routed;
            verdict.uri = Some(hop.text);
            lumps.delete_value(request, &hop.value());
            append_route(request, uri, lumps);
        }
    }
    verdict
}

/// Tells the direction of a request by the `ftag` that our Record-Route left in our Route (`is_direction`).
pub fn direction(own: &[u8], from_tag: &[u8]) -> Direction {
    let ftag = Uri::parse(own).ok().and_then(|uri| uri.param(b"ftag").flatten());
    if ftag.is_some_and(|tag| tag != from_tag) {
        Direction::Upstream
    } else {
        Direction::Downstream
    }
}

/// The Request-URI was ours: the next hop is the topmost Route, the target the last.
fn strict<'a>(
    request: &'a Message,
    target: &Uri<'_>,
    first: Hop<'a>,
    is_local: &impl Fn(&Uri<'_>) -> bool,
    lumps: &mut Lumps,
    verdict: &mut Verdict<'a>,
) {
    let mut hop = first;
    let mut routes = request.routes().skip(1);
    if is_double(target, &first, is_local) {
        verdict.own = Some(first.text);
        verdict.second = Some(first.text);
        lumps.delete_value(request, &first.value());
        match read_next(&mut routes) {
            Ok(Some(next)) => hop = next,
            Ok(None) | Err(BadRoute) => return,
        }
    }
    if !hop.is_loose() {
        verdict.code = Code::Routed;
        verdict.uri = Some(hop.text);
        lumps.delete_value(request, &hop.value());
        return;
    }
    let Some(last) = request.routes().last().and_then(Hop::read) else {
        return;
    };
    verdict.code = Code::Routed;
    verdict.dst_uri = Some(hop.text);
    verdict.uri = Some(last.text);
    lumps.delete_value(request, &last.value());
}

#[derive(Debug, Clone, Copy)]
struct Hop<'a> {
    text: &'a [u8],
    uri: Uri<'a>,
    bytes: &'a [u8],
    start: usize,
    end: usize,
    header: usize,
}

struct BadRoute;

impl<'a> Hop<'a> {
    fn read(value: ListValue<'a>) -> Option<Self> {
        let addr = value.name_addr().ok()?;
        // RFC 3261 §20.34: a Route is a name-addr; without brackets its parameters would belong to nobody.
        if !value.bytes.ends_with(b">") && !value.bytes.contains(&b'<') {
            return None;
        }
        let uri = Uri::parse(addr.uri).ok()?;
        let (start, end) = (value.range.start, value.range.end);
        Some(Self {
            text: addr.uri,
            uri,
            bytes: value.bytes,
            start,
            end,
            header: value.header,
        })
    }

    fn value(&self) -> ListValue<'a> {
        ListValue {
            bytes: self.bytes,
            range: self.start..self.end,
            header: self.header,
        }
    }

    fn is_loose(&self) -> bool {
        self.uri.param(b"lr").is_some()
    }
}

fn read_next<'a>(routes: &mut impl Iterator<Item = ListValue<'a>>) -> Result<Option<Hop<'a>>, BadRoute> {
    routes
        .next()
        .map(|value| Hop::read(value).ok_or(BadRoute))
        .transpose()
}

/// Whether a Route follows that belongs to the same passage through this server (RFC 5658).
fn is_double(own: &Uri<'_>, next: &Hop<'_>, is_local: &impl Fn(&Uri<'_>) -> bool) -> bool {
    own.param(b"r2").is_some() && (next.uri.param(b"r2").is_some() || is_local(&next.uri))
}

fn append_route(request: &Message, uri: &[u8], lumps: &mut Lumps) {
    let mut line = Vec::with_capacity(uri.len() + 11);
    line.extend_from_slice(b"Route: <");
    line.extend_from_slice(uri);
    line.extend_from_slice(b">\r\n");
    match request.all(HeaderName::Route).next_back() {
        Some(last) => lumps.insert_after(last, &line),
        None => lumps.append_header(request, &line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOB: &str = "sip:bob@10.0.0.8:7001";

    fn is_local(uri: &Uri<'_>) -> bool {
        uri.host == b"me.lan" || uri.host == b"10.1.1.1" && matches!(uri.port, None | Some(5060 | 5080))
    }

    fn message(uri: &str, routes: &[&str], to_tag: &str) -> Message {
        let routes: String = routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        Message::parse(format!(
            "BYE {uri} SIP/2.0\r\nTo: <sip:b@x>{to_tag}\r\n{routes}X: 1\r\n\r\n"
        ))
        .unwrap()
    }

    fn follow(uri: &str, routes: &[&str], to_tag: &str, mode: Mode) -> String {
        let request = message(uri, routes, to_tag);
        let mut lumps = Lumps::default();
        let verdict = loose_route(&request, request.request_uri(), mode, is_local, &mut lumps);
        let out = String::from_utf8(lumps.apply(&request)).unwrap();
        let left: Vec<_> = out
            .lines()
            .filter_map(|line| line.strip_prefix("Route: "))
            .collect();
        let text =
            |bytes: Option<&[u8]>| bytes.map_or("-".into(), |b| String::from_utf8_lossy(b).into_owned());
        format!(
            "{} ru={} du={} fs={} left={}",
            verdict.code as i32,
            text(verdict.uri),
            text(verdict.dst_uri),
            text(verdict.second),
            left.join("|"),
        )
    }

    #[test]
    fn kamailio_loose_route() {
        let tag = ";tag=t";
        #[rustfmt::skip]
        let rows: &[(&str, &[&str], &str, &str)] = &[
            (BOB, &[], tag, "-1 ru=- du=- fs=- left="),
            (BOB, &["<sip:10.1.1.1;lr>"], tag, "1 ru=- du=- fs=- left="),
            (BOB, &["<sip:10.1.1.1;lr>"], "", "-3 ru=- du=- fs=- left="),
            (BOB, &["<sip:10.1.1.1;lr>", "<sip:10.0.0.1;lr>"], "", "1 ru=- du=sip:10.0.0.1;lr fs=- left=<sip:10.0.0.1;lr>"),
            (BOB, &["<sip:10.1.1.1;lr>, <sip:10.0.0.1;lr>, <sip:10.0.0.2;lr>"], tag, "1 ru=- du=sip:10.0.0.1;lr fs=- left=<sip:10.0.0.1;lr>, <sip:10.0.0.2;lr>"),
            (BOB, &["<sip:10.1.1.1;lr>,<sip:10.0.0.1>"], tag, "1 ru=sip:10.0.0.1 du=- fs=- left=<sip:bob@10.0.0.8:7001>"),
            (BOB, &["<sip:10.1.1.1;lr>", "<sip:10.0.0.1>", "<sip:10.0.0.2;lr>"], tag, "1 ru=sip:10.0.0.1 du=- fs=- left=<sip:10.0.0.2;lr>|<sip:bob@10.0.0.8:7001>"),
            (BOB, &["<sip:10.1.1.1;r2=on;lr>", "<sip:10.1.1.1:5080;r2=on;lr>", "<sip:10.0.0.2;lr>"], tag, "1 ru=- du=sip:10.0.0.2;lr fs=sip:10.1.1.1:5080;r2=on;lr left=<sip:10.0.0.2;lr>"),
            (BOB, &["<sip:10.1.1.1;r2=on;lr>", "<sip:10.1.1.1:5080;r2=on;lr>"], tag, "1 ru=- du=- fs=sip:10.1.1.1:5080;r2=on;lr left="),
            (BOB, &["<sip:10.1.1.1;r2=on;lr>", "<sip:10.1.1.1:5080;r2=on;lr>"], "", "-3 ru=- du=- fs=sip:10.1.1.1:5080;r2=on;lr left="),
            (BOB, &["<sip:10.1.1.1;r2=on;lr>", "<sip:10.0.0.2;lr>"], tag, "1 ru=- du=sip:10.0.0.2;lr fs=- left=<sip:10.0.0.2;lr>"),
            (BOB, &["<sip:10.1.1.1;lr>", "<sip:10.1.1.1:5080;lr>", "<sip:10.0.0.2;lr>"], tag, "1 ru=- du=sip:10.1.1.1:5080;lr fs=- left=<sip:10.1.1.1:5080;lr>|<sip:10.0.0.2;lr>"),
            (BOB, &["<sip:10.1.1.1>", "<sip:10.0.0.2;lr>"], tag, "1 ru=- du=sip:10.0.0.2;lr fs=- left=<sip:10.0.0.2;lr>"),
            (BOB, &["<sip:10.0.0.1;lr>", "<sip:10.0.0.2;lr>"], tag, "1 ru=- du=sip:10.0.0.1;lr fs=- left=<sip:10.0.0.1;lr>|<sip:10.0.0.2;lr>"),
            (BOB, &["<sip:10.0.0.1>", "<sip:10.0.0.2;lr>"], tag, "1 ru=sip:10.0.0.1 du=- fs=- left=<sip:10.0.0.2;lr>|<sip:bob@10.0.0.8:7001>"),
            (BOB, &["<sip:10.0.0.1;lr>"], "", "1 ru=- du=sip:10.0.0.1;lr fs=- left=<sip:10.0.0.1;lr>"),
            ("sip:10.1.1.1;lr", &["<sip:10.0.0.2;lr>", "<sip:bob@10.0.0.9>"], tag, "1 ru=sip:bob@10.0.0.9 du=sip:10.0.0.2;lr fs=- left=<sip:10.0.0.2;lr>"),
            ("sip:10.1.1.1", &["<sip:10.0.0.2>", "<sip:bob@10.0.0.9>"], tag, "1 ru=sip:10.0.0.2 du=- fs=- left=<sip:bob@10.0.0.9>"),
            ("sip:10.1.1.1", &["<sip:10.0.0.2>"], tag, "1 ru=sip:10.0.0.2 du=- fs=- left="),
            ("sip:10.1.1.1", &["<sip:bob@10.0.0.9;lr>"], tag, "1 ru=sip:bob@10.0.0.9;lr du=sip:bob@10.0.0.9;lr fs=- left="),
            ("sip:10.1.1.1;r2=on", &["<sip:10.1.1.1:5080;r2=on>", "<sip:10.0.0.2;lr>", "<sip:bob@10.0.0.9>"], tag, "1 ru=sip:bob@10.0.0.9 du=sip:10.0.0.2;lr fs=sip:10.1.1.1:5080;r2=on left=<sip:10.0.0.2;lr>"),
            ("sip:10.1.1.1;r2=on", &["<sip:10.1.1.1:5080;r2=on>"], tag, "-1 ru=- du=- fs=sip:10.1.1.1:5080;r2=on left="),
            ("sip:10.1.1.1", &["<sip:10.1.1.1;lr>", "<sip:10.0.0.3;lr>", "<sip:bob@10.0.0.9>"], tag, "1 ru=sip:bob@10.0.0.9 du=sip:10.1.1.1;lr fs=- left=<sip:10.1.1.1;lr>|<sip:10.0.0.3;lr>"),
            ("sip:bob@me.lan", &["<sip:10.1.1.1;lr>"], tag, "1 ru=sip:10.1.1.1;lr du=sip:10.1.1.1;lr fs=- left="),
            ("sip:bob@me.lan", &["<sip:me.lan;lr>"], "", "-3 ru=- du=- fs=- left="),
            ("sip:bob@me.lan", &["<sip:10.0.0.5;lr>"], "", "1 ru=- du=sip:10.0.0.5;lr fs=- left=<sip:10.0.0.5;lr>"),
            ("sip:bob@me.lan", &["sip:10.1.1.1;lr"], tag, "-1 ru=- du=- fs=- left=sip:10.1.1.1;lr"),
            (BOB, &["\"x\" <sip:10.1.1.1;lr>;foo=bar,\r\n <sip:10.0.0.2;lr>;x=y"], tag, "1 ru=- du=sip:10.0.0.2;lr fs=- left=<sip:10.0.0.2;lr>;x=y"),
            (BOB, &["<sip:10.1.1.1:5061;lr>"], tag, "1 ru=- du=sip:10.1.1.1:5061;lr fs=- left=<sip:10.1.1.1:5061;lr>"),
            (BOB, &["garbage"], tag, "-1 ru=- du=- fs=- left=garbage"),
            (BOB, &["<sip:10.1.1.1;lr>", "garbage"], tag, "-1 ru=- du=- fs=- left=garbage"),
            (BOB, &["<sip:user@10.1.1.1;lr=on>"], tag, "1 ru=- du=- fs=- left="),
        ];
        for (uri, routes, to_tag, expected) in rows {
            assert_eq!(
                follow(uri, routes, to_tag, Mode::Full),
                *expected,
                "{uri} {routes:?} {to_tag}"
            );
        }
    }

    #[test]
    fn loose_only_leaves_a_local_request_uri_alone() {
        let routed = follow(
            "sip:bob@me.lan",
            &["<sip:10.1.1.1;lr>"],
            ";tag=t",
            Mode::LooseOnly,
        );
        assert_eq!(routed, "1 ru=- du=- fs=- left=");
    }

    #[test]
    fn ftag_tells_the_direction() {
        for (own, expected) in [
            ("sip:10.1.1.1;lr;ftag=f1", Direction::Downstream),
            ("sip:10.1.1.1;lr;ftag=f2", Direction::Upstream),
            ("sip:10.1.1.1;lr", Direction::Downstream),
            ("sip:10.1.1.1;lr;ftag", Direction::Downstream),
            ("garbage", Direction::Downstream),
        ] {
            assert_eq!(direction(own.as_bytes(), b"f1"), expected, "{own}");
        }
    }

    proptest! {
        #[test]
        fn any_routes_are_survived(
            uri in prop::sample::select(vec![BOB, "sip:me.lan", "sip:me.lan;r2=on", "tel:1", "*"]),
            routes in prop::collection::vec(prop::sample::select(vec![
                "<sip:10.1.1.1;lr>", "<sip:me.lan;r2=on;lr>", "<sip:10.0.0.1>", "<sip:10.0.0.1;lr>, <sip:me.lan>", "x", "<", "<>", ",", "",
            ]), 0..5),
            tag in prop::sample::select(vec!["", ";tag=t"]),
        ) {
            follow(uri, &routes, tag, Mode::Full);
        }
    }
}
