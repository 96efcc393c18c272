//! Destination sets: read from a file or a table, ordered, shared out (Kamailio module dispatcher, "Installation").

use super::destination::Destination;
use crate::log;
use shared::db::Backend;
use shared::db::Error;
use shared::db::Row;
use shared::db::Select;
use shared::db::Value;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

/// How many parts a set's weights share out.
const SHARES: usize = 100;

/// A destination as written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) set: i64,
    pub(super) uri: Vec<u8>,
    pub(super) flags: u32,
    pub(super) priority: i64,
    pub(super) attrs: Vec<u8>,
}

/// One set.
pub(super) struct Set {
    pub(super) id: i64,
    /// The highest priority first; of equal ones the newest first.
    pub(super) destinations: Vec<Arc<Destination>>,
    /// Where round robin goes on.
    pub(super) next: AtomicUsize,
    /// The order in which the shares of weights are dealt.
    deal: Box<[u8]>,
    dealt: AtomicU32,
}

impl Set {
    fn new(id: i64, mut destinations: Vec<Arc<Destination>>, seed: u64) -> Self {
        destinations.sort_by_key(|destination| std::cmp::Reverse(destination.priority));
        let mut deal: Vec<u8> = (0..SHARES as u8).collect();
        let mut state = seed ^ id.cast_unsigned();
        for at in (1..deal.len()).rev() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            deal.swap(at, (state >> 33) as usize % (at + 1));
        }
        Self {
            id,
            destinations,
            next: AtomicUsize::new(0),
            deal: deal.into(),
            dealt: AtomicU32::new(0),
        }
    }

    /// The destination whose weight the next share falls to; weights beyond 100 in sum do not count, what is missing
    /// is the last one's.
    pub(super) fn by_weight(&self) -> usize {
        let share = self.deal();
        let mut sum = 0;
        for (at, destination) in self.destinations.iter().enumerate() {
            let weight = destination.attributes.weight;
            if sum + weight <= SHARES as u32 {
                sum += weight;
            }
            if share < sum {
                return at;
            }
        }
        if sum == 0 {
            0
        } else {
            self.destinations.len().saturating_sub(1)
        }
    }

    /// The same over relative weights of what is active; `weight` is that of one destination.
    pub(super) fn by_relative_weight(&self, weight: impl Fn(&Destination) -> f64) -> usize {
        let weights: Vec<f64> = self
            .destinations
            .iter()
            .map(|d| if d.is_active() { weight(d) } else { 0.0 })
            .collect();
        let sum: f64 = weights.iter().sum();
        if sum <= 0.0 {
            return 0;
        }
        let share = self.deal();
        let mut dealt = 0;
        let mut last = 0;
        for (at, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            // a fraction of a share goes to the last one
            dealt += (weight * SHARES as f64 / sum) as u32;
            last = at;
            if share < dealt {
                break;
            }
        }
        last
    }

    fn deal(&self) -> u32 {
        let turn = self.dealt.fetch_add(1, Ordering::Relaxed) as usize % SHARES;
        self.deal.get(turn).copied().unwrap_or(0).into()
    }
}

/// Every set, by number.
#[derive(Default)]
pub(super) struct Sets(Vec<Set>);

impl Sets {
    /// Builds the sets; what cannot be used is left out with a warning, or refused when `strict`.
    pub(super) fn build(records: &[Record], strict: bool, seed: u64) -> Result<Self, String> {
        let mut lists: Vec<(i64, Vec<Arc<Destination>>)> = Vec::new();
        for record in records {
            let destination =
                match Destination::new(&record.uri, record.flags, record.priority, &record.attrs) {
                    Ok(destination) => Arc::new(destination),
                    Err(why) if strict => return Err(why),
                    Err(why) => {
                        let uri = String::from_utf8_lossy(&record.uri);
                        log::warning(
                            "dispatcher",
                            format_args!(
                                "unable to add destination {uri} to set {} -- skipping: {why}",
                                record.set
                            ),
                        );
                        continue;
                    }
                };
            match lists.iter_mut().find(|(id, _)| *id == record.set) {
                // Kamailio: of equal priorities the one read last comes first.
                Some((_, list)) => list.insert(0, destination),
                None => lists.push((record.set, vec![destination])),
            }
        }
        lists.sort_by_key(|(id, _)| *id);
        Ok(Self(
            lists
                .into_iter()
                .map(|(id, list)| Set::new(id, list, seed))
                .collect(),
        ))
    }

