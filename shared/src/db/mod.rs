//! Databases behind one blocking trait: SQLite, MySQL, PostgreSQL and dbtext files (Kamailio's `lib/srdb1`).

mod error;
mod query;
mod rows;
pub mod schema;
mod script;
mod sql;
mod sqlite;
mod sqlx;
mod text;
mod time;
mod url;
mod value;

pub use error::Error;
pub use query::{Delete, Direction, Filter, Insert, Op, Select, Update, Upsert};
pub use rows::{Row, Rows};
pub use script::{Script, ScriptStatement};
pub use time::{from_local, from_utc, to_local, to_utc};
pub use url::{Url, UrlError};
pub use value::{Kind, Value};

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// An SQLite file.
    Sqlite,
    /// A MySQL or MariaDB server.
    MySql,
    /// A PostgreSQL server.
    Postgres,
    /// A folder of dbtext files.
    Text,
}

/// How a database is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and write what exists.
    Existing,
    /// Read and write; an SQLite file or a dbtext folder is made when absent.
    Create,
    /// Read only.
    ReadOnly,
}

/// A column as the database itself describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Its type in the words of the engine, lower case.
    pub declared: String,
    /// Whether NULL may stand in it.
    pub null: bool,
}

/// What a raw statement did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Rows it answered.
    pub rows: Rows,
    /// Rows it changed.
    pub affected: u64,
}

/// One connection; every call blocks until the answer is there, so an asynchronous task must not make it: it hands the
/// work to a thread that may block.
///
/// A lost connection to a server is made again by the next call outside a transaction.
pub trait Backend: Send {
    /// Which engine this is.
    fn engine(&self) -> Engine;

    /// Where it is.
    fn url(&self) -> &Url;

