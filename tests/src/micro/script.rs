//! Scripts: a message from the bytes that came to the reply that is handed to the kernel.

use std::hint::black_box;

use proxyd::runtime::micro::Worker;

use super::Operation;
use super::Row;
use super::message;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "script-nothing",
        prepare: || {
            run(
                "request_route { exit; }",
                message::INVITE,
                "core:rcv_requests_invite",
            )
        },
    },
    Row {
        name: "script-language",
        prepare: || run(LANGUAGE, message::INVITE, "script:done"),
    },
    Row {
        name: "script-reply",
        prepare: || {
            run(
                "loadmodule \"sl.so\"\nrequest_route { sl_send_reply(\"200\", \"OK\"); }",
                message::OPTIONS,
                "sl:200_replies",
            )
        },
    },
    Row {
        name: "script-register",
        prepare: || run(REGISTER, message::REGISTER, "registrar:accepted_regs"),
    },
];

/// Conditions, variables, routes, transformations, a loop, flags and headers.
const LANGUAGE: &str = r#"
loadmodule "pv.so"
loadmodule "statistics.so"
loadmodule "textops.so"
modparam("statistics", "variable", "done")
request_route {
    if (is_method("REGISTER|SUBSCRIBE") || $rU == $null) exit;
    $var(user) = $(ru{uri.user});
    $var(sum) = 0;
    $var(i) = 0;
    while ($var(i) < 5) {
        $var(sum) = $var(sum) + $var(i) * 2;
        $var(i) = $var(i) + 1;
    }
    if ($var(sum) != 20 || !($fU =~ "^al.*e$")) exit;
    route(MARK);
    switch ($rm) {
        case "BYE":
            exit;
        case "INVITE":
            append_hf("X-User: $var(user) $(fU{s.len})\r\n");
    }
    update_stat("done", "+1");
}
route[MARK] {
    setflag(3);
    $avp(seen) = $ci + "@" + $si;
    if (isflagset(3) && $avp(seen) != "" && src_port > 1023) return 1;
    exit;
}
"#;

const REGISTER: &str = r#"
loadmodule "sl.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
request_route {
    save("location");
}
"#;

/// Has a worker handle the message; a counter tells that the script was reached and did what it should.
fn run(script: &'static str, message: &'static [u8], counter: &'static str) -> Operation {
    let mut worker = Worker::new(script);
    worker.handle(message);
    assert_eq!(worker.counter(counter), Some(1), "{counter}");
    Box::new(move || worker.handle(black_box(message)))
}
