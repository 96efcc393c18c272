//! Edits made visible, values, iterators.

use super::MODULE;
use super::wildcard;
use crate::modules::textops;
use crate::script::testing::Stage;

const MESSAGE: &str = "OPTIONS sip:bob@test.lan SIP/2.0
Via: SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bKaa2
From: <sip:a@h>;tag=x
To: <sip:bob@h>
Call-ID: c2
CSeq: 1 OPTIONS
X-L: a, b
X-L: c
X-P: <sip:x@y;p=1>;par=1;q=2
X-Q: Digest realm=\"r1\", nonce=\"n\"
Supported: gruu, 100rel
Content-Length: 12

l1
l2
l3
";

#[test]
fn changes_become_real() {
    let mut stage = Stage::new(MESSAGE);
    stage
        .write("ru", crate::script::value::Value::text(b"sip:new@x"))
        .expect("a URI");
    assert_eq!(stage.call(&textops::MODULE, "append_hf", &["X-A: 1"]), 1);
    assert_eq!(
        (stage.read("hdr(X-A)"), stage.read("ou")),
        ("NULL".into(), "sip:bob@test.lan".into())
    );
    assert_eq!(stage.call(&MODULE, "msg_apply_changes", &[]), 1);
    assert_eq!(
        (stage.read("hdr(X-A)"), stage.read("ou")),
        ("1".into(), "sip:new@x".into())
    );
    assert!(stage.ctx.lumps.is_empty());
    assert_eq!(stage.call(&MODULE, "remove_body", &[]), 1);
    assert_eq!(stage.call(&MODULE, "msg_apply_changes", &[]), 1);
    assert_eq!((stage.read("bs"), stage.read("cl")), ("0".into(), "0".into()));
    assert_eq!(
        stage.call(&MODULE, "msg_set_buffer", &["SIP/2.0 200 OK\r\n\r\n"]),
        -1
    );
}

#[test]
fn values_of_lists() {
    type Row = (
        &'static str,
        &'static [&'static str],
        i32,
        &'static str,
        &'static str,
    );
    let rows: &[Row] = &[
        ("append_hf_value", &["Foo", "gogo"], 1, "hdr(Foo)", "gogo"),
        ("append_hf_value", &["X-L", "new"], 1, "hdr(X-L)[*]", "a, b,c,new"),
        (
            "append_hf_value",
            &["X-L[1]", "aft"],
            1,
            "hdr(X-L)[*]",
            "a,aft, b,c",
        ),
        (
            "append_hf_value",
            &["X-L[-1]", "end"],
            1,
            "hdr(X-L)[*]",
            "a, b,c,end",
        ),
        (
            "insert_hf_value",
            &["X-L", "first"],
            1,
            "hdr(X-L)[*]",
            "first,a, b,c",
        ),
        (
            "insert_hf_value",
            &["X-L[2]", "bef"],
            1,
            "hdr(X-L)[*]",
            "a,bef, b,c",
        ),
        ("remove_hf_value", &["X-L"], 1, "hdr(X-L)[*]", "b,c"),
        ("remove_hf_value", &["X-L[2]"], 1, "hdr(X-L)[*]", "a,c"),
        ("remove_hf_value", &["X-L[3]"], 1, "hdr(X-L)[*]", "a, b"),
        ("remove_hf_value", &["X-L[*]"], 1, "hdr(X-L)[*]", "NULL"),
        ("remove_hf_value", &["X-L[9]"], -1, "hdr(X-L)[*]", "a, b,c"),
        (
            "remove_hf_value",
            &["X-P.par"],
            1,
            "hdr(X-P)",
            "<sip:x@y;p=1>;q=2",
        ),
        ("assign_hf_value", &["X-L[1]", "asg"], 1, "hdr(X-L)", "asg, b"),
        (
            "assign_hf_value",
            &["X-P.par", "v"],
            1,
            "hdr(X-P)",
            "<sip:x@y;p=1>;par=v;q=2",
        ),
        (
            "assign_hf_value",
            &["X-P.new", "w"],
            1,
            "hdr(X-P)",
            "<sip:x@y;p=1>;par=1;q=2;new=w",
        ),
        (
            "assign_hf_value",
            &["X-P.q", ""],
            1,
            "hdr(X-P)",
            "<sip:x@y;p=1>;par=1;q",
        ),
        (
            "assign_hf_value2",
            &["X-Q.realm", "\"r2\""],
            1,
            "hdr(X-Q)",
            "Digest realm=\"r2\", nonce=\"n\"",
        ),
        (
            "remove_hf_value2",
            &["X-Q.nonce"],
            1,
            "hdr(X-Q)",
            "Digest realm=\"r1\"",
        ),
        (
            "include_hf_value",
            &["Supported", "path"],
            1,
            "hdr(Supported)",
            "gruu, 100rel,path",
        ),
        (
            "include_hf_value",
            &["Supported", "gruu"],
            1,
            "hdr(Supported)",
            "gruu, 100rel",
        ),
        (
            "exclude_hf_value",
            &["Supported", "gruu"],
            1,
            "hdr(Supported)",
            "100rel",
        ),
        (
            "hf_value_exists",
            &["Supported", "100rel"],
            1,
            "hdr(Supported)",
            "gruu, 100rel",
        ),
        (
            "hf_value_exists",
            &["Supported", "nope"],
            -1,
            "hdr(Supported)",
            "gruu, 100rel",
        ),
        ("keep_hf", &["^X-Q"], 1, "hdrc(X-L)", "0"),
        ("keep_hf", &["^X-Q"], 1, "hdrc(X-Q)", "1"),
        ("keep_hf", &[], 1, "hdrc(Via)", "1"),
    ];
    for (name, args, code, pv, expected) in rows {
        let mut stage = Stage::new(MESSAGE);
        assert_eq!(stage.call(&MODULE, name, args), *code, "{name}{args:?}");
        assert_eq!(stage.call(&MODULE, "msg_apply_changes", &[]), 1);
        assert_eq!(stage.read(pv), *expected, "{name}{args:?}");
    }
}

