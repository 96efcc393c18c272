//! The language itself: values, truth, operators, control flow.

use super::Fragment;
use super::run;

const FRAGMENTS: &[Fragment] = &[
    (r#"$var(r) = 1 + 2 * 3;"#, "7"),
    (r#"$var(r) = "a" + "b";"#, "ab"),
    (r#"$var(r) = "n" + 5;"#, "n5"),
    (r#"$var(a) = 5; $var(r) = $var(a) + "abc";"#, "5"),
    (r#"$var(a) = 17; $var(r) = $var(a) mod 5;"#, "2"),
    (r#"$var(a) = 6; $var(r) = $var(a) & 3;"#, "2"),
    (r#"$var(a) = 6; $var(r) = $var(a) | 1;"#, "7"),
    (r#"$var(a) = 1; $var(r) = $var(a) << 4;"#, "16"),
    (r#"$var(a) = 7; $var(r) = $var(a) / 2;"#, "3"),
    (
        r#"$var(a) = "text"; if ($var(a)) { $var(r) = "true"; } else { $var(r) = "false"; }"#,
        "false",
    ),
    (
        r#"$var(a) = -1; if ($var(a)) { $var(r) = "true"; } else { $var(r) = "false"; }"#,
        "false",
    ),
    (
        r#"$var(a) = 2; if ($var(a)) { $var(r) = "true"; } else { $var(r) = "false"; }"#,
        "true",
    ),
    (r#"$var(a) = $null; $var(r) = $var(a);"#, "0"),
    (r#"if ($avp(none) == $null) { $var(r) = "null"; }"#, "null"),
    (
        r#"if (defined $avp(none)) { $var(r) = "yes"; } else { $var(r) = "no"; }"#,
        "no",
    ),
    (r#"$avp(l) = 1; $avp(l) = 2; $var(r) = $avp(l);"#, "2"),
    (r#"$avp(l) = 1; $avp(l) = 2; $var(r) = $(avp(l)[1]);"#, "1"),
    (
        r#"$avp(l) = 1; $avp(l) = 2; $(avp(l)[*]) = 9; $var(r) = $avp(l);"#,
        "9",
    ),
    (r#"if ("abcd" =~ "^B?A.C") { $var(r) = "match"; }"#, "match"),
    (
        r#"if ($rm == "OPTIONS" && method == OPTIONS && method == "OPTIONS") { $var(r) = "all"; }"#,
        "all",
    ),
    (r#"if (src_ip == 127.0.0.0/8) { $var(r) = "in"; }"#, "in"),
    (r#"if (uri =~ "service") { $var(r) = "in"; }"#, "in"),
    (
        r#"switch ($rm) { case "INVITE": $var(r) = "i"; break; case "OPTIONS": $var(r) = "o"; break; default: $var(r) = "d"; }"#,
        "o",
    ),
    (
        r#"$var(a) = 3; switch ($var(a)) { case 1: $var(r) = "1"; break; case 2: case 3: $var(r) = "3"; break; }"#,
        "3",
    ),
    (
        r#"$var(i) = 0; while ($var(i) < 5) { $var(i) = $var(i) + 1; if ($var(i) == 3) break; } $var(r) = $var(i);"#,
        "3",
    ),
    (r#"return(3);"#, "unset"),
    (
        r#"$var(r) = "x"; if (!is_method("INVITE")) $var(r) = "single";"#,
        "single",
    ),
    (r#"$var(r) = $rc;"#, "0"),
    (r#"is_method("INVITE"); $var(r) = $rc;"#, "-1"),
    (r#"$var(r) = 'single quoted';"#, "single quoted"),
    (r#"if (strempty($hdr(X-None))) { $var(r) = "empty"; }"#, "empty"),
    (r#"$var(r) = 0x1F;"#, "31"),
    (r#"setflag(5); if (isflagset(5)) { $var(r) = "set"; }"#, "set"),
    (
        r#"setflag(5); resetflag(5); if (!isflagset(5)) { $var(r) = "reset"; }"#,
        "reset",
    ),
];

#[test]
fn fragments() {
    run(&[], FRAGMENTS);
}
