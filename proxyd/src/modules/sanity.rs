//! `loadmodule "sanity"`: whether a message keeps the rules of RFC 3261 (Kamailio sanity; reply texts are Kamailio's).

use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Routes;
use crate::script::module::State;
use shared::sip::HeaderName;
use shared::sip::Message;
use shared::sip::Method;
use shared::sip::NameAddr;
use shared::sip::Scheme;
use shared::sip::Uri;
use shared::sip::header::auth::Auth;
use std::cell::RefCell;
use std::sync::Arc;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    needs: &["sl"],
    params: &[
        Param::Int("default_checks", 3047, "Checks made when none are named, by bit."),
        Param::Int(
            "uri_checks",
            7,
            "URIs that are parsed: 1 Request-URI, 2 From, 4 To, 8 Contact.",
        ),
        Param::Text(
            "proxy_require",
            "",
            "Extensions that Proxy-Require may ask for, comma separated.",
        ),
        Param::Int("autodrop", 1, "End the script when a check fails."),
        Param::Int("noreply", 0, "Leave the reply to sanity_reply()."),
        Param::Int("size_checks", 0, "Check sizes."),
        Param::Int("size_message", 16384, "Longest message."),
        Param::Int("size_headers", 8192, "Longest headers together."),
        Param::Int("size_body", 8192, "Longest body."),
        Param::Int("size_header", 2048, "Longest header."),
        Param::Int("size_method", 32, "Longest method."),
        Param::Int("size_ruri", 256, "Longest Request-URI."),
        Param::Int("size_from_uri", 256, "Longest URI in From."),
        Param::Int("size_to_uri", 256, "Longest URI in To."),
        Param::Int("size_contact_uri", 256, "Longest URI in Contact."),
        Param::Int("size_route_uri", 256, "Longest URI in Route and Record-Route."),
        Param::Int("size_path_uri", 256, "Longest URI in Path."),
        Param::Int("size_pai_uri", 256, "Longest URI in P-Asserted-Identity."),
    ],
    functions: &[
        Function {
            names: &["sanity_check"],
            args: &[Arg::OptInt("msg_checks"), Arg::OptInt("uri_checks")],
            routes: Routes::REQUEST
                .or(Routes::ONREPLY)
                .or(Routes::REPLY)
                .or(Routes::EVENT),
            doc: "False when a check fails; the request is answered then.",
            call: sanity_check,
        },
        Function {
            names: &["sanity_reply"],
            args: &[],
            routes: Routes::REQUEST.or(Routes::EVENT),
            doc: "Sends the reply that a failed check left to the script.",
            call: sanity_reply,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("sanity", "Checks that messages keep the rules.")
};

struct Settings {
    checks: i64,
    uris: i64,
    proxy_require: Vec<Vec<u8>>,
    autodrop: bool,
    noreply: bool,
    sizes: Option<Sizes>,
    own_sizes: Sizes,
}

#[derive(Clone, Copy)]
struct Sizes {
    message: usize,
    headers: usize,
    body: usize,
    header: usize,
    method: usize,
    request_uri: usize,
    from: usize,
    to: usize,
    contact: usize,
    route: usize,
    path: usize,
    identity: usize,
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let size = |name: &str| {
        usize::try_from(init.int(name))
            .ok()
            .filter(|size| *size > 0)
            .unwrap_or(usize::MAX)
    };
    let own_sizes = Sizes {
        message: size("size_message"),
        headers: size("size_headers"),
        body: size("size_body"),
        header: size("size_header"),
        method: size("size_method"),
        request_uri: size("size_ruri"),
        from: size("size_from_uri"),
        to: size("size_to_uri"),
        contact: size("size_contact_uri"),
        route: size("size_route_uri"),
        path: size("size_path_uri"),
        identity: size("size_pai_uri"),
    };
    let words = init.text("proxy_require");
    let words = words.split(',').map(|word| word.trim().as_bytes().to_vec());
    Ok(Arc::new(Settings {
        checks: init.int("default_checks"),
        uris: init.int("uri_checks"),
        proxy_require: words.filter(|word| !word.is_empty()).collect(),
        autodrop: init.int("autodrop") != 0,
        noreply: init.int("noreply") != 0,
        sizes: (init.int("size_checks") != 0).then_some(own_sizes),
        own_sizes,
    }))
}

/// What is wrong: the reply that tells it, and the extensions that are not supported.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    status: u16,
    reason: &'static str,
    unsupported: Vec<u8>,
}

const fn fault(status: u16, reason: &'static str) -> Fault {
    Fault {
        status,
        reason,
        unsupported: Vec::new(),
    }
}

thread_local! {
    /// The fault that `sanity_reply()` tells, with the number of its message.
    static KEPT: RefCell<Option<(u64, Fault)>> = const { RefCell::new(None) };
}

