//! PUBLISH, SUBSCRIBE and NOTIFY with both modules on a fake proxy.

use super::MODULE;
use crate::modules::presence;
use crate::modules::testing::Db;
use crate::script::host::LocalReply;
use crate::script::host::LocalRequest;
use crate::script::module::InitError;
use crate::script::testing::Bench;
use std::time::Duration;

const TABLES: &[&str] = &["presentity", "active_watchers", "watchers", "xcap"];

fn bench(db: &Db, presence: &[(&'static str, &str)], xml: &[(&'static str, &str)]) -> Bench {
    let url = [("db_url", db.url.as_str())];
    let presence: Vec<(&'static str, &str)> = url.iter().chain(presence).copied().collect();
    let xml: Vec<(&'static str, &str)> = url.iter().chain(xml).copied().collect();
    Bench::new(&[(&presence::MODULE, &presence), (&MODULE, &xml)])
}

const EVERYONE: &[(&str, &str)] = &[("force_active", "1")];

/// The tag of the fake proxy.
const OUR_TAG: &str = "local-tag";

struct Request<'a> {
    method: &'a str,
    call_id: &'a str,
    from: &'a str,
    to_tag: &'a str,
    cseq: u32,
    headers: &'a str,
    body: &'a str,
}

const SUBSCRIBE: Request<'static> = Request {
    method: "SUBSCRIBE",
    call_id: "s-1",
    from: "sip:a@test.lan",
    to_tag: "",
    cseq: 1,
    headers: "Event: presence\nExpires: 600\nContact: <sip:a@192.0.2.1:5070>\n",
    body: "",
};

const PUBLISH: Request<'static> = Request {
    method: "PUBLISH",
    call_id: "p-1",
    from: "sip:bob@test.lan",
    to_tag: "",
    cseq: 1,
    headers: "Event: presence\nExpires: 300\n",
    body: OPEN,
};

const OPEN: &str = "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:bob@test.lan\"><tuple id=\"t\"><status><basic>open</basic></status></tuple></presence>";

/// The reply: status and header lines of its own.
fn send(bench: &mut Bench, request: &Request<'_>) -> (u16, String) {
    let Request {
        method,
        call_id,
        from,
        to_tag,
        cseq,
        headers,
        body,
    } = request;
    let tag = if to_tag.is_empty() {
        String::new()
    } else {
        format!(";tag={to_tag}")
    };
    bench.receive(&format!(
        "{method} sip:bob@test.lan SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{call_id}{cseq}\nFrom: <{from}>;tag=f\n\
         To: <sip:bob@test.lan>{tag}\nCall-ID: {call_id}\nCSeq: {cseq} {method}\n{headers}Content-Length: {}\n\n{body}",
        body.len()
    ));
    let function = if *method == "PUBLISH" {
        "handle_publish"
    } else {
        "handle_subscribe"
    };
    let code = bench.call(function, &[]);
    let reply = bench.host.replies.pop().expect("a reply");
    assert_eq!(code > 0, reply.status < 300);
    assert!(bench.ctx.reply_headers.is_empty());
    (reply.status, String::from_utf8(reply.headers).unwrap())
}

/// What was sent, in brief: CSeq, Subscription-State, first words of the body.
fn notified(bench: &mut Bench) -> Vec<String> {
    let sent = std::mem::take(&mut bench.host.originated);
    sent.iter().map(brief).collect()
}

fn brief(request: &LocalRequest) -> String {
    assert_eq!(request.method, b"NOTIFY");
    let headers = String::from_utf8_lossy(&request.headers);
    let state = headers
        .lines()
        .find_map(|line| line.strip_prefix("Subscription-State: "));
    let body = String::from_utf8_lossy(&request.body);
    let said = ["open", "closed", "partial", "full"]
        .iter()
        .find(|word| body.contains(*word));
    format!("{} {} {}", request.cseq, state.unwrap(), said.unwrap_or(&"-"))
}

