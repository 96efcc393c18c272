//! dbctl on every engine: SQLite and dbtext always, MariaDB and PostgreSQL where `tests/databases` has started them.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::process::Output;
use std::thread;

use serde_json::Value;
use tempfile::TempDir;
use tests::subject::built;

use crate::support::words;

/// Kamailio's tables that the tests fill, and a row of each.
const ROWS: &[&str] = &[
    "INSERT INTO address (grp, ip_addr, mask, port, tag) VALUES (7, '10.0.1.0', 24, 5060, 'it''s a tag')",
    "INSERT INTO grp (username, domain, grp, last_modified) VALUES ('alice', 'example.org', 'int', '2026-11-23 06:00:00')",
    "INSERT INTO location (ruid, username, contact, expires, q, callid, user_agent) VALUES ('r1', 'alice', \
     'sip:alice@192.0.2.1', '2030-05-28 21:32:15', 0.5, 'c1', 'Phone ü/1.0')",
];

/// A database of its own on one engine; it is dropped at the end.
struct Database {
    url: String,
    folder: TempDir,
}

impl Database {
    fn new(engine: &str, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = |variable: &str| {
            let url = env::var(variable).unwrap();
            format!("{url}_{name}_{}", std::process::id())
        };
        let url = match engine {
            "mysql" => server("TEST_MYSQL_URL"),
            "postgres" => server("TEST_POSTGRES_URL"),
            "text" => format!("text:///{}", folder.path().join("tables").display()),
            _ => format!("sqlite:///{}", folder.path().join("a.db").display()),
        };
        Self { url, folder }
    }

    /// With the standard tables and a few rows.
    fn filled(engine: &str, name: &str) -> Self {
        let database = Self::new(engine, name);
        database.ok("dbctl", &["create"]);
        database.ok("proxyctl", &["add", "alice@example.org", "secret"]);
        if engine == "text" {
            // It has no SQL.
            database.ok(
                "proxyctl",
                &["address", "add", "7", "10.0.1.0/24", "24", "5060", "it's a tag"],
            );
            database.ok("proxyctl", &["acl", "grant", "alice@example.org", "int"]);
        } else {
            for row in ROWS {
                database.ok("proxyctl", &["db", "exec", row]);
            }
        }
        database
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let (user, password) = account(&self.url);
        let mut command = Command::new(built(&format!("t-{program}")));
        command
            .args(["--db-url", &self.url, "--home"])
            .arg(self.folder.path())
            .args(arguments)
            .env("HOME", self.folder.path())
            .env("DBROOTUSER", user)
            .env("DBROOTPW", password);
        command.output().unwrap()
    }

    fn ok(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        assert!(
            output.status.success(),
            "{program} {arguments:?} on {}: {}",
            self.url,
            words(&output)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, program: &str, arguments: &[&str]) -> String {
        self.ends(1, program, arguments)
    }

    /// What a command says that ends with this code.
    fn ends(&self, code: i32, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{program} {arguments:?} on {}: {}",
            self.url,
            words(&output)
        );
        words(&output)
    }

    /// Every row of every table that the tests fill, without the ids that engines choose; times as dbtext has them.
    fn contents(&self) -> Vec<Value> {
        ["subscriber", "address", "grp", "location"]
            .iter()
            .map(|table| {
                let text = self.ok("dbctl", &["--output", "json", "show", table, "--secrets"]);
                let mut rows: Value = serde_json::from_str(&text).unwrap();
                for row in rows.as_array_mut().unwrap() {
                    row.as_object_mut().unwrap().remove("id");
                    for cell in row.as_object_mut().unwrap().values_mut() {
                        if let Some(seconds) = cell.as_str().and_then(seconds) {
                            *cell = seconds.into();
                        }
                    }
                }
                rows
            })
            .collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // It may never have been made.
            self.run("dbctl", &["drop", "--yes"]);
        }
    }
}

