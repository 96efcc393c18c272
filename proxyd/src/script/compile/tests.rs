//! Mistakes, each with its place and its help, and warnings about what is hardly meant.

use super::Additions;
use super::Compiled;
use super::compile;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::ParamValue;
use crate::script::parse;
use crate::script::preprocess::Files;
use crate::script::preprocess::Options;
use std::io;
use std::path::Path;

static EXTRA: ModuleDef = ModuleDef {
    params: &[
        Param::Int("number", 5, ""),
        Param::Text("text", "", ""),
        Param::List("list", ""),
        Param::Pv("variable", "", ""),
        Param::Ignored("old", "it is gone"),
    ],
    needs: &["testing"],
    events: &["extra:event"],
    ..ModuleDef::new("extra", "For tests.")
};

static MODULES: &[&ModuleDef] = &[&EXTRA, &crate::script::exec::tests::TESTING];

struct One(String);

impl Files for One {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path != Path::new("a.cfg") {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(self.0.clone().into_bytes())
    }
}

fn run(text: &str) -> Compiled {
    let parsed = parse::load(&One(text.to_owned()), Path::new("a.cfg"), &Options::default());
    compile(parsed, MODULES, &Additions::default())
}

fn found(text: &str) -> Vec<String> {
    let compiled = run(text);
    let lines = compiled.found.lines(compiled.program.sources(), true);
    lines
        .lines()
        .map(|line| line.trim_start_matches("a.cfg:").to_owned())
        .collect()
}

/// Each body stands in line 2 of its script.
#[test]
fn mistakes_in_statements() {
    for (body, expected) in [
        (
            "xlgo(\"x\");",
            &["2:1: error[unknown-function]: unknown function `xlgo`; did you mean `xlog`?"][..],
        ),
        (
            "xlog();",
            &["2:1: error[argument-count]: `xlog` takes 1 argument, 0 given; it is written xlog(text)"],
        ),
        (
            "answer(200, \"a\", \"b\");",
            &[
                "2:1: error[argument-count]: `answer` takes 1 to 2 arguments, 3 given; it is written answer(code, [reason])",
            ],
        ),
        (
            "answer(\"abc\");",
            &["2:8: error[argument]: argument `code` of `answer` needs a number or a pseudo-variable"],
        ),
        (
            "xlog(\"a $rUx $unknown_pv\\n\");",
            &[
                "2:9: error[unknown-pv]: unknown pseudo-variable `$rUx`; did you mean `$rU`?",
                "2:14: error[unknown-pv]: unknown pseudo-variable `$unknown_pv`",
            ],
        ),
        (
            "$var = 1;",
            &["2:1: error[pv-parameter]: `$var` needs a name in parentheses, as in `$var(x)`"],
        ),
        (
            "$ru(x) = 1;",
            &["2:1: error[pv-parameter]: `$ru` takes no parentheses"],
        ),
        (
            "$rm = \"INVITE\";",
            &["2:1: error[read-only]: `$rm` is read only"],
        ),
        (
            "$(var(x){s.len}) = 1;",
            &["2:1: error[assignment]: a transformation cannot be assigned to"],
        ),
        (
            "$var(x) = $(rU{s.lne});",
            &[
                "2:15: error[unknown-transformation]: unknown transformation `{s.lne}`; did you mean `{s.len}`?",
            ],
        ),
        (
            "$var(x) = $(rU{s.substr,1});",
            &["2:15: error[transformation-parameter]: `{s.substr}` takes 2 parameters"],
        ),
        (
            "route(MAIM);",
            &["2:7: error[unknown-route]: there is no `route[MAIM]`; did you mean `MAIN`?"],
        ),
        (
            "arm(\"FAIL\");",
            &[
                "2:5: warning[unknown-route]: there is no `failure_route[FAIL]` for argument `route` of `arm`; did you mean `FAILED`?",
            ],
        ),
        (
            "if (metod == \"INVITE\") xlog(\"x\");",
            &["2:5: error[bare-word]: `metod` is neither a value nor a keyword; did you mean `method`?"],
        ),
        (
            "if (is_method == 1) xlog(\"x\");",
            &[
                "2:5: error[bare-word]: `is_method` is neither a value nor a keyword; to call the function, write `is_method()`",
            ],
        ),
        (
            "xlog(hello);",
            &[
                "2:6: error[argument]: argument `text` of `xlog` is the bare word `hello`; put it in quotes: \"hello\"",
            ],
        ),
        (
            "if ($rU =~ \"[a\") xlog(\"x\");",
            &["2:12: error[regex]: `[a` is no regular expression: bracket without an end"],
        ),
        (
            "if (proto == UPD) xlog(\"x\");",
            &["2:14: error[protocol]: `UPD` is no transport; did you mean `UDP`?"],
        ),
        (
            "if (src_ip == 10.0.0.300) xlog(\"x\");",
            &["2:15: error[network]: `10.0.0.300` is not an IP address"],
        ),
        (
            "if (src_ip == 10.0.0.1/8) xlog(\"x\");",
            &["2:15: warning[network]:"],
        ),
        (
            "if (status == myself) xlog(\"x\");",
            &["2:5: error[myself]: only URIs and addresses can be compared with `myself`"],
        ),
        (
            "setflag(40);",
            &["2:9: error[flag]: `40` is no flag: flags are numbered 0 to 31"],
        ),
        (
            "setflag(FLT_ACC);",
            &["2:9: error[flag]: unknown flag `FLT_ACC`; name it with `#!define NAME 5` or `flags NAME:5`"],
        ),
        (
            "put(\"x\", \"y\");",
            &[
                "2:5: error[argument]: argument `variable` of `put` needs a pseudo-variable, such as \"$var(x)\"",
            ],
        ),
        (
            "xlog(\"x\" + is_method(\"y\"));",
            &[
                "2:6: error[argument]: a function cannot be called within an argument; assign its result to a `$var` first",
            ],
        ),
        (
            "search(\"(\");",
            &["2:8: error[regex]: `(` is no regular expression: unclosed group"],
        ),
        (
            "switch ($rU) { case \"a\": case \"a\": xlog(\"x\"); }",
            &["2:26: error[duplicate-case]: this case was there before"],
        ),
        (
            "$var(x) = 99999999999;",
            &["2:11: error[number]: `99999999999` does not fit in 32 bits"],
        ),
        (
            "$var(x) = 5 / 0;",
            &["2:11: warning[division]: division by zero: the expression has no value"],
        ),
        (
            "break;",
            &[
                "2:1: warning[break]: `break` outside of a loop or `switch`; it ends the route block: `return` says so",
            ],
        ),
        ("xlog;", &["2:5: error[syntax]: missing `()` behind `xlog`"]),
        (
            "if (xlgo(\"$nope\")) { xlgo2(); }",
            &[
                "2:5: error[unknown-function]: unknown function `xlgo`; did you mean `xlog`?",
                "2:22: error[unknown-function]: unknown function `xlgo2`; did you mean `xlog`?",
            ],
        ),
    ] {
        let script = format!(
            "loadmodule \"testing.so\" request_route {{\n{body}\n}} route[MAIN] {{ route(MAIN); }} failure_route[FAILED] {{ exit; }}"
        );
        let mut got = found(&script);
        got.retain(|line| !line.contains("[unused-route]"));
        let same =
            got.len() == expected.len() && got.iter().zip(expected).all(|(got, want)| got.starts_with(want));
        assert!(same, "{body}\n got {got:#?}\nwant {expected:#?}");
    }
}

