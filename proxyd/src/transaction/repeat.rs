//! When a message is sent again: Timers A, E and G of RFC 3261 §17.

use crate::transaction::timer::Millis;
use crate::transaction::timer::NEVER;
use crate::transaction::timer::Timers;
use crate::transaction::timer::after;

/// Retransmission at intervals that double up to T2; packed, as every branch of every call has one.
#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed(4))]
pub(super) struct Repeat {
    interval: u32,
    at: Millis,
}

impl Repeat {
    /// Sends nothing again.
    pub(super) const OFF: Self = Self {
        interval: 0,
        at: NEVER,
    };

    /// Sends again what was sent at `now`.
    pub(super) fn from(now: Millis, timers: &Timers) -> Self {
        let interval = timers.first_interval();
        Self {
            interval,
            at: after(now, interval),
        }
    }

    /// The next time, or [`NEVER`].
    pub(super) fn at(self) -> Millis {
        self.at
    }

    /// Whether it is time; if so, the time after it is set.
    pub(super) fn is_due(&mut self, now: Millis, timers: &Timers) -> bool {
        if now < self.at {
            return false;
        }
        self.interval = timers.next_interval(self.interval);
        self.at = after(now, self.interval);
        true
    }

    /// After the next time, every T2.
    pub(super) fn slow_down(&mut self, timers: &Timers) {
        self.interval = timers.retr_timer2.max(timers.first_interval());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_double_up_to_t2() {
        let timers = Timers::default();
        let times = |mut repeat: Repeat| {
            let next = || {
                let at = repeat.at();
                (at < 12_000 && repeat.is_due(at, &timers)).then_some(at)
            };
            std::iter::from_fn(next).collect::<Vec<_>>()
        };
        assert_eq!(
            times(Repeat::from(0, &timers)),
            [500, 1_500, 3_500, 7_500, 11_500]
        );
        let mut slow = Repeat::from(0, &timers);
        slow.slow_down(&timers);
        assert_eq!(times(slow), [500, 4_500, 8_500]);
        let mut off = Repeat::OFF;
        assert!(!off.is_due(NEVER - 1, &timers));
    }
}
