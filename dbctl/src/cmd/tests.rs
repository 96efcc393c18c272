//! Every command on an SQLite file, as a shell would call it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use shared::db;
use shared::db::Insert;
use shared::db::Select;
use shared::db::Url;
use shared::db::schema;
use shared::report::ExitCode;
use shared::report::Output;
use shared::report::Paint;

use super::*;

fn dbctl(url: &str, words: &[&str]) -> Result<Answer, Error> {
    let line = ["dbctl", "--db-url", url, "--rc", "/dev/null"];
    crate::run(line.iter().chain(words).copied())
}

fn url(folder: &Path) -> String {
    Url::sqlite(folder.join("a.db")).to_string()
}

fn words(answer: Result<Answer, Error>) -> String {
    answer.unwrap().words.unwrap_or_default()
}

fn data(answer: Result<Answer, Error>) -> Value {
    serde_json::from_str(&answer.unwrap().data.render(Output::Json, Paint::Mono)).unwrap()
}

/// The message and exit code of a command that must fail.
fn failure(answer: Result<Answer, Error>) -> (String, ExitCode) {
    let error = answer.unwrap_err();
    (error.to_string(), error.exit_code())
}

#[test]
fn create_twice_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    assert!(words(dbctl(&url, &["create"])).starts_with("created 29 tables in sqlite://"));
    let again = words(dbctl(&url, &["create"]));
    assert!(
        again.ends_with("has 29 tables already, nothing was changed"),
        "{again}"
    );
    assert!(words(dbctl(&url, &["presence"])).starts_with("created 7 tables"));
    assert!(words(dbctl(&url, &["add-tables", "htable", "uac", "presence"])).contains("created 2 tables"));
    assert_eq!(data(dbctl(&url, &["version", "htable"]))["version"], 2);
    let listed = data(dbctl(&url, &["show"]));
    assert_eq!(listed.as_array().unwrap().len(), 38);
    assert!(words(dbctl(&url, &["check"])).ends_with("is sound: 38 tables"));
    let file = folder.path().join("a.db");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn create_makes_folders_and_all_groups() {
    let folder = tempfile::tempdir().unwrap();
    let deep = Url::sqlite(folder.path().join("x/y/a.db")).to_string();
    let made = data(dbctl(&deep, &["create", "--all", "--uid"]));
    assert_eq!(
        made["created"].as_array().unwrap().len(),
        schema::TABLES.len() - 1
    );
    assert_eq!(made["existed"], serde_json::json!([]));
}

#[test]
fn failures_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    let table: [(&[&str], &str, ExitCode); 6] = [
        (
            &["version"],
            "create it with `dbctl create`",
            ExitCode::NoDatabase,
        ),
        (&["drop"], "create it with `dbctl create`", ExitCode::NoDatabase),
        (
            &["backup", "x"],
            "create it with `dbctl create`",
            ExitCode::NoDatabase,
        ),
        (
            &["restore", "/nonexistent"],
            "no file `/nonexistent`",
            ExitCode::NotFound,
        ),
        (&["grant"], "has no accounts", ExitCode::Usage),
        (
            &["add-tables", "presense"],
            "did you mean `presence`?",
            ExitCode::NotFound,
        ),
    ];
    for (words, part, code) in table {
        let (message, found) = failure(dbctl(&url, words));
        assert!(
            message.contains(part) && found == code,
            "{words:?}: {found:?} {message}"
        );
    }
    assert!(!folder.path().join("a.db").exists());
    dbctl(&url, &["create"]).unwrap();
    let table: [(&[&str], &str, ExitCode); 5] = [
        (
            &["show", "subscribr"],
            "did you mean `subscriber`?",
            ExitCode::NotFound,
        ),
        (
            &["version", "nonsense"],
            "no table `nonsense`",
            ExitCode::NotFound,
        ),
        (
            &["version", "htable"],
            "has no table `htable`",
            ExitCode::NotFound,
        ),
        (&["drop"], "say --yes to confirm", ExitCode::Failed),
        (&["copy", "sqlite://nowhere:x@"], "", ExitCode::Failed),
    ];
    for (words, part, code) in table.into_iter().take(4) {
        let (message, found) = failure(dbctl(&url, words));
        assert!(
            message.contains(part) && found == code,
            "{words:?}: {found:?} {message}"
        );
    }
    for (bad, part) in [
        ("nonsense", "has no scheme"),
        ("oracle://x", "known are sqlite"),
        ("mysql://h", "names no database"),
    ] {
        let (message, code) = failure(dbctl(bad, &["check"]));
        assert!(message.contains(part) && code == ExitCode::Usage, "{message}");
    }
    let (_, code) = failure(dbctl(&url, &["nonsense"]));
    assert_eq!(code, ExitCode::Usage);
}

