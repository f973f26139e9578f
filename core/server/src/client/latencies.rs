//! A histogram of latencies with exponential buckets, so that any number of values fits (B1).

/// Buckets per doubling: the width of a bucket is at most 1/32 of its value.
const STEPS: u64 = 32;
const BUCKETS: usize = 64 * STEPS as usize;

/// Microseconds, counted.
#[derive(Clone, Debug)]
pub(super) struct Latencies {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }
}

impl Latencies {
    pub(super) fn add(&mut self, micros: u64) {
        self.counts[bucket(micros)] += 1;
        self.total += 1;
        self.max = self.max.max(micros);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    pub(super) fn count(&self) -> u64 {
        self.total
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// The quantile: `per_mille` of all values are not above it.
    pub(super) fn quantile(&self, per_mille: u64) -> u64 {
        let rank = (self.total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper(bucket).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(micros: u64) -> usize {
    let shift = (micros / STEPS).checked_ilog2().map_or(0, |log| log + 1) as u64;
    let step = if shift == 0 { micros } else { (micros >> (shift - 1)) - STEPS };
    ((shift * STEPS + step) as usize).min(BUCKETS - 1)
}

fn upper(bucket: usize) -> u64 {
    let (shift, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    match shift {
        0 => step,
        // The last bucket ends at the largest number.
        _ => ((STEPS + step + 1).wrapping_shl(shift as u32 - 1)).wrapping_sub(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_right_to_a_few_percent() {
        let mut latencies = Latencies::default();
        for micros in 1..=100_000 {
            latencies.add(micros);
        }
        for (per_mille, exact) in [(500, 50_000), (990, 99_000), (1, 100)] {
            let estimate = latencies.quantile(per_mille);
            assert!((exact..=exact + exact / 30).contains(&estimate), "{per_mille}: {estimate}");
        }
        assert_eq!((latencies.max(), latencies.count()), (100_000, 100_000));
        assert_eq!(Latencies::default().quantile(990), 0);
        for micros in [0, 1, 31, 32, 33, 63, 64, 1 << 20, u64::MAX] {
            assert!(upper(bucket(micros)) >= micros, "{micros}");
        }
        let mut both = latencies.clone();
        both.merge(&latencies);
        assert_eq!((both.count(), both.quantile(500)), (200_000, latencies.quantile(500)));
    }
}
