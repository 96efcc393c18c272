//! The difference between the rows that should be there and those that are, and its way into the database.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use indicatif::ProgressBar;
use shared::db::Backend;
use shared::db::Delete;
use shared::db::Insert;
use shared::db::Row;
use shared::db::Select;
use shared::db::Update;
use shared::db::Value;

use super::Item;
use super::KINDS;
use super::Kind;
use super::SUBSCRIBERS;
use crate::Error;
use crate::clock;
use crate::cmd::subscriber;
use crate::cmd::subscriber::Credentials;
use crate::cmd::subscriber::Storage;
use crate::user::User;

/// Rows in one statement.
const BATCH: usize = 200;

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Add,
    Change,
    Remove,
}

/// Whether rows that nobody lists are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Prune {
    No,
    /// Those of these sections.
    Sections(BTreeSet<&'static str>),
}

/// One row's fate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) action: Action,
    pub(crate) kind: &'static Kind,
    pub(crate) title: String,
    /// What changes, in words.
    pub(crate) details: String,
    id: i64,
    cells: Vec<(&'static str, Value)>,
    /// The subscriber that is removed, with what belongs to it.
    gone: Option<User>,
}

/// Every change, in the order of its making.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) changes: Vec<Change>,
}

/// A row that is there.
struct Present {
    id: i64,
    values: BTreeMap<&'static str, String>,
}

impl Present {
    /// The subscriber to whom the row belongs.
    fn owner(&self, kind: &Kind, key: &[String]) -> Option<User> {
        let cell = |column: &str| {
            let at = kind.key.iter().position(|name| *name == column);
            at.and_then(|index| key.get(index))
                .or_else(|| self.values.get(column))
                .cloned()
        };
        Some(User {
            name: cell("username")?,
            domain: cell("domain")?,
        })
    }
}

/// Compares; `storage` says how passwords are kept, unless a row keeps its own way.
pub(crate) fn plan(
    db: &mut dyn Backend,
    items: &[Item],
    prune: &Prune,
    storage: Option<Storage>,
) -> Result<Plan, Error> {
    let mut plan = Plan::default();
    let mut leaving = BTreeSet::new();
    for kind in KINDS {
        let wanted: Vec<&Item> = items.iter().filter(|item| item.kind.name == kind.name).collect();
        let is_pruned = matches!(prune, Prune::Sections(sections) if sections.contains(kind.name));
        if wanted.is_empty() && !is_pruned {
            continue;
        }
        let mut present = rows(db, kind)?;
        let mut seen = BTreeMap::new();
        for item in wanted {
            if let Some(first) = seen.insert(&item.key, &item.origin) {
                return Err(Error::Usage(format!(
                    "{}: {} `{}` is listed already at {first}",
                    item.origin,
                    kind.noun,
                    item.title()
                )));
            }
            // What goes with its subscriber has to be made anew.
            let found = present.remove(&item.key).filter(|row| {
                !row.owner(kind, &item.key)
                    .is_some_and(|owner| leaving.contains(&owner))
            });
            plan.changes.extend(compared(item, found.as_ref(), storage)?);
        }
        if is_pruned && kind.name == SUBSCRIBERS.name {
            leaving.extend(present.keys().filter_map(|key| user(key)));
        }
        if is_pruned {
            plan.changes.extend(present.into_iter().map(|(key, row)| Change {
                action: Action::Remove,
                kind,
                title: kind.title(&key),
                details: String::new(),
                id: row.id,
                cells: Vec::new(),
                gone: (kind.name == SUBSCRIBERS.name).then(|| user(&key)).flatten(),
            }));
        }
    }
    Ok(plan)
}

impl Plan {
    /// How many changes of a sort.
    pub(crate) fn count(&self, action: Action) -> usize {
        self.changes
            .iter()
            .filter(|change| change.action == action)
            .count()
    }

    /// Subscribers that are removed.
    pub(crate) fn gone(&self) -> impl Iterator<Item = &User> {
        self.changes.iter().filter_map(|change| change.gone.as_ref())
    }

    /// Methods by which the daemon takes the changes over.
    pub(crate) fn reloads(&self) -> BTreeSet<&'static str> {
        self.changes
            .iter()
            .filter_map(|change| change.kind.reload)
            .collect()
    }

    /// Writes it; the caller has opened a transaction.
    pub(crate) fn write(&self, db: &mut dyn Backend, progress: &ProgressBar) -> Result<(), Error> {
        let now = Value::DateTime(clock::now());
        let belongings = if self.gone().next().is_some() {
            subscriber::belongings(db)?
        } else {
            Vec::new()
        };
        for change in self.changes.iter().filter(|change| change.action != Action::Add) {
            progress.inc(1);
            match change.action {
                Action::Add => {}
                Action::Change => {
                    let mut update = Update::table(change.kind.table).eq("id", change.id);
                    update.set = change.cells.clone();
                    if change.kind.is_stamped {
                        update = update.set("last_modified", now.clone());
                    }
                    db.update(&update)?;
                }
                Action::Remove => {
                    if let Some(user) = &change.gone {
                        subscriber::delete(db, &belongings, user)?;
                    }
                    db.delete(&Delete::from(change.kind.table).eq("id", change.id))?;
                }
            }
        }
        let mut added = self
            .changes
            .iter()
            .filter(|change| change.action == Action::Add)
            .peekable();
        while let Some(first) = added.next() {
            let columns: Vec<&str> = first.cells.iter().map(|(name, _)| *name).collect();
            let fits = |other: &&Change| {
                other.kind.name == first.kind.name
                    && other
                        .cells
                        .iter()
                        .map(|(name, _)| *name)
                        .eq(columns.iter().copied())
            };
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Some(next) = added.next_if(fits)
            {
                batch.push(next);
            }
            insert(db, &columns, &batch, &now)?;
            progress.inc(batch.len() as u64);
        }
        Ok(())
    }
}

