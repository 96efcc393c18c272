//! Where subscriptions are kept: in memory, in the database, or both (parameter `subs_db_mode`).

use super::subscription::DialogId;
use super::subscription::KEY;
use super::subscription::Subscription;
use super::table::Table;
use crate::modules::database::Database;
use parking_lot::Mutex;
use shared::db::Delete;
use shared::db::Error;
use shared::db::Op;
use shared::db::Select;
use std::sync::Arc;

/// What a table of the database and memory share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// 0: memory alone.
    Memory,
    /// 1: every change is written at once.
    WriteThrough,
    /// 2: changes are written at intervals.
    WriteBack,
    /// 3: the database alone.
    Database,
}

impl Mode {
    /// The mode of a number.
    pub(super) fn of(number: i64) -> Option<Self> {
        [Self::Memory, Self::WriteThrough, Self::WriteBack, Self::Database]
            .into_iter()
            .nth(usize::try_from(number).ok()?)
    }
}

/// The subscriptions.
pub(super) struct Subscriptions {
    pub(super) mode: Mode,
    pub(super) db: Arc<Database>,
    pub(super) table: String,
    /// `sip_uri_match`: URIs are compared without case.
    pub(super) ignore_case: bool,
    pub(super) memory: Arc<Mutex<Table>>,
    /// Held while a row is read and written again.
    pub(super) serial: Mutex<()>,
}

impl Subscriptions {
    fn key(&self, presentity: &[u8]) -> Vec<u8> {
        if self.ignore_case {
            presentity.to_ascii_lowercase()
        } else {
            presentity.to_vec()
        }
    }

    /// Reads what the database holds into memory.
    pub(super) fn load(&self, now: u64) -> Result<(), Error> {
        if matches!(self.mode, Mode::Memory | Mode::Database) {
            return Ok(());
        }
        let found = self.rows(
            &Select::from(&self.table).filter("expires", Op::Gt, seconds(now)),
            now,
        )?;
        let mut memory = self.memory.lock();
        for subscription in found {
            if memory.find(&subscription.dialog).is_none() {
                memory.add(self.key(&subscription.presentity), subscription);
            }
        }
        memory.changed.clear();
        Ok(())
    }

    fn rows(&self, select: &Select<'_>, now: u64) -> Result<Vec<Subscription>, Error> {
        let mut found = Vec::new();
        self.db.with(|db| {
            db.each(select, &mut |row| {
                found.extend(Subscription::of_row(&row, now));
                Ok(())
            })
        })?;
        Ok(found)
    }

    fn row(&self, dialog: &DialogId, now: u64) -> Result<Option<Subscription>, Error> {
        let select = Select::from(&self.table)
            .eq(KEY[0], &*dialog.call_id)
            .eq(KEY[1], &*dialog.to_tag)
            .eq(KEY[2], &*dialog.from_tag);
        Ok(self.rows(&select, now)?.pop())
    }

    fn write(&self, subscription: &Subscription) -> Result<(), Error> {
        self.db
            .with(|db| db.upsert(&subscription.insert(&self.table).or_update(&KEY)))
            .map(drop)
    }

    fn erase(&self, dialog: &DialogId) -> Result<(), Error> {
        let delete = Delete::from(&self.table)
            .eq(KEY[0], &*dialog.call_id)
            .eq(KEY[1], &*dialog.to_tag)
            .eq(KEY[2], &*dialog.from_tag);
        self.db.with(|db| db.delete(&delete)).map(drop)
    }

    /// Keeps a new subscription; false when there are too many.
    pub(super) fn add(&self, subscription: Subscription) -> Result<bool, Error> {
        if self.mode == Mode::Database {
            return self.write(&subscription).map(|()| true);
        }
        let key = self.key(&subscription.presentity);
        if !self.memory.lock().add(key, subscription.clone()) {
            return Ok(false);
        }
        if self.mode == Mode::WriteThrough {
            self.write(&subscription)?;
        }
        Ok(true)
    }

