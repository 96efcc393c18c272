//! Functions on a message, with the return codes of Kamailio 5.6.3.

use super::MODULE;
use crate::script::testing::Stage;

const MESSAGE: &str = "INFO sip:bob@test.lan SIP/2.0
Via: SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bKaa2;p1=x;rport
From: <sip:a@h>;tag=x
To: <sip:bob@h>
Call-ID: c2
CSeq: 1 INFO
X-Multi: 1
X-Multi: 2
X-Re-A: a
X-Keep: k
X-Idx: 0
X-Idx: 1
X-Idx: 2
P-A: 1
P-Keep: 1
X-M: one
X-M: two
Subject: hello
X-Rep: repl repl
X-Sub: sub value
X-Shf: aaa
X-Shf: ba
Privacy: id;critical
Content-Type: application/sdp
Content-Length: 62

v=0
m=audio 4000 RTP/AVP 0
a=rtpmap:0 PCMU/8000
a=sendonly
";

#[test]
fn return_codes() {
    let calls: &[(&str, &[&str], i32)] = &[
        ("search", &["subject"], 1),
        ("search", &["nothere"], -1),
        ("search", &["^Subject: h"], 1),
        ("search_body", &["pcmu"], 1),
        ("search_body", &["zz"], -1),
        ("search_hf", &["Subject", "he.*o", "a"], 1),
        ("search_hf", &["Subject", "zzz", "a"], -1),
        ("search_str", &["abc", "B"], 1),
        ("replace", &["nothere", "x"], -1),
        ("subst", &["/nothere/x/"], -1),
        ("subst_user", &["/zz/y/"], -1),
        ("subst_uri", &["/zzz/y/"], -1),
        ("remove_hf", &["Nope"], -1),
        ("remove_hf_re", &["^Zz"], -1),
        ("remove_hf_idx", &["X-Idx", "9"], 2),
        ("is_present_hf", &["X-Multi"], 1),
        ("is_present_hf", &["Zz"], -1),
        ("is_present_hf", &["v"], 1),
        ("is_present_hf_re", &["^X-K"], 1),
        ("has_body", &[], 1),
        ("has_body", &["application/sdp"], 1),
        ("has_body", &["text/plain"], -1),
        ("has_body", &["application/*"], -1),
        ("is_audio_on_hold", &[], 2),
        ("is_privacy", &["id"], 1),
        ("is_privacy", &["user"], -1),
        ("in_list", &["fi", "dk,fi,no", ","], 1),
        ("in_list", &["x", "dk,fi,no", ","], -1),
        ("in_list", &["", "a,b", ","], -1),
        ("in_list_prefix", &["final", "dk,fi,no", ","], 1),
        ("cmp_str", &["a", "a"], 1),
        ("cmp_str", &["a", "A"], -1),
        ("cmp_str", &["", ""], 1),
        ("cmp_istr", &["a", "A"], 1),
        ("starts_with", &["abc", "ab"], 1),
        ("starts_with", &["abc", "b"], -2),
        ("starts_with", &["bbc", "a"], -1),
        ("starts_with", &["", "x"], -1),
        ("starts_with", &["x", ""], 1),
        ("ends_with", &["abc", "bc"], 1),
        ("ends_with", &["ab", "abc"], -1),
        ("str_find", &["abc", "c"], 3),
        ("str_find", &["abc", "z"], -1),
        ("str_ifind", &["xxAbc", "a"], 3),
        ("str_any_in", &["abc", "xc"], 1),
        ("str_all_in", &["abc", "xc"], -1),
        ("is_method", &["INVITE"], -1),
        ("is_method", &["OPTIONS|INFO"], 1),
        ("is_method", &["info"], -1),
    ];
    for (name, args, expected) in calls {
        let mut stage = Stage::new(MESSAGE);
        assert_eq!(stage.call(&MODULE, name, args), *expected, "{name}{args:?}");
        assert!(
            *expected != 1 || stage.ctx.lumps.is_empty(),
            "{name}{args:?} edits"
        );
    }
}

