//! Rows of the database as an answer.

use serde_json::Value as Json;
use shared::db::Backend;
use shared::db::Row;
use shared::db::Select;
use shared::db::Value;
use shared::report::Report;

use crate::Error;

/// The rows a query finds, under the columns' own names.
pub(crate) fn report(db: &mut dyn Backend, select: &Select<'_>) -> Result<Report, Error> {
    let rows = db.query(select)?;
    let columns: Vec<&str> = rows.names().iter().map(String::as_str).collect();
    let mut report = Report::rows(&columns);
    for row in rows.iter() {
        report.push(row.cells().iter().map(json));
    }
    Ok(report)
}

/// One cell for people and programs: dates in local time.
pub(crate) fn json(cell: &Value) -> Json {
    match cell {
        Value::Null => Json::Null,
        Value::Int(n) => Json::from(*n),
        Value::Double(d) => Json::from(*d),
        Value::Text(_) | Value::Blob(_) | Value::DateTime(_) => Json::from(cell.to_string()),
    }
}

/// A cell of a row by its column.
pub(crate) fn cell(row: Row<'_>, column: &str) -> Json {
    row.get(column).map_or(Json::Null, json)
}