    /// The subscription of a dialog.
    pub(super) fn find(&self, dialog: &DialogId, now: u64) -> Result<Option<Subscription>, Error> {
        match self.mode {
            Mode::Database => self.row(dialog, now),
            _ => Ok(self.memory.lock().find(dialog).cloned()),
        }
    }

    /// Changes the subscription of a dialog; returns what it became.
    pub(super) fn update(
        &self,
        dialog: &DialogId,
        now: u64,
        change: impl FnOnce(&mut Subscription),
    ) -> Result<Option<Subscription>, Error> {
        if self.mode == Mode::Database {
            let _serial = self.serial.lock();
            let Some(mut subscription) = self.row(dialog, now)? else {
                return Ok(None);
            };
            change(&mut subscription);
            self.write(&subscription)?;
            return Ok(Some(subscription));
        }
        let changed = self.memory.lock().update(dialog, change);
        if let (Mode::WriteThrough, Some(subscription)) = (self.mode, &changed) {
            self.write(subscription)?;
        }
        Ok(changed)
    }

    /// Forgets the subscription of a dialog.
    pub(super) fn remove(&self, dialog: &DialogId, now: u64) -> Result<Option<Subscription>, Error> {
        let removed = match self.mode {
            Mode::Database => self.row(dialog, now)?,
            _ => self.memory.lock().remove(dialog, |uri| self.key(uri)),
        };
        if removed.is_some() && matches!(self.mode, Mode::WriteThrough | Mode::Database) {
            self.erase(dialog)?;
        }
        Ok(removed)
    }

    /// The subscriptions in force to an event of a presentity.
    pub(super) fn watching(
        &self,
        presentity: &[u8],
        event: &str,
        now: u64,
    ) -> Result<Vec<Subscription>, Error> {
        if self.mode == Mode::Database {
            let select = Select::from(&self.table)
                .eq("presentity_uri", presentity)
                .eq("event", event)
                .filter("expires", Op::Gt, seconds(now))
                .order_by("id");
            return self.rows(&select, now);
        }
        let mut found = self.memory.lock().watching(self.key(presentity), event);
        found.retain(|subscription| subscription.ends > now);
        Ok(found)
    }

    /// Removes and returns those that have ended.
    pub(super) fn take_ended(&self, now: u64) -> Result<Vec<Subscription>, Error> {
        let dialogs = match self.mode {
            Mode::Database => {
                let select = Select::from(&self.table).filter("expires", Op::Le, seconds(now));
                self.rows(&select, now)?
                    .into_iter()
                    .map(|subscription| subscription.dialog)
                    .collect()
            }
            _ => self.memory.lock().ended(now),
        };
        let mut ended = Vec::new();
        for dialog in dialogs {
            ended.extend(self.remove(&dialog, now)?);
        }
        Ok(ended)
    }

    /// Writes what changed since the last time; what cannot be written is tried again.
    pub(super) fn flush(&self) -> Result<(), Error> {
        let mut memory = self.memory.lock();
        let (changed, removed) = (
            std::mem::take(&mut memory.changed),
            std::mem::take(&mut memory.removed),
        );
        let rows: Vec<Subscription> = changed
            .iter()
            .filter_map(|dialog| memory.find(dialog).cloned())
            .collect();
        drop(memory);
        if self.mode != Mode::WriteBack {
            return Ok(());
        }
        let erased = removed.iter().try_for_each(|dialog| self.erase(dialog));
        let written = erased.and_then(|()| rows.iter().try_for_each(|row| self.write(row)));
        if written.is_err() {
            let mut memory = self.memory.lock();
            let still: Vec<DialogId> = changed
                .into_iter()
                .filter(|dialog| memory.find(dialog).is_some())
                .collect();
            memory.changed.extend(still);
            let gone: Vec<DialogId> = removed
                .into_iter()
                .filter(|dialog| memory.find(dialog).is_none())
                .collect();
            memory.removed.extend(gone);
        }
        written
    }
}

fn seconds(now: u64) -> i64 {
    i64::try_from(now).unwrap_or(i64::MAX)
}
