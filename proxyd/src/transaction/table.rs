//! The transactions that live, found by key, by id and by deadline (RFC 3261 §17.1.3, §17.2.3).

use crate::transaction::key::Hashers;
use crate::transaction::key::Id;
use crate::transaction::key::Key;
use crate::transaction::key::Lookup;
use crate::transaction::timer::Entry;
use crate::transaction::timer::Millis;
use crate::transaction::timer::NEVER;
use crate::transaction::timer::Wheel;
use hashbrown::HashTable;
use parking_lot::Mutex;
use parking_lot::RawMutex;
use parking_lot::lock_api::ArcMutexGuard;
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

/// A transaction locked through its `Arc`, so that the guard may be kept and sent along.
pub type Locked<T> = ArcMutexGuard<RawMutex, T>;

/// A transaction and its name; `Arc`s stay valid after removal.
#[derive(Debug)]
pub struct Found<T> {
    /// Its name.
    pub id: Id,
    /// The transaction, to be locked.
    pub transaction: Arc<Mutex<T>>,
}

/// What became of a request that may be new.
pub enum Inserted<T> {
    /// It is new; the transaction is in the table and locked, so that no other thread sees it half made.
    New(Id, Locked<T>),
    /// It is a retransmission, or another thread was faster.
    Known(Found<T>),
    /// The table is full; answer 503 or nothing.
    Full,
}

/// All transactions, in shards with a lock each. A shard's lock is held for one look-up, never while a transaction is locked.
#[derive(Debug)]
pub struct Table<T> {
    shards: Box<[Shard<T>]>,
    shard_bits: u32,
    hashers: Hashers,
    count: AtomicUsize,
    limit: usize,
}

#[derive(Debug)]
struct Shard<T> {
    /// The earliest moment at which the wheel has work, read without the lock.
    due: AtomicU64,
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    records: Vec<Record<T>>,
    free: Option<u32>,
    by_key: HashTable<u32>,
    wheel: Wheel<u32>,
}

#[derive(Debug)]
enum Record<T> {
    Live(Live<T>),
    Free(Option<u32>),
}

#[derive(Debug)]
struct Live<T> {
    label: u32,
    entry: Entry,
    deadline: Millis,
    key: Key,
    transaction: Arc<Mutex<T>>,
}

impl<T> Table<T> {
    /// Makes a table of `shards` (rounded up to a power of two, at most 1024) for at most `limit` transactions.
    pub fn new(shards: usize, limit: usize, tick: Millis, now: Millis) -> Self {
        let shard_bits = shards.clamp(1, 1024).next_power_of_two().trailing_zeros();
        let shards = (0..1usize << shard_bits).map(|_| Shard {
            due: AtomicU64::new(NEVER),
            inner: Mutex::new(Inner {
                records: Vec::new(),
                free: None,
                by_key: HashTable::new(),
                wheel: Wheel::new(tick, now),
            }),
        });
        Self {
            shards: shards.collect(),
            shard_bits,
            hashers: Hashers::default(),
            count: AtomicUsize::new(0),
            limit,
        }
    }

    /// The seeds with which look-ups for this table are made.
    pub fn hashers(&self) -> &Hashers {
        &self.hashers
    }

    /// The number of transactions.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many transactions each shard has.
    pub fn loads(&self) -> Vec<usize> {
        let load = |shard: &Shard<T>| {
            let inner = shard.inner.lock();
            let live = inner
                .records
                .iter()
                .filter(|record| matches!(record, Record::Live(_)));
            live.count()
        };
        self.shards.iter().map(load).collect()
    }

    /// Every transaction, one shard after the other; none is locked when its turn comes.
    pub fn all(&self) -> impl Iterator<Item = Found<T>> {
        (0..).zip(&self.shards).flat_map(|(number, shard)| {
            let inner = shard.inner.lock();
            let positions = 0..u32::try_from(inner.records.len()).unwrap_or(u32::MAX);
            let found = positions.filter_map(|position| self.found(number, &inner, position));
            found.collect::<Vec<_>>()
        })
    }

