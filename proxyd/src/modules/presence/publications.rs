//! What was published: rows of `presentity`, an index of them, or memory alone (parameter `publ_cache`; RFC 3903).

use super::package::Presentity;
use crate::modules::database::Database;
use ahash::AHashSet;
use parking_lot::Mutex;
use shared::db::Delete;
use shared::db::Error;
use shared::db::Insert;
use shared::db::Op;
use shared::db::Row;
use shared::db::Select;
use shared::db::Value;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Publications to an event of one presentity; more are refused.
pub(super) const PER_PRESENTITY_MAX: usize = 64;
/// Presentities in memory (`publ_cache` 2); more are refused.
const PRESENTITIES_MAX: usize = 100_000;

/// What a publication is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Subject {
    pub(super) presentity: Presentity,
    /// The event package.
    pub(super) event: String,
}

/// A publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publication {
    pub(super) subject: Subject,
    /// Its entity-tag.
    pub(super) etag: Vec<u8>,
    /// When it ends, seconds of wall time.
    pub(super) ends: u64,
    /// When it was received, seconds of wall time.
    pub(super) received: u64,
    pub(super) body: Vec<u8>,
    /// Who is not to be told of it; may be empty.
    pub(super) sender: Vec<u8>,
    pub(super) priority: i64,
}

/// What of it memory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cache {
    /// 0: nothing.
    None,
    /// 1: which subjects have rows.
    Index,
    /// 2: everything; the database is not used.
    Whole,
}

impl Cache {
    /// The mode of a number.
    pub(super) fn of(number: i64) -> Option<Self> {
        [Self::None, Self::Index, Self::Whole]
            .into_iter()
            .nth(usize::try_from(number).ok()?)
    }
}

/// Publications in memory, in the order they came.
type Whole = BTreeMap<Subject, Vec<Publication>>;

/// The publications.
pub(super) struct Publications {
    pub(super) cache: Cache,
    pub(super) db: Arc<Database>,
    pub(super) table: String,
    /// Columns that order them, the greatest first.
    pub(super) order: Vec<String>,
    pub(super) index: Mutex<AHashSet<Subject>>,
    pub(super) memory: Arc<Mutex<Whole>>,
}

/// Whether a publication was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It was.
    Yes,
    /// There are too many.
    TooMany,
}

impl Publications {
    /// Reads which subjects have rows.
    pub(super) fn load(&self) -> Result<(), Error> {
        if self.cache != Cache::Index {
            return Ok(());
        }
        let select = Select::from(&self.table).columns(&["username", "domain", "event"]);
        let mut index = AHashSet::new();
        self.db.with(|db| {
            db.each(&select, &mut |row| {
                index.insert(subject_of(&row));
                Ok(())
            })
        })?;
        *self.index.lock() = index;
        Ok(())
    }

    /// The publications in force, the newest first.
    pub(super) fn of(&self, subject: &Subject, now: u64) -> Result<Vec<Publication>, Error> {
        match self.cache {
            Cache::Whole => {
                let memory = self.memory.lock();
                let held = memory.get(subject).map(Vec::as_slice).unwrap_or_default();
                let mut found: Vec<Publication> =
                    held.iter().rev().filter(|one| one.ends > now).cloned().collect();
                if self.order.iter().any(|column| column == "priority") {
                    found.sort_by_key(|one| std::cmp::Reverse(one.priority));
                } else {
                    found.sort_by_key(|one| std::cmp::Reverse(one.received));
                }
                return Ok(found);
            }
            Cache::Index if !self.index.lock().contains(subject) => return Ok(Vec::new()),
            Cache::Index | Cache::None => {}
        }
        let mut select = self.select(subject).filter("expires", Op::Gt, seconds(now));
        for column in &self.order {
            select = select.order_by_descending(column);
        }
        self.rows(&select.order_by_descending("id"))
    }

