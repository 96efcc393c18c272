//! SQLite files through rusqlite (Kamailio module db_sqlite): write-ahead log, one connection a thread.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::ErrorCode;
use rusqlite::OpenFlags;
use rusqlite::types::ToSqlOutput;
use rusqlite::types::ValueRef;

use super::Access;
use super::Backend;
use super::ColumnInfo;
use super::Delete;
use super::Engine;
use super::Error;
use super::Insert;
use super::Kind;
use super::Outcome;
use super::Row;
use super::Rows;
use super::Select;
use super::Update;
use super::Upsert;
use super::Url;
use super::Value;
use super::schema::Table;
use super::sql::Statement;
use super::sql::quoted;
use super::time;

/// How long a statement waits for another program's lock.
const BUSY: Duration = Duration::from_secs(5);

/// Parameters in one statement; SQLite's own bound is 32766.
const MAX_PARAMS: usize = 30_000;

/// One connection to a file.
pub(super) struct Sqlite {
    url: Url,
    path: PathBuf,
    access: Access,
    db: Connection,
    in_transaction: bool,
}

impl Sqlite {
    pub(super) fn open(url: &Url, access: Access) -> Result<Self, Error> {
        let path = PathBuf::from(&url.name);
        let db = connect(&path, access)?;
        Ok(Self {
            url: url.clone(),
            path,
            access,
            db,
            in_transaction: false,
        })
    }

    fn error(&self, error: rusqlite::Error) -> Error {
        translate(error, &self.url, &self.path)
    }

    fn run(&mut self, sql: &Statement<'_>) -> Result<u64, Error> {
        let run = || -> rusqlite::Result<usize> {
            let mut statement = self.db.prepare_cached(&sql.text)?;
            statement.execute(rusqlite::params_from_iter(
                sql.params.iter().map(|value| Param(value)),
            ))
        };
        run().map(|n| n as u64).map_err(|e| self.error(e))
    }

    /// Runs an insert in parts small enough, all of them or none.
    fn run_in_parts<'q>(
        &mut self,
        rows: usize,
        width: usize,
        make: impl Fn(usize, usize) -> Result<Statement<'q>, Error>,
    ) -> Result<u64, Error> {
        let step = (MAX_PARAMS / width.max(1)).clamp(1, 500);
        if rows <= step {
            return if rows == 0 {
                Ok(0)
            } else {
                self.run(&make(0, rows)?)
            };
        }
        let own = !self.in_transaction;
        if own {
            self.begin()?;
        }
        let mut done = 0;
        for from in (0..rows).step_by(step) {
            match make(from, rows.min(from + step)).and_then(|sql| self.run(&sql)) {
                Ok(n) => done += n,
                Err(error) => {
                    if own {
                        let _ = self.rollback();
                    }
                    return Err(error);
                }
            }
        }
        if own {
            self.commit()?;
        }
        Ok(done)
    }

    fn batch(&mut self, sql: &str) -> Result<(), Error> {
        self.db.execute_batch(sql).map_err(|e| self.error(e))
    }
}

impl Backend for Sqlite {
    fn engine(&self) -> Engine {
        Engine::Sqlite
    }

    fn url(&self) -> &Url {
        &self.url
    }

