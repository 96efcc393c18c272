//! MySQL and PostgreSQL servers (Kamailio modules db_mysql, db_postgres): sqlx behind blocking calls.

mod fault;
mod fit;
mod mysql;
mod postgres;

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use ::sqlx::Connection as _;
use ::sqlx::mysql::MySqlConnection;
use ::sqlx::postgres::PgConnection;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::runtime::Builder;
use tokio::runtime::Runtime;
use tokio::time::Instant;

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

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(4);

/// How long a statement may take, unless the URL says `?timeout=SECONDS`.
const STATEMENT: Duration = Duration::from_secs(15);

/// After a failed connection attempt, calls fail at once for so long: a dead server must not hold every worker.
const BACK_OFF: Duration = Duration::from_secs(1);

/// How long the end of a connection may take.
const GOOD_BYE: Duration = Duration::from_millis(200);

/// A connection idle for longer is tried before a statement that cannot be repeated.
const IDLE: Duration = Duration::from_secs(5);

/// Both protocols count parameters in 16 bits.
const MAX_PARAMS: usize = 60_000;

/// One connection to a server, made again when it is lost.
pub(super) struct Server {
    url: Url,
    read_only: bool,
    statement: Option<Duration>,
    runtime: Option<Runtime>,
    connection: Option<Connection>,
    in_transaction: bool,
    used: Instant,
    failed: Option<(Instant, Error)>,
    kinds: HashMap<String, Vec<(String, Kind)>>,
}

enum Connection {
    MySql(MySqlConnection),
    Postgres(PgConnection),
}

/// Rows of an answer that are held at a time: whoever walks over a table never has the whole of it in memory.
const PIECE: usize = 128;

/// Pieces of an answer, as the server sends them.
type Pieces<'c> = BoxStream<'c, ::sqlx::Result<Rows>>;

/// Why a statement did not end well.
enum Trouble {
    /// The server refused it, or was lost before anything came.
    Refused(::sqlx::Error),
    /// It was given up, and what may still come leaves the connection of no use.
    Abandoned(Error),
}

/// Whether a statement may be sent again when the connection broke under it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Harmless,
    Never,
}