fn etag(headers: &str) -> String {
    let line = headers.lines().find_map(|line| line.strip_prefix("SIP-ETag: "));
    line.expect("an entity-tag").to_owned()
}

#[test]
fn every_mode_serves_the_same() {
    for (mode, cache, first) in [("0", "2", 2), ("1", "1", 2), ("2", "0", 2), ("3", "1", 1)] {
        let db = Db::new(TABLES, &[]);
        let mut bench = bench(&db, &[("subs_db_mode", mode), ("publ_cache", cache)], EVERYONE);
        let (status, headers) = send(&mut bench, &SUBSCRIBE);
        assert_eq!(
            (status, headers.as_str()),
            (
                200,
                "Expires: 600\r\nContact: <sip:127.0.0.1:5060;transport=udp>\r\n"
            )
        );
        assert_eq!(notified(&mut bench), [format!("{first} active;expires=600 -")]);
        let (status, headers) = send(&mut bench, &PUBLISH);
        assert_eq!(status, 200);
        assert_eq!(
            notified(&mut bench),
            [format!("{} active;expires=600 open", first + 1)]
        );
        let line = format!("SIP-If-Match: {}\n{}", etag(&headers), PUBLISH.headers);
        let again = Request {
            headers: &line,
            body: "",
            ..PUBLISH
        };
        let (status, headers) = send(&mut bench, &again);
        assert_eq!(status, 200);
        assert_eq!(
            notified(&mut bench),
            [format!("{} active;expires=600 open", first + 2)]
        );
        assert_eq!(send(&mut bench, &again).0, 412);
        let line = format!("SIP-If-Match: {}\nEvent: presence\nExpires: 0\n", etag(&headers));
        let remove = Request {
            headers: &line,
            body: "",
            ..PUBLISH
        };
        assert_eq!(send(&mut bench, &remove).0, 200);
        assert_eq!(
            notified(&mut bench),
            [format!("{} active;expires=600 closed", first + 3)]
        );
        assert_eq!(send(&mut bench, &remove).0, 412);
        let end = Request {
            to_tag: OUR_TAG,
            cseq: 2,
            headers: "Event: presence\nExpires: 0\n",
            ..SUBSCRIBE
        };
        assert_eq!(send(&mut bench, &end).0, 200);
        assert_eq!(
            notified(&mut bench),
            [format!("{} terminated;reason=timeout -", first + 4)]
        );
        assert_eq!(send(&mut bench, &end).0, 481);
    }
}

#[test]
fn subscriptions_and_publications_outlive_a_restart() {
    for (mode, cache) in [("1", "1"), ("2", "0"), ("3", "0")] {
        let db = Db::new(TABLES, &[]);
        let parameters = [("subs_db_mode", mode), ("publ_cache", cache)];
        let mut before = bench(&db, &parameters, EVERYONE);
        send(&mut before, &SUBSCRIBE);
        send(&mut before, &PUBLISH);
        (presence::MODULE.stop.unwrap())(&before.script);
        let mut after = bench(&db, &parameters, EVERYONE);
        let refresh = Request {
            to_tag: OUR_TAG,
            cseq: 2,
            ..SUBSCRIBE
        };
        assert_eq!(send(&mut after, &refresh).0, 200);
        let first = if mode == "3" { 3 } else { 4 };
        assert_eq!(notified(&mut after), [format!("{first} active;expires=600 open")]);
    }
}

