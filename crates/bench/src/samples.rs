//! Latencies of one run, exact: a run has a few hundred thousand of them, so that keeping and sorting them costs less
//! than any estimate would explain.

use std::time::Duration;

/// Durations of one run.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples {
    /// In microseconds; a latency above 71 minutes counts as 71 minutes.
    micros: Vec<u32>,
    sorted: bool,
}

impl Samples {
    /// Adds one latency.
    pub(crate) fn add(&mut self, latency: Duration) {
        self.micros.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        self.sorted = false;
    }

    /// How many were added.
    pub(crate) fn count(&self) -> usize {
        self.micros.len()
    }

    /// The latency in milliseconds that `share` (0 to 1) of all did not exceed; 0 if there are none.
    pub(crate) fn quantile_ms(&mut self, share: f64) -> f64 {
        if !self.sorted {
            self.micros.sort_unstable();
            self.sorted = true;
        }
        let Some(last) = self.micros.len().checked_sub(1) else { return 0.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into a vector of at most some millions, rounded up"
        )]
        let index = (self.micros.len() as f64 * share).ceil() as usize;
        f64::from(self.micros[index.saturating_sub(1).min(last)]) / 1000.0
    }
}

/// The middle of some values, the mean of the middle two if their number is even; 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact() {
        let mut samples = Samples::default();
        for ms in (1..=100).rev() {
            samples.add(Duration::from_millis(ms));
        }
        assert_eq!(samples.count(), 100);
        for (share, ms) in [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            assert!((samples.quantile_ms(share) - ms).abs() < f64::EPSILON, "{share}");
        }
        assert!(Samples::default().quantile_ms(0.5).abs() < f64::EPSILON);
    }

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle_two() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(&[]).abs() < f64::EPSILON);
    }
}
