//! What other threads leave for the timer worker to do.

use parking_lot::Mutex;

/// Things of one kind in the order they were left, at most so many.
pub(crate) struct Chores<T, const MOST: usize>(Mutex<Vec<T>>);

impl<T, const MOST: usize> Default for Chores<T, MOST> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T, const MOST: usize> Chores<T, MOST> {
    /// Leaves one; false when as many as may be are there already.
    #[must_use]
    pub(crate) fn leave(&self, chore: T) -> bool {
        let mut list = self.0.lock();
        let room = list.len() < MOST;
        if room {
            list.push(chore);
        }
        room
    }

    /// All that were left.
    pub(super) fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock())
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
