//! A hash table that all workers share: sharded, bounded, items with an end.

use super::definition::Definition;
use crate::script::lists::Owned;
use crate::script::value::Value;
use crate::script::value::leading_int;
use ahash::RandomState;
use arc_swap::ArcSwap;
use hashbrown::HashTable;
use parking_lot::RwLock;
use shared::regex::Regex;
use std::sync::Arc;

/// Parts of a table, each with its lock.
const SHARDS: usize = 32;
/// Items in each part; a full part takes no new ones.
const SHARD_MAX: usize = 1 << 17;

/// One item.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) key: Box<[u8]>,
    pub(super) value: Owned,
    /// Wall seconds when it ends; 0 never.
    pub(super) expires: u64,
}

struct Entry {
    hash: u64,
    item: Item,
}

/// The items of a table.
pub(super) struct Content {
    hasher: RandomState,
    shards: Box<[RwLock<HashTable<Entry>>]>,
}

/// No room for another item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the table is full")]
pub(super) struct Full;

/// How a new value affects an item's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// By the table's definition.
    Defined,
    /// So many seconds from now; 0 for ever.
    Seconds(u64),
}

impl Content {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
        }
    }

    fn shard(&self, key: &[u8]) -> (u64, Option<&RwLock<HashTable<Entry>>>) {
        let hash = self.hasher.hash_one(key);
        (hash, self.shards.get((hash >> 40) as usize % SHARDS))
    }

    /// Puts an item in, whatever was there.
    pub(super) fn put(&self, item: Item) -> Result<(), Full> {
        let (hash, Some(shard)) = self.shard(&item.key) else {
            return Err(Full);
        };
        let mut shard = shard.write();
        if let Some(entry) = shard.find_mut(hash, |entry| entry.item.key == item.key) {
            entry.item = item;
            return Ok(());
        }
        if shard.len() >= SHARD_MAX {
            return Err(Full);
        }
        shard.insert_unique(hash, Entry { hash, item }, |entry| entry.hash);
        Ok(())
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }
}

/// A table: its definition and its items, which a reload may swap as a whole.
pub(super) struct Table {
    pub(super) definition: Definition,
    content: Arc<ArcSwap<Content>>,
}

impl Table {
    /// A table; the items of one with the same name live on.
    pub(super) fn new(definition: Definition, before: Option<&Self>) -> Self {
        let content = before.map(|table| Arc::clone(&table.content));
        Self {
            definition,
            content: content.unwrap_or_else(|| Arc::new(ArcSwap::from_pointee(Content::new()))),
        }
    }

    /// Puts new items in the place of all the old ones.
    pub(super) fn replace(&self, content: Content) {
        self.content.store(Arc::new(content));
    }

    /// Removes everything.
    pub(super) fn clear(&self) {
        self.replace(Content::new());
    }

    /// How many items there are, those past their end among them until they are collected.
    pub(super) fn len(&self) -> usize {
        self.content.load().len()
    }

    /// Looks at an item.
    fn look<T>(&self, key: &[u8], now: impl Fn() -> u64, read: impl FnOnce(&Item) -> T) -> Option<T> {
        let content = self.content.load();
        let (hash, shard) = content.shard(key);
        let shard = shard?.read();
        let item = &shard.find(hash, |entry| *entry.item.key == *key)?.item;
        (item.expires == 0 || item.expires > now()).then(|| read(item))
    }

    /// The value of an item, or what a missing one reads as.
    pub(super) fn get(&self, key: &[u8], now: impl Fn() -> u64) -> Owned {
        self.look(key, now, |item| item.value.clone())
            .unwrap_or_else(|| self.definition.default_value())
    }

    /// An item.
    pub(super) fn item(&self, key: &[u8], now: u64) -> Option<Item> {
        self.look(key, || now, Item::clone)
    }

    /// Seconds until an item ends; 0 for one that does not, or is not there.
    pub(super) fn ends_in(&self, key: &[u8], now: u64) -> u64 {
        self.look(key, || now, |item| item.expires.saturating_sub(now))
            .unwrap_or(0)
    }

    fn end(&self, life: Life, now: u64, old: Option<u64>) -> u64 {
        let definition = &self.definition;
        match (life, old) {
            _ if definition.autoexpire == 0 => 0,
            (Life::Seconds(0), _) => 0,
            (Life::Seconds(seconds), _) => now.saturating_add(seconds),
            (Life::Defined, Some(old)) if !definition.updateexpire => old,
            (Life::Defined, _) => now.saturating_add(definition.autoexpire),
        }
    }