#[test]
fn mistakes_in_settings() {
    for (text, expected) in [
        (
            "debig=3\nrequest_route { exit; }",
            &["1:1: error[unknown-parameter]: unknown core parameter `debig`; did you mean `debug`?"][..],
        ),
        (
            "children=\"x\"\nlog_stderror=maybe\nrequest_route { exit; }",
            &[
                "1:10: error[parameter]: core parameter `children` needs a number",
                "2:14: error[parameter]: core parameter `log_stderror` needs yes or no",
            ],
        ),
        (
            "memdbg=5\nrequest_route { exit; }",
            &["1:1: note[ignored]: `memdbg` has no effect here: memory is managed by the system's allocator"],
        ),
        (
            "loadmodule \"tesing.so\"\nrequest_route { exit; }",
            &["1:12: error[unknown-module]: unknown module `tesing`; did you mean `testing`?"],
        ),
        (
            "loadmodule \"pdb.so\"\nloadmodule \"memcachd.so\"\nloadmodule \"nothing_like_it.so\"\nmodparam(\"pdt\", \"x\", 1)\n\
             event_route[evapi:message-received] { exit; }\nrequest_route { pdb_query(\"x\"); $var(a) = $evapi(srcaddr); }",
            &[
                "1:12: error[unknown-module]: unknown module `pdb`; Kamailio has it, proxyd does not",
                "2:12: error[unknown-module]: unknown module `memcachd`; did you mean `memcached`? Kamailio has it, proxyd does not",
                "3:12: error[unknown-module]: unknown module `nothing_like_it`",
                "4:10: error[modparam]: unknown module `pdt`; Kamailio has it, proxyd does not",
                "5:13: warning[unknown-event]: nothing raises the event `evapi:message-received`; it is of module `evapi`, which proxyd does not have",
                "6:17: error[unknown-function]: unknown function `pdb_query`; it is of module `pdb`, which proxyd does not have",
                "6:43: error[unknown-pv]: unknown pseudo-variable `$evapi`; it is of module `evapi`, which proxyd does not have",
            ],
        ),
        (
            "loadmodule \"extra.so\"\nrequest_route { exit; }",
            &["1:1: error[module-needs]: module `extra` needs `loadmodule \"testing.so\"`"],
        ),
        (
            "modparam(\"extra\", \"number\", 1)\nrequest_route { exit; }",
            &["1:10: error[modparam]: module `extra` is not loaded; it needs `loadmodule \"extra.so\"`"],
        ),
        (
            "loadmodule \"testing\" loadmodule \"extra\"\nmodparam(\"extra\", \"numbre\", 1)\nmodparam(\"extra\", \"number\", \"x\")\nmodparam(\"extra\", \"variable\", \"x\")\nmodparam(\"extra\", \"variable\", \"$nope\")\nmodparam(\"extra\", \"old\", 1)\nrequest_route { exit; }",
            &[
                "2:19: error[unknown-modparam]: module `extra` has no parameter `numbre`; did you mean `number`?",
                "3:29: error[modparam-type]: parameter `number` of module `extra` needs a number",
                "4:31: error[modparam-type]: parameter `variable` of module `extra` needs a pseudo-variable, such as \"$avp(x)\"",
                "5:32: error[unknown-pv]: unknown pseudo-variable `$nope`",
                "6:26: note[ignored]: parameter `old` of module `extra` has no effect here: it is gone",
            ],
        ),
        (
            "listen=upd:1.2.3.4:5060\nrequest_route { exit; }",
            &["1:8: error[socket]: socket `upd:1.2.3.4:5060` begins with `upd`"],
        ),
        (
            "flags A:40\nrequest_route { exit; }",
            &["1:7: error[flag]: flag `A` needs a number from 0 to 31"],
        ),
        (
            "gw.ip = x\nrequest_route { exit; }",
            &["1:9: error[parameter]: `gw.ip` needs a number or text in quotes; put it in quotes: \"x\""],
        ),
        (
            "route[A] { exit; }",
            &["1:1: warning[no-request-route]: the script has no `request_route`"],
        ),
        (
            "request_route { exit; }\nrequest_route { exit; }\nroute[A] { route(A); }\nroute[A] { exit; }",
            &[
                "2:1: error[duplicate-route]: `request_route` is defined twice",
                "4:1: error[duplicate-route]: `route[A]` is defined twice",
            ],
        ),
        (
            "loadmodule \"testing\"\nreply_route { answer(200); }\nrequest_route { route(A); }\nroute[A] { answer(200); }",
            &[
                "2:15: error[route-kind]: `answer` cannot be called in reply_route; it may be called in request_route",
            ],
        ),
        (
            "loadmodule \"testing\"\nreply_route { route(A); }\nrequest_route { exit; }\nroute[A] { answer(200); }",
            &["4:12: error[route-kind]: `answer` cannot be called in reply_route"],
        ),
        (
            "event_route[extra:event] { exit; }\nevent_route[core:msg-recived] { exit; }\nrequest_route { exit; }",
            &[
                "1:13: warning[unknown-event]: nothing raises the event `extra:event`; it needs `loadmodule \"extra.so\"`",
                "2:13: warning[unknown-event]: nothing raises the event `core:msg-recived`; did you mean `core:msg-received`?",
            ],
        ),
    ] {
        let mut got = found(text);
        got.retain(|line| !line.contains("[unused-route]"));
        let same =
            got.len() == expected.len() && got.iter().zip(expected).all(|(got, want)| got.starts_with(want));
        assert!(same, "{text}\n got {got:#?}\nwant {expected:#?}");
    }
}

