//! `dbctl restore FILE`: a backup replaces the tables it holds, all of them or none; an SQL script is run.

use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use serde_json::json;
use shared::db;
use shared::db::Access;
use shared::db::Backend;
use shared::db::Kind;
use shared::db::Script;
use shared::db::Select;
use shared::db::schema;

use super::backup;
use super::counted;
use super::create;
use super::fill;
use super::fill::Filling;
use super::fill::Layout;
use crate::Answer;
use crate::Error;
use crate::context::Context;
use crate::context::open;

/// Bytes of which a terminal is shown how many are done.
const LONG: u64 = 1 << 20;

/// Restores what the file holds; `-` is standard input.
pub(super) fn restore(context: &Context<'_>, file: &Path) -> Result<Answer, Error> {
    let failed = |error: io::Error| Error::file("read", file, &error);
    let (source, size): (Box<dyn Read>, u64) = if file == Path::new("-") {
        (Box::new(io::stdin().lock()), 0)
    } else {
        let opened = File::open(file).map_err(failed)?;
        let size = opened.metadata().map_or(0, |metadata| metadata.len());
        (Box::new(opened), size)
    };
    let bar = context.progress(size, LONG);
    let mut reader = BufReader::new(bar.wrap_read(source));
    let first = reader.fill_buf().map_err(failed)?.first().copied();
    let mut lines = Lines {
        path: file,
        reader,
        number: 0,
    };
    if first.is_none() {
        lines.number = 1;
        return Err(lines.bad("the file is empty"));
    }
    let held = tables_with_rows(context)?;
    if !held.is_empty() {
        let changes = if first == Some(b'{') {
            "replaces"
        } else {
            "may change"
        };
        context.confirm(&format!(
            "this {changes} what {} holds ({})",
            context.url,
            held.join(", ")
        ))?;
    }
    let new_file = create::is_new_file(&context.url);
    let mut db = create::make_database(context, &context.url)?;
    let restored = if first == Some(b'{') {
        read(context, &mut *db, lines)
    } else {
        run_script(context, &mut *db, lines)
    };
    bar.finish_and_clear();
    if restored.is_err() && new_file {
        drop(db);
        create::discard(&context.url);
    }
    restored
}

/// A file read line by line.
struct Lines<'p, R> {
    path: &'p Path,
    reader: R,
    number: usize,
}

impl<R: BufRead> Lines<'_, R> {
    fn next(&mut self) -> Result<Option<Value>, Error> {
        let mut line = String::new();
        self.number += 1;
        match self.reader.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) if !line.ends_with('\n') => Err(self.bad(CUT)),
            Ok(_) => serde_json::from_str(&line)
                .map(Some)
                .map_err(|e| self.bad(format!("not a line of a backup: {e}"))),
            Err(error) => Err(self.bad(error.to_string())),
        }
    }

    fn bad(&self, reason: impl Into<String>) -> Error {
        Error::Backup {
            path: self.path.to_owned(),
            line: self.number,
            reason: reason.into(),
        }
    }
}

/// What is said of a backup without its last line.
const CUT: &str = "the backup ends before its last line: it is not whole";

fn read(
    context: &Context<'_>,
    db: &mut dyn Backend,
    mut lines: Lines<'_, impl BufRead>,
) -> Result<Answer, Error> {
    let head = lines.next()?.unwrap_or_default();
    let tables = head.get("tables").and_then(Value::as_array);
    let is_ours = head.get("format").and_then(Value::as_str) == Some(backup::FORMAT)
        && head.get("version") == Some(&json!(1));
    let (true, Some(tables)) = (is_ours, tables) else {
        return Err(lines.bad("this is not a backup of version 1"));
    };
    let layouts: Result<Vec<Layout>, Error> = tables.iter().map(|entry| layout(&lines, entry)).collect();
    let layouts = layouts?;
    fill::prepare(db, &layouts)?;
    let rows = db::transaction(db, |db| rows(db, &layouts, &mut lines))?;
    let words = format!(
        "restored {} with {} into {}",
        counted(layouts.len(), "table"),
        counted(rows, "row"),
        context.url
    );
    let data = json!({"database": context.url.to_string(), "tables": layouts.len(), "rows": rows});
    Ok(Answer::new(words, data))
}