    /// Sets an item; null removes it.
    pub(super) fn set(&self, key: &[u8], value: Owned, life: Life, now: u64) -> Result<(), Full> {
        if value.is_null() {
            self.remove(key);
            return Ok(());
        }
        let content = self.content.load();
        let (hash, Some(shard)) = content.shard(key) else {
            return Err(Full);
        };
        let mut shard = shard.write();
        if let Some(entry) = shard.find_mut(hash, |entry| *entry.item.key == *key) {
            let item = &mut entry.item;
            let alive = item.expires == 0 || item.expires > now;
            item.expires = self.end(life, now, alive.then_some(item.expires));
            item.value = value;
            return Ok(());
        }
        if shard.len() >= SHARD_MAX {
            return Err(Full);
        }
        let item = Item {
            key: key.into(),
            value,
            expires: self.end(life, now, None),
        };
        shard.insert_unique(hash, Entry { hash, item }, |entry| entry.hash);
        Ok(())
    }

    /// Sets when an item ends; false when it is not there.
    pub(super) fn set_end(&self, key: &[u8], seconds: u64, now: u64) -> bool {
        let content = self.content.load();
        let (hash, Some(shard)) = content.shard(key) else {
            return false;
        };
        let mut shard = shard.write();
        let Some(entry) = shard.find_mut(hash, |entry| *entry.item.key == *key) else {
            return false;
        };
        entry.item.expires = self.end(Life::Seconds(seconds), now, None);
        true
    }

    /// Adds to an integer item at once; none when it is missing (and has no initial value) or no integer.
    pub(super) fn add(&self, key: &[u8], n: i64, now: u64) -> Option<i64> {
        let content = self.content.load();
        let (hash, shard) = content.shard(key);
        let mut shard = shard?.write();
        if let Some(entry) = shard.find_mut(hash, |entry| *entry.item.key == *key) {
            let item = &mut entry.item;
            let alive = item.expires == 0 || item.expires > now;
            let old = match &item.value {
                _ if !alive => self.definition.initval?,
                Value::Int(old) => *old,
                Value::Null | Value::Str(_) => return None,
            };
            let sum = old.wrapping_add(n);
            item.expires = self.end(Life::Defined, now, alive.then_some(item.expires));
            item.value = Value::Int(sum);
            return Some(sum);
        }
        let sum = self.definition.initval?.wrapping_add(n);
        if shard.len() >= SHARD_MAX {
            return None;
        }
        let item = Item {
            key: key.into(),
            value: Value::Int(sum),
            expires: self.end(Life::Defined, now, None),
        };
        shard.insert_unique(hash, Entry { hash, item }, |entry| entry.hash);
        Some(sum)
    }

    /// Removes an item; false when it is not there.
    pub(super) fn remove(&self, key: &[u8]) -> bool {
        let content = self.content.load();
        let (hash, Some(shard)) = content.shard(key) else {
            return false;
        };
        let mut shard = shard.write();
        shard
            .find_entry(hash, |entry| *entry.item.key == *key)
            .is_ok_and(|entry| {
                entry.remove();
                true
            })
    }

    /// Removes the items that a test holds for, and gives them to `told`.
    pub(super) fn remove_where(&self, test: impl Fn(&Item) -> bool, mut told: impl FnMut(Item)) {
        let content = self.content.load();
        for shard in &content.shards {
            // Few go at a time: the others of the shard need not wait for `told`.
            let gone: Vec<Entry> = {
                let mut shard = shard.write();
                shard.extract_if(|entry| test(&entry.item)).collect()
            };
            gone.into_iter().for_each(|entry| told(entry.item));
        }
    }

    /// Walks over all items, a shard locked at a time.
    pub(super) fn each(&self, now: u64, mut visit: impl FnMut(&Item)) {
        let content = self.content.load();
        for shard in &content.shards {
            let shard = shard.read();
            let items = shard.iter().map(|entry| &entry.item);
            items
                .filter(|item| item.expires == 0 || item.expires > now)
                .for_each(&mut visit);
        }
    }

