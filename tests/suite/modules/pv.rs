//! `loadmodule "pv"`: pseudo-variables and transformations.

use super::Fragment;
use super::run;

const FRAGMENTS: &[Fragment] = &[
    (r#"$var(r) = $ru;"#, "sip:service;x=1@test.lan:5080;transport=udp"),
    (r#"$var(r) = $rU;"#, "service;x=1"),
    (r#"$var(r) = $rd;"#, "test.lan"),
    (r#"$var(r) = $rp;"#, "5080"),
    (r#"$var(r) = $rP;"#, "udp"),
    (
        r#"$var(r) = $fU + "/" + $fd + "/" + $ft;"#,
        "caller/example.com/ft",
    ),
    (r#"$var(r) = $fu;"#, "sip:caller@example.com:5061"),
    (r#"$var(r) = $fn;"#, "\"The Caller\""),
    (r#"$var(r) = $tu;"#, "sip:called@test.lan;y=2"),
    (r#"$var(r) = $tU;"#, "called"),
    (r#"if ($tt == $null) { $var(r) = "none"; }"#, "none"),
    (r#"$var(r) = $cs;"#, "7"),
    (r#"$var(r) = $ua;"#, "Phone/1.0 (test)"),
    (r#"if ($si =~ "^127\.22\.") { $var(r) = "here"; }"#, "here"),
    (r#"$var(r) = $proto;"#, "udp"),
    (r#"$var(r) = $hdr(X-One);"#, "first"),
    (r#"$var(r) = $(hdr(X-One)[1]);"#, "second"),
    (r#"$var(r) = $(hdr(X-One)[-1]);"#, "second"),
    (r#"$var(r) = $rb;"#, "hello"),
    (r#"$var(r) = $bs;"#, "5"),
    (r#"$var(r) = $cT;"#, "text/plain"),
    (
        r#"$var(r) = $ct;"#,
        "<sip:caller@192.0.2.7:5070;transport=udp>;q=0.5",
    ),
    (r#"$var(r) = $mf;"#, "0"),
    (
        r#"$ru = "sip:new@other.test"; $var(r) = $rU + "@" + $rd;"#,
        "new@other.test",
    ),
    (
        r#"$rU = "changed"; $var(r) = $ru;"#,
        "sip:changed@test.lan:5080;transport=udp",
    ),
    (r#"$rd = "other.test"; $var(r) = $rd;"#, "other.test"),
    (r#"$du = "sip:next.test"; $var(r) = $du;"#, "sip:next.test"),
    (r#"$var(r) = $(rU{s.len});"#, "11"),
    (
        r#"$var(a) = "Hello"; $var(r) = $(var(a){s.toupper}) + $(var(a){s.tolower});"#,
        "HELLOhello",
    ),
    (r#"$var(a) = "abcdef"; $var(r) = $(var(a){s.substr,1,3});"#, "bcd"),
    (r#"$var(a) = "abcdef"; $var(r) = $(var(a){s.substr,-2,0});"#, "ef"),
    (r#"$var(a) = "a,b,c"; $var(r) = $(var(a){s.select,1,,});"#, "b"),
    (r#"$var(a) = "12"; $var(r) = $(var(a){s.int}) + 1;"#, "13"),
    (
        r#"$var(a) = "abc"; $var(r) = $(var(a){s.md5});"#,
        "900150983cd24fb0d6963f7d28e17f72",
    ),
    (
        r#"$var(a) = "a.b.c"; $var(r) = $(var(a){s.replace,.,-});"#,
        "a-b-c",
    ),
    (
        r#"$var(a) = "abc"; $var(r) = $(var(a){s.encode.hexa});"#,
        "616263",
    ),
    (r#"$var(a) = "  ab "; $var(r) = $(var(a){s.trim});"#, "ab"),
    (r#"$var(a) = "+49123"; $var(r) = $(var(a){s.strip,1});"#, "49123"),
    (
        r#"$var(a) = "sip:u@h.test:5099;p=1?x=y"; $var(r) = $(var(a){uri.user}) + "|" + $(var(a){uri.host}) + "|" + $(var(a){uri.port}) + "|" + $(var(a){uri.param,p});"#,
        "u|h.test|5099|1",
    ),
    (
        r#"$var(a) = "a=1;b=2;c=3"; $var(r) = $(var(a){param.value,b}) + $(var(a){param.count});"#,
        "23",
    ),
    (
        r#"$var(a) = "\"N\" <sip:u@h>;tag=5"; $var(r) = $(var(a){nameaddr.uri});"#,
        "sip:u@h",
    ),
    (
        r#"$var(a) = "sip:u@h;tag=5"; $var(r) = $(var(a){tobody.params});"#,
        "tag=5",
    ),
    (r#"$xavp(x=>a) = 4; $var(r) = $xavp(x=>a);"#, "4"),
    (r#"$var(r) = $(hdr(X-Two){s.select,1,,}{s.trim});"#, "b"),
];

#[test]
fn fragments() {
    run(&[], FRAGMENTS);
}
