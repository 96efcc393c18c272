//! `loadmodule "sqlops"`: SQL from the script (Kamailio module sqlops).

use crate::log;
use crate::modules::database::Database;
use crate::script::lists::Item;
use crate::script::module::Arg;
use crate::script::module::Call;
use crate::script::module::Code;
use crate::script::module::CompiledArg;
use crate::script::module::Env;
use crate::script::module::Function;
use crate::script::module::Init;
use crate::script::module::InitError;
use crate::script::module::ModuleDef;
use crate::script::module::Param;
use crate::script::module::Pv;
use crate::script::module::PvData;
use crate::script::module::PvInner;
use crate::script::module::PvParam;
use crate::script::module::PvSpec;
use crate::script::module::State;
use crate::script::program::Format;
use crate::script::program::PvRef;
use crate::script::value::Value;
use parking_lot::Mutex;
use shared::db;
use shared::db::Engine;
use shared::db::Rows;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// The module.
pub(crate) static MODULE: ModuleDef = ModuleDef {
    params: &[
        Param::List("sqlcon", "A connection: name=>url."),
        Param::List("sqlres", "A result's name; results need not be declared."),
        Param::Int("results_maxsize", 32, "How many results a worker may keep."),
        Param::Int(
            "connect_mode",
            0,
            "0: a database that does not answer stops the start; 1, 2: it does not.",
        ),
        Param::Ignored("tr_buf_size", "transformations need no buffer"),
        Param::Ignored("log_buf_size", "statements are logged whole"),
    ],
    functions: &[
        Function::anywhere(
            &["sql_query"],
            &[
                Arg::Literal("connection"),
                Arg::Text("query"),
                Arg::OptLiteral("result"),
            ],
            "Runs a statement, its rows to $dbr(result=>…): 1 rows, 2 none, 3 rows but no result named, -1 failed.",
            sql_query,
        ),
        Function::anywhere(
            &["sql_xquery"],
            &[
                Arg::Literal("connection"),
                Arg::Text("query"),
                Arg::Literal("result"),
            ],
            "Runs a statement, its rows to $xavp(result=>column).",
            sql_xquery,
        ),
        Function::anywhere(
            &["sql_pvquery"],
            &[
                Arg::Literal("connection"),
                Arg::Text("query"),
                Arg::Text("result"),
            ],
            "Runs a statement, its columns to pseudo-variables.",
            sql_pvquery,
        ),
        Function::anywhere(
            &["sql_query_async"],
            &[Arg::Literal("connection"), Arg::Text("query")],
            "Runs a statement on another thread; what it answers is lost.",
            sql_query_async,
        ),
        Function::anywhere(
            &["sql_result_free"],
            &[Arg::Literal("result")],
            "Forgets a result.",
            sql_result_free,
        ),
    ],
    pvs: &[
        Pv::class(
            &["dbr"],
            "$dbr(result=>rows), =>cols, =>[row,col], =>colname[col].",
            compile_dbr,
            dbr,
        ),
        Pv {
            names: &["sqlrows"],
            param: PvParam::Required,
            doc: "$sqlrows(connection): how many rows the last statement changed.",
            compile: None,
            get: sqlrows,
            set: None,
        },
    ],
    init: Some(init),
    ..ModuleDef::new("sqlops", "SQL from the script.")
};

struct Connection {
    name: String,
    database: Arc<Database>,
    affected: AtomicU64,
}

/// Results by worker and name: a worker keeps them from message to message, as a process of Kamailio does.
type Results = BTreeMap<(usize, Box<[u8]>), Arc<Rows>>;

struct SqlOps {
    connections: Vec<Connection>,
    most: usize,
    results: Mutex<Results>,
}

impl SqlOps {
    fn connection(&self, name: &[u8]) -> Option<&Connection> {
        self.connections
            .iter()
            .find(|connection| connection.name.as_bytes() == name)
    }

    fn result(&self, env: &Env<'_>, name: &[u8]) -> Option<Arc<Rows>> {
        self.results
            .lock()
            .get(&(env.host.worker().0, name.into()))
            .map(Arc::clone)
    }

    /// Keeps a result, or forgets the one of this name.
    fn keep(&self, env: &Env<'_>, name: &[u8], rows: Option<Rows>) -> bool {
        let worker = env.host.worker().0;
        let key = (worker, Box::from(name));
        let mut results = self.results.lock();
        results.remove(&key);
        let Some(rows) = rows else { return true };
        if results.keys().filter(|(of, _)| *of == worker).count() >= self.most {
            log::error(
                "sqlops",
                format_args!("more than results_maxsize={} results", self.most),
            );
            return false;
        }
        results.insert(key, Arc::new(rows));
        true
    }
}

