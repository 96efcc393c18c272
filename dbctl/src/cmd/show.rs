//! `dbctl show [TABLE]`: the tables with their sizes, or the rows of one.

use serde_json::Value;
use serde_json::json;
use shared::db;
use shared::db::Select;
use shared::db::schema;
use shared::report::Report;

use crate::Answer;
use crate::Error;
use crate::context::Context;

/// Columns that let their reader in.
const SECRETS: [&str; 6] = [
    "password",
    "ha1",
    "ha1b",
    "auth_password",
    "auth_ha1",
    "ha1_sha256",
];

/// Lists the tables.
pub(super) fn tables(context: &Context<'_>) -> Result<Answer, Error> {
    let mut db = context.read()?;
    let names = db.tables()?;
    let versions = if names.iter().any(|n| n == "version") {
        schema::versions(&mut *db)?
    } else {
        Default::default()
    };
    let mut report = Report::rows(&["table", "rows", "version", "group", "module"]);
    for name in names {
        let known = schema::table(&name);
        let rows = db.count(&Select::from(&name))?;
        let (group, module) = (known.map(|t| t.group.as_str()), known.map(|t| t.module));
        report.push([
            json!(name),
            json!(rows),
            json!(versions.get(&name)),
            json!(group),
            json!(module),
        ]);
    }
    Ok(Answer {
        data: report,
        words: None,
    })
}

/// Lists the rows of a table; secrets only when asked for.
pub(super) fn rows(
    context: &Context<'_>,
    table: &str,
    limit: Option<u64>,
    secrets: bool,
) -> Result<Answer, Error> {
    let mut db = context.read()?;
    if !db.table_exists(table)? && schema::table(table).is_none() {
        let similar = super::similar(table, schema::TABLES.iter().map(|table| table.name));
        return Err(Error::UnknownTable {
            name: table.to_owned(),
            similar,
        });
    }
    let columns = db.columns(table)?;
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let hidden: Vec<bool> = names
        .iter()
        .map(|name| !secrets && SECRETS.contains(name))
        .collect();
    let mut select = Select::from(table);
    select.limit = limit;
    let mut report = Report::rows(&names);
    db.each(&select, &mut |row| {
        let cells = row.cells().iter().zip(&hidden);
        report.push(cells.map(|(value, hide)| {
            if *hide && !is_empty(value) {
                json!("***")
            } else {
                shown(value)
            }
        }));
        Ok(())
    })?;
    Ok(Answer {
        data: report,
        words: None,
    })
}

fn is_empty(value: &db::Value) -> bool {
    value.is_null() || value.as_bytes().is_some_and(<[u8]>::is_empty)
}

fn shown(value: &db::Value) -> Value {
    match value {
        db::Value::Null => Value::Null,
        db::Value::Int(n) => json!(n),
        db::Value::Double(d) => json!(d),
        db::Value::Text(_) | db::Value::Blob(_) | db::Value::DateTime(_) => json!(value.to_string()),
    }
}
