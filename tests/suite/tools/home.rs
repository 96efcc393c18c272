//! A home for one test: a folder with a database, where the program is run.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use shared::db;
use shared::db::Access;
use shared::db::Backend;
use shared::db::Url;
use shared::db::schema;
use tests::subject::built;

use crate::support::split;

pub(crate) struct Home {
    folder: tempfile::TempDir,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Home {
    /// A folder without anything.
    pub(crate) fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A folder with every table.
    pub(crate) fn new() -> Self {
        let home = Self::empty();
        let url = Url::sqlite(home.path("proxyd.db"));
        let mut db = db::open_with(&url, Access::Create).unwrap();
        db::transaction(db.as_mut(), |db| schema::create(db, schema::TABLES)).unwrap();
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn db(&self) -> Box<dyn Backend> {
        db::open(&Url::sqlite(self.path("proxyd.db"))).unwrap()
    }

    /// The only cell of an answer in SQL.
    pub(crate) fn cell(&self, sql: &str) -> String {
        let outcome = self.db().raw(sql, &[]).unwrap();
        outcome
            .rows
            .first()
            .and_then(|row| row.at(0))
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Runs a command line; words with blanks stand in single quotes.
    pub(crate) fn run(&self, line: &str) -> Run {
        self.run_with(line, &[], "")
    }

    /// Runs a command line on a terminal of its own, made by script(1), and returns what it shows.
    pub(crate) fn on_terminal(&self, line: &str, input: &str) -> String {
        let program = built("t-proxyctl");
        let home = self.folder.path();
        let line = format!("{} --home {} {line}", program.display(), home.display());
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env_clear()
            .env("TERM", "xterm")
            .env("HOME", home)
            .env("PATH", "/usr/bin:/bin")
            .current_dir(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{shown}");
        shown
    }

    pub(crate) fn run_with(&self, line: &str, environment: &[(&str, &str)], input: &str) -> Run {
        let mut command = Command::new(built("t-proxyctl"));
        command
            .arg("--home")
            .arg(self.folder.path())
            .args(split(line))
            .env_clear()
            .current_dir(self.folder.path());
        command.envs(environment.iter().copied());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that does not read it has ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Run {
    /// Demands success.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Demands a failure, one line that says so.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, part: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(part), "{part:?} is not in {self:?}");
        assert_eq!(self.err.trim_end().lines().count(), 1, "{self:?}");
    }
}
