//! Behaviour that a script sees, one file per module: fragments run on the subject, each with the result it must leave.

mod core;
mod permissions;
mod pv;
mod textops;

use std::fmt::Write;

use tests::message::Message;
use tests::wait;

use crate::support::House;

/// A fragment of script and what `$var(r)` holds after it.
type Fragment = (&'static str, &'static str);

/// Headers that every request of `run` carries, for fragments that read them.
const REQUEST: &str = "X-One: first\r\nX-Two: a, b\r\nX-One: second\r\nUser-Agent: Phone/1.0 (test)\r\n\
    Contact: <sip:caller@192.0.2.7:5070;transport=udp>;q=0.5\r\n";

/// Runs every fragment in a route of its own and compares what it leaves in `$var(r)`.
fn run(modules: &[&str], fragments: &[Fragment]) {
    let mut script = String::from(
        "debug=2\nlog_stderror=yes\nchildren=1\nauto_aliases=no\nalias=\"test.lan\"\ndns=no\nrev_dns=no\n",
    );
    for module in ["sl", "pv", "textops", "siputils", "tm", "xlog", "jsonrpcs"]
        .iter()
        .chain(modules)
    {
        let _ = writeln!(script, "loadmodule \"{module}.so\"");
    }
    script.push_str("request_route {\n    $var(r) = \"unset\";\n");
    for number in 0..fragments.len() {
        let _ = writeln!(script, "    if ($hdr(X-Test) == \"{number}\") route(T{number});");
    }
    script.push_str(
        "    append_to_reply(\"X-Result: [$var(r)]\\r\\n\");\n    sl_send_reply(\"200\", \"OK\");\n}\n",
    );
    for (number, (fragment, _)) in fragments.iter().enumerate() {
        let _ = writeln!(script, "route[T{number}] {{\n    {fragment}\n}}");
    }
    let house = House::open_text(&script, &[]);
    let mut phone = house.agent("caller");
    let mut wrong = Vec::new();
    for (number, (fragment, expected)) in fragments.iter().enumerate() {
        let request = format!(
            "OPTIONS sip:service;x=1@test.lan:5080;transport=udp SIP/2.0\r\nVia: SIP/2.0/UDP {};rport;branch=z9hG4bKf{number}\r\n\
             Max-Forwards: 70\r\nFrom: \"The Caller\" <sip:caller@example.com:5061>;tag=ft\r\nTo: <sip:called@test.lan;y=2>\r\n\
             Call-ID: fragment{number}@192.0.2.7\r\nCSeq: 7 OPTIONS\r\nX-Test: {number}\r\n{REQUEST}\
             Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
            phone.address
        );
        phone.send_bytes(request.as_bytes()).expect("a server");
        let reply = phone.receive(wait::PATIENCE);
        let found = reply
            .as_ref()
            .and_then(|reply: &Message| reply.value("X-Result"))
            .unwrap_or("no reply");
        let found = found.trim_start_matches('[').trim_end_matches(']');
        if found != *expected {
            wrong.push(format!("{fragment}\n    expected {expected:?}, found {found:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n--- log\n{}",
        wrong.join("\n"),
        house.server.log()
    );
}
