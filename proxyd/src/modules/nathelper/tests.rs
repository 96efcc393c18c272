//! What nathelper sees and rewrites.

use super::super::MODULE;
use super::super::Nathelper;
use crate::script::testing::Stage;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const SDP: &str = "v=0\no=- 1 1 IN IP4 192.168.1.9\ns=-\nc=IN IP4 192.168.1.9\nt=0 0\nm=audio 5000 RTP/AVP 0\n\
                   a=rtcp:5001 IN IP4 192.168.1.9\nm=video 6000 RTP/AVP 0\nc=IN IP4 10.0.0.9\n";

fn nathelper() -> Arc<Nathelper> {
    Arc::new(Nathelper {
        force_socket: Vec::new(),
        natping_interval: 0,
        ping_nated_only: false,
        received_avp: None,
        sipping_bflag: 0,
        sipping_from: Vec::new(),
        sipping_method: Vec::new(),
        natping_disable_bflag: 0,
        nortpproxy_str: b"a=nortpproxy:yes\r\n".to_vec(),
        keepalive_timeout: 0,
        ignore_path: false,
        append_sdp_oldmediaip: true,
        filter_server_id: false,
        reserved: true,
        alias_name: b"alias".to_vec(),
        enabled: AtomicBool::new(true),
    })
}

/// A request from 127.0.0.2:25061.
fn stage(uri: &str, via: &str, contact: Option<&str>, body: &str) -> Stage {
    let contact = contact
        .map(|contact| format!("Contact: {contact}\n"))
        .unwrap_or_default();
    let crlf = body.replace('\n', "\r\n").len();
    let message = format!(
        "INVITE {uri} SIP/2.0\nVia: SIP/2.0/UDP {via};branch=z9hG4bK1\nFrom: <sip:f@x>;tag=f\nTo: <sip:t@x>\n\
         Call-ID: c\nCSeq: 1 INVITE\n{contact}Content-Length: {crlf}\n\n{body}"
    );
    let mut stage = Stage::new(&message).with(nathelper());
    stage.ctx.id = 7;
    stage.ctx.source.peer.set_port(25061);
    stage
}

#[test]
fn contacts_are_edited_as_in_kamailio() {
    for (function, args, contact, code, expected) in [
        (
            "fix_nated_contact",
            &[][..],
            "<sip:a@192.168.1.1:5070;ob>;x=1",
            1,
            "<sip:a@127.0.0.2:25061;ob>;x=1",
        ),
        (
            "fix_nated_contact",
            &[],
            "sip:a@192.168.1.1",
            1,
            "sip:a@127.0.0.2:25061",
        ),
        (
            "fix_nated_contact",
            &[],
            "\"X\" <sip:a:pw@[::1]:5;y?h=1>",
            1,
            "\"X\" <sip:a:pw@127.0.0.2:25061;y?h=1>",
        ),
        (
            "fix_nated_contact",
            &[],
            "<sip:a@h>, <sip:b@h:7>",
            1,
            "<sip:a@127.0.0.2:25061>, <sip:b@127.0.0.2:25061>",
        ),
        ("fix_nated_contact", &[], "*", -1, "*"),
        (
            "set_contact_alias",
            &[],
            "<sip:a@192.168.1.1:5070;ob>;x=1",
            1,
            "<sip:a@192.168.1.1:5070;ob;alias=127.0.0.2~25061~1>;x=1",
        ),
        (
            "set_contact_alias",
            &[],
            "sip:a@192.168.1.1;q=1",
            1,
            "<sip:a@192.168.1.1;alias=127.0.0.2~25061~1>;q=1",
        ),
        (
            "set_contact_alias",
            &[],
            "<sip:a@1.1.1.1?h=v>",
            1,
            "<sip:a@1.1.1.1;alias=127.0.0.2~25061~1?h=v>",
        ),
        (
            "set_contact_alias",
            &["1"],
            "<sip:a@1.1.1.1;alias=9.9.9.9~5~1;z>",
            1,
            "<sip:a@1.1.1.1;z;alias=127.0.0.2~25061~1>",
        ),
        (
            "add_contact_alias",
            &[],
            "<sip:a@192.168.1.1:5070;ob>;x=1",
            1,
            "<sip:a@192.168.1.1:5070;alias=127.0.0.2~25061~1;ob>;x=1",
        ),
        (
            "add_contact_alias",
            &[],
            "<sip:a@127.0.0.2:25061;transport=udp>",
            1,
            "<sip:a@127.0.0.2:25061;transport=udp>",
        ),
        (
            "add_contact_alias",
            &["1.2.3.4", "99", "tcp"],
            "<sip:a@h>",
            1,
            "<sip:a@h;alias=1.2.3.4~99~2>",
        ),
        (
            "add_contact_alias",
            &["1.2.3.4", "99", "foo"],
            "<sip:a@h>",
            -1,
            "<sip:a@h>",
        ),
        (
            "add_rcv_param",
            &[],
            "<sip:a@b>;x=1, <sip:c@d>",
            1,
            "<sip:a@b>;x=1;received=\"sip:127.0.0.2:25061\", <sip:c@d>;received=\"sip:127.0.0.2:25061\"",
        ),
        (
            "add_rcv_param",
            &["1"],
            "<sip:a@b;ob>;x=1",
            1,
            "<sip:a@b;ob;received=sip:127.0.0.2:25061>;x=1",
        ),
    ] {
        let mut stage = stage("sip:b@test.lan", "127.0.0.2", Some(contact), "");
        assert_eq!(stage.call(&MODULE, function, args), code, "{function} {contact}");
        let edited = stage.edited();
        let shown = edited
            .lines()
            .find_map(|line| line.strip_prefix("Contact: "))
            .unwrap();
        assert_eq!(shown, expected, "{function} {contact}");
    }
    let mut none = stage("sip:b@test.lan", "127.0.0.2", None, "");
    assert_eq!(none.call(&MODULE, "fix_nated_contact", &[]), -1);
    assert_eq!(none.call(&MODULE, "set_contact_alias", &[]), -1);
}

