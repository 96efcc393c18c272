//! The tests every backend must pass; servers are named by TEST_MYSQL_URL and TEST_POSTGRES_URL.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;
use crate::db::schema::tables_of;

/// Runs every test on an empty database.
fn suite(db: &mut dyn Backend) {
    empty(db);
    makes_tables(db);
    for test in [
        writes_and_reads,
        types_survive,
        transactions,
        upserts,
        large_inserts,
        nulls_and_order,
        refuses,
        describes,
    ] {
        for table in ["subscriber", "location", "address", "xcap"] {
            db.delete(&Delete::from(table)).unwrap();
        }
        test(db);
        assert!(!db.in_transaction());
    }
    drops_tables(db);
    if db.engine() != Engine::Text {
        migrates(db);
    }
}

fn makes_tables(db: &mut dyn Backend) {
    let tables = schema::TABLES;
    let made = transaction(db, |db| schema::create(db, tables)).unwrap();
    assert_eq!(made.len(), tables.len());
    assert_eq!(db.tables().unwrap().len(), tables.len());
    schema::check_versions(db, &["subscriber", "location", "version"]).unwrap();
    assert_eq!(schema::plan(db).unwrap(), schema::Plan::default());
    assert!(schema::create(db, tables).unwrap().is_empty());
}

fn writes_and_reads(db: &mut dyn Backend) {
    let row = Insert::into("subscriber")
        .set("username", "alice")
        .set("domain", "example.org")
        .set("ha1", "x'; DROP TABLE subscriber; --");
    assert_eq!(db.insert(&row).unwrap(), 1);
    let error = db.insert(&row).unwrap_err();
    assert!(error.is_duplicate(), "{error}");
    let select = Select::from("subscriber")
        .columns(&["username", "ha1", "password", "id"])
        .eq("username", "alice")
        .eq("domain", "example.org");
    let rows = db.query(&select).unwrap();
    assert_eq!(rows.len(), 1);
    let row = rows.first().unwrap();
    assert_eq!(row.str("ha1"), Some("x'; DROP TABLE subscriber; --"));
    assert_eq!(row.bytes("password"), Some(&b""[..]));
    assert!(row.int("id").unwrap() > 0);
    assert_eq!(rows.names(), ["username", "ha1", "password", "id"]);

    assert_eq!(
        db.update(
            &Update::table("subscriber")
                .set("password", "pw")
                .eq("username", "alice")
        )
        .unwrap(),
        1
    );
    assert_eq!(
        db.update(
            &Update::table("subscriber")
                .set("password", "pw")
                .eq("username", "nobody")
        )
        .unwrap(),
        0
    );
    assert_eq!(
        db.query(&select).unwrap().first().unwrap().str("password"),
        Some("pw")
    );
    assert_eq!(db.count(&Select::from("subscriber")).unwrap(), 1);
    let names = |names: [&str; 2]| names.map(Value::from).to_vec();
    let one_of = |values| Select::from("subscriber").one_of("username", values);
    assert_eq!(db.count(&one_of(names(["nobody", "alice"]))).unwrap(), 1);
    assert_eq!(db.count(&one_of(names(["nobody", "ali"]))).unwrap(), 0);
    let elsewhere = one_of(names(["alice", "alice"])).eq("domain", "example.net");
    assert_eq!(db.count(&elsewhere).unwrap(), 0);
    assert_eq!(
        db.delete(&Delete::from("subscriber").eq("username", "alice"))
            .unwrap(),
        1
    );
    let none = db.query(&select).unwrap();
    assert!(none.is_empty());
    assert_eq!(db.count(&select).unwrap(), 0);
}