fn sanity_check(call: &mut Call<'_, '_>) -> Code {
    let Some(settings) = call.state::<Settings>() else {
        return Code::FALSE;
    };
    let checks = call.opt_int(0).unwrap_or(settings.checks);
    let uris = call.opt_int(1).unwrap_or(settings.uris);
    let Err(fault) = check(&call.env.ctx.msg, settings, checks, uris) else {
        return Code::TRUE;
    };
    if settings.noreply {
        let id = call.env.ctx.id;
        KEPT.with_borrow_mut(|kept| *kept = Some((id, fault)));
    } else {
        reply(call, &fault);
    }
    if settings.autodrop {
        Code::EXIT
    } else {
        Code::FALSE
    }
}

fn sanity_reply(call: &mut Call<'_, '_>) -> Code {
    let id = call.env.ctx.id;
    let kept = KEPT.with_borrow_mut(|kept| kept.take_if(|(message, _)| *message == id));
    match kept {
        Some((_, fault)) => reply(call, &fault),
        // Kamailio: true also when there is nothing to answer
        None => Code::TRUE,
    }
}

fn reply(call: &mut Call<'_, '_>, fault: &Fault) -> Code {
    let msg = &call.env.ctx.msg;
    if !msg.is_request() || msg.method() == Method::Ack {
        return Code::TRUE;
    }
    if !fault.unsupported.is_empty() {
        let line = [b"Unsupported: ".as_slice(), &fault.unsupported, b"\r\n"].concat();
        call.env.ctx.reply_headers.extend_from_slice(&line);
    }
    let (host, scope) = call.split();
    host.reply(scope, fault.status, fault.reason.as_bytes())
}

/// RFC 3261 §8.1.1; Max-Forwards may be missing (§16.6 step 3).
const REQUIRED: &[HeaderName] = &[
    HeaderName::Via,
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
];

fn check(msg: &Message, settings: &Settings, checks: i64, uris: i64) -> Result<(), Fault> {
    let wants = |bit: i64| checks & bit != 0;
    let request = msg.is_request();
    if request && wants(1) && !msg.version().eq_ignore_ascii_case(b"SIP/2.0") {
        return Err(fault(505, "Version Not Supported (R-URI)"));
    }
    if request && wants(2) {
        match Uri::parse(msg.request_uri()).map(|uri| uri.scheme) {
            Ok(Scheme::Sip | Scheme::Sips | Scheme::Tel | Scheme::Urn) => {}
            // Kamailio: a scheme it does not know cannot be parsed either
            Ok(Scheme::Other) | Err(_) => return Err(fault(400, "Bad Request URI")),
        }
    }
    if wants(4) && REQUIRED.iter().any(|name| msg.first(*name).is_none()) {
        return Err(fault(400, "Missing Required Header in Request"));
    }
    let cseq = msg.first(HeaderName::CSeq);
    if request && wants(32) {
        let named = cseq.and_then(|value| {
            value
                .trim_ascii()
                .rsplit(|byte| byte.is_ascii_whitespace())
                .next()
        });
        if named.is_some_and(|method| method != msg.method().as_bytes()) {
            return Err(fault(400, "CSeq method does not match request method"));
        }
    }
    if wants(64)
        && cseq.is_some_and(|value| {
            !is_number(
                value
                    .trim_ascii()
                    .split(u8::is_ascii_whitespace)
                    .next()
                    .unwrap_or_default(),
            )
        })
    {
        return Err(fault(400, "CSeq number is illegal"));
    }
    if wants(128)
        && let Some(value) = msg.first(HeaderName::ContentLength)
    {
        let real = msg.as_bytes().len().saturating_sub(msg.body_range().start);
        let told = std::str::from_utf8(value)
            .ok()
            .and_then(|digits| digits.parse::<usize>().ok());
        if told != Some(real) {
            return Err(fault(400, "Content-Length mis-match"));
        }
    }
    if wants(256)
        && msg
            .first(HeaderName::Expires)
            .is_some_and(|value| !is_number(value))
    {
        return Err(fault(400, "Expires value is illegal"));
    }
    if request && wants(512) {
        proxy_require(msg, settings)?;
    }
    if wants(1024) {
        // The Request-URI was read above, when that was asked for.
        parse_uris(msg, if request && wants(2) { uris & !1 } else { uris })?;
    }
    if request && wants(2048) {
        credentials(msg, &[HeaderName::Authorization, HeaderName::ProxyAuthorization])?;
    }
    if wants(4096) {
        duplicate_tags(msg)?;
    }
    if request && wants(8192) {
        credentials(msg, &[HeaderName::Authorization])?;
    }
    if wants(16384) && msg.top_via().is_none_or(|via| via.host.is_empty()) {
        return Err(fault(400, "Bad Via header"));
    }
    if wants(32768) {
        compliance(msg)?;
    }
    let sizes = if wants(65536) {
        Some(settings.own_sizes)
    } else {
        settings.sizes
    };
    sizes.map_or(Ok(()), |limits| check_sizes(msg, &limits))
}

