//! The torture messages of RFC 4475 and RFC 5118, shortened to what each is about.

use crate::sip::HeaderName;
use crate::sip::Message;
use crate::sip::Method;
use crate::sip::Missing;
use crate::sip::Scheme;
use crate::sip::Uri;

const REST: &str = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:caller@example.net>;tag=1\r\n\
    To: <sip:user@example.com>\r\nCall-ID: c@example.net\r\nMax-Forwards: 70\r\n";

/// A message of a first line, the usual headers, and the headers and body that make it special.
fn message(first_line: &str, more: &str) -> Message {
    Message::parse(format!("{first_line}\r\n{REST}{more}")).unwrap()
}

/// A message that brings all its headers.
fn bare(text: &str) -> Message {
    Message::parse(text.replace('\n', "\r\n")).unwrap()
}

#[test]
fn valid_wsinv() {
    // §3.1.1.1: a short tortuous INVITE.
    let m = bare(
        "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\n\
        TO :\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\n\
        from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\n  ;\n  tag = 98asjd8\n\
        MaX-fOrWaRdS: 0068\n\
        Call-ID: wsinv.ndaksdj@192.0.2.1\n\
        Content-Length   : 3\n\
        cseq: 0009\n  INVITE\n\
        Via  : SIP  /   2.0\n /UDP\n    192.0.2.2;branch=390skdjuw\n\
        s :\n\
        NewFangledHeader:   newfangled value\n continued newfangled value\n\
        UnknownHeaderWithUnusualValue: ;;,,;;,;\n\
        Content-Type: application/sdp\n\
        Route:\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\n\
        v:  SIP  / 2.0  / TCP     spindle.example.com   ;\n  branch  =   z9hG4bK9ikj8  ,\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\n z9hG4bK30239\n\
        m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\n      newvalue ;\n  secondparam ; q = 0.33\n\nv=0",
    );
    assert_eq!(m.mandatory(), Ok(()));
    assert_eq!((m.to_tag(), m.from_tag()), (&b"1918181833n"[..], &b"98asjd8"[..]));
    assert_eq!(
        (m.max_forwards(), m.cseq().map(|c| c.number)),
        (Some(68), Some(9))
    );
    assert_eq!(&*m.from().unwrap().display_name(), b"J Rosenberg \\\"");
    let branches: Vec<_> = m.vias().map(|v| v.via().unwrap().branch().unwrap()).collect();
    assert_eq!(branches, [&b"390skdjuw"[..], b"z9hG4bK9ikj8", b"z9hG4bK30239"]);
    let contact = m.contacts().next().unwrap().unwrap();
    assert_eq!(
        (contact.q(), contact.param(b"newparam")),
        (Some(330), Some(Some(&b"newvalue"[..])))
    );
    assert_eq!(m.first(HeaderName::Subject), Some(&b""[..]));
    assert!(m.routes().next().unwrap().route().unwrap().is_loose());
    assert_eq!(m.body(), b"v=0");
}

#[test]
fn valid_intmeth() {
    // §3.1.1.2: a wide range of valid characters.
    let m = bare(
        "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0\n\
        Via: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~\n\
        To: \"BEL:\\\u{7} NUL:\\\u{0} DEL:\\\u{7f}\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>\n\
        From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\u{440}\u{430}\";tag=_token~1'+`*%!-.\n\
        Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\n\
        CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~\n\
        Max-Forwards: 255\n\
        extensionHeader-!.%*+_`'~: \u{5d1}\n\
        Content-Length: 0\n\n",
    );
    assert_eq!(m.mandatory(), Ok(()));
    assert_eq!(
        m.method(),
        Method::Other(b"!interesting-Method0123456789_*+`.%indeed'~")
    );
    assert_eq!(Uri::parse(m.request_uri()).unwrap().host, b"example.com");
    assert_eq!(m.from_tag(), b"_token~1'+`*%!-.");
    assert_eq!(m.top_via().unwrap().branch(), Some(&b"z9hG4bK-.!%66*_+`'~"[..]));
    assert_eq!(m.all_named(b"EXTENSIONHEADER-!.%*+_`'~").count(), 1);
}

