//! The MySQL side of sqlx: connecting, binding and reading cells (Kamailio module db_mysql).

use std::path::Path;

use futures_util::StreamExt as _;
use futures_util::TryStreamExt as _;
use futures_util::stream::TryChunksError;
use sqlx::AssertSqlSafe;
use sqlx::Column as _;
use sqlx::ConnectOptions as _;
use sqlx::Database;
use sqlx::Decode;
use sqlx::MySql;
use sqlx::Row as _;
use sqlx::TypeInfo as _;
use sqlx::ValueRef as _;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::mysql::MySqlConnection;
use sqlx::mysql::MySqlRow;
use sqlx::mysql::MySqlSslMode;
use sqlx::mysql::MySqlValueRef;
use sqlx::query::Query;

use super::PIECE;
use super::Pieces;
use crate::db::Rows;
use crate::db::Url;
use crate::db::Value;
use crate::db::time;

/// Where the server of this machine listens, when `localhost` is asked for without a port.
const LOCAL_SOCKETS: [&str; 3] = [
    "/run/mysqld/mysqld.sock",
    "/var/run/mysqld/mysqld.sock",
    "/tmp/mysql.sock",
];

pub(super) async fn connect(url: &Url, read_only: bool) -> sqlx::Result<MySqlConnection> {
    let mut options = MySqlConnectOptions::new()
        .host(&url.host)
        .port(url.port_or_default())
        .charset("utf8mb4")
        // What a script or a default says about time and quoting means here what it means to Kamailio's client.
        .timezone(None)
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .ssl_mode(match url.option("sslmode").or_else(|| url.option("ssl-mode")) {
            Some("disable" | "disabled") => MySqlSslMode::Disabled,
            Some("require" | "required") => MySqlSslMode::Required,
            Some("verify-ca" | "verify_ca") => MySqlSslMode::VerifyCa,
            Some("verify-full" | "verify_identity") => MySqlSslMode::VerifyIdentity,
            _ => MySqlSslMode::Preferred,
        })
        .disable_statement_logging();
    if let Some(file) = url.option("sslrootcert").or_else(|| url.option("ssl-ca")) {
        options = options.ssl_ca(file);
    }
    if !url.name.is_empty() {
        options = options.database(&url.name);
    }
    if let Some(user) = &url.user {
        options = options.username(user);
    }
    if let Some(password) = &url.password {
        options = options.password(password);
    }
    if let Some(socket) = url.option("socket") {
        options = options.socket(socket);
    } else if url.host == "localhost"
        && url.port.is_none()
        && let Some(socket) = LOCAL_SOCKETS.iter().find(|path| Path::new(path).exists())
    {
        // Kamailio: the C client takes `localhost` for the unix socket, and accounts are often tied to it.
        options = options.socket(socket);
    }
    let mut connection = options.connect().await?;
    // An answer that is looked at page by page waits for its reader, a day if need be and not only a minute.
    let patience = "SET SESSION net_write_timeout = 86400";
    let session = if read_only {
        AssertSqlSafe(format!("{patience}; SET SESSION TRANSACTION READ ONLY"))
    } else {
        AssertSqlSafe(patience.to_owned())
    };
    sqlx::raw_sql(session).execute(&mut connection).await?;
    Ok(connection)
}

/// Runs a statement; returns how many rows it changed.
pub(super) async fn execute(
    connection: &mut MySqlConnection,
    sql: &str,
    params: &[&Value],
) -> sqlx::Result<u64> {
    let done = if params.is_empty() {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?
    } else {
        bound(sql, params).execute(connection).await?
    };
    Ok(done.rows_affected())
}

/// Runs a query.
pub(super) fn fetch<'c>(
    connection: &'c mut MySqlConnection,
    sql: &'c str,
    params: &'c [&'c Value],
) -> Pieces<'c> {
    // The plain protocol takes what cannot be prepared, and spares a round trip.
    let plain = params.is_empty();
    let answer = if plain {
        sqlx::raw_sql(AssertSqlSafe(sql)).fetch(connection)
    } else {
        bound(sql, params).fetch(connection)
    };
    let pieces = answer.try_chunks(PIECE);
    pieces
        .map(move |piece| rows(&piece.map_err(|TryChunksError(_, error)| error)?, plain))
        .boxed()
}

