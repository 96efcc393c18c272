//! The location table in memory (Kamailio usrloc): addresses of record to their contacts, in shards behind locks.
//!
//! A lookup takes one read lock and visits contacts where they lie; every change takes one write lock and is told to
//! a [`Sink`] before the lock is let go, so that a journal has the changes of an address in their order.

use super::contact::Binding;
use super::contact::Contact;
use super::contact::OwnedContact;
use super::contact::Packed;
use super::contact::Shared;
use super::contact::{self};
use super::texts::Texts;
use ahash::RandomState;
use hashbrown::HashTable;
use parking_lot::Mutex;
use parking_lot::RwLock;
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Hears of every change, under the lock of the address it belongs to: it must neither wait nor use the store.
pub(crate) trait Sink {
    /// A contact is new or changed; answers the number of this change, 0 when nobody writes it down.
    fn put(&self, contact: Contact<'_>, new: bool) -> u64;
    /// A contact is gone.
    fn remove(&self, contact: Contact<'_>);
}

/// Nobody listens.
pub(crate) struct NoSink;

impl Sink for NoSink {
    fn put(&self, _: Contact<'_>, _: bool) -> u64 {
        0
    }
    fn remove(&self, _: Contact<'_>) {}
}

/// How the contacts of an address are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Order {
    /// The highest q first, then the oldest.
    #[default]
    Q,
    /// The newest first (`desc_time_order`).
    Newest,
}

/// The location table of one domain.
pub(crate) struct Store {
    shards: Box<[RwLock<Shard>]>,
    ruids: Box<[Mutex<HashTable<RuidEntry>>]>,
    hasher: RandomState,
    order: Order,
}

/// Hash of an address of record, spread over shards by its high bits and over a shard's table by the low ones.
type AorHash = u32;

#[derive(Clone, Copy)]
struct RuidEntry {
    ruid: u32,
    aor: AorHash,
}

#[derive(Default)]
struct Shard {
    records: HashTable<Record>,
    contacts: usize,
    texts: Texts,
    queue: BinaryHeap<Reverse<(u32, AorHash)>>,
    /// Where contacts are packed, before they get an allocation of just their size.
    scratch: Vec<u8>,
}

/// The contacts of one address; most have one.
enum Record {
    One(Packed),
    Many(Vec<Packed>),
}

impl Default for Record {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Record {
    fn as_slice(&self) -> &[Packed] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [Packed] {
        match self {
            Self::One(one) => std::slice::from_mut(one),
            Self::Many(many) => many,
        }
    }

    fn insert(&mut self, at: usize, packed: Packed) {
        *self = match std::mem::take(self) {
            Self::Many(many) if many.is_empty() => Self::One(packed),
            Self::Many(mut many) => {
                many.insert(at.min(many.len()), packed);
                Self::Many(many)
            }
            Self::One(one) if at == 0 => Self::Many(vec![packed, one]),
            Self::One(one) => Self::Many(vec![one, packed]),
        };
    }

    fn remove(&mut self, at: usize) -> Option<Packed> {
        let mut many = match std::mem::take(self) {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        };
        let removed = (at < many.len()).then(|| many.remove(at));
        *self = match many.len() {
            1 => many.pop().map_or_else(Self::default, Self::One),
            _ => Self::Many(many),
        };
        removed
    }

    fn aor(&self) -> &[u8] {
        self.as_slice()
            .first()
            .map_or(b"", |packed| Contact::new(packed, b"", b"", b"").aor())
    }
}

/// How much of a shard is expired or cleaned at a time, so that no request waits long for its lock.
const BATCH: usize = 256;

impl Store {
    /// An empty table in `2^shard_bits` shards.
    pub(crate) fn new(shard_bits: u32, order: Order, hasher: RandomState) -> Self {
        let count = 1usize << shard_bits.min(12);
        Self {
            shards: (0..count).map(|_| RwLock::default()).collect(),
            ruids: (0..count).map(|_| Mutex::default()).collect(),
            hasher,
            order,
        }
    }

    /// Makes room for so many more contacts, each of an address of its own, before they are loaded.
    pub(crate) fn reserve(&self, contacts: usize) {
        let each = contacts / self.shards.len();
        for (shard, ruids) in self.shards.iter().zip(&self.ruids) {
            let shard = &mut *shard.write();
            let records = &mut shard.records;
            records.reserve(each, |record| spread(self.hash(record.aor())));
            shard.queue.reserve(each);
            ruids.lock().reserve(each, |entry| spread(entry.ruid));
        }
    }

    /// Shows the contacts of an address, in order; the iterator is empty when it has none.
    pub(crate) fn read<R>(&self, aor: &[u8], look: impl FnOnce(Contacts<'_>) -> R) -> R {
        let hash = self.hash(aor);
        let shard = self.shard(hash).read();
        let found = shard.records.find(spread(hash), |record| record.aor() == aor);
        look(Contacts {
            packed: found.map_or(&[], Record::as_slice),
            texts: &shard.texts,
        })
    }

    /// Changes the contacts of an address.
    pub(crate) fn edit<R>(&self, aor: &[u8], sink: &dyn Sink, change: impl FnOnce(&mut Edit<'_>) -> R) -> R {
        let hash = self.hash(aor);
        let mut guard = self.shard(hash).write();
        let Shard {
            records,
            contacts,
            texts,
            queue,
            scratch,
        } = &mut *guard;
        let mut fresh = Record::default();
        let found = records.find_mut(spread(hash), |record| record.aor() == aor);
        let known = found.is_some();
        let record = found.unwrap_or(&mut fresh);
        let mut edit = Edit {
            store: self,
            record,
            texts,
            contacts,
            queue,
            hash,
            sink,
            scratch,
        };
        let result = change(&mut edit);
        let empty = edit.record.as_slice().is_empty();
        if known && empty {
            // Only this record of the shard has no contact, hence no address.
            if let Ok(entry) = records.find_entry(spread(hash), |record| record.as_slice().is_empty()) {
                entry.remove();
            }
            if records.len() * 4 < records.capacity() && records.capacity() > 64 {
                records.shrink_to(records.len() * 2, |record| spread(self.hash(record.aor())));
            }
        } else if !known && !empty {
            records.insert_unique(spread(hash), fresh, |record| spread(self.hash(record.aor())));
        }
        guard.tidy_queue();
        result
    }

    /// Shows every contact whose record unique id is this one: none or one.
    pub(crate) fn read_ruid<R>(&self, ruid: &[u8], look: impl FnOnce(Contact<'_>) -> R) -> Option<R> {
        for hash in self.addresses_of(ruid) {
            let shard = self.shard(hash).read();
            let contacts = shard
                .with_hash(self, hash)
                .flat_map(|record| Contacts::of(record, &shard.texts));
            if let Some(contact) = contacts.into_iter().find(|contact| contact.ruid() == ruid) {
                return Some(look(contact));
            }
        }
        None
    }

    /// Notes that the contact with this id answered a keepalive.
    pub(crate) fn answered(&self, ruid: &[u8], now: u32, roundtrip: u32) -> bool {
        self.addresses_of(ruid).into_iter().any(|hash| {
            let mut shard = self.shard(hash).write();
            let found = shard.records.iter_hash_mut(spread(hash));
            let mut packed = found.flat_map(|record| record.as_mut_slice());
            let packed = packed.find(|packed| Contact::new(packed, b"", b"", b"").ruid() == ruid);
            packed
                .map(|packed| contact::set_keepalive(packed, now, roundtrip))
                .is_some()
        })
    }

    /// Shows the contacts of every address of one shard, an address at a time.
    pub(crate) fn each_in_shard(&self, index: usize, mut look: impl FnMut(Contacts<'_>)) {
        let Some(shard) = self.shards.get(index) else {
            return;
        };
        let shard = shard.read();
        for record in shard.records.iter() {
            look(Contacts::of(record, &shard.texts));
        }
    }

    /// Shows the contacts of every address.
    pub(crate) fn each(&self, mut look: impl FnMut(Contacts<'_>)) {
        for index in 0..self.shards() {
            self.each_in_shard(index, &mut look);
        }
    }

    /// Removes contacts that ended by `now`, telling the sink and then, outside the locks, the caller.
    pub(crate) fn expire(&self, now: u32, sink: &dyn Sink, gone: &mut dyn FnMut(OwnedContact)) -> usize {
        let mut total = 0;
        for shard in &self.shards {
            let is_due = |shard: &Shard| {
                shard
                    .queue
                    .peek()
                    .is_some_and(|Reverse((second, _))| *second <= now)
            };
            while is_due(&shard.read()) {
                let removed = shard.write().expire(self, now, sink);
                total += removed.len();
                removed.into_iter().for_each(&mut *gone);
            }
        }
        total
    }

    /// How contacts of an address are ordered.
    pub(crate) fn order(&self) -> Order {
        self.order
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// How many addresses have contacts, how many contacts there are, and how many addresses the fullest shard holds.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for shard in &self.shards {
            let shard = shard.read();
            counts.users += shard.records.len();
            counts.contacts += shard.contacts;
            counts.fullest = counts.fullest.max(shard.records.len());
        }
        counts
    }

    fn hash(&self, aor: &[u8]) -> AorHash {
        fold(self.hasher.hash_one(aor))
    }

    fn shard(&self, hash: AorHash) -> &RwLock<Shard> {
        &self.shards[place(hash, self.shards.len())]
    }

    /// Hashes of the addresses that may hold this id.
    fn addresses_of(&self, ruid: &[u8]) -> SmallVec<[AorHash; 2]> {
        let hash = fold(self.hasher.hash_one(ruid));
        let ruids = self.ruids[place(hash, self.ruids.len())].lock();
        ruids
            .iter_hash(spread(hash))
            .filter(|entry| entry.ruid == hash)
            .map(|entry| entry.aor)
            .collect()
    }

    fn index_ruid(&self, ruid: &[u8], aor: AorHash) {
        let hash = fold(self.hasher.hash_one(ruid));
        let mut ruids = self.ruids[place(hash, self.ruids.len())].lock();
        ruids.insert_unique(spread(hash), RuidEntry { ruid: hash, aor }, |entry| {
            spread(entry.ruid)
        });
    }

    fn forget_ruid(&self, ruid: &[u8], aor: AorHash) {
        let hash = fold(self.hasher.hash_one(ruid));
        let mut ruids = self.ruids[place(hash, self.ruids.len())].lock();
        if let Ok(entry) = ruids.find_entry(spread(hash), |entry| entry.ruid == hash && entry.aor == aor) {
            entry.remove();
        }
    }
}

/// Sums over the shards of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Addresses of record with at least one contact.
    pub(crate) users: usize,
    /// Contacts.
    pub(crate) contacts: usize,
    /// Addresses in the fullest shard.
    pub(crate) fullest: usize,
}

fn fold(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

/// A full hash for hashbrown, which takes the place from the low bits and a tag from the high ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The shard of a hash; `count` is a power of two.
fn place(hash: u32, count: usize) -> usize {
    ((u64::from(hash) * count as u64) >> 32) as usize
}

impl Shard {
    fn with_hash<'s>(&'s self, store: &Store, hash: AorHash) -> impl Iterator<Item = &'s Record> {
        self.records
            .iter_hash(spread(hash))
            .filter(move |record| store.hash(record.aor()) == hash)
    }

    /// Takes what is due from the queue: contacts that ended go, refreshed ones are queued anew.
    fn expire(&mut self, store: &Store, now: u32, sink: &dyn Sink) -> Vec<OwnedContact> {
        let mut gone = Vec::new();
        for _ in 0..BATCH {
            let Self {
                records,
                contacts,
                texts,
                queue,
                ..
            } = self;
            let Some(&Reverse((second, hash))) = queue.peek().filter(|Reverse((second, _))| *second <= now)
            else {
                break;
            };
            queue.pop();
            let mut emptied = false;
            for record in records.iter_hash_mut(spread(hash)) {
                if store.hash(record.aor()) != hash {
                    continue;
                }
                let mut at = 0;
                while let Some(packed) = record.as_mut_slice().get_mut(at) {
                    let (expires, due) = (
                        Contact::new(packed, b"", b"", b"").expires(),
                        contact::due(packed),
                    );
                    if expires != 0 && expires <= now {
                        let Some(packed) = record.remove(at) else { break };
                        let view = view(&packed, texts);
                        store.forget_ruid(view.ruid(), hash);
                        sink.remove(view);
                        gone.push(view.to_owned());
                        release(texts, &store.hasher, &packed);
                        *contacts -= 1;
                        continue;
                    }
                    if due <= second {
                        contact::set_due(packed, expires);
                        if expires != 0 {
                            queue.push(Reverse((expires, hash)));
                        }
                    }
                    at += 1;
                }
                emptied |= record.as_slice().is_empty();
            }
            while emptied {
                match records.find_entry(spread(hash), |record| record.as_slice().is_empty()) {
                    Ok(entry) => {
                        entry.remove();
                    }
                    Err(_) => emptied = false,
                }
            }
        }
        gone
    }

    /// Rebuilds a queue that holds mostly what is long gone or refreshed, so that its size follows the contacts'.
    fn tidy_queue(&mut self) {
        if self.queue.len() <= 4 * self.contacts + 64 {
            return;
        }
        let known: ahash::AHashSet<(u32, AorHash)> = self.queue.drain().map(|Reverse(entry)| entry).collect();
        let mut live = Vec::with_capacity(self.contacts);
        for (second, hash) in known {
            let packed = self
                .records
                .iter_hash(spread(hash))
                .flat_map(|record| record.as_slice());
            if packed.into_iter().any(|packed| contact::due(packed) == second) {
                live.push(Reverse((second, hash)));
            }
        }
        self.queue = BinaryHeap::from(live);
    }
}

fn view<'a>(packed: &'a [u8], texts: &'a Texts) -> Contact<'a> {
    let [user_agent, socket, path] = contact::shared(packed);
    Contact::new(
        packed,
        texts.text(user_agent),
        texts.text(socket),
        texts.text(path),
    )
}

fn release(texts: &mut Texts, hasher: &RandomState, packed: &[u8]) {
    for id in contact::shared(packed) {
        texts.release(hasher, id);
    }
}

/// The contacts of one address, in order.
#[derive(Clone)]
pub(crate) struct Contacts<'a> {
    packed: &'a [Packed],
    texts: &'a Texts,
}

impl<'a> Contacts<'a> {
    fn of(record: &'a Record, texts: &'a Texts) -> Self {
        Self {
            packed: record.as_slice(),
            texts,
        }
    }
}

impl<'a> Iterator for Contacts<'a> {
    type Item = Contact<'a>;

    fn next(&mut self) -> Option<Contact<'a>> {
        let (first, rest) = self.packed.split_first()?;
        self.packed = rest;
        Some(view(first, self.texts))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.packed.len(), Some(self.packed.len()))
    }
}

impl ExactSizeIterator for Contacts<'_> {}

/// The contacts of one address, to be changed; all of it happens before anybody else sees the address.
pub(crate) struct Edit<'s> {
    store: &'s Store,
    record: &'s mut Record,
    texts: &'s mut Texts,
    contacts: &'s mut usize,
    queue: &'s mut BinaryHeap<Reverse<(u32, AorHash)>>,
    hash: AorHash,
    sink: &'s dyn Sink,
    scratch: &'s mut Vec<u8>,
}

/// A text of the binding is longer than a contact can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Edit<'_> {
    /// The contacts in order; positions below count these.
    pub(crate) fn contacts(&self) -> Contacts<'_> {
        Contacts {
            packed: self.record.as_slice(),
            texts: self.texts,
        }
    }

    /// Adds a contact.
    pub(crate) fn insert(&mut self, binding: &Binding<'_>) -> Result<(), TooLong> {
        self.pack(binding, Shared::default())?;
        let mut packed = Packed::from(self.scratch.as_slice());
        self.enqueue(&mut packed, None);
        self.store.index_ruid(binding.ruid, self.hash);
        *self.contacts += 1;
        let at = self.position(binding.q);
        self.note(&mut packed, true);
        self.record.insert(at, packed);
        Ok(())
    }

    /// Replaces the contact at a position, which then may have another one; its ruid stays unless a new one is given.
    pub(crate) fn update(&mut self, at: usize, binding: &Binding<'_>) -> Result<(), TooLong> {
        let Some(place) = self.record.as_mut_slice().get_mut(at) else {
            return Ok(());
        };
        let mut packed = std::mem::take(place);
        let old = Contact::new(&packed, b"", b"", b"");
        let (due, q, texts) = (contact::due(&packed), old.q(), contact::shared(&packed));
        let ruid = if binding.ruid.is_empty() {
            old.ruid()
        } else {
            binding.ruid
        };
        let result = self.pack(&Binding { ruid, ..*binding }, texts);
        if let Ok(kept) = result {
            if old.ruid() != ruid {
                self.store.forget_ruid(old.ruid(), self.hash);
                self.store.index_ruid(ruid, self.hash);
            }
            self.let_go(texts, kept);
            if packed.len() == self.scratch.len() {
                packed.copy_from_slice(self.scratch);
            } else {
                packed = Packed::from(self.scratch.as_slice());
            }
            self.enqueue(&mut packed, Some(due));
            self.note(&mut packed, false);
        }
        if let Some(place) = self.record.as_mut_slice().get_mut(at) {
            *place = packed;
        }
        let moves = match self.store.order {
            Order::Newest => true,
            Order::Q => q != binding.q && !self.stands_well(at, binding.q),
        };
        if result.is_ok()
            && moves
            && self.record.as_slice().len() > 1
            && let Some(packed) = self.record.remove(at)
        {
            let at = self.position(binding.q);
            self.record.insert(at, packed);
        }
        result.map(|_| ())
    }

    /// Removes the contact at a position.
    pub(crate) fn remove(&mut self, at: usize) {
        let Some(packed) = self.record.remove(at) else {
            return;
        };
        let gone = view(&packed, self.texts);
        self.store.forget_ruid(gone.ruid(), self.hash);
        self.sink.remove(gone);
        release(self.texts, &self.store.hasher, &packed);
        *self.contacts -= 1;
    }

    /// Removes every contact.
    pub(crate) fn clear(&mut self) {
        for at in (0..self.contacts().len()).rev() {
            self.remove(at);
        }
    }

    /// Tells the journal of a change; a contact kept from it has the number 0.
    fn note(&self, packed: &mut [u8], new: bool) {
        let contact = view(packed, self.texts);
        let sequence = if contact.is_memory_only() {
            0
        } else {
            self.sink.put(contact, new)
        };
        contact::set_journal(packed, sequence as u32, new);
    }

    /// Packs a binding into the scratch; texts that a contact has already, by `old`, are not counted again.
    fn pack(&mut self, binding: &Binding<'_>, old: Shared) -> Result<Shared, TooLong> {
        let mut shared = old;
        let texts = [binding.user_agent, binding.socket, binding.path];
        for (id, text) in shared.iter_mut().zip(texts) {
            if self.texts.text(*id) != text {
                *id = self.texts.acquire(&self.store.hasher, text);
            }
        }
        if contact::pack(binding, shared, self.scratch).is_none() {
            self.let_go(shared, old);
            return Err(TooLong);
        }
        Ok(shared)
    }

    /// Counts the texts of a contact off, but for those that are kept.
    fn let_go(&mut self, texts: Shared, kept: Shared) {
        for (id, kept) in texts.into_iter().zip(kept) {
            if id != kept {
                self.texts.release(&self.store.hasher, id);
            }
        }
    }

    /// Puts a contact in the queue unless it stands there for an earlier second already.
    fn enqueue(&mut self, packed: &mut [u8], queued: Option<u32>) {
        let expires = Contact::new(packed, b"", b"", b"").expires();
        let queued = queued.filter(|second| *second != 0);
        match queued {
            Some(second) if expires == 0 || second <= expires => contact::set_due(packed, second),
            _ if expires == 0 => {}
            _ => {
                contact::set_due(packed, expires);
                self.queue.push(Reverse((expires, self.hash)));
            }
        }
    }

    /// Whether the neighbours of a contact allow it this q where it is.
    fn stands_well(&self, at: usize, q: i16) -> bool {
        let neighbour = |at: Option<usize>| self.contacts().nth(at?).map(|contact| contact.q());
        neighbour(at.checked_sub(1)).is_none_or(|before| q <= before)
            && neighbour(at.checked_add(1)).is_none_or(|after| q >= after)
    }

    fn position(&self, q: i16) -> usize {
        match self.store.order {
            Order::Newest => 0,
            Order::Q => self.contacts().take_while(|contact| contact.q() >= q).count(),
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
