//! `dbctl copy [FROM] TO`: every known table into another database, whatever the engines.

use serde_json::json;
use shared::db;
use shared::db::Access;
use shared::db::Select;
use shared::db::Url;
use shared::db::schema;

use super::backup;
use super::counted;
use super::create;
use super::fill;
use super::fill::Filling;
use super::known_version_table;
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
    let new_file = create::is_new_file(&to);
    let mut target = create::make_database(context, &to)?;
    let copied = backup::of_one_state(&mut *source, |source| pour(context, source, &mut *target));
    if copied.is_err() && new_file {
        drop(target);
        create::discard(&to);
    }
    let Copied {
        tables,
        rows,
        skipped,
    } = copied?;
    let words = format!(
        "copied {} with {} from {from} to {to}{}",
        counted(tables, "table"),
        counted(rows, "row"),
        backup::left_out(&skipped)
    );
    let data = json!({"from": from.to_string(), "to": to.to_string(), "tables": tables, "rows": rows, "skipped": skipped});
    Ok(Answer::new(words, data))
}

struct Copied {
    tables: usize,
    rows: usize,
    skipped: Vec<String>,
}

fn pour(
    context: &Context<'_>,
    source: &mut dyn db::Backend,
    target: &mut dyn db::Backend,
) -> Result<Copied, Error> {
    let (layouts, skipped) = backup::layouts(source)?;
    let names: Vec<&str> = layouts.iter().map(|layout| layout.table.name).collect();
    schema::check_versions(source, &names)?;
    refuse_rows(context, target, &names)?;
    let mut total = 0;
    for name in &names {
        total += source.count(&Select::from(name))?;
    }
    fill::prepare(target, &layouts)?;
    let bar = context.progress(total, MANY);
    let rows = db::transaction(target, |target| {
        let mut rows = 0;
        for layout in &layouts {
            let mut filling = Filling::begin(target, layout)?;
            source.each(&Select::from(layout.table.name), &mut |row| {
                rows += 1;
                bar.inc(1);
                filling.push(target, row.cells().to_vec())
            })?;
            filling.finish(target)?;
        }
        Ok::<usize, Error>(rows)
    });
    bar.finish_and_clear();
    Ok(Copied {
        tables: layouts.len(),
        rows: rows?,
        skipped,
    })
}

fn refuse_rows(context: &Context<'_>, target: &mut dyn db::Backend, names: &[&str]) -> Result<(), Error> {
    let exist = target.tables()?;
    let mut held = Vec::new();
    for name in names
        .iter()
        .filter(|name| exist.iter().any(|table| table == *name))
    {
        if target.count(&Select::from(name))? > 0 {
            held.push(*name);
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