fn is_number(text: &[u8]) -> bool {
    std::str::from_utf8(text)
        .is_ok_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u32>().is_ok())
}

fn proxy_require(msg: &Message, settings: &Settings) -> Result<(), Fault> {
    let known = |word: &[u8]| {
        settings
            .proxy_require
            .iter()
            .any(|own| own.eq_ignore_ascii_case(word))
    };
    let asked = msg.values(HeaderName::ProxyRequire).map(|value| value.bytes);
    let missing: Vec<&[u8]> = asked.filter(|word| !known(word)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Fault {
        unsupported: missing.join(b", ".as_slice()),
        ..fault(420, "Bad Proxy Require Extension")
    })
}

fn parse_uris(msg: &Message, uris: i64) -> Result<(), Fault> {
    let has_uri = |addr: Option<NameAddr<'_>>| addr.is_some_and(|addr| Uri::parse(addr.uri).is_ok());
    if uris & 1 != 0 && msg.is_request() && Uri::parse(msg.request_uri()).is_err() {
        return Err(fault(400, "Bad Request URI"));
    }
    if uris & 2 != 0 && !has_uri(msg.from()) {
        return Err(fault(400, "Invalid From Header"));
    }
    if uris & 4 != 0 && !has_uri(msg.to()) {
        return Err(fault(400, "Invalid To Header"));
    }
    let contact = |one: Result<shared::sip::Contact<'_>, _>| {
        one.is_ok_and(|contact| contact.is_star() || contact.parsed_uri().is_ok())
    };
    if uris & 8 != 0 && !msg.contacts().all(contact) {
        return Err(fault(400, "Bad Contact URI"));
    }
    Ok(())
}

fn credentials(msg: &Message, names: &[HeaderName]) -> Result<(), Fault> {
    for header in names.iter().flat_map(|name| msg.all(*name)) {
        let value = msg.value(header);
        if !value
            .get(..7)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"digest "))
        {
            continue;
        }
        let bad = || fault(400, "Bad Auth Credentials");
        let auth = Auth::parse(value).map_err(|_| bad())?;
        if auth.username.is_some_and(|name| name.is_empty()) {
            return Err(fault(400, "Auth Empty User"));
        }
        let complete = [auth.username, auth.realm, auth.nonce, auth.uri, auth.response]
            .iter()
            .all(Option::is_some);
        let protected = auth.qop.is_none() || (auth.nc.is_some() && auth.cnonce.is_some());
        if !complete || !protected {
            return Err(bad());
        }
    }
    Ok(())
}

fn duplicate_tags(msg: &Message) -> Result<(), Fault> {
    let tags = |addr: Option<NameAddr<'_>>| {
        addr.map_or(0, |addr| {
            addr.param_iter()
                .filter(|param| param.name.eq_ignore_ascii_case(b"tag"))
                .count()
        })
    };
    if tags(msg.from()) > 1 {
        return Err(fault(400, "Many From Tag Params"));
    }
    if tags(msg.to()) > 1 {
        return Err(fault(400, "Many To Tag Params"));
    }
    Ok(())
}

fn compliance(msg: &Message) -> Result<(), Fault> {
    let via = msg.top_via();
    if !via.is_some_and(|via| via.branch().is_some_and(|branch| branch.starts_with(b"z9hG4bK"))) {
        return Err(fault(400, "Bad Via Branch"));
    }
    let loose = |value: shared::sip::ListValue<'_>| value.route().is_ok_and(|route| route.is_loose());
    if !msg.routes().all(loose) {
        return Err(fault(400, "Missing lr in Route"));
    }
    if !msg.record_routes().all(loose) {
        return Err(fault(400, "Missing lr in Record-Route"));
    }
    Ok(())
}