fn init(init: &mut Init<'_>) -> Result<State, InitError> {
    let mut connections = Vec::new();
    for text in init.list("sqlcon") {
        let why = || InitError::Param {
            name: "sqlcon",
            why: format!("{text:?} is not name=>url"),
        };
        let (name, url) = text.split_once("=>").ok_or_else(why)?;
        let database = Database::shared(url.trim())?;
        if init.int("connect_mode") == 0 {
            database.with(|db| db.ping())?;
        }
        connections.push(Connection {
            name: name.trim().to_owned(),
            database,
            affected: AtomicU64::new(0),
        });
    }
    let most = usize::try_from(init.int("results_maxsize")).unwrap_or(32).max(1);
    Ok(Arc::new(SqlOps {
        connections,
        most,
        results: Mutex::default(),
    }))
}

/// Runs the statement of a call; an error is logged with it.
fn run(call: &Call<'_, '_>) -> Option<Rows> {
    let state = call.state::<SqlOps>()?;
    let name = call.text(0);
    let Some(connection) = state.connection(&name) else {
        log::error(
            "sqlops",
            format_args!("invalid connection [{}]", String::from_utf8_lossy(&name)),
        );
        return None;
    };
    let query = call.text(1);
    let Ok(sql) = std::str::from_utf8(&query) else {
        log::error("sqlops", format_args!("cannot do the query: it is not UTF-8"));
        return None;
    };
    match connection.database.with(|db| db.raw(sql, &[])) {
        Ok(outcome) => {
            connection.affected.store(outcome.affected, Ordering::Relaxed);
            Some(outcome.rows)
        }
        Err(error) => {
            log::error("sqlops", format_args!("cannot do the query [{sql}]: {error}"));
            None
        }
    }
}

fn sql_query(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<SqlOps>() else {
        return Code::FALSE;
    };
    let rows = run(call);
    let failed = rows.is_none();
    let empty = rows.as_ref().is_none_or(Rows::is_empty);
    if call.has(2) {
        let name = call.text_owned(2);
        if !state.keep(call.env, &name, rows) {
            return Code::FALSE;
        }
    }
    match (failed, empty) {
        (true, _) => Code::FALSE,
        (_, true) => Code(2),
        _ if call.has(2) => Code(1),
        _ => Code(3),
    }
}

/// A cell as the script sees it; what is neither number nor text becomes text.
fn value_of(cell: &db::Value) -> Value<'_> {
    match cell {
        db::Value::Null => Value::Null,
        db::Value::Int(n) => Value::Int(*n),
        other => match other.to_bytes() {
            Cow::Borrowed(text) => Value::text(text),
            Cow::Owned(text) => Value::owned(text),
        },
    }
}

fn sql_xquery(call: &mut Call<'_, '_>) -> Code {
    let Some(rows) = run(call) else { return Code::FALSE };
    if rows.is_empty() {
        return Code(2);
    }
    let name = call.text_owned(2);
    let all: Vec<_> = rows.iter().collect();
    for row in all.into_iter().rev() {
        let cells = row.names().iter().zip(row.cells());
        let field =
            |(name, cell): (&String, &db::Value)| (Box::from(name.as_bytes()), value_of(cell).into_owned());
        call.env
            .lists
            .xavp
            .push(&name, Item::Fields(cells.map(field).collect()));
    }
    Code(1)
}

/// The pseudo-variables that an argument lists.
fn variables(arg: Option<&CompiledArg>) -> Vec<&PvRef> {
    match arg {
        Some(CompiledArg::Format(format)) => format.variables().collect(),
        Some(CompiledArg::Pv(pv)) => vec![pv],
        _ => Vec::new(),
    }
}

fn sql_pvquery(call: &mut Call<'_, '_>) -> Code {
    let Some(rows) = run(call) else { return Code::FALSE };
    let targets = variables(call.args.get(2));
    if rows.is_empty() {
        return Code(2);
    }
    if targets.is_empty() {
        return Code(3);
    }
    // the last row first: of variables that hold one value the first row's stays
    let all: Vec<_> = rows.iter().collect();
    for row in all.into_iter().rev() {
        for (at, cell) in row.cells().iter().enumerate() {
            let Some(pv) = targets.get(at) else {
                log::error("sqlops", format_args!("Missing pv spec for column {}", at + 1));
                return Code::FALSE;
            };
            let is_list = pv
                .definition()
                .names
                .first()
                .is_some_and(|name| name.ends_with("avp"));
            if cell.is_null() && is_list {
                continue;
            }
            if let Err(error) = pv.write(call.env, value_of(cell)) {
                log::error("sqlops", format_args!("{}: {error}", pv.text()));
            }
        }
    }
    Code(1)
}