    fn select<'a>(&'a self, subject: &Subject) -> Select<'a> {
        Select::from(&self.table)
            .eq("username", &*subject.presentity.user)
            .eq("domain", &*subject.presentity.domain)
            .eq("event", subject.event.as_str())
    }

    fn rows(&self, select: &Select<'_>) -> Result<Vec<Publication>, Error> {
        let mut found = Vec::new();
        self.db.with(|db| {
            db.each(select, &mut |row| {
                found.push(publication_of(&row));
                Ok(())
            })
        })?;
        Ok(found)
    }

    /// Keeps a new publication.
    pub(super) fn add(&self, publication: Publication) -> Result<Kept, Error> {
        let subject = &publication.subject;
        if self.cache == Cache::Whole {
            let mut memory = self.memory.lock();
            if memory.len() >= PRESENTITIES_MAX && !memory.contains_key(subject) {
                return Ok(Kept::TooMany);
            }
            let held = memory.entry(subject.clone()).or_default();
            if held.len() >= PER_PRESENTITY_MAX {
                return Ok(Kept::TooMany);
            }
            held.push(publication);
            return Ok(Kept::Yes);
        }
        let count = self.db.with(|db| db.count(&self.select(subject)))?;
        if usize::try_from(count).map_or(true, |count| count >= PER_PRESENTITY_MAX) {
            return Ok(Kept::TooMany);
        }
        let ruid = crate::ids::token();
        let insert = Insert::into(&self.table)
            .set("username", &*subject.presentity.user)
            .set("domain", &*subject.presentity.domain)
            .set("event", subject.event.as_str())
            .set("etag", &*publication.etag)
            .set("expires", seconds(publication.ends))
            .set("received_time", seconds(publication.received))
            .set("body", Value::Blob(publication.body.clone()))
            .set("sender", &*publication.sender)
            .set("priority", publication.priority)
            .set("ruid", &ruid);
        self.db.with(|db| db.insert(&insert))?;
        if self.cache == Cache::Index {
            self.index.lock().insert(publication.subject);
        }
        Ok(Kept::Yes)
    }

    /// Replaces the publication that has this entity-tag; an empty body keeps the old one. False when there is none.
    pub(super) fn replace(&self, etag: &[u8], new: &Publication, now: u64) -> Result<bool, Error> {
        if self.cache == Cache::Whole {
            let mut memory = self.memory.lock();
            let held = memory
                .get_mut(&new.subject)
                .map(Vec::as_mut_slice)
                .unwrap_or_default();
            let Some(old) = held.iter_mut().find(|one| one.etag == etag && one.ends > now) else {
                return Ok(false);
            };
            let body = if new.body.is_empty() {
                std::mem::take(&mut old.body)
            } else {
                new.body.clone()
            };
            *old = Publication { body, ..new.clone() };
            return Ok(true);
        }
        let subject = &new.subject;
        let mut update = shared::db::Update::table(&self.table)
            .eq("username", &*subject.presentity.user)
            .eq("domain", &*subject.presentity.domain)
            .eq("event", subject.event.as_str())
            .eq("etag", etag)
            .filter("expires", Op::Gt, seconds(now))
            .set("etag", &*new.etag)
            .set("expires", seconds(new.ends))
            .set("received_time", seconds(new.received))
            .set("sender", &*new.sender)
            .set("priority", new.priority);
        if !new.body.is_empty() {
            update = update.set("body", Value::Blob(new.body.clone()));
        }
        Ok(self.db.with(|db| db.update(&update))? > 0)
    }

    /// Takes back the publication that has this entity-tag.
    pub(super) fn remove(&self, subject: &Subject, etag: &[u8]) -> Result<bool, Error> {
        if self.cache == Cache::Whole {
            let mut memory = self.memory.lock();
            let Some(held) = memory.get_mut(subject) else {
                return Ok(false);
            };
            let before = held.len();
            held.retain(|one| one.etag != etag);
            let removed = held.len() < before;
            if held.is_empty() {
                memory.remove(subject);
            }
            return Ok(removed);
        }
        let delete = Delete::from(&self.table)
            .eq("username", &*subject.presentity.user)
            .eq("domain", &*subject.presentity.domain)
            .eq("event", subject.event.as_str())
            .eq("etag", etag);
        let removed = self.db.with(|db| db.delete(&delete))? > 0;
        self.forget_if_gone(subject)?;
        Ok(removed)
    }

    fn forget_if_gone(&self, subject: &Subject) -> Result<(), Error> {
        if self.cache == Cache::Index && self.db.with(|db| db.count(&self.select(subject)))? == 0 {
            self.index.lock().remove(subject);
        }
        Ok(())
    }

    /// Removes those that have ended; returns what they were about.
    pub(super) fn remove_ended(&self, now: u64) -> Result<BTreeSet<Subject>, Error> {
        let mut subjects = BTreeSet::new();
        if self.cache == Cache::Whole {
            self.memory.lock().retain(|subject, held| {
                let before = held.len();
                held.retain(|one| one.ends > now);
                if held.len() < before {
                    subjects.insert(subject.clone());
                }
                !held.is_empty()
            });
            return Ok(subjects);
        }
        let ended = Select::from(&self.table)
            .columns(&["username", "domain", "event"])
            .filter("expires", Op::Le, seconds(now));
        self.db.with(|db| {
            db.each(&ended, &mut |row| {
                subjects.insert(subject_of(&row));
                Ok(())
            })
        })?;
        if !subjects.is_empty() {
            let delete = Delete::from(&self.table).filter("expires", Op::Le, seconds(now));
            self.db.with(|db| db.delete(&delete))?;
        }
        for subject in &subjects {
            self.forget_if_gone(subject)?;
        }
        Ok(subjects)
    }

    /// Those in memory, subject by subject.
    pub(super) fn in_memory(&self) -> Vec<Publication> {
        self.memory.lock().values().flatten().cloned().collect()
    }
}

fn subject_of(row: &Row<'_>) -> Subject {
    let bytes = |name: &str| {
        row.get(name)
            .map(|cell| cell.to_bytes().into_owned())
            .unwrap_or_default()
    };
    Subject {
        presentity: Presentity {
            user: bytes("username"),
            domain: bytes("domain"),
        },
        event: String::from_utf8_lossy(&bytes("event")).into_owned(),
    }
}

fn publication_of(row: &Row<'_>) -> Publication {
    let bytes = |name: &str| {
        row.get(name)
            .map(|cell| cell.to_bytes().into_owned())
            .unwrap_or_default()
    };
    let time = |name: &str| row.int(name).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    Publication {
        subject: subject_of(row),
        etag: bytes("etag"),
        ends: time("expires"),
        received: time("received_time"),
        body: bytes("body"),
        sender: bytes("sender"),
        priority: row.int("priority").unwrap_or(0),
    }
}

fn seconds(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}
