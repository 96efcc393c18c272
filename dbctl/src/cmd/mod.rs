//! The commands, one noun or verb a file.

mod backup;
mod check;
mod copy;
mod create;
mod destroy;
mod fill;
mod grant;
mod migrate;
mod restore;
mod show;
mod version;

use serde_json::Value;
use shared::db;
use shared::db::schema;
use shared::report::Report;

use crate::Answer;
use crate::Error;
use crate::args::Command;
use crate::context::Context;

/// Runs one command.
pub(crate) fn run(context: &Context<'_>, command: &Command) -> Result<Answer, Error> {
    match command {
        Command::Create {
            name,
            presence,
            extra,
            uid,
            all,
        } => {
            let wanted = create::Optional {
                presence: *presence || *all,
                extra: *extra || *all,
                uid: *uid,
            };
            create::create(context, &context.named(name.as_deref())?, wanted)
        }
        Command::Drop { name } => destroy::destroy(context, &context.named(name.as_deref())?),
        Command::Reinit { name } => destroy::reinit(context, &context.named(name.as_deref())?),
        Command::Version { table } => version::version(context, table.as_deref()),
        Command::Show { table: None, .. } => show::tables(context),
        Command::Show {
            table: Some(table),
            limit,
            secrets,
        } => show::rows(context, table, *limit, *secrets),
        Command::Presence => create::add(context, &["presence".to_owned()]),
        Command::Extra => create::add(context, &["extra".to_owned()]),
        Command::Dbuid => create::add(context, &["uid".to_owned()]),
        Command::AddTables { groups } => create::add(context, groups),
        Command::Dbonly { name } => create::empty(context, &context.named(name.as_deref())?),
        Command::Backup { file } => backup::backup(context, file),
        Command::Restore { file } => restore::restore(context, file),
        Command::Copy { databases } => copy::copy(context, databases),
        Command::Migrate { dry_run } => migrate::migrate(context, *dry_run),
        Command::Check => check::check(context),
        Command::Grant { name } => grant::grant(context, &context.named(name.as_deref())?),
        Command::Revoke { name } => grant::revoke(context, &context.named(name.as_deref())?),
    }
}

impl Answer {
    /// The answer of what has written its own.
    pub(crate) fn nothing() -> Self {
        Self {
            data: Report::Text(String::new()),
            words: None,
        }
    }

    pub(crate) fn new(words: String, data: Value) -> Self {
        Self {
            data: Report::Tree(data),
            words: Some(words),
        }
    }
}

/// `1 table`, `2 tables`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

/// The known word that differs least from one nobody knows, if any is near.
pub(crate) fn similar(word: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let near = known
        .map(|candidate| (distance(word, candidate), candidate))
        .min()?;
    (near.0 <= 2.min(word.len() / 2)).then_some(near.1)
}

/// The words `add-tables` takes.
pub(crate) fn group_words() -> impl Iterator<Item = &'static str> {
    let groups = schema::Group::ALL.iter().map(|(_, word)| *word);
    groups.chain(schema::TABLES.iter().flat_map(|table| [table.module, table.name]))
}

/// Opens what must exist; a database without the table `version` is none of ours.
pub(crate) fn known_version_table(db: &mut dyn db::Backend) -> Result<(), Error> {
    if db.table_exists("version")? {
        return Ok(());
    }
    Err(db::Error::NoTable {
        url: db.url().to_string(),
        table: "version".to_owned(),
    }
    .into())
}

/// Levenshtein distance, a row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (slot, y) in row.iter_mut().skip(1).zip(&b) {
            let above = *slot;
            left = (above + 1).min(left + 1).min(diagonal + usize::from(x != *y));
            diagonal = above;
            *slot = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
