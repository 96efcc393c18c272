//! Questions to a web server of the test.

use super::*;
use crate::modules::http::server::Server;
use crate::script::module::CompiledArg;
use crate::script::testing::Bench;
use serde_json::json;

const OK: &str = "HTTP/1.1 200 OK\r\nX-Token: abc\r\nContent-Length: 12\r\n\r\nfirst\nsecond";
const BROKEN: &str = "HTTP/1.1 500 Broken\r\nContent-Length: 4\r\n\r\nhelp";
const MOVED: &str = "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n";

fn texts(args: &[&str]) -> Vec<CompiledArg> {
    let texts = args.iter().map(|arg| CompiledArg::Text(arg.as_bytes().into()));
    texts.chain([crate::script::testing::pv("$var(r)")]).collect()
}

/// Calls a function whose last argument is `$var(r)`: what it returns and leaves there.
fn ask(bench: &mut Bench, name: &str, args: &[&str]) -> (i32, String) {
    let args = texts(args);
    let code = bench.call_with(name, &args);
    let Some(CompiledArg::Pv(result)) = args.last() else {
        panic!("the result is last")
    };
    let value = result.read(&bench.env()).to_text().into_owned();
    (code, String::from_utf8(value).expect("text"))
}

#[test]
fn queries_give_a_line_and_the_status() {
    let server = Server::start(&[OK, BROKEN, OK, OK]);
    let mut bench = Bench::new(&[(&MODULE, &[])]);
    let url = server.url("/a");
    for (name, args, expected) in [
        ("http_client_query", &[&*url][..], (200, "first")),
        ("http_client_query", &[&url, "a=b"], (500, "")),
        ("http_client_get", &[&url, "", "X-A: b"], (200, "first")),
        ("http_client_request", &["PUT", &url, "x", ""], (200, "first")),
        ("http_client_query", &["nowhere"], (3, "")),
    ] {
        let got = ask(&mut bench, name, args);
        assert_eq!((got.0, &*got.1), expected, "{name} {args:?}");
    }
    let seen = server.seen();
    for (seen, start) in seen.iter().zip(["GET /a ", "POST /a ", "GET /a ", "PUT /a "]) {
        assert!(seen.starts_with(start), "{seen}");
    }
    assert!(
        seen[1].contains("content-type: application/x-www-form-urlencoded\r\n") && seen[1].ends_with("a=b")
    );
    assert!(seen[2].contains("x-a: b\r\n"));
    let state = bench.script.states.get::<HttpClient>().unwrap();
    assert_eq!((state.ok.value(), state.failed.value()), (3, 2));
}

#[test]
fn connections_follow_and_fail_over() {
    let server = Server::start(&[OK, MOVED, OK, BROKEN, OK]);
    let (one, bad) = (
        format!("one=>{}", server.url("/base")),
        format!("bad=>{};failover=dead;httpredirect=0", server.url("/x/")),
    );
    let mut bench = Bench::new(&[(
        &MODULE,
        &[
            ("httpredirect", "1"),
            ("httpcon", &one),
            ("httpcon", &bad),
            ("httpcon", "dead=>http://127.0.0.1:1/;failover=one"),
            ("httpcon", "round=>http://127.0.0.1:1/;failover=round"),
        ],
    )]);
    let whole = "first\nsecond";
    for (name, args, expected) in [
        ("http_connect", &["one", "/p?x=1"][..], (200, whole)),
        ("http_connect", &["one", "p"], (200, whole)),
        ("http_connect_raw", &["bad", "", "text/x", "$ru"], (200, whole)),
        ("http_connect", &["round", "", "text/x", ""], (7, "")),
        ("http_connect", &["none", ""], (-1, "")),
    ] {
        let got = ask(&mut bench, name, args);
        assert_eq!((got.0, &*got.1), expected, "{name} {args:?}");
    }
    let seen = server.seen();
    let lines: Vec<&str> = seen.iter().filter_map(|seen| seen.lines().next()).collect();
    assert_eq!(
        lines,
        [
            "GET /base/p?x=1 HTTP/1.1",
            "GET /base/p HTTP/1.1",
            "GET /there HTTP/1.1",
            "POST /x/ HTTP/1.1",
            "POST /base HTTP/1.1",
        ]
    );
    assert!(seen[4].ends_with("$ru"));
    assert_eq!(
        ask(&mut bench, "http_get_redirect", &["one"]).1,
        server.url("/base")
    );
    let listed = bench.rpc(&MODULE, "httpclient.listcon", &[]);
    assert_eq!(listed[2]["CONNECTION"]["FAILOVER"], json!("one"));
    assert_eq!(listed[0]["CONNECTION"]["SCHEMA"], json!("http"));
}

#[test]
fn headers_are_kept_when_asked_for() {
    let server = Server::start(&[OK, OK]);
    let mut bench = Bench::new(&[(&MODULE, &[])]);
    let url = server.url("/");
    ask(&mut bench, "http_client_query", &[&url]);
    let header = |bench: &mut Bench| {
        HEADERS
            .with_borrow(|kept| {
                let value = kept
                    .reply
                    .as_ref()
                    .and_then(|reply| reply.values(b"x-token").next());
                value.map(<[u8]>::to_vec)
            })
            .map(|value| (bench.ctx.id, value).1)
    };
    assert_eq!(header(&mut bench), None);
    bench.call("http_client_response_headers_set", &["1"]);
    ask(&mut bench, "http_client_query", &[&url]);
    assert_eq!(header(&mut bench).as_deref(), Some(&b"abc"[..]));
    bench.call("http_client_response_headers_clear", &[]);
    assert_eq!(header(&mut bench), None);
}

#[test]
fn what_is_wrong_is_refused() {
    for (name, value) in [
        ("httpcon", "x"),
        ("client_cert", "/nonexistent"),
        ("cacert", "/nonexistent"),
        ("config_file", "/nonexistent"),
        ("maxdatasize", "-1"),
    ] {
        assert!(
            Bench::try_new(&[(&MODULE, &[(name, value)])], None).is_err(),
            "{name}"
        );
    }
}
