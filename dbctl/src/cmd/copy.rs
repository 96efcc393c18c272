//! `dbctl copy [FROM] TO`: every known table into another database, whatever the engines.

use serde_json::json;
use shared::db;
use shared::db::Access;
use shared::db::Insert;
use shared::db::Kind;
use shared::db::Select;
use shared::db::Url;
use shared::db::schema;

use super::counted;
use super::create;
use super::known_version_table;
use super::restore;
use crate::Answer;
use crate::Error;
use crate::context::Context;
use crate::context::open;

/// Rows of which a terminal is shown how many are done.
pub(super) const MANY: u64 = 5_000;

/// Copies all tables, in one transaction of the target.
pub(super) fn copy(context: &Context<'_>, databases: &[String]) -> Result<Answer, Error> {
    let (from, to) = match databases {
        [from, to] => (context.named(Some(from))?, context.named(Some(to))?),
        [to] => (context.url.clone(), context.named(Some(to))?),
        _ => {
            return Err(Error::Usage(
                "copy takes a target, or a source and a target".to_owned(),
            ));
        }
    };
    if same(&from, &to) {
        return Err(Error::SameDatabase(to.to_string()));
    }
    let mut source = open(&from, Access::Existing)?;
    known_version_table(&mut *source)?;
    let names: Vec<String> = source
        .tables()?
        .into_iter()
        .filter(|n| n != "version" && schema::table(n).is_some())
        .collect();
    let mut total = 0;
    for name in &names {
        schema::check_versions(&mut *source, &[name])?;
        total += source.count(&Select::from(name))?;
    }
    let new_file = to.engine == db::Engine::Sqlite && to.path().is_some_and(|path| !path.exists());
    let mut target = create::make_database(context, &to)?;
    refuse_rows(context, &mut *target, &names)?;
    let bar = context.progress(total, MANY);
    let copied = db::transaction(&mut *target, |target| {
        let mut rows = 0;
        for name in &names {
            let Some(table) = schema::table(name) else {
                continue;
            };
            let columns = source.columns(name)?;
            let described: Vec<(String, Kind)> = columns.iter().map(|c| (c.name.clone(), c.kind)).collect();
            restore::prepare(target, table, &described)?;
            let column_names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            let mut batch = Vec::with_capacity(restore::BATCH);
            source.each(&Select::from(name), &mut |row| {
                let mut cells = row.cells().to_vec();
                restore::dated(table, &column_names, &mut cells);
                batch.push(cells);
                rows += 1;
                if batch.len() == restore::BATCH {
                    bar.inc(batch.len() as u64);
                    target.insert(&Insert::rows(name, &column_names, std::mem::take(&mut batch)))?;
                }
                Ok(())
            })?;
            bar.inc(batch.len() as u64);
            target.insert(&Insert::rows(name, &column_names, batch))?;
            restore::finish(target, table)?;
        }
        Ok::<usize, Error>(rows)
    });
    bar.finish_and_clear();
    if copied.is_err() && new_file {
        drop(target);
        let _ = std::fs::remove_file(&to.name);
    }
    let rows = copied?;
    let words = format!(
        "copied {} with {} from {from} to {to}",
        counted(names.len(), "table"),
        counted(rows, "row")
    );
    let data = json!({"from": from.to_string(), "to": to.to_string(), "tables": names.len(), "rows": rows});
    Ok(Answer::new(words, data))
}

fn refuse_rows(context: &Context<'_>, target: &mut dyn db::Backend, names: &[String]) -> Result<(), Error> {
    let exist = target.tables()?;
    let mut held = Vec::new();
    for name in names.iter().filter(|name| exist.contains(name)) {
        if target.count(&Select::from(name))? > 0 {
            held.push(name.as_str());
        }
    }
    if held.is_empty() {
        return Ok(());
    }
    context.confirm(&format!(
        "this replaces what {} holds ({})",
        target.url(),
        held.join(", ")
    ))
}

fn same(a: &Url, b: &Url) -> bool {
    match (a.path(), b.path()) {
        (Some(a), Some(b)) => {
            a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
        }
        _ => {
            a.engine == b.engine
                && a.host == b.host
                && a.port_or_default() == b.port_or_default()
                && a.name == b.name
        }
    }
}
