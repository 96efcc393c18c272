//! Kamailio's own clients, unmodified: what kamctl, kamcmd, curl and kamcli print of proxyd is what they print of Kamailio.

mod json;
#[cfg(feature = "kamcli")]
mod kamcli;
mod kamcmd;
mod kamctl;

use std::env;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::thread;

use tempfile::TempDir;
use tests::site::Site;
use tests::subject::Launch;
use tests::subject::Server;
use tests::subject::Subject;
use tests::subject::built;
use tests::wait;

use crate::support::split;
use crate::support::words;

/// How the answers of Kamailio and of proxyd to one command must be alike; their exit statuses always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Like {
    /// Word for word.
    Same,
    /// Word for word but for numbers: times, ids, counts.
    Numbers,
    /// Every name that Kamailio shows: keys, columns.
    Names,
    /// Only in how they end: what is said is each one's own.
    Ends,
}

/// A client's command line and how its answers must be alike.
type Line = (&'static str, Like);

/// What a command came to.
#[derive(Debug)]
struct Outcome {
    text: String,
    code: Option<i32>,
}

/// A server of one kind, with every transport open and a database of its own.
struct Target {
    server: Server,
    site: Site,
    folder: TempDir,
    database: String,
}

impl Target {
    fn start(subject: Subject, mysql: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = match mysql {
            None => format!("sqlite:///{}", folder.path().join("test.db").display()),
            Some(url) => format!("{url}_{subject:?}_{}", std::process::id()).to_lowercase(),
        };
        dbctl(&["--db-url", &database, "create", "--all"]);
        let site = Site::new();
        let mut launch = Launch {
            script: Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/clients/clients.cfg"),
            listen: site.listen().into_iter().take(2).collect(),
            defines: vec![
                format!("DBURL=\"{database}\""),
                format!("CTL=\"unix:{}\"", folder.path().join("ctl").display()),
            ],
            folder: Some(folder.path().join("server")),
            ..Launch::default()
        };
        if mysql.is_some() {
            launch.defines.push("WITH_MYSQL".to_owned());
        }
        if subject == Subject::Kamailio {
            launch.options.extend(["-m", "64", "-M", "8"].map(str::to_owned));
        }
        let server = Server::start(subject, &launch).unwrap_or_else(|error| panic!("{error}"));
        let target = Self {
            server,
            site,
            folder,
            database,
        };
        let files = [target.fifo(), target.datagram(), target.ctl()];
        let open = wait::until(wait::PATIENCE, || {
            files.iter().all(|file| file.exists()).then_some(())
        });
        assert!(open.is_some(), "{files:?}\n{}", target.server.log());
        target
    }

    fn fifo(&self) -> PathBuf {
        self.server.run_folder().join("kamailio_rpc.fifo")
    }

    fn datagram(&self) -> PathBuf {
        self.server.run_folder().join("kamailio_rpc.sock")
    }

    fn ctl(&self) -> PathBuf {
        self.folder.path().join("ctl")
    }

    /// Runs a program without a terminal; what names this target in its answer is made neutral.
    fn run(&self, program: &str, arguments: &[String]) -> Outcome {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("HOME", self.folder.path())
            .current_dir(self.folder.path());
        let output = command
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let text = words(&output)
            .replace(&self.folder.path().display().to_string(), "FOLDER")
            .replace(&self.site.server.ip().to_string(), "SERVER")
            .replace(database_name(&self.database), "DATABASE");
        Outcome {
            text,
            code: output.status.code(),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.database.starts_with("mysql") {
            dbctl(&["--db-url", &self.database, "drop", "--yes"]);
        }
    }
}

fn database_name(url: &str) -> &str {
    url.rsplit_once('/').map_or(url, |(_, name)| name)
}

fn dbctl(arguments: &[&str]) {
    let output = Command::new(built("t-dbctl"))
        .args(arguments)
        .output()
        .expect("a program of ours");
    assert!(output.status.success(), "{arguments:?}: {}", words(&output));
}

/// Starts both servers at once, the database of both in SQLite or beside the one that a MySQL URL names.
fn targets(mysql: Option<&str>) -> [Target; 2] {
    thread::scope(|scope| {
        let subjects = [Subject::Kamailio, Subject::Proxyd];
        subjects
            .map(|subject| scope.spawn(move || Target::start(subject, mysql)))
            .map(|target| target.join().expect("it starts"))
    })
}

/// Has a client say the lines to both servers, side by side, and compares what comes back.
fn compare(targets: &[Target; 2], lines: &[Line], say: impl Fn(&Target, &[String]) -> Outcome + Sync) {
    let all = |target| -> Vec<Outcome> { lines.iter().map(|(line, _)| say(target, &split(line))).collect() };
    let [kamailio, proxyd] = thread::scope(|scope| {
        let all = &all;
        [&targets[0], &targets[1]]
            .map(|target| scope.spawn(move || all(target)))
            .map(|outcomes| outcomes.join().expect("every command ends"))
    });
    let mut wrong = Vec::new();
    for ((line, like), (theirs, ours)) in lines.iter().zip(kamailio.iter().zip(&proxyd)) {
        if theirs.code != ours.code || !like.holds(&theirs.text, &ours.text) {
            wrong.push(format!(
                "{line} ({like:?})\n--- Kamailio, exit {:?}\n{}--- proxyd, exit {:?}\n{}",
                theirs.code, theirs.text, ours.code, ours.text
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}\n--- log of proxyd\n{}",
        wrong.len(),
        lines.len(),
        wrong.join("\n"),
        targets[1].server.log()
    );
}

impl Like {
    fn holds(self, theirs: &str, ours: &str) -> bool {
        match self {
            Self::Same => without_id(theirs) == without_id(ours),
            Self::Numbers => without_numbers(theirs) == without_numbers(ours),
            Self::Names => {
                let ours = names(ours);
                names(theirs).iter().all(|name| ours.contains(name))
            }
            Self::Ends => true,
        }
    }
}

/// The text without the id of the call, which kamctl takes from its process id.
fn without_id(text: &str) -> Vec<&str> {
    text.lines()
        .map(str::trim_end)
        .filter(|line| !line.trim_start().starts_with("\"id\":"))
        .collect()
}

fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut in_number = false;
    // Dates in words: Mon Nov 23.
    let text = text.replace(" UTC ", " ");
    for c in without_id(&text).join("\n").chars() {
        if c.is_ascii_digit() {
            if !in_number {
                out.push('N');
            }
            in_number = true;
        } else {
            in_number = false;
            out.push(c);
        }
    }
    out
}

/// What stands before a colon or an equals sign, without quotes.
fn names(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.split_once([':', '=']))
        .map(|(name, _)| name.trim_matches([' ', '\t', '"', '{', '[']).to_owned())
        .collect()
}