#[test]
fn headers_and_lines_are_walked() {
    let mut stage = Stage::new(MESSAGE);
    assert_eq!(stage.call(&MODULE, "hf_iterator_start", &["i"]), 1);
    let mut count = 0;
    while stage.call(&MODULE, "hf_iterator_next", &["i"]) == 1 {
        count += 1;
        let name = super::iterate::header_name(&stage.env(), b"i")
            .to_text()
            .into_owned();
        if name == b"To" {
            assert_eq!(stage.call(&MODULE, "hf_iterator_append", &["i", "X-It: a"]), 1);
            assert_eq!(stage.call(&MODULE, "hf_iterator_insert", &["i", "X-Bi: b"]), 1);
        }
        if name == b"X-Q" {
            assert_eq!(stage.call(&MODULE, "hf_iterator_rm", &["i"]), 1);
        }
    }
    assert_eq!(count, 11);
    assert_eq!(stage.call(&MODULE, "hf_iterator_end", &["i"]), 1);
    assert_eq!(stage.call(&MODULE, "hf_iterator_next", &["i"]), -1);
    assert_eq!(stage.call(&MODULE, "bl_iterator_start", &["b"]), 1);
    while stage.call(&MODULE, "bl_iterator_next", &["b"]) == 1 {
        let line = super::iterate::line(&stage.env(), b"b").to_text().into_owned();
        if line == b"l2\r\n" {
            assert_eq!(stage.call(&MODULE, "bl_iterator_append", &["b", "new\r\n"]), 1);
            assert_eq!(stage.call(&MODULE, "bl_iterator_rm", &["b"]), 1);
        }
    }
    let text = stage.edited();
    assert!(
        text.contains("X-Bi: b\r\nTo: <sip:bob@h>\r\nX-It: a\r\n") && !text.contains("X-Q"),
        "{text}"
    );
    assert!(
        text.ends_with("Content-Length: 13\r\n\r\nl1\r\nnew\r\nl3\r\n"),
        "{text}"
    );
}

#[test]
fn a_status_changes_within_its_kind() {
    let reply = "SIP/2.0 603 Decline\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\nCSeq: 1 INVITE\n\n";
    for (args, expected, status) in [
        (&["404", "Not Found"][..], 1, Some(404)),
        (&["100", "x"][..], -1, None),
        (&["200", "x"][..], -1, None),
        (&["700", "x"][..], -1, None),
    ] {
        let mut stage = Stage::new(reply);
        assert_eq!(stage.call(&MODULE, "change_reply_status", args), expected);
        assert_eq!(stage.ctx.new_status.map(|(status, _)| status), status);
    }
    assert_eq!(
        Stage::options().call(&MODULE, "change_reply_status", &["404", "x"]),
        -1
    );
}

#[test]
fn patterns_of_the_shell() {
    for (pattern, text, expected) in [
        ("abc*", "abc123", true),
        ("x*", "abc", false),
        ("a*b", "a/b", true),
        ("a?c", "abc", true),
        ("[a-c]x", "bx", true),
        ("[!a-c]x", "bx", false),
        ("[", "[", true),
        ("\\*", "*", true),
        ("\\*", "x", false),
        ("*a*b*c", "xaybzc", true),
        ("", "", true),
        ("*", "", true),
    ] {
        assert_eq!(
            wildcard(pattern.as_bytes(), text.as_bytes()),
            expected,
            "{pattern} {text}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn patterns_never_panic(pattern: Vec<u8>, text: Vec<u8>) {
        wildcard(&pattern, &text);
    }
}
