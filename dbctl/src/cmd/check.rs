//! `dbctl check`: versions, columns, rows that mean nothing, and the soundness of the file.

mod rows;

use serde_json::json;
use shared::db;
use shared::db::Backend;
use shared::db::Engine;
use shared::db::schema;
use shared::db::schema::Group;
use shared::report::Report;

use super::counted;
use super::known_version_table;
use super::version::state;
use crate::Answer;
use crate::Error;
use crate::context::Context;

/// Looks at every table that exists and every standard one; a fault makes the command fail after all are shown.
pub(super) fn check(context: &Context<'_>) -> Result<Answer, Error> {
    let mut db = context.read()?;
    known_version_table(&mut *db)?;
    sound(&mut *db)?;
    let exist = db.tables()?;
    let versions = schema::versions(&mut *db)?;
    let mut report = Report::rows(&["table", "version", "wanted", "state", "missing", "rows", "layout"]);
    let mut faults = Vec::new();
    for table in schema::TABLES {
        let version = versions.get(table.name).copied().unwrap_or(0);
        let present = exist.iter().any(|name| name == table.name);
        let (state, missing, layout, wrong) = match (present, version) {
            (false, 0) if table.group != Group::Standard => continue,
            (false, _) => ("missing", String::new(), Vec::new(), Vec::new()),
            (true, version) => {
                let columns = db.columns(table.name)?;
                let has = |name: &str| {
                    columns
                        .iter()
                        .any(|column| column.name.eq_ignore_ascii_case(name))
                };
                let missing: Vec<&str> = table
                    .columns
                    .iter()
                    .map(|c| c.name)
                    .filter(|name| !has(name))
                    .collect();
                let by_version = state(Some(table), version);
                let state = if by_version == "ok" && !missing.is_empty() {
                    "incomplete"
                } else {
                    by_version
                };
                let layout = if state == "ok" {
                    schema::drift(&mut *db, table)?
                } else {
                    Vec::new()
                };
                let wrong = if state == "ok" {
                    rows::wrong(&mut *db, table.name, &exist)?
                } else {
                    Vec::new()
                };
                let state = match (layout.is_empty(), wrong.is_empty()) {
                    (true, true) => state,
                    (false, _) => "drifted",
                    (true, false) => "rows",
                };
                (state, missing.join(", "), layout, wrong)
            }
        };
        if state != "ok" {
            faults.push(fault(table, state, version, &missing, &layout, &wrong));
        }
        report.push([
            json!(table.name),
            json!(version),
            json!(table.version),
            json!(state),
            json!(missing),
            json!(wrong.join("; ")),
            json!(layout.join("; ")),
        ]);
    }
    if let Some(first) = faults.first() {
        return Err(Error::Faults {
            url: context.url.to_string(),
            count: faults.len(),
            first: first.clone(),
            report: Box::new(report),
        });
    }
    let words = format!("{} is sound: {}", context.url, counted(report.len(), "table"));
    Ok(Answer {
        data: report,
        words: Some(words),
    })
}

fn fault(
    table: &schema::Table,
    state: &str,
    version: i64,
    missing: &str,
    layout: &[String],
    wrong: &[String],
) -> String {
    let name = table.name;
    match state {
        "missing" => format!("table `{name}` does not exist, run `dbctl add-tables {name}`"),
        "incomplete" => format!("table `{name}` lacks {missing}, run `dbctl migrate`"),
        "drifted" => format!("table `{name}`: {}", layout.join("; ")),
        "rows" => format!("table `{name}`: {}", wrong.join("; ")),
        "newer" => format!(
            "table `{name}` has version {version}, the newest known is {}",
            table.version
        ),
        _ => format!(
            "table `{name}` has version {version}, wanted is {}, run `dbctl migrate`",
            table.version
        ),
    }
}

fn sound(db: &mut dyn Backend) -> Result<(), Error> {
    if db.engine() != Engine::Sqlite {
        return Ok(());
    }
    let answer = db.raw("PRAGMA integrity_check(1)", &[])?;
    match answer
        .rows
        .first()
        .and_then(|row| row.at(0)?.as_str().map(str::to_owned))
    {
        Some(verdict) if verdict != "ok" => {
            let reason = format!("the file is damaged: {verdict}; restore a backup");
            Err(db::Error::Engine {
                url: db.url().to_string(),
                reason,
            }
            .into())
        }
        _ => Ok(()),
    }
}