    /// Hands each row that matches to `visit`, one at a time; an error from `visit` ends the walk and is returned.
    fn each(
        &mut self,
        select: &Select<'_>,
        visit: &mut dyn FnMut(Row<'_>) -> Result<(), Error>,
    ) -> Result<(), Error>;

    /// Collects the rows that match.
    fn query(&mut self, select: &Select<'_>) -> Result<Rows, Error> {
        let mut rows: Option<Rows> = None;
        self.each(select, &mut |row| {
            rows.get_or_insert_with(|| Rows::new(row.names().to_vec()))
                .push(row.cells().iter().cloned());
            Ok(())
        })?;
        Ok(rows.unwrap_or_else(|| Rows::new(select.columns.iter().map(|c| (*c).to_owned()).collect())))
    }

    /// Counts the rows that match.
    fn count(&mut self, select: &Select<'_>) -> Result<u64, Error> {
        let rows = self.query(&select.clone().count())?;
        Ok(rows
            .first()
            .and_then(|row| row.at(0)?.as_int())
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(0))
    }

    /// Adds rows; returns how many.
    fn insert(&mut self, insert: &Insert<'_>) -> Result<u64, Error>;

    /// Changes rows; returns how many matched.
    fn update(&mut self, update: &Update<'_>) -> Result<u64, Error>;

    /// Removes rows; returns how many.
    fn delete(&mut self, delete: &Delete<'_>) -> Result<u64, Error>;

    /// Adds rows, or updates those whose key exists; returns how many.
    fn upsert(&mut self, upsert: &Upsert<'_>) -> Result<u64, Error>;

    /// Runs one statement in the engine's own SQL; `?` (`$1` on PostgreSQL) stand for the parameters.
    fn raw(&mut self, sql: &str, params: &[Value]) -> Result<Outcome, Error>;

    /// Begins a transaction.
    fn begin(&mut self) -> Result<(), Error>;

    /// Makes everything since `begin` permanent.
    fn commit(&mut self) -> Result<(), Error>;

    /// Forgets everything since `begin`.
    fn rollback(&mut self) -> Result<(), Error>;

    /// Tells whether a transaction is open.
    fn in_transaction(&self) -> bool;

    /// Names of the tables, sorted.
    fn tables(&mut self) -> Result<Vec<String>, Error>;

    /// Tells whether a table exists.
    fn table_exists(&mut self, table: &str) -> Result<bool, Error> {
        Ok(self.tables()?.iter().any(|t| t == table))
    }

    /// Columns of a table in their order.
    fn columns(&mut self, table: &str) -> Result<Vec<ColumnInfo>, Error>;

    /// Makes a table with its indexes, without its row in `version`.
    fn create_table(&mut self, table: &schema::Table) -> Result<(), Error>;

    /// Removes a table.
    fn drop_table(&mut self, table: &str) -> Result<(), Error>;

    /// A number which changes when another connection has changed the data; `None` where the engine has none.
    fn data_version(&mut self) -> Result<Option<i64>, Error> {
        Ok(None)
    }

    /// Asks whether the database answers.
    fn ping(&mut self) -> Result<(), Error>;

    /// Drops the connection and makes a new one.
    fn reconnect(&mut self) -> Result<(), Error>;
}

type Opener = fn(&Url, Access) -> Result<Box<dyn Backend>, Error>;

/// One entry of [`BACKENDS`].
pub struct BackendDef {
    /// Schemes of its URLs, the preferred one first.
    pub schemes: &'static [&'static str],
    /// The engine.
    pub engine: Engine,
    /// The Kamailio module it stands for.
    pub module: &'static str,
    open: Opener,
}

/// Every engine.
pub static BACKENDS: &[BackendDef] = &[
    BackendDef {
        schemes: &["sqlite"],
        engine: Engine::Sqlite,
        module: "db_sqlite",
        open: |url, access| Ok(Box::new(sqlite::Sqlite::open(url, access)?)),
    },
    BackendDef {
        schemes: &["mysql"],
        engine: Engine::MySql,
        module: "db_mysql",
        open: |url, access| Ok(Box::new(sqlx::Server::open(url, access)?)),
    },
    BackendDef {
        schemes: &["postgres", "pgsql", "postgresql"],
        engine: Engine::Postgres,
        module: "db_postgres",
        open: |url, access| Ok(Box::new(sqlx::Server::open(url, access)?)),
    },
    BackendDef {
        schemes: &["text"],
        engine: Engine::Text,
        module: "db_text",
        open: |url, access| Ok(Box::new(text::Text::open(url, access)?)),
    },
];

impl Engine {
    /// The preferred scheme of its URLs.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::MySql => "mysql",
            Self::Postgres => "postgres",
            Self::Text => "text",
        }
    }

    /// Finds the engine of a scheme, in any case.
    pub fn from_scheme(scheme: &str) -> Option<Self> {
        let has = |def: &&BackendDef| def.schemes.iter().any(|s| s.eq_ignore_ascii_case(scheme));
        BACKENDS.iter().find(has).map(|def| def.engine)
    }

    /// Finds the engine of a `DBENGINE` value, as kamdbctl reads it.
    pub fn from_dbengine(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "sqlite" => Some(Self::Sqlite),
            "mysql" | "mariadb" => Some(Self::MySql),
            "pgsql" | "postgres" | "postgresql" => Some(Self::Postgres),
            "dbtext" | "textdb" | "text" => Some(Self::Text),
            _ => None,
        }
    }

    /// Tells whether its data live on a server rather than in files.
    pub const fn is_server(self) -> bool {
        matches!(self, Self::MySql | Self::Postgres)
    }
}

/// Opens a database that exists.
pub fn open(url: &Url) -> Result<Box<dyn Backend>, Error> {
    open_with(url, Access::Existing)
}

/// Opens a database.
pub fn open_with(url: &Url, access: Access) -> Result<Box<dyn Backend>, Error> {
    let def = BACKENDS.iter().find(|def| def.engine == url.engine);
    let def = def.ok_or(Error::Unsupported {
        engine: url.engine.scheme(),
        what: "being opened",
    })?;
    (def.open)(url, access)
}

/// Runs `work` in a transaction: committed when it succeeds, rolled back when it fails.
///
/// Inside an open transaction `work` simply becomes part of it.
pub fn transaction<T, E: From<Error>>(
    db: &mut dyn Backend,
    work: impl FnOnce(&mut dyn Backend) -> Result<T, E>,
) -> Result<T, E> {
    if db.in_transaction() {
        return work(db);
    }
    db.begin()?;
    match work(db) {
        Ok(value) => {
            if let Err(error) = db.commit() {
                let _ = db.rollback();
                return Err(error.into());
            }
            Ok(value)
        }
        Err(error) => {
            // The first failure is the one to tell; a connection that cannot even roll back has lost the work anyway.
            let _ = db.rollback();
            Err(error)
        }
    }
}

#[cfg(test)]
mod suite;