#[test]
fn warnings() {
    for (text, expected) in [
        (
            "request_route { exit; }\nroute[A] { exit; }\nfailure_route[F] { exit; }",
            &[
                "2:1: warning[unused-route]: `route[A]` is never run",
                "3:1: warning[unused-route]: `failure_route[F]` is never run",
            ][..],
        ),
        ("request_route { route($var(x)); }\nroute[A] { exit; }", &[]),
        (
            "request_route {\n  exit;\n  setflag(1);\n  setflag(2);\n}",
            &["3:3: warning[unreachable]: this is never run"],
        ),
        (
            "request_route {\n  if ($rU == \"a\") { exit; setflag(1); }\n  setflag(2);\n}",
            &["2:27: warning[unreachable]: this is never run"],
        ),
        (
            "request_route {\n forward();\n}",
            &["2:2: warning[open-relay]: requests are relayed for anyone"],
        ),
        ("request_route {\n if (uri == myself) forward();\n}", &[]),
    ] {
        let got = found(text);
        let same =
            got.len() == expected.len() && got.iter().zip(expected).all(|(got, want)| got.starts_with(want));
        assert!(same, "{text}\n got {got:#?}\nwant {expected:#?}");
    }
}

#[test]
fn settings_reach_the_program() {
    let compiled = run(
        "#!define NAME \"x\"\nlisten=udp:127.0.0.1:5060 name \"s\"\nalias=a.b c.d\nserver_header=\"Server: mine\"\nserver_id=7\n\
         max_while_loops=3\nflags A, B:5, C\ngw.ip=\"1.2.3.4\" desc \"d\"\nloadmodule \"extra\"\nloadmodule \"testing\"\n\
         modparam(\"extra\", \"list\", \"a\")\nmodparam(\"ex.*\", \"list\", \"b\")\nmodparam(\"extra\", \"variable\", \"$avp(x)\")\n\
         request_route { exit; }\nonreply_route { exit; }\nevent_route[extra:event] { exit; }\n",
    );
    assert_eq!(compiled.found.lines(compiled.program.sources(), true), "");
    let program = &compiled.program;
    assert_eq!(program.listens().len(), 1);
    assert_eq!(program.settings("alias").len(), 2);
    assert_eq!(program.server_header(), Some(&b"mine"[..]));
    assert_eq!((program.server_id(), program.while_limit), (7, 3));
    assert_eq!(
        (program.flag("A"), program.flag("B"), program.flag("C")),
        (Some(0), Some(5), Some(1))
    );
    assert_eq!(
        program.custom("gw", "ip"),
        Some(&ParamValue::Text(b"1.2.3.4".to_vec()))
    );
    assert_eq!(program.define(b"NAME"), Some(&b"\"x\""[..]));
    assert!(program.request_route().is_some() && program.reply_route().is_some());
    assert!(program.event_route("extra:event").is_some());
    let order: Vec<&str> = compiled.modules.iter().map(|module| module.def.name).collect();
    assert_eq!(order, ["testing", "extra"]);
    let extra = compiled.modules.last().expect("two modules");
    assert_eq!(extra.params.values.len(), 3);
    assert_eq!(extra.params.pvs.len(), 1);
}

