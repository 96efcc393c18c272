//! The journal between the location table and its database: one thread writes what changed, many changes a commit
//! (Kamailio usrloc, `db_mode` 1 and 2).

use super::contact::Contact;
use super::contact::OwnedContact;
use super::rows::ATTRIBUTE_COLUMNS;
use super::rows::Layout;
use super::store::Sink;
use crate::modules::database::Database;
use crate::modules::database::is_gone;
use ahash::AHashMap;
use parking_lot::Condvar;
use parking_lot::Mutex;
use shared::db::Backend;
use shared::db::Delete;
use shared::db::Error;
use shared::db::Insert;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

/// Rows in one statement; more gain nothing and make servers' statement caches useless.
const ROWS: usize = 100;

/// Changes kept while the database is away; beyond that the whole table is written when it is back.
const KEPT_MAX: usize = 200_000;

/// Answers held back for a commit; beyond that a worker waits for its own, and new requests with it.
const HELD_MAX: usize = 4096;

/// Pause before an outage is looked at again, doubled up to the second number.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// When the journal writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At once: `db_mode` 1.
    Through,
    /// After at most this long: `db_mode` 2.
    Back(Duration),
}

/// One table that the journal writes to.
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: String,
    /// Hands every contact of it to the visitor, for writing all of them again.
    pub(crate) each: Each,
}

/// Shows every contact of a table to a visitor.
pub(crate) type Each = Box<dyn Fn(&mut dyn FnMut(Contact<'_>)) + Send + Sync>;

/// What to run when a change is in the database (true) or could not be written yet (false).
pub(crate) type Done = Box<dyn FnOnce(bool) + Send>;

/// The number of the changes that a database load brings: all of them are committed.
pub(crate) const LOADED: u64 = 1;

/// Changes on their way to the database.
pub(crate) struct Journal {
    state: Mutex<State>,
    /// The writer waits here for work.
    work: Condvar,
    /// Workers wait here for a commit.
    commit: Condvar,
    committed: AtomicU64,
    database: Arc<Database>,
    layout: Layout,
    pace: Pace,
    /// Contacts carry attributes, which have a table of their own.
    attributes: bool,
}

#[derive(Default)]
struct State {
    changes: Vec<Change>,
    tables: Vec<Arc<Table>>,
    appended: u64,
    /// The last attempt failed; whoever waits is told so instead of being kept.
    failing: bool,
    /// Changes were dropped: only writing everything again makes the database whole.
    rewrite: bool,
    flush: bool,
    stop: bool,
    waiting: Vec<(u64, Done)>,
}

struct Change {
    table: u16,
    contact: OwnedContact,
    put: bool,
}

/// Writes the changes of one table to the journal.
pub(crate) struct JournalSink<'a> {
    journal: &'a Journal,
    table: u16,
}

impl Sink for JournalSink<'_> {
    fn put(&self, contact: Contact<'_>, _new: bool) -> u64 {
        self.journal.append(Change {
            table: self.table,
            contact: contact.to_owned(),
            put: true,
        })
    }

    fn remove(&self, contact: Contact<'_>) {
        if !contact.is_memory_only() {
            self.journal.append(Change {
                table: self.table,
                contact: contact.to_owned(),
                put: false,
            });
        }
    }
}

impl Journal {
    /// A journal; [`Self::run`] is to be called on a thread of its own.
    pub(super) fn new(database: Arc<Database>, layout: Layout, pace: Pace, attributes: bool) -> Self {
        Self {
            state: Mutex::new(State {
                appended: LOADED,
                ..State::default()
            }),
            work: Condvar::new(),
            commit: Condvar::new(),
            committed: AtomicU64::new(LOADED),
            database,
            layout,
            pace,
            attributes,
        }
    }

    /// Takes a table under care; answers its number.
    pub(crate) fn add_table(&self, table: Table) -> u16 {
        let mut state = self.state.lock();
        state.tables.push(Arc::new(table));
        // Tables are named in scripts: a handful.
        (state.tables.len() - 1) as u16
    }

