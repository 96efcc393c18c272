//! `loadmodule "textops"` and `"siputils"`: looking at and changing the message as text.

use super::Fragment;
use super::run;

const FRAGMENTS: &[Fragment] = &[
    (r#"if (is_method("OPTIONS|INVITE")) { $var(r) = "yes"; }"#, "yes"),
    (r#"if (is_present_hf("X-One")) { $var(r) = "yes"; }"#, "yes"),
    (r#"if (!is_present_hf("X-None")) { $var(r) = "no"; }"#, "no"),
    (r#"if (has_body("text/plain")) { $var(r) = "yes"; }"#, "yes"),
    (r#"if (!has_body("application/sdp")) { $var(r) = "no"; }"#, "no"),
    (r#"if (search("X-One: first")) { $var(r) = "found"; }"#, "found"),
    (r#"if (search_body("hel+o")) { $var(r) = "found"; }"#, "found"),
    (r#"if (starts_with("$rU", "serv")) { $var(r) = "yes"; }"#, "yes"),
    (
        r#"append_hf("X-New: 1\r\n"); $var(r) = $hdr(X-New) + "later";"#,
        "later",
    ),
    (
        r#"append_hf("X-New: 1\r\n"); msg_apply_changes(); $var(r) = $hdr(X-New);"#,
        "1",
    ),
    (
        r#"remove_hf("X-One"); msg_apply_changes(); if ($hdr(X-One) == $null) { $var(r) = "gone"; }"#,
        "gone",
    ),
    (r#"subst_uri("/service/desk/"); $var(r) = $rU;"#, "desk;x=1"),
    (r#"strip(3); $var(r) = $rU;"#, "vice;x=1"),
    (r#"prefix("00"); $var(r) = $rU;"#, "00service;x=1"),
    (
        r#"if (has_totag()) { $var(r) = "in"; } else { $var(r) = "out"; }"#,
        "out",
    ),
    (r#"if (is_request()) { $var(r) = "request"; }"#, "request"),
    (
        r#"if (is_user("nobody")) { $var(r) = "yes"; } else { $var(r) = "no"; }"#,
        "no",
    ),
    (
        r#"if (uri_param("transport", "udp")) { $var(r) = "yes"; }"#,
        "yes",
    ),
    (r#"if (in_list("b", "a,b,c", ",")) { $var(r) = "in"; }"#, "in"),
];

#[test]
fn fragments() {
    run(&["textopsx"], FRAGMENTS);
}