#[test]
fn what_cannot_be_served_is_refused() {
    let db = Db::new(TABLES, &[]);
    let parameters = [("min_expires", "100"), ("max_expires", "1000")];
    let mut bench = bench(&db, &parameters, EVERYONE);
    let events = "Allow-Events: xcap-diff, presence.winfo, presence\r\n";
    for (request, status, headers) in [
        (
            Request {
                headers: "Event: zz\n",
                ..PUBLISH
            },
            489,
            events,
        ),
        (
            Request {
                headers: "",
                ..SUBSCRIBE
            },
            489,
            events,
        ),
        (Request { body: "", ..PUBLISH }, 400, ""),
        (
            Request {
                body: "hello",
                ..PUBLISH
            },
            415,
            "Accept: application/pidf+xml\r\n",
        ),
        (
            Request {
                body: "<other/>",
                ..PUBLISH
            },
            415,
            "Accept: application/pidf+xml\r\n",
        ),
        (
            Request {
                headers: "Event: presence\nSIP-If-Match: x\n",
                ..PUBLISH
            },
            412,
            "",
        ),
        (
            Request {
                headers: "Event: presence\nExpires: 50\nContact: <sip:a@b>\n",
                ..SUBSCRIBE
            },
            423,
            "Min-Expires: 100\r\n",
        ),
        (
            Request {
                headers: "Event: presence\n",
                ..SUBSCRIBE
            },
            400,
            "",
        ),
        (
            Request {
                to_tag: "other",
                ..SUBSCRIBE
            },
            481,
            "",
        ),
    ] {
        assert_eq!(
            send(&mut bench, &request),
            (status, headers.to_owned()),
            "{}",
            request.headers
        );
        assert!(bench.host.originated.is_empty());
    }
    let long = Request {
        headers: "Event: presence;id=7\nExpires: 9000\nContact: <sip:a@b>\n",
        ..SUBSCRIBE
    };
    assert!(send(&mut bench, &long).1.starts_with("Expires: 1000\r\n"));
    let sent = bench.host.originated.pop().unwrap();
    assert!(String::from_utf8_lossy(&sent.headers).starts_with("Event: presence;id=7\r\n"));
    let large = "x".repeat(presence::BODY_MAX + 1);
    assert_eq!(
        send(
            &mut bench,
            &Request {
                body: &large,
                ..PUBLISH
            }
        )
        .0,
        413
    );
    for _ in 0..64 {
        assert_eq!(send(&mut bench, &PUBLISH).0, 200);
    }
    assert_eq!(send(&mut bench, &PUBLISH).0, 503);
}

#[test]
fn a_request_within_the_dialog_must_be_newer() {
    let db = Db::new(TABLES, &[]);
    let mut bench = bench(&db, &[], EVERYONE);
    send(&mut bench, &Request { cseq: 5, ..SUBSCRIBE });
    let within = |cseq, headers| Request {
        to_tag: OUR_TAG,
        cseq,
        headers,
        ..SUBSCRIBE
    };
    assert_eq!(send(&mut bench, &within(5, SUBSCRIBE.headers)).0, 400);
    assert_eq!(send(&mut bench, &within(6, "Event: presence.winfo\n")).0, 481);
    notified(&mut bench);
    let moved = "Event: presence\nContact: <sip:a@192.0.2.9>\n";
    assert_eq!(send(&mut bench, &within(7, moved)).0, 200);
    let sent = bench.host.originated.pop().unwrap();
    assert_eq!((sent.uri, sent.cseq), (b"sip:a@192.0.2.9".to_vec(), 3));
}

#[test]
fn a_notify_follows_the_route_set() {
    let db = Db::new(TABLES, &[]);
    let mut bench = bench(&db, &[("server_address", "sip:pres@here")], EVERYONE);
    let routed = format!(
        "Record-Route: <sip:192.0.2.7;lr>, <sip:192.0.2.8;lr>\n{}",
        SUBSCRIBE.headers
    );
    send(
        &mut bench,
        &Request {
            headers: &routed,
            ..SUBSCRIBE
        },
    );
    let sent = bench.host.originated.pop().unwrap();
    assert_eq!(sent.dst_uri.as_deref(), Some(&b"sip:192.0.2.7;lr"[..]));
    assert_eq!(
        String::from_utf8_lossy(&sent.headers),
        "Route: <sip:192.0.2.7;lr>,<sip:192.0.2.8;lr>\r\nEvent: presence\r\nContact: <sip:pres@here>\r\n\
         Subscription-State: active;expires=600\r\n"
    );
    assert_eq!(
        (sent.from, sent.to, sent.to_tag.as_deref()),
        (
            b"<sip:bob@test.lan>".to_vec(),
            b"<sip:a@test.lan>".to_vec(),
            Some(&b"f"[..])
        )
    );
}