#[test]
fn an_alias_becomes_the_next_hop() {
    for (uri, args, code, rest, next) in [
        (
            "sip:b@h;alias=1.2.3.4~5060~1",
            &[][..],
            1,
            "sip:b@h",
            Some("sip:1.2.3.4:5060"),
        ),
        (
            "sip:b@h;alias=1.2.3.4~5060~2;x=y",
            &[],
            1,
            "sip:b@h;x=y",
            Some("sip:1.2.3.4:5060;transport=tcp"),
        ),
        (
            "sip:b@h;x;alias=1.2.3.4~5060~3",
            &[],
            1,
            "sip:b@h;x",
            Some("sip:1.2.3.4:5060;transport=tls"),
        ),
        (
            "sip:b@h;alias=[::1]~5060~1",
            &[],
            1,
            "sip:b@h",
            Some("sip:[::1]:5060"),
        ),
        (
            "sip:b@h;alias=1.2.3.4~5060~6",
            &[],
            1,
            "sip:b@h",
            Some("sip:1.2.3.4:5060;transport=ws"),
        ),
        (
            "sip:b@h;alias=1.2.3.4~5~1;alias=5.6.7.8~6~2",
            &[],
            1,
            "sip:b@h;alias=5.6.7.8~6~2",
            Some("sip:1.2.3.4:5"),
        ),
        (
            "sip:b@h;alias=1.2.3.4~5~1;alias=5.6.7.8~6~2;t=u",
            &["1"],
            1,
            "sip:b@h;alias=1.2.3.4~5~1;t=u",
            Some("sip:5.6.7.8:6;transport=tcp"),
        ),
        ("sip:b@h", &[], 2, "sip:b@h", None),
        ("sip:b@h;alias=junk", &[], 2, "sip:b@h;alias=junk", None),
        (
            "sip:b@h;alias=1.2.3.4~5060~9",
            &[],
            -1,
            "sip:b@h;alias=1.2.3.4~5060~9",
            None,
        ),
    ] {
        let mut stage = stage(uri, "127.0.0.2", None, "");
        assert_eq!(stage.call(&MODULE, "handle_ruri_alias", args), code, "{uri}");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(
            (text(stage.ctx.uri()), stage.ctx.dst_uri.as_deref().map(text)),
            (rest.to_owned(), next.map(str::to_owned))
        );
    }
}

#[test]
fn signs_of_nat() {
    for (via, contact, body, expected) in [
        (
            "127.0.0.2:25061",
            Some("<sip:a@192.168.1.1:5070;ob>"),
            "",
            &[1, 128][..],
        ),
        ("127.0.0.2:25061", Some("<sip:a@1.1.1.1:25061>"), "", &[]),
        ("192.168.1.1:5", Some("<sip:a@1.1.1.1:5>"), "", &[2, 4, 16, 128]),
        ("host.foo", Some("<sip:a@1.1.1.1:5>"), "", &[2, 16, 128]),
        (
            "127.0.0.2:25061",
            Some("<sip:a@192.168.1.1:5070>"),
            SDP,
            &[1, 8, 128, 256],
        ),
        ("127.0.0.2:25061", None, "", &[]),
    ] {
        let mut stage = stage("sip:b@test.lan", via, contact, body);
        let found: Vec<i32> = [1, 2, 4, 8, 16, 32, 64, 128, 256]
            .into_iter()
            .filter(|flag: &i32| stage.call(&MODULE, "nat_uac_test", &[&flag.to_string()]) == 1)
            .collect();
        assert_eq!(found, expected, "{via} {contact:?}");
    }
}

#[test]
fn session_descriptions_are_edited_as_in_kamailio() {
    let body = |flags: &str| {
        let mut stage = stage("sip:b@test.lan", "127.0.0.2", None, SDP);
        let code = stage.call(&MODULE, "fix_nated_sdp", &[flags]);
        let edited = stage.edited();
        (
            code,
            edited.split_once("\r\n\r\n").unwrap().1.replace("\r\n", "\n"),
        )
    };
    let (code, edited) = body("11");
    let expected = "v=0\no=- 1 1 IN IP4 127.0.0.2\ns=-\nc=IN IP4 127.0.0.2\nt=0 0\nm=audio 5000 RTP/AVP 0\n\
                    a=rtcp:5001 IN IP4 127.0.0.2\na=direction:active\nm=video 6000 RTP/AVP 0\nc=IN IP4 127.0.0.2\n\
                    a=direction:active\na=oldmediaip:192.168.1.9\na=oldmediaip:192.168.1.9\na=oldmediaip:10.0.0.9\n\
                    a=oldmediaip:192.168.1.9\n";
    assert_eq!((code, edited.as_str()), (1, expected));
    let (code, edited) = body("5");
    assert_eq!(code, 2);
    assert!(
        edited.ends_with("c=IN IP4 10.0.0.9\na=direction:active\na=nortpproxy:yes\n"),
        "{edited}"
    );
    let mut empty = stage("sip:b@test.lan", "127.0.0.2", None, "");
    assert_eq!(empty.call(&MODULE, "fix_nated_sdp", &["2"]), -1);
}
