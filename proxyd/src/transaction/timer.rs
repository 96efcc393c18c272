//! Timers A to M of RFC 3261 Table 4 with RFC 6026, and the wheel that keeps their deadlines.

/// Monotonic time in milliseconds; its zero is the runtime's choice.
pub type Millis = u64;

/// A deadline that never comes.
pub const NEVER: Millis = Millis::MAX;

/// The timer values of one transaction, under the names of tm's parameters; all in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// T1, the round-trip estimate: the first retransmission interval.
    pub retr_timer1: u32,
    /// T2, the longest retransmission interval.
    pub retr_timer2: u32,
    /// How long a branch waits for its first reply (Timers B and F) and a final reply for its ACK (Timer H).
    pub fr_timer: u32,
    /// How long an INVITE branch waits for a final reply once a provisional one came (Timer C).
    pub fr_inv_timer: u32,
    /// How long a finished transaction stays to absorb what is late (Timers D, I, J and K).
    pub wt_timer: u32,
    /// How long an accepted INVITE stays to pass retransmitted 2xx responses (Timers L and M).
    pub accepted: u32,
    /// The longest life of an INVITE transaction before its final response.
    pub max_inv_lifetime: u32,
    /// The longest life of another transaction before its final response.
    pub max_noninv_lifetime: u32,
    /// Whether every provisional response restarts `fr_inv_timer`, or only an increasing one from 180 up.
    pub restart_fr_on_each_reply: bool,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            retr_timer1: 500,
            retr_timer2: 4_000,
            fr_timer: 30_000,
            fr_inv_timer: 120_000,
            wt_timer: 5_000,
            accepted: 32_000,
            max_inv_lifetime: 180_000,
            max_noninv_lifetime: 32_000,
            restart_fr_on_each_reply: true,
        }
    }
}

impl Timers {
    /// The first interval of Timers A, E and G.
    pub fn first_interval(&self) -> u32 {
        self.retr_timer1.max(1)
    }

    /// The interval that follows `interval` in Timers A, E and G: doubled, at most T2.
    ///
    /// Kamailio: Timer A of an INVITE is capped as well, where RFC 3261 §17.1.1.2 doubles without end.
    pub fn next_interval(&self, interval: u32) -> u32 {
        interval
            .saturating_mul(2)
            .min(self.retr_timer2.max(self.first_interval()))
    }

    /// Timer B: an INVITE without any response.
    pub fn timer_b(&self) -> Millis {
        self.fr_timer.into()
    }

    /// Timer C: an INVITE that was answered provisionally only (RFC 3261 §16.6 step 11).
    pub fn timer_c(&self) -> Millis {
        self.fr_inv_timer.into()
    }

    /// Timer D: a client transaction acknowledging retransmitted responses.
    ///
    /// Kamailio: `wt_timer`, five seconds, which outlives one lost ACK; the RFC holds 32 seconds.
    pub fn timer_d(&self, reliable: bool) -> Millis {
        linger(self.wt_timer, reliable)
    }

    /// Timer F: a request other than INVITE without a final response.
    pub fn timer_f(&self) -> Millis {
        self.fr_timer.into()
    }

    /// Timer H: a final response without its ACK.
    ///
    /// Kamailio: `fr_timer`, where RFC 3261 §17.2.1 has 64*T1; the defaults are 30 and 32 seconds.
    pub fn timer_h(&self) -> Millis {
        self.fr_timer.into()
    }

    /// Timer I: late ACKs; `wt_timer` has the default of T4.
    pub fn timer_i(&self, reliable: bool) -> Millis {
        linger(self.wt_timer, reliable)
    }

    /// Timer J: late retransmissions of a request other than INVITE.
    ///
    /// Kamailio: `wt_timer`, longer than T2, where RFC 3261 §17.2.2 has 64*T1.
    pub fn timer_j(&self, reliable: bool) -> Millis {
        linger(self.wt_timer, reliable)
    }

    /// Timer K: late responses to a request other than INVITE; `wt_timer` has the default of T4.
    pub fn timer_k(&self, reliable: bool) -> Millis {
        linger(self.wt_timer, reliable)
    }

