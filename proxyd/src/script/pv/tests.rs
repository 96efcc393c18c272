//! Pseudo-variables as Kamailio 5.6.3 shows them.

use super::vars::Shared;
use super::*;
use crate::script::testing::Stage;
use std::sync::Arc;

const RICH: &str = "INVITE sip:bob;x=1:pw@test.lan:5070;transport=tcp;lr?h=v SIP/2.0
Via: SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bKaa1;rport
Via: SIP/2.0/TCP 10.0.0.9:5064;branch=z9hG4bKaa0, SIP/2.0/TLS h3.x;branch=z9h
Max-Forwards: 70
Route: <sip:127.0.0.99;lr>
Record-Route: <sip:p1.x;lr>, \"P2\" <sip:p2.x;lr=on>
From: \"Al Ice\" <sips:alice@a.example:5061;user=phone>;tag=ft1
To: <tel:+1234;ext=5>
Call-ID: cid-1@x
CSeq: 7 INVITE
Contact: \"A\" <sip:alice@10.0.0.9:5060>;expires=50;q=0.5, <sip:a2@h>;expires=70
Expires: 3600
User-Agent: phone 1.0
P-Asserted-Identity: \"PAI\" <sip:pai@pai.lan;x=y>, <tel:+55>
P-Preferred-Identity: \"PPI N\" <sip:ppi@ppi.lan>
Remote-Party-ID: \"R\" <sip:rpid@rp.lan>;party=calling;privacy=off
Diversion: \"D\" <sip:div@dv.lan>;reason=user-busy;privacy=off;counter=2
Refer-To: \"X\" <sip:ref@rf.lan>
Authorization: Digest username=\"au@dom.x\", realm=\"rlm\", nonce=\"nn\", uri=\"sip:au.uri\", response=\"0123456789abcdef0123456789abcdef\", algorithm=MD5
Content-Type: application/sdp
X-Empty:
Content-Length: 5

v=0
";

#[test]
fn kamailio_shows_the_same() {
    let mut stage = Stage::new(RICH);
    for (pv, expected) in [
        ("ru", "sip:bob;x=1:pw@test.lan:5070;transport=tcp;lr?h=v"),
        ("rU", "bob;x=1"),
        ("rd", "test.lan"),
        ("rp", "5070"),
        ("rP", "tcp"),
        ("rz", "sip"),
        ("oU", "bob;x=1"),
        ("rUl", "7"),
        ("fUl", "5"),
        ("tUl", "5"),
        ("fu", "sips:alice@a.example:5061;user=phone"),
        ("fU", "alice"),
        ("fd", "a.example"),
        ("fn", "\"Al Ice\""),
        ("ft", "ft1"),
        ("tu", "tel:+1234;ext=5"),
        ("tU", "+1234"),
        ("td", "NULL"),
        ("tn", "NULL"),
        ("tt", "NULL"),
        ("rs", "NULL"),
        ("rr", "NULL"),
        ("mt", "1"),
        ("rm", "INVITE"),
        ("rmid", "1"),
        ("rv", "SIP/2.0"),
        ("bs", "5"),
        ("cl", "5"),
        ("cs", "7"),
        ("csb", "7 INVITE"),
        ("ci", "cid-1@x"),
        ("cT", "application/sdp"),
        (
            "ct",
            "\"A\" <sip:alice@10.0.0.9:5060>;expires=50;q=0.5, <sip:a2@h>;expires=70",
        ),
        ("rb", "v=0\r\n"),
        ("si", "127.0.0.2"),
        ("Ri", "127.0.0.1"),
        ("Rn", "main"),
        ("Ru", "sip:127.0.0.1:5060"),
        ("RAut", "sip:127.0.0.1:5060;transport=udp"),
        ("su", "sip:127.0.0.2:5060"),
        ("sas", "udp:127.0.0.2:5060"),
        ("proto", "udp"),
        ("prid", "1"),
        ("conid", "NULL"),
        ("du", "NULL"),
        ("ds", "NULL"),
        ("fs", "NULL"),
        ("bF", "00000000"),
        ("ai", "sip:pai@pai.lan;x=y"),
        ("pu", "sip:ppi@ppi.lan"),
        ("pU", "ppi"),
        ("pd", "ppi.lan"),
        ("pn", "\"PPI N\""),
        ("re", "sip:rpid@rp.lan"),
        ("di", "sip:div@dv.lan"),
        ("dip", "off"),
        ("dir", "user-busy"),
        ("dic", "2"),
        ("rt", "sip:ref@rf.lan"),
        ("au", "au"),
        ("ad", "dom.x"),
        ("aU", "au@dom.x"),
        ("ar", "rlm"),
        ("aa", "MD5"),
        ("adu", "sip:au.uri"),
        ("route_uri", "sip:127.0.0.99;lr"),
        ("expires(min)", "50"),
        ("expires(max)", "70"),
        (
            "hdr(Via)[1]",
            "SIP/2.0/TCP 10.0.0.9:5064;branch=z9hG4bKaa0, SIP/2.0/TLS h3.x;branch=z9h",
        ),
        (
            "hdr(via)[-2]",
            "SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bKaa1;rport",
        ),
        ("hdr(v)[5]", "NULL"),
        ("hdr(X-Empty)", ""),
        ("hdr(x-none)", "NULL"),
        ("hdr(*)[-1]", "5"),
        ("hdrc(Via)", "2"),
        ("hfl(Via)[2]", "SIP/2.0/TLS h3.x;branch=z9h"),
        ("hflc(Via)", "3"),
        ("hflc(Record-Route)", "2"),
        ("hfl(Record-Route)[1]", "\"P2\" <sip:p2.x;lr=on>"),
        (
            "msg(fline)",
            "INVITE sip:bob;x=1:pw@test.lan:5070;transport=tcp;lr?h=v SIP/2.0",
        ),
        ("utime(year)", "2023"),
        ("utimef(%Y-%m-%d %H:%M:%S)", "2023-11-14 22:13:20"),
        ("Ts", "1700000000"),
        ("Tb", "1699999940"),
        ("TV(u)", "123456"),
        ("TV(Sn)", "1700000000.123456"),
        ("pp", "4711"),
        ("rc", "1"),
        ("sel(via[1].host)", "127.0.0.2"),
        ("sel(via[2].host)", "10.0.0.9"),
        ("sel(from.uri.user)", "alice"),
        ("sel(from.tag)", "ft1"),
        ("sel(cseq.num)", "7"),
        ("sel(msg.header[\"Call-ID\"])", "cid-1@x"),
        ("sel(hf_value[\"User-Agent\"].uri)", "phone 1.0"),
        ("sel(hf_value.User_Agent)", "phone 1.0"),
        ("cnt($avp(x))", "0"),
        ("null", "NULL"),
    ] {
        assert_eq!(stage.read(pv), expected, "${pv}");
    }
}

