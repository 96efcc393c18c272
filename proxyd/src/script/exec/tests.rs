//! Scripts run on a stage: what they log, what they answer, how they end. Expectations were observed on Kamailio.

use super::Verdict;
use crate::script::compile;
use crate::script::compile::Additions;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::Function;
use crate::script::module::ModuleDef;
use crate::script::module::Routes;
use crate::script::module::Script;
use crate::script::module::States;
use crate::script::parse;
use crate::script::preprocess::Files;
use crate::script::preprocess::Options;
use crate::script::testing::Stage;
use std::cell::RefCell;
use std::io;
use std::path::Path;

thread_local! {
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A module of functions that only tests need.
pub(in crate::script) static TESTING: ModuleDef = ModuleDef {
    functions: &[
        Function {
            names: &["xlog", "say"],
            args: &[Arg::Text("text")],
            routes: Routes::ANY,
            doc: "",
            call: say,
        },
        Function {
            names: &["is_method"],
            args: &[Arg::Text("name")],
            routes: Routes::ANY,
            doc: "",
            call: is_method,
        },
        Function {
            names: &["zero"],
            args: &[],
            routes: Routes::ANY,
            doc: "",
            call: |_| Code::EXIT,
        },
        Function {
            names: &["answer"],
            args: &[Arg::Int("code"), Arg::OptText("reason")],
            routes: Routes::REQUEST,
            doc: "",
            call: answer,
        },
        Function {
            names: &["put"],
            args: &[Arg::Pv("variable"), Arg::Text("text")],
            routes: Routes::ANY,
            doc: "",
            call: put,
        },
        Function {
            names: &["count"],
            args: &[Arg::OptText("a"), Arg::OptText("b")],
            routes: Routes::ANY,
            doc: "",
            call: |call| Code(call.count() as i32 + 1),
        },
        Function {
            names: &["search"],
            args: &[Arg::Regex("expression")],
            routes: Routes::ANY,
            doc: "",
            call: search,
        },
        Function {
            names: &["arm"],
            args: &[Arg::Route("route", Routes::FAILURE)],
            routes: Routes::REQUEST,
            doc: "",
            call: |call| Code(call.route(0, Routes::FAILURE).map_or(-1, |id| id as i32 + 1)),
        },
    ],
    ..ModuleDef::new("testing", "Functions for tests.")
};

static MODULES: &[&ModuleDef] = &[&TESTING];

fn say(call: &mut Call<'_, '_>) -> Code {
    let mut line = Vec::new();
    match call.args.first() {
        Some(crate::script::module::CompiledArg::Format(format)) => format.print(call.env, &mut line),
        _ => line.extend_from_slice(&call.text(0)),
    }
    LOG.with_borrow_mut(|log| log.push(String::from_utf8_lossy(&line).trim_end().to_owned()));
    Code::TRUE
}

fn is_method(call: &mut Call<'_, '_>) -> Code {
    (*call.env.ctx.msg.method().as_bytes() == *call.text(0)).into()
}

fn answer(call: &mut Call<'_, '_>) -> Code {
    let (code, reason) = (call.int(0) as u16, call.text_owned(1));
    let (host, scope) = call.split();
    host.reply(scope, code, &reason)
}

fn put(call: &mut Call<'_, '_>) -> Code {
    let text = call.text_owned(1);
    call.assign(0, crate::script::value::Value::owned(text)).into()
}

fn search(call: &mut Call<'_, '_>) -> Code {
    let found = call
        .regex(0)
        .is_some_and(|regex| regex.is_match(call.env.ctx.msg.as_bytes()));
    found.into()
}

struct One(String);

impl Files for One {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.clone().into_bytes())
    }
}

/// Compiles a script that must be free of errors.
pub(in crate::script) fn program(text: &str) -> Script {
    let parsed = parse::load(&One(text.to_owned()), Path::new("a.cfg"), &Options::default());
    let compiled = compile::compile(parsed, MODULES, &Additions::default());
    let found = compiled.found.lines(compiled.program.sources(), false);
    assert!(compiled.is_ok(), "{text}\n{found}");
    Script {
        program: compiled.program,
        modules: compiled.modules,
        states: States::default(),
    }
}