    /// Timer L: retransmissions of an INVITE that was accepted (RFC 6026 §7.1).
    pub fn timer_l(&self) -> Millis {
        self.accepted.into()
    }

    /// Timer M: retransmitted 2xx responses from downstream (RFC 6026 §7.2).
    pub fn timer_m(&self) -> Millis {
        self.accepted.into()
    }
}

/// Adds a duration to a moment without ever reaching [`NEVER`].
pub fn after(now: Millis, delay: impl Into<Millis>) -> Millis {
    now.saturating_add(delay.into()).min(NEVER - 1)
}

fn linger(delay: u32, reliable: bool) -> Millis {
    if reliable { 0 } else { delay.into() }
}

const LEVELS: usize = 4;
const SLOTS: usize = 256;
const OVERFLOW: u16 = (LEVELS * SLOTS) as u16;
const LISTS: usize = LEVELS * SLOTS + 1;
const FREE: u16 = u16::MAX;
const NIL: u32 = u32::MAX;

/// Names one entry of a [`Wheel`] until it fires or is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(u32);

impl Entry {
    /// No entry; cancelling it does nothing.
    pub const NONE: Self = Self(NIL);

    /// Whether this names no entry.
    pub fn is_none(self) -> bool {
        self.0 == NIL
    }
}

/// A hierarchical timing wheel: four levels of 256 lists in one slab; an entry never fires early, and late by less than a tick.
#[derive(Debug)]
pub struct Wheel<K> {
    nodes: Vec<Node<K>>,
    free: u32,
    heads: Box<[u32]>,
    used: [[u64; SLOTS / 64]; LEVELS],
    tick: Millis,
    current: u64,
    len: usize,
}

#[derive(Debug)]
struct Node<K> {
    key: K,
    due: u64,
    prev: u32,
    next: u32,
    list: u16,
}

