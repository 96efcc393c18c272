//! `dbctl create`, `presence`, `extra`, `add-tables`, `dbonly`: what does not exist is made, the rest stays.

use std::fs;

use serde_json::json;
use shared::db;
use shared::db::Access;
use shared::db::Backend;
use shared::db::Engine;
use shared::db::Url;
use shared::db::schema;
use shared::db::schema::Table;

use super::counted;
use super::grant;
use crate::Answer;
use crate::Error;
use crate::context::Context;
use crate::context::open;
use crate::context::quoted;

/// Optional groups asked for by flag.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Optional {
    pub(super) presence: bool,
    pub(super) extra: bool,
    pub(super) uid: bool,
}

/// Makes the database and its standard tables, and the optional ones wanted.
pub(super) fn create(context: &Context<'_>, url: &Url, wanted: Optional) -> Result<Answer, Error> {
    let mut tables = modules(context, "STANDARD_MODULES", "standard")?;
    if context.wants(wanted.presence, "INSTALL_PRESENCE_TABLES", "presence") {
        tables.extend(schema::tables_of("presence"));
    }
    if context.wants(wanted.extra, "INSTALL_EXTRA_TABLES", "extra") {
        tables.extend(modules(context, "EXTRA_MODULES", "extra")?);
    }
    if wanted.uid || context.settings.flag("INSTALL_DBUID_TABLES") == Some(true) {
        tables.extend(schema::tables_of("uid"));
    }
    let new_file = is_new_file(url);
    let mut db = make_database(context, url)?;
    let made = make_tables(&mut *db, &tables);
    if made.is_err() && new_file {
        drop(db);
        discard(url);
    }
    answer(url, &tables, &made?)
}

/// Tells whether opening the database would make a file.
pub(super) fn is_new_file(url: &Url) -> bool {
    url.engine == Engine::Sqlite && url.path().is_some_and(|path| !path.exists())
}

/// Removes a file just made: nothing half made stays behind.
pub(super) fn discard(url: &Url) {
    let _ = fs::remove_file(&url.name);
}

/// Adds groups of tables to a database that exists.
pub(super) fn add(context: &Context<'_>, groups: &[String]) -> Result<Answer, Error> {
    let mut tables = Vec::new();
    for group in groups {
        let found = schema::tables_of(group);
        if found.is_empty() {
            let similar = super::similar(group, super::group_words());
            return Err(Error::UnknownGroup {
                name: group.clone(),
                similar,
            });
        }
        tables.extend(found);
    }
    let mut db = context.open()?;
    let made = make_tables(&mut *db, &tables)?;
    answer(&context.url, &tables, &made)
}

/// Makes a database without tables.
pub(super) fn empty(context: &Context<'_>, url: &Url) -> Result<Answer, Error> {
    let existed = match open(url, Access::Existing) {
        Ok(_) => true,
        Err(Error::Database(
            db::Error::Missing(_) | db::Error::NoDatabase { .. } | db::Error::Denied { .. },
        )) => false,
        Err(error) => return Err(error),
    };
    make_database(context, url)?;
    let words = if existed {
        format!("{url} exists already")
    } else {
        format!("created {url} without tables")
    };
    Ok(Answer::new(
        words,
        json!({"database": url.to_string(), "created": !existed}),
    ))
}

/// Opens the database, making it first where it does not exist.
pub(super) fn make_database(context: &Context<'_>, url: &Url) -> Result<Box<dyn Backend>, Error> {
    if !url.engine.is_server() {
        if let Some(folder) = url
            .path()
            .as_deref()
            .and_then(|path| path.parent())
            .filter(|f| !f.as_os_str().is_empty())
        {
            let made = fs::create_dir_all(folder);
            made.map_err(|e| Error::file("create folder", folder, &e))?;
        }
        return open(url, Access::Create);
    }
    match open(url, Access::Existing) {
        // MySQL tells an account without rights nothing about what exists.
        Err(error @ Error::Database(db::Error::NoDatabase { .. } | db::Error::Denied { .. })) => {
            let root = match context.settings.administrator(url)? {
                None if own_attempt(url).is_ok() => return open(url, Access::Existing),
                None => context.administrator(url)?,
                root => root,
            };
            let Some(root) = root else {
                return Err(Error::CannotCreate(Box::new(error)));
            };
            make_on_server(context, &mut *open(&root, Access::Existing)?, url)?;
            if root.user != url.user {
                grant::give(context, &root, url)?;
            }
            open(url, Access::Existing)
        }
        opened => opened,
    }
}