    /// The set with this number.
    pub(super) fn get(&self, id: i64) -> Option<&Set> {
        let at = self.0.binary_search_by_key(&id, |set| set.id).ok()?;
        self.0.get(at)
    }

    /// All sets.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Set> {
        self.0.iter()
    }

    /// Every destination with its set.
    pub(super) fn destinations(&self) -> impl Iterator<Item = (i64, &Arc<Destination>)> {
        self.0
            .iter()
            .flat_map(|set| set.destinations.iter().map(|destination| (set.id, destination)))
    }

    /// A destination by set and URI.
    pub(super) fn find(&self, set: i64, uri: &[u8]) -> Option<&Arc<Destination>> {
        self.get(set)?
            .destinations
            .iter()
            .find(|destination| *destination.uri == *uri)
    }

    /// A destination by set and `duid`.
    pub(super) fn by_duid(&self, set: i64, duid: &[u8]) -> Option<&Arc<Destination>> {
        self.get(set)?
            .destinations
            .iter()
            .find(|destination| *destination.attributes.duid == *duid)
    }

    /// The same sets with one more destination.
    pub(super) fn with(&self, set: i64, destination: Destination, seed: u64) -> Self {
        let mut lists = self.lists();
        let destination = Arc::new(destination);
        match lists.iter_mut().find(|(id, _)| *id == set) {
            Some((_, list)) => list.insert(0, destination),
            None => lists.push((set, vec![destination])),
        }
        Self::of(lists, seed)
    }

    /// The same sets without a destination.
    pub(super) fn without(&self, set: i64, uri: &[u8], seed: u64) -> Self {
        let mut lists = self.lists();
        for (_, list) in lists.iter_mut().filter(|(id, _)| *id == set) {
            list.retain(|destination| *destination.uri != *uri);
        }
        lists.retain(|(_, list)| !list.is_empty());
        Self::of(lists, seed)
    }

    fn lists(&self) -> Vec<(i64, Vec<Arc<Destination>>)> {
        self.0
            .iter()
            .map(|set| (set.id, set.destinations.clone()))
            .collect()
    }

    fn of(mut lists: Vec<(i64, Vec<Arc<Destination>>)>, seed: u64) -> Self {
        lists.sort_by_key(|(id, _)| *id);
        Self(
            lists
                .into_iter()
                .map(|(id, list)| Set::new(id, list, seed))
                .collect(),
        )
    }

    /// Takes over states, loads and turns of the sets that these replace.
    pub(super) fn inherit(&self, old: &Self, what: Inherit) {
        for (id, destination) in self.destinations() {
            let before = old.find(id, &destination.uri);
            match (before, what) {
                (Some(before), Inherit::All) => destination.inherit(before),
                (Some(before), Inherit::Latency) => {
                    *destination.latency.lock() = before.latency.lock().clone()
                }
                _ => {}
            }
            if let Some(before) = before {
                destination
                    .load
                    .store(before.load.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }
}

/// What a reload keeps besides loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inherit {
    Loads,
    Latency,
    All,
}

/// Reads a list file; an error names the line.
pub(super) fn parse_list(text: &str) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace().peekable();
        let set = words.next().and_then(|word| word.parse().ok());
        let (Some(set), Some(uri)) = (set, words.next()) else {
            return Err(format!(
                "line {}: bad line [{line}]: set and destination expected",
                number + 1
            ));
        };
        let flags = words
            .next_if(|word| integer(word).is_some())
            .and_then(integer)
            .unwrap_or(0);
        let priority = words
            .next_if(|word| integer(word).is_some())
            .and_then(integer)
            .unwrap_or(0);
        let attrs = words
            .next()
            .filter(|word| !word.starts_with('#'))
            .unwrap_or_default();
        records.push(Record {
            set,
            uri: uri.as_bytes().to_vec(),
            flags: u32::try_from(flags).unwrap_or(0),
            priority,
            attrs: attrs.as_bytes().to_vec(),
        });
    }
    Ok(records)
}

fn integer(word: &str) -> Option<i64> {
    match word.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}