/// Runs calls and shows the lines that differ.
fn edited(calls: &[(&str, &[&str])]) -> (String, String) {
    let mut stage = Stage::new(MESSAGE);
    let before = stage.edited();
    for (name, args) in calls {
        assert!(stage.call(&MODULE, name, args) > 0, "{name}{args:?}");
    }
    (before, stage.edited())
}

/// Lines only in one of the two.
fn changes(calls: &[(&str, &[&str])]) -> Vec<String> {
    let (before, after) = edited(calls);
    let gone = before
        .lines()
        .filter(|line| !after.lines().any(|other| other == *line))
        .map(|line| format!("-{line}"));
    let new = after
        .lines()
        .filter(|line| !before.lines().any(|other| other == *line))
        .map(|line| format!("+{line}"));
    gone.chain(new).collect()
}

#[test]
fn headers_are_added_in_order() {
    let (_, text) = edited(&[
        ("append_hf", &["X-Last: 1\r\n"]),
        ("append_hf", &["X-After-From: 1\r\n", "From"]),
        ("insert_hf", &["X-First: 1\r\n"]),
        ("insert_hf", &["X-Before-To: 1\r\n", "To"]),
        ("append_hf", &["X-NoEnd: 1"]),
        ("append_hf", &["X-After-Missing: 1\r\n", "Nope"]),
        ("insert_hf", &["X-Before-Missing: 1\r\n", "Nope"]),
        ("append_urihf", &["X-Uri: ", "\r\n"]),
        ("append_time_to_request", &[]),
    ]);
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    let expected = [
        "INFO sip",
        "X-First",
        "X-Before-Missing",
        "Via",
        "Date",
        "From",
        "X-After-From",
        "X-Before-To",
        "To",
        "Call-ID",
    ];
    assert_eq!(
        names.iter().copied().take(expected.len()).collect::<Vec<_>>(),
        expected
    );
    assert!(
        text.contains(
            "\r\nX-Last: 1\r\nX-NoEnd: 1\r\nX-After-Missing: 1\r\nX-Uri: sip:bob@test.lan\r\n\r\nv=0"
        ),
        "{text}"
    );
    assert!(text.contains("Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"), "{text}");
}

#[test]
fn edits() {
    type Row = (
        &'static [(&'static str, &'static [&'static str])],
        &'static [&'static str],
    );
    let rows: &[Row] = &[
        (&[("remove_hf", &["X-Multi"])], &["-X-Multi: 1", "-X-Multi: 2"]),
        (&[("remove_hf_re", &["^x-re-"])], &["-X-Re-A: a"]),
        (&[("remove_hf_exp", &["^P-", "^P-Keep"])], &["-P-A: 1"]),
        (&[("remove_hf_idx", &["X-Idx", "1"])], &["-X-Idx: 1"]),
        (&[("remove_hf_idx", &["X-Idx", "-1"])], &["-X-Idx: 2"]),
        (&[("remove_hf_match", &["X-M", "in", "tw"])], &["-X-M: two"]),
        (
            &[("replace", &["hello", "HELLO"])],
            &["-Subject: hello", "+Subject: HELLO"],
        ),
        (
            &[("replace_all", &["repl", "R"])],
            &["-X-Rep: repl repl", "+X-Rep: R R"],
        ),
        (
            &[("subst", &["/^(X-Sub): ([^\r]*)/\\1: <\\2>/"])],
            &["-X-Sub: sub value", "+X-Sub: <sub value>"],
        ),
        (
            &[("subst_hf", &["X-Shf", "/a/b/g", "a"])],
            &["-X-Shf: aaa", "-X-Shf: ba", "+X-Shf: bbb", "+X-Shf: bb"],
        ),
        (
            &[("replace_str", &["repl", "rpl", "f"])],
            &["-X-Rep: repl repl", "+X-Rep: rpl repl"],
        ),
        (
            &[("replace_body", &["PCMU", "PCMA8"])],
            &[
                "-Content-Length: 62",
                "-a=rtpmap:0 PCMU/8000",
                "+Content-Length: 63",
                "+a=rtpmap:0 PCMA8/8000",
            ],
        ),
        (
            &[("search_append_body", &["PCMU", "/X"])],
            &[
                "-Content-Length: 62",
                "-a=rtpmap:0 PCMU/8000",
                "+Content-Length: 64",
                "+a=rtpmap:0 PCMU/X/8000",
            ],
        ),
        (
            &[("subst_body", &["/^m=audio ([0-9]+)/m=audio 5\\1/"])],
            &[
                "-Content-Length: 62",
                "-m=audio 4000 RTP/AVP 0",
                "+Content-Length: 63",
                "+m=audio 54000 RTP/AVP 0",
            ],
        ),
        (
            &[("via_param_rm", &["p1", "0"])],
            &[
                "-Via: SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bKaa2;p1=x;rport",
                "+Via: SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bKaa2;rport",
            ],
        ),
    ];
    for (calls, expected) in rows {
        assert_eq!(changes(calls), *expected, "{calls:?}");
    }
}