    /// Finds the transaction of a request.
    pub fn find(&self, lookup: &Lookup) -> Option<Found<T>> {
        let shard = self.shard_of(lookup.hash());
        let inner = self.shards[shard].inner.lock();
        self.found(shard, &inner, inner.position(lookup)?)
    }

    /// Finds the transaction that a reply, or a script, names.
    pub fn by_id(&self, id: Id) -> Option<Found<T>> {
        let (shard, position) = self.place(id.index);
        let inner = self.shards.get(shard)?.inner.lock();
        inner.live(position).filter(|live| live.label == id.label)?;
        self.found(shard, &inner, position)
    }

    /// Finds the transaction of a request or makes it: of two threads with the same request one wins.
    ///
    /// `make` runs under the shard's lock and should do no more than fill in a value.
    pub fn insert(&self, lookup: &Lookup, label: u32, make: impl FnOnce(Id) -> T) -> Inserted<T> {
        let shard = self.shard_of(lookup.hash());
        let mut inner = self.shards[shard].inner.lock();
        if let Some(known) = inner
            .position(lookup)
            .and_then(|at| self.found(shard, &inner, at))
        {
            return Inserted::Known(known);
        }
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Inserted::Full;
        }
        let Some(position) = inner.reserve(u32::MAX >> self.shard_bits) else {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Inserted::Full;
        };
        let id = Id {
            index: position << self.shard_bits | shard as u32,
            label,
        };
        let transaction = Arc::new(Mutex::new(make(id)));
        let locked = transaction.lock_arc();
        inner.fill(
            position,
            Live {
                label,
                entry: Entry::NONE,
                deadline: NEVER,
                key: lookup.key(),
                transaction,
            },
        );
        Inserted::New(id, locked)
    }

    /// Takes a transaction out; whoever holds its `Arc` may go on using it.
    pub fn remove(&self, id: Id) -> Option<Arc<Mutex<T>>> {
        let (shard, position) = self.place(id.index);
        let live = self.shards.get(shard)?.inner.lock().release(position, id.label)?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(live.transaction)
    }

    /// Asks for [`Table::expired`] to report the transaction at `at`; [`NEVER`] asks for nothing.
    ///
    /// A later deadline costs no more than a store: the entry in the wheel moves when it comes up.
    pub fn arm(&self, id: Id, at: Millis) {
        let (shard, position) = self.place(id.index);
        let Some(shard) = self.shards.get(shard) else {
            return;
        };
        let mut inner = shard.inner.lock();
        let Inner { records, wheel, .. } = &mut *inner;
        let Some(Record::Live(live)) = records.get_mut(position as usize) else {
            return;
        };
        if live.label != id.label {
            return;
        }
        live.deadline = at;
        if at == NEVER || wheel.deadline(live.entry).is_some_and(|planned| planned <= at) {
            return;
        }
        if !wheel.rearm(live.entry, at) {
            live.entry = wheel.insert(at, position);
        }
        shard
            .due
            .store(wheel.next_deadline().unwrap_or(NEVER), Ordering::Relaxed);
    }

    /// Collects the transactions whose deadline has come; each is reported once for each time it was armed.
    pub fn expired(&self, now: Millis, out: &mut Vec<Found<T>>) {
        for (number, shard) in self.shards.iter().enumerate() {
            if shard.due.load(Ordering::Relaxed) > now {
                continue;
            }
            let mut inner = shard.inner.lock();
            let Inner { records, wheel, .. } = &mut *inner;
            let mut later = SmallVec::<[(Millis, u32); 32]>::new();
            wheel.advance(now, |position| {
                let Some(Record::Live(live)) = records.get_mut(position as usize) else {
                    return;
                };
                live.entry = Entry::NONE;
                if live.deadline > now {
                    later.push((live.deadline, position));
                    return;
                }
                live.deadline = NEVER;
                let id = Id {
                    index: position << self.shard_bits | number as u32,
                    label: live.label,
                };
                out.push(Found {
                    id,
                    transaction: Arc::clone(&live.transaction),
                });
            });
            for (deadline, position) in later {
                if let (Some(Record::Live(live)), true) =
                    (records.get_mut(position as usize), deadline != NEVER)
                {
                    live.entry = wheel.insert(deadline, position);
                }
            }
            shard
                .due
                .store(wheel.next_deadline().unwrap_or(NEVER), Ordering::Relaxed);
        }
    }

    /// The earliest moment at which [`Table::expired`] has work, or [`NEVER`].
    pub fn next_deadline(&self) -> Millis {
        self.shards
            .iter()
            .map(|shard| shard.due.load(Ordering::Relaxed))
            .min()
            .unwrap_or(NEVER)
    }

    fn shard_of(&self, hash: u64) -> usize {
        // hashbrown uses the low bits for the slot and the top seven for the tag: the middle is free.
        (hash >> 40) as usize & (self.shards.len() - 1)
    }

    fn place(&self, index: u32) -> (usize, u32) {
        (index as usize & (self.shards.len() - 1), index >> self.shard_bits)
    }

    fn found(&self, shard: usize, inner: &Inner<T>, position: u32) -> Option<Found<T>> {
        let live = inner.live(position)?;
        let id = Id {
            index: position << self.shard_bits | shard as u32,
            label: live.label,
        };
        Some(Found {
            id,
            transaction: Arc::clone(&live.transaction),
        })
    }
}