/// Where destinations stand in a database.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    pub(super) table: String,
    pub(super) set: String,
    pub(super) destination: String,
    pub(super) flags: String,
    pub(super) priority: String,
    pub(super) attrs: String,
    /// Attribute names and the columns they come from.
    pub(super) extra: Vec<(String, String)>,
}

/// Reads the table.
pub(super) fn load_table(db: &mut dyn Backend, columns: &Columns) -> Result<Vec<Record>, Error> {
    let mut wanted = vec![
        &*columns.set,
        &*columns.destination,
        &*columns.flags,
        &*columns.priority,
        &*columns.attrs,
    ];
    wanted.extend(columns.extra.iter().map(|(_, column)| &**column));
    let mut records = Vec::new();
    db.each(&Select::from(&columns.table).columns(&wanted), &mut |row| {
        records.extend(record(row, columns));
        Ok(())
    })?;
    Ok(records)
}

fn record(row: Row<'_>, columns: &Columns) -> Option<Record> {
    let mut attrs = row
        .at(4)
        .map(|cell| cell.to_bytes().into_owned())
        .unwrap_or_default();
    for (at, (name, _)) in columns.extra.iter().enumerate() {
        let value = row.at(5 + at).map(Value::to_bytes).unwrap_or_default();
        if !value.is_empty() {
            if !attrs.is_empty() && !attrs.ends_with(b";") {
                attrs.push(b';');
            }
            attrs.extend([name.as_bytes(), b"=", &value].concat());
        }
    }
    Some(Record {
        set: row.at(0)?.as_int()?,
        uri: row.at(1)?.to_bytes().into_owned(),
        flags: row
            .at(2)
            .and_then(Value::as_int)
            .and_then(|flags| u32::try_from(flags).ok())
            .unwrap_or(0),
        priority: row.at(3).and_then(Value::as_int).unwrap_or(0),
        attrs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(text: &str) -> Sets {
        Sets::build(&parse_list(text).unwrap(), false, 1).unwrap()
    }

    #[test]
    fn lists_are_read_and_ordered() {
        let text = "# c\n\n1 sip:127.0.0.11:5060 0 0 duid=a;x=y\n1 sip:127.0.0.12 0x8 0\n1 sip:127.0.0.13 0 5 # p\n2 sip:127.0.0.14\n";
        let sets = sets(text);
        let order: Vec<_> = sets
            .destinations()
            .map(|(id, d)| (id, String::from_utf8_lossy(&d.uri).into_owned()))
            .collect();
        let expected = [
            (1, "sip:127.0.0.13"),
            (1, "sip:127.0.0.12"),
            (1, "sip:127.0.0.11:5060"),
            (2, "sip:127.0.0.14"),
        ];
        assert_eq!(order, expected.map(|(id, uri)| (id, uri.to_owned())));
        assert_eq!(sets.find(1, b"sip:127.0.0.12").unwrap().state(), "AP");
        assert!(sets.by_duid(1, b"a").is_some());
        for bad in ["6\n", "x sip:127.0.0.1\n"] {
            assert!(parse_list(bad).unwrap_err().starts_with("line 1"), "{bad}");
        }
    }

    #[test]
    fn weights_share_out_a_hundred() {
        let sets = sets(
            "3 sip:127.0.0.21 0 0 weight=10\n3 sip:127.0.0.22 0 0 weight=60\n3 sip:127.0.0.23 0 0 weight=20\n",
        );
        let set = sets.get(3).unwrap();
        let mut got = [0; 3];
        (0..100).for_each(|_| got[set.by_weight()] += 1);
        assert_eq!(got, [20, 60, 20]);
        let mut got = [0; 3];
        set.destinations[2].force(super::super::destination::INACTIVE);
        (0..100).for_each(|_| got[set.by_relative_weight(|d| f64::from(d.attributes.weight))] += 1);
        assert_eq!(got, [25, 75, 0]);
    }

    #[test]
    fn destinations_come_and_go() {
        let first = sets("1 sip:127.0.0.1 0 1\n");
        let more = first.with(9, Destination::new(b"sip:127.0.0.9", 0, 0, b"").unwrap(), 1);
        assert_eq!(more.iter().map(|set| set.id).collect::<Vec<_>>(), [1, 9]);
        assert_eq!(more.without(9, b"sip:127.0.0.9", 1).iter().count(), 1);
    }
}