#[test]
fn uris_of_other_schemes_and_empty_parts() {
    let mut stage = Stage::options();
    stage.ctx.new_uri = Some(b"urn:service:sos".to_vec());
    assert_eq!(
        (stage.read("rU"), stage.read("rd"), stage.read("rz")),
        ("service".into(), "sos".into(), "urn".into())
    );
    stage.ctx.new_uri = Some(b"tel:+123;x=y".to_vec());
    assert_eq!(
        (stage.read("rU"), stage.read("rd"), stage.read("rp")),
        ("+123".into(), "NULL".into(), "5060".into())
    );
    stage.ctx.new_uri = Some(b"sip:h.lan".to_vec());
    assert_eq!(
        (stage.read("rU"), stage.read("rUl"), stage.read("rP")),
        ("NULL".into(), "0".into(), "UDP".into())
    );
    stage.ctx.dst_uri = Some(b"sip:u@1.2.3.4;transport=tls".to_vec());
    assert_eq!(
        (stage.read("dd"), stage.read("dp"), stage.read("dP")),
        ("1.2.3.4".into(), "5061".into(), "tls".into())
    );
}

#[test]
fn the_request_uri_is_written_part_by_part() {
    let mut stage = Stage::options();
    let text = |text: &'static str| Value::text(text.as_bytes());
    for (pv, value, expected) in [
        ("ru", text("sip:new@x"), "sip:new@x"),
        ("rU", text("me"), "sip:me@x"),
        ("rd", text("d.d"), "sip:me@d.d"),
        ("rp", Value::Int(99), "sip:me@d.d:99"),
        ("rp", text("77"), "sip:me@d.d:77"),
        ("rU", text(""), "sip:d.d:77"),
        ("rU", text("a:b"), "sip:a:b@d.d:77"),
        ("rp", Value::Null, "sip:a:b@d.d"),
        ("ru", text("tel:+123"), "tel:+123"),
        ("rU", text("44"), "tel:44"),
        ("rd", text("x.y"), "sip:44@x.y;user=phone"),
        ("ru", text("sip:u:pw@h:5;a=b?c=d"), "sip:u:pw@h:5;a=b?c=d"),
        ("rU", text("zz"), "sip:zz:pw@h:5;a=b?c=d"),
        ("rU", Value::Null, "sip:h:5;a=b?c=d"),
    ] {
        stage.write(pv, value).expect(pv);
        assert_eq!(stage.read("ru"), expected, "${pv}");
    }
    assert!(stage.write("ru", Value::Null).is_err());
    assert!(stage.write("rp", Value::Int(70_000)).is_err());
    assert!(stage.write("fs", text("udp:9.9.9.9:5")).is_err());
    stage.write("fs", text("127.0.0.1:5060")).expect("our socket");
    assert_eq!(
        (stage.read("fs"), stage.read("fsn")),
        ("udp:127.0.0.1:5060".into(), "main".into())
    );
}

