//! Our tables against the scripts that Kamailio's package installs.

use std::fs;
use std::path::Path;

use super::*;
use crate::db;
use crate::db::Access;
use crate::db::Row;
use crate::db::Url;

const SCRIPTS: &str = "/usr/share/kamailio";

/// Modules whose scripts exist in the package, with the tables we have of them.
fn modules() -> Vec<&'static str> {
    let mut modules: Vec<&str> = TABLES
        .iter()
        .map(|table| table.module)
        .filter(|m| *m != "ims_icscf")
        .collect();
    modules.sort_unstable();
    modules.dedup();
    modules.sort_by_key(|module| *module != "standard");
    modules
}

fn shown(rows: &crate::db::Rows, columns: &[&str]) -> Vec<Vec<String>> {
    let cell = |row: &Row<'_>, name: &&str| {
        row.get(name)
            .map(|v| if v.is_null() { "NULL".into() } else { v.to_string() })
    };
    rows.iter()
        .map(|row| {
            columns
                .iter()
                .map(|c| cell(&row, c).unwrap_or_default())
                .collect()
        })
        .collect()
}

#[test]
fn names_are_sorted_and_known() {
    assert!(TABLES.windows(2).all(|pair| pair[0].name < pair[1].name));
    assert_eq!(tables_of("standard").len(), 29);
    assert_eq!(tables_of("presence").len(), 7);
    assert_eq!(
        tables_of("acc").iter().map(|t| t.name).collect::<Vec<_>>(),
        ["acc", "acc_cdrs", "missed_calls"]
    );
    assert_eq!(tables_of("location").len(), 1);
    assert!(tables_of("nothing").is_empty());
}

#[test]
fn sqlite_tables_equal_the_packaged_scripts() {
    let scripts = Path::new(SCRIPTS).join("db_sqlite");
    if !scripts.is_dir() {
        eprintln!("skipped: {} is not installed", scripts.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut theirs = db::open_with(&Url::sqlite(folder.path().join("theirs.db")), Access::Create).unwrap();
    for module in modules() {
        let script = fs::read(scripts.join(format!("{module}-create.sql"))).unwrap();
        for statement in db::Script::new(Engine::Sqlite, script.as_slice()) {
            theirs.raw(&statement.unwrap().sql, &[]).unwrap();
        }
    }
    let mut ours = db::open_with(&Url::sqlite(folder.path().join("ours.db")), Access::Create).unwrap();
    let tables: Vec<&'static Table> = TABLES
        .iter()
        .copied()
        .filter(|t| t.module != "ims_icscf")
        .collect();
    create(&mut *ours, &tables).unwrap();
    assert_eq!(ours.tables().unwrap(), theirs.tables().unwrap());
    assert_eq!(versions(&mut *ours).unwrap(), versions(&mut *theirs).unwrap());
    for table in tables {
        let columns = ["cid", "name", "type", "notnull", "dflt_value", "pk"];
        let info = format!("PRAGMA table_info({})", table.name);
        let [a, b] = [&mut ours, &mut theirs].map(|db| shown(&db.raw(&info, &[]).unwrap().rows, &columns));
        assert_eq!(a, b, "{}", table.name);
        let list = format!(
            "SELECT l.name, l.\"unique\", l.origin, group_concat(i.name) AS columns FROM pragma_index_list('{}') l, \
             pragma_index_info(l.name) i GROUP BY l.name ORDER BY l.name",
            table.name
        );
        let columns = ["name", "unique", "origin", "columns"];
        let [a, b] = [&mut ours, &mut theirs].map(|db| shown(&db.raw(&list, &[]).unwrap().rows, &columns));
        assert_eq!(a, b, "{}", table.name);
    }
}

#[test]
fn dbtext_headers_equal_the_packaged_files() {
    let files = Path::new(SCRIPTS).join("dbtext/kamailio");
    if !files.is_dir() {
        eprintln!("skipped: {} is not installed", files.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut ours = db::open_with(&Url::text(folder.path()), Access::Create).unwrap();
    create(&mut *ours, TABLES).unwrap();
    for table in TABLES {
        let Ok(theirs) = fs::read_to_string(files.join(table.name)) else {
            continue;
        };
        let ours = fs::read_to_string(folder.path().join(table.name)).unwrap();
        assert_eq!(
            ours.lines().next().map(str::trim_end),
            theirs.lines().next().map(str::trim_end),
            "{}",
            table.name
        );
    }
}

#[test]
fn create_is_idempotent_and_versions_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let mut db = db::open_with(&Url::sqlite(folder.path().join("a.db")), Access::Create).unwrap();
    let standard = tables_of("standard");
    assert_eq!(create(&mut *db, &standard).unwrap().len(), 29);
    assert!(create(&mut *db, &standard).unwrap().is_empty());
    check_versions(&mut *db, &["subscriber", "location"]).unwrap();

    set_version(&mut *db, "location", 8).unwrap();
    let error = check_versions(&mut *db, &["location"]).unwrap_err();
    assert!(matches!(&error, Error::Version { table, found: 8, wanted: 9, .. } if table == "location"));
    assert!(error.to_string().contains("dbctl migrate"), "{error}");
    assert!(matches!(
        check_versions(&mut *db, &["htable"]),
        Err(Error::NoTable { .. })
    ));
    assert!(matches!(
        check_versions(&mut *db, &["nonsense"]),
        Err(Error::Name(_))
    ));

    set_version(&mut *db, "location", 9).unwrap();
    set_version(&mut *db, "acc_cdrs", 3).unwrap();
    check_versions(&mut *db, &["location", "acc_cdrs"]).unwrap();
}

#[test]
fn an_older_table_is_migrated_and_keeps_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let mut db = db::open_with(&Url::sqlite(folder.path().join("a.db")), Access::Create).unwrap();
    create(&mut *db, &tables_of("version")).unwrap();
    let old = "CREATE TABLE address (id INTEGER PRIMARY KEY NOT NULL, grp INTEGER DEFAULT 1 NOT NULL, \
               ip_addr VARCHAR(50) NOT NULL, note TEXT)";
    db.raw(old, &[]).unwrap();
    set_version(&mut *db, "address", 5).unwrap();
    db.insert(
        &Insert::into("address")
            .set("ip_addr", "10.0.0.1")
            .set("note", "kept"),
    )
    .unwrap();

    let found = plan(&mut *db).unwrap();
    assert_eq!(found.steps.len(), 1);
    assert_eq!(
        found.steps[0].changes,
        [
            "add column mask",
            "add column port",
            "add column tag",
            "set version 6"
        ]
    );
    apply(&mut *db, &found).unwrap();
    assert_eq!(plan(&mut *db).unwrap(), Plan::default());
    let rows = db.query(&Select::from("address")).unwrap();
    let row = rows.first().unwrap();
    assert_eq!(
        (row.str("note"), row.int("mask"), row.int("port")),
        (Some("kept"), Some(32), Some(0))
    );

    set_version(&mut *db, "address", 7).unwrap();
    assert_eq!(plan(&mut *db).unwrap().newer, [("address", 7, 6)]);
}
