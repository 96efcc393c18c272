//! Letting datagrams gather, as network cards let interrupts.

use std::ops::RangeInclusive;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// Datagrams expected during a pause for which it is made. One is not worth the timer; more than these gather while
/// those before them are handled.
const WORTH: RangeInclusive<u64> = 2..=14;

/// What the kernel adds to a sleep so that timers end together, unless it is told otherwise (prctl(2), `PR_SET_TIMERSLACK`).
const SLACK: Duration = Duration::from_micros(50);

/// Says when a worker pauses before it takes datagrams from its socket.
///
/// Waking an idle processor costs several times what a datagram does. At middling rates a worker without pauses is woken for
/// nearly each of them; with one it handles many at a waking, for a latency longer by the pause at most.
pub(crate) struct Coalescing {
    sleep: Duration,
    /// Nanoseconds between two datagrams, the mean of about the last eight batches.
    gap: u64,
    /// When the last batch was taken.
    taken: Instant,
}

impl Coalescing {
    /// Pauses last for `sleep` and the timer slack of the kernel, 50 µs; without a sleep there are none.
    pub(crate) fn new(sleep: Duration) -> Option<Self> {
        (!sleep.is_zero()).then(|| Self {
            sleep,
            gap: u64::MAX,
            taken: Instant::now(),
        })
    }

    /// Lets datagrams gather where it pays.
    #[expect(
        clippy::disallowed_methods,
        reason = "the event it would wait for is what shall not wake it"
    )]
    pub(crate) fn pause(&self) {
        if self.pays() {
            thread::sleep(self.sleep);
        }
    }

    /// Learns from a batch taken at `now` how quickly datagrams arrive.
    pub(crate) fn took(&mut self, datagrams: usize, now: Instant) {
        let elapsed = u64::try_from((now - self.taken).as_nanos()).unwrap_or(u64::MAX);
        let gap = elapsed / (datagrams as u64).max(1);
        self.gap = if self.gap == u64::MAX {
            gap
        } else {
            self.gap - self.gap / 8 + gap / 8
        };
        self.taken = now;
    }

    fn pays(&self) -> bool {
        let pause = u64::try_from((self.sleep + SLACK).as_nanos()).unwrap_or(u64::MAX);
        WORTH.contains(&(pause / self.gap.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it pays after many batches of a datagram, with this time between them.
    fn pays(sleep: u64, gap: u64) -> bool {
        let mut coalescing = Coalescing::new(Duration::from_micros(sleep)).unwrap();
        for _ in 0..100 {
            coalescing.took(1, coalescing.taken + Duration::from_micros(gap));
        }
        coalescing.pays()
    }

    #[test]
    fn pauses_are_made_at_middling_rates() {
        assert!(!pays(50, 1000), "none would come");
        assert!(pays(50, 45));
        assert!(pays(50, 8));
        assert!(!pays(50, 5), "they gather by themselves");
        assert!(Coalescing::new(Duration::ZERO).is_none(), "switched off");
    }

    #[test]
    fn a_long_silence_ends_them() {
        let mut coalescing = Coalescing::new(Duration::from_micros(50)).unwrap();
        for _ in 0..100 {
            coalescing.took(4, coalescing.taken + Duration::from_micros(80));
        }
        assert!(coalescing.pays());
        coalescing.took(1, coalescing.taken + Duration::from_secs(1));
        assert!(!coalescing.pays());
    }
}
