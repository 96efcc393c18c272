//! How a worker waits for datagrams: until it is woken, until some have gathered, or awake.

use std::io;
use std::ops::RangeInclusive;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::udp::Batch;
use super::udp::UdpSocket;

/// Datagrams expected during a pause for which it is made. One is not worth the timer; more than these gather while
/// those before them are handled.
const WORTH: RangeInclusive<u64> = 2..=14;

/// What the kernel adds to a sleep so that timers end together, unless it is told otherwise (prctl(2), `PR_SET_TIMERSLACK`).
const SLACK: Duration = Duration::from_micros(50);

/// What a worker does between two batches.
///
/// Waking an idle processor costs several times what a datagram does, and takes longer than handling it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// It sleeps until the kernel wakes it.
    Asleep,
    /// At rates where it would be woken for nearly each datagram it sleeps for a time, as network cards let interrupts:
    /// less processor time, for a latency longer by the pause at most.
    Coalescing(Duration),
    /// For a time after each batch it looks again and again: the shortest latency, for the whole time of a processor.
    Polling(Duration),
}

/// Takes the datagrams of a socket for one worker.
pub(crate) struct Taker {
    waiting: Waiting,
    /// Nanoseconds between two datagrams, the mean of about the last eight batches.
    gap: u64,
    /// When the last batch was taken.
    taken: Instant,
}

impl Taker {
    /// Waits as told. Pauses last for the time given and the timer slack of the kernel, 50 µs.
    pub(crate) fn new(waiting: Waiting) -> Self {
        Self {
            waiting,
            gap: u64::MAX,
            taken: Instant::now(),
        }
    }

    /// Receives at least one datagram, or none when the socket's time is over.
    pub(crate) fn take(&mut self, batch: &mut Batch, socket: &UdpSocket) -> io::Result<usize> {
        match self.waiting {
            Waiting::Asleep => batch.receive(socket),
            Waiting::Coalescing(sleep) => {
                if self.pays(sleep) {
                    nap(sleep);
                }
                let taken = batch.receive(socket)?;
                self.took(taken, Instant::now());
                Ok(taken)
            }
            Waiting::Polling(limit) => {
                let begun = Instant::now();
                while batch.poll(socket)? == 0 {
                    if begun.elapsed() >= limit {
                        return batch.receive(socket);
                    }
                    thread::yield_now();
                }
                Ok(batch.len())
            }
        }
    }

    /// Learns from a batch taken at `now` how quickly datagrams arrive.
    fn took(&mut self, datagrams: usize, now: Instant) {
        let elapsed = u64::try_from((now - self.taken).as_nanos()).unwrap_or(u64::MAX);
        let gap = elapsed / (datagrams as u64).max(1);
        self.gap = if self.gap == u64::MAX {
            gap
        } else {
            self.gap - self.gap / 8 + gap / 8
        };
        self.taken = now;
    }

    fn pays(&self, sleep: Duration) -> bool {
        let pause = u64::try_from((sleep + SLACK).as_nanos()).unwrap_or(u64::MAX);
        WORTH.contains(&(pause / self.gap.max(1)))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the event it would wait for is what shall not wake it"
)]
fn nap(time: Duration) {
    thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::udp::UdpOptions;

    const SLEEP: Duration = Duration::from_micros(50);

    fn coalescing() -> Taker {
        Taker::new(Waiting::Coalescing(SLEEP))
    }

    /// Whether it pays after many batches of a datagram, with this time between them.
    fn pays(gap: u64) -> bool {
        let mut taker = coalescing();
        for _ in 0..100 {
            taker.took(1, taker.taken + Duration::from_micros(gap));
        }
        taker.pays(SLEEP)
    }

    #[test]
    fn pauses_are_made_at_middling_rates() {
        assert!(!pays(1000), "none would come");
        assert!(pays(45));
        assert!(pays(8));
        assert!(!pays(5), "they gather by themselves");
    }

    #[test]
    fn a_long_silence_ends_them() {
        let mut taker = coalescing();
        for _ in 0..100 {
            taker.took(4, taker.taken + Duration::from_micros(80));
        }
        assert!(taker.pays(SLEEP));
        taker.took(1, taker.taken + Duration::from_secs(1));
        assert!(!taker.pays(SLEEP));
    }

    #[test]
    fn each_way_takes_what_comes_and_ends_with_the_timeout() {
        let ways = [
            Waiting::Asleep,
            Waiting::Coalescing(SLEEP),
            Waiting::Polling(SLEEP),
        ];
        for waiting in ways {
            let options = UdpOptions {
                timeout: Duration::from_millis(20),
                ..UdpOptions::default()
            };
            let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &options).unwrap();
            let (mut taker, mut batch) = (Taker::new(waiting), Batch::default());
            for _ in 0..3 {
                socket.send_to(b"x", socket.local()).unwrap();
                assert_eq!(taker.take(&mut batch, &socket).unwrap(), 1, "{waiting:?}");
            }
            assert_eq!(taker.take(&mut batch, &socket).unwrap(), 0, "{waiting:?}");
        }
    }
}
