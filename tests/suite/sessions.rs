//! Whole sessions with the tools, every command in every form of answer, against the transcripts in `sessions/`.
//!
//! A transcript is its own input. `$ COMMAND` runs once, `* COMMAND` in each of the five forms, whose name stands for `{}`; with a
//! `~` before it numbers, tokens and dates are hidden. `= FILE` writes the indented lines that follow. `daemon` in the first line starts
//! one. What standard error got begins with `! `, an exit code other than 0 stands in brackets. `UPDATE_SESSIONS=1` writes
//! down what the tools say now.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use tempfile::TempDir;
use tests::site::Site;
use tests::subject::Launch;
use tests::subject::Server;
use tests::subject::Subject;
use tests::subject::built;
use tests::wait;

use crate::sources;
use crate::support::split;

/// The width of help where no terminal says another.
const HELP_WIDTH: usize = 100;

const FORMS: [&str; 5] = ["table", "json", "yaml", "csv", "plain"];

macro_rules! sessions {
    ($($name:ident),* $(,)?) => {
        const SESSIONS: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*
    };
}

sessions! {
    subscribers,
    tables,
    routing,
    carriers,
    registrations,
    running,
    files,
    kamctl,
    databases,
    refusals,
}

/// These speak to a terminal, their answer is no data, it grows with the daemon, or it is what comes (`trace.rs`).
const UNSHOWN: [&str; 10] = [
    "completions",
    "connect",
    "man",
    "module",
    "monitor",
    "restart",
    "rpclist",
    "shell",
    "start",
    "trace",
];

#[test]
fn every_command_is_shown_in_every_form() {
    let mut shown = BTreeSet::new();
    for name in SESSIONS {
        let text = fs::read_to_string(path(name)).unwrap();
        for line in text.lines() {
            if let Some(command) = line.trim_start_matches('~').strip_prefix("* ") {
                shown.insert(leaf(&split(command)));
            }
        }
    }
    let mut missing = Vec::new();
    for command in [proxyctl::command(), dbctl::command()] {
        let name = command.get_name().to_owned();
        leaves(&command, &name, &mut |leaf, _| {
            let last = leaf.rsplit(' ').next().unwrap_or_default();
            if !shown.contains(leaf) && !UNSHOWN.contains(&last) && !leaf.starts_with("proxyctl subscriber ")
            {
                missing.push(leaf.to_owned());
            }
        });
    }
    assert!(missing.is_empty(), "in no session: {missing:#?}");
}

#[test]
fn every_command_succeeds_once_and_every_exit_code_is_provoked() {
    let (mut done, mut codes) = (BTreeSet::new(), BTreeSet::new());
    for name in SESSIONS {
        let text = fs::read_to_string(path(name)).unwrap();
        outcomes(&text, &mut |words, code| {
            if code == 0 {
                done.insert(leaf(words));
            }
            codes.insert((words[0].clone(), code));
        });
    }
    // Their modules are not here, or they want a database server or nobody at the terminal: other tests have them.
    let excepted = [
        "proxyctl cr dump",
        "proxyctl cr reload",
        "proxyctl dialog end",
        "proxyctl htable reload",
        "proxyctl htable store",
        "proxyctl lcr dump_gws",
        "proxyctl lcr dump_routes",
        "proxyctl lcr reload",
        "proxyctl uid_domain reload",
        "proxyctl uid_domain show",
        "dbctl grant",
        "dbctl revoke",
    ];
    let mut missing = Vec::new();
    for command in [proxyctl::command(), dbctl::command()] {
        let name = command.get_name().to_owned();
        leaves(&command, &name, &mut |leaf, _| {
            let last = leaf.rsplit(' ').next().unwrap_or_default();
            if !done.contains(leaf)
                && !excepted.contains(&leaf)
                && !UNSHOWN.contains(&last)
                && !leaf.starts_with("proxyctl subscriber ")
            {
                missing.push(leaf.to_owned());
            }
        });
    }
    assert!(missing.is_empty(), "only refused: {missing:#?}");
    let expected = [
        ("proxyctl", vec![1, 2, 3, 4, 5, 6]),
        ("dbctl", vec![1, 2, 3, 4, 6]),
    ];
    for (program, expected) in expected {
        for code in expected {
            assert!(codes.contains(&(program.to_owned(), code)), "{program} {code}");
        }
    }
}

/// Calls a function with the words and the exit code of each run in a transcript.
fn outcomes(text: &str, visit: &mut dyn FnMut(&[String], i32)) {
    let mut run: Option<(Vec<String>, i32)> = None;
    let mut command = Vec::new();
    for line in text.lines() {
        let bare = line.trim_start_matches('~');
        let code = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']')?.parse().ok());
        let next = if let Some(line) = bare.strip_prefix("$ ") {
            Some(Some(split(line)))
        } else if let Some(line) = bare.strip_prefix("* ") {
            command = split(line);
            Some(None)
        } else {
            line.strip_prefix("--- ").map(|_| Some(command.clone()))
        };
        if let Some(next) = next {
            if let Some((words, code)) = run.take() {
                visit(&words, code);
            }
            run = next.map(|words| (words, 0));
        } else if let (Some(code), Some((_, last))) = (code, &mut run) {
            *last = code;
        }
    }
    if let Some((words, code)) = run {
        visit(&words, code);
    }
}

