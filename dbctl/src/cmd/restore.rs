//! `dbctl restore FILE`: a backup replaces the tables it holds, all of them or none; an SQL script is run.

use std::fs::File;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::ErrorKind;
use std::io::Read as _;
use std::path::Path;

use indicatif::ProgressBarIter;
use serde_json::Value;
use serde_json::json;
use shared::db;
use shared::db::Access;
use shared::db::Backend;
use shared::db::Delete;
use shared::db::Engine;
use shared::db::Insert;
use shared::db::Kind;
use shared::db::Select;
use shared::db::schema;
use shared::db::schema::Table;

use super::backup;
use super::counted;
use super::create;
use crate::Answer;
use crate::Error;
use crate::context::Context;
use crate::context::open;
use crate::context::quoted;

/// Bytes of which a terminal is shown how many are done.
const LONG: u64 = 1 << 20;
/// Rows written with one statement.
pub(super) const BATCH: usize = 500;

/// Restores what the file holds.
pub(super) fn restore(context: &Context<'_>, file: &Path) -> Result<Answer, Error> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Error::NoFile(file.to_owned()),
        _ => Error::File {
            doing: "read",
            path: file.to_owned(),
            reason: error.to_string(),
        },
    };
    let opened = File::open(file).map_err(failed)?;
    let size = opened.metadata().map_or(0, |metadata| metadata.len());
    let bar = context.progress(size, LONG);
    let mut reader = BufReader::new(bar.wrap_read(opened));
    let is_script = reader.fill_buf().map_err(failed)?.first() != Some(&b'{');
    if is_script {
        let mut script = String::new();
        reader.read_to_string(&mut script).map_err(failed)?;
        return run_script(context, &script);
    }
    let lines = Lines {
        path: file,
        reader,
        number: 0,
    };
    let held = tables_with_rows(context)?;
    if !held.is_empty() {
        context.confirm(&format!(
            "this replaces what {} holds ({})",
            context.url,
            held.join(", ")
        ))?;
    }
    let mut db = create::make_database(context, &context.url)?;
    let restored = db::transaction(&mut *db, |db| read(db, lines));
    bar.finish_and_clear();
    let restored = restored?;
    let (tables, rows) = (counted(restored.0, "table"), counted(restored.1, "row"));
    let words = format!("restored {tables} with {rows} into {}", context.url);
    Ok(Answer::new(
        words,
        json!({"database": context.url.to_string(), "tables": restored.0, "rows": restored.1}),
    ))
}

/// A known table that exists in `db` with every column named, its rows removed.
pub(super) fn prepare(
    db: &mut dyn Backend,
    table: &'static Table,
    columns: &[(String, Kind)],
) -> Result<(), Error> {
    schema::create(db, &[table])?;
    schema::check_versions(db, &[table.name])?;
    let existing = db.columns(table.name)?;
    for (name, kind) in columns {
        if existing
            .iter()
            .any(|column| column.name.eq_ignore_ascii_case(name))
        {
            continue;
        }
        // A column of the operator's own, as accounting has them.
        let engine = db.engine();
        let declared = match (kind, engine) {
            (Kind::Int, _) => "INTEGER",
            (Kind::Double, _) => "REAL",
            (Kind::DateTime, Engine::MySql) => "DATETIME",
            (Kind::DateTime, _) => "TIMESTAMP",
            (Kind::Blob, Engine::Postgres) => "BYTEA",
            (Kind::Blob, _) => "BLOB",
            (Kind::Text, _) => "VARCHAR(255)",
        };
        let (table, name) = (quoted(engine, table.name), quoted(engine, name));
        db.raw(&format!("ALTER TABLE {table} ADD COLUMN {name} {declared}"), &[])?;
    }
    db.delete(&Delete::from(table.name))?;
    Ok(())
}

/// Makes times of the numbers that dbtext keeps in their place.
pub(super) fn dated(table: &Table, columns: &[&str], cells: &mut [db::Value]) {
    let is_time = |name: &str| {
        let column = table
            .columns
            .iter()
            .find(|column| column.name.eq_ignore_ascii_case(name));
        column.is_some_and(|column| column.kind.kind() == Kind::DateTime)
    };
    for (name, cell) in columns.iter().zip(cells) {
        if matches!(cell, db::Value::Int(_)) && is_time(name) {
            *cell = cell.coerced(Kind::DateTime).into_owned();
        }
    }
}

/// Sets the counter of a table's key behind the rows just written: PostgreSQL does not by itself.
pub(super) fn finish(db: &mut dyn Backend, table: &Table) -> Result<(), Error> {
    if db.engine() != Engine::Postgres {
        return Ok(());
    }
    let (name, key) = (
        quoted(Engine::Postgres, table.name),
        quoted(Engine::Postgres, table.key),
    );
    let sql = format!(
        "SELECT setval(pg_get_serial_sequence('{}', '{}'), COALESCE((SELECT MAX({key}) FROM {name}), 0) + 1, false)",
        table.name, table.key
    );
    db.raw(&sql, &[])?;
    Ok(())
}

struct Lines<'p> {
    path: &'p Path,
    reader: BufReader<ProgressBarIter<File>>,
    number: usize,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<Value>, Error> {
        let mut line = String::new();
        self.number += 1;
        match self.reader.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => serde_json::from_str(&line)
                .map(Some)
                .map_err(|e| self.bad(format!("not a line of a backup: {e}"))),
            Err(error) => Err(self.bad(error.to_string())),
        }
    }

    fn bad(&self, reason: String) -> Error {
        Error::Backup {
            path: self.path.to_owned(),
            line: self.number,
            reason,
        }
    }
}