fn check_sizes(msg: &Message, limits: &Sizes) -> Result<(), Fault> {
    let longest = |name: HeaderName| {
        let uris = msg
            .values(name)
            .filter_map(|value| value.name_addr().ok().map(|addr| addr.uri.len()));
        uris.max().unwrap_or(0)
    };
    let headers = msg.headers_end().saturating_sub(msg.headers_start());
    let header = msg
        .headers()
        .iter()
        .map(|header| header.field.len())
        .max()
        .unwrap_or(0);
    let checks = [
        (msg.as_bytes().len(), limits.message, "Message Too Large"),
        (headers, limits.headers, "Headers Too Large"),
        (msg.body().len(), limits.body, "Body Too Large"),
        (header, limits.header, "Header Too Large"),
        (msg.method().as_bytes().len(), limits.method, "Method Too Large"),
        (
            msg.request_uri().len(),
            limits.request_uri,
            "Request URI Too Large",
        ),
        (
            msg.from().map_or(0, |addr| addr.uri.len()),
            limits.from,
            "From URI Too Large",
        ),
        (
            msg.to().map_or(0, |addr| addr.uri.len()),
            limits.to,
            "To URI Too Large",
        ),
        (
            longest(HeaderName::Contact),
            limits.contact,
            "Contact URI Too Large",
        ),
        (
            longest(HeaderName::Route).max(longest(HeaderName::RecordRoute)),
            limits.route,
            "Route URI Too Large",
        ),
        (longest(HeaderName::Path), limits.path, "Path URI Too Large"),
        (
            longest(HeaderName::PAssertedIdentity),
            limits.identity,
            "PAI URI Too Large",
        ),
    ];
    match checks.into_iter().find(|(size, limit, _)| size > limit) {
        Some((.., reason)) => Err(fault(400, reason)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let none = usize::MAX;
        let own_sizes = Sizes {
            message: none,
            headers: none,
            body: none,
            header: none,
            method: none,
            request_uri: 20,
            from: none,
            to: none,
            contact: none,
            route: none,
            path: none,
            identity: none,
        };
        Settings {
            checks: 3047,
            uris: 7,
            proxy_require: vec![b"foo".to_vec()],
            autodrop: false,
            noreply: false,
            sizes: None,
            own_sizes,
        }
    }

    /// Kamailio: the reason phrases, but for `Ivalid To Header`.
    #[test]
    fn kamailio_says_the_same() {
        let usual = [
            ("Via", "SIP/2.0/UDP 1.2.3.4;branch=z9hG4bKm"),
            ("From", "<sip:a@test.lan>;tag=1"),
            ("To", "<sip:x@test.lan>"),
            ("Call-ID", "c"),
            ("CSeq", "1 OPTIONS"),
            ("Content-Length", "0"),
        ];
        let first = "OPTIONS sip:x@test.lan SIP/2.0";
        for (line, name, value, expected) in [
            (first, "", "", ""),
            ("OPTIONS foo:x@y SIP/2.0", "", "", "Bad Request URI"),
            ("OPTIONS sip:x@test.lan:abc SIP/2.0", "", "", "Bad Request URI"),
            ("OPTIONS tel:+1 SIP/2.0", "", "", ""),
            (
                "OPTIONS sip:a-very-long-name@test.lan SIP/2.0",
                "",
                "",
                "Request URI Too Large",
            ),
            (
                first,
                "CSeq",
                "1 INVITE",
                "CSeq method does not match request method",
            ),
            (first, "CSeq", "99999999999 OPTIONS", "CSeq number is illegal"),
            (first, "CSeq", "abc OPTIONS", "CSeq number is illegal"),
            (first, "Content-Length", "5", "Content-Length mis-match"),
            (first, "Expires", "abc", "Expires value is illegal"),
            (first, "Expires", "99999999999", "Expires value is illegal"),
            (first, "Proxy-Require", "foo, bar", "Bad Proxy Require Extension"),
            (first, "Proxy-Require", "foo", ""),
            (first, "From", "<sip:@@@>;tag=1", "Invalid From Header"),
            (first, "To", "<sip:x@test.lan:abc>", "Invalid To Header"),
            (first, "Contact", "<sip:a@h:xx>", "Bad Contact URI"),
            (first, "Contact", "*", ""),
            (
                first,
                "Proxy-Authorization",
                "Digest username=\"x\"",
                "Bad Auth Credentials",
            ),
            (first, "Authorization", "Basic abc", ""),
            (
                first,
                "Authorization",
                "Digest username=\"\", realm=\"r\", nonce=\"n\", uri=\"u\", response=\"x\"",
                "Auth Empty User",
            ),
            (
                first,
                "From",
                "<sip:a@test.lan>;tag=1;tag=2",
                "Many From Tag Params",
            ),
            (first, "To", "<sip:a@test.lan>;tag=1;tag=2", "Many To Tag Params"),
            (first, "Via", "SIP/2.0/UDP 1.2.3.4;branch=abc", "Bad Via Branch"),
            (first, "Route", "<sip:h>", "Missing lr in Route"),
            (first, "Route", "<sip:h;lr>", ""),
        ] {
            let mut text = format!("{line}\r\n");
            for (own, usual) in usual {
                text.push_str(&format!("{own}: {}\r\n", if own == name { value } else { usual }));
            }
            if !name.is_empty() && !usual.iter().any(|(own, _)| *own == name) {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
            text.push_str("\r\n");
            let msg = Message::parse(text.clone()).expect("parsed");
            let found = check(&msg, &settings(), 0x1ffff, 15).map_or_else(|fault| fault.reason, |()| "");
            assert_eq!(found, expected, "{text}");
        }
    }
}