    /// The sink for changes of a table.
    pub(crate) fn sink(&self, table: u16) -> JournalSink<'_> {
        JournalSink { journal: self, table }
    }

    /// The number of the last change, to wait for.
    pub(crate) fn appended(&self) -> u64 {
        self.state.lock().appended
    }

    /// The number up to which everything is in the database.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Whether answers have to wait for the commit.
    pub(crate) fn is_write_through(&self) -> bool {
        self.pace == Pace::Through
    }

    /// Waits until a change is in the database; false when that failed or takes too long.
    pub(crate) fn wait(&self, sequence: u64, timeout: Duration) -> bool {
        if self.committed() >= sequence {
            return true;
        }
        let until = Instant::now() + timeout;
        let mut state = self.state.lock();
        loop {
            if self.committed() >= sequence {
                return true;
            }
            if state.failing || self.commit.wait_until(&mut state, until).timed_out() {
                return self.committed() >= sequence;
            }
        }
    }

    /// Whether as many answers are held back as may be.
    pub(crate) fn is_congested(&self) -> bool {
        self.state.lock().waiting.len() >= HELD_MAX
    }

    /// Runs `done` once a change is in the database, or failed to get there: at once, or on the writer's thread.
    pub(crate) fn when_committed(&self, sequence: u64, done: Done) {
        let mut state = self.state.lock();
        let committed = self.committed() >= sequence;
        if committed || state.failing {
            drop(state);
            return done(committed);
        }
        state.waiting.push((sequence, done));
    }

    /// Writes what there is, now, and waits for it (`ul.flush`).
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let sequence = {
            let mut state = self.state.lock();
            state.flush = true;
            self.work.notify_one();
            state.appended
        };
        self.wait(sequence, timeout)
    }

    /// Asks the writer to write the rest and end.
    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.work.notify_one();
    }

    fn append(&self, change: Change) -> u64 {
        let mut state = self.state.lock();
        state.appended += 1;
        if state.changes.len() >= KEPT_MAX && state.failing {
            state.changes = Vec::new();
            state.rewrite = true;
        }
        if !state.rewrite {
            state.changes.push(change);
        }
        let idle = state.changes.len() == 1 || state.rewrite;
        let sequence = state.appended;
        drop(state);
        if idle {
            self.work.notify_one();
        }
        sequence
    }

    /// The writer: takes what waits, writes it as one transaction, tells those who wait for it, until [`Self::stop`].
    pub(crate) fn run(&self) {
        let mut backend: Option<Box<dyn Backend>> = None;
        let mut pause = RETRY.0;
        while let Some(batch) = self.take() {
            match self.write(&mut backend, &batch) {
                Ok(()) => {
                    pause = RETRY.0;
                    self.settle(batch.upto);
                }
                Err(error) => {
                    backend = None;
                    let ends = self.give_back(batch, &error);
                    if ends {
                        return;
                    }
                    let mut state = self.state.lock();
                    if !state.stop {
                        self.work.wait_for(&mut state, pause);
                    }
                    pause = (pause * 2).min(RETRY.1);
                }
            }
        }
    }

    /// Waits for changes; none when the writer shall end.
    fn take(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        loop {
            let waits = !state.changes.is_empty() || state.rewrite;
            if waits {
                if let (Pace::Back(delay), false) = (self.pace, state.flush || state.stop || state.failing) {
                    let until = Instant::now() + delay;
                    while !state.flush && !state.stop && !self.work.wait_until(&mut state, until).timed_out()
                    {
                    }
                }
                state.flush = false;
                let rewrite = std::mem::take(&mut state.rewrite);
                return Some(Batch {
                    changes: std::mem::take(&mut state.changes),
                    tables: state.tables.clone(),
                    upto: state.appended,
                    rewrite,
                });
            }
            if state.stop {
                return None;
            }
            state.flush = false;
            self.work.wait(&mut state);
        }
    }

    fn settle(&self, upto: u64) {
        let mut state = self.state.lock();
        state.failing = false;
        self.committed.store(upto, Ordering::Release);
        let (done, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut state.waiting)
            .into_iter()
            .partition(|(sequence, _)| *sequence <= upto);
        state.waiting = waiting;
        drop(state);
        self.commit.notify_all();
        done.into_iter().for_each(|(_, done)| done(true));
    }

    /// Puts a batch back before what came since; true when there is no point in trying again.
    fn give_back(&self, batch: Batch, error: &Error) -> bool {
        let mut state = self.state.lock();
        let first = !state.failing;
        state.failing = true;
        let mut changes = batch.changes;
        changes.append(&mut state.changes);
        state.rewrite |= batch.rewrite || changes.len() > KEPT_MAX;
        state.changes = if state.rewrite { Vec::new() } else { changes };
        let waiting = std::mem::take(&mut state.waiting);
        let (stop, unwritten) = (state.stop, state.changes.len());
        drop(state);
        self.commit.notify_all();
        waiting.into_iter().for_each(|(_, done)| done(false));
        if first {
            crate::log::error(
                "usrloc",
                format_args!("registrations are kept in memory only until the database is back: {error}"),
            );
        }
        if stop {
            crate::log::error(
                "usrloc",
                format_args!("{unwritten} changes of registrations could not be written: {error}"),
            );
        }
        stop
    }

    fn write(&self, backend: &mut Option<Box<dyn Backend>>, batch: &Batch) -> Result<(), Error> {
        let db = match backend {
            Some(db) => db,
            none => none.insert(self.database.connect()?),
        };
        let result = shared::db::transaction(&mut **db, |db| self.apply(db, batch));
        match result {
            Err(error) if !is_gone(&error) => {
                crate::log::warning(
                    "usrloc",
                    format_args!("writing {} changes one by one: {error}", batch.changes.len()),
                );
                self.one_by_one(&mut **db, batch)
            }
            other => other,
        }
    }

    /// Writes everything; of several changes of a contact only the last counts, as only that is to be seen afterwards.
    fn apply(&self, db: &mut dyn Backend, batch: &Batch) -> Result<(), Error> {
        if batch.rewrite {
            for table in &batch.tables {
                self.rewrite(db, table)?;
            }
        }
        let mut last: AHashMap<&[u8], usize> = AHashMap::with_capacity(batch.changes.len());
        let views: Vec<Contact<'_>> = batch.changes.iter().map(|change| change.contact.view()).collect();
        for (at, view) in views.iter().enumerate() {
            last.insert(view.ruid(), at);
        }
        for (number, table) in batch.tables.iter().enumerate() {
            let mut puts = Vec::new();
            for (at, (change, view)) in batch.changes.iter().zip(&views).enumerate() {
                if usize::from(change.table) != number || last.get(view.ruid()) != Some(&at) {
                    continue;
                }
                if change.put {
                    puts.push(*view);
                } else {
                    self.remove(db, &table.name, *view)?;
                }
            }
            for chunk in puts.chunks(ROWS) {
                self.put(db, &table.name, chunk)?;
            }
        }
        Ok(())
    }

    fn put(&self, db: &mut dyn Backend, table: &str, contacts: &[Contact<'_>]) -> Result<(), Error> {
        let columns = self.layout.names();
        // Few sizes of statements, each prepared once.
        let mut rest = contacts;
        while !rest.is_empty() {
            let size = [ROWS, ROWS / 10, 1]
                .into_iter()
                .find(|size| *size <= rest.len())
                .unwrap_or(1);
            let (rows, tail) = rest.split_at_checked(size).unwrap_or((rest, &[]));
            let rows = rows.iter().map(|contact| self.layout.row(*contact)).collect();
            db.upsert(&Insert::rows(table, &columns, rows).or_update(&[self.layout.ruid()]))?;
            rest = tail;
        }
        if self.attributes {
            for contact in contacts {
                db.delete(&Delete::from(ATTRIBUTES).eq("ruid", contact.ruid()))?;
                let rows = self.layout.attributes(*contact);
                if !rows.is_empty() {
                    db.insert(&Insert::rows(ATTRIBUTES, &ATTRIBUTE_COLUMNS, rows))?;
                }
            }
        }
        Ok(())
    }

    fn remove(&self, db: &mut dyn Backend, table: &str, contact: Contact<'_>) -> Result<(), Error> {
        db.delete(&Delete::from(table).eq(self.layout.ruid(), contact.ruid()))?;
        if self.attributes {
            db.delete(&Delete::from(ATTRIBUTES).eq("ruid", contact.ruid()))?;
        }
        Ok(())
    }

    /// Makes a table what memory holds, after changes had to be dropped.
    fn rewrite(&self, db: &mut dyn Backend, table: &Table) -> Result<(), Error> {
        let mut all = Vec::new();
        (table.each)(&mut |contact| {
            if !contact.is_memory_only() {
                all.push(contact.to_owned());
            }
        });
        db.delete(&Delete::from(&table.name))?;
        let views: Vec<Contact<'_>> = all.iter().map(OwnedContact::view).collect();
        for chunk in views.chunks(ROWS) {
            self.put(db, &table.name, chunk)?;
        }
        Ok(())
    }

    /// Writes each change by itself: one that the database refuses is logged and dropped, lest it hold up all others.
    fn one_by_one(&self, db: &mut dyn Backend, batch: &Batch) -> Result<(), Error> {
        for change in &batch.changes {
            let Some(table) = batch.tables.get(usize::from(change.table)) else {
                continue;
            };
            let view = change.contact.view();
            let result = if change.put {
                self.put(db, &table.name, &[view])
            } else {
                self.remove(db, &table.name, view)
            };
            match result {
                Err(error) if is_gone(&error) => return Err(error),
                Err(error) => {
                    let (aor, address) = (
                        String::from_utf8_lossy(view.aor()),
                        String::from_utf8_lossy(view.address()),
                    );
                    crate::log::error(
                        "usrloc",
                        format_args!("contact {address:?} of {aor:?} not written: {error}"),
                    );
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Writes changes that bypass the thread, as one transaction (`db_mode` 3).
    pub(crate) fn write_now(&self, table: &str, changes: &[(OwnedContact, bool)]) -> Result<(), Error> {
        self.database.with(|db| {
            shared::db::transaction(db, |db| {
                for (contact, put) in changes {
                    match put {
                        true => self.put(db, table, &[contact.view()])?,
                        false => self.remove(db, table, contact.view())?,
                    }
                }
                Ok(())
            })
        })
    }
}

/// The table of attributes.
pub(super) const ATTRIBUTES: &str = "location_attrs";

struct Batch {
    changes: Vec<Change>,
    tables: Vec<Arc<Table>>,
    upto: u64,
    rewrite: bool,
}

#[cfg(test)]
#[path = "persist_tests.rs"]
mod tests;