struct Filling {
    table: &'static Table,
    columns: Vec<String>,
    rows: Vec<Vec<db::Value>>,
}

impl Filling {
    fn write(&mut self, db: &mut dyn Backend) -> Result<(), Error> {
        let columns: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        for row in &mut self.rows {
            dated(self.table, &columns, row);
        }
        db.insert(&Insert::rows(
            self.table.name,
            &columns,
            std::mem::take(&mut self.rows),
        ))?;
        Ok(())
    }
}

fn read(db: &mut dyn Backend, mut lines: Lines<'_>) -> Result<(usize, usize), Error> {
    let head = lines.next()?.unwrap_or_default();
    if head.get("format").and_then(Value::as_str) != Some(backup::FORMAT)
        || head.get("version") != Some(&json!(1))
    {
        return Err(lines.bad("this is not a backup of version 1".to_owned()));
    }
    let (mut tables, mut rows) = (0, 0);
    let mut filling: Option<Filling> = None;
    while let Some(line) = lines.next()? {
        match line {
            Value::Array(cells) => {
                let Some(current) = &mut filling else {
                    return Err(lines.bad("a row before any table".to_owned()));
                };
                if cells.len() != current.columns.len() {
                    let reason = format!(
                        "{} for {}",
                        counted(cells.len(), "cell"),
                        counted(current.columns.len(), "column")
                    );
                    return Err(lines.bad(reason));
                }
                let cells: Option<Vec<db::Value>> = cells.iter().map(backup::from_json).collect();
                let Some(cells) = cells else {
                    return Err(lines.bad("a cell that is no value".to_owned()));
                };
                current.rows.push(cells);
                rows += 1;
                if current.rows.len() >= BATCH {
                    current.write(db)?;
                }
            }
            entry => {
                if let Some(mut done) = filling.take() {
                    done.write(db)?;
                    finish(db, done.table)?;
                }
                if entry.get("end").is_some() {
                    let counted_there = entry.get("rows").and_then(Value::as_u64);
                    if counted_there.is_some_and(|n| n != rows as u64) {
                        return Err(lines.bad(format!(
                            "the backup says it has {counted_there:?} rows, but {rows} came"
                        )));
                    }
                    return Ok((tables, rows));
                }
                filling = Some(begin(db, &lines, &entry)?);
                tables += 1;
            }
        }
    }
    Err(lines.bad("the backup ends before its last line: it is not whole".to_owned()))
}

fn begin(db: &mut dyn Backend, lines: &Lines<'_>, entry: &Value) -> Result<Filling, Error> {
    let name = entry.get("table").and_then(Value::as_str).unwrap_or_default();
    let table = schema::table(name).ok_or_else(|| lines.bad(format!("the schema has no table `{name}`")))?;
    let version = entry.get("version").and_then(Value::as_i64).unwrap_or(0);
    if !table.accepts(version) {
        let reason = format!(
            "table `{name}` is of version {version}, wanted is {}",
            table.version
        );
        return Err(lines.bad(reason));
    }
    let column = |described: &Value| {
        let kind = described.get(1)?.as_str()?;
        let (kind, _) = backup::KINDS.iter().find(|(_, word)| *word == kind)?;
        Some((described.get(0)?.as_str()?.to_owned(), *kind))
    };
    let columns = entry.get("columns").and_then(Value::as_array);
    let columns: Option<Vec<(String, Kind)>> = columns.and_then(|list| list.iter().map(column).collect());
    let columns = columns.ok_or_else(|| lines.bad(format!("table `{name}` without columns")))?;
    prepare(db, table, &columns)?;
    Ok(Filling {
        table,
        columns: columns.into_iter().map(|(name, _)| name).collect(),
        rows: Vec::new(),
    })
}

/// Tables that a restore would empty.
fn tables_with_rows(context: &Context<'_>) -> Result<Vec<String>, Error> {
    let mut db = match open(&context.url, Access::Existing) {
        Ok(db) => db,
        Err(Error::Database(
            db::Error::Missing(_) | db::Error::NoDatabase { .. } | db::Error::Denied { .. },
        )) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut held = Vec::new();
    for table in db
        .tables()?
        .into_iter()
        .filter(|name| name != "version" && schema::table(name).is_some())
    {
        if db.count(&Select::from(&table))? > 0 {
            held.push(table);
        }
    }
    Ok(held)
}

/// Runs a script such as `sqlite3 .dump`, mysqldump or pg_dump write, in one transaction.
fn run_script(context: &Context<'_>, script: &str) -> Result<Answer, Error> {
    let own = ["begin", "commit", "start transaction", "end"];
    let is_own = |statement: &str| {
        let lower = statement.to_ascii_lowercase();
        own.iter()
            .any(|word| lower == *word || lower.strip_prefix(word).is_some_and(|rest| rest.starts_with(' ')))
    };
    let statements = db::split_statements(script);
    let mut db = create::make_database(context, &context.url)?;
    let run = db::transaction(&mut *db, |db| {
        let mut run = 0;
        for statement in statements.into_iter().filter(|statement| !is_own(statement)) {
            db.raw(statement, &[])?;
            run += 1;
        }
        Ok::<usize, Error>(run)
    })?;
    let words = format!("ran {} on {}", counted(run, "statement"), context.url);
    Ok(Answer::new(
        words,
        json!({"database": context.url.to_string(), "statements": run}),
    ))
}
