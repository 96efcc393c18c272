//! A bounded queue from the asynchronous edge to the worker threads.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Condvar;
use parking_lot::Mutex;

/// First in, first out, for several producers and workers; full means overload, never waiting.
#[derive(Debug)]
pub struct Queue<T> {
    items: Mutex<Items<T>>,
    filled: Condvar,
    limit: usize,
}

#[derive(Debug)]
struct Items<T> {
    list: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    /// An empty queue that takes `limit` items.
    pub fn new(limit: usize) -> Self {
        let items = Items {
            list: VecDeque::new(),
            closed: false,
        };
        Self {
            items: Mutex::new(items),
            filled: Condvar::new(),
            limit,
        }
    }

    /// Appends an item; gives it back when the queue is full or closed.
    pub fn push(&self, item: T) -> Result<(), T> {
        let mut items = self.items.lock();
        if items.closed || items.list.len() >= self.limit {
            return Err(item);
        }
        items.list.push_back(item);
        drop(items);
        self.filled.notify_one();
        Ok(())
    }

    /// Takes up to `most` items into `out`, waiting at most `timeout` for the first; how many.
    pub fn take(&self, out: &mut Vec<T>, most: usize, timeout: Duration) -> usize {
        let mut items = self.items.lock();
        if items.list.is_empty() && !items.closed {
            self.filled.wait_for(&mut items, timeout);
        }
        let n = items.list.len().min(most);
        out.extend(items.list.drain(..n));
        n
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.items.lock().list.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes no more items and ends every wait; what waits can still be taken.
    pub fn close(&self) {
        self.items.lock().closed = true;
        self.filled.notify_all();
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.items.lock().closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_is_refused_and_closing_ends_the_wait() {
        let queue = Queue::new(2);
        assert_eq!(
            (queue.push(1), queue.push(2), queue.push(3)),
            (Ok(()), Ok(()), Err(3))
        );
        let mut out = Vec::new();
        assert_eq!(queue.take(&mut out, 1, Duration::ZERO), 1);
        assert_eq!(queue.take(&mut out, 9, Duration::ZERO), 1);
        assert_eq!(queue.take(&mut out, 9, Duration::ZERO), 0);
        assert_eq!(out, [1, 2]);
        queue.close();
        assert_eq!(queue.take(&mut out, 9, Duration::from_secs(60)), 0);
        assert_eq!(queue.push(4), Err(4));
        assert!(queue.is_closed() && queue.is_empty());
    }

    #[test]
    fn an_item_wakes_a_waiting_worker() {
        let queue = Queue::new(2);
        std::thread::scope(|s| {
            let worker = s.spawn(|| {
                let mut out = Vec::new();
                while queue.take(&mut out, 8, Duration::from_secs(5)) == 0 {}
                out
            });
            queue.push(7).unwrap();
            assert_eq!(worker.join().unwrap(), [7]);
        });
    }
}