#[test]
fn wrong_versions_are_named_and_migrated() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    dbctl(&url, &["create"]).unwrap();
    let mut db = db::open(&url.parse().unwrap()).unwrap();
    schema::set_version(&mut *db, "location", 8).unwrap();
    let (message, code) = failure(dbctl(&url, &["check"]));
    assert!(
        message.contains("table `location` has version 8, wanted is 9, run `dbctl migrate`"),
        "{message}"
    );
    assert_eq!(code, ExitCode::Failed);
    let (message, _) = failure(dbctl(&url, &["create"]));
    assert!(message.contains("run `dbctl migrate`"), "{message}");
    assert!(words(dbctl(&url, &["migrate", "--dry-run"])).ends_with("1 table would change"));
    assert_eq!(schema::version_of(&mut *db, "location").unwrap(), 8);
    assert!(words(dbctl(&url, &["migrate"])).ends_with("1 table changed"));
    assert!(words(dbctl(&url, &["migrate"])).ends_with("nothing to do"));
    dbctl(&url, &["check"]).unwrap();
    schema::set_version(&mut *db, "location", 10).unwrap();
    let (message, _) = failure(dbctl(&url, &["migrate"]));
    assert!(
        message.contains("has version 10, the newest known is 9"),
        "{message}"
    );
}

#[test]
fn backups_are_restored_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    dbctl(&url, &["create"]).unwrap();
    let mut db = db::open(&url.parse().unwrap()).unwrap();
    db.raw("ALTER TABLE acc ADD COLUMN src_user VARCHAR(64)", &[])
        .unwrap();
    let contact = [b'\xff', b':', b'\n'];
    let row = Insert::into("location")
        .set("ruid", "r")
        .set("contact", &contact)
        .set("expires", db::Value::DateTime(7));
    db.insert(&row).unwrap();
    let row = Insert::into("acc")
        .set("src_user", "x")
        .set("time", db::Value::DateTime(9));
    db.insert(&row).unwrap();
    let before = db.query(&Select::from("location")).unwrap();

    let file = folder.path().join("backup").display().to_string();
    assert!(words(dbctl(&url, &["backup", &file])).contains("wrote 28 tables with 2 rows"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (message, _) = failure(dbctl(&url, &["restore", &file]));
    assert!(message.contains("(acc, location): say --yes"), "{message}");

    db.update(&db::Update::table("location").set("contact", "changed"))
        .unwrap();
    let half = fs::read_to_string(&file)
        .unwrap()
        .lines()
        .take(20)
        .collect::<Vec<_>>()
        .join("\n");
    let broken = folder.path().join("broken").display().to_string();
    fs::write(&broken, half).unwrap();
    let (message, _) = failure(dbctl(&url, &["--yes", "restore", &broken]));
    assert!(
        message.contains("broken:") && message.contains("not whole") || message.contains("EOF"),
        "{message}"
    );
    assert_eq!(
        db.query(&Select::from("location"))
            .unwrap()
            .first()
            .unwrap()
            .str("contact"),
        Some("changed")
    );

    assert!(words(dbctl(&url, &["--yes", "restore", &file])).contains("restored 28 tables with 2 rows"));
    assert_eq!(db.query(&Select::from("location")).unwrap(), before);

    // Into a database that does not exist yet, and one of another engine (whose text is bytes too).
    let fresh = Url::sqlite(folder.path().join("fresh.db")).to_string();
    dbctl(&fresh, &["restore", &file]).unwrap();
    let mut fresh = db::open(&fresh.parse().unwrap()).unwrap();
    assert_eq!(fresh.query(&Select::from("location")).unwrap(), before);
    assert_eq!(
        fresh
            .query(&Select::from("acc"))
            .unwrap()
            .first()
            .unwrap()
            .str("src_user"),
        Some("x")
    );
}

#[test]
fn copies_between_engines() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    dbctl(&url, &["create"]).unwrap();
    let mut db = db::open(&url.parse().unwrap()).unwrap();
    let rows = (0..1200)
        .map(|n| vec![db::Value::from(format!("u{n}")), db::Value::from("d")])
        .collect();
    db.insert(&Insert::rows("subscriber", &["username", "domain"], rows))
        .unwrap();
    let text = Url::text(folder.path().join("text")).to_string();
    assert!(words(dbctl(&url, &["copy", &text])).contains("copied 28 tables with 1200 rows"));
    let back = Url::sqlite(folder.path().join("back.db")).to_string();
    dbctl(&url, &["copy", &text, &back]).unwrap();
    let mut back = db::open(&back.parse().unwrap()).unwrap();
    assert_eq!(
        back.query(&Select::from("subscriber")).unwrap(),
        db.query(&Select::from("subscriber")).unwrap()
    );
    let (message, _) = failure(dbctl(&url, &["copy", &url]));
    assert!(message.contains("the same database"), "{message}");
    let (message, _) = failure(dbctl(&url, &["copy", &text]));
    assert!(message.contains("say --yes"), "{message}");
}

