//! A latency histogram: 32 buckets for each doubling, so a quantile is at most 3 % off.

const STEPS: u32 = 5;

/// Counts durations in nanoseconds.
#[derive(Clone)]
pub struct Histogram {
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
    pub fn record(&mut self, nanoseconds: u64) {
        self.buckets[bucket(nanoseconds)] += 1;
        self.total += 1;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.buckets.fill(0);
        self.total = 0;
    }

    /// Returns the duration below which the given share of all durations lies, in nanoseconds.
    pub fn quantile(&self, share: f64) -> u64 {
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
}