impl<T> Inner<T> {
    fn live(&self, position: u32) -> Option<&Live<T>> {
        match self.records.get(position as usize)? {
            Record::Live(live) => Some(live),
            Record::Free(_) => None,
        }
    }

    fn position(&self, lookup: &Lookup) -> Option<u32> {
        let matches = |at: &u32| self.live(*at).is_some_and(|live| live.key.matches(lookup));
        self.by_key.find(lookup.hash(), matches).copied()
    }

    /// Finds a place for a record, which `fill` then uses.
    fn reserve(&mut self, last: u32) -> Option<u32> {
        match self.free {
            Some(position) => Some(position),
            None => u32::try_from(self.records.len())
                .ok()
                .filter(|position| *position <= last),
        }
    }

    fn fill(&mut self, position: u32, live: Live<T>) {
        let hash = live.key.hash();
        match self.records.get_mut(position as usize) {
            Some(record) => {
                if let Record::Free(next) = record {
                    self.free = *next;
                }
                *record = Record::Live(live);
            }
            None => self.records.push(Record::Live(live)),
        }
        let records = &self.records;
        self.by_key
            .insert_unique(hash, position, |at| match records.get(*at as usize) {
                Some(Record::Live(live)) => live.key.hash(),
                Some(Record::Free(_)) | None => 0,
            });
    }