    fn each(
        &mut self,
        select: &Select<'_>,
        visit: &mut dyn FnMut(Row<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let sql = Statement::select(Engine::Sqlite, select)?;
        let params = sql.params.iter().map(|value| Param(value));
        let mut statement = self.db.prepare_cached(&sql.text).map_err(|e| self.error(e))?;
        walk(&mut statement, params, visit).map_err(|e| match e {
            Walk::Sqlite(e) => self.error(e),
            Walk::Visitor(e) => e,
        })
    }

    fn insert(&mut self, insert: &Insert<'_>) -> Result<u64, Error> {
        self.run_in_parts(insert.rows.len(), insert.columns.len(), |from, to| {
            Statement::insert(Engine::Sqlite, insert, from, to)
        })
    }

    fn update(&mut self, update: &Update<'_>) -> Result<u64, Error> {
        self.run(&Statement::update(Engine::Sqlite, update)?)
    }

    fn delete(&mut self, delete: &Delete<'_>) -> Result<u64, Error> {
        self.run(&Statement::delete(Engine::Sqlite, delete)?)
    }

    fn upsert(&mut self, upsert: &Upsert<'_>) -> Result<u64, Error> {
        self.run_in_parts(
            upsert.insert.rows.len(),
            upsert.insert.columns.len(),
            |from, to| Statement::upsert(Engine::Sqlite, upsert, from, to),
        )
    }

    fn raw(&mut self, sql: &str, params: &[Value]) -> Result<Outcome, Error> {
        let mut statement = self.db.prepare_cached(sql).map_err(|e| self.error(e))?;
        let params = params.iter().map(Param);
        if statement.column_count() == 0 {
            let affected = statement
                .execute(rusqlite::params_from_iter(params))
                .map_err(|e| self.error(e))?;
            return Ok(Outcome {
                affected: affected as u64,
                ..Outcome::default()
            });
        }
        let mut rows = Rows::new(statement.column_names().map(str::to_owned).collect());
        let walked = walk(&mut statement, params, &mut |row| {
            rows.push(row.cells().iter().cloned());
            Ok(())
        });
        match walked {
            Ok(()) => Ok(Outcome { rows, affected: 0 }),
            Err(Walk::Sqlite(e)) => Err(self.error(e)),
            Err(Walk::Visitor(e)) => Err(e),
        }
    }

    fn begin(&mut self) -> Result<(), Error> {
        if self.in_transaction {
            return Err(Error::Transaction("a transaction is open already"));
        }
        // Taking the write lock at once, a transaction waits at its start and never fails half-way for a lock.
        self.batch(if self.access == Access::ReadOnly {
            "BEGIN"
        } else {
            "BEGIN IMMEDIATE"
        })?;
        self.in_transaction = true;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        if !self.in_transaction {
            return Err(Error::Transaction("no transaction is open"));
        }
        self.batch("COMMIT")?;
        self.in_transaction = false;
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), Error> {
        if !self.in_transaction {
            return Err(Error::Transaction("no transaction is open"));
        }
        self.in_transaction = false;
        // Some failures (a full disk) have rolled back by themselves.
        if self.db.is_autocommit() {
            Ok(())
        } else {
            self.batch("ROLLBACK")
        }
    }

    fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    fn tables(&mut self) -> Result<Vec<String>, Error> {
        let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
                   ORDER BY name";
        let answer = self.raw(sql, &[])?;
        Ok(answer
            .rows
            .iter()
            .filter_map(|row| row.str("name").map(str::to_owned))
            .collect())
    }

    fn columns(&mut self, table: &str) -> Result<Vec<ColumnInfo>, Error> {
        let answer = self.raw(
            &format!("PRAGMA table_info({})", quoted(Engine::Sqlite, table)?),
            &[],
        )?;
        if answer.rows.is_empty() {
            return Err(Error::NoTable {
                url: self.url.to_string(),
                table: table.to_owned(),
            });
        }
        let column = |row: Row<'_>| {
            let declared = row.str("type").unwrap_or_default().to_ascii_lowercase();
            Some(ColumnInfo {
                name: row.str("name")?.to_owned(),
                kind: kind_of(&declared),
                null: row.int("notnull") == Some(0),
                declared,
            })
        };
        Ok(answer.rows.iter().filter_map(column).collect())
    }

    fn create_table(&mut self, table: &Table) -> Result<(), Error> {
        for sql in table.create_sql(Engine::Sqlite)? {
            self.batch(&sql)?;
        }
        Ok(())
    }

    fn drop_table(&mut self, table: &str) -> Result<(), Error> {
        let sql = format!("DROP TABLE {}", quoted(Engine::Sqlite, table)?);
        self.batch(&sql)
    }

    fn data_version(&mut self) -> Result<Option<i64>, Error> {
        let version = || {
            let mut statement = self.db.prepare_cached("PRAGMA data_version")?;
            statement.query_row([], |row| row.get(0))
        };
        version().map(Some).map_err(|e| self.error(e))
    }

    fn ping(&mut self) -> Result<(), Error> {
        self.raw("SELECT 1 FROM sqlite_master LIMIT 1", &[]).map(|_| ())
    }

    fn reconnect(&mut self) -> Result<(), Error> {
        self.db = connect(&self.path, self.access)?;
        self.in_transaction = false;
        Ok(())
    }
}

struct Param<'a>(&'a Value);

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Value::Int(n) => ToSqlOutput::Borrowed(ValueRef::Integer(*n)),
            Value::Double(d) => ToSqlOutput::Borrowed(ValueRef::Real(*d)),
            Value::Text(t) => ToSqlOutput::Borrowed(ValueRef::Text(t)),
            Value::Blob(b) => ToSqlOutput::Borrowed(ValueRef::Blob(b)),
            // Kamailio: db_sqlite stores dates as Julian days.
            Value::DateTime(t) => ToSqlOutput::Borrowed(ValueRef::Real(time::to_julian(*t))),
        })
    }
}

enum Walk {
    Sqlite(rusqlite::Error),
    Visitor(Error),
}

fn walk<'v>(
    statement: &mut rusqlite::Statement<'_>,
    params: impl Iterator<Item = Param<'v>>,
    visit: &mut dyn FnMut(Row<'_>) -> Result<(), Error>,
) -> Result<(), Walk> {
    let dated =
        |column: &rusqlite::Column<'_>| column.decl_type().is_some_and(|t| kind_of(t) == Kind::DateTime);
    let (names, dates): (Vec<String>, Vec<bool>) = statement
        .columns()
        .map(|column| (column.name().to_owned(), dated(&column)))
        .unzip();
    let mut rows = statement
        .query(rusqlite::params_from_iter(params))
        .map_err(Walk::Sqlite)?;
    let mut cells: Vec<Value> = vec![Value::Null; names.len()];
    while let Some(row) = rows.next().map_err(Walk::Sqlite)? {
        for (index, (cell, date)) in cells.iter_mut().zip(&dates).enumerate() {
            read(row.get_ref(index).map_err(Walk::Sqlite)?, *date, cell);
        }
        visit(Row::new(&names, &cells)).map_err(Walk::Visitor)?;
    }
    Ok(())
}

