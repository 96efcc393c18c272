//! The sandbox shows what a script would do, and does none of it.

use super::explain;
use crate::control::methods::Peer;
use crate::control::methods::RpcCall;
use crate::runtime::Runtime;
use crate::runtime::micro;
use crate::script::module::Script;
use crate::script::testing;
use serde_json::Value;
use serde_json::json;
use std::sync::Arc;

const SCRIPT: &str = r#"loadmodule "sl"
loadmodule "tm"
loadmodule "usrloc"
loadmodule "registrar"
loadmodule "htable"
modparam("htable", "htable", "seen=>size=4;")
request_route {
    $sht(seen=>$fU) = 1;
    if (method == "REGISTER") {
        save("location");
        exit;
    }
    if ($sht(seen=>$fU) == 1) sl_send_reply("500", "written");
    t_on_branch("OUT");
    if (!lookup("location")) {
        sl_send_reply("404", "Not Found");
        exit;
    }
    t_relay();
}
branch_route[OUT] {
    $var(out) = $ru;
}
"#;

fn runtime() -> Arc<Runtime> {
    micro::runtime(SCRIPT, None, testing::tokio())
}

fn rpc(script: &Arc<Script>, method: &str, params: &[Value]) -> Result<Value, String> {
    let mut rows = script.modules.iter().flat_map(|module| module.def.rpcs);
    let row = rows.find(|row| row.name == method).expect("a method");
    let peer = Peer::internal();
    let call = RpcCall {
        method,
        params,
        peer: &peer,
    };
    let reply = (row.call)(&call, script).map_err(|fault| fault.to_string())?;
    reply.into_value().map_err(|fault| fault.to_string())
}

fn request(method: &str, more: &str) -> String {
    format!(
        "{method} sip:bob@127.0.0.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bK1\nMax-Forwards: 70\n\
         From: <sip:al@127.0.0.1>;tag=f\nTo: <sip:bob@127.0.0.1>\nCall-ID: c\nCSeq: 1 {method}\n{more}Content-Length: 0\n\n"
    )
}

fn lines(report: &Value, list: &str, of: &[&str]) -> String {
    let rows = report[list].as_array().expect("a list");
    let row = |row: &Value| {
        let cells: Vec<String> = of
            .iter()
            .map(|name| {
                row[*name]
                    .as_str()
                    .map_or_else(|| row[*name].to_string(), str::to_owned)
            })
            .collect();
        cells.join(" | ")
    };
    rows.iter().map(row).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_register_changes_nothing() {
    let runtime = runtime();
    let script = runtime.script.load_full();
    let text = request("REGISTER", "Contact: <sip:bob@192.0.2.9>\n");
    let report = explain(&runtime, &script, &text, None).expect("a report");
    assert_eq!(report["end"], "exit");
    assert_eq!(report["steps"][3]["text"], "if (method == \"REGISTER\") {");
    assert_eq!(
        lines(&report, "sent", &["kind", "line", "to"]),
        "reply | SIP/2.0 200 OK | udp:192.0.2.7:5070"
    );
    insta::assert_snapshot!(lines(&report, "steps", &["line", "what", "result", "values"]), @r#"
    7 | enter | request_route | {}
    8 | assign | $sht(seen=>$fU) = 1 | {}
    8 | note | $sht(seen=>$fU) is not set: other messages would see it | {}
    9 | condition | true | {"method":"REGISTER"}
    10 | note | would save in location: <sip:bob@192.0.2.9> | {}
    10 | call | save() = 1 | {}
    11 | exit |  | {}
    7 | leave | 0 | {}
    "#);
    assert!(rpc(&script, "ul.lookup", &[json!("location"), json!("bob")]).is_err());
    assert!(rpc(&script, "htable.get", &[json!("seen"), json!("al")]).is_err());
}

#[test]
fn an_invite_shows_where_it_would_go() {
    let runtime = runtime();
    let script = runtime.script.load_full();
    let text = request("INVITE", "");
    let report = explain(&runtime, &script, &text, Some("udp:192.0.2.8:5090")).expect("a report");
    assert_eq!(
        lines(&report, "sent", &["kind", "line", "to"]),
        "reply | SIP/2.0 404 Not Found | udp:192.0.2.8:5070"
    );
    let add = ["location", "bob", "sip:bob@192.0.2.9:5062"].map(Value::from);
    let rest = [
        json!(0),
        json!(1.0),
        json!("."),
        json!(0),
        json!(0),
        json!(0xffff_ffff_u32),
    ];
    rpc(&script, "ul.add", &[&add[..], &rest].concat()).expect("a contact");
    let report = explain(&runtime, &script, &text, None).expect("a report");
    assert_eq!(
        lines(&report, "sent", &["kind", "line", "to", "from"]),
        "reply | SIP/2.0 100 trying -- your call is important to us | udp:192.0.2.7:5070 | udp:127.0.0.1:5060\n\
         relay | INVITE sip:bob@192.0.2.9:5062 SIP/2.0 | udp:192.0.2.9:5062 | udp:127.0.0.1:5060"
    );
    assert!(lines(&report, "steps", &["result"]).contains("$var(out) = sip:bob@192.0.2.9:5062"));
    assert!(explain(&runtime, &script, "SIP/2.0 200 OK\n\n", None).is_err());
    assert!(explain(&runtime, &script, &text, Some("somewhere")).is_err());
}
