//! What other threads leave for the timer worker to do.

use parking_lot::Mutex;
use std::sync::OnceLock;
use std::thread;
use std::thread::Thread;

/// Things of one kind in the order they were left, at most so many.
pub(crate) struct Chores<T, const MOST: usize> {
    left: Mutex<Vec<T>>,
    /// Who takes them; woken for each.
    taker: OnceLock<Thread>,
}

impl<T, const MOST: usize> Default for Chores<T, MOST> {
    fn default() -> Self {
        Self {
            left: Mutex::default(),
            taker: OnceLock::new(),
        }
    }
}

impl<T, const MOST: usize> Chores<T, MOST> {
    /// Leaves one; false when as many as may be are there already.
    #[must_use]
    pub(crate) fn leave(&self, chore: T) -> bool {
        let mut list = self.left.lock();
        if list.len() >= MOST {
            return false;
        }
        list.push(chore);
        drop(list);
        if let Some(taker) = self.taker.get() {
            taker.unpark();
        }
        true
    }

    /// All that were left.
    pub(super) fn take(&self) -> Vec<T> {
        self.taker.get_or_init(thread::current);
        std::mem::take(&mut *self.left.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_bound_are_kept() {
        let chores = Chores::<_, 2>::default();
        assert_eq!([1, 2, 3].map(|n| chores.leave(n)), [true, true, false]);
        assert_eq!(chores.take(), [1, 2]);
        assert!(chores.leave(4));
        assert_eq!(chores.take(), [4]);
    }
}
