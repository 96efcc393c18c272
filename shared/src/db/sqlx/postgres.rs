//! The PostgreSQL side of sqlx: connecting, binding and reading cells (Kamailio module db_postgres).

use futures_util::StreamExt as _;
use futures_util::TryStreamExt as _;
use futures_util::stream::TryChunksError;
use sqlx::AssertSqlSafe;
use sqlx::Column as _;
use sqlx::ConnectOptions as _;
use sqlx::Database;
use sqlx::Postgres;
use sqlx::Row as _;
use sqlx::TypeInfo as _;
use sqlx::ValueRef as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::postgres::PgConnection;
use sqlx::postgres::PgRow;
use sqlx::postgres::PgSslMode;
use sqlx::postgres::PgValueFormat;
use sqlx::postgres::PgValueRef;
use sqlx::query::Query;

use super::PIECE;
use super::Pieces;
use crate::db::Rows;
use crate::db::Url;
use crate::db::Value;
use crate::db::time;

/// 2000-01-01, where PostgreSQL begins to count.
const EPOCH: i64 = 946_684_800;

pub(super) async fn connect(url: &Url, read_only: bool) -> sqlx::Result<PgConnection> {
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&url.host)
        .port(url.port_or_default())
        .application_name("proxyd")
        .database(if url.name.is_empty() {
            "postgres"
        } else {
            &url.name
        })
        .ssl_mode(match url.option("sslmode") {
            Some("disable") => PgSslMode::Disable,
            Some("require") => PgSslMode::Require,
            Some("verify-ca") => PgSslMode::VerifyCa,
            Some("verify-full") => PgSslMode::VerifyFull,
            _ => PgSslMode::Prefer,
        })
        .disable_statement_logging();
    if let Some(file) = url.option("sslrootcert") {
        options = options.ssl_root_cert(file);
    }
    if let Some(socket) = url.option("socket") {
        options = options.socket(socket);
    }
    if let Some(user) = &url.user {
        options = options.username(user);
    }
    if let Some(password) = &url.password {
        options = options.password(password);
    }
    if read_only {
        options = options.options([("default_transaction_read_only", "on")]);
    }
    options.connect().await
}

/// Runs a statement; returns how many rows it changed.
pub(super) async fn execute(
    connection: &mut PgConnection,
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
    connection: &'c mut PgConnection,
    sql: &'c str,
    params: &'c [&'c Value],
) -> Pieces<'c> {
    // The plain protocol takes what cannot be prepared, and spares a round trip.
    let answer = if params.is_empty() {
        sqlx::raw_sql(AssertSqlSafe(sql)).fetch(connection)
    } else {
        bound(sql, params).fetch(connection)
    };
    let pieces = answer.try_chunks(PIECE);
    pieces
        .map(|piece| rows(&piece.map_err(|TryChunksError(_, error)| error)?))
        .boxed()
}

fn bound<'q>(
    sql: &'q str,
    params: &'q [&'q Value],
) -> Query<'q, Postgres, <Postgres as Database>::Arguments> {
    let mut query = sqlx::query::<Postgres>(AssertSqlSafe(sql));
    for value in params {
        query = match value {
            Value::Null => query.bind(None::<&str>),
            Value::Int(n) => query.bind(*n),
            Value::Double(d) => query.bind(*d),
            // PostgreSQL stores neither bytes that are no UTF-8 nor the character 0 in text.
            Value::Text(text) => query.bind(String::from_utf8_lossy(text).replace('\0', "")),
            Value::Blob(bytes) => query.bind(bytes.as_slice()),
            Value::DateTime(t) => query.bind(time::to_local(*t)),
        };
    }
    query
}

fn rows(answer: &[PgRow]) -> sqlx::Result<Rows> {
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
            .map(|index| cell(&row.try_get_raw(index)?))
            .collect();
        rows.push(cells?);
    }
    Ok(rows)
}

fn cell(value: &PgValueRef<'_>) -> sqlx::Result<Value> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let bytes = value.as_bytes().map_err(sqlx::Error::Decode)?;
    let info = value.type_info();
    Ok(match value.format() {
        PgValueFormat::Text => from_text(info.name(), bytes),
        PgValueFormat::Binary => from_binary(info.name(), bytes),
    })
}

fn from_text(name: &str, bytes: &[u8]) -> Value {
    let text = Value::text(bytes);
    let read = match name {
        "INT2" | "INT4" | "INT8" | "OID" => text.as_int().map(Value::Int),
        "FLOAT4" | "FLOAT8" => text.as_double().map(Value::Double),
        "NUMERIC" => text
            .as_int()
            .map(Value::Int)
            .or_else(|| text.as_double().map(Value::Double)),
        "BOOL" => Some(Value::Int((bytes == b"t").into())),
        "BYTEA" => bytes.strip_prefix(b"\\x").and_then(unhex).map(Value::Blob),
        "TIMESTAMP" | "DATE" => text.as_str().and_then(time::from_local).map(Value::DateTime),
        "TIMESTAMPTZ" => text.as_str().and_then(time::from_utc).map(Value::DateTime),
        _ => None,
    };
    read.unwrap_or(text)
}

fn from_binary(name: &str, bytes: &[u8]) -> Value {
    let int = || {
        bytes.iter().fold(
            if bytes.first().is_some_and(|b| b & 0x80 != 0) {
                -1
            } else {
                0
            },
            |n: i64, b| n << 8 | i64::from(*b),
        )
    };
    let local = |wall: i64| time::from_local(&time::to_utc(wall)).map_or(Value::Null, Value::DateTime);
    match name {
        "INT2" | "INT4" | "INT8" => Value::Int(int()),
        "OID" => Value::Int(int() & 0xffff_ffff),
        "BOOL" => Value::Int((bytes == [1]).into()),
        "FLOAT4" => match <[u8; 4]>::try_from(bytes).map(f32::from_be_bytes) {
            // 0.7 in single precision is 0.7 to the operator, not 0.699999988079071.
            Ok(single) => Value::Double(single.to_string().parse().unwrap_or_else(|_| f64::from(single))),
            Err(_) => Value::Null,
        },
        "FLOAT8" => <[u8; 8]>::try_from(bytes).map_or(Value::Null, |b| Value::Double(f64::from_be_bytes(b))),
        "NUMERIC" => numeric(bytes).map_or(Value::Null, Value::Double),
        "TIMESTAMP" => local(int().div_euclid(1_000_000).saturating_add(EPOCH)),
        "TIMESTAMPTZ" => Value::DateTime(int().div_euclid(1_000_000).saturating_add(EPOCH)),
        "DATE" => local(int().saturating_mul(86_400).saturating_add(EPOCH)),
        "BYTEA" => Value::Blob(bytes.to_vec()),
        "JSONB" => Value::text(bytes.get(1..).unwrap_or_default()),
        _ => Value::text(bytes),
    }
}

/// `numeric` on the wire: count, weight, sign, scale, then digits to the base 10000.
fn numeric(bytes: &[u8]) -> Option<f64> {
    let word = |index: usize| {
        Some(i16::from_be_bytes(
            bytes.get(index * 2..index * 2 + 2)?.try_into().ok()?,
        ))
    };
    let (count, weight, sign) = (usize::try_from(word(0)?).ok()?, i32::from(word(1)?), word(2)?);
    let mut sum = 0.0;
    for index in 0..count {
        let power = weight.saturating_sub(i32::try_from(index).ok()?);
        sum += f64::from(word(4 + index)?) * 10_000_f64.powi(power);
    }
    Some(if sign == 0x4000 { -sum } else { sum })
}

fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(pair).collect()
}
