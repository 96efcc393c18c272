//! What one worker has under way: its iterators, the record that expired (Kamailio `sht_iterator_*`, `$shtrecord`).

use super::table::Item;
use std::vec::IntoIter;

/// Iterators open at a time.
const ITERATORS_MAX: usize = 4;

/// An iterator over the items that were there when it began.
pub(super) struct Iterator {
    name: Box<[u8]>,
    /// Place of its table in the module's list.
    pub(super) table: usize,
    rest: IntoIter<(u32, Item)>,
    pub(super) current: Option<Item>,
}

/// The state of a worker.
#[derive(Default)]
pub(super) struct Worker {
    iterators: Vec<Iterator>,
    pub(super) record: Option<Item>,
}

impl Worker {
    /// Opens an iterator, in the place of one with the same name; false when there are too many.
    pub(super) fn start(&mut self, name: &[u8], table: usize, items: Vec<(u32, Item)>) -> bool {
        self.end(name);
        if self.iterators.len() >= ITERATORS_MAX {
            return false;
        }
        self.iterators.push(Iterator {
            name: name.into(),
            table,
            rest: items.into_iter(),
            current: None,
        });
        true
    }

    /// The iterator of that name.
    pub(super) fn iterator(&mut self, name: &[u8]) -> Option<&mut Iterator> {
        self.iterators.iter_mut().find(|iterator| *iterator.name == *name)
    }

    /// The item that an iterator is at.
    pub(super) fn current(&mut self, name: &[u8]) -> Option<Item> {
        self.iterator(name)?.current.clone()
    }

    /// Closes an iterator; false when there is none of that name.
    pub(super) fn end(&mut self, name: &[u8]) -> bool {
        let count = self.iterators.len();
        self.iterators.retain(|iterator| *iterator.name != *name);
        self.iterators.len() < count
    }
}

impl Iterator {
    /// Goes on to the next item that is still there.
    pub(super) fn next(&mut self, is_there: impl Fn(&[u8]) -> bool) -> bool {
        self.current = self
            .rest
            .find(|(_, item)| is_there(&item.key))
            .map(|(_, item)| item);
        self.current.is_some()
    }
}
