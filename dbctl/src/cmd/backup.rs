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
        let mut out = BufWriter::new(io::stdout().lock());
        let written = write(context, &mut *db, &mut out, Path::new("standard output"))?;
        let data = json!({"file": null, "tables": written.tables, "rows": written.rows});
        return Ok(Answer::new(String::new(), data)).map(|answer| Answer {
            words: Some(String::new()),
            ..answer
        });
    }
    let fresh = PathBuf::from(format!("{}.new", file.display()));
    let failed = |doing: &'static str, path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| Error::File {
            doing,
            path,
            reason: error.to_string(),
        }
    };
    // It holds every password: its owner's business alone.
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh);
    let mut out = BufWriter::new(opened.map_err(failed("create", &fresh))?);
    let written = write(context, &mut *db, &mut out, &fresh).and_then(|written| {
        let file = out.into_inner().map_err(io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all())
            .map_err(failed("write", &fresh))?;
        Ok(written)
    });
    match written.and_then(|written| {
        fs::rename(&fresh, file)
            .map(|()| written)
            .map_err(failed("replace", file))
    }) {
        Ok(written) => {
            let (tables, rows) = (counted(written.tables, "table"), counted(written.rows, "row"));
            let mut words = format!(
                "wrote {tables} with {rows} of {} to {}",
                context.url,
                file.display()
            );
            if !written.skipped.is_empty() {
                words.push_str(&format!(
                    "; not part of the schema and left out: {}",
                    written.skipped.join(", ")
                ));
            }
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

struct Written {
    tables: usize,
    rows: usize,
    skipped: Vec<String>,
}

fn write(
    context: &Context<'_>,
    db: &mut dyn Backend,
    out: &mut dyn Write,
    path: &Path,
) -> Result<Written, Error> {
    // One transaction reads one state, whatever others write meanwhile.
    db::transaction(db, |db| {
        if db.engine() == Engine::Postgres {
            db.raw("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", &[])?;
        }
        let mut put = |line: Value| {
            let written = writeln!(out, "{line}");
            written.map_err(|e| Error::File {
                doing: "write",
                path: path.to_owned(),
                reason: e.to_string(),
            })
        };
        put(json!({"format": FORMAT, "version": 1, "engine": db.engine().scheme()}))?;
        let versions = schema::versions(db)?;
        let mut total = 0;
        for name in db.tables()? {
            total += db.count(&Select::from(&name))?;
        }
        let bar = context.progress(total, copy::MANY);
        let mut written = Written {
            tables: 0,
            rows: 0,
            skipped: Vec::new(),
        };
        for name in db.tables()? {
            if schema::table(&name).is_none() {
                written.skipped.push(name);
                continue;
            }
            if name == "version" {
                continue;
            }
            let columns = db.columns(&name)?;
            let described: Vec<Value> = columns.iter().map(|c| json!([c.name, word(c.kind)])).collect();
            put(json!({"table": name, "version": versions.get(&name), "columns": described}))?;
            let mut failure = None;
            let walked = db.each(&Select::from(&name), &mut |row| {
                written.rows += 1;
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
            written.tables += 1;
        }
        put(json!({"end": true, "rows": written.rows}))?;
        out.flush().map_err(|e| Error::File {
            doing: "write",
            path: path.to_owned(),
            reason: e.to_string(),
        })?;
        Ok(written)
    })
}

/// A cell in JSON; what JSON cannot hold is an object of one member.
pub(super) fn to_json(value: &db::Value) -> Value {
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

pub(super) fn word(kind: Kind) -> &'static str {
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