    fn release(&mut self, position: u32, label: u32) -> Option<Live<T>> {
        let live = self.live(position).filter(|live| live.label == label)?;
        if let Ok(entry) = self.by_key.find_entry(live.key.hash(), |at| *at == position) {
            entry.remove();
        }
        let record = self.records.get_mut(position as usize)?;
        let Record::Live(live) = std::mem::replace(record, Record::Free(self.free)) else {
            return None;
        };
        self.free = Some(position);
        self.wheel.cancel(live.entry);
        Some(live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::key::Parts;

    fn table(limit: usize) -> Table<u32> {
        Table::new(4, limit, 10, 0)
    }

    fn parts(branch: &str) -> Parts<'_> {
        Parts {
            method: b"INVITE",
            call_id: b"c",
            cseq: 1,
            branch: branch.as_bytes(),
            from_tag: b"f",
            ..Parts::default()
        }
    }

    fn insert(table: &Table<u32>, branch: &str, value: u32) -> Option<Id> {
        match table.insert(
            &Lookup::request(&parts(branch), table.hashers()),
            value ^ 0xabcd,
            |_| value,
        ) {
            Inserted::New(id, locked) => {
                assert_eq!(*locked, value);
                Some(id)
            }
            Inserted::Known(_) | Inserted::Full => None,
        }
    }

    #[test]
    fn finds_by_key_and_by_id_until_removed() {
        let table = table(1_000);
        let names: Vec<_> = (0..500).map(|i| format!("z9hG4bK{i}")).collect();
        let ids: Vec<_> = names
            .iter()
            .zip(0..)
            .map(|(name, i)| insert(&table, name, i).unwrap())
            .collect();
        assert_eq!(table.len(), 500);
        for (i, (name, id)) in names.iter().zip(&ids).enumerate() {
            let found = table
                .find(&Lookup::request(&parts(name), table.hashers()))
                .unwrap();
            assert_eq!((found.id, *found.transaction.lock() as usize), (*id, i));
            assert_eq!(*table.by_id(*id).unwrap().transaction.lock() as usize, i);
            assert!(
                table
                    .by_id(Id {
                        label: id.label + 1,
                        ..*id
                    })
                    .is_none()
            );
            assert!(matches!(
                table.insert(&Lookup::request(&parts(name), table.hashers()), 1, |_| 1),
                Inserted::Known(found) if found.id == *id
            ));
        }
        for (name, id) in names.iter().zip(&ids) {
            assert!(table.remove(*id).is_some());
            assert!(table.remove(*id).is_none());
            assert!(table.by_id(*id).is_none());
            assert!(
                table
                    .find(&Lookup::request(&parts(name), table.hashers()))
                    .is_none()
            );
        }
        assert!(table.is_empty());
        assert!(
            table
                .by_id(Id {
                    index: u32::MAX,
                    label: 0
                })
                .is_none()
        );
    }

    #[test]
    fn a_full_table_refuses_and_recovers() {
        let table = table(2);
        let first = insert(&table, "z9hG4bK1", 1).unwrap();
        insert(&table, "z9hG4bK2", 2).unwrap();
        assert!(insert(&table, "z9hG4bK3", 3).is_none());
        assert_eq!(table.len(), 2);
        table.remove(first);
        assert!(insert(&table, "z9hG4bK3", 3).is_some());
    }

    #[test]
    fn reports_deadlines_lazily_but_in_time() {
        let table = table(10);
        let [a, b, c] = ["z9hG4bK1", "z9hG4bK2", "z9hG4bK3"].map(|name| insert(&table, name, 0).unwrap());
        table.arm(a, 100);
        table.arm(a, 500);
        table.arm(b, 500);
        table.arm(b, 100);
        table.arm(c, 200);
        table.arm(c, NEVER);
        assert!(table.next_deadline() <= 100);
        let mut reported = Vec::new();
        for now in (0..=1_000).step_by(10) {
            let mut out = Vec::new();
            table.expired(now, &mut out);
            reported.extend(out.into_iter().map(|found| (now, found.id)));
        }
        assert_eq!(reported, [(100, b), (500, a)]);
        assert_eq!(table.next_deadline(), NEVER);
        table.arm(c, 1_200);
        table.remove(c);
        let mut out = Vec::new();
        table.expired(5_000, &mut out);
        assert!(out.is_empty());
        table.arm(c, 6_000);
        assert_eq!(table.next_deadline(), NEVER);
    }

    #[test]
    fn of_many_threads_with_one_request_one_wins() {
        let table = table(100_000);
        let wins: usize = std::thread::scope(|scope| {
            let run = || {
                (0..2_000)
                    .filter(|i| insert(&table, &format!("z9hG4bK{i}"), *i).is_some())
                    .count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((wins, table.len()), (2_000, 2_000));
    }
}
