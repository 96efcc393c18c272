//! Places for connections: when all are taken, the one that has been idle longest is closed for the newcomer.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Places of one server.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    turns: u64,
    connections: BTreeMap<u64, (State, Arc<Notify>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Since a turn.
    Idle(u64),
    /// So many calls and subscriptions are under way.
    Busy(u32),
    Leaving,
}

impl Taken {
    fn turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    /// Closes the connection that has been idle longest; false when there is none and none is leaving.
    fn close_one(&mut self) -> bool {
        let idle = |(number, (state, _)): (&u64, &(State, Arc<Notify>))| match state {
            State::Idle(since) => Some((*since, *number)),
            State::Busy(_) | State::Leaving => None,
        };
        let longest = self.connections.iter().filter_map(idle).min();
        match longest.and_then(|(_, number)| self.connections.get_mut(&number)) {
            Some((state, closed)) => {
                *state = State::Leaving;
                closed.notify_one();
                true
            }
            None => self
                .connections
                .values()
                .any(|(state, _)| *state == State::Leaving),
        }
    }
}

/// A place taken; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    closed: Arc<Notify>,
    places: Arc<Places>,
}

impl Places {
    /// As many as given.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            taken: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Takes a place, idle for now; none when everybody has a call under way. One caller at a time.
    pub(super) async fn take(self: &Arc<Self>) -> Option<Place> {
        loop {
            {
                let mut taken = self.taken.lock();
                if taken.connections.len() < self.most {
                    let (number, closed) = (taken.turn(), Arc::<Notify>::default());
                    let state = State::Idle(number);
                    taken.connections.insert(number, (state, closed.clone()));
                    let places = self.clone();
                    return Some(Place {
                        number,
                        closed,
                        places,
                    });
                }
                if !taken.close_one() {
                    return None;
                }
            }
            self.freed.notified().await;
        }
    }
}

impl Place {
    /// Its number, which no other place of these ever has.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// A call or subscription begins: the place is safe until all of them have ended.
    pub(super) fn begin(&self) -> UnderWay<'_> {
        let mut taken = self.places.taken.lock();
        if let Some((state, _)) = taken.connections.get_mut(&self.number) {
            *state = match *state {
                State::Idle(_) => State::Busy(1),
                State::Busy(calls) => State::Busy(calls.saturating_add(1)),
                State::Leaving => State::Leaving,
            };
        }
        UnderWay(self)
    }

    /// Waits until somebody else needs the place.
    pub(super) async fn closed(&self) {
        self.closed.notified().await;
    }
}

/// A call or subscription; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay<'p>(&'p Place);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut taken = self.0.places.taken.lock();
        let turn = taken.turn();
        if let Some((state, _)) = taken.connections.get_mut(&self.0.number) {
            *state = match *state {
                State::Busy(calls) if calls > 1 => State::Busy(calls - 1),
                State::Busy(_) | State::Idle(_) => State::Idle(turn),
                State::Leaving => State::Leaving,
            };
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.lock().connections.remove(&self.number);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_idle_goes_first() {
        let places = Places::new(2);
        let (first, second) = (places.take().await.unwrap(), places.take().await.unwrap());
        drop((first.begin(), first.begin()));
        let leaving = tokio::spawn(async move { second.closed().await });
        let third = places.take().await.unwrap();
        leaving.await.unwrap();
        {
            let _calls = (first.begin(), third.begin());
            drop(third.begin());
            assert!(places.take().await.is_none(), "everybody has a call");
        }
        drop(first);
        assert!(places.take().await.is_some());
    }
}
