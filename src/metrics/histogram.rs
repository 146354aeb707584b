//! How long things took, in buckets.

use super::number::Counter;
use std::time::Duration;

/// Durations in `N` buckets, each four times as wide as the one before, and one for all that is longer. To count one is
/// two relaxed additions.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    /// The upper bound of the first bucket.
    first: Duration,
    buckets: [Counter; N],
    longer: Counter,
    nanos: Counter,
}

/// What a histogram has counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// How many.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum_seconds: f64,
    /// The buckets: upper bound in seconds, and how many were in this one. The last one has no bound.
    pub buckets: Vec<(f64, u64)>,
}

impl<const N: usize> Histogram<N> {
    /// An empty one whose first bucket ends at `first`.
    pub fn new(first: Duration) -> Histogram<N> {
        Histogram {
            first,
            buckets: [const { Counter::new() }; N],
            longer: Counter::new(),
            nanos: Counter::new(),
        }
    }

    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let mut bound = self.first;
        let fitting = self.buckets.iter().find(|_| {
            let fits = took <= bound;
            bound *= WIDER;
            fits
        });
        fitting.unwrap_or(&self.longer).add(1);
        self.nanos.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What it has counted.
    pub fn measured(&self) -> Measured {
        let mut bound = self.first;
        let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(N + 1);
        for bucket in &self.buckets {
            buckets.push((bound.as_secs_f64(), bucket.value()));
            bound *= WIDER;
        }
        buckets.push((f64::INFINITY, self.longer.value()));
        let count = buckets.iter().map(|(_, count)| count).sum();
        Measured { count, sum_seconds: Duration::from_nanos(self.nanos.value()).as_secs_f64(), buckets }
    }
}

const WIDER: u32 = 4;

/// From a quarter of a microsecond on: what a check takes.
impl<const N: usize> Default for Histogram<N> {
    fn default() -> Histogram<N> {
        Histogram::new(Duration::from_nanos(250))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_holds_it() {
        let histogram: Histogram<3> = Histogram::new(Duration::from_millis(1));
        for millis in [0, 1, 2, 4, 16, 17, 100_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let Measured { count, sum_seconds, buckets } = histogram.measured();
        assert_eq!((count, buckets), (7, vec![(0.001, 2), (0.004, 2), (0.016, 1), (f64::INFINITY, 2)]));
        assert!((sum_seconds - 100.04).abs() < 1e-9, "{sum_seconds}");
    }
}
