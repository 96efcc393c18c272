//! Counters by group and name (Kamailio modules `kex` and `statistics`): counted on the hot path, read by `stats.*`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::RwLock;

/// Cells of a counter: threads beyond that share one.
const CELLS: usize = 8;

/// A number that many threads change: each in its own cache line.
#[derive(Debug, Default)]
pub struct Counter([Cell; CELLS]);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Cell(AtomicI64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Takes one away.
    pub fn dec(&self) {
        self.add(-1);
    }

    /// Adds a number, which may be negative.
    pub fn add(&self, n: i64) {
        if let Some(cell) = self.0.get(own_cell()) {
            cell.0.fetch_add(n, Relaxed);
        }
    }

    /// What it has come to.
    pub fn value(&self) -> i64 {
        self.0
            .iter()
            .fold(0, |sum, cell| sum.wrapping_add(cell.0.load(Relaxed)))
    }

    /// Sets it; additions at the same moment may be lost.
    pub fn set(&self, n: i64) {
        for (index, cell) in self.0.iter().enumerate() {
            cell.0.store(if index == 0 { n } else { 0 }, Relaxed);
        }
    }
}

fn own_cell() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static OWN: usize = NEXT.fetch_add(1, Relaxed) % CELLS);
    OWN.try_with(|own| *own).unwrap_or(0)
}

/// Reads a number that is kept elsewhere.
pub type Gauge = Arc<dyn Fn() -> i64 + Send + Sync>;

#[derive(Clone)]
enum Entry {
    Counter(Arc<Counter>),
    /// One that is not reset.
    Lasting(Arc<Counter>),
    Gauge(Gauge),
}

impl Entry {
    fn value(&self) -> i64 {
        match self {
            Self::Counter(counter) | Self::Lasting(counter) => counter.value(),
            Self::Gauge(read) => read(),
        }
    }
}

type Group = BTreeMap<String, Entry>;

/// All counters.
#[derive(Default)]
pub struct Statistics(RwLock<BTreeMap<String, Group>>);

/// One number with its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistic {
    /// `core`, `tmx` and so on.
    pub group: String,
    /// Name within the group.
    pub name: String,
    /// Its value.
    pub value: i64,
}

impl Statistics {
    /// No counters yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counter of that name, made when it is new: modules keep it and count without looking it up again.
    pub fn counter(&self, group: &str, name: &str) -> Arc<Counter> {
        self.entry(group, name, Entry::Counter)
    }

    /// Like [`Self::counter`], but it is never reset (Kamailio: STAT_NO_RESET): it goes up and down with what there is, or
    /// another number is reckoned from it.
    pub fn lasting(&self, group: &str, name: &str) -> Arc<Counter> {
        self.entry(group, name, Entry::Lasting)
    }

    fn entry(&self, group: &str, name: &str, kind: fn(Arc<Counter>) -> Entry) -> Arc<Counter> {
        let mut groups = self.0.write();
        let entry = groups.entry(group.to_owned()).or_default().entry(name.to_owned());
        match entry.or_insert_with(|| kind(Arc::default())) {
            Entry::Counter(counter) | Entry::Lasting(counter) => counter.clone(),
            gauge => {
                let counter = Arc::<Counter>::default();
                *gauge = kind(counter.clone());
                counter
            }
        }
    }

    /// Shows a number that is kept elsewhere; it cannot be reset.
    pub fn gauge(&self, group: &str, name: &str, read: impl Fn() -> i64 + Send + Sync + 'static) {
        let mut groups = self.0.write();
        groups
            .entry(group.to_owned())
            .or_default()
            .insert(name.to_owned(), Entry::Gauge(Arc::new(read)));
    }

    /// Forgets a group, whose module is no longer loaded.
    pub fn remove_group(&self, group: &str) {
        self.0.write().remove(group);
    }

    /// The value of `name`, `group:name` or `group.name`, as `$stat(name)` wants it.
    pub fn value(&self, id: &str) -> Option<i64> {
        self.find(id).first().map(|(_, _, entry)| entry.value())
    }

