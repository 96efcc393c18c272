//! `db`: SQL and tables by hand (Kamailio kamctl).

use std::os::unix::process::CommandExt as _;
use std::process;

use clap::Subcommand;
use serde_json::json;
use shared::db;
use shared::db::Access;
use shared::db::Backend;
use shared::db::Engine;
use shared::db::Outcome;
use shared::db::Select;
use shared::db::Url;
use shared::db::Value;
use shared::db::schema;
use shared::report::Report;

use super::table;
use crate::Answer;
use crate::Error;
use crate::check;
use crate::context::Context;

pub(crate) const EXAMPLES: &str = "\
Examples:
  proxyctl db show subscriber
  proxyctl db smatch location username alice
  proxyctl db exec \"UPDATE subscriber SET domain='example.org' WHERE domain='vm'\"
  proxyctl db roexec 'SELECT count(*) FROM location'
  QUERY='SELECT 1' proxyctl db run QUERY
  proxyctl db connect                      the engine's own client
  proxyctl db version location";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run an SQL statement
    #[command(
        visible_alias = "query",
        after_help = "Examples:\n  proxyctl db exec \"DELETE FROM acc\""
    )]
    Exec {
        /// Statement in the engine's SQL
        query: String,
    },
    /// Run an SQL statement that must not change anything
    #[command(
        visible_alias = "roquery",
        after_help = "Examples:\n  proxyctl db roexec 'SELECT count(*) FROM location'"
    )]
    Roexec {
        /// Statement in the engine's SQL
        query: String,
    },
    /// Run the SQL statement in a variable of the environment or the resource file
    #[command(after_help = "Examples:\n  QUERY='SELECT 1' proxyctl db run QUERY")]
    Run {
        /// Variable
        id: String,
    },
    /// The same, for a statement that must not change anything
    #[command(after_help = "Examples:\n  QUERY='SELECT 1' proxyctl db rorun QUERY")]
    Rorun {
        /// Variable
        id: String,
    },
    /// Rows of a table
    #[command(
        visible_alias = "showg",
        after_help = "Examples:\n  proxyctl db show subscriber --limit 10"
    )]
    Show {
        /// Table
        table: String,
        /// At most so many
        #[arg(long)]
        limit: Option<u64>,
    },
    /// Rows whose column equals a text
    #[command(after_help = "Examples:\n  proxyctl db smatch subscriber username alice")]
    Smatch {
        /// Table
        table: String,
        /// Column
        key: String,
        /// Text
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Rows whose column equals a number
    #[command(after_help = "Examples:\n  proxyctl db nmatch address grp 200")]
    Nmatch {
        /// Table
        table: String,
        /// Column
        key: String,
        /// Number
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Start the engine's own client on the database
    #[command(after_help = "Examples:\n  proxyctl db connect")]
    Connect,
    /// Versions of the tables, or one
    #[command(
        after_help = "Examples:\n  proxyctl db version\n  proxyctl db version location\n  proxyctl db version set mytable 1"
    )]
    Version {
        /// Table, or add, set or update
        table: Option<String>,
        /// Table, after add, set or update
        name: Option<String>,
        /// Version, after add, set or update
        version: Option<String>,
    },
}

/// Runs it.
pub(crate) fn run(context: &Context<'_>, verb: &Verb) -> Result<Answer, Error> {
    match verb {
        Verb::Exec { query } => execute(context, query, Access::Existing),
        Verb::Roexec { query } => execute(context, query, Access::ReadOnly),
        Verb::Run { id } => execute(context, &statement(context, id)?, Access::Existing),
        Verb::Rorun { id } => execute(context, &statement(context, id)?, Access::ReadOnly),
        Verb::Show { table, limit } => {
            let mut select = Select::from(table);
            if let Some(limit) = limit {
                select = select.limit(*limit);
            }
            rows(context, &select)
        }
        Verb::Smatch { table, key, value } => rows(context, &Select::from(table).eq(key, value)),
        Verb::Nmatch { table, key, value } => {
            let number = check::number("the value", value, i64::MIN, i64::MAX)?;
            rows(context, &Select::from(table).eq(key, number))
        }
        Verb::Connect => connect(&context.url()?),
        Verb::Version { table: None, .. } => versions(context, None),
        Verb::Version {
            table: Some(word),
            name: Some(name),
            version,
        } if matches!(word.as_str(), "add" | "set" | "update") => {
            let version = version.as_deref().unwrap_or_default();
            let number =
                u32::try_from(check::number("the version", version, 0, i64::from(i32::MAX))?).unwrap_or(0);
            set_version(context, word, name, number)?;
            Ok(Answer::new(
                format!("version of {name} is {number}"),
                json!({ "table_name": name, "table_version": number }),
            ))
        }
        Verb::Version {
            table: Some(table), ..
        } => versions(context, Some(table)),
    }
}