fn bound<'q>(sql: &'q str, params: &'q [&'q Value]) -> Query<'q, MySql, <MySql as Database>::Arguments> {
    let mut query = sqlx::query::<MySql>(AssertSqlSafe(sql));
    for value in params {
        query = match value {
            Value::Null => query.bind(None::<&str>),
            Value::Int(n) => query.bind(*n),
            Value::Double(d) => query.bind(*d),
            Value::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => query.bind(text),
                Err(_) => query.bind(text.as_slice()),
            },
            Value::Blob(bytes) => query.bind(bytes.as_slice()),
            Value::DateTime(t) => query.bind(time::to_local(*t)),
        };
    }
    query
}

fn rows(answer: &[MySqlRow], plain: bool) -> sqlx::Result<Rows> {
    let Some(first) = answer.first() else {
        return Ok(Rows::default());
    };
    let mut rows = Rows::new(
        first
            .columns()
            .iter()
            .map(|column| column.name().to_owned())
            .collect(),
    );
    for row in answer {
        let cells: sqlx::Result<Vec<Value>> = (0..row.columns().len())
            .map(|index| cell(row.try_get_raw(index)?, plain))
            .collect();
        rows.push(cells?);
    }
    Ok(rows)
}

fn cell(value: MySqlValueRef<'_>, plain: bool) -> sqlx::Result<Value> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let info = value.type_info().into_owned();
    let name = info.name();
    let read = |value| -> Result<Value, sqlx::error::BoxDynError> {
        Ok(match name {
            "BOOLEAN" | "TINYINT" | "SMALLINT" | "INT" | "MEDIUMINT" | "BIGINT" => {
                Value::Int(<i64 as Decode<MySql>>::decode(value)?)
            }
            "FLOAT" if !plain => {
                let single = <f32 as Decode<MySql>>::decode(value)?;
                // 0.7 in single precision is 0.7 to the operator, not 0.699999988079071.
                Value::Double(single.to_string().parse().unwrap_or_else(|_| f64::from(single)))
            }
            "FLOAT" | "DOUBLE" => Value::Double(<f64 as Decode<MySql>>::decode(value)?),
            _ if name.ends_with("UNSIGNED") || name == "YEAR" => {
                let number = <u64 as Decode<MySql>>::decode(value)?;
                Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
            }
            _ => {
                let bytes = <&[u8] as Decode<MySql>>::decode(value)?;
                match name {
                    "DATETIME" | "TIMESTAMP" | "DATE" => date(bytes, plain),
                    "DECIMAL" => decimal(bytes),
                    _ if name.contains("BLOB")
                        || name.contains("BINARY")
                        || name == "BIT"
                        || name == "GEOMETRY" =>
                    {
                        Value::Blob(bytes.to_vec())
                    }
                    _ => Value::text(bytes),
                }
            }
        })
    };
    read(value).map_err(sqlx::Error::Decode)
}

/// A date: text on the plain protocol, else year (two bytes), month, day, hour, minute, second after their count.
fn date(bytes: &[u8], plain: bool) -> Value {
    let text = if plain {
        String::from_utf8_lossy(bytes).into_owned()
    } else {
        let fields = match bytes.split_first() {
            Some((count, rest)) if usize::from(*count) == rest.len() => rest,
            _ => bytes,
        };
        let at = |index: usize| u16::from(fields.get(index).copied().unwrap_or(0));
        let year = at(0) | at(1) << 8;
        format!(
            "{year:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            at(2),
            at(3),
            at(4),
            at(5),
            at(6)
        )
    };
    time::from_local(&text).map_or(Value::Null, Value::DateTime)
}

fn decimal(bytes: &[u8]) -> Value {
    let text = Value::text(bytes);
    match (text.as_int(), text.as_double()) {
        (Some(n), _) => Value::Int(n),
        (None, Some(d)) => Value::Double(d),
        (None, None) => text,
    }
}