/// Seconds since 1970 of `2026-11-23 06:00:00`.
fn seconds(text: &str) -> Option<i64> {
    let fields: Vec<i64> = text
        .split(['-', ' ', ':'])
        .map(|field| field.parse().ok())
        .collect::<Option<_>>()?;
    let [year, month, day, hour, minute, second] = fields[..] else {
        return None;
    };
    // A year that begins in March ends with its leap day.
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// User and password in a URL.
fn account(url: &str) -> (&str, &str) {
    url.split_once("://")
        .and_then(|(_, rest)| rest.split_once('@'))
        .and_then(|(account, _)| account.split_once(':'))
        .unwrap_or_default()
}

/// The engines at hand.
fn engines() -> Vec<&'static str> {
    let servers = [("mysql", "TEST_MYSQL_URL"), ("postgres", "TEST_POSTGRES_URL")];
    let mut engines = vec!["sqlite", "text"];
    for (engine, variable) in servers {
        if env::var_os(variable).is_some() {
            engines.push(engine);
        } else {
            assert!(env::var_os("CI_DATABASES").is_none(), "{variable} is not set");
        }
    }
    engines
}

fn is_server(engine: &str) -> bool {
    matches!(engine, "mysql" | "postgres")
}

/// Each engine with the next one: every one is read and written.
fn pairs() -> Vec<(&'static str, &'static str)> {
    let engines = engines();
    let next = engines.iter().cycle().skip(1);
    engines.iter().copied().zip(next.copied()).collect()
}

#[test]
fn backups_bring_everything_back() {
    for engine in engines() {
        let database = Database::filled(engine, "backup");
        let before = database.contents();
        assert_eq!(
            before[0].as_array().map(Vec::len),
            Some(1),
            "{engine}: {before:?}"
        );
        let file = database.folder.path().join("all.backup");
        let file = file.to_string_lossy();
        database.ok("dbctl", &["backup", &file]);
        database.ok("proxyctl", &["rm", "alice@example.org"]);
        assert_ne!(database.contents(), before, "{engine}");
        database.ok("dbctl", &["restore", "--yes", &file]);
        assert_eq!(database.contents(), before, "{engine}");
    }
    for (from, to) in pairs() {
        let source = Database::filled(from, "backup");
        let target = Database::new(to, "restored");
        let file = source.folder.path().join("all.backup");
        let file = file.to_string_lossy();
        source.ok("dbctl", &["backup", &file]);
        target.ok("dbctl", &["restore", "--yes", &file]);
        assert_eq!(target.contents(), source.contents(), "a backup of {from} in {to}");
    }
}

#[test]
fn a_backup_that_is_not_whole_changes_no_row() {
    for engine in engines() {
        let database = Database::filled(engine, "half");
        let file = database.folder.path().join("all.backup");
        let name = file.to_string_lossy().into_owned();
        database.ok("dbctl", &["backup", &name]);
        let whole = fs::read_to_string(&file).unwrap();
        let half = whole.find("{\"table\":\"subscriber\"}").unwrap();
        fs::write(&file, &whole[..half]).unwrap();
        database.ok("proxyctl", &["add", "bob@example.org", "secret"]);
        if engine != "text" {
            // A table to be made in the middle, with which MySQL ends a transaction.
            database.ok("proxyctl", &["db", "exec", "DROP TABLE silo"]);
        }
        let before = database.contents();
        let said = database.fails("dbctl", &["restore", "--yes", &name]);
        assert!(said.contains("it is not whole"), "{engine}: {said}");
        assert_eq!(database.contents(), before, "{engine}");
        fs::write(&file, "").unwrap();
        let said = database.fails("dbctl", &["restore", "--yes", &name]);
        assert!(
            said.contains("all.backup:1: the file is empty"),
            "{engine}: {said}"
        );
    }
}