fn statement(context: &Context<'_>, id: &str) -> Result<String, Error> {
    context.settings.get(id).ok_or_else(|| Error::NotFound {
        what: "variable",
        name: id.to_owned(),
        hint: " in the environment or the resource file".to_owned(),
    })
}

fn rows(context: &Context<'_>, select: &Select<'_>) -> Result<Answer, Error> {
    let mut db = context.read(&[])?;
    if !db.table_exists(select.table)? {
        return Err(Error::NotFound {
            what: "table",
            name: select.table.to_owned(),
            hint: ": `dbctl show` lists them".to_owned(),
        });
    }
    table::show(context, db.as_mut(), select)
}

fn execute(context: &Context<'_>, query: &str, access: Access) -> Result<Answer, Error> {
    let mut db = db::open_with(&context.url()?, access)?;
    let Outcome { rows, affected } = match guarded(db.as_mut(), query, access) {
        Err(Error::Database(db::Error::ReadOnly(_))) if access == Access::ReadOnly => {
            return Err(Error::Usage(
                "the statement changes the database: run it with `proxyctl db exec`".to_owned(),
            ));
        }
        outcome => outcome?,
    };
    if rows.names().is_empty() {
        return Ok(Answer::new(
            match affected {
                1 => "1 row changed".to_owned(),
                n => format!("{n} rows changed"),
            },
            json!({ "affected": affected }),
        ));
    }
    let columns: Vec<&str> = rows.names().iter().map(String::as_str).collect();
    let mut report = Report::rows(&columns);
    for row in rows.iter() {
        report.push(row.cells().iter().map(table::json));
    }
    Ok(Answer::report(report))
}

/// Runs a statement; one that must not change anything runs where a server refuses changes.
fn guarded(db: &mut dyn Backend, query: &str, access: Access) -> Result<Outcome, Error> {
    if access != Access::ReadOnly || !db.engine().is_server() {
        return Ok(db.raw(query, &[])?);
    }
    if db.engine() == Engine::MySql {
        db.raw("SET SESSION TRANSACTION READ ONLY", &[])?;
    }
    db.begin()?;
    if db.engine() == Engine::Postgres {
        db.raw("SET TRANSACTION READ ONLY", &[])?;
    }
    let outcome = db.raw(query, &[]);
    // It cannot have changed anything; the answer counts.
    let _ = db.rollback();
    Ok(outcome?)
}

/// `add` refuses a table that has a version, `update` one that has none.
fn set_version(context: &Context<'_>, word: &str, name: &str, number: u32) -> Result<(), Error> {
    check::word("name of the table", name, 32)?;
    let mut db = context.open(&[])?;
    db::transaction(db.as_mut(), |db| {
        let row = Select::from("version").eq("table_name", Value::from(name));
        match (word, db.count(&row)?) {
            ("add", 1..) => Err(Error::Exists {
                what: "version of table",
                name: name.to_owned(),
                hint: ": `proxyctl db version set` changes it",
            }),
            ("update", 0) => Err(Error::NotFound {
                what: "version of table",
                name: name.to_owned(),
                hint: ": `proxyctl db version add` gives it one".to_owned(),
            }),
            _ => Ok(schema::set_version(db, name, number)?),
        }
    })
}

fn versions(context: &Context<'_>, only: Option<&str>) -> Result<Answer, Error> {
    let mut db = context.read(&[])?;
    let mut select = Select::from("version")
        .columns(&["table_name", "table_version"])
        .order_by("table_name");
    if let Some(name) = only {
        select = select.eq("table_name", Value::from(name));
    }
    let report = table::report(db.as_mut(), &select)?;
    match only {
        Some(name) if report.is_empty() => Err(Error::not_found("table", name)),
        _ => Ok(Answer::report(report)),
    }
}

/// Becomes the client; the password goes by the environment, where other users cannot read it.
fn connect(url: &Url) -> Result<Answer, Error> {
    let port = url.port_or_default().to_string();
    let user = url.user.clone().unwrap_or_default();
    let password = url.password.clone().unwrap_or_default();
    let (program, mut command) = match url.engine {
        Engine::Sqlite => {
            let mut command = process::Command::new("sqlite3");
            command.arg(&url.name);
            ("sqlite3", command)
        }
        Engine::MySql => {
            let mut command = process::Command::new("mysql");
            command
                .args(["-h", &url.host, "-P", &port, "-u", &user, &url.name])
                .env("MYSQL_PWD", password);
            ("mysql", command)
        }
        Engine::Postgres => {
            let mut command = process::Command::new("psql");
            command
                .args(["-h", &url.host, "-p", &port, "-U", &user, &url.name])
                .env("PGPASSWORD", password);
            ("psql", command)
        }
        Engine::Text => {
            return Err(db::Error::Unsupported {
                engine: "text",
                what: "a client",
            }
            .into());
        }
    };
    let error = command.exec();
    Err(Error::file("start", program, &error))
}