/// Runs a body in `request_route`, with further blocks behind it.
fn run(body: &str, extra: &str) -> (Vec<String>, Verdict) {
    let mut stage = Stage::options();
    stage.script = program(&format!(
        "loadmodule \"testing.so\"\nrequest_route {{\n{body}\n}}\n{extra}"
    ));
    LOG.with_borrow_mut(Vec::clear);
    let route = stage.script.program.request_route().expect("a request route");
    let verdict = super::run(route, &mut stage.env());
    (LOG.with_borrow_mut(std::mem::take), verdict)
}

#[test]
fn expressions_have_kamailios_values() {
    let prepare = "$var(a)=7; $var(b)=3; $var(s)=\"abc\"; $var(i)=5; $var(e)=\"\"; $var(n)=-1; $var(z)=0; $var(s5)=\"5x\"; $var(one)=\"1\";";
    for (text, expected) in [
        ("$var(a) + $var(b) * 2", "13"),
        ("$var(a) / $var(b)", "2"),
        ("$var(a) mod $var(b)", "1"),
        ("-$var(a) / $var(b)", "-2"),
        ("~$var(a)", "-8"),
        ("2147483647 + 1", "-2147483648"),
        ("$var(a) * 1000000000", "-1589934592"),
        ("0xffffffff", "-1"),
        ("1 << 8 >> 2", "4"),
        ("1 + 2 << 3", "24"),
        ("$var(s) + \"def\"", "abcdef"),
        ("$var(s) + $var(i)", "abc5"),
        ("$var(i) + $var(s)", "5"),
        ("$var(i) + \"7\"", "12"),
        ("\"7\" + $var(i)", "75"),
        ("\"a\" + 1 + 2", "a12"),
        ("\"x\" + $rm + \"-\" + $cs", "xOPTIONS-7"),
        ("\"pre\" + $hdr(X-Missing) + \"post\"", "prepost"),
        ("(int)\"12\" + 3", "15"),
        ("(str)12 + 3", "123"),
        ("(int)\"12abc\"", "0"),
        ("(int)\"-12\"", "-12"),
        ("$avp(none) + 1", "1"),
        ("$avp(none) - 1", "-1"),
        ("$(var(i){s.len}) + 1", "2"),
        ("(1 == 1)", "1"),
        ("(1 == 2) || (2 == 2)", "1"),
        ("3 && 0", "0"),
        ("!5", "0"),
        ("!$var(n)", "0"),
        ("5 && 7", "1"),
        ("$var(s) == \"ABC\"", "0"),
        ("$var(i) == \"5\"", "1"),
        ("strlen($avp(none))", "0"),
        ("strlen($var(i))", "1"),
        ("defined $var(x)", "1"),
        ("defined $avp(none)", "0"),
        ("- $var(s)", "0"),
        ("~$avp(none)", "-1"),
        ("is_method(\"INVITE\")", "-1"),
        ("is_method(\"OPTIONS\") + 10", "11"),
        ("selval($var(i) == 5, \"yes\", \"no\")", "yes"),
        ("0 == \"\"", "1"),
        ("0 eq \"\"", "0"),
        ("\"a\" ieq \"b\"", "1"),
        ("$rU", "bob"),
        ("\"$rU\"", "$rU"),
        ("5 / $var(z)", "kept"),
        ("5 mod $var(z)", "kept"),
        ("method", "OPTIONS"),
        ("msg:len > 100", "1"),
    ] {
        let (log, _) = run(
            &format!("{prepare} $var(r) = \"kept\"; $var(r) = {text}; xlog(\"$var(r)\");"),
            "",
        );
        assert_eq!(log, [expected], "{text}");
    }
}