fn own_attempt(url: &Url) -> Result<(), Error> {
    let mut server = open(
        &Url {
            name: String::new(),
            ..url.clone()
        },
        Access::Existing,
    )?;
    let sql = format!("CREATE DATABASE {}", quoted(url.engine, &url.name));
    Ok(server.raw(&sql, &[]).map(|_| ())?)
}

fn make_on_server(context: &Context<'_>, server: &mut dyn Backend, url: &Url) -> Result<(), Error> {
    let name = quoted(url.engine, &url.name);
    if url.engine == Engine::Postgres {
        let exists = server.raw(
            "SELECT 1 AS one FROM pg_database WHERE datname = $1",
            &[url.name.as_str().into()],
        )?;
        if exists.rows.is_empty() {
            server.raw(&format!("CREATE DATABASE {name}"), &[])?;
        }
        return Ok(());
    }
    let charset = context
        .settings
        .get("CHARSET")
        .unwrap_or_else(|| "utf8mb4".to_owned());
    let known = charset.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !known {
        return Err(Error::Usage(format!(
            "CHARSET is `{charset}`, which is no character set"
        )));
    }
    server.raw(
        &format!("CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET {charset}"),
        &[],
    )?;
    Ok(())
}

fn make_tables(db: &mut dyn Backend, tables: &[&'static Table]) -> Result<Vec<&'static str>, Error> {
    let made = db::transaction(db, |db| schema::create(db, tables).map_err(Error::from))?;
    let current: Vec<&str> = tables.iter().map(|table| table.name).collect();
    schema::check_versions(db, &current)?;
    if db.engine() == Engine::Postgres && made.contains(&"version") {
        // What MySQL has built in and modules written for it expect.
        db.raw(
            "CREATE OR REPLACE FUNCTION rand() RETURNS double precision AS 'SELECT random()' LANGUAGE sql",
            &[],
        )?;
    }
    Ok(made)
}

/// The tables of the modules a key lists, or of a group when the key is not set.
fn modules(context: &Context<'_>, key: &str, group: &str) -> Result<Vec<&'static Table>, Error> {
    let Some(list) = context.settings.get(key) else {
        return Ok(schema::tables_of(group));
    };
    let mut tables = Vec::new();
    for module in list.split_whitespace() {
        let found = schema::tables_of(module);
        if found.is_empty() {
            let similar = super::similar(module, super::group_words());
            return Err(Error::UnknownGroup {
                name: module.to_owned(),
                similar,
            });
        }
        tables.extend(
            found
                .into_iter()
                .filter(|table| table.module == module || table.name == module),
        );
    }
    Ok(tables)
}

fn answer(url: &Url, tables: &[&'static Table], made: &[&'static str]) -> Result<Answer, Error> {
    let existed: Vec<&str> = tables
        .iter()
        .map(|t| t.name)
        .filter(|name| !made.contains(name))
        .collect();
    let words = match (made.len(), existed.len()) {
        (0, old) => format!("{url} has {} already, nothing was changed", counted(old, "table")),
        (new, 0) => format!("created {} in {url}", counted(new, "table")),
        (new, old) => format!(
            "created {} in {url}, {} existed already",
            counted(new, "table"),
            counted(old, "table")
        ),
    };
    Ok(Answer::new(
        words,
        json!({"database": url.to_string(), "created": made, "existed": existed}),
    ))
}
