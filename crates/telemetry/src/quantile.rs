//! Quantiles of the last ten seconds, in bounded memory.
//!
//! Values fall into buckets whose bounds grow by two per cent (the idea of DDSketch,
//! Masson et al. 2019, section 2), so that an answer is off by at most one per cent of
//! itself, whatever the distribution. The ten seconds slide in steps of two, as those
//! of Prometheus' own client do.

use std::collections::BTreeMap;

/// Length of a slice, seconds.
const SLICE_S: u64 = 2;

/// Slices in the window.
const SLICES: usize = 5;

/// Ratio of the bounds of a bucket: answers are off by half of that.
const GROWTH: f64 = 1.02;

/// Values nearer to zero are zero; greater ones fall into the last bucket.
const MAGNITUDES: std::ops::RangeInclusive<f64> = 1e-9..=1e15;

/// Counts of values by bucket. Bucket `i` above zero holds `GROWTH^(i-1)..GROWTH^i`.
#[derive(Debug, Default)]
struct Sketch {
    below: BTreeMap<i32, u64>,
    zeros: u64,
    above: BTreeMap<i32, u64>,
}

impl Sketch {
    fn add(&mut self, value: f64) {
        let magnitude = value.abs();
        if magnitude < *MAGNITUDES.start() {
            self.zeros += 1;
            return;
        }
        let bucket = (magnitude.min(*MAGNITUDES.end()).ln() / GROWTH.ln()).ceil() as i32;
        let side = if value < 0.0 { &mut self.below } else { &mut self.above };
        *side.entry(bucket).or_default() += 1;
    }

    fn merge_into(&self, all: &mut Sketch) {
        all.zeros += self.zeros;
        for (from, to) in [(&self.below, &mut all.below), (&self.above, &mut all.above)] {
            for (bucket, count) in from {
                *to.entry(*bucket).or_default() += count;
            }
        }
    }

    fn count(&self) -> u64 {
        self.zeros + self.below.values().sum::<u64>() + self.above.values().sum::<u64>()
    }

    /// The value below which the share `quantile` of all values lies.
    fn quantile(&self, quantile: f64, count: u64) -> f64 {
        let rank = (quantile * count as f64).ceil().max(1.0) as u64;
        let below = self.below.iter().rev().map(|(bucket, n)| (-middle(*bucket), *n));
        let above = self.above.iter().map(|(bucket, n)| (middle(*bucket), *n));
        let zeros = std::iter::once((0.0, self.zeros));
        let mut seen = 0;
        let mut last = f64::NAN;
        for (value, count) in below.chain(zeros).chain(above).filter(|(_, count)| *count > 0) {
            seen += count;
            last = value;
            if seen >= rank {
                break;
            }
        }
        last
    }
}

/// The value that is off by the same share from both bounds of its bucket.
fn middle(bucket: i32) -> f64 {
    GROWTH.powi(bucket) * 2.0 / (1.0 + GROWTH)
}

/// The last ten seconds.
#[derive(Debug, Default)]
pub(crate) struct Window {
    slices: [Sketch; SLICES],
    bounds: [Option<(f64, f64)>; SLICES],
    /// Which slice is filled: the time divided by its length.
    current: u64,
}

impl Window {
    /// Adds a value to the running slice.
    pub(crate) fn add(&mut self, value: f64) {
        let at = self.at();
        self.slices[at].add(value);
        let (min, max) = self.bounds[at].unwrap_or((value, value));
        self.bounds[at] = Some((min.min(value), max.max(value)));
    }

    /// Notes that it is `now_s`, seconds since the Unix epoch, and forgets what is too old.
    pub(crate) fn advance(&mut self, now_s: u64) {
        let next = now_s / SLICE_S;
        if next <= self.current {
            // A clock that was put back makes the running slice longer.
            return;
        }
        for _ in 0..(next - self.current).min(SLICES as u64) {
            self.current += 1;
            let at = self.at();
            self.slices[at] = Sketch::default();
            self.bounds[at] = None;
        }
        // After a longer pause every slice is empty, and any of them may be the next.
        self.current = next;
    }

    /// These quantiles; not numbers when the window is empty.
    pub(crate) fn quantiles<const N: usize>(&self, wanted: [f64; N]) -> [f64; N] {
        let mut all = Sketch::default();
        self.slices.iter().for_each(|slice| slice.merge_into(&mut all));
        let count = all.count();
        let bounds = self.bounds.iter().flatten().copied();
        let bounds = bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        match bounds {
            Some((min, max)) => wanted.map(|q| all.quantile(q, count).clamp(min, max)),
            None => [f64::NAN; N],
        }
    }

    fn at(&self) -> usize {
        (self.current % SLICES as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: [f64; 3] = [0.5, 0.9, 0.99];

    fn of(values: impl IntoIterator<Item = f64>) -> [f64; 3] {
        let mut window = Window::default();
        window.advance(1_000);
        values.into_iter().for_each(|value| window.add(value));
        window.quantiles(WANTED)
    }

    #[test]
    fn quantiles_are_within_one_per_cent() {
        let cases: [(Vec<f64>, [f64; 3]); 6] = [
            (vec![7.5], [7.5, 7.5, 7.5]),
            (vec![0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
            ((1..=100).map(f64::from).collect(), [50.0, 90.0, 99.0]),
            ((1..=1000).map(|i| f64::from(i) / 1e4).collect(), [0.05, 0.09, 0.099]),
            ((-50..=50).map(f64::from).collect(), [0.0, 40.0, 49.0]),
            (vec![1e20, 1e-20], [1e-20, 1e15, 1e15]),
        ];
        for (values, want) in cases {
            let got = of(values.iter().copied());
            for (got, want) in got.into_iter().zip(want) {
                assert!((got - want).abs() <= want.abs() * 0.0101, "{got} is not {want}");
            }
        }
    }

    #[test]
    fn an_empty_window_has_no_quantiles() {
        assert!(of([]).iter().all(|quantile| quantile.is_nan()));
    }

    #[test]
    fn values_leave_the_window_after_ten_seconds() {
        for step in [1, 2, 3, 7] {
            let mut window = Window::default();
            let start = 1_000;
            window.advance(start);
            window.add(5.0);
            let mut now = start;
            while now + step < start + 9 {
                now += step;
                window.advance(now);
                assert_eq!(window.quantiles([0.5]), [5.0], "{} s later", now - start);
            }
            window.advance(start + 10);
            assert!(window.quantiles([0.5])[0].is_nan(), "in steps of {step} s");
        }
    }

    #[test]
    fn a_clock_that_jumps_does_no_harm() {
        let mut window = Window::default();
        window.advance(1_000);
        window.add(1.0);
        window.advance(10);
        window.add(3.0);
        assert_eq!(window.quantiles([1.0]), [3.0]);
        window.advance(u64::MAX);
        assert!(window.quantiles([1.0])[0].is_nan());
    }
}