fn rows(
    db: &mut dyn Backend,
    layouts: &[Layout],
    lines: &mut Lines<'_, impl BufRead>,
) -> Result<usize, Error> {
    let mut rows = 0;
    let mut filling: Option<Filling> = None;
    while let Some(line) = lines.next()? {
        match line {
            Value::Array(cells) => {
                let Some(current) = &mut filling else {
                    return Err(lines.bad("a row before any table"));
                };
                if cells.len() != current.width() {
                    return Err(lines.bad(format!(
                        "{} for {}",
                        counted(cells.len(), "cell"),
                        counted(current.width(), "column")
                    )));
                }
                let cells: Option<Vec<db::Value>> = cells.iter().map(backup::from_json).collect();
                current.push(db, cells.ok_or_else(|| lines.bad("a cell that is no value"))?)?;
                rows += 1;
            }
            entry => {
                if let Some(done) = filling.take() {
                    done.finish(db)?;
                }
                if entry.get("end").is_some() {
                    let told = entry.get("rows").and_then(Value::as_u64).unwrap_or(0);
                    if told != rows as u64 {
                        return Err(lines.bad(format!("the backup says it has {told} rows, but {rows} came")));
                    }
                    return Ok(rows);
                }
                let name = entry.get("table").and_then(Value::as_str).unwrap_or_default();
                let layout = layouts.iter().find(|layout| layout.table.name == name);
                let layout =
                    layout.ok_or_else(|| lines.bad(format!("table `{name}` is not in the first line")))?;
                filling = Some(Filling::begin(db, layout)?);
            }
        }
    }
    Err(lines.bad(CUT))
}

/// A table as the first line describes it.
fn layout(lines: &Lines<'_, impl BufRead>, entry: &Value) -> Result<Layout, Error> {
    let name = entry.get("table").and_then(Value::as_str).unwrap_or_default();
    let table = schema::table(name).ok_or_else(|| lines.bad(format!("the schema has no table `{name}`")))?;
    let version = entry.get("version").and_then(Value::as_i64).unwrap_or(0);
    if !table.accepts(version) {
        return Err(lines.bad(format!(
            "table `{name}` is of version {version}, wanted is {}: run `dbctl migrate` before the backup",
            table.version
        )));
    }
    let column = |described: &Value| {
        let kind = described.get(1)?.as_str()?;
        let (kind, _) = backup::KINDS.iter().find(|(_, word)| *word == kind)?;
        Some((described.get(0)?.as_str()?.to_owned(), *kind))
    };
    let columns = entry.get("columns").and_then(Value::as_array);
    let columns: Option<Vec<(String, Kind)>> = columns.and_then(|list| list.iter().map(column).collect());
    let columns = columns.ok_or_else(|| lines.bad(format!("table `{name}` without columns")))?;
    Ok(Layout { table, columns })
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

/// Runs a script such as `sqlite3 .dump`, mysqldump or pg_dump write, in one transaction; MySQL ends it with each change of a
/// table's layout.
fn run_script(
    context: &Context<'_>,
    db: &mut dyn Backend,
    mut lines: Lines<'_, impl BufRead>,
) -> Result<Answer, Error> {
    let own = ["begin", "commit", "start transaction", "end"];
    let is_own = |statement: &str| {
        let lower = statement.to_ascii_lowercase();
        own.iter()
            .any(|word| lower == *word || lower.strip_prefix(word).is_some_and(|rest| rest.starts_with(' ')))
    };
    let engine = db.engine();
    let run = db::transaction(db, |db| {
        let mut run = 0;
        for statement in Script::new(engine, &mut lines.reader) {
            let statement = statement.map_err(|error| Error::file("read", lines.path, &error))?;
            if is_own(&statement.sql) {
                continue;
            }
            db.raw(&statement.sql, &[]).map_err(|error| Error::Refused {
                path: lines.path.to_owned(),
                line: statement.line,
                error: Box::new(error.into()),
            })?;
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
