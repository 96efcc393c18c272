//! Trees as text, and mistakes: one report for each, at its place.

use super::load;
use crate::script::ast::CaseLabel;
use crate::script::ast::Constant;
use crate::script::ast::Expr;
use crate::script::ast::ExprKind;
use crate::script::ast::Item;
use crate::script::ast::Stmt;
use crate::script::ast::StmtKind;
use crate::script::preprocess::Disk;
use crate::script::preprocess::Files;
use crate::script::preprocess::Options;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

struct One<'a>(&'a [u8]);

impl Files for One<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == Path::new("a.cfg") {
            Ok(self.0.to_vec())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

fn read(text: &str) -> super::Parsed {
    load(&One(text.as_bytes()), Path::new("a.cfg"), &Options::default())
}

fn expr(e: &Expr) -> String {
    match &e.kind {
        ExprKind::Int(n) => n.to_string(),
        ExprKind::Str(text) => format!("{text:?}"),
        ExprKind::Pv(pv) => {
            let inner = pv
                .inner
                .as_ref()
                .map(|inner| format!("({inner})"))
                .unwrap_or_default();
            format!("${}{inner}", pv.name)
        }
        ExprKind::Select(name) => format!("@{name}"),
        ExprKind::Word(word) => word.clone(),
        ExprKind::Network(text) => format!("<{text}>"),
        ExprKind::Unary(op, inner) => format!("({op:?} {})", expr(inner)),
        ExprKind::Binary(op, left, right) => format!("({} {} {})", op.as_str(), expr(left), expr(right)),
        ExprKind::Call(call) => {
            let args: Vec<String> = call.args.iter().map(expr).collect();
            format!("{}[{}]", call.name.text, args.join(", "))
        }
        ExprKind::Error => "?".into(),
    }
}

fn stmts(list: &[Stmt]) -> String {
    let all: Vec<String> = list.iter().map(stmt).collect();
    all.join(" ")
}

fn stmt(s: &Stmt) -> String {
    match &s.kind {
        StmtKind::Empty => ";".into(),
        StmtKind::Block(body) => format!("{{{}}}", stmts(body)),
        StmtKind::Assign { target, op, value } => {
            let inner = target
                .inner
                .as_ref()
                .map(|inner| format!("({inner})"))
                .unwrap_or_default();
            format!(
                "${}{inner} {}= {};",
                target.name,
                op.map_or("", |op| op.as_str()),
                expr(value)
            )
        }
        StmtKind::Call(call) => {
            let args: Vec<String> = call.args.iter().map(expr).collect();
            format!("{}[{}];", call.name.text, args.join(", "))
        }
        StmtKind::If { branches, otherwise } => {
            let mut out = String::new();
            for (condition, then) in branches {
                let _ = write!(out, "if {} {} ", expr(condition), stmt(then));
            }
            if let Some(other) = otherwise {
                let _ = write!(out, "else {}", stmt(other));
            }
            out.trim_end().to_owned()
        }
        StmtKind::While { condition, body } => format!("while {} {}", expr(condition), stmt(body)),
        StmtKind::Switch { value, cases } => {
            let mut out = format!("switch {}", expr(value));
            for case in cases {
                let label = match &case.label {
                    CaseLabel::Int(n) => n.to_string(),
                    CaseLabel::Str(text) => format!("{text:?}"),
                    CaseLabel::Regex(pattern, flags) => format!("/{pattern}/{flags}"),
                    CaseLabel::Word(word) => word.clone(),
                    CaseLabel::Default => "default".into(),
                };
                let _ = write!(out, " {label}: {}", stmts(&case.body));
            }
            out
        }
        StmtKind::Break => "break;".into(),
        StmtKind::Return(value) => format!("return {};", value.as_ref().map(expr).unwrap_or_default()),
        StmtKind::Exit(value) => format!("exit {};", value.as_ref().map(expr).unwrap_or_default()),
        StmtKind::Drop(value) => format!("drop {};", value.as_ref().map(expr).unwrap_or_default()),
    }
}

fn constant(value: &Constant) -> String {
    match value {
        Constant::Int(n) => n.to_string(),
        Constant::Str(text) => format!("{text:?}"),
        Constant::Word(word) => word.clone(),
    }
}

fn item(item: &Item) -> String {
    match item {
        Item::Global(global) => {
            let values: Vec<String> = global.values.iter().map(|value| constant(&value.value)).collect();
            let description = global
                .description
                .as_ref()
                .map(|text| format!(" desc {text:?}"))
                .unwrap_or_default();
            format!("{}={}{description}", global.name(), values.join(","))
        }
        Item::Listen(listen) => {
            let mut out = format!("listen={}", listen.address.text);
            if let Some(advertise) = &listen.advertise {
                let _ = write!(out, " advertise {}", advertise.text);
            }
            if let Some(name) = &listen.name {
                let _ = write!(out, " name {}", name.text);
            }
            if listen.is_virtual {
                out.push_str(" virtual");
            }
            out
        }
        Item::Flags(flags) => {
            let all: Vec<String> = flags
                .iter()
                .map(|flag| format!("{}:{:?}", flag.name.text, flag.number))
                .collect();
            format!("flags {}", all.join(","))
        }
        Item::AvpFlags(flags) => {
            let all: Vec<&str> = flags.iter().map(|flag| &*flag.name.text).collect();
            format!("avpflags {}", all.join(","))
        }
        Item::LoadModule(name) => format!("loadmodule {}", name.text),
        Item::LoadPath(name) => format!("loadpath {}", name.text),
        Item::ModParam(param) => {
            format!(
                "modparam {} {} {}",
                param.modules.text,
                param.name.text,
                constant(&param.value.value)
            )
        }
        Item::Route(route) => {
            let name = route
                .name
                .as_ref()
                .map(|name| format!("[{}]", name.text))
                .unwrap_or_default();
            format!("{}{name} {{ {} }}", route.keyword.as_str(), stmts(&route.body))
        }
    }
}

#[test]
fn settings() {
    for (text, expected) in [
        ("debug=2\nfork=no", "debug=2 | fork=no"),
        (
            "debug = -1; log_prefix=\"a\" \"b\"",
            "debug=-1 | log_prefix=\"ab\"",
        ),
        (
            "log_facility=LOG_LOCAL0\nchildren=8 fork=yes",
            "log_facility=LOG_LOCAL0 | children=8 | fork=yes",
        ),
        (
            "alias=\"a.b\" c.d:5060\n  udp:e.f:5070\ngwy.ip = \"x\" desc \"d\"",
            "alias=\"a.b\",c.d:5060,udp:e.f:5070 | gwy.ip=\"x\" desc \"d\"",
        ),
        (
            "alias=a.b alias=c.d\nport=5060",
            "alias=a.b | alias=c.d | port=5060",
        ),
        (
            "listen=udp:1.2.3.4:5060 advertise 5.6.7.8:5060 name \"x\" virtual",
            "listen=udp:1.2.3.4:5060 advertise 5.6.7.8:5060 name x virtual",
        ),
        (
            "listen=tcp:127.0.0.1:5060 advertise \"sip.dns.example.com\":5060",
            "listen=tcp:127.0.0.1:5060 advertise sip.dns.example.com:5060",
        ),
        (
            "listen=udp:[2a02:1850:1:1::18]:5060\nlisten=eth0 lo\nx=1",
            "listen=udp:[2a02:1850:1:1::18]:5060 | listen=eth0 | listen=lo | x=1",
        ),
        (
            "listen=10.0.0.1\nlisten=udp:eth1:5062\nrequest_route {}",
            "listen=10.0.0.1 | listen=udp:eth1:5062 | route {  }",
        ),
        (
            "socket = {\n bind = udp:1.2.3.4:5060;\n advertise = a.b:1; name = \"s\"; virtual = yes;\n}",
            "listen=udp:1.2.3.4:5060 advertise a.b:1 name s virtual",
        ),
        (
            "loadmodule \"tm.so\"\nloadpath \"/a:/b\" mpath=\"/c\"",
            "loadmodule tm.so | loadpath /a:/b | loadpath /c",
        ),
        (
            "modparam(\"a|b\", \"p\", -3)\nmodparam(\"a\",\n \"q\", \"x\"\n \"y\");",
            "modparam a|b p -3 | modparam a q \"xy\"",
        ),
        ("flags A:1, B ;\nflags C", "flags A:Some(1),B:None | flags C:None"),
        (
            "cfgengine \"native\"\ncoreparam[random_engine] = \"fast\"",
            "cfgengine=\"native\" | random_engine=\"fast\"",
        ),
        (
            "kemi.reply_route_callback=\"\"\ntcp.x[1].y = 2",
            "kemi.reply_route_callback=\"\" | tcp.x.y=2",
        ),
        (
            "event_route [tm:local-request] { }\nroute[\"A b\"]{}\nonreply_route{}\nonreply_route[0]{}\nonreply_route[X-1]{}\nroute[0]{}",
            "event_route[tm:local-request] {  } | route[A b] {  } | reply_route {  } | reply_route {  } | onreply_route[X-1] {  } | route {  }",
        ),
    ] {
        let parsed = read(text);
        let all: Vec<String> = parsed.script.items.iter().map(item).collect();
        assert_eq!(
            all.join(" | "),
            expected,
            "{text}\n{}",
            parsed.found.lines(&parsed.sources, true)
        );
        assert_eq!(
            parsed.found.errors(),
            0,
            "{text}\n{}",
            parsed.found.lines(&parsed.sources, true)
        );
    }
}

#[test]
fn statements() {
    for (text, expected) in [
        (
            "exit; exit(); exit(1); drop; return; return 1; return(-1); return $var(x) + 1; break;",
            "exit ; exit ; exit 1; drop ; return ; return 1; return -1; return (+ $var(x) 1); break;",
        ),
        (
            "$var(a) = 1; $avp(a) += 2; $(avp(a)[0]) = \"x\" \"y\";",
            "$var(a) = 1; $avp(a) += 2; $avp(a) = \"xy\";",
        ),
        ("if (a()) b(); else c();", "if a[] b[]; else c[];"),
        (
            "if (a()) { b(); } else if ($x == 1) { c(); } else { ; };",
            "if a[] {b[];} if (== $x 1) {c[];} else {;} ;",
        ),
        ("if (a()) if (b()) c(); else d();", "if a[] if b[] c[]; else d[];"),
        ("if !a() b();", "if (Not a[]) b[];"),
        ("if (a()) && (b()) c();", "if (&& a[] b[]) c[];"),
        (
            "while ($var(i) < 5) { $var(i) = $var(i) + 1; }",
            "while (< $var(i) 5) {$var(i) = (+ $var(i) 1);}",
        ),
        (
            "switch ($rU) { case 1: a(); case -2: break; case \"x\": case /^a/i: b(); case /\"^b\": case FOO: default: c(); }",
            "switch $rU 1: a[]; -2: break; \"x\":  /^a/i: b[]; /^b/:  FOO:  default: c[];",
        ),
        (
            "route(A); route(\"b\"); route(1); route(A-B); route($var(r)); force_rport;",
            "route[A]; route[\"b\"]; route[1]; route[A-B]; route[$var(r)]; force_rport[];",
        ),
        (
            "force_send_socket(udp:10.0.0.1:5060); udp_mtu_try_proto(TCP); forward(a.example, 5060);",
            "force_send_socket[udp:10.0.0.1:5060]; udp_mtu_try_proto[TCP]; forward[a.example, 5060];",
        ),
    ] {
        let parsed = read(&format!("request_route {{ {text} }}"));
        let all: Vec<String> = parsed.script.items.iter().map(item).collect();
        assert_eq!(all.join(" | "), format!("route {{ {expected} }}"), "{text}");
        assert_eq!(
            parsed.found.errors(),
            0,
            "{text}\n{}",
            parsed.found.lines(&parsed.sources, true)
        );
    }
}

/// Precedences were observed by running the expressions.
#[test]
fn expressions() {
    for (text, expected) in [
        ("1 + 2 * 3", "(+ 1 (* 2 3))"),
        ("1 + 2 << 3", "(<< (+ 1 2) 3)"),
        ("1 << 8 >> 2", "(<< 1 (>> 8 2))"),
        ("256 >> 2 << 1", "(<< (>> 256 2) 1)"),
        ("2 << 1 == 4", "(<< 2 (== 1 4))"),
        ("6 & 4 == 4", "(& 6 (== 4 4))"),
        ("1 ^ 3 & 2", "(& (^ 1 3) 2)"),
        ("3 < 2 == 0", "(== (< 3 2) 0)"),
        ("1 || 0 && 0", "(|| 1 (&& 0 0))"),
        ("!$x == 1", "(== (Not $x) 1)"),
        ("not a() and b() or c()", "(|| (&& (Not a[]) b[]) c[])"),
        ("-2 + 5 - -3", "(- (+ -2 5) -3)"),
        ("-$x * ~1", "(* (Minus $x) (BitNot 1))"),
        ("010 + 0x1F", "(+ 8 31)"),
        ("(int)\"12\" + (str)3", "(+ (Int \"12\") (Str 3))"),
        (
            "strlen($x) == 2 && strempty(\"\") && defined $x",
            "(&& (&& (== (StrLen $x) 2) (StrEmpty \"\")) (Defined $x))",
        ),
        (
            "\"a\" eq $x or 1 ieq 2 or 3 ine 4 or \"b\" ne \"c\"",
            "(|| (|| (|| (eq \"a\" $x) (ieq 1 2)) (ine 3 4)) (ne \"b\" \"c\"))",
        ),
        (
            "$a =~ \"x\" && !($b !~ \"y\")",
            "(&& (=~ $a \"x\") (Not (!~ $b \"y\")))",
        ),
        (
            "method==INVITE || uri==myself",
            "(|| (== method INVITE) (== uri myself))",
        ),
        (
            "src_ip==10.0.0.0/8 or src_ip==2001:db8::1",
            "(|| (== src_ip <10.0.0.0/8>) (== src_ip <2001:db8::1>))",
        ),
        (
            "msg:len>2048 && proto==UDP",
            "(&& (> msg:len 2048) (== proto UDP))",
        ),
        (
            "src_ip==[::1] && dst_ip == 10.0.0.0/255.0.0.0",
            "(&& (== src_ip <::1>) (== dst_ip <10.0.0.0/255.0.0.0>))",
        ),
        ("@cfg_get.a.b == 5", "(== @cfg_get.a.b 5)"),
        ("7 mod 4 % 3", "(mod (mod 7 4) 3)"),
        ("!!1", "(Not (Not 1))"),
        (
            "$(var(x){s.len}) + f(\"a\", $b, 1 + 2)",
            "(+ $var(x) f[\"a\", $b, (+ 1 2)])",
        ),
    ] {
        let parsed = read(&format!("request_route {{ $v = {text}; }}"));
        let all: Vec<String> = parsed.script.items.iter().map(item).collect();
        assert_eq!(all.join(" | "), format!("route {{ $v = {expected}; }}"), "{text}");
        assert_eq!(
            parsed.found.errors(),
            0,
            "{text}\n{}",
            parsed.found.lines(&parsed.sources, true)
        );
    }
}

/// Every script holds as many mistakes as lines are expected.
#[test]
fn mistakes() {
    for (text, expected) in [
        ("request_route {\n  a()\n  b();\n}", &["2:6: missing `;`"][..]),
        (
            "request_route {\n  $var(x) = 1\n  b();\n  exit\n}",
            &["2:14: missing `;`", "4:7: missing `;`"],
        ),
        (
            "request_route {\n  if (a() {\n    b();\n  }\n}",
            &["2:10: missing `)`"],
        ),
        (
            "request_route {\n  xlog(\"x\";\n  b();\n}",
            &["2:11: missing `)`"],
        ),
        (
            "request_route {\n  f(\"a\" $x);\n  b();\n}",
            &["2:9: expected `,` or `)`, found `$x`"],
        ),
        (
            "request_route {\n  if ($x = 1) b();\n}",
            &["2:10: `=` assigns and gives no value; use `==` to compare"],
        ),
        (
            "request_route {\n  $x == 1;\n  b();\n}",
            &["2:6: `==` compares; use `=` to assign"],
        ),
        (
            "request_route {\n  if (a()) {\n    b();\n\n}\nroute[A] { b(); }\nroute[B] { c() }",
            &["5:2: missing `}`", "7:15: missing `;`"],
        ),
        (
            "request_route {\n  if (a()) {\n    b();\n  }\n  }\n  c();\n  d();\n}\nroute[A] { b(); }",
            &["6:3: statement outside of any route block"],
        ),
        (
            "request_route {\n  a();\n}\n}\nroute[A] { b(); }",
            &["4:1: `}` without its `{`"],
        ),
        (
            "request_route {\n  if (a()) { b(); }; else { c(); }\n  d();\n}",
            &[
                "2:22: `else` without its `if`; a `;` behind the block of the `if` ends it, and more than one statement needs `{ }`",
            ],
        ),
        (
            "request_route {\n  if (a()) { b(); } elseif (d()) { c(); }\n}",
            &["2:21: unknown keyword `elseif`; did you mean `else if`?"],
        ),
        (
            "request_route {\n  case 1: b();\n}",
            &["2:3: `case` outside of a `switch`"],
        ),
        (
            "request_route {\n  x = 1;\n  b();\n}",
            &[
                "2:3: `x` is not a pseudo-variable, which begin with `$`; core and module parameters are set outside of route blocks",
            ],
        ),
        (
            "request_route {\n  foo bar;\n  $ = 2;\n}",
            &[
                "2:7: expected `(` behind `foo`, found `bar`",
                "3:3: `$` without a pseudo-variable name",
            ],
        ),
        (
            "request_route {\n  switch ($x) {\n    case 1 b();\n    case : c();\n    default: d();\n  }\n}",
            &["3:11: missing `:`", "4:10: expected a constant, found `:`"],
        ),
        (
            "request_route {\n  a($(rU{len}));\n}",
            &["2:9: `{len}` is no transformation: it needs a class and a name, as in `{s.len}`"],
        ),
        (
            "route(X) { a(); }",
            &[
                "1:6: the name of a route block stands in brackets; write `route[NAME] { … }`; `route(NAME)` calls one",
            ],
        ),
        (
            "failure_route { }\nrequest_route[X] { }\nevent_route[x] {}\nroute[] {}",
            &[
                "1:1: `failure_route` needs a name in brackets",
                "2:1: `request_route` takes no name: named blocks are `route[NAME]`",
                "3:1: `event_route[x]` needs the form `module:event`",
                "4:6: a route block's name is missing in its brackets",
            ],
        ),
        (
            "debug 3\nfork==no\nlisten=\nmodparam(\"a\" \"b\", 1)\nmodparam(\"a\", \"b\")\nloadmodule tm.so\nx=1 2\nrequest_route {}",
            &[
                "1:1: expected `=` behind `debug`, found `3`",
                "2:1: expected `=` behind `fork`, found `==`",
                "3:8: a value is missing behind `=`",
                "4:19: expected the name of a parameter in quotes, found `1`",
                "5:18: missing `,`",
                "6:12: expected a name in quotes behind `loadmodule`, found `tm`",
                "7:5: expected the end of the line, found `2`",
            ],
        ),
        (
            "request_route {\n  $var(x) = 08 + 99999999999999999999;\n}",
            &[
                "2:13: `08` is no number of its base",
                "2:18: `99999999999999999999` is too large",
            ],
        ),
        (
            "if (a()) { b(); }\nrequest_route { }",
            &["1:1: statement outside of any route block"],
        ),
        (
            "request_route {\n  if {\n    a();\n  }\n  while () b();\n}",
            &[
                "2:6: expected a condition in parentheses, found `{`",
                "5:10: expected a value, found `)`",
            ],
        ),
        (
            "request_route {\n  a();\n  b(",
            &["3:5: expected a value, found the end of the script"],
        ),
        ("request_route {\n  a();\n", &["2:7: missing `}`"]),
        (
            "request_route {\n  a(\"x);\n  b();\n}",
            &["2:5: string without its closing `\"`"],
        ),
    ] {
        let mut parsed = read(text);
        parsed.found.sort(&parsed.sources);
        let lines = parsed.found.lines(&parsed.sources, true);
        let got: Vec<String> = lines
            .lines()
            .map(|line| {
                let (place, rest) = line.split_once(" error[").unwrap_or((line, ""));
                let message = rest.split_once("]: ").map_or(rest, |(_, message)| message);
                format!("{} {message}", place.trim_start_matches("a.cfg:"))
            })
            .collect();
        assert_eq!(got, expected, "{text}");
    }
}

#[test]
fn a_missing_brace_is_looked_for_by_indentation() {
    let parsed = read(
        "request_route {\n    if (a()) {\n        if (b()) {\n            c();\n    }\n    d();\n}\nroute[A] {\n}\n",
    );
    insta::assert_snapshot!(parsed.found.render(&parsed.sources, true), @r"
    error[syntax]: missing `}`
      ┌─ a.cfg:7:2
      │
    1 │ request_route {
      │               - so that this one is still open
    2 │     if (a()) {
    3 │         if (b()) {
      │                  - this block's `}` stands further left than it: probably its own is missing
      ·
    7 │ }
      │  ^
    ");
}

#[test]
fn depth_is_bounded() {
    for text in [
        "(".repeat(100_000),
        "!".repeat(100_000),
        "f(".repeat(100_000),
        "1+".repeat(100_000),
    ] {
        let parsed = read(&format!("request_route {{ $v = {text}; }}"));
        assert!(parsed.found.errors() > 0);
    }
    let parsed = read(&format!("request_route {{ {} }}", "{".repeat(100_000)));
    assert!(parsed.found.errors() > 0);
    let parsed = read(&format!(
        "request_route {{ {} b(); }}",
        "if (a()) b(); else ".repeat(10_000)
    ));
    assert_eq!(parsed.found.errors(), 0);
}

/// The configuration that Debian installs, as delivered and with everything switched on, where it is installed.
#[test]
fn the_stock_configuration() {
    let path = Path::new("/etc/kamailio/kamailio.cfg");
    let Ok(text) = std::fs::read_to_string(path) else {
        return;
    };
    let mut all: Vec<String> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("WITH_"))
        .map(str::to_owned)
        .collect();
    all.sort();
    all.dedup();
    for defines in [Vec::new(), all] {
        let parsed = load(
            &Disk,
            path,
            &Options {
                defines,
                ..Options::default()
            },
        );
        assert_eq!(parsed.found.lines(&parsed.sources, true), "");
    }
}

proptest::proptest! {
    #[test]
    fn never_panics(text: String) {
        read(&text);
    }

    #[test]
    fn never_panics_on_likely_text(
        words in proptest::collection::vec(
            proptest::sample::select(&[
                "request_route", "route", "[", "]", "{", "}", "(", ")", ";", ",", "if", "else", "switch", "case", "default",
                ":", "while", "$var(x)", "$(rU{s.len})", "=", "==", "1", "\"s\"", "f", "exit", "return", "listen", "alias",
                "modparam", "loadmodule", "flags", "\n", ".", "-", "!", "&&", "10.0.0.1", "/", "@a.b", "socket", "desc", "+=",
            ][..]),
            0..60,
        )
    ) {
        read(&words.join(" "));
    }
}
