//! All dialogs, by Call-ID.

use super::record::DELETED;
use super::record::Dialog;
use super::record::Shared;
use super::record::Side;
use ahash::RandomState;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

/// Hash entries, as Kamailio has by default; each Call-ID has one.
const ENTRIES: u32 = 4096;
const SHARDS: usize = 64;

/// The most dialogs followed; beyond it dlg_manage() fails.
const MOST: usize = 1 << 20;

type Shard = BTreeMap<Box<[u8]>, SmallVec<[Shared; 1]>>;

/// The table.
pub(super) struct Table {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    next: AtomicU32,
    count: AtomicUsize,
}

impl Table {
    pub(super) fn new(seed: u64) -> Self {
        let hasher = RandomState::with_seed(seed as usize);
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self {
            shards,
            hasher,
            next: AtomicU32::new((seed >> 32) as u32 & 0x1fff),
            count: AtomicUsize::new(0),
        }
    }

    fn entry(&self, call_id: &[u8]) -> u32 {
        (self.hasher.hash_one(call_id) as u32) & (ENTRIES - 1)
    }

    fn shard(&self, entry: u32) -> Option<&Mutex<Shard>> {
        self.shards.get(entry as usize % SHARDS)
    }

    /// Adds a dialog that `make` makes of its numbers; none when there are too many.
    pub(super) fn insert(&self, call_id: &[u8], make: impl FnOnce(u32, u32) -> Dialog) -> Option<Shared> {
        if self.count.load(Ordering::Relaxed) >= MOST {
            return None;
        }
        let entry = self.entry(call_id);
        let id = self.next.fetch_add(1, Ordering::Relaxed).max(1);
        let dialog = Arc::new(make(entry, id));
        self.shard(entry)?
            .lock()
            .entry(call_id.into())
            .or_default()
            .push(Arc::clone(&dialog));
        self.count.fetch_add(1, Ordering::Relaxed);
        Some(dialog)
    }

    /// The dialog of a message, and whose message it is; one that lives rather than one that is over.
    pub(super) fn find(&self, call_id: &[u8], from_tag: &[u8], to_tag: &[u8]) -> Option<(Shared, Side)> {
        let shard = self.shard(self.entry(call_id))?.lock();
        let all = shard.get(call_id)?.iter();
        let fitting = all.filter_map(|dialog| Some((Arc::clone(dialog), dialog.side(from_tag, to_tag)?)));
        fitting.min_by_key(|(dialog, _)| dialog.state() == DELETED)
    }

    /// The dialog with these numbers.
    pub(super) fn by_id(&self, entry: u32, id: u32) -> Option<Shared> {
        let shard = self.shard(entry)?.lock();
        shard
            .values()
            .flatten()
            .find(|dialog| dialog.h_entry == entry && dialog.h_id == id)
            .cloned()
    }

    /// Every dialog.
    pub(super) fn all(&self) -> Vec<Shared> {
        self.shards
            .iter()
            .flat_map(|shard| shard.lock().values().flatten().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// Forgets the dialogs that `gone` names; gives those that `watch` wants.
    pub(super) fn sweep(
        &self,
        gone: impl Fn(&Dialog) -> bool,
        watch: impl Fn(&Dialog) -> bool,
    ) -> Vec<Shared> {
        let mut wanted = Vec::new();
        for shard in &self.shards {
            shard.lock().retain(|_, dialogs| {
                dialogs.retain(|dialog| {
                    if watch(dialog) {
                        wanted.push(Arc::clone(dialog));
                    }
                    let keep = !gone(dialog);
                    if !keep {
                        self.count.fetch_sub(1, Ordering::Relaxed);
                    }
                    keep
                });
                !dialogs.is_empty()
            });
        }
        wanted
    }

    /// How many are in one of these states.
    pub(super) fn count(&self, states: &[u8]) -> usize {
        self.shards
            .iter()
            .map(|shard| {
                shard
                    .lock()
                    .values()
                    .flatten()
                    .filter(|d| states.contains(&d.state()))
                    .count()
            })
            .sum()
    }
}