#[test]
fn valid_escapes() {
    // §3.1.1.3 to §3.1.1.5: escapes are resolved in URIs, never in methods.
    let m = message(
        "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0",
        "CSeq: 1 INVITE\r\nContact: <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>\r\n\r\n",
    );
    assert_eq!(m.mandatory(), Ok(()));
    assert_eq!(
        &*Uri::parse(m.request_uri()).unwrap().user_unescaped(),
        b"sips:user@example.com"
    );
    let contact = m.contacts().next().unwrap().unwrap();
    assert!(contact.parsed_uri().unwrap().param(b"lr").is_none());
    let null = message(
        "REGISTER sip:example.com SIP/2.0",
        "CSeq: 1 REGISTER\r\nm: <sip:%00@host>\r\n\r\n",
    );
    assert_eq!(
        &*null
            .contacts()
            .next()
            .unwrap()
            .unwrap()
            .parsed_uri()
            .unwrap()
            .user_unescaped(),
        b"\0"
    );
    let method = message(
        "RE%47IST%45R sip:registrar.example.com SIP/2.0",
        "CSeq: 29344 RE%47IST%45R\r\n\r\n",
    );
    assert_eq!(
        (method.mandatory(), method.method()),
        (Ok(()), Method::Other(b"RE%47IST%45R"))
    );
}

#[test]
fn valid_others() {
    // §3.1.1.6: no space between the display name and the bracket.
    let m = message(
        "OPTIONS sip:a@b SIP/2.0",
        "CSeq: 1 OPTIONS\r\nReply-To: caller<sip:caller@example.com>\r\n\r\n",
    );
    let reply_to = m.values(HeaderName::ReplyTo).next().unwrap();
    assert_eq!(reply_to.name_addr().unwrap().display, b"caller");
    // §3.1.1.8: what follows the body of a datagram is dropped.
    let m = message(
        "REGISTER sip:example.com SIP/2.0",
        "CSeq: 8 REGISTER\r\nContent-Length: 0\r\n\r\nINVITE sip:joe@example.com SIP/2.0\r\n\r\n",
    );
    assert_eq!((m.mandatory(), m.body()), (Ok(()), &b""[..]));
    // §3.1.1.9: a semicolon in the user part.
    let m = message(
        "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0",
        "CSeq: 8 OPTIONS\r\n\r\n",
    );
    let uri = Uri::parse(m.request_uri()).unwrap();
    assert_eq!(
        (uri.user, uri.params),
        (Some(&b"user;par=u%40example.net"[..]), &b""[..])
    );
    // §3.1.1.10: every transport there is and one that is not.
    let m = message(
        "OPTIONS sip:a@b SIP/2.0",
        "CSeq: 1 OPTIONS\r\nVia: SIP/2.0/SCTP a;branch=x,SIP/2.0/UNKNOWN b\r\n\r\n",
    );
    let transports: Vec<_> = m.vias().map(|v| v.via().unwrap().transport).collect();
    assert_eq!(transports, [&b"UDP"[..], b"SCTP", b"UNKNOWN"]);
    // §3.1.1.12, §3.1.1.13: reasons beyond ASCII, and none.
    let m = message(
        "SIP/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e}",
        "CSeq: 35 INVITE\r\n\r\n",
    );
    assert_eq!(
        (m.mandatory(), m.reason()),
        (Ok(()), "= 2**3 * 5**2 \u{43d}\u{43e}".as_bytes())
    );
    let m = message("SIP/2.0 100 ", "CSeq: 35 INVITE\r\n\r\n");
    assert_eq!((m.mandatory(), m.reason()), (Ok(()), &b""[..]));
}

