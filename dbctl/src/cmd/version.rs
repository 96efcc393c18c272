//! `dbctl version [TABLE]`: versions found beside those this program knows.

use serde_json::json;
use shared::db;
use shared::db::schema;
use shared::report::Report;

use super::known_version_table;
use crate::Answer;
use crate::Error;
use crate::context::Context;

/// Lists versions of all tables, or tells that of one.
pub(super) fn version(context: &Context<'_>, table: Option<&str>) -> Result<Answer, Error> {
    let mut db = context.read()?;
    known_version_table(&mut *db)?;
    let found = schema::versions(&mut *db)?;
    if let Some(name) = table {
        let wanted = schema::table(name).map(|table| table.version);
        return match found.get(name) {
            Some(version) => {
                let data = json!({"table": name, "version": version, "wanted": wanted});
                Ok(Answer::new(version.to_string(), data))
            }
            None if wanted.is_none() => {
                let similar = super::similar(name, schema::TABLES.iter().map(|table| table.name));
                Err(Error::UnknownTable {
                    name: name.to_owned(),
                    similar,
                })
            }
            None => Err(db::Error::NoTable {
                url: context.url.to_string(),
                table: name.to_owned(),
            }
            .into()),
        };
    }
    let mut report = Report::rows(&["table", "version", "wanted", "state"]);
    for (name, version) in &found {
        let known = schema::table(name);
        report.push([
            json!(name),
            json!(version),
            json!(known.map(|t| t.version)),
            json!(state(known, *version)),
        ]);
    }
    Ok(Answer {
        data: report,
        words: None,
    })
}

/// One word about a version.
pub(super) fn state(known: Option<&schema::Table>, version: i64) -> &'static str {
    match known {
        None => "unknown",
        Some(table) if table.accepts(version) => "ok",
        Some(table) if version > i64::from(table.version) => "newer",
        Some(_) => "older",
    }
}