#[test]
fn conditions_hold_as_in_kamailio() {
    let prepare = "$var(a)=\"abc\"; $var(i)=5; $var(e)=\"\"; $var(n)=-1; $var(z)=0; $var(s5)=\"5x\"; $var(one)=\"1\"; $var(re)=\"c$\";";
    for (text, expected) in [
        ("$var(i)", true),
        ("!$var(i)", false),
        ("$var(n)", false),
        ("!$var(n)", false),
        ("-1", false),
        ("$var(e)", false),
        ("$var(a)", false),
        ("!$var(a)", true),
        ("$var(one)", true),
        ("$avp(none)", false),
        ("!$avp(none)", true),
        ("$var(i) == \"5\"", true),
        ("$var(s5) == 5", false),
        ("$var(i) == $var(s5)", false),
        ("$var(e) == $null", false),
        ("$avp(none) == $null", true),
        ("$avp(none) != $null", false),
        ("$var(e) != $null", true),
        ("$null == $var(e)", true),
        ("$avp(none) == \"\"", true),
        ("$avp(none) == 0", true),
        ("$avp(none) != \"x\"", true),
        ("$avp(none) == $var(a)", false),
        ("$var(z) == $avp(none)", true),
        ("$avp(none) > -1", true),
        ("$var(a) =~ \"^A.C$\"", true),
        ("$var(a) =~ \"^b\"", false),
        ("$var(a) !~ \"^b\"", true),
        ("$var(a) =~ $var(re)", true),
        ("$avp(none) =~ \"^$\"", true),
        ("$var(i) =~ \"5\"", true),
        ("\"abc\" == $var(a)", true),
        ("$var(a) == \"ab\" + \"c\"", true),
        ("!$var(z) == 1", true),
        ("!($var(z) == 1)", true),
        ("!!1", true),
        ("$var(i) & 4", true),
        ("$var(z) - 3", false),
        ("$var(a) + \"x\"", false),
        ("$rU == \"bob\" and $rd == \"test.lan\"", true),
        (
            "method == OPTIONS && method == \"OPTIONS\" && method != \"INVITE\" && method =~ \"^opt\"",
            true,
        ),
        ("uri == myself", true),
        ("from_uri == myself", false),
        ("to_uri != myself", false),
        ("uri =~ \"bob@\"", true),
        ("src_ip == 127.0.0.2", true),
        ("src_ip == 127.0.0.0/8", true),
        ("src_ip == 10.0.0.0/255.0.0.0", false),
        ("src_ip == \"127.0.0.2\"", true),
        ("src_ip == ::1", false),
        ("src_ip != myself", true),
        ("dst_ip == myself", true),
        ("myself == uri", true),
        ("proto == UDP && proto != tcp", true),
        ("af == INET", true),
        ("af == INET6", false),
        ("src_port == 5060 && dst_port == 5060", true),
        (
            "strempty($var(e)) && strempty($avp(none)) && !strempty($var(a))",
            true,
        ),
        ("strlen($var(a)) == 3", true),
        ("@ruri.user == \"bob\"", true),
        ("search(\"^OPTIONS sip:.*test\")", true),
        ("search(\"$rU@nowhere\")", false),
        ("is_method(\"INVITE\") || is_method(\"OPTIONS\")", true),
        ("not is_method(\"INVITE\") and is_method(\"OPTIONS\")", true),
        (
            "count() == 1 && count(\"a\") == 1 && count(\"a\", \"b\") != 3",
            true,
        ),
    ] {
        let (log, _) = run(
            &format!("{prepare} if ({text}) xlog(\"yes\"); else xlog(\"no\");"),
            "",
        );
        assert_eq!(log, [if expected { "yes" } else { "no" }], "{text}");
    }
}

