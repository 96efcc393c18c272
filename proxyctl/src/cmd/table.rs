//! Rows of the database as an answer.

use serde_json::Value as Json;
use shared::db::Backend;
use shared::db::Row;
use shared::db::Select;
use shared::db::Value;
use shared::report::Report;

use crate::Answer;
use crate::Error;
use crate::context::Context;
use crate::printer::Printer;

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

/// Shows the rows a query finds, while they are read.
pub(crate) fn show(
    context: &Context<'_>,
    db: &mut dyn Backend,
    select: &Select<'_>,
) -> Result<Answer, Error> {
    let (mut printer, mut failed) = (None::<Printer>, None);
    db.each(select, &mut |row| {
        let printer = printer.get_or_insert_with(|| {
            let columns: Vec<&str> = row.names().iter().map(String::as_str).collect();
            Printer::new(context.output, &columns)
        });
        if failed.is_none() {
            failed = printer.push(row.cells().iter().map(json)).err();
        }
        Ok(())
    })?;
    match (printer, failed) {
        (_, Some(error)) => Err(Error::Print(error.to_string())),
        (Some(printer), None) => printer.finish(),
        (None, None) => {
            let all: Vec<String> = db.columns(select.table)?.into_iter().map(|c| c.name).collect();
            let columns: Vec<&str> = if select.columns.is_empty() {
                all.iter().map(String::as_str).collect()
            } else {
                select.columns.clone()
            };
            Ok(Answer::report(Report::rows(&columns)))
        }
    }
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

/// The answer to a change, after telling the daemon by the method that reads the table again.
pub(crate) fn changed(context: &Context<'_>, words: &str, mut data: Json, reload: &str) -> Answer {
    let live = context.reload(reload);
    if let Some(object) = data.as_object_mut() {
        object.insert("live".to_owned(), Json::from(live.is_live()));
    }
    Answer::new(format!("{words}{}", live.words()), data)
}

/// The answer to `reload`.
pub(crate) fn reloaded(context: &Context<'_>, table: &str, method: &str) -> Result<Answer, Error> {
    context.call(method, &[])?;
    Ok(Answer::new(
        format!("{table} reloaded"),
        serde_json::json!({ "reloaded": table }),
    ))
}