fn types_survive(db: &mut dyn Backend) {
    let when = 1_700_000_001;
    let row = Insert::into("location")
        .set("ruid", "uloc-1")
        .set("username", "älice")
        .set("contact", "sip:a:b\\c\t\n@[::1]")
        .set("expires", Value::DateTime(when))
        .set("q", -1.0)
        .set("cflags", 2_147_483_647)
        .set("methods", None::<i64>)
        .set("partition", 7);
    db.insert(&row).unwrap();
    let rows = db.query(&Select::from("location").eq("ruid", "uloc-1")).unwrap();
    let row = rows.first().unwrap();
    assert_eq!(row.str("username"), Some("älice"));
    assert_eq!(row.str("contact"), Some("sip:a:b\\c\t\n@[::1]"));
    assert_eq!(row.time("expires"), Some(when));
    assert_eq!(row.double("q"), Some(-1.0));
    assert_eq!(row.int("cflags"), Some(2_147_483_647));
    assert_eq!(row.get("methods"), Some(&Value::Null));
    assert_eq!(row.get("domain"), Some(&Value::Null));
    assert_eq!(row.int("partition"), Some(7));
    assert_eq!(row.str("callid"), Some("Default-Call-ID"));
    let expired = |now| Select::from("location").filter("expires", Op::Lt, Value::DateTime(now));
    assert_eq!(db.count(&expired(when)).unwrap(), 0);
    assert_eq!(db.count(&expired(when + 1)).unwrap(), 1);

    let default = Insert::into("location")
        .set("ruid", "uloc-2")
        .set("username", "bob");
    db.insert(&default).unwrap();
    let rows = db
        .query(
            &Select::from("location")
                .columns(&["expires", "q"])
                .eq("ruid", "uloc-2"),
        )
        .unwrap();
    assert!(rows.first().unwrap().time("expires").is_some());
    assert_eq!(rows.first().unwrap().double("q"), Some(1.0));

    let bytes: Vec<u8> = if db.engine() == Engine::Text {
        b"<doc/>\n".to_vec()
    } else {
        (0..=255).collect()
    };
    let doc = Insert::into("xcap")
        .set("username", "a")
        .set("domain", "b")
        .set("doc", Value::Blob(bytes.clone()));
    let doc = doc
        .set("doc_type", 1)
        .set("etag", "e")
        .set("source", 0)
        .set("doc_uri", "u")
        .set("port", 0);
    db.insert(&doc).unwrap();
    assert_eq!(
        db.query(&Select::from("xcap"))
            .unwrap()
            .first()
            .unwrap()
            .bytes("doc"),
        Some(&bytes[..])
    );

    // Values of another type than the column's are taken where they mean the same.
    db.insert(
        &Insert::into("address")
            .set("ip_addr", "10.0.0.1")
            .set("mask", "24")
            .set("tag", 5),
    )
    .unwrap();
    let rows = db.query(&Select::from("address").eq("mask", "24")).unwrap();
    assert_eq!(
        (
            rows.first().unwrap().int("mask"),
            rows.first().unwrap().str("tag")
        ),
        (Some(24), Some("5"))
    );
}

fn transactions(db: &mut dyn Backend) {
    let row = |name: &'static str| {
        Insert::into("subscriber")
            .set("username", name)
            .set("domain", "d")
    };
    let failed: Result<(), Error> = transaction(db, |db| {
        db.insert(&row("a"))?;
        assert_eq!(db.count(&Select::from("subscriber"))?, 1);
        db.insert(&row("a"))?;
        Ok(())
    });
    assert!(failed.unwrap_err().is_duplicate());
    assert_eq!(db.count(&Select::from("subscriber")).unwrap(), 0);
    transaction(db, |db| {
        db.insert(&row("a"))?;
        transaction(db, |db| db.insert(&row("b")))
    })
    .unwrap();
    assert_eq!(db.count(&Select::from("subscriber")).unwrap(), 2);
    assert!(matches!(db.commit(), Err(Error::Transaction(_))));
    assert!(matches!(db.rollback(), Err(Error::Transaction(_))));
    db.begin().unwrap();
    assert!(matches!(db.begin(), Err(Error::Transaction(_))));
    db.rollback().unwrap();
}

fn upserts(db: &mut dyn Backend) {
    for contact in ["sip:1", "sip:2"] {
        let row = Insert::into("location")
            .set("ruid", "r")
            .set("username", "u")
            .set("contact", contact);
        assert_eq!(db.upsert(&row.or_update(&["ruid"])).unwrap(), 1);
    }
    let rows = db.query(&Select::from("location")).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows.first().unwrap().str("contact"), Some("sip:2"));
    let same = Insert::into("location").set("ruid", "r").or_update(&["ruid"]);
    db.upsert(&same).unwrap();
    assert_eq!(db.count(&Select::from("location")).unwrap(), 1);
}