#[test]
fn dumps_of_the_servers_own_tools_are_restored() {
    for engine in engines().into_iter().filter(|engine| is_server(engine)) {
        let source = Database::filled(engine, "dumped");
        source.ok("dbctl", &["add-tables", "silo"]);
        let odd = "INSERT INTO silo (src_addr, dst_addr, username, domain, body) VALUES ('it''s;', '\"\tx', 'a', 'b', ";
        let bytes = if engine == "mysql" {
            "X'00ff5c27')"
        } else {
            "'\\x00ff5c27')"
        };
        source.ok("proxyctl", &["db", "exec", &format!("{odd}{bytes}")]);
        let dump = source.folder.path().join("dump.sql");
        fs::write(&dump, dump_of(&source.url)).unwrap();
        let target = Database::new(engine, "undumped");
        let said = target.ok("dbctl", &["restore", &dump.to_string_lossy()]);
        assert!(said.starts_with("ran "), "{engine}: {said}");
        assert_eq!(target.contents(), source.contents(), "{engine}");
        let silo = ["--output", "csv", "show", "silo"];
        assert_eq!(target.ok("dbctl", &silo), source.ok("dbctl", &silo), "{engine}");
        target.ok("dbctl", &["check"]);
        fs::write(&dump, "SELECT 1;\n\nSELECT nonsense FROM nowhere;\n").unwrap();
        let said = target.ends(3, "dbctl", &["restore", "--yes", &dump.to_string_lossy()]);
        assert!(said.contains("dump.sql:3: "), "{engine}: {said}");
    }
}

/// What mariadb-dump or pg_dump write of a database, as they do without options.
fn dump_of(url: &str) -> Vec<u8> {
    let (user, password) = account(url);
    let (_, place) = url.rsplit_once('@').unwrap();
    let (address, name) = place.split_once('/').unwrap();
    let (host, port) = address.split_once(':').unwrap();
    let mut command = if url.starts_with("mysql") {
        let mut command = Command::new("mariadb-dump");
        command
            .args(["--no-defaults", "-P", port, "-u", user])
            .env("MYSQL_PWD", password);
        command
    } else {
        let mut command = Command::new("pg_dump");
        command.args(["-p", port, "-U", user]).env("PGPASSWORD", password);
        command
    };
    let output = command.args(["-h", host, name]).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    output.stdout
}

#[test]
fn copies_are_whole_between_any_engines() {
    for (from, to) in pairs() {
        let source = Database::filled(from, "source");
        let target = Database::new(to, "target");
        let said = source.ok("dbctl", &["copy", &source.url, &target.url]);
        assert!(said.starts_with("copied 28 tables with "), "{said}");
        assert_eq!(target.contents(), source.contents(), "{from} to {to}");
        // What it holds is replaced only when that is meant.
        let again = source.run("dbctl", &["copy", &source.url, &target.url]);
        assert_eq!(again.status.code(), Some(1), "{}", words(&again));
        // A new row gets an id of its own.
        target.ok("proxyctl", &["add", "bob@example.org", "secret"]);
        source.ok("dbctl", &["--yes", "copy", &source.url, &target.url]);
        assert_eq!(target.contents(), source.contents(), "{from} to {to} again");
    }
}

#[test]
fn migrations_are_shown_before_they_are_made() {
    for engine in engines() {
        let database = Database::filled(engine, "migrate");
        let before = database.contents();
        database.ok("proxyctl", &["db", "version", "set", "address", "5"]);
        let refused = database.run("proxyctl", &["address", "show"]);
        assert_eq!(refused.status.code(), Some(6), "{engine}: {}", words(&refused));
        assert!(words(&refused).contains("dbctl migrate"), "{}", words(&refused));
        let would = database.ok("dbctl", &["migrate", "--dry-run"]);
        assert!(
            would.contains("address 5 -> 6") && would.contains("would change"),
            "{engine}: {would}"
        );
        assert_eq!(database.ok("dbctl", &["version", "address"]), "5\n", "{engine}");
        database.ok("dbctl", &["migrate"]);
        assert_eq!(database.ok("dbctl", &["version", "address"]), "6\n", "{engine}");
        assert_eq!(database.contents(), before, "{engine}");
    }
}

#[test]
fn a_port_that_has_no_room_in_postgresql_says_what_makes_it() {
    for engine in engines() {
        let database = Database::filled(engine, "ports");
        let add = ["address", "add", "7", "10.0.9.1", "32", "40000"];
        if engine == "postgres" {
            let said = database.fails("proxyctl", &add);
            let widen = "ALTER TABLE address ALTER COLUMN port TYPE integer";
            assert!(
                said.contains("smallint out of range: the column has to be wider"),
                "{said}"
            );
            database.ok("proxyctl", &["db", "exec", widen]);
        }
        database.ok("proxyctl", &add);
        database.ok("dbctl", &["check"]);
    }
}