    /// All items in the order of the slots that dumps show.
    pub(super) fn by_slot(&self, now: u64) -> Vec<(u32, Item)> {
        let mut items = Vec::with_capacity(self.len());
        self.each(now, |item| items.push((shown_hash(&item.key), item.clone())));
        let mask = self.definition.slots - 1;
        items.sort_by(|(a, x), (b, y)| (a & mask, a, &x.key).cmp(&(b & mask, b, &y.key)));
        items
            .into_iter()
            .map(|(hash, item)| (hash & mask, item))
            .collect()
    }

    /// Whether an item passes a test.
    pub(super) fn any(&self, now: u64, test: impl Fn(&Item) -> bool) -> bool {
        let content = self.content.load();
        content.shards.iter().any(|shard| {
            let shard = shard.read();
            let mut items = shard.iter().map(|entry| &entry.item);
            items.any(|item| (item.expires == 0 || item.expires > now) && test(item))
        })
    }

    /// How many items pass a test.
    pub(super) fn count(&self, now: u64, test: impl Fn(&Item) -> bool) -> i64 {
        let mut count = 0;
        self.each(now, |item| count += i64::from(test(item)));
        count
    }
}

/// The hash whose low bits are the `entry` of `htable.dump`: words of four bytes without regard to case, mixed and summed.
pub(super) fn shown_hash(key: &[u8]) -> u32 {
    let fold = |part: &[u8]| {
        part.iter().fold(0u32, |word, byte| {
            (word << 8).wrapping_add(u32::from(byte | 0x20))
        })
    };
    let sum = key
        .chunks(4)
        .map(fold)
        .fold(0u32, |sum, word| sum.wrapping_add(word ^ (word >> 3)));
    sum.wrapping_add(sum >> 11)
        .wrapping_add(sum >> 13)
        .wrapping_add(sum >> 23)
}

/// How names and values are compared by functions that take an operator.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Equal(Vec<u8>),
    Differs(Vec<u8>),
    Begins(Vec<u8>),
    Ends(Vec<u8>),
    Holds(Vec<u8>),
    Matches(Regex),
    /// An integer of this value.
    Number(i64),
    All,
}

impl Test {
    /// By operator: `eq ne sw ew in re`.
    pub(super) fn new(operator: &[u8], text: Vec<u8>) -> Result<Self, String> {
        match operator {
            b"eq" => Ok(Self::Equal(text)),
            b"ne" => Ok(Self::Differs(text)),
            b"sw" => Ok(Self::Begins(text)),
            b"ew" => Ok(Self::Ends(text)),
            b"in" => Ok(Self::Holds(text)),
            b"re" => Self::regex(&text),
            other => Err(format!("unknown operator {:?}", String::from_utf8_lossy(other))),
        }
    }

    /// A regular expression.
    pub(super) fn regex(text: &[u8]) -> Result<Self, String> {
        let shown = || format!("bad regular expression {:?}", String::from_utf8_lossy(text));
        Regex::compile(text, shared::regex::Options::PLAIN)
            .map(Self::Matches)
            .map_err(|_| shown())
    }

    /// As `$shtcn` and `$shtcv` write it: `~~expression`, `~%end`, `%~beginning`, `==text`, `eq7`, `**`, or an expression.
    pub(super) fn written(text: &[u8]) -> Result<Self, String> {
        match text {
            [b'~', b'~', rest @ ..] => Self::regex(rest),
            [b'~', b'%', rest @ ..] => Ok(Self::Ends(rest.to_vec())),
            [b'%', b'~', rest @ ..] => Ok(Self::Begins(rest.to_vec())),
            [b'=', b'=', rest @ ..] => Ok(Self::Equal(rest.to_vec())),
            [b'e', b'q', rest @ ..] if !rest.is_empty() => Ok(Self::Number(leading_int(rest).unwrap_or(0))),
            b"**" => Ok(Self::All),
            _ => Self::regex(text),
        }
    }

    pub(super) fn holds(&self, text: &[u8]) -> bool {
        match self {
            Self::Equal(wanted) => text == wanted.as_slice(),
            Self::Differs(wanted) => text != wanted.as_slice(),
            Self::Begins(wanted) => text.starts_with(wanted),
            Self::Ends(wanted) => text.ends_with(wanted),
            Self::Holds(wanted) => wanted.is_empty() || memchr::memmem::find(text, wanted).is_some(),
            Self::Matches(regex) => regex.is_match(text),
            Self::Number(_) => false,
            Self::All => true,
        }
    }