fn large_inserts(db: &mut dyn Backend) {
    let rows = (0..1201)
        .map(|n| vec![Value::from(format!("u{n:05}")), Value::from("d")])
        .collect();
    let insert = Insert::rows("subscriber", &["username", "domain"], rows);
    assert_eq!(db.insert(&insert).unwrap(), 1201);
    let mut seen = 0;
    db.each(
        &Select::from("subscriber")
            .columns(&["username"])
            .order_by("username"),
        &mut |row| {
            assert_eq!(row.str("username"), Some(format!("u{seen:05}").as_str()));
            seen += 1;
            Ok(())
        },
    )
    .unwrap();
    assert_eq!(seen, 1201);
    // What a visitor left unread is nobody's trouble.
    for stop in [1, 300] {
        let mut seen = 0;
        let stopped = db.each(&Select::from("subscriber"), &mut |_| {
            seen += 1;
            if seen == stop {
                Err(Error::Transaction("enough"))
            } else {
                Ok(())
            }
        });
        assert_eq!((stopped, seen), (Err(Error::Transaction("enough")), stop));
        assert_eq!(db.count(&Select::from("subscriber")).unwrap(), 1201);
    }
    // The last row exists: none of the others may stay.
    db.delete(&Delete::from("subscriber").filter("username", Op::Ne, "u01200"))
        .unwrap();
    assert!(db.insert(&insert).unwrap_err().is_duplicate());
    assert_eq!(db.count(&Select::from("subscriber")).unwrap(), 1);
    assert_eq!(
        db.insert(&Insert::rows("subscriber", &["username"], Vec::new()))
            .unwrap(),
        0
    );
}