#[test]
fn control_flow_follows_kamailio() {
    for (body, extra, expected) in [
        (
            "$var(i)=0; while ($var(i) < 10) { $var(i) = $var(i) + 1; if ($var(i) == 7) break; } xlog(\"$var(i)\");",
            "",
            "7",
        ),
        (
            "$var(i)=0; while ($var(i) < 200) { $var(i) += 1; } xlog(\"$var(i)\");",
            "",
            "100",
        ),
        (
            "$var(i)=0; while ($var(i) < 6) { switch ($var(i)) { case 0: xlog(\"0\"); case 1: xlog(\"01\"); break; case 2: case 3: xlog(\"23\"); break; case 4: if ($var(i) == 4) { xlog(\"4\"); break; } xlog(\"x\"); default: xlog(\"d\"); } $var(i) += 1; }",
            "",
            "0 01 01 23 23 4 d",
        ),
        (
            "switch ($rU) { case \"alice\": xlog(\"a\"); break; case /\"^b.b$\": xlog(\"re\"); break; default: xlog(\"d\"); } switch ($rU) { case /^BOB/i: xlog(\"i\"); }",
            "",
            "re i",
        ),
        (
            "switch ($avp(none)) { case 0: xlog(\"zero\"); break; default: xlog(\"d\"); } switch (\"5\") { case 5: xlog(\"five\"); } switch ($rU) { case 5: xlog(\"n\"); break; default: xlog(\"d\"); }",
            "",
            "zero five d",
        ),
        (
            "if (is_method(\"OPTIONS\")) if ($rU == \"y\") xlog(\"then\"); else xlog(\"else\");",
            "",
            "else",
        ),
        (
            "route(A); xlog(\"$rc\"); route(B); xlog(\"$rc\"); route(C); xlog(\"$rc\"); route(D); xlog(\"$rc\"); route(E); xlog(\"$rc\");",
            "route[A] { return 1; } route[B] { return -5; } route[C] { return; } route[D] { is_method(\"INVITE\"); } route[E] { is_method(\"INVITE\"); $var(x) = 1; }",
            "1 -5 1 -1 1",
        ),
        (
            "is_method(\"INVITE\"); $var(x) = 1; xlog(\"$rc\"); if (!route(N)) xlog(\"n\"); $var(r) = route(BIG); xlog(\"$var(r)\");",
            "route[N] { return -1; } route[BIG] { return 42; }",
            "-1 n 42",
        ),
        (
            "if (route(F) || route(T) && route(F)) xlog(\"1\"); else xlog(\"0 $var(n)\");",
            "route[T] { $var(n) = $var(n) + 1; return 1; } route[F] { $var(n) = $var(n) + 10; return -1; }",
            "0 21",
        ),
        (
            "route(X); xlog(\"never\");",
            "route[X] { xlog(\"in\"); exit; }",
            "in",
        ),
        ("route(X); xlog(\"never\");", "route[X] { return 0; }", ""),
        ("zero(); xlog(\"never\");", "", ""),
        ("if (zero()) xlog(\"never\"); xlog(\"never\");", "", ""),
        ("$var(r) = zero(); xlog(\"never\");", "", ""),
        (
            "route($var(name)); $var(name) = \"DYN\"; route($var(name)); route(\"D\" + \"YN\"); route($rm);",
            "route[DYN] { xlog(\"dyn\"); } route[OPTIONS] { xlog(\"options\"); }",
            "dyn dyn options",
        ),
        (
            "$var(n)=0; route(REC); xlog(\"$var(n)\");",
            "route[REC] { $var(n) = $var(n) + 1; route(REC); }",
            "255",
        ),
        ("break; xlog(\"never\");", "", ""),
        (
            "route(B); xlog(\"after\");",
            "route[B] { xlog(\"in\"); break; }",
            "in after",
        ),
        (
            "put($var(p), \"a $rU\"); xlog(\"$var(p)\"); put(\"$avp(q)\", $var(p)); xlog(\"$avp(q)\");",
            "",
            "a bob a bob",
        ),
        (
            "xlog(\"$$ $rU$rd $(rU{s.toupper}) '$avp(none)'\");",
            "",
            "$ bobtest.lan BOB '<null>'",
        ),
        (
            "if (arm(\"F\") == 1) xlog(\"armed\"); if (arm(\"0\") == 0) xlog(\"off\");",
            "failure_route[F] { exit; }",
            "armed off",
        ),
    ] {
        let (log, _) = run(body, extra);
        assert_eq!(log.join(" "), expected, "{body}");
    }
}

