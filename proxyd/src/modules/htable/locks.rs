//! Locks that scripts take and let go: `sht_lock`, `sht_unlock` (Kamailio module htable).

use parking_lot::Condvar;
use parking_lot::Mutex;
use std::time::Duration;

/// Locks of one table: keys share them.
const STRIPES: usize = 64;
/// How long a worker waits for a lock before it takes it: who holds it has forgotten it.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Stripe {
    held: Mutex<Option<Held>>,
    freed: Condvar,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    worker: usize,
    depth: u32,
}

/// The locks.
pub(super) struct Locks(Box<[Stripe]>);

impl Locks {
    pub(super) fn new() -> Self {
        Self((0..STRIPES).map(|_| Stripe::default()).collect())
    }

    fn stripe(&self, hash: u32) -> Option<&Stripe> {
        self.0.get(hash as usize % STRIPES)
    }

    /// Takes the lock of a key; false when it had to be taken away from a worker that never let it go.
    pub(super) fn lock(&self, hash: u32, worker: usize) -> bool {
        let Some(stripe) = self.stripe(hash) else {
            return false;
        };
        let mut held = stripe.held.lock();
        let mut in_time = true;
        while let Some(other) = held.as_mut() {
            if other.worker == worker {
                other.depth += 1;
                return true;
            }
            if stripe.freed.wait_for(&mut held, PATIENCE).timed_out() && held.is_some() {
                in_time = false;
                break;
            }
        }
        *held = Some(Held { worker, depth: 1 });
        in_time
    }

    /// Lets it go; false when this worker does not hold it.
    pub(super) fn unlock(&self, hash: u32, worker: usize) -> bool {
        let Some(stripe) = self.stripe(hash) else {
            return false;
        };
        let mut held = stripe.held.lock();
        let Some(own) = held.as_mut().filter(|own| own.worker == worker) else {
            return false;
        };
        own.depth -= 1;
        if own.depth == 0 {
            *held = None;
            stripe.freed.notify_one();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn one_worker_at_a_time() {
        let locks = Arc::new(Locks::new());
        assert!(locks.lock(1, 0) && locks.lock(1, 0));
        assert!(!locks.unlock(1, 1));
        let other = Arc::clone(&locks);
        let thread = std::thread::spawn(move || other.lock(1, 1));
        assert!(locks.unlock(1, 0) && locks.unlock(1, 0) && !locks.unlock(1, 2));
        assert!(thread.join().unwrap());
        assert!(!locks.lock(1, 2), "a lock that is never let go is taken away");
    }
}