fn nulls_and_order(db: &mut dyn Backend) {
    for (ip, tag) in [
        ("10.0.0.3", None),
        ("10.0.0.1", Some("x")),
        ("10.0.0.2", Some("y")),
    ] {
        db.insert(&Insert::into("address").set("ip_addr", ip).set("tag", tag))
            .unwrap();
    }
    let ips = |db: &mut dyn Backend, select: Select<'_>| -> Vec<String> {
        db.query(&select.columns(&["ip_addr"]))
            .unwrap()
            .iter()
            .map(|r| r.str("ip_addr").unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        ips(db, Select::from("address").eq("tag", Value::Null)),
        ["10.0.0.3"]
    );
    let named = Select::from("address")
        .filter("tag", Op::Ne, Value::Null)
        .order_by("ip_addr");
    assert_eq!(ips(db, named), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(
        ips(
            db,
            Select::from("address").order_by_descending("ip_addr").limit(2)
        ),
        ["10.0.0.3", "10.0.0.2"]
    );
    db.update(&Update::table("address").set("tag", Value::Null))
        .unwrap();
    assert_eq!(
        db.count(&Select::from("address").eq("tag", Value::Null)).unwrap(),
        3
    );
}

fn refuses(db: &mut dyn Backend) {
    let error = db.query(&Select::from("nonsense")).unwrap_err();
    assert!(
        matches!(&error, Error::NoTable { table, .. } if table == "nonsense"),
        "{error}"
    );
    assert!(
        db.query(&Select::from("subscriber").columns(&["nonsense"]))
            .is_err()
    );
    assert!(db.query(&Select::from("subscriber").eq("nonsense", 1)).is_err());
    assert!(db.insert(&Insert::into("subscriber").set("nonsense", 1)).is_err());
    assert!(matches!(db.query(&Select::from("")), Err(Error::Name(_))));
    let short = Insert::rows(
        "subscriber",
        &["username", "domain"],
        vec![vec![Value::from("a")]],
    );
    assert!(matches!(
        db.insert(&short),
        Err(Error::Width {
            found: 1,
            wanted: 2,
            ..
        })
    ));
    // After all those refusals it works as before.
    db.ping().unwrap();
    db.insert(&Insert::into("subscriber").set("username", "z").set("domain", "d"))
        .unwrap();
}

fn describes(db: &mut dyn Backend) {
    let columns = db.columns("location").unwrap();
    let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
    let layout = schema::table("location").unwrap();
    let wanted: Vec<&str> = std::iter::once("id")
        .chain(layout.columns.iter().map(|c| c.name))
        .collect();
    assert_eq!(names, wanted);
    let domain = columns.iter().find(|c| c.name == "domain").unwrap();
    assert_eq!((domain.kind, domain.null), (Kind::Text, true));
    let expires = columns.iter().find(|c| c.name == "expires").unwrap();
    let kind = if db.engine() == Engine::Text {
        Kind::Int
    } else {
        Kind::DateTime
    };
    assert_eq!((expires.kind, expires.null), (kind, false));
    assert!(matches!(db.columns("nonsense"), Err(Error::NoTable { .. })));
    assert!(db.table_exists("location").unwrap());
    assert!(!db.table_exists("nonsense").unwrap());
}

fn drops_tables(db: &mut dyn Backend) {
    for table in tables_of("acc") {
        schema::remove(db, table.name).unwrap();
    }
    assert_eq!(schema::version_of(db, "acc").unwrap(), 0);
    assert!(!db.table_exists("acc").unwrap());
    assert!(matches!(db.drop_table("acc"), Err(Error::NoTable { .. })));
    db.reconnect().unwrap();
    assert!(db.table_exists("location").unwrap());
}

fn migrates(db: &mut dyn Backend) {
    db.drop_table("address").unwrap();
    db.raw("CREATE TABLE address (id INTEGER PRIMARY KEY NOT NULL, ip_addr VARCHAR(15) NOT NULL, note VARCHAR(9))", &[])
        .unwrap();
    schema::set_version(db, "address", 4).unwrap();
    db.insert(
        &Insert::into("address")
            .set("id", 1)
            .set("ip_addr", "10.0.0.1")
            .set("note", "kept"),
    )
    .unwrap();
    let plan = schema::plan(db).unwrap();
    let changes = plan.steps.first().unwrap().changes.join(", ");
    assert_eq!(
        changes.contains("widen column ip_addr from 15 to 50 characters"),
        db.engine().is_server(),
        "{changes}"
    );
    assert!(
        changes.starts_with("add column grp") && changes.ends_with("set version 6"),
        "{changes}"
    );
    transaction(db, |db| schema::apply(db, &plan)).unwrap();
    assert_eq!(schema::plan(db).unwrap(), schema::Plan::default());
    let rows = db
        .query(&Select::from("address").columns(&["note", "mask", "grp"]))
        .unwrap();
    let row = rows.first().unwrap();
    assert_eq!(
        (row.str("note"), row.int("mask"), row.int("grp")),
        (Some("kept"), Some(32), Some(1))
    );
}

#[test]
fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    suite(&mut *open_with(&Url::sqlite(&path), Access::Create).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn text() {
    let folder = tempfile::tempdir().unwrap();
    let mut db = open_with(&Url::text(folder.path().join("db")), Access::Create).unwrap();
    suite(&mut *db);
    let old = "id(int,auto) ip_addr(string)\n1:10.0.0.1\n";
    fs::write(folder.path().join("db/address"), old).unwrap();
    schema::set_version(&mut *db, "address", 4).unwrap();
    let plan = schema::plan(&mut *db).unwrap();
    transaction(&mut *db, |db| schema::apply(db, &plan)).unwrap();
    let rows = db.query(&Select::from("address")).unwrap();
    assert_eq!(
        (rows.first().unwrap().int("id"), rows.first().unwrap().int("mask")),
        (Some(1), Some(32))
    );
}

#[test]
fn mysql() {
    on_server("TEST_MYSQL_URL");
}

#[test]
fn postgres() {
    on_server("TEST_POSTGRES_URL");
}

fn on_server(variable: &str) {
    let Ok(url) = env::var(variable) else {
        assert_ne!(
            env::var("CI_DATABASES").as_deref(),
            Ok("required"),
            "{variable} is not set"
        );
        eprintln!("skipped: {variable} names no server to test on");
        return;
    };
    let url: Url = url.parse().unwrap();
    let mut db = open(&url).unwrap();
    equals_the_packaged_scripts(&mut *db);
    suite(&mut *db);
    // A connection cut from outside comes back by itself.
    let (own, cut) = match db.engine() {
        Engine::Postgres => (
            "SELECT pg_backend_pid() AS id",
            "SELECT pg_terminate_backend($1::int)",
        ),
        _ => ("SELECT CONNECTION_ID() AS id", "KILL ?"),
    };
    let id = db
        .raw(own, &[])
        .unwrap()
        .rows
        .first()
        .unwrap()
        .get("id")
        .unwrap()
        .clone();
    open(&url).unwrap().raw(cut, &[id]).unwrap();
    assert!(db.table_exists("location").unwrap());
}

/// Makes the tables by Kamailio's scripts, then by ours, and compares what the server says of them.
fn equals_the_packaged_scripts(db: &mut dyn Backend) {
    let scripts = Path::new("/usr/share/kamailio").join(if db.engine() == Engine::MySql {
        "mysql"
    } else {
        "postgres"
    });
    if !scripts.is_dir() {
        eprintln!("skipped: {} is not installed", scripts.display());
        return;
    }
    let tables: Vec<_> = schema::TABLES
        .iter()
        .copied()
        .filter(|t| t.module != "ims_icscf")
        .collect();
    empty(db);
    let mut modules: Vec<&str> = tables.iter().map(|table| table.module).collect();
    modules.sort_by_key(|module| (*module != "standard", *module));
    modules.dedup();
    for module in modules {
        let script = fs::read(scripts.join(format!("{module}-create.sql"))).unwrap();
        for statement in Script::new(db.engine(), script.as_slice()) {
            db.raw(&statement.unwrap().sql, &[]).unwrap();
        }
    }
    let theirs = described(db);
    empty(db);
    schema::create(db, &tables).unwrap();
    let ours = described(db);
    assert!(theirs.len() > 500);
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs);
    }
}

