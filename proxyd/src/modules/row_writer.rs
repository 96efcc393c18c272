//! Writes rows in groups, beside the workers; rows wait while the database is away.

use crate::modules::database::Database;
use crate::modules::database::is_gone;
use crate::script::host::Host;
use parking_lot::Mutex;
use shared::db;
use shared::db::Backend;
use shared::db::Error;
use shared::db::Insert;
use shared::db::Value;
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// Rows in one transaction.
const GROUP: usize = 500;
/// Rows that may wait; beyond them the oldest are given up.
const WAITING_MAX: usize = 100_000;

/// The writer of all tables of a module that have these columns.
pub(crate) struct RowWriter {
    /// The module, in log lines.
    module: &'static str,
    db: Arc<Database>,
    columns: Vec<String>,
    queue: Mutex<Queue>,
    /// Held while rows are written, so that they keep their order.
    writing: Mutex<()>,
}

#[derive(Default)]
struct Queue {
    rows: VecDeque<Row>,
    /// A job is under way, or about to be.
    awake: bool,
    /// The last attempt failed; the timer tries again.
    failing: bool,
    given_up: u64,
}

struct Row {
    table: Arc<str>,
    values: Vec<Value>,
}

impl RowWriter {
    pub(crate) fn new(module: &'static str, db: Arc<Database>, columns: Vec<String>) -> Arc<Self> {
        Arc::new(Self {
            module,
            db,
            columns,
            queue: Mutex::default(),
            writing: Mutex::default(),
        })
    }

    /// Whether it writes these columns to this database.
    pub(crate) fn writes(&self, db: &Arc<Database>, columns: &[String]) -> bool {
        Arc::ptr_eq(&self.db, db) && self.columns == columns
    }

    /// Adds a row to those that wait.
    pub(crate) fn push(&self, table: &str, values: Vec<Value>) {
        let mut queue = self.queue.lock();
        let table = match queue.rows.back() {
            Some(last) if &*last.table == table => Arc::clone(&last.table),
            _ => Arc::from(table),
        };
        if queue.rows.len() >= WAITING_MAX {
            queue.rows.pop_front();
            queue.given_up += 1;
            if queue.given_up.is_power_of_two() {
                let count = queue.given_up;
                crate::log::critical(
                    self.module,
                    format_args!("{count} rows given up: the database does not keep up"),
                );
            }
        }
        queue.rows.push_back(Row { table, values });
    }

    /// Has the waiting rows written by a thread that may block, unless one is at it.
    pub(crate) fn wake(self: &Arc<Self>, host: &mut dyn Host) {
        let mut queue = self.queue.lock();
        if queue.awake || queue.rows.is_empty() {
            return;
        }
        queue.awake = true;
        drop(queue);
        let writer = Arc::clone(self);
        host.spawn(Box::new(move || {
            writer.drain();
        }));
    }

    /// Writes all waiting rows, group by group; stops when the database is away.
    pub(crate) fn drain(&self) {
        let _alone = self.writing.lock();
        loop {
            let group: Vec<Row> = {
                let mut queue = self.queue.lock();
                let count = queue.rows.len().min(GROUP);
                if count == 0 {
                    queue.awake = false;
                    return;
                }
                queue.rows.drain(..count).collect()
            };
            if let Err((error, group)) = self.write(group) {
                let mut queue = self.queue.lock();
                if !std::mem::replace(&mut queue.failing, true) {
                    crate::log::error(self.module, format_args!("rows wait: {error}"));
                }
                group.into_iter().rev().for_each(|row| queue.rows.push_front(row));
                queue.awake = false;
                return;
            }
            self.queue.lock().failing = false;
        }
    }

    /// Writes a group, or gives it back when the database is away.
    fn write(&self, group: Vec<Row>) -> Result<(), (Error, Vec<Row>)> {
        let columns: Vec<&str> = self.columns.iter().map(String::as_str).collect();
        let together = self.db.with(|db| {
            db::transaction(db, |db: &mut dyn Backend| {
                let mut tables: BTreeMap<&str, Vec<Vec<Value>>> = BTreeMap::new();
                for row in &group {
                    tables.entry(&row.table).or_default().push(row.values.clone());
                }
                for (table, rows) in tables {
                    db.insert(&Insert::rows(table, &columns, rows))?;
                }
                Ok(())
            })
        });
        match together {
            Ok(()) => return Ok(()),
            Err(error) if is_gone(&error) => return Err((error, group)),
            Err(_) => {}
        }
        // One row spoils the others of its group: each for itself.
        let mut rest = group.into_iter();
        while let Some(row) = rest.next() {
            let insert = Insert::rows(&row.table, &columns, vec![row.values.clone()]);
            match self.db.with(|db| db.insert(&insert)) {
                Ok(_) => {}
                Err(error) if is_gone(&error) => {
                    return Err((error, std::iter::once(row).chain(rest).collect()));
                }
                Err(error) => crate::log::error(
                    self.module,
                    format_args!("failed to insert into database: {error}"),
                ),
            }
        }
        Ok(())
    }
}