    /// Kamailio: integers pass no test of texts.
    pub(super) fn holds_value(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Number(wanted), Value::Int(n)) => n == wanted,
            (Self::All, _) => true,
            (_, Value::Str(text)) => self.holds(text),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        Table::new(Definition::parse(text).unwrap(), None)
    }

    #[test]
    fn slots_are_those_that_kamailio_shows() {
        let observed = [
            ("", 0),
            ("k16", 12),
            ("ABCD::xyz", 15),
            ("k10", 18),
            ("127.0.0.1", 23),
            ("Abcdefg", 76),
            ("abcdefg", 76),
            ("k6", 95),
            ("k0", 101),
            ("k", 102),
            ("a", 109),
            ("k27", 109),
            ("k8", 110),
            ("k29", 122),
        ];
        for (key, slot) in observed {
            assert_eq!(shown_hash(key.as_bytes()) & 255, slot, "{key}");
        }
    }

    #[test]
    fn items_end_by_their_table() {
        let (e, u, h) = (
            table("e=>autoexpire=100"),
            table("u=>autoexpire=100;updateexpire=0"),
            table("h=>size=4"),
        );
        for table in [&e, &u, &h] {
            table.set(b"k", Value::Int(1), Life::Defined, 1000).unwrap();
            assert!(table.set_end(b"k", 10, 1000));
        }
        assert_eq!([&e, &u, &h].map(|t| t.ends_in(b"k", 1000)), [10, 10, 0]);
        for table in [&e, &u, &h] {
            table.set(b"k", Value::Int(2), Life::Defined, 1005).unwrap();
        }
        assert_eq!([&e, &u, &h].map(|t| t.ends_in(b"k", 1005)), [100, 5, 0]);
        assert_eq!(u.get(b"k", || 1010), Value::Null);
        assert_eq!(u.count(1010, |_| true), 0);
        u.set(b"k", Value::Int(3), Life::Defined, 1010).unwrap();
        assert_eq!(u.ends_in(b"k", 1010), 100, "an item past its end begins anew");
        e.set_end(b"k", 0, 1005);
        assert_eq!(e.get(b"k", || u64::MAX), Value::Int(2));
        let mut told = Vec::new();
        u.remove_where(|item| item.expires <= 1110, |item| told.push(item.key));
        assert_eq!((told.len(), u.len()), (1, 0));
    }

    #[test]
    fn adding_needs_an_integer() {
        let (h, i) = (table("h=>size=4"), table("i=>size=4;initval=5"));
        assert_eq!(h.add(b"none", 1, 0), None);
        assert_eq!(i.get(b"none", || 0), Value::Int(5));
        assert_eq!(
            (i.add(b"a", 1, 0), i.add(b"b", -1, 0), i.add(b"b", -1, 0)),
            (Some(6), Some(4), Some(3))
        );
        h.set(b"s", Value::owned(*b"41"), Life::Defined, 0).unwrap();
        assert_eq!(h.add(b"s", 1, 0), None);
        h.set(b"n", Value::Int(i64::MAX), Life::Defined, 0).unwrap();
        assert_eq!(h.add(b"n", 1, 0), Some(i64::MIN));
        h.set(b"n", Value::Null, Life::Defined, 0).unwrap();
        assert!(!h.remove(b"n") && h.remove(b"s") && h.len() == 0);
    }

    #[test]
    fn tests_by_operator() {
        for (operator, text, subject, expected) in [
            ("eq", "abc", "abc", true),
            ("ne", "abc", "abc", false),
            ("sw", "ab", "abc", true),
            ("ew", "bc", "abc", true),
            ("in", "b", "abc", true),
            ("in", "", "", true),
            ("re", "^a.c$", "abc", true),
            ("re", "^A", "abc", false),
        ] {
            let test = Test::new(operator.as_bytes(), text.as_bytes().to_vec()).unwrap();
            assert_eq!(test.holds(subject.as_bytes()), expected, "{operator} {text}");
        }
        assert!(Test::new(b"xx", Vec::new()).is_err() && Test::new(b"re", b"([".to_vec()).is_err());
        for (text, expected) in [
            ("~~^v", true),
            ("~%1", true),
            ("%~v", true),
            ("%~1", false),
            ("==v1", true),
            ("v", true),
            ("==v", false),
        ] {
            assert_eq!(
                Test::written(text.as_bytes()).unwrap().holds(b"v1"),
                expected,
                "{text}"
            );
        }
        assert!(!Test::Equal(b"7".to_vec()).holds_value(&Value::Int(7)));
    }
}