fn empty(db: &mut dyn Backend) {
    for table in db.tables().unwrap() {
        db.drop_table(&table).unwrap();
    }
}

/// Every column and every index as a line.
fn described(db: &mut dyn Backend) -> Vec<String> {
    let own = if db.engine() == Engine::MySql {
        "DATABASE()"
    } else {
        "current_schema()"
    };
    let (types, indexes) = match db.engine() {
        Engine::MySql => (
            "regexp_replace(column_type, '(int)[(][0-9]+[)]', '\\\\1')",
            "SELECT concat_ws(' ', table_name, index_name, non_unique, group_concat(column_name ORDER BY seq_in_index)) AS line \
             FROM information_schema.statistics WHERE table_schema = DATABASE() GROUP BY table_name, index_name, non_unique",
        ),
        _ => (
            "concat_ws(' ', data_type, character_maximum_length)",
            "SELECT indexdef AS line FROM pg_indexes WHERE schemaname = current_schema()",
        ),
    };
    let columns = format!(
        "SELECT concat_ws(' ', table_name, ordinal_position, column_name, {types}, is_nullable, column_default) AS line \
         FROM information_schema.columns WHERE table_schema = {own}"
    );
    let mut lines = Vec::new();
    for sql in [columns.as_str(), indexes] {
        let answer = db.raw(sql, &[]).unwrap();
        lines.extend(answer.rows.iter().map(|row| row.get("line").unwrap().to_string()));
    }
    lines.sort();
    lines
}

#[test]
fn missing_and_foreign_files_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let absent = open(&Url::sqlite(folder.path().join("no.db"))).err().unwrap();
    assert!(
        absent
            .to_string()
            .contains("no.db`: create it with `dbctl create`"),
        "{absent}"
    );
    let foreign = folder.path().join("foreign.db");
    fs::write(
        &foreign,
        "this is not a database, and it is long enough to be told apart from one",
    )
    .unwrap();
    let error = open(&Url::sqlite(&foreign))
        .and_then(|mut db| db.tables())
        .err()
        .unwrap();
    assert!(matches!(error, Error::NotADatabase(_)), "{error}");
    assert!(matches!(
        open(&Url::text(folder.path().join("no"))).err(),
        Some(Error::Missing(_))
    ));
    let read_only = open_with(&Url::sqlite(folder.path().join("a.db")), Access::Create).and_then(|mut db| {
        schema::create(&mut *db, &tables_of("version"))?;
        open_with(db.url(), Access::ReadOnly)
    });
    let error = schema::set_version(&mut *read_only.unwrap(), "version", 2).unwrap_err();
    assert!(matches!(error, Error::ReadOnly(_)), "{error}");
}

#[test]
fn sqlite_tells_when_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let url = Url::sqlite(folder.path().join("a.db"));
    let (mut one, mut two) = (
        open_with(&url, Access::Create).unwrap(),
        open_with(&url, Access::Existing).unwrap(),
    );
    schema::create(&mut *one, &tables_of("auth_db")).unwrap();
    let before = two.data_version().unwrap();
    assert_eq!(two.data_version().unwrap(), before);
    one.insert(&Insert::into("subscriber").set("username", "a"))
        .unwrap();
    assert_ne!(two.data_version().unwrap(), before);
}

#[test]
fn a_dead_server_is_refused_quickly() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for scheme in ["mysql", "postgres"] {
        let url: Url = format!("{scheme}://u:secret@127.0.0.1:{port}/k").parse().unwrap();
        let error = open(&url).err().unwrap();
        assert!(
            error.is_unreachable() && !error.to_string().contains("secret"),
            "{error}"
        );
    }
}
