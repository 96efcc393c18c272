//! How long a destination takes to answer pings (parameters `ds_ping_latency_stats`, `ds_latency_estimator_alpha`).

/// Running figures, in milliseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Latency {
    /// Pings answered.
    count: u32,
    pub(super) average: f64,
    variance: f64,
    pub(super) estimate: f64,
    pub(super) max: f64,
    /// Pings without an answer.
    pub(super) timeouts: u32,
}

impl Latency {
    /// Starts at what the attribute `latency` says.
    pub(super) fn starting_at(milliseconds: u32) -> Self {
        let start = f64::from(milliseconds);
        Self {
            average: start,
            estimate: start,
            ..Self::default()
        }
    }

    /// Takes in one answer; `alpha` weighs it in the short-term estimate.
    pub(super) fn answered(&mut self, milliseconds: f64, alpha: f64) {
        // after about ten thousand pings old ones fade, so that the average follows slow changes
        self.count = (self.count + 1).min(10_000);
        let first = self.estimate == 0.0;
        let delta = milliseconds - self.average;
        self.average += delta / f64::from(self.count);
        self.variance += (delta * (milliseconds - self.average) - self.variance) / f64::from(self.count);
        self.estimate = if first {
            milliseconds
        } else {
            self.estimate + alpha * (milliseconds - self.estimate)
        };
        self.max = self.max.max(milliseconds);
    }

    /// The standard deviation.
    pub(super) fn deviation(&self) -> f64 {
        self.variance.max(0.0).sqrt()
    }

    /// How much slower it is now than usual.
    pub(super) fn congestion(&self) -> f64 {
        (self.estimate - self.average).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_follow_the_answers() {
        let mut latency = Latency::default();
        for answer in [10.0, 20.0, 30.0] {
            latency.answered(answer, 0.5);
        }
        assert!((latency.average - 20.0).abs() < 1e-9);
        assert!((latency.estimate - 22.5).abs() < 1e-9);
        assert!((latency.max - 30.0).abs() < 1e-9);
        assert!(latency.congestion() > 2.0 && latency.deviation() > 5.0);
    }
}