#[test]
fn bodies() {
    let (_, text) = edited(&[("set_body", &["new body", "text/x-new"])]);
    assert!(
        text.contains("Content-Type: text/x-new\r\nContent-Length: 8\r\n\r\nnew body"),
        "{text}"
    );
    let (_, text) = edited(&[
        ("set_body", &["one", "text/x-one"]),
        ("set_body", &["second", "text/x-two"]),
    ]);
    assert!(!text.contains("x-one"), "{text}");
    assert!(
        text.ends_with("\r\n\r\nsecond") && text.contains("Content-Length: 6\r\n"),
        "{text}"
    );
    let (_, text) = edited(&[("replace_body_atonce", &["a=.*", "A"])]);
    assert!(
        text.ends_with("RTP/AVP 0\r\nA") && text.contains("Content-Length: 30\r\n"),
        "{text}"
    );
    let mut stage = Stage::new(MESSAGE);
    assert_eq!(stage.call(&MODULE, "set_body_multipart", &[]), 1);
    let text = stage.edited();
    assert!(
        text.contains("Content-Type: multipart/mixed;boundary=\"unique-boundary-1\"\r\n"),
        "{text}"
    );
    let mut stage = Stage::new(&text.replace("\r\n", "\n"));
    assert_eq!(
        stage.call(
            &MODULE,
            "append_body_part",
            &["<x/>", "application/xml", "render"]
        ),
        1
    );
    let text = stage.edited();
    assert!(text.ends_with("--unique-boundary-1\r\nContent-Type: application/xml\r\nContent-Disposition: render\r\n\r\n<x/>\r\n--unique-boundary-1--\r\n"), "{text}");
    let mut stage = Stage::new(&text.replace("\r\n", "\n"));
    assert_eq!(stage.call(&MODULE, "filter_body", &["application/xml"]), 1);
    assert!(stage.edited().ends_with("\r\n\r\n<x/>"), "{}", stage.edited());
    let mut stage = Stage::new(&text.replace("\r\n", "\n"));
    assert_eq!(stage.call(&MODULE, "remove_body_part", &["application/sdp"]), 1);
    assert!(!stage.edited().contains("m=audio"));
}

#[test]
fn uris() {
    let mut stage = Stage::new(MESSAGE);
    assert_eq!(stage.call(&MODULE, "subst_user", &["/b/BB/"]), 1);
    assert_eq!(stage.ctx.uri(), b"sip:BBob@test.lan");
    assert_eq!(stage.call(&MODULE, "subst_uri", &["/^sip:(.*)@/sip:x\\1@/"]), 1);
    assert_eq!(stage.ctx.uri(), b"sip:xBBob@test.lan");
}