#[test]
fn verdicts_tell_exit_from_drop() {
    for (body, code, exited, dropped) in [
        ("xlog(\"x\");", 1, false, false),
        ("is_method(\"INVITE\");", -1, false, false),
        ("return 7;", 7, false, false),
        ("exit;", 0, true, false),
        ("drop;", 0, true, true),
        ("return 0;", 0, true, false),
    ] {
        let (_, verdict) = run(body, "");
        assert_eq!(
            verdict,
            Verdict {
                code,
                exited,
                dropped
            },
            "{body}"
        );
    }
}

#[test]
fn core_functions_change_the_request() {
    for (body, expected) in [
        ("setuser(\"u1\");", "sip:u1@test.lan"),
        (
            "sethost(\"h1.example\"); setport(\"5099\");",
            "sip:bob@h1.example:5099",
        ),
        (
            "sethostport(\"h2.example:5098\"); setuserpass(\"u2:pw\");",
            "sip:u2:pw@h2.example:5098",
        ),
        ("prefix(\"00\"); strip(1); strip_tail(1);", "sip:0bo@test.lan"),
        ("seturi(\"sip:n@new.example;lr\");", "sip:n@new.example;lr"),
        ("seturi(\"sip:x@y\"); revert_uri();", "sip:bob@test.lan"),
        ("strip(99);", "sip:test.lan"),
        ("userphone();", "sip:bob@test.lan;user=phone"),
        (
            "setflag(1); setflag(31); if (isflagset(1) && !isflagset(3) && isflagset(31)) rewriteuser(\"flags\");",
            "sip:flags@test.lan",
        ),
        (
            "setflag(OLD); if ($mf == 4096) setuser(\"named\");",
            "sip:named@test.lan",
        ),
    ] {
        let mut stage = Stage::options();
        stage.script = program(&format!("flags OLD:12\nrequest_route {{ {body} }}"));
        let route = stage.script.program.request_route().expect("a request route");
        super::run(route, &mut stage.env());
        assert_eq!(String::from_utf8_lossy(stage.ctx.uri()), expected, "{body}");
    }
}

#[test]
fn a_trace_names_the_steps() {
    let mut stage = Stage::options();
    stage.script = program(
        "loadmodule \"testing\"\nrequest_route {\n  $var(x) = 1;\n  if (is_method(\"INVITE\")) exit;\n  route(A);\n}\nroute[A] { drop; }",
    );
    stage.vars.trace = Some(Box::default());
    let route = stage.script.program.request_route().expect("a request route");
    super::run(route, &mut stage.env());
    let trace = stage.vars.trace.take().expect("the trace");
    let sources = stage.script.program.sources();
    let steps: Vec<String> = trace
        .steps
        .iter()
        .map(|step| format!("{} {:?}", sources.position(step.span).line, step.what))
        .collect();
    insta::assert_snapshot!(steps.join("\n"), @r#"
    2 Enter(0)
    3 Assign("$var(x)", [49])
    4 Call("is_method", -1)
    4 Condition(false)
    7 Enter(1)
    7 Drop
    7 Leave(1, 0)
    2 Leave(0, 0)
    "#);
}

/// Deep nesting and recursion at their limits fit in a worker's stack.
#[test]
fn the_stack_suffices() {
    let mut body = String::from("route(REC);");
    for _ in 0..40 {
        body = format!("if ($var(n) < 1000) {{ {body} }}");
    }
    let (log, _) = run(
        "$var(n) = 0; route(REC); xlog(\"$var(n)\");",
        &format!("route[REC] {{ $var(n) = $var(n) + 1; {body} }}"),
    );
    assert_eq!(log, ["255"]);
}