fn insert(db: &mut dyn Backend, columns: &[&str], batch: &[&Change], now: &Value) -> Result<(), Error> {
    let Some(kind) = batch.first().map(|change| change.kind) else {
        return Ok(());
    };
    let stamp = kind.is_stamped.then_some(("last_modified", now));
    let columns: Vec<&str> = columns
        .iter()
        .copied()
        .chain(stamp.map(|(name, _)| name))
        .collect();
    let row = |change: &&Change| {
        let cells = change.cells.iter().map(|(_, value)| value.clone());
        cells.chain(stamp.map(|(_, now)| now.clone())).collect()
    };
    db.insert(&Insert::rows(
        kind.table,
        &columns,
        batch.iter().map(row).collect(),
    ))?;
    Ok(())
}

/// The rows of a table by their keys; of several with one key the first counts.
fn rows(db: &mut dyn Backend, kind: &'static Kind) -> Result<BTreeMap<Vec<String>, Present>, Error> {
    let columns: Vec<&str> = ["id"]
        .into_iter()
        .chain(kind.key.iter().copied())
        .chain(kind.values.iter().copied())
        .collect();
    let mut rows = BTreeMap::new();
    let text = |row: &Row<'_>, column: &str| row.get(column).map(Value::to_string).unwrap_or_default();
    db.each(
        &Select::from(kind.table).columns(&columns).order_by("id"),
        &mut |row| {
            let key: Vec<String> = kind.key.iter().map(|column| text(&row, column)).collect();
            let values = kind
                .values
                .iter()
                .map(|column| (*column, text(&row, column)))
                .collect();
            rows.entry(key).or_insert(Present {
                id: row.int("id").unwrap_or(0),
                values,
            });
            Ok(())
        },
    )?;
    Ok(rows)
}

fn compared(item: &Item, found: Option<&Present>, storage: Option<Storage>) -> Result<Option<Change>, Error> {
    let kind = item.kind;
    let wanted = wanted(item, found, storage)?;
    let change = |action, details, id, cells| Change {
        action,
        kind,
        title: item.title(),
        details,
        id,
        cells,
        gone: None,
    };
    let Some(found) = found else {
        let key = kind.key.iter().copied().zip(item.key.iter().cloned());
        let cells = key
            .chain(wanted)
            .map(|(column, text)| (column, kind.cell(column, &text)))
            .collect();
        return Ok(Some(change(Action::Add, String::new(), 0, cells)));
    };
    let mut details: Vec<String> = Vec::new();
    let mut cells = Vec::new();
    for (column, text) in wanted {
        let old = found.values.get(column).map_or("", String::as_str);
        if old == text {
            continue;
        }
        let words = if kind.secret.contains(&column) {
            "password".to_owned()
        } else {
            format!("{column} `{old}` to `{text}`")
        };
        if !details.contains(&words) {
            details.push(words);
        }
        cells.push((column, kind.cell(column, &text)));
    }
    Ok((!cells.is_empty()).then(|| change(Action::Change, details.join(", "), found.id, cells)))
}

/// The user that the key of a subscriber names.
fn user(key: &[String]) -> Option<User> {
    match key {
        [name, domain] => Some(User {
            name: name.clone(),
            domain: domain.clone(),
        }),
        _ => None,
    }
}

/// The cells besides the key, passwords hashed.
fn wanted(
    item: &Item,
    found: Option<&Present>,
    storage: Option<Storage>,
) -> Result<Vec<(&'static str, String)>, Error> {
    if item.kind.name != "subscribers" {
        return Ok(item.values.clone());
    }
    let Some(user) = user(&item.key) else {
        return Ok(Vec::new());
    };
    let Some(password) = &item.password else {
        if found.is_none() && !item.values.iter().any(|(column, _)| *column == "ha1") {
            return Err(Error::Usage(format!(
                "{}: subscriber `{user}` is new and needs password, password_env, password_file or ha1",
                item.origin
            )));
        }
        let mut values = item.values.clone();
        if found.is_some() && !values.is_empty() {
            // A plain password beside another hash would still open the door.
            values.push(("password", String::new()));
        }
        return Ok(values);
    };
    let kept = found
        .and_then(|row| row.values.get("password"))
        .is_some_and(|text| !text.is_empty());
    let storage = storage.unwrap_or(if kept { Storage::Plain } else { Storage::Hash });
    let made = Credentials::new(&user, password, storage);
    Ok(vec![
        ("password", made.password),
        ("ha1", made.ha1),
        ("ha1b", made.ha1b),
    ])
}
