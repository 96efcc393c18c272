//! Scripts in memory: what comes out, and which mistakes are named.

use super::*;
use std::collections::HashMap;

/// Files in memory.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) HashMap<PathBuf, Vec<u8>>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0
            .get(path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn run(files: &[(&str, &str)], options: &Options) -> (String, String) {
    let memory = Memory(
        files
            .iter()
            .map(|(name, text)| (PathBuf::from(name), text.as_bytes().to_vec()))
            .collect(),
    );
    let (mut sources, mut found) = (Sources::default(), Diagnostics::default());
    let (tokens, _) = tokens(&memory, Path::new(files[0].0), options, &mut sources, &mut found);
    let mut out = String::new();
    for token in &tokens {
        if token.spaced && !out.is_empty() {
            out.push(' ');
        }
        out.push_str(token.text());
    }
    (out.trim().to_owned(), found.lines(&sources, true))
}

#[test]
fn replaces_and_skips() {
    for (text, expected) in [
        ("#!define A 1\nx=A;", "x=1;"),
        ("#!define A B + 1\n#!define B 2\nx=A;", "x=2 + 1;"),
        ("#!define A A\nA", "A"),
        ("#!define A\nA #!define LATE 3\nLATE", "A 3"),
        ("#!define M x; \\\n  y; \\\n  z\nM w", "x; y; z w"),
        ("#!ifdef A\n ##!endif\n $ \" ' /* \n#!else\nb\n#!endif\nc", "b c"),
        (
            "#!define A\n#!ifdef A\n#!ifndef B\n1\n#!else\n2\n#!endif\n#!else\n3\n#!endif",
            "1",
        ),
        ("#!trydef A 1\n#!trydef A 2\n#!redefine A 3\nA", "3"),
        ("#!subst \"/X/y/g\"\n\"XX\" 'X' X", "yy y X"),
        (
            "#!substdef \"!SDEF!33!g\"\n#!substdefs \"!Q!quoted!\"\nSDEF \"SDEF\" Q",
            "33 33 quoted",
        ),
        ("!!define A 1\n!!ifdef A\nif(!!A)\n!!endif", "if(!!1)"),
        (
            "#!define IP 1.2.3.4\nlisten=udp:IP:5060",
            "listen=udp:1.2.3.4:5060",
        ),
        ("#!KAMAILIO\n#!/usr/sbin/kamailio -f\nx", "x"),
        ("#!ifexp 1 == 2\na\n#!else\nb\n#!endif", "b"),
        ("#!defexp V16 1<<4\n#!defexps S \"a\" + V16\nV16 S", "16 a16"),
        ("#!define A 1\n#!undefine A\n#!ifdef A\na\n#!endif\nb", "b"),
        (
            "loadmodule \"/x/tm.so\"\n#!ifdef MOD_tm\na\n#!endif",
            "loadmodule /x/tm.so a",
        ),
        ("#!ifdef KAMAILIO_5\na\n#!endif", "a"),
        ("x #!endif", "x"),
        ("\u{feff}x", "x"),
    ] {
        let (out, found) = run(&[("a.cfg", text)], &Options::default());
        assert_eq!(out, expected, "{text}\n{found}");
    }
}

#[test]
fn includes_files() {
    let files = [
        (
            "/etc/a.cfg",
            "include_file \"inc/b.cfg\" 1\nimport_file \"none.cfg\"\n#!include_file \"inc/b.cfg\"\n2\nB",
        ),
        ("/etc/inc/b.cfg", "b import_file \"c.cfg\""),
        ("/etc/inc/c.cfg", "c\n#!trydef B last"),
    ];
    let (out, found) = run(&files, &Options::default());
    assert_eq!((out.as_str(), found.as_str()), ("b c 1 b c 2 last", ""));
}

#[test]
fn the_command_line_defines() {
    let options = Options {
        defines: vec!["WITH_X".into(), "N=5".into(), "S=\"text\"".into()],
        substs: vec![("subst".into(), "/a/b/".into())],
    };
    let (out, found) = run(
        &[("a.cfg", "#!ifdef WITH_X\nx=N;S \"a\"\n#!endif\n#!define N 6")],
        &options,
    );
    assert_eq!(out, "x=5;text b");
    assert_eq!(
        found,
        "a.cfg:4:10: warning[define]: `N` is already given by the command line, which is kept; `#!trydef` says so without this warning\n"
    );
}

#[test]
fn names_every_mistake() {
    for (text, expected) in [
        (
            "#!define A 1\n#!define A 2",
            "a.cfg:2:10: error[define]: `A` is already defined; use `#!trydef` to keep the first value, `#!redefine` to replace it\n",
        ),
        (
            "x\n#!ifdef A\ny",
            "a.cfg:2:1: error[preprocessor]: `#!ifdef` without its `#!endif`\n",
        ),
        (
            "x\n  #!endif\ny",
            "a.cfg:2:3: error[preprocessor]: `#!endif` without its `#!ifdef`\n",
        ),
        (
            "#!else",
            "a.cfg:1:1: error[preprocessor]: `#!else` without its `#!ifdef`\n",
        ),
        (
            "#!ifdef A\n#!else\n#!else\n#!endif",
            "a.cfg:3:1: error[preprocessor]: a second `#!else` for the same condition\n",
        ),
        (
            "include_file \"no.cfg\"",
            "a.cfg:1:14: error[file]: cannot read \"no.cfg\": entity not found\n",
        ),
        (
            "include_file x",
            "a.cfg:1:1: error[include]: the name of a file in quotes is missing here\n",
        ),
        (
            "#!subst \"/a/b\"",
            "a.cfg:1:9: error[preprocessor]: substitution `/a/b` needs its delimiter three times; a substitution is written \"/what/with/flags\"\n",
        ),
        (
            "#!defin A 1",
            "a.cfg:1:1: warning[preprocessor]: unknown directive `#!defin` is read as a comment; did you mean `define`?\n",
        ),
        (
            "#!ifexp 1 +\n#!endif",
            "a.cfg:1:9: error[preprocessor]: the expression ends too early\n",
        ),
        (
            "#!defenv NO_SUCH_VARIABLE_HERE",
            "a.cfg:1:10: error[define]: environment variable `NO_SUCH_VARIABLE_HERE` is not set; `#!trydefenv` allows it to be missing\n",
        ),
        (
            "a \"open\nb",
            "a.cfg:1:3: error[syntax]: string without its closing `\"`\n",
        ),
    ] {
        let (_, found) = run(&[("a.cfg", text)], &Options::default());
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn growth_is_bounded() {
    let (_, found) = run(&[("a.cfg", "x include_file \"a.cfg\"")], &Options::default());
    assert_eq!(found, "a.cfg:1:16: error[include]: a.cfg includes itself\n");
    let names: Vec<String> = (0..40).map(|n| format!("{n}.cfg")).collect();
    let texts: Vec<String> = (1..=40).map(|n| format!("include_file \"{n}.cfg\"")).collect();
    let chain: Vec<(&str, &str)> = names
        .iter()
        .map(String::as_str)
        .zip(texts.iter().map(String::as_str))
        .collect();
    let (_, found) = run(&chain, &Options::default());
    assert!(found.contains("more than 32 deep"), "{found}");
    let mut text = String::from("#!define A0 x x x x x x x x x x\n");
    for n in 1..9 {
        let before = format!("A{} ", n - 1);
        text.push_str(&format!("#!define A{n} {}\n", before.repeat(10)));
    }
    text.push_str("A8");
    let (_, found) = run(&[("a.cfg", &text)], &Options::default());
    assert!(found.contains("grows without end"), "{found}");
}

proptest::proptest! {
    #[test]
    fn never_panics(text in r#"([a-c"' ;]|#!|!!|define |ifdef |ifndef |else|endif|subst |"/a/b/"|include_file |\\|\n|A |B ){0,60}"#) {
        run(&[("a.cfg", &text)], &Options::default());
    }
}