#[test]
fn invalid_messages() {
    let invite = "INVITE sip:user@example.com SIP/2.0";
    let cseq = "CSeq: 1 INVITE\r\n";
    let table = [
        (
            "3.1.2.2 clerr",
            invite,
            format!("{cseq}Content-Length: 9999\r\n\r\nv=0"),
            Missing::ContentLength,
        ),
        (
            "3.1.2.3 ncl",
            invite,
            format!("{cseq}Content-Length: -999\r\n\r\nv=0"),
            Missing::ContentLength,
        ),
        (
            "3.1.2.4 scalar02",
            invite,
            "CSeq: 36893488147419103232 INVITE\r\n\r\n".into(),
            Missing::Invalid(HeaderName::CSeq),
        ),
        (
            "3.1.2.5 scalarlg",
            "SIP/2.0 503 x",
            "CSeq: 9292394834772304023312 INVITE\r\n\r\n".into(),
            Missing::Invalid(HeaderName::CSeq),
        ),
        (
            "3.1.2.7 ltgtruri",
            "INVITE <sip:user@example.com> SIP/2.0",
            format!("{cseq}\r\n"),
            Missing::RequestLine,
        ),
        (
            "3.1.2.8 lwsruri",
            "INVITE sip:user@example.com; lr SIP/2.0",
            format!("{cseq}\r\n"),
            Missing::RequestLine,
        ),
        (
            "3.1.2.9 lwsstart",
            "INVITE  sip:user@example.com  SIP/2.0",
            format!("{cseq}\r\n"),
            Missing::RequestLine,
        ),
        (
            "3.1.2.10 trws",
            "INVITE sip:user@example.com SIP/2.0  ",
            format!("{cseq}\r\n"),
            Missing::RequestLine,
        ),
        (
            "3.1.2.16 badvers",
            "INVITE sip:user@example.com SIP/7.0",
            format!("{cseq}\r\n"),
            Missing::Version,
        ),
        (
            "3.1.2.17 mismatch01",
            "OPTIONS sip:user@example.com SIP/2.0",
            format!("{cseq}\r\n"),
            Missing::CSeqMethod,
        ),
        (
            "3.1.2.18 mismatch02",
            "NEWMETHOD sip:user@example.com SIP/2.0",
            format!("{cseq}\r\n"),
            Missing::CSeqMethod,
        ),
        (
            "3.3.8 multi01",
            invite,
            format!("{cseq}CSeq: 59 INVITE\r\n\r\n"),
            Missing::Duplicate(HeaderName::CSeq),
        ),
        (
            "3.3.9 mcl01",
            invite,
            format!("{cseq}l: 3\r\nl: 9\r\n\r\nv=0"),
            Missing::Duplicate(HeaderName::ContentLength),
        ),
    ];
    for (name, first_line, more, expected) in table {
        assert_eq!(message(first_line, &more).mandatory(), Err(expected), "{name}");
    }
    // §3.1.2.19: a status code that overflows.
    assert!(Message::parse("SIP/2.0 4294967301 better not break the receiver\r\n\r\n").is_err());
    // §3.1.2.6: an open quote in To.
    let quotes = "INVITE sip:u@h SIP/2.0\nVia: SIP/2.0/UDP h\nFrom: <sip:a@b>\nTo: \"Mr. J. User <sip:j.user@example.com>\nCall-ID: 1\nCSeq: 1 INVITE\n\n";
    assert_eq!(bare(quotes).mandatory(), Err(Missing::Invalid(HeaderName::To)));
    // §3.3.1: hardly any header.
    let insufficient = bare(
        "INVITE sip:user@example.com SIP/2.0\nCSeq: 193942 INVITE\nVia: SIP/2.0/UDP 192.0.2.95\nl: 0\n\n",
    );
    assert_eq!(insufficient.mandatory(), Err(Missing::Header(HeaderName::From)));
}