/// Reads a cell into the place of the one above it, whose memory a text takes over.
fn read(cell: ValueRef<'_>, date: bool, into: &mut Value) {
    if let (ValueRef::Text(text), Value::Text(old), false) = (cell, &mut *into, date) {
        old.clear();
        old.extend_from_slice(text);
        return;
    }
    *into = match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) if date => Value::DateTime(time::from_julian(n as f64)),
        ValueRef::Real(d) if date => Value::DateTime(time::from_julian(d)),
        ValueRef::Text(t) if date => std::str::from_utf8(t)
            .ok()
            .and_then(time::from_utc)
            .map_or_else(|| Value::text(t), Value::DateTime),
        ValueRef::Integer(n) => Value::Int(n),
        ValueRef::Real(d) => Value::Double(d),
        ValueRef::Text(t) => Value::text(t),
        ValueRef::Blob(b) => Value::Blob(b.to_vec()),
    };
}

/// What a declared type holds; SQLite's affinity rules, with dates told apart.
fn kind_of(declared: &str) -> Kind {
    let has = |word: &str| {
        let mut parts = declared.as_bytes().windows(word.len());
        parts.any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    };
    if has("timestamp") || has("date") {
        Kind::DateTime
    } else if has("int") {
        Kind::Int
    } else if has("char") || has("text") || has("clob") {
        Kind::Text
    } else if has("blob") || declared.is_empty() {
        Kind::Blob
    } else {
        Kind::Double
    }
}

fn connect(path: &Path, access: Access) -> Result<Connection, Error> {
    if access == Access::Create {
        // Made here for its mode: SIP passwords are nobody else's business.
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o640)
            .open(path)
        {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(Error::Io {
                    doing: "create database",
                    path: path.to_owned(),
                    reason: error.to_string(),
                });
            }
        }
    } else {
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(Error::Missing(path.to_owned())),
            Err(error) => {
                return Err(Error::Io {
                    doing: "open database",
                    path: path.to_owned(),
                    reason: error.to_string(),
                });
            }
        }
    }
    let flags = match access {
        Access::ReadOnly => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Access::Existing | Access::Create => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    let url = Url::sqlite(path);
    let set_up = || -> rusqlite::Result<Connection> {
        let db = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        db.busy_timeout(BUSY)?;
        db.set_prepared_statement_cache_capacity(128);
        let mode: String = db.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        if mode != "wal" && access != Access::ReadOnly && !db.is_readonly(c"main")? {
            // A file that another program holds open in another mode stays in that mode.
            let _: rusqlite::Result<String> = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
        }
        db.execute_batch(
            "PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 67108864; PRAGMA foreign_keys = OFF",
        )?;
        Ok(db)
    };
    let opened = set_up().map_err(|e| translate(e, &url, path));
    match opened {
        Err(Error::ReadOnly(_) | Error::Io { .. }) if access == Access::ReadOnly && !has_log(path) => {
            immutable(path).map_err(|e| translate(e, &url, path))
        }
        opened => opened,
    }
}

/// Tells whether a write-ahead log holds what the file does not.
fn has_log(path: &Path) -> bool {
    std::fs::metadata(format!("{}-wal", path.display())).is_ok_and(|metadata| metadata.len() > 0)
}

/// Opens a file in whose folder nothing may be written: without a log there is nothing to share.
fn immutable(path: &Path) -> rusqlite::Result<Connection> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-') {
            uri.push(char::from(*byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri.push_str("?immutable=1");
    Connection::open_with_flags(uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
}

fn translate(error: rusqlite::Error, url: &Url, path: &Path) -> Error {
    let engine = |reason: String| Error::Engine {
        url: url.to_string(),
        reason,
    };
    let (code, message) = match &error {
        rusqlite::Error::SqliteFailure(code, message) => {
            (*code, message.clone().unwrap_or_else(|| code.to_string()))
        }
        rusqlite::Error::SqlInputError { error, msg, .. } => (*error, msg.clone()),
        other => return engine(other.to_string()),
    };
    if let Some(table) = message.strip_prefix("no such table: ") {
        return Error::NoTable {
            url: url.to_string(),
            table: table.to_owned(),
        };
    }
    match code.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Error::Busy(url.to_string()),
        ErrorCode::ReadOnly => Error::ReadOnly(path.to_owned()),
        ErrorCode::NotADatabase => Error::NotADatabase(path.to_owned()),
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
            let reason = std::fs::File::open(path).err().map_or(message, |e| e.to_string());
            Error::Io {
                doing: "open database",
                path: path.to_owned(),
                reason,
            }
        }
        ErrorCode::ConstraintViolation if message.starts_with("UNIQUE") => {
            let what = message
                .split_once(": ")
                .map_or(message.as_str(), |(_, columns)| columns);
            Error::Duplicate(what.to_owned())
        }
        _ => engine(message),
    }
}