#[test]
fn the_answer_to_a_notify_may_end_the_subscription() {
    for (status, timeout_rm_subs, stays) in [
        (200, "1", true),
        (500, "1", true),
        (481, "1", false),
        (404, "1", false),
        (408, "1", false),
        (408, "0", true),
    ] {
        let db = Db::new(TABLES, &[]);
        let mut bench = bench(&db, &[("timeout_rm_subs", timeout_rm_subs)], EVERYONE);
        send(&mut bench, &SUBSCRIBE);
        let done = bench.host.originated.pop().and_then(|sent| sent.done).unwrap();
        done(&mut LocalReply {
            status,
            message: None,
            request: b"",
            host: &mut bench.host,
            script: &bench.script,
        });
        send(&mut bench, &PUBLISH);
        assert_eq!(bench.host.originated.len(), usize::from(stays), "{status}");
    }
}

fn pass(bench: &mut Bench, seconds: u64) {
    bench.host.wall += Duration::from_secs(seconds);
    for timer in presence::MODULE.timers {
        (timer.run)(&mut bench.env());
    }
}

#[test]
fn what_runs_out_is_told() {
    let db = Db::new(TABLES, &[]);
    let mut bench = bench(&db, &[], EVERYONE);
    send(&mut bench, &SUBSCRIBE);
    send(&mut bench, &PUBLISH);
    notified(&mut bench);
    pass(&mut bench, 299);
    assert!(notified(&mut bench).is_empty());
    pass(&mut bench, 1);
    assert_eq!(notified(&mut bench), ["4 active;expires=300 -"]);
    pass(&mut bench, 300);
    assert_eq!(notified(&mut bench), ["5 terminated;reason=timeout -"]);
    assert_eq!(
        bench.call("pres_has_subscribers", &["sip:bob@test.lan", "presence"]),
        -1
    );
}

#[test]
fn watchers_are_watched() {
    let db = Db::new(TABLES, &[]);
    let mut bench = bench(&db, &[], EVERYONE);
    let winfo = Request {
        call_id: "w",
        from: "sip:bob@test.lan",
        headers: "Event: presence.winfo\nExpires: 600\nContact: <sip:b@192.0.2.2>\n",
        ..SUBSCRIBE
    };
    send(&mut bench, &winfo);
    assert_eq!(notified(&mut bench), ["2 active;expires=600 full"]);
    send(&mut bench, &SUBSCRIBE);
    assert_eq!(
        notified(&mut bench),
        ["3 active;expires=600 partial", "2 active;expires=600 -"]
    );
    let end = Request {
        to_tag: OUR_TAG,
        cseq: 2,
        headers: "Event: presence\nExpires: 0\n",
        ..SUBSCRIBE
    };
    send(&mut bench, &end);
    assert_eq!(
        notified(&mut bench),
        ["4 active;expires=600 full", "3 terminated;reason=timeout -"]
    );
}

const RULES: &str = r#"INSERT INTO xcap (username, domain, doc, doc_type, etag, source, doc_uri, port) VALUES ('bob', 'test.lan',
'<ruleset><rule><conditions><identity><one id="sip:a@test.lan"/></identity></conditions><actions><sub-handling>allow</sub-handling></actions></rule>
<rule><conditions><identity><one id="sip:x@test.lan"/></identity></conditions><actions><sub-handling>block</sub-handling></actions></rule>
<rule><conditions><identity><one id="sip:p@test.lan"/></identity></conditions><actions><sub-handling>polite-block</sub-handling></actions></rule></ruleset>',
2, 'e', 0, 'u', 0)"#;