#[test]
fn lenient_addresses() {
    // §3.1.2.13: the headers of a bare URI in Contact.
    let m = message(
        "REGISTER sip:example.com SIP/2.0",
        "CSeq: 1 REGISTER\r\nm: sip:user@example.com?Route=%3Csip:sip.example.com%3E\r\n\r\n",
    );
    assert!(m.contacts().next().unwrap().is_err());
    // §3.1.2.14, §3.1.2.15: spaces within the brackets, a comma in the display name.
    let m = bare(
        "OPTIONS sip:a SIP/2.0\nFrom: Bell, Alexander <sip:a.g.bell@example.com>;tag=43\nTo: \"Watson, Thomas\" < sip:t.watson@example.org >\n\n",
    );
    assert_eq!(
        (m.from_tag(), m.from().unwrap().display),
        (&b"43"[..], &b"Bell, Alexander"[..])
    );
    assert_eq!(m.to().unwrap().uri, b"sip:t.watson@example.org");
}

#[test]
fn schemes() {
    // §3.3.2 to §3.3.4.
    for (uri, scheme) in [
        ("nobodyKnowsThisScheme:totallyopaquecontent", Scheme::Other),
        ("soap.beep://192.0.2.103:3002", Scheme::Other),
        ("name:John_Smith", Scheme::Other),
        ("tel:+1-212-555", Scheme::Tel),
    ] {
        let m = message(&format!("OPTIONS {uri} SIP/2.0"), "CSeq: 3 OPTIONS\r\n\r\n");
        assert_eq!(
            (m.mandatory(), Uri::parse(m.request_uri()).map(|u| u.scheme)),
            (Ok(()), Ok(scheme)),
            "{uri}"
        );
    }
}

#[test]
fn contact_parameters() {
    // §3.3.12 to §3.3.14: parameters within and outside the brackets are not the same.
    let m = message(
        "REGISTER sip:example.com SIP/2.0",
        "CSeq: 2 REGISTER\r\nContact: sip:+19725552222@gw1.example.net;unknownparam\r\n\
        Contact: <sip:+19725552223@gw1.example.net;unknownparam>\r\n\
        Contact: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>\r\n\r\n",
    );
    let contacts: Vec<_> = m.contacts().map(|c| c.unwrap()).collect();
    assert_eq!(contacts[0].param(b"unknownparam"), Some(None));
    assert_eq!(contacts[0].uri(), b"sip:+19725552222@gw1.example.net");
    assert_eq!(contacts[1].param(b"unknownparam"), None);
    assert_eq!(
        contacts[1].parsed_uri().unwrap().param(b"unknownparam"),
        Some(None)
    );
    let route = contacts[2].parsed_uri().unwrap();
    assert_eq!(
        route.header_iter().next(),
        Some((&b"Route"[..], &b"%3Csip:sip.example.com%3E"[..]))
    );
}

#[test]
fn ipv6() {
    // RFC 5118 §4.1 to §4.5, §4.8.
    type HostPort = Option<(&'static str, Option<u16>)>;
    let table: &[(&str, HostPort)] = &[
        ("sip:[2001:db8::10]", Some(("[2001:db8::10]", None))),
        ("sip:2001:db8::10", None),
        ("sip:[2001:db8::10:5070]", Some(("[2001:db8::10:5070]", None))),
        ("sip:[2001:db8::10]:5070", Some(("[2001:db8::10]", Some(5070)))),
        (
            "sip:user@[::ffff:192.0.2.10]:19823",
            Some(("[::ffff:192.0.2.10]", Some(19823))),
        ),
    ];
    for (text, expected) in table {
        let got = Uri::parse(text.as_bytes()).ok().map(|u| (u.host, u.port));
        assert_eq!(
            got,
            expected.map(|(host, port)| (host.as_bytes(), port)),
            "{text}"
        );
    }
    for received in ["2001:db8::9:255", "[2001:db8::9:255]"] {
        let m = bare(&format!(
            "BYE sip:a SIP/2.0\nVia: SIP/2.0/UDP [2001:db8::9:1];received={received};branch=z9hG4bKas3-111\n\n"
        ));
        let via = m.top_via().unwrap();
        assert_eq!(
            (via.received(), via.host),
            (Some(received.as_bytes()), &b"[2001:db8::9:1]"[..])
        );
        assert_eq!(via.branch(), Some(&b"z9hG4bKas3-111"[..]));
    }
}