#[test]
fn the_report_quotes_the_line() {
    let compiled = run("loadmodule \"testing\"\nrequest_route {\n\txlog(\"hello $fUx\\n\");\n}\n");
    insta::assert_snapshot!(compiled.found.render(compiled.program.sources(), false), @r#"
    error[unknown-pv]: unknown pseudo-variable `$fUx`
      ┌─ a.cfg:3:14
      │
    3 │     xlog("hello $fUx\n");
      │                 ^^^^
      │
      = did you mean `$fU`?
    "#);
}

/// A whole script with many mistakes: every one is reported once, with its line.
#[test]
fn a_corpus_of_mistakes() {
    let compiled = run(include_str!("../corpus/mistakes.cfg"));
    let report = compiled.found.render(compiled.program.sources(), false);
    insta::with_settings!({ snapshot_path => "../corpus", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("mistakes", report);
    });
}

/// A whole script with most of the language in it: nothing to report.
#[test]
fn a_corpus_of_features() {
    assert_eq!(
        found(include_str!("../corpus/features.cfg")),
        Vec::<String>::new()
    );
}

#[test]
fn modparamx_puts_variables_in() {
    let compiled = run("#!define SIZE 7\nloadmodule \"testing\"\nloadmodule \"extra\"\n\
         modparamx(\"extra\", \"number\", \"$def(SIZE)\")\nmodparamx(\"extra\", \"text\", \"a$(def(SIZE){s.len})b$fU\")\n\
         modparam(\"extra\", \"list\", \"$def(SIZE)\")\nrequest_route { exit; }");
    assert!(compiled.is_ok());
    let extra = compiled.modules.iter().find(|module| module.def.name == "extra");
    let values = &extra.expect("the module").params.values;
    let text = |text: &str| ParamValue::Text(text.as_bytes().to_vec());
    assert_eq!(
        values[..],
        [
            ("number", ParamValue::Int(7)),
            ("text", text("a1b<null>")),
            ("list", text("$def(SIZE)"))
        ]
    );
}