#[test]
fn every_command_has_examples_and_a_place_in_the_documents() {
    let documents = fs::read_to_string(sources::root().join("docs/json-output.md")).unwrap();
    let mut wrong = Vec::new();
    for command in [proxyctl::command(), dbctl::command()] {
        let name = command.get_name().to_owned();
        leaves(&command, &name, &mut |leaf, found| {
            let help = found
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            if !help.contains("Example") {
                wrong.push(format!("{leaf} has no example"));
            }
            // Paragraphs are wrapped where they are shown, examples are not.
            let wide = |line: &&str| line.starts_with(' ') && line.chars().count() > HELP_WIDTH;
            wrong.extend(
                help.lines()
                    .filter(wide)
                    .map(|line| format!("{leaf} is too wide: {line}")),
            );
            let words: Vec<&str> = leaf.split(' ').skip(1).collect();
            let known = |line: &str| line.starts_with('|') && words.iter().all(|word| line.contains(word));
            if words[0] != "subscriber" && !documents.lines().any(known) {
                wrong.push(format!("{leaf} is not in docs/json-output.md"));
            }
        });
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_example_can_be_typed() {
    let mut wrong = Vec::new();
    for command in [proxyctl::command(), dbctl::command()] {
        let name = command.get_name().to_owned();
        let mut try_all = |place: &str, found: &clap::Command| {
            let help = found
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            for line in help.lines() {
                if let Some(words) = example(line, &name)
                    && let Err(error) = command.clone().try_get_matches_from(words)
                {
                    wrong.push(format!("{place}: {line}: {error}"));
                }
            }
        };
        try_all(&name, &command);
        for noun in command.get_subcommands() {
            try_all(noun.get_name(), noun);
        }
        leaves(&command, &name, &mut try_all);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The words of an example, which ends at two blanks or what belongs to the shell; an RPC without `rpc` is none.
fn example(line: &str, program: &str) -> Option<Vec<String>> {
    let (_, rest) = line.strip_prefix("  ")?.split_once(&format!("{program} "))?;
    let mut line = format!("{program} {}", rest.split("  ").next()?);
    if line.contains('"') {
        line = line.replace('\'', "").replace('"', "'");
    }
    let words: Vec<String> = split(&line)
        .into_iter()
        .take_while(|word| !matches!(word.as_str(), ">" | "<" | "|"))
        .collect();
    (!words.get(1)?.contains('.')).then_some(words)
}

/// Calls a function with every command that has none below it.
fn leaves(command: &clap::Command, name: &str, visit: &mut dyn FnMut(&str, &clap::Command)) {
    if !command.has_subcommands() {
        visit(name, command);
    }
    for below in command.get_subcommands() {
        leaves(below, &format!("{name} {}", below.get_name()), visit);
    }
}

/// The command in a line, without options and arguments.
fn leaf(words: &[String]) -> String {
    let (program, rest) = words.split_first().expect("a program");
    let mut command = if program == "dbctl" {
        dbctl::command()
    } else {
        proxyctl::command()
    };
    let mut name = program.clone();
    for word in rest {
        let Some(below) = command.find_subcommand(word).cloned() else {
            continue;
        };
        let _ = write!(name, " {}", below.get_name());
        command = below;
        if !command.has_subcommands() {
            break;
        }
    }
    name
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("suite/sessions/{name}.txt"))
}

fn check(name: &str) {
    let path = path(name);
    let expected = fs::read_to_string(&path).unwrap();
    let found = Session::run(&expected);
    if env::var_os("UPDATE_SESSIONS").is_some() {
        fs::write(&path, found).unwrap();
        return;
    }
    let differs = expected.lines().zip(found.lines()).position(|(a, b)| a != b);
    if let Some(line) =
        differs.or((expected != found).then(|| expected.lines().count().min(found.lines().count())))
    {
        let show = |text: &str| {
            text.lines()
                .skip(line.saturating_sub(8))
                .take(16)
                .collect::<Vec<_>>()
                .join("\n")
        };
        panic!(
            "{}:{}: (UPDATE_SESSIONS=1 writes it anew)\n--- expected\n{}\n--- found\n{}",
            path.display(),
            line + 1,
            show(&expected),
            show(&found)
        );
    }
}

/// A home folder with a database, and a daemon where it is asked for.
struct Session {
    home: TempDir,
    server: Option<Server>,
    transcript: String,
}

impl Session {
    fn run(text: &str) -> String {
        let home = tempfile::tempdir().unwrap();
        let mut session = Self {
            home,
            server: None,
            transcript: String::new(),
        };
        let mut lines = text.lines().peekable();
        if lines.next_if_eq(&"daemon").is_some() {
            session.transcript.push_str("daemon\n");
            session.start();
        }
        while let Some(line) = lines.next() {
            let (hidden, bare) = match line.strip_prefix('~') {
                Some(bare) => (true, bare),
                None => (false, line),
            };
            if let Some(comment) = line.strip_prefix("# ") {
                let _ = writeln!(session.transcript, "# {comment}");
            } else if let Some(file) = line.strip_prefix("= ") {
                let mut content = String::new();
                while let Some(line) = lines.next_if(|line| line.starts_with("    ")) {
                    content.push_str(&line[4..]);
                    content.push('\n');
                }
                fs::write(session.home.path().join(file), &content).unwrap();
                let _ = writeln!(session.transcript, "= {file}");
                for line in content.lines() {
                    let _ = writeln!(session.transcript, "    {line}");
                }
            } else if let Some(command) = bare.strip_prefix("$ ") {
                let _ = writeln!(session.transcript, "{line}");
                let said = session.say(command, None);
                session.write(&said, hidden);
            } else if let Some(command) = bare.strip_prefix("* ") {
                let _ = writeln!(session.transcript, "{line}");
                for form in FORMS {
                    let _ = writeln!(session.transcript, "--- {form}");
                    let said = session.say(&command.replace("{}", form), Some(form));
                    session.write(&said, hidden);
                }
            }
        }
        session.transcript
    }

    /// Starts a daemon whose control socket is the home's.
    fn start(&mut self) {
        let created = self.say("dbctl create --all", None);
        assert!(created.status.success());
        let site = Site::new();
        let home = self.home.path();
        let script = home.join("clients.cfg");
        fs::copy(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/clients/clients.cfg"),
            &script,
        )
        .unwrap();
        let launch = Launch {
            script,
            listen: site.listen().into_iter().take(2).collect(),
            defines: vec![
                format!("DBURL=\"sqlite:///{}\"", home.join("proxyd.db").display()),
                format!("CTL=\"unix:{}\"", home.join("ctl").display()),
            ],
            options: vec!["--home".to_owned(), home.display().to_string()],
            folder: Some(home.join("server")),
            ..Launch::default()
        };
        let server = Server::start(Subject::Proxyd, &launch).unwrap_or_else(|error| panic!("{error}"));
        let control = server.run_folder().join("control.sock");
        let open = wait::until(wait::PATIENCE, || control.exists().then_some(()));
        assert!(open.is_some(), "{}", server.log());
        self.server = Some(server);
    }

    fn say(&self, line: &str, form: Option<&str>) -> Output {
        let words = split(line);
        let (program, rest) = words.split_first().expect("a program");
        let home = self.home.path();
        let mut command = Command::new(built(&format!("t-{program}")));
        command
            .arg("--home")
            .arg(home)
            .args(form.iter().flat_map(|form| ["--output", *form]));
        if let Some(server) = &self.server
            && program == "proxyctl"
        {
            command
                .arg("--socket")
                .arg(server.run_folder().join("control.sock"));
        }
        command.args(rest).current_dir(home).stdin(Stdio::null());
        command.env_clear().env("HOME", home).env("NO_COLOR", "1");
        command.output().unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn write(&mut self, output: &Output, hidden: bool) {
        let mut neutral = |bytes: &[u8], mark: &str| {
            let text =
                String::from_utf8_lossy(bytes).replace(&self.home.path().display().to_string(), "HOME");
            let text = if hidden { without_numbers(&text) } else { text };
            for line in text.lines() {
                let _ = writeln!(self.transcript, "{}", format!("{mark}{line}").trim_end());
            }
        };
        neutral(&output.stdout, "");
        neutral(&output.stderr, "! ");
        match output.status.code() {
            Some(0) => {}
            Some(code) => self.transcript.push_str(&format!("[{code}]\n")),
            None => self.transcript.push_str("[killed]\n"),
        }
    }
}

/// Digits as one `N` each run, hexadecimal words whole, and the widths that follow from them as one.
fn without_numbers(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    let mut bare = String::new();
    for piece in text.split_inclusive(|c| !is_word(c)) {
        let word = piece.trim_end_matches(|c| !is_word(c));
        let is_hex = word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex && (word.len() > 2 || word.bytes().any(|b| b.is_ascii_digit())) {
            bare.push('N');
            bare.push_str(&piece[word.len()..]);
        } else {
            bare.push_str(piece);
        }
    }
    let mut out = String::new();
    let mut last = None;
    for c in bare.chars() {
        let c = if c.is_ascii_digit() { 'N' } else { c };
        if !(matches!(c, 'N' | ' ' | '─' | '═') && last == Some(c)) {
            out.push(c);
        }
        last = Some(c);
    }
    for day in ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] {
        out = out.replace(&format!("{day} "), "DAY ");
    }
    for month in [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ] {
        out = out.replace(&format!("DAY {month} "), "DAY MONTH ");
    }
    out
}