#[test]
fn checks_find_what_the_daemon_would_refuse() {
    for engine in engines().into_iter().filter(|engine| *engine != "text") {
        let database = Database::filled(engine, "check");
        database.ok("dbctl", &["check"]);
        let faults = [
            (
                "UPDATE address SET mask = 99",
                "mask 99 is out of range",
                "UPDATE address SET mask = 24",
            ),
            (
                "UPDATE address SET ip_addr = '10.0.1.7'",
                "host bits set",
                "UPDATE address SET ip_addr = '10.0.1.0'",
            ),
            (
                "UPDATE grp SET username = 'nobody'",
                "no subscriber `nobody@example.org`",
                "UPDATE grp SET username = 'alice'",
            ),
            (
                "UPDATE location SET contact = 'nonsense'",
                "`nonsense` is not a SIP URI",
                "UPDATE location SET contact = 'sip:a@b'",
            ),
            (
                "UPDATE location SET contact = 'http:a@b'",
                "`http:a@b` is not a SIP URI: it begins with http:",
                "UPDATE location SET contact = 'sip:a@b'",
            ),
            (
                "UPDATE subscriber SET ha1 = ''",
                "`alice` has no password",
                "UPDATE subscriber SET ha1 = 'x'",
            ),
            (
                "INSERT INTO trusted (src_ip, proto, from_pattern) VALUES ('192.0.2.1', 'any', '(x')",
                "regular expression `(x`: unclosed group",
                "DELETE FROM trusted",
            ),
        ];
        for (breaks, word, mends) in faults {
            database.ok("proxyctl", &["db", "exec", breaks]);
            let said = database.fails("dbctl", &["check"]);
            assert!(said.contains(word), "{engine}, {breaks}: {said}");
            database.ok("proxyctl", &["db", "exec", mends]);
            database.ok("dbctl", &["check"]);
        }
        let drifts: &[&str] = match engine {
            "sqlite" => &[
                "ALTER TABLE subscriber RENAME TO old",
                "CREATE TABLE subscriber AS SELECT * FROM old",
                "DROP TABLE old",
            ],
            "mysql" => &[
                "ALTER TABLE subscriber DROP INDEX account_idx",
                "ALTER TABLE subscriber MODIFY ha1 VARCHAR(40)",
                "ALTER TABLE acc MODIFY time VARCHAR(30)",
            ],
            _ => &[
                "ALTER TABLE subscriber DROP CONSTRAINT subscriber_account_idx",
                "ALTER TABLE subscriber ALTER ha1 TYPE VARCHAR(40)",
                "ALTER TABLE acc ALTER time DROP DEFAULT, ALTER time TYPE VARCHAR(30)",
            ],
        };
        for drift in drifts {
            database.ok("proxyctl", &["db", "exec", drift]);
        }
        let said = database.fails("dbctl", &["check"]);
        assert!(
            said.contains("no unique index over username, domain: rows may double"),
            "{engine}: {said}"
        );
        if is_server(engine) {
            assert!(
                said.contains("column time is varchar(30), wanted is "),
                "{engine}: {said}"
            );
            let short = "column ha1 takes 40 characters, wanted are 128: run `dbctl migrate`";
            assert!(said.contains(short), "{engine}: {said}");
            database.ok("dbctl", &["migrate"]);
            assert!(!database.fails("dbctl", &["check"]).contains("ha1"), "{engine}");
        }
        database.ok("proxyctl", &["db", "exec", "DROP TABLE trusted"]);
        let said = database.fails("dbctl", &["check"]);
        assert!(said.contains("trusted"), "{engine}: {said}");
        database.ok("proxyctl", &["db", "exec", "ALTER TABLE address DROP COLUMN tag"]);
        let said = database.fails("dbctl", &["--output", "json", "check"]);
        assert!(
            said.contains("\"incomplete\"") && said.contains("\"tag\""),
            "{engine}: {said}"
        );
    }
}