#[test]
fn branches() {
    let mut stage = Stage::options();
    assert_eq!(stage.read("branch(count)"), "NULL");
    for uri in ["sip:b1@h1.example", "sip:b2@h2.example"] {
        stage.write("br", Value::text(uri.as_bytes())).expect("a branch");
    }
    stage.write("branch(q)[0]", Value::text(b"0.5")).expect("a q");
    for (pv, expected) in [
        ("branch(count)", "2"),
        ("branch(uri)[-1]", "sip:b2@h2.example"),
        ("branch(q)", "500"),
        ("branch(q)[1]", "NULL"),
        ("branch(uri)[5]", "NULL"),
        ("br", "sip:b1@h1.example"),
        ("bR", "<sip:b1@h1.example>;q=0.5, sip:b2@h2.example"),
        ("ds", "Contact: <sip:b1@h1.example>;q=0.5, <sip:b2@h2.example>"),
    ] {
        assert_eq!(stage.read(pv), expected, "${pv}");
    }
    stage.write("branch(uri)", Value::Null).expect("removed");
    assert_eq!(stage.read("branch(uri)"), "sip:b2@h2.example");
    stage.write("ru", Value::text(b"sip:new@x")).expect("a URI");
    assert_eq!(stage.read("ds"), "Contact: <sip:new@x>, <sip:b2@h2.example>");
}

#[test]
fn avps() {
    let mut stage = Stage::options();
    for value in ["1", "2", "3"] {
        stage
            .write("avp(s:a)", Value::text(value.as_bytes()))
            .expect("a value");
    }
    stage
        .write("avp(a)[1]", Value::text(b"x"))
        .expect("Kamailio: added, not replaced");
    assert_eq!(stage.read("avp(a)[*]"), "x, 3, 2, 1");
    stage
        .write("avp(a)[1]", Value::Null)
        .expect("Kamailio: the newest goes");
    for (pv, expected) in [
        ("avp(a)[*]", "3, 2, 1"),
        ("avp(a)[-1]", "NULL"),
        ("avp(a)[2]", "1"),
        ("cnt($avp(a))", "3"),
    ] {
        assert_eq!(stage.read(pv), expected, "${pv}");
    }
    stage.write("avp(i:7)", Value::text(b"number")).expect("a value");
    assert_eq!(
        (stage.read("avp(7)"), stage.read("avp(i:7)")),
        ("NULL".into(), "number".into())
    );
    stage.write("avp(a)[*]", Value::Int(5)).expect("all replaced");
    assert_eq!(stage.read("avp(a)[*]"), "5");
}

