//! `dbctl backup FILE`: every known table as lines of JSON, which any engine can restore.

use std::fs;
use std::fs::OpenOptions;
use std::io;
use std::io::BufWriter;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;
use serde_json::json;
use shared::db;
use shared::db::Backend;
use shared::db::Engine;
use shared::db::Kind;
use shared::db::Select;
use shared::db::schema;

use super::copy;
use super::counted;
use super::fill::Layout;
use super::known_version_table;
use crate::Answer;
use crate::Error;
use crate::context::Context;

/// First line of every backup.
pub(super) const FORMAT: &str = "proxyd-backup";

/// Kinds of columns by the words a backup uses.
pub(super) const KINDS: [(Kind, &str); 5] = [
    (Kind::Int, "int"),
    (Kind::Double, "double"),
    (Kind::Text, "text"),
    (Kind::Blob, "blob"),
    (Kind::DateTime, "datetime"),
];

/// Writes the backup beside its place and moves it there when it is whole.
pub(super) fn backup(context: &Context<'_>, file: &Path) -> Result<Answer, Error> {
    let mut db = context.read()?;
    known_version_table(&mut *db)?;
    if file == Path::new("-") {
        let written = write(
            context,
            &mut *db,
            io::stdout().lock(),
            Path::new("standard output"),
        )?;
        if !written.skipped.is_empty() {
            context.note(&format!("written{}", left_out(&written.skipped)));
        }
        return Ok(Answer::nothing());
    }
    let fresh = PathBuf::from(format!("{}.new", file.display()));
    // It holds every password: its owner's business alone.
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh);
    let opened = opened.map_err(|error| Error::file("create", &fresh, &error))?;
    let written = write(context, &mut *db, &opened, &fresh).and_then(|written| {
        opened
            .sync_all()
            .map_err(|error| Error::file("write", &fresh, &error))?;
        fs::rename(&fresh, file).map_err(|error| Error::file("replace", file, &error))?;
        Ok(written)
    });
    match written {
        Ok(written) => {
            let (tables, rows) = (counted(written.tables, "table"), counted(written.rows, "row"));
            let words = format!(
                "wrote {tables} with {rows} of {} to {}{}",
                context.url,
                file.display(),
                left_out(&written.skipped)
            );
            let file = file.display().to_string();
            let data = json!({"file": file, "tables": written.tables, "rows": written.rows, "skipped": written.skipped});
            Ok(Answer::new(words, data))
        }
        Err(error) => {
            let _ = fs::remove_file(&fresh);
            Err(error)
        }
    }
}

/// Says which tables were passed over.
pub(super) fn left_out(skipped: &[String]) -> String {
    if skipped.is_empty() {
        return String::new();
    }
    format!("; not part of the schema and left out: {}", skipped.join(", "))
}

/// Reads in one transaction, which sees one state, whatever others write meanwhile.
pub(super) fn of_one_state<T>(
    db: &mut dyn Backend,
    read: impl FnOnce(&mut dyn Backend) -> Result<T, Error>,
) -> Result<T, Error> {
    db::transaction(db, |db| {
        if db.engine() == Engine::Postgres {
            db.raw("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", &[])?;
        }
        read(db)
    })
}

/// The tables that the schema has, and the names of those that it has not.
pub(super) fn layouts(db: &mut dyn Backend) -> Result<(Vec<Layout>, Vec<String>), Error> {
    let (mut layouts, mut skipped) = (Vec::new(), Vec::new());
    for name in db.tables()? {
        match schema::table(&name) {
            None => skipped.push(name),
            Some(table) if table.name == "version" => {}
            Some(table) => {
                let columns = db.columns(&name)?;
                let columns = columns.into_iter().map(|c| (c.name, c.kind)).collect();
                layouts.push(Layout { table, columns });
            }
        }
    }
    Ok((layouts, skipped))
}

struct Written {
    tables: usize,
    rows: usize,
    skipped: Vec<String>,
}

fn write(
    context: &Context<'_>,
    db: &mut dyn Backend,
    out: impl Write,
    path: &Path,
) -> Result<Written, Error> {
    let mut out = BufWriter::new(out);
    let failed = |error: io::Error| Error::file("write", path, &error);
    of_one_state(db, |db| {
        let mut put = |line: Value| writeln!(out, "{line}").map_err(failed);
        let versions = schema::versions(db)?;
        let (layouts, skipped) = layouts(db)?;
        let mut total = 0;
        for layout in &layouts {
            total += db.count(&Select::from(layout.table.name))?;
        }
        let bar = context.progress(total, copy::MANY);
        // The tables come first: whoever restores makes them before the first row.
        let described = |layout: &Layout| {
            let name = layout.table.name;
            let columns = layout
                .columns
                .iter()
                .map(|(name, kind)| json!([name, word(*kind)]));
            json!({"table": name, "version": versions.get(name), "columns": columns.collect::<Value>()})
        };
        let tables: Vec<Value> = layouts.iter().map(described).collect();
        put(json!({"format": FORMAT, "version": 1, "engine": db.engine().scheme(), "tables": tables}))?;
        let mut rows = 0;
        for layout in &layouts {
            let name = layout.table.name;
            put(json!({"table": name}))?;
            let mut failure = None;
            let walked = db.each(&Select::from(name), &mut |row| {
                rows += 1;
                bar.inc(1);
                let cells: Vec<Value> = row.cells().iter().map(to_json).collect();
                put(Value::Array(cells)).map_err(|error| {
                    failure = Some(error);
                    // Only to end the walk; the failure itself is what is told.
                    db::Error::Transaction("the backup cannot be written")
                })
            });
            match failure {
                Some(error) => return Err(error),
                None => walked?,
            }
        }
        put(json!({"end": true, "rows": rows}))?;
        out.flush().map_err(failed)?;
        bar.finish_and_clear();
        Ok(Written {
            tables: layouts.len(),
            rows,
            skipped,
        })
    })
}

/// A cell in JSON; what JSON cannot hold is an object of one member.
fn to_json(value: &db::Value) -> Value {
    match value {
        db::Value::Null => Value::Null,
        db::Value::Int(n) => json!(n),
        db::Value::Double(d) => json!(d),
        db::Value::DateTime(t) => json!({"time": t}),
        db::Value::Blob(bytes) => json!({"blob": hex(bytes)}),
        db::Value::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!({"text": hex(bytes)}),
        },
    }
}

/// The cell that JSON stands for.
pub(super) fn from_json(value: &Value) -> Option<db::Value> {
    Some(match value {
        Value::Null => db::Value::Null,
        Value::Bool(flag) => db::Value::from(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(n) => db::Value::Int(n),
            None => db::Value::Double(number.as_f64()?),
        },
        Value::String(text) => db::Value::from(text),
        Value::Object(object) => match object.iter().next()? {
            (name, value) if name == "time" => db::Value::DateTime(value.as_i64()?),
            (name, value) if name == "blob" => db::Value::Blob(unhex(value.as_str()?)?),
            (name, value) if name == "text" => db::Value::Text(unhex(value.as_str()?)?),
            _ => return None,
        },
        Value::Array(_) => return None,
    })
}

fn word(kind: Kind) -> &'static str {
    KINDS
        .iter()
        .find(|(k, _)| *k == kind)
        .map_or("text", |(_, word)| word)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.as_bytes().chunks(2).map(pair).collect()
}