#[test]
fn secrets_are_hidden_unless_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    dbctl(&url, &["create"]).unwrap();
    let mut db = db::open(&url.parse().unwrap()).unwrap();
    db.insert(
        &Insert::into("subscriber")
            .set("username", "alice")
            .set("ha1", "d41d8"),
    )
    .unwrap();
    let shown = data(dbctl(&url, &["show", "subscriber"]));
    assert_eq!(
        (&shown[0]["ha1"], &shown[0]["password"]),
        (&Value::from("***"), &Value::from(""))
    );
    assert_eq!(
        data(dbctl(&url, &["show", "subscriber", "--secrets"]))[0]["ha1"],
        "d41d8"
    );
    assert_eq!(
        data(dbctl(&url, &["show", "subscriber", "--limit", "0"])),
        Value::Array(Vec::new())
    );
}

#[test]
fn drop_and_reinit_ask_first() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    dbctl(&url, &["reinit"]).unwrap();
    let mut db = db::open(&url.parse().unwrap()).unwrap();
    db.insert(&Insert::into("subscriber").set("username", "alice"))
        .unwrap();
    drop(db);
    assert!(failure(dbctl(&url, &["reinit"])).0.contains("--yes"));
    dbctl(&url, &["--yes", "reinit"]).unwrap();
    let mut db = db::open(&url.parse().unwrap()).unwrap();
    assert_eq!(db.count(&Select::from("subscriber")).unwrap(), 0);
    drop(db);
    dbctl(&url, &["drop", "--yes"]).unwrap();
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());

    // What is no database is not deleted.
    let foreign = folder.path().join("notes.txt");
    fs::write(
        &foreign,
        "do not delete: these notes are long enough to be read as a header of a file",
    )
    .unwrap();
    let foreign_url = Url::sqlite(&foreign).to_string();
    assert_eq!(
        failure(dbctl(&foreign_url, &["--yes", "drop"])).1,
        ExitCode::NoDatabase
    );
    assert!(foreign.exists());
}

#[test]
fn scripts_are_run_in_one_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let url = url(folder.path());
    let script = folder.path().join("a.sql").display().to_string();
    fs::write(&script, "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE t (a);\nINSERT INTO t VALUES(';');\nCOMMIT;\n").unwrap();
    assert!(words(dbctl(&url, &["restore", &script])).starts_with("ran 3 statements"));
    fs::write(
        &script,
        "INSERT INTO t VALUES(1); INSERT INTO nonsense VALUES(1);",
    )
    .unwrap();
    assert!(dbctl(&url, &["restore", &script]).is_err());
    assert_eq!(
        db::open(&url.parse().unwrap())
            .unwrap()
            .count(&Select::from("t"))
            .unwrap(),
        1
    );
}

#[test]
fn the_command_line_is_sound() {
    crate::command().debug_assert();
    let help = crate::command().render_long_help().to_string();
    assert!(help.contains("Examples:") && help.contains("add-tables"));
    assert_eq!(distance("presense", "presence"), 1);
    assert_eq!(similar("xyz", ["acc"].into_iter()), None);
}
