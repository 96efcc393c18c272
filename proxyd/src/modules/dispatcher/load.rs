//! Calls under way by destination, for call load distribution (algorithm 10, `ds_load_update`, `ds_load_unset`).

use super::sets::Sets;
use crate::script::host::Millis;
use ahash::AHashMap;
use parking_lot::Mutex;
use std::sync::atomic::Ordering;

/// The most calls remembered; beyond it calls are sent on without being counted.
const MOST: usize = 1 << 20;

struct Entry {
    set: i64,
    duid: Box<[u8]>,
    expires: Millis,
}

/// Calls by Call-ID.
#[derive(Default)]
pub(super) struct Loads {
    calls: Mutex<AHashMap<Box<[u8]>, Entry>>,
}

impl Loads {
    /// Counts a call for a destination; a call that is known moves there.
    pub(super) fn add(&self, sets: &Sets, call_id: &[u8], set: i64, duid: &[u8], expires: Millis) -> bool {
        let mut calls = self.calls.lock();
        if calls.len() >= MOST && !calls.contains_key(call_id) {
            return false;
        }
        let old = calls.insert(
            call_id.into(),
            Entry {
                set,
                duid: duid.into(),
                expires,
            },
        );
        if let Some(old) = old {
            change(sets, &old, Step::Down);
        }
        change(
            sets,
            &Entry {
                set,
                duid: duid.into(),
                expires,
            },
            Step::Up,
        );
        true
    }

    /// Marks a call as answered: it lives longer.
    pub(super) fn confirm(&self, call_id: &[u8], expires: Millis) -> bool {
        self.calls
            .lock()
            .get_mut(call_id)
            .map(|entry| entry.expires = expires)
            .is_some()
    }

    /// Ends a call.
    pub(super) fn remove(&self, sets: &Sets, call_id: &[u8]) -> bool {
        let entry = self.calls.lock().remove(call_id);
        entry.map(|entry| change(sets, &entry, Step::Down)).is_some()
    }

    /// Ends the calls whose time is over.
    pub(super) fn expire(&self, sets: &Sets, now: Millis) {
        self.calls.lock().retain(|_, entry| {
            let alive = entry.expires > now;
            if !alive {
                change(sets, entry, Step::Down);
            }
            alive
        });
    }
}

enum Step {
    Up,
    Down,
}

fn change(sets: &Sets, entry: &Entry, step: Step) {
    let Some(destination) = sets.by_duid(entry.set, &entry.duid) else {
        return;
    };
    let next = |load: u32| {
        Some(if matches!(step, Step::Up) {
            load.saturating_add(1)
        } else {
            load.saturating_sub(1)
        })
    };
    let _ = destination
        .load
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
}

#[cfg(test)]
mod tests {
    use super::super::sets::parse_list;
    use super::*;

    #[test]
    fn calls_are_counted_once() {
        let records = parse_list("1 sip:127.0.0.1 0 0 duid=a\n1 sip:127.0.0.2 0 0 duid=b\n").unwrap();
        let sets = Sets::build(&records, true, 1).unwrap();
        let loads = Loads::default();
        let load = |duid: &[u8]| sets.by_duid(1, duid).unwrap().load.load(Ordering::Relaxed);
        assert!(loads.add(&sets, b"c1", 1, b"a", 10));
        assert!(loads.add(&sets, b"c2", 1, b"a", 20));
        assert!(loads.add(&sets, b"c1", 1, b"b", 10));
        assert_eq!((load(b"a"), load(b"b")), (1, 1));
        assert!(loads.confirm(b"c2", 100) && !loads.confirm(b"c3", 100));
        loads.expire(&sets, 50);
        assert_eq!((load(b"a"), load(b"b")), (1, 0));
        assert!(loads.remove(&sets, b"c2") && !loads.remove(&sets, b"c2"));
        assert_eq!(load(b"a"), 0);
    }
}
