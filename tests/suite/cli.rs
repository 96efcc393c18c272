//! The command-line tools as processes: what they print, how they end, and that a refusal changes nothing.

use std::fs;
use std::path::Path;
use std::process::Output;

use rusqlite::Connection;
use tempfile::TempDir;
use tests::digest::ha1;

use crate::support::tool;
use crate::support::words;

/// A folder with a database that `dbctl create` made.
struct Home(TempDir);

impl Home {
    fn empty() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn with_tables() -> Self {
        let home = Self::empty();
        let output = home.dbctl(&["create"]);
        assert!(output.status.success(), "{}", words(&output));
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn url(&self) -> String {
        format!("sqlite:///{}", self.path().join("proxyd.db").display())
    }

    fn dbctl(&self, arguments: &[&str]) -> Output {
        self.run("t-dbctl", arguments)
    }

    fn proxyctl(&self, arguments: &[&str]) -> Output {
        self.run("t-proxyctl", arguments)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let home = self.path().to_string_lossy();
        tool(
            program,
            self.path(),
            &[&["--home", home.as_ref(), "--db-url", &self.url()], arguments].concat(),
        )
    }

    fn rows(&self, table: &str) -> i64 {
        let connection = Connection::open(self.path().join("proxyd.db")).expect("a database");
        connection
            .query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0))
            .expect("a table")
    }
}

#[test]
fn create_makes_the_standard_tables_once() {
    let home = Home::with_tables();
    let connection = Connection::open(home.path().join("proxyd.db")).unwrap();
    let versions = [
        ("version", 1),
        ("subscriber", 7),
        ("location", 9),
        ("address", 6),
        ("acc", 5),
        ("dispatcher", 4),
    ];
    for (table, version) in versions {
        let query = "SELECT table_version FROM version WHERE table_name = ?";
        let found: i64 = connection
            .query_row(query, [table], |row| row.get(0))
            .unwrap_or_else(|e| panic!("{table}: {e}"));
        assert_eq!(found, version, "{table}");
    }
    assert!(
        home.proxyctl(&["add", "alice@test.lan", "secret"])
            .status
            .success()
    );
    let again = home.dbctl(&["create"]);
    assert!(words(&again).contains("already"), "{}", words(&again));
    assert_eq!(home.rows("subscriber"), 1, "creating again changed the data");
}

#[test]
fn drop_removes_the_tables() {
    let home = Home::with_tables();
    let output = home.dbctl(&["drop", "--yes"]);
    assert!(output.status.success(), "{}", words(&output));
    let tables = Connection::open(home.path().join("proxyd.db")).and_then(|connection| {
        connection.query_row("SELECT count(*) FROM sqlite_master", (), |row| {
            row.get::<_, i64>(0)
        })
    });
    assert!(tables.map_or(true, |count| count == 0));
}

#[test]
fn subscribers_are_added_shown_changed_and_removed() {
    let home = Home::with_tables();
    fs::write(home.path().join("proxyctlrc"), "SIP_DOMAIN=test.lan\n").unwrap();
    let secret = |password: &str| ha1("61312341234", "test.lan", password);
    let stored = || -> String {
        let connection = Connection::open(home.path().join("proxyd.db")).unwrap();
        connection
            .query_row(
                "SELECT ha1 FROM subscriber WHERE username='61312341234'",
                (),
                |row| row.get(0),
            )
            .unwrap()
    };
    let output = home.proxyctl(&["add", "61312341234", "supersecretpassword"]);
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(stored(), secret("supersecretpassword"));
    let shown = home.proxyctl(&["show", "61312341234"]);
    assert!(
        shown.status.success() && words(&shown).contains("61312341234"),
        "{}",
        words(&shown)
    );
    assert!(
        !words(&shown).contains("supersecretpassword"),
        "a secret is shown"
    );
    let output = home.proxyctl(&["passwd", "61312341234@test.lan", "other"]);
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(stored(), secret("other"));
    let output = home.proxyctl(&["rm", "61312341234"]);
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(home.rows("subscriber"), 0);
}

#[test]
fn addresses_are_added_shown_and_removed() {
    let home = Home::with_tables();
    let output = home.proxyctl(&[
        "address",
        "add",
        "200",
        "10.0.1.102",
        "32",
        "5060",
        "Carrier IP address",
    ]);
    assert!(output.status.success(), "{}", words(&output));
    let shown = home.proxyctl(&["address", "show", "--output", "json"]);
    let parsed: serde_json::Value =
        serde_json::from_slice(&shown.stdout).unwrap_or_else(|e| panic!("{e}: {}", words(&shown)));
    assert!(
        parsed.to_string().contains("10.0.1.102") && parsed.to_string().contains("Carrier IP address"),
        "{parsed:#}"
    );
    let output = home.proxyctl(&["address", "rm", "200", "10.0.1.102", "32", "5060"]);
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(home.rows("address"), 0);
}