#[test]
fn sites_applied_at_once_lose_nothing() {
    for engine in engines() {
        let database = Database::new(engine, "shells");
        database.ok("dbctl", &["create"]);
        thread::scope(|scope| {
            for shell in 0..8 {
                let database = &database;
                scope.spawn(move || {
                    for round in 0..2 {
                        let site = format!(
                            "subscribers:\n  - {{user: u{shell}-{round}@x.org, password: p, aliases: [n{shell}-{round}]}}\n  \
                             - {{user: all@x.org, password: p{shell}-{round}}}\n\
                             addresses: [{{group: 9, address: 192.0.2.1, tag: t{shell}}}]\n"
                        );
                        let file = database.folder.path().join(format!("{shell}.yaml"));
                        fs::write(&file, site).unwrap();
                        database.ok("proxyctl", &["apply", "-f", &file.to_string_lossy()]);
                        let user = format!("s{shell}-{round}@x.org");
                        database.ok("proxyctl", &["add", &user, "secret"]);
                        database.ok("proxyctl", &["acl", "grant", &user, "int"]);
                        if round == 1 {
                            database.ok("proxyctl", &["rm", &user]);
                        }
                    }
                });
            }
        });
        // One address and one subscriber are in all sites.
        for (table, rows) in [
            ("subscriber", 16 + 8 + 1),
            ("dbaliases", 16),
            ("grp", 8),
            ("address", 1),
        ] {
            let shown = database.ok("dbctl", &["--output", "plain", "show", table]);
            assert_eq!(shown.lines().count(), rows, "{engine}, {table}: {shown}");
        }
    }
}

#[test]
fn rights_are_given_and_taken() {
    for engine in engines() {
        let database = Database::filled(engine, "rights");
        if !is_server(engine) {
            assert_eq!(
                database.run("dbctl", &["grant"]).status.code(),
                Some(2),
                "{engine}"
            );
            continue;
        }
        let (root, password) = account(&database.url);
        let name = format!("reader{}", std::process::id());
        let own = format!("writer{}", std::process::id());
        let as_user = |user: &str| {
            database
                .url
                .replace(&format!("{root}:{password}@"), &format!("{user}:pw@"))
        };
        let change = |verb: &str| {
            let mut command = Command::new(built("t-dbctl"));
            command
                .args(["--db-url", &as_user(&own), "--rc", "/dev/null", verb])
                .envs([
                    ("DBROOTUSER", root),
                    ("DBROOTPW", password),
                    ("DBROUSER", &name),
                    ("DBROPW", "pw"),
                ]);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{engine}: {}", words(&output));
        };
        let select = |user: &str| {
            tool_at(
                &as_user(user),
                database.folder.path(),
                "select username from subscriber",
            )
        };
        let delete = |user: &str| tool_at(&as_user(user), database.folder.path(), "delete from grp");
        assert!(!select(&name).status.success(), "{engine}");
        change("revoke");
        change("grant");
        assert!(
            words(&select(&name)).contains("alice"),
            "{engine}: {}",
            words(&select(&name))
        );
        assert!(!delete(&name).status.success(), "{engine}: a reader writes");
        assert!(
            delete(&own).status.success(),
            "{engine}: {}",
            words(&delete(&own))
        );
        change("grant");
        // What the writer makes the reader reads.
        let made = Command::new(built("t-dbctl"))
            .args([
                "--db-url",
                &as_user(&own),
                "--rc",
                "/dev/null",
                "add-tables",
                "htable",
            ])
            .output()
            .unwrap();
        assert!(made.status.success(), "{engine}: {}", words(&made));
        let read = tool_at(&as_user(&name), database.folder.path(), "select * from htable");
        assert!(read.status.success(), "{engine}: {}", words(&read));
        let absent = database.run("dbctl", &["grant", "no_such_database"]);
        assert_eq!(absent.status.code(), Some(6), "{engine}: {}", words(&absent));
        change("revoke");
        change("revoke");
        assert!(!select(&name).status.success(), "{engine}: after revoke");
        assert!(!select(&own).status.success(), "{engine}: after revoke");
    }
}

fn tool_at(url: &str, home: &Path, statement: &str) -> Output {
    Command::new(built("t-proxyctl"))
        .args(["--db-url", url, "--rc", "/dev/null", "db", "exec", statement])
        .env("HOME", home)
        .output()
        .unwrap()
}
