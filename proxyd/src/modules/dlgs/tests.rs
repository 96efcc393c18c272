//! The module on a fake proxy.

use super::MODULE;
use crate::control::methods::Peer;
use crate::control::methods::RpcCall;
use crate::control::methods::RpcReply;
use crate::script::compile::parse_format;
use crate::script::module::Hook;
use crate::script::module::TransactionEnd;
use crate::script::testing::Bench;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

fn message(line: &str, call_id: &str, method: &str, to_tag: &str) -> String {
    format!(
        "{line}\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\nFrom: <sip:alice@a>;tag=f\nTo: <sip:bob@b>{to_tag}\nCall-ID: {call_id}\nCSeq: 1 {method}\nContent-Length: 0\n\n"
    )
}

fn request(bench: &mut Bench, method: &str, call_id: &str) {
    bench.receive(&message(
        &format!("{method} sip:bob@b SIP/2.0"),
        call_id,
        method,
        "",
    ));
}

fn read(bench: &mut Bench, text: &str) -> String {
    let format =
        parse_format(text.as_bytes(), &bench.script.modules, &bench.script.program).expect("a format");
    let mut out = Vec::new();
    format.print(&bench.env(), &mut out);
    String::from_utf8(out).expect("text")
}

fn answer(bench: &mut Bench, status: u16) {
    for hook in MODULE.hooks {
        if let Hook::ResponseOut(run) = hook {
            run(
                &mut bench.env(),
                &TransactionEnd {
                    status,
                    reason: b"",
                    reply: None,
                    to_tag: b"t",
                },
            );
        }
    }
}

#[test]
fn calls_are_followed() {
    let mut bench = Bench::new(&[(&MODULE, &[])]);
    for call_id in ["one", "two"] {
        request(&mut bench, "INVITE", call_id);
        assert_eq!(bench.call("dlgs_init", &["sip:alice@a", "sip:bob@b", "data"]), 1);
    }
    assert_eq!(bench.call("dlgs_tags_add", &["t"]), 1);
    assert_eq!(
        read(
            &mut bench,
            "$dlgs(src) $dlgs(dst) $dlgs(data) $dlgs(state) $dlgs(lifetime) $dlgs(count)"
        ),
        "sip:alice@a sip:bob@b data init 180 2"
    );
    for (field, operator, text, code) in [
        ("src", "eq", "sip:alice@a", 2),
        ("dst", "sw", "sip:bob", 2),
        ("data", "re", "^zz", -1),
        ("data", "fm", "d*a", 2),
        ("any", "eq", "*", 2),
        ("src", "ne", "sip:alice@a", -1),
        ("src", "xx", "a", -1),
        ("xx", "eq", "a", -1),
    ] {
        assert_eq!(
            bench.call("dlgs_count", &[field, operator, text]),
            code,
            "{field} {operator} {text}"
        );
    }
    bench.receive(&message("SIP/2.0 180 Ringing", "two", "INVITE", ";tag=b"));
    for hook in MODULE.hooks {
        if let Hook::ResponseForwarded(run) = hook {
            run(&mut bench.env());
        }
    }
    assert_eq!(read(&mut bench, "$dlgs(state)"), "progress");
    request(&mut bench, "INVITE", "two");
    answer(&mut bench, 200);
    assert_eq!(read(&mut bench, "$dlgs(state)"), "answered");
    request(&mut bench, "ACK", "two");
    assert_eq!(bench.call("dlgs_update", &[]), 1);
    assert_eq!(
        read(&mut bench, "$dlgs(state) $dlgs(lifetime)"),
        "confirmed 10800"
    );
    assert_eq!(
        (
            bench.call("dlgs_tags_count", &["t"]),
            bench.call("dlgs_tags_count", &["x"])
        ),
        (1, -1)
    );
    assert_eq!(
        (
            bench.call("dlgs_tags_rm", &["t"]),
            bench.call("dlgs_tags_rm", &["t"])
        ),
        (1, -1)
    );
    request(&mut bench, "INVITE", "one");
    answer(&mut bench, 486);
    assert_eq!(read(&mut bench, "$dlgs(state) $dlgs(lifetime)"), "notanswered 10");
    request(&mut bench, "BYE", "two");
    assert_eq!(bench.call("dlgs_count", &["any", "eq", ""]), 1);
    assert_eq!(bench.call("dlgs_update", &[]), 1);
    assert_eq!(bench.call("dlgs_count", &["any", "eq", ""]), -1);
    request(&mut bench, "BYE", "three");
    assert_eq!(bench.call("dlgs_update", &[]), -1);
    assert_eq!(read(&mut bench, "$dlgs(state)"), "<null>");
    bench.host.wall += Duration::from_secs(11);
    (MODULE.timers[0].run)(&mut bench.env());
    request(&mut bench, "BYE", "two");
    assert_eq!(read(&mut bench, "$dlgs(state)"), "<null>");
}

#[test]
fn operators_see_calls() {
    let mut old = Bench::new(&[(&MODULE, &[])]);
    request(&mut old, "INVITE", "one");
    old.call("dlgs_init", &["a", "b", "c"]);
    let none: &[(&'static str, &str)] = &[];
    let bench = Bench::try_new(&[(&MODULE, none)], Some(&old.script.states)).expect("reloads");
    let script = Arc::new(bench.script);
    let ask = |method: &str, params: &[serde_json::Value]| {
        let def = MODULE.rpcs.iter().find(|rpc| rpc.name == method).unwrap();
        let reply = (def.call)(
            &RpcCall {
                method,
                params,
                peer: &Peer::internal(),
            },
            &script,
        );
        reply
            .and_then(RpcReply::into_value)
            .unwrap_or_else(|fault| json!(fault.to_string()))
    };
    assert_eq!(
        ask("dlgs.briefing", &[]),
        json!([{"src": "a", "dst": "b", "data": "c", "state": "init"}])
    );
    assert_eq!(ask("dlgs.list", &[])[0]["callid"], "one");
    let stats =
        json!({"init": 1, "progress": 0, "answered": 0, "confirmed": 0, "terminated": 0, "notanswered": 0});
    assert_eq!(ask("dlgs.stats", &[]), stats);
    let filter = |text: &str| [json!("src"), json!("eq"), json!(text)];
    assert_eq!(ask("dlgs.get", &filter("a"))["dst"], "b");
    assert_eq!(ask("dlgs.get", &filter("x")), "404 Not found");
    assert_eq!(ask("dlgs.getall", &filter("x")), json!([]));
    assert_eq!(ask("dlgs.count", &filter("a")), json!({"count": 1}));
    assert!(ask("dlgs.count", &[]).as_str().unwrap().starts_with("400"));
}