#[test]
fn xavps() {
    let mut stage = Stage::options();
    type Step = (
        &'static str,
        Value<'static>,
        &'static [(&'static str, &'static str)],
    );
    let steps: &[Step] = &[
        ("xavp(a=>b)", Value::text(b"1"), &[]),
        ("xavp(a=>b)", Value::text(b"2"), &[]),
        (
            "xavp(a[0]=>c)",
            Value::text(b"3"),
            &[
                ("xavp(a=>b)", "2"),
                ("xavp(a[1]=>b)", "1"),
                ("xavp(a[1]=>c)", "NULL"),
                ("xavp(a[-1]=>b)", "1"),
                ("xavp(zz)", "NULL"),
            ],
        ),
        (
            "xavp(a[0]=>b)",
            Value::text(b"4"),
            &[
                ("xavp(a[0]=>b[1])", "2"),
                ("xavp(a[0]=>b[*])", "4, 2"),
                ("cnt($xavp(a))", "2"),
                ("cnt($xavp(a[0]=>b))", "2"),
                ("cnt($xavp(a[*]=>b[*]))", "3"),
            ],
        ),
        (
            "xavp(a[0]=>b[1])",
            Value::text(b"5"),
            &[("xavp(a[0]=>b)", "4"), ("xavp(a[0]=>b[1])", "5")],
        ),
        (
            "xavp(a[0]=>b)",
            Value::Null,
            &[("xavp(a[0]=>b)", "5"), ("xavp(a[0]=>b[1])", "NULL")],
        ),
        (
            "xavp(a[0])",
            Value::Null,
            &[("xavp(a=>b)", "1"), ("cnt($xavp(a))", "1")],
        ),
        (
            "xavp(a[*])",
            Value::Null,
            &[("xavp(a=>b)", "NULL"), ("cnt($xavp(a))", "0")],
        ),
        ("xavp(n[0]=>m)", Value::text(b"q"), &[("xavp(n=>m)", "NULL")]),
        ("xavp(p)", Value::Int(5), &[]),
        ("xavp(p)", Value::Int(6), &[("xavp(p)", "6"), ("xavp(p[1])", "5")]),
        (
            "xavp(p[0])",
            Value::Int(7),
            &[("xavp(p)", "7"), ("xavp(p[1])", "5")],
        ),
        (
            "xavp(p)",
            Value::Null,
            &[("xavp(p)", "5"), ("cnt($xavp(p))", "1")],
        ),
        ("xavu(x)", Value::Int(1), &[]),
        ("xavu(x)", Value::Int(2), &[("xavu(x)", "2")]),
        ("xavu(a=>b)", Value::Int(1), &[]),
        (
            "xavu(a=>c)",
            Value::Int(2),
            &[("xavu(a=>b)", "1"), ("xavu(a=>c)", "2")],
        ),
        (
            "xavu(a=>b)",
            Value::Null,
            &[("xavu(a=>b)", "NULL"), ("xavu(a=>c)", "2")],
        ),
        ("xavu(a)", Value::Null, &[("xavu(a=>c)", "NULL")]),
        ("xavi(Wh=>FoO)", Value::Int(123), &[("xavi(wh[0]=>foo)", "123")]),
    ];
    for (pv, value, checks) in steps {
        stage.write(pv, value.clone()).expect(pv);
        for (pv, expected) in *checks {
            assert_eq!(stage.read(pv), *expected, "${pv}");
        }
    }
    stage.write("xavp(p)", Value::Int(1)).expect("plain");
    assert!(stage.write("xavp(p[0]=>f)", Value::Int(1)).is_err());
}

#[test]
fn variables_and_flags() {
    let mut stage = Stage::options().with(Arc::new(Shared::default()));
    assert_eq!(
        (
            stage.read("var(pv-test)"),
            stage.read("vn(pv-test)"),
            stage.read("shv(x)")
        ),
        ("0".into(), "NULL".into(), "0".into())
    );
    for pv in ["var(pv-test)", "vn(pv-test)", "shv(x)", "mf", "bf", "sf"] {
        stage.write(pv, Value::Int(6)).expect(pv);
        assert_eq!(stage.read(pv), "6", "${pv}");
    }
    assert_eq!(
        (stage.read("mF"), stage.ctx.bflags, stage.ctx.sflags),
        ("00000006".into(), 6, 6)
    );
}

#[test]
fn from_and_to_are_written_as_edits() {
    let mut stage = Stage::options();
    stage.write("fu", Value::text(b"sip:other@o.o")).expect("a URI");
    stage.write("tn", Value::text(b"\"New\"")).expect("a name");
    assert_eq!(stage.read("fU"), "alice");
    let edited = stage.edited();
    assert!(
        edited.contains("\r\nFrom: \"Al\" <sip:other@o.o>;tag=ft1\r\n"),
        "{edited}"
    );
    assert!(
        edited.contains("\r\nTo: \"New\" <sip:bob@test.lan>\r\n"),
        "{edited}"
    );
}

#[test]
fn names_are_unique_and_wrong_parameters_refused() {
    let mut names: Vec<&str> = PVS
        .iter()
        .flat_map(|table| table.iter().flat_map(|row| row.names))
        .copied()
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    let mut stage = Stage::options();
    for pv in [
        "msg(nope)",
        "branch(nope)",
        "TV(n)",
        "time(x)",
        "sel(no.such)",
        "sel(from.)",
        "sel(via[1)",
        "sel(authorization[\"a.b)",
        "sel(msg.nothing)",
        "hdr()",
        "cnt(x)",
        "ccp(x)",
        "xavp()",
        "xavp(a[x])",
    ] {
        assert!(stage.read(pv).starts_with("E: "), "${pv}");
    }
}