    /// The numbers that `all`, `group:`, a name, `group:name` or `group.name` mean.
    pub fn select(&self, id: &str) -> Vec<Statistic> {
        let found = self.find(id);
        found
            .into_iter()
            .map(|(group, name, entry)| Statistic {
                group,
                name,
                value: entry.value(),
            })
            .collect()
    }

    /// Sets the counters that an id means to nothing; lasting ones and gauges stay.
    pub fn reset(&self, id: &str) {
        for (_, _, entry) in self.find(id) {
            if let Entry::Counter(counter) = entry {
                counter.set(0);
            }
        }
    }

    /// Names of the groups.
    pub fn groups(&self) -> Vec<String> {
        self.0.read().keys().cloned().collect()
    }

    /// Everything in the text format of Prometheus, names beginning with `prefix`.
    pub fn prometheus(&self, prefix: &str) -> String {
        let mut text = String::new();
        for Statistic { group, name, value } in self.select("all") {
            let plain = |s: &str| s.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            // Writing to a string does not fail.
            let _ = writeln!(text, "{prefix}_{}_{} {value}", plain(&group), plain(&name));
        }
        text
    }

    fn find(&self, id: &str) -> Vec<(String, String, Entry)> {
        let groups = self.0.read();
        let one = |group: &str, name: &str| {
            let entry = groups.get(group)?.get(name)?.clone();
            Some((group.to_owned(), name.to_owned(), entry))
        };
        let of_group = |(group, entries): (&String, &Group)| {
            let row = |(name, entry): (&String, &Entry)| (group.clone(), name.clone(), entry.clone());
            entries.iter().map(row).collect::<Vec<_>>()
        };
        if id == "all" {
            return groups.iter().flat_map(of_group).collect();
        }
        if let Some(group) = id.strip_suffix(':') {
            return groups.get_key_value(group).map(of_group).unwrap_or_default();
        }
        let split = id.split_once(':').or_else(|| id.split_once('.'));
        if let Some(found) = split.and_then(|(group, name)| one(group, name)) {
            return vec![found];
        }
        groups
            .keys()
            .find_map(|group| one(group, id))
            .into_iter()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_every_spelling() {
        let stats = Statistics::new();
        let requests = stats.counter("core", "rcv_requests");
        stats.counter("core", "fwd_requests").add(3);
        stats.gauge("usrloc", "location-users", || 7);
        stats.lasting("tmx", "inuse_transactions").add(2);
        requests.inc();
        requests.inc();
        requests.dec();
        assert!(Arc::ptr_eq(&requests, &stats.counter("core", "rcv_requests")));
        let shown = |id: &str| {
            let rows = stats.select(id).into_iter();
            rows.map(|s| format!("{}:{}={}", s.group, s.name, s.value))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let table = [
            (
                "all",
                "core:fwd_requests=3 core:rcv_requests=1 tmx:inuse_transactions=2 usrloc:location-users=7",
            ),
            ("core:", "core:fwd_requests=3 core:rcv_requests=1"),
            ("rcv_requests", "core:rcv_requests=1"),
            ("core:rcv_requests", "core:rcv_requests=1"),
            ("usrloc.location-users", "usrloc:location-users=7"),
            ("nope", ""),
            ("nope:", ""),
            ("core:nope", ""),
        ];
        for (id, expected) in table {
            assert_eq!(shown(id), expected, "{id}");
        }
        stats.reset("all");
        assert_eq!(
            shown("all"),
            "core:fwd_requests=0 core:rcv_requests=0 tmx:inuse_transactions=2 usrloc:location-users=7"
        );
        assert_eq!(stats.value("fwd_requests"), Some(0));
        assert!(
            stats
                .prometheus("proxyd")
                .contains("proxyd_usrloc_location_users 7\n")
        );
        stats.remove_group("core");
        assert_eq!(stats.groups(), ["tmx", "usrloc"]);
    }

    #[test]
    fn threads_add_up() {
        let counter = Counter::default();
        std::thread::scope(|s| {
            for _ in 0..12 {
                s.spawn(|| (0..1000).for_each(|_| counter.inc()));
            }
        });
        assert_eq!(counter.value(), 12_000);
    }
}
