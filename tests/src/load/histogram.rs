//! A latency histogram: 32 buckets for each doubling, so a quantile is at most 3 % off.

const STEPS: u32 = 5;

/// Counts durations in nanoseconds.
#[derive(Clone)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: vec![0; 64 << STEPS],
            total: 0,
        }
    }
}

impl Histogram {
    /// Counts one duration.
    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.buckets[bucket(nanoseconds)] += 1;
        self.total += 1;
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.buckets.fill(0);
        self.total = 0;
    }

    /// Returns the duration below which the given share of all durations lies, in nanoseconds.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let rank = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return lower_bound(index);
            }
        }
        0
    }
}

/// How long a window of [`Latency`] is, in nanoseconds.
const WINDOW_NS: u64 = 100_000_000;

/// The latencies of one measurement, as a whole and by tenths of a second.
#[derive(Clone, Default)]
pub(crate) struct Latency {
    whole: Histogram,
    window: Histogram,
    ends: u64,
    tails: Vec<u64>,
}

impl Latency {
    /// Forgets everything; the first window begins `now`.
    pub(crate) fn restart(&mut self, now: u64) {
        self.whole.clear();
        self.window.clear();
        self.tails.clear();
        self.ends = now + WINDOW_NS;
    }

    /// Counts a duration that ended `now`; both in nanoseconds.
    pub(crate) fn record(&mut self, now: u64, nanoseconds: u64) {
        if now >= self.ends {
            if self.window.total > 0 {
                self.tails.push(self.window.quantile(0.99));
            }
            self.window.clear();
            self.ends = now + WINDOW_NS;
        }
        self.whole.record(nanoseconds);
        self.window.record(nanoseconds);
    }

    /// Returns what [`Histogram::quantile`] says of all.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        self.whole.quantile(share)
    }

    /// Returns the 99th percentile of the median window: what a stall of the machine, which is in a few windows only, leaves alone.
    pub(crate) fn usual_tail(&self) -> u64 {
        let mut tails = self.tails.clone();
        tails.sort_unstable();
        tails
            .get(tails.len() / 2)
            .copied()
            .unwrap_or_else(|| self.quantile(0.99))
    }
}

fn bucket(value: u64) -> usize {
    let value = value.max(1 << STEPS);
    let exponent = value.ilog2();
    (((exponent - STEPS) << STEPS) + (value >> (exponent - STEPS)) as u32) as usize
}

fn lower_bound(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 << STEPS {
        return index;
    }
    let exponent = (index >> STEPS) - 1;
    ((1 << STEPS) + (index & ((1 << STEPS) - 1))) << exponent
}

#[cfg(test)]
mod tests {
    use super::Histogram;
    use super::Latency;
    use super::WINDOW_NS;

    #[test]
    fn quantiles_are_within_three_percent() {
        let mut histogram = Histogram::default();
        for value in 1..=100_000_u64 {
            histogram.record(value);
        }
        for (share, expected) in [(0.5, 50_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
            let found = histogram.quantile(share) as f64;
            assert!((found - expected).abs() / expected < 0.035, "{share}: {found}");
        }
    }

    #[test]
    fn a_stall_is_in_the_whole_tail_alone() {
        let mut latency = Latency::default();
        latency.restart(0);
        for window in 0..5 {
            let duration = if window == 2 { 1_000_000 } else { 1000 };
            for _ in 0..1000 {
                latency.record(window * WINDOW_NS, duration);
            }
        }
        assert!(latency.quantile(0.99) > 900_000);
        assert!(latency.usual_tail() < 1100);
        latency.restart(0);
        latency.record(1, 7000);
        assert_eq!(
            latency.usual_tail(),
            latency.quantile(0.99),
            "no window is complete"
        );
    }
}