/// Arguments, the exit statuses that are right, a word the message must contain.
type Refusal = (&'static [&'static str], &'static [i32], &'static str);

const REFUSALS: &[Refusal] = &[
    (&["rm", "nobody@test.lan"], &[3], "nobody"),
    (&["passwd", "nobody@test.lan", "x"], &[3], "nobody"),
    (&["add", "alice@test.lan", "again"], &[4], "alice"),
    (
        &["address", "add", "200", "10.0.1.300", "32", "5060", "x"],
        &[1, 2],
        "10.0.1.300",
    ),
    (
        &["address", "add", "200", "10.0.1.1", "33", "5060", "x"],
        &[1, 2],
        "33",
    ),
    (
        &["address", "add", "200", "10.0.1.1", "24", "5060", "x"],
        &[1, 2],
        "10.0.1.0",
    ),
    (
        &["address", "add", "200", "10.0.1.1", "32", "70000", "x"],
        &[1, 2],
        "70000",
    ),
    (
        &["address", "rm", "200", "10.9.9.9", "32", "5060"],
        &[3],
        "10.9.9.9",
    ),
    (&["ul", "dump"], &[5], "control"),
    (&["rpc", "core.version"], &[5], "control"),
    (&["nonsense"], &[2], "nonsense"),
];

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let home = Home::with_tables();
    assert!(
        home.proxyctl(&["add", "alice@test.lan", "secret"])
            .status
            .success()
    );
    let before = fs::read(home.path().join("proxyd.db")).unwrap();
    let mut wrong = Vec::new();
    for (arguments, statuses, word) in REFUSALS {
        let output = home.proxyctl(arguments);
        let status = output.status.code().unwrap_or(-1);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        if !statuses.contains(&status) || !message.contains(word) {
            wrong.push(format!(
                "{arguments:?}: ended with {status}, not {statuses:?}, saying {message:?}, not {word:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        before == fs::read(home.path().join("proxyd.db")).unwrap(),
        "the database has changed"
    );
}

#[test]
fn a_database_that_cannot_be_used_is_named() {
    let home = Home::empty();
    let missing = home.proxyctl(&["show", "alice@test.lan"]);
    assert_eq!(missing.status.code(), Some(6), "{}", words(&missing));
    assert!(words(&missing).contains("proxyd.db"), "{}", words(&missing));
    let home = Home::with_tables();
    let connection = Connection::open(home.path().join("proxyd.db")).unwrap();
    connection
        .execute(
            "UPDATE version SET table_version = 3 WHERE table_name = 'subscriber'",
            (),
        )
        .unwrap();
    let outdated = home.proxyctl(&["add", "alice@test.lan", "secret"]);
    assert!(!outdated.status.success());
    let said = words(&outdated);
    assert!(
        said.contains("subscriber") && said.contains('3') && said.contains('7'),
        "{said}"
    );
    assert_eq!(home.rows("subscriber"), 0);
}

#[test]
fn three_mistakes_in_a_script_are_reported_at_once() {
    let home = Home::empty();
    let script = home.path().join("bad.cfg");
    let text = "loadmodule \"sl.so\"\nrequest_route {\n    sl_replay(\"200\", \"OK\");\n    route(MISSING);\n    $nope = 1;\n}\n";
    fs::write(&script, text).unwrap();
    let output = tool("t-proxyd", home.path(), &["-c", "-f", &script.to_string_lossy()]);
    assert!(!output.status.success());
    let said = words(&output);
    for place in ["bad.cfg:3:", "bad.cfg:4:", "bad.cfg:5:"] {
        assert!(said.contains(place), "{place} is missing in\n{said}");
    }
}

#[test]
fn a_script_is_looked_for_where_the_daemon_is_started() {
    let home = Home::empty();
    fs::create_dir(home.path().join("work")).unwrap();
    fs::write(
        home.path().join("own.cfg"),
        "request_route {\n    no_such();\n}\n",
    )
    .unwrap();
    let output = tool(
        "t-proxyd",
        home.path(),
        &["-DD", "-E", "-f", "own.cfg", "-w", "work"],
    );
    assert!(!output.status.success());
    assert!(words(&output).contains("own.cfg:2:"), "{}", words(&output));
}

#[test]
fn every_program_explains_itself() {
    let home = Home::empty();
    for program in ["t-proxyd", "t-proxyctl", "t-dbctl"] {
        for flag in ["-h", "--help", "--version"] {
            let output = tool(program, home.path(), &[flag]);
            assert!(
                output.status.success() && !output.stdout.is_empty(),
                "{program} {flag}: {}",
                words(&output)
            );
        }
    }
}