impl<K: Copy> Wheel<K> {
    /// Makes an empty wheel whose clock stands at `now`.
    pub fn new(tick: Millis, now: Millis) -> Self {
        let tick = tick.max(1);
        Self {
            nodes: Vec::new(),
            free: NIL,
            heads: vec![NIL; LISTS].into_boxed_slice(),
            used: [[0; SLOTS / 64]; LEVELS],
            tick,
            current: now / tick,
            len: 0,
        }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the wheel holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an entry that fires at the first tick not before `at`, but not before the next one.
    pub fn insert(&mut self, at: Millis, key: K) -> Entry {
        let due = at.div_ceil(self.tick).max(self.current.saturating_add(1));
        let node = Node {
            key,
            due,
            prev: NIL,
            next: NIL,
            list: FREE,
        };
        let index = if self.free == NIL {
            if self.nodes.len() >= NIL as usize {
                return Entry::NONE;
            }
            self.nodes.push(node);
            (self.nodes.len() - 1) as u32
        } else {
            let index = self.free;
            self.free = self.nodes[index as usize].next;
            self.nodes[index as usize] = node;
            index
        };
        self.len += 1;
        self.link(index);
        Entry(index)
    }

    /// Removes an entry; `None` when it is not there any more.
    pub fn cancel(&mut self, entry: Entry) -> Option<K> {
        let node = self.nodes.get(entry.0 as usize)?;
        if node.list == FREE {
            return None;
        }
        let key = node.key;
        self.unlink(entry.0);
        self.release(entry.0);
        Some(key)
    }

    /// Moves an entry to another deadline; false when it is not there any more.
    pub fn rearm(&mut self, entry: Entry, at: Millis) -> bool {
        if self
            .nodes
            .get(entry.0 as usize)
            .is_none_or(|node| node.list == FREE)
        {
            return false;
        }
        self.unlink(entry.0);
        self.nodes[entry.0 as usize].due = at.div_ceil(self.tick).max(self.current.saturating_add(1));
        self.link(entry.0);
        true
    }

    /// When an entry fires, rounded up to the tick.
    pub fn deadline(&self, entry: Entry) -> Option<Millis> {
        let node = self.nodes.get(entry.0 as usize)?;
        (node.list != FREE).then(|| node.due.saturating_mul(self.tick))
    }

    /// Moves the clock to `now` and hands out every key whose time has come, in order of deadlines.
    pub fn advance(&mut self, now: Millis, mut fire: impl FnMut(K)) {
        let target = now / self.tick;
        while self.current < target {
            let next = self.next_tick();
            if next > target {
                self.current = target;
                return;
            }
            self.turn(next);
            let mut index = self.take(list_of(0, (next & 0xff) as usize));
            while index != NIL {
                let (key, after) = (self.nodes[index as usize].key, self.nodes[index as usize].next);
                self.release(index);
                fire(key);
                index = after;
            }
        }
    }

    /// The earliest moment at which `advance` has work: a deadline, or a step towards a far one.
    pub fn next_deadline(&self) -> Option<Millis> {
        let next = self.next_tick();
        (next != u64::MAX).then(|| next.saturating_mul(self.tick))
    }

    /// The first tick after the current one at which a list is due, at any level.
    fn next_tick(&self) -> u64 {
        for level in 0..LEVELS {
            let shift = 8 * level as u32;
            let here = (self.current >> shift) & 0xff;
            if let Some(slot) = self.first_used(level, here as usize + 1) {
                let base = (self.current >> shift) & !0xff;
                return (base | slot as u64) << shift;
            }
        }
        if self.heads[OVERFLOW as usize] == NIL {
            u64::MAX
        } else {
            ((self.current >> 32) + 1) << 32
        }
    }

    fn first_used(&self, level: usize, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = self.used[level].get(word)? & (u64::MAX << (from % 64));
        loop {
            if bits != 0 {
                return Some(word * 64 + bits.trailing_zeros() as usize);
            }
            word += 1;
            bits = *self.used[level].get(word)?;
        }
    }

    /// Sets the clock to `tick` and moves the lists it enters down a level.
    fn turn(&mut self, tick: u64) {
        self.current = tick;
        if tick & 0xffff_ffff == 0 {
            self.cascade(OVERFLOW);
        }
        for level in (1..LEVELS).rev() {
            let shift = 8 * level as u32;
            if tick & ((1 << shift) - 1) == 0 {
                self.cascade(list_of(level, ((tick >> shift) & 0xff) as usize));
            }
        }
    }

    fn cascade(&mut self, list: u16) {
        let mut index = self.take(list);
        while index != NIL {
            let after = self.nodes[index as usize].next;
            self.link(index);
            index = after;
        }
    }

    /// Puts a node on the list of the highest byte in which its tick differs from the clock.
    fn link(&mut self, index: u32) {
        let due = self.nodes[index as usize].due;
        let differing = due ^ self.current;
        let list = if differing >> 32 != 0 {
            OVERFLOW
        } else {
            let level = (31 - (differing as u32 | 1).leading_zeros()) as usize / 8;
            list_of(level, ((due >> (8 * level)) & 0xff) as usize)
        };
        let head = self.heads[list as usize];
        let node = &mut self.nodes[index as usize];
        (node.prev, node.next, node.list) = (NIL, head, list);
        if head != NIL {
            self.nodes[head as usize].prev = index;
        }
        self.heads[list as usize] = index;
        self.mark(list, true);
    }

    fn unlink(&mut self, index: u32) {
        let Node { prev, next, list, .. } = self.nodes[index as usize];
        if next != NIL {
            self.nodes[next as usize].prev = prev;
        }
        if prev != NIL {
            self.nodes[prev as usize].next = next;
        } else {
            self.heads[list as usize] = next;
            if next == NIL {
                self.mark(list, false);
            }
        }
    }

    fn take(&mut self, list: u16) -> u32 {
        self.mark(list, false);
        std::mem::replace(&mut self.heads[list as usize], NIL)
    }

    fn release(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        (node.list, node.prev, node.next) = (FREE, NIL, self.free);
        self.free = index;
        self.len -= 1;
    }

    fn mark(&mut self, list: u16, used: bool) {
        if list == OVERFLOW {
            return;
        }
        let (level, slot) = (list as usize / SLOTS, list as usize % SLOTS);
        let bit = 1 << (slot % 64);
        let word = &mut self.used[level][slot / 64];
        *word = if used { *word | bit } else { *word & !bit };
    }
}

fn list_of(level: usize, slot: usize) -> u16 {
    (level * SLOTS + slot) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn fires_neither_early_nor_a_tick_late() {
        for (start, at, fires) in [
            (0, 0, 10),
            (0, 1, 10),
            (0, 10, 10),
            (0, 11, 20),
            (0, 2_560, 2_560),
            (0, 2_561, 2_570),
            (5_000, 4_000, 5_010),
            (0, 655_360, 655_360),
            (0, 167_772_160, 167_772_160),
            (123_456, 42_949_672_960, 42_949_672_960),
            (42_949_672_950, 42_949_672_965, 42_949_672_970),
        ] {
            let mut wheel = Wheel::new(10, start);
            let entry = wheel.insert(at, 7);
            assert_eq!(wheel.deadline(entry), Some(fires), "at {at}");
            let mut fired = Vec::new();
            wheel.advance(fires - 1, |key| fired.push(key));
            assert!(fired.is_empty(), "early for {at}");
            wheel.advance(fires, |key| fired.push(key));
            assert_eq!(fired, [7], "late for {at}");
            assert!(wheel.is_empty());
            assert_eq!(wheel.cancel(entry), None);
        }
    }

    #[test]
    fn intervals_double_to_t2() {
        let timers = Timers::default();
        let mut interval = timers.first_interval();
        let mut seen = vec![interval];
        for _ in 0..5 {
            interval = timers.next_interval(interval);
            seen.push(interval);
        }
        assert_eq!(seen, [500, 1_000, 2_000, 4_000, 4_000, 4_000]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(Millis),
        Cancel(usize),
        Rearm(usize, Millis),
        Advance(Millis),
    }

    fn delay() -> impl Strategy<Value = Millis> {
        prop_oneof![
            0..100u64,
            0..5_000u64,
            0..1_000_000u64,
            0..500_000_000u64,
            0..100_000_000_000u64
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            delay().prop_map(Step::Insert),
            any::<usize>().prop_map(Step::Cancel),
            (any::<usize>(), delay()).prop_map(|(i, d)| Step::Rearm(i, d)),
            delay().prop_map(Step::Advance),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_map(start in 0..1_000_000u64, steps in prop::collection::vec(step(), 1..200)) {
            let mut wheel = Wheel::new(10, start);
            let mut model: BTreeMap<(u64, usize), Entry> = BTreeMap::new();
            let (mut now, mut serial) = (start, 0);
            for step in steps {
                let current = now / 10;
                let pick = |i: usize| model.iter().nth(i % model.len().max(1)).map(|(k, e)| (*k, *e));
                match step {
                    Step::Insert(delay) => {
                        let entry = wheel.insert(now + delay, serial);
                        model.insert(((now + delay).div_ceil(10).max(current + 1), serial), entry);
                        serial += 1;
                    }
                    Step::Cancel(i) => if let Some((key, entry)) = pick(i) {
                        model.remove(&key);
                        prop_assert_eq!(wheel.cancel(entry), Some(key.1));
                    },
                    Step::Rearm(i, delay) => if let Some((key, entry)) = pick(i) {
                        model.remove(&key);
                        prop_assert!(wheel.rearm(entry, now + delay));
                        model.insert(((now + delay).div_ceil(10).max(current + 1), key.1), entry);
                    },
                    Step::Advance(delay) => {
                        now += delay;
                        let mut fired = Vec::new();
                        wheel.advance(now, |key| fired.push(key));
                        let later = model.split_off(&(now / 10 + 1, 0));
                        let mut due: Vec<_> = std::mem::replace(&mut model, later).into_keys().map(|k| k.1).collect();
                        fired.sort_unstable();
                        due.sort_unstable();
                        prop_assert_eq!(fired, due);
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                if let Some(((due, _), _)) = model.first_key_value() {
                    let next = wheel.next_deadline();
                    prop_assert!(next.is_some_and(|next| next > now / 10 * 10 && next <= due * 10));
                } else {
                    prop_assert_eq!(wheel.next_deadline(), None);
                }
            }
        }
    }
}