impl Server {
    pub(super) fn open(url: &Url, access: Access) -> Result<Self, Error> {
        let unreachable = |reason: String| Error::Unreachable {
            url: url.to_string(),
            reason,
        };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| unreachable(e.to_string()))?;
        let statement = match url.option("timeout").and_then(|seconds| seconds.parse().ok()) {
            Some(0) => None,
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => Some(STATEMENT),
        };
        let mut known = url.clone();
        known.options.retain(|(name, _)| name != "timeout");
        let mut server = Self {
            url: known,
            read_only: access == Access::ReadOnly,
            statement,
            runtime: Some(runtime),
            connection: None,
            in_transaction: false,
            used: Instant::now(),
            failed: None,
            kinds: HashMap::new(),
        };
        server.connect()?;
        Ok(server)
    }

    fn connect(&mut self) -> Result<(), Error> {
        if let Some((when, error)) = &self.failed
            && when.elapsed() < BACK_OFF
        {
            return Err(error.clone());
        }
        let (url, read_only) = (self.url.clone(), self.read_only);
        let connecting = async move {
            match url.engine {
                Engine::Postgres => postgres::connect(&url, read_only).await.map(Connection::Postgres),
                Engine::MySql | Engine::Sqlite | Engine::Text => {
                    mysql::connect(&url, read_only).await.map(Connection::MySql)
                }
            }
        };
        let connected = match self.wait(Some(CONNECT), connecting) {
            Ok(Some(result)) => result.map_err(|e| self.translate(&e)),
            Ok(None) => Err(self.unreachable(format!("no answer within {} s", CONNECT.as_secs()))),
            Err(error) => Err(error),
        };
        match connected {
            Ok(connection) => {
                self.connection = Some(connection);
                self.failed = None;
                self.used = Instant::now();
                Ok(())
            }
            Err(error) => {
                self.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Waits for a future, `None` when it takes longer than `limit`.
    fn wait<T>(&self, limit: Option<Duration>, future: impl Future<Output = T>) -> Result<Option<T>, Error> {
        let Some(runtime) = &self.runtime else {
            return Err(self.unreachable("the connection is closed".to_owned()));
        };
        Ok(runtime.block_on(async {
            match limit {
                Some(limit) => tokio::time::timeout(limit, future).await.ok(),
                None => Some(future.await),
            }
        }))
    }

    /// Runs one statement, on a new connection if the old one turns out to be lost.
    fn call<T>(
        &mut self,
        repeat: Repeat,
        mut run: impl FnMut(&Self, &mut Connection) -> Result<T, Trouble>,
    ) -> Result<T, Error> {
        let mut fresh = false;
        loop {
            if self.connection.is_none() {
                if self.in_transaction {
                    return Err(self.unreachable("the connection was lost inside a transaction".to_owned()));
                }
                self.connect()?;
                fresh = true;
            }
            if repeat == Repeat::Never && !fresh && !self.in_transaction && self.used.elapsed() > IDLE {
                self.try_ping();
                fresh = true;
                continue;
            }
            let Some(mut connection) = self.connection.take() else {
                continue;
            };
            let ended = run(self, &mut connection);
            self.used = Instant::now();
            match ended {
                Ok(answer) => {
                    self.connection = Some(connection);
                    return Ok(answer);
                }
                Err(Trouble::Refused(error)) if fault::is_lost(&error) => {
                    if fresh || self.in_transaction || repeat == Repeat::Never {
                        return Err(self.translate(&error));
                    }
                }
                Err(Trouble::Refused(error)) => {
                    self.connection = Some(connection);
                    return Err(self.translate(&error));
                }
                Err(Trouble::Abandoned(error)) => return Err(error),
            }
        }
    }

    /// Waits for the server as long as a statement may take.
    fn answer<T>(&self, future: impl Future<Output = T>) -> Result<T, Trouble> {
        let answer = self.wait(self.statement, future).map_err(Trouble::Abandoned)?;
        answer.ok_or_else(|| {
            let limit = self.statement.unwrap_or(STATEMENT).as_secs();
            Trouble::Abandoned(self.unreachable(format!("no answer within {limit} s")))
        })
    }

    /// Runs a statement; returns how many rows it changed.
    fn execute(&mut self, sql: &str, params: &[&Value], repeat: Repeat) -> Result<u64, Error> {
        self.call(repeat, |server, connection| {
            let answer = server.answer(async {
                match connection {
                    Connection::MySql(c) => mysql::execute(c, sql, params).await,
                    Connection::Postgres(c) => postgres::execute(c, sql, params).await,
                }
            });
            answer?.map_err(Trouble::Refused)
        })
    }

    /// Runs a query and hands over its rows piece by piece.
    fn walk(
        &mut self,
        sql: &str,
        params: &[&Value],
        take: &mut dyn FnMut(Rows) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.call(Repeat::Harmless, |server, connection| {
            let mut pieces = match connection {
                Connection::MySql(c) => mysql::fetch(c, sql, params),
                Connection::Postgres(c) => postgres::fetch(c, sql, params),
            };
            let mut begun = false;
            while let Some(piece) = server.answer(pieces.next())? {
                let rows = piece.map_err(|error| match begun {
                    true => Trouble::Abandoned(server.translate(&error)),
                    false => Trouble::Refused(error),
                })?;
                let last = rows.len() < PIECE;
                take(rows).map_err(Trouble::Abandoned)?;
                if last {
                    break;
                }
                begun = true;
            }
            Ok(())
        })
    }

    /// Runs a query whose answer is small.
    fn rows(&mut self, sql: &str, params: &[&Value]) -> Result<Rows, Error> {
        let mut rows = Rows::default();
        self.walk(sql, params, &mut |piece| {
            rows.append(piece);
            Ok(())
        })?;
        Ok(rows)
    }

    fn try_ping(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let alive = self.wait(Some(CONNECT), async {
            match &mut connection {
                Connection::MySql(c) => c.ping().await,
                Connection::Postgres(c) => c.ping().await,
            }
        });
        if matches!(alive, Ok(Some(Ok(())))) {
            self.used = Instant::now();
            self.connection = Some(connection);
        }
    }

    fn run(&mut self, sql: &Statement<'_>, repeat: Repeat) -> Result<u64, Error> {
        self.execute(&sql.text, &sql.params, repeat)
    }

    /// Runs an insert in parts small enough, all of them or none.
    fn run_in_parts<'q>(
        &mut self,
        insert: &Insert<'_>,
        repeat: Repeat,
        make: impl Fn(usize, usize) -> Result<Statement<'q>, Error>,
    ) -> Result<u64, Error> {
        let rows = insert.rows.len();
        let step = (MAX_PARAMS / insert.columns.len().max(1)).clamp(1, 500);
        let own = rows > step && !self.in_transaction;
        if own {
            self.begin()?;
        }
        for from in (0..rows).step_by(step) {
            if let Err(error) = make(from, rows.min(from + step)).and_then(|sql| self.run(&sql, repeat)) {
                if own {
                    let _ = self.rollback();
                }
                return Err(error);
            }
        }
        if own {
            self.commit()?;
        }
        // MySQL counts an updated row twice: what the caller wants to know is how many rows there were.
        Ok(rows as u64)
    }

    /// What the columns of a table hold; PostgreSQL refuses a parameter of another type.
    fn kinds(&mut self, table: &str) -> Result<&[(String, Kind)], Error> {
        if !self.kinds.contains_key(table) {
            let columns = self.columns(table)?;
            let kinds = columns
                .into_iter()
                .map(|column| (column.name, column.kind))
                .collect();
            self.kinds.insert(table.to_owned(), kinds);
        }
        Ok(self.kinds.get(table).map_or(&[], Vec::as_slice))
    }

    fn control(&mut self, sql: &str) -> Result<(), Error> {
        self.execute(sql, &[], Repeat::Harmless).map(|_| ())
    }

    fn unreachable(&self, reason: String) -> Error {
        Error::Unreachable {
            url: self.url.to_string(),
            reason,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let connection = self.connection.take();
        // A worker of another runtime must not wait; everyone else says good-bye, so that the server lets go at once.
        if tokio::runtime::Handle::try_current().is_err() {
            let _ = self.wait(Some(GOOD_BYE), async {
                match connection {
                    Some(Connection::MySql(c)) => c.close().await,
                    Some(Connection::Postgres(c)) => c.close().await,
                    None => Ok(()),
                }
            });
        }
        // A runtime must not be dropped inside another one; this way it never waits.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Backend for Server {
    fn engine(&self) -> Engine {
        self.url.engine
    }

    fn url(&self) -> &Url {
        &self.url
    }

    fn each(
        &mut self,
        select: &Select<'_>,
        visit: &mut dyn FnMut(Row<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let filters = self.fitted_filters(select.table, &select.filters)?;
        let fitted = filters.map(|filters| Select {
            filters,
            ..select.clone()
        });
        let sql = Statement::select(self.url.engine, fitted.as_ref().unwrap_or(select))?;
        self.walk(&sql.text, &sql.params, &mut |rows| {
            rows.iter().try_for_each(&mut *visit)
        })
    }

    fn insert(&mut self, insert: &Insert<'_>) -> Result<u64, Error> {
        let (engine, insert) = (self.url.engine, self.fitted_insert(insert)?);
        self.run_in_parts(&insert, Repeat::Never, |from, to| {
            Statement::insert(engine, &insert, from, to)
        })
    }

    fn update(&mut self, update: &Update<'_>) -> Result<u64, Error> {
        let fitted = self.fitted_update(update)?;
        self.run(&Statement::update(self.url.engine, &fitted)?, Repeat::Harmless)
    }

    fn delete(&mut self, delete: &Delete<'_>) -> Result<u64, Error> {
        let filters = self.fitted_filters(delete.table, &delete.filters)?;
        let fitted = filters.map(|filters| Delete {
            table: delete.table,
            filters,
        });
        self.run(
            &Statement::delete(self.url.engine, fitted.as_ref().unwrap_or(delete))?,
            Repeat::Harmless,
        )
    }

    fn upsert(&mut self, upsert: &Upsert<'_>) -> Result<u64, Error> {
        let engine = self.url.engine;
        let insert = self.fitted_insert(&upsert.insert)?.into_owned();
        let upsert = Upsert {
            key: upsert.key.clone(),
            insert,
        };
        self.run_in_parts(&upsert.insert, Repeat::Harmless, |from, to| {
            Statement::upsert(engine, &upsert, from, to)
        })
    }

    fn raw(&mut self, sql: &str, params: &[Value]) -> Result<Outcome, Error> {
        let params: Vec<&Value> = params.iter().collect();
        let first = sql
            .trim_start()
            .split(|c: char| !c.is_ascii_alphabetic())
            .next()
            .unwrap_or_default();
        let asks = [
            "select", "show", "explain", "describe", "desc", "with", "values", "table", "call", "",
        ];
        let asks = asks.iter().any(|word| word.eq_ignore_ascii_case(first))
            || sql.to_ascii_lowercase().contains(" returning ");
        self.kinds.clear();
        let mut outcome = Outcome::default();
        if asks {
            outcome.rows = self.rows(sql, &params)?;
        } else {
            outcome.affected = self.execute(sql, &params, Repeat::Never)?;
        }
        Ok(outcome)
    }

    fn begin(&mut self) -> Result<(), Error> {
        if self.in_transaction {
            return Err(Error::Transaction("a transaction is open already"));
        }
        self.control("BEGIN")?;
        self.in_transaction = true;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        if !self.in_transaction {
            return Err(Error::Transaction("no transaction is open"));
        }
        let done = self.control("COMMIT");
        self.in_transaction = false;
        done
    }

    fn rollback(&mut self) -> Result<(), Error> {
        if !self.in_transaction {
            return Err(Error::Transaction("no transaction is open"));
        }
        // A lost connection has rolled back already.
        let done = if self.connection.is_some() {
            self.control("ROLLBACK")
        } else {
            Ok(())
        };
        self.in_transaction = false;
        done
    }

    fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    fn tables(&mut self) -> Result<Vec<String>, Error> {
        let sql = match self.url.engine {
            Engine::Postgres => {
                "SELECT table_name::text AS name FROM information_schema.tables \
                 WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY 1"
            }
            Engine::MySql | Engine::Sqlite | Engine::Text => {
                "SELECT table_name AS name FROM information_schema.tables \
                 WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY 1"
            }
        };
        let rows = self.rows(sql, &[])?;
        Ok(rows
            .iter()
            .filter_map(|row| row.str("name").map(str::to_owned))
            .collect())
    }

    fn columns(&mut self, table: &str) -> Result<Vec<ColumnInfo>, Error> {
        let sql = match self.url.engine {
            Engine::Postgres => {
                "SELECT column_name::text AS name, is_nullable::text AS nullable, \
                 COALESCE('varchar(' || character_maximum_length || ')', data_type) AS declared \
                 FROM information_schema.columns \
                 WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position"
            }
            Engine::MySql | Engine::Sqlite | Engine::Text => {
                "SELECT column_name AS name, column_type AS declared, is_nullable AS nullable \
                 FROM information_schema.columns \
                 WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position"
            }
        };
        let name = match self.url.engine {
            Engine::Postgres => table.to_ascii_lowercase(),
            Engine::MySql | Engine::Sqlite | Engine::Text => table.to_owned(),
        };
        let rows = self.rows(sql, &[&Value::from(name)])?;
        if rows.is_empty() {
            return Err(Error::NoTable {
                url: self.url.to_string(),
                table: table.to_owned(),
            });
        }
        let column = |row: Row<'_>| {
            let declared = row.str("declared")?.to_ascii_lowercase();
            Some(ColumnInfo {
                name: row.str("name")?.to_owned(),
                kind: fit::kind_of(&declared),
                null: row.str("nullable")?.eq_ignore_ascii_case("yes"),
                declared,
            })
        };
        Ok(rows.iter().filter_map(column).collect())
    }

    fn create_table(&mut self, table: &Table) -> Result<(), Error> {
        for sql in table.create_sql(self.url.engine)? {
            self.control(&sql)?;
        }
        Ok(())
    }

    fn drop_table(&mut self, table: &str) -> Result<(), Error> {
        self.kinds.remove(table);
        let sql = format!("DROP TABLE {}", quoted(self.url.engine, table)?);
        self.control(&sql)
    }

    fn ping(&mut self) -> Result<(), Error> {
        self.control("SELECT 1")
    }

    fn reconnect(&mut self) -> Result<(), Error> {
        self.connection = None;
        self.in_transaction = false;
        self.failed = None;
        self.connect()
    }
}