fn sql_query_async(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<SqlOps>() else {
        return Code::FALSE;
    };
    let (name, query) = (call.text_owned(0), call.text_owned(1));
    let (Some(connection), Ok(sql)) = (state.connection(&name), String::from_utf8(query)) else {
        log::error(
            "sqlops",
            format_args!("invalid connection [{}] or query", String::from_utf8_lossy(&name)),
        );
        return Code::FALSE;
    };
    // Kamailio: only servers take statements that way.
    if !matches!(connection.database.url().engine, Engine::MySql | Engine::Postgres) {
        log::error(
            "sqlops",
            format_args!("the db driver module doesn't support async query"),
        );
        return Code::FALSE;
    }
    let database = Arc::clone(&connection.database);
    call.env.host.spawn(Box::new(move || {
        if let Err(error) = database.with(|db| db.raw(&sql, &[])) {
            log::error("sqlops", format_args!("cannot do the query [{sql}]: {error}"));
        }
    }));
    Code::TRUE
}

fn sql_result_free(call: &mut Call<'_, '_>) -> Code {
    let Some(state) = call.state::<SqlOps>() else {
        return Code::FALSE;
    };
    let name = call.text_owned(0);
    state.keep(call.env, &name, None);
    Code::TRUE
}

/// The part of a result that `$dbr` names.
enum Part {
    Rows,
    Columns,
    Name(Format),
    Cell(Format, Format),
}

fn compile_dbr(inner: &PvInner<'_>) -> Result<PvData, String> {
    let text = std::str::from_utf8(inner.text).map_err(|_| "is not text".to_owned())?;
    let (name, key) = text.split_once("=>").ok_or("expected result=>key")?;
    let brackets = |text: &str| {
        text.trim()
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .map(str::to_owned)
    };
    let parse = |text: &str| (inner.parse)(text.trim().as_bytes());
    let part = match key.trim() {
        "rows" => Part::Rows,
        "cols" => Part::Columns,
        key => match (key.strip_prefix("colname").and_then(brackets), brackets(key)) {
            (Some(column), _) => Part::Name(parse(&column)?),
            (None, Some(place)) => {
                // an index may itself be a pseudo-variable with commas in it: the first one outside parentheses counts
                let mut depth = 0i32;
                let comma = place.char_indices().find(|(_, c)| {
                    depth += i32::from(*c == '(') - i32::from(*c == ')');
                    *c == ',' && depth == 0
                });
                let (at, _) = comma.ok_or("expected [row,col]")?;
                let (row, column) = place.split_at(at);
                Part::Cell(parse(row)?, parse(column.trim_start_matches(','))?)
            }
            _ => return Err(format!("{key:?} is none of rows, cols, [row,col], colname[col]")),
        },
    };
    Ok(PvData::Other(Box::new((
        Box::<[u8]>::from(name.trim().as_bytes()),
        part,
    ))))
}

fn index(format: &Format, env: &Env<'_>) -> Option<usize> {
    usize::try_from(Value::Str(format.expand(env)).to_int()).ok()
}

fn dbr<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let Some((name, part)) = spec.other::<(Box<[u8]>, Part)>() else {
        return Value::Null;
    };
    let rows = env.state::<SqlOps>().and_then(|state| state.result(env, name));
    let count = |n: usize| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
    match (part, rows) {
        (Part::Rows, rows) => count(rows.map_or(0, |rows| rows.len())),
        (Part::Columns, rows) => count(rows.map_or(0, |rows| rows.names().len())),
        (_, None) => Value::Null,
        (Part::Name(column), Some(rows)) => {
            let name = index(column, env).and_then(|column| rows.names().get(column));
            name.map_or(Value::Null, |name| Value::owned(name.as_bytes()))
        }
        (Part::Cell(row, column), Some(rows)) => {
            let cell = index(row, env).and_then(|row| rows.at(row)?.at(index(column, env)?));
            cell.map_or(Value::Null, |cell| value_of(cell).into_owned())
        }
    }
}

fn sqlrows<'e>(env: &'e Env<'_>, spec: &'e PvSpec) -> Value<'e> {
    let name = spec.text(env);
    let connection = env.state::<SqlOps>().and_then(|state| state.connection(&name));
    connection.map_or(Value::Null, |connection| {
        Value::Int(i64::try_from(connection.affected.load(Ordering::Relaxed)).unwrap_or(i64::MAX))
    })
}