#[test]
fn the_rules_say_who_may_watch() {
    let mut db = Db::new(TABLES, &[RULES]);
    let ruled = [("integrated_xcap_server", "1")];
    let mut bench = bench(&db, &[], &ruled);
    send(&mut bench, &PUBLISH);
    for (from, status, told) in [
        ("sip:a@test.lan", 1, "2 active;expires=600 open"),
        ("sip:x@test.lan", 3, "1 terminated;reason=rejected -"),
        ("sip:p@test.lan", 5, "2 active;expires=600 -"),
        ("sip:z@test.lan", 2, "2 pending;expires=600 -"),
    ] {
        let request = Request {
            from,
            call_id: from,
            ..SUBSCRIBE
        };
        assert_eq!(send(&mut bench, &request).0, 200);
        assert_eq!(notified(&mut bench), [told], "{from}");
        assert_eq!(
            bench.call("pres_auth_status", &[from, "sip:bob@test.lan"]),
            status
        );
    }
    db.connection
        .raw(
            "UPDATE xcap SET doc = replace(replace(doc, 'sip:a@', 'sip:z@'), 'sip:p@', 'sip:q@')",
            &[],
        )
        .unwrap();
    assert_eq!(
        bench.call("pres_update_watchers", &["sip:bob@test.lan", "presence"]),
        1
    );
    assert_eq!(
        notified(&mut bench),
        [
            "3 pending;expires=600 -",
            "3 pending;expires=600 -",
            "3 active;expires=600 open"
        ]
    );
    let winfo = |from| Request {
        call_id: "w",
        from,
        headers: "Event: presence.winfo\nContact: <sip:b@192.0.2.2>\n",
        ..SUBSCRIBE
    };
    send(&mut bench, &winfo("sip:a@test.lan"));
    assert_eq!(notified(&mut bench), ["1 terminated;reason=rejected -"]);
    send(&mut bench, &winfo("sip:bob@test.lan"));
    assert_eq!(notified(&mut bench), ["2 active;expires=3600 full"]);
}

#[test]
fn scripts_ask_what_was_published() {
    let db = Db::new(TABLES, &[]);
    let mut bench = bench(&db, &[], EVERYONE);
    let ask = |bench: &mut Bench, name: &str, what: &str| bench.call(name, &["sip:bob@test.lan", what]);
    assert_eq!(ask(&mut bench, "pres_check_basic", "open"), -1);
    assert_eq!(ask(&mut bench, "pres_check_activities", "busy"), -1);
    assert_eq!(ask(&mut bench, "pres_has_subscribers", "presence"), -1);
    send(&mut bench, &PUBLISH);
    send(&mut bench, &SUBSCRIBE);
    assert_eq!(ask(&mut bench, "pres_check_basic", "open"), 1);
    assert_eq!(ask(&mut bench, "pres_check_basic", "closed"), -1);
    assert_eq!(ask(&mut bench, "pres_check_activities", "busy"), -2);
    assert_eq!(ask(&mut bench, "pres_has_subscribers", "presence"), 1);
    assert_eq!(ask(&mut bench, "pres_update_watchers", "presence"), -1);
    notified(&mut bench);
    assert_eq!(
        bench.call("pres_refresh_watchers", &["sip:bob@test.lan", "presence", "1"]),
        1
    );
    assert_eq!(notified(&mut bench), ["3 active;expires=600 open"]);
}

#[test]
fn rules_must_be_somewhere() {
    let db = Db::new(TABLES, &[]);
    let parameters = [("db_url", db.url.as_str())];
    let started = Bench::try_new(&[(&presence::MODULE, &parameters), (&MODULE, &parameters)], None);
    assert!(matches!(
        started,
        Err(InitError::Param {
            name: "force_active",
            ..
        })
    ));
}
