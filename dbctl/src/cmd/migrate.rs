//! `dbctl migrate [--dry-run]`: older tables get the columns and indexes they lack, in one transaction.

use serde_json::json;
use shared::db;
use shared::db::schema;
use shared::report::Report;

use super::counted;
use crate::Answer;
use crate::Error;
use crate::context::Context;

/// Plans the upgrade, and carries it out unless it is only to be shown.
pub(super) fn migrate(context: &Context<'_>, dry_run: bool) -> Result<Answer, Error> {
    let mut db = if dry_run { context.read()? } else { context.open()? };
    let plan = if dry_run {
        schema::plan(&mut *db)?
    } else {
        db::transaction(&mut *db, |db| {
            let plan = schema::plan(db)?;
            refuse_newer(&plan)?;
            schema::apply(db, &plan)?;
            Ok::<_, Error>(plan)
        })?
    };
    refuse_newer(&plan)?;
    if plan.steps.is_empty() {
        let words = format!("every table of {} has its version, nothing to do", context.url);
        return Ok(Answer {
            data: report(&plan),
            words: Some(words),
        });
    }
    let mut words = String::new();
    for step in &plan.steps {
        let changes = step.changes.join(", ");
        words.push_str(&format!(
            "{} {} -> {}: {changes}\n",
            step.table, step.found, step.wanted
        ));
    }
    let tables = counted(plan.steps.len(), "table");
    words.push_str(&if dry_run {
        format!("{tables} would change")
    } else {
        format!("{tables} changed")
    });
    Ok(Answer {
        data: report(&plan),
        words: Some(words),
    })
}

fn refuse_newer(plan: &schema::Plan) -> Result<(), Error> {
    match plan.newer.first() {
        Some((table, found, known)) => Err(Error::Newer(format!(
            "table `{table}` has version {found}, the newest known is {known}"
        ))),
        None => Ok(()),
    }
}

fn report(plan: &schema::Plan) -> Report {
    let mut report = Report::rows(&["table", "found", "wanted", "changes"]);
    for step in &plan.steps {
        report.push([
            json!(step.table),
            json!(step.found),
            json!(step.wanted),
            json!(step.changes.join(", ")),
        ]);
    }
    report
}
