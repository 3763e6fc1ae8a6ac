//! A bucket of tokens.

use std::time::Instant;

/// Lets through so many a second, and as many at once as a second brings (but at
/// least one), however long nobody came.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    /// Tokens that come in a second. Zero, or what is no number above it, brings none.
    rate: f64,
    /// Tokens that are there, up to [`Self::capacity`].
    tokens: f64,
    /// When that was.
    at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(rate: f64, now: Instant) -> Self {
        let mut bucket = Self { rate, tokens: 0.0, at: now };
        bucket.tokens = bucket.capacity();
        bucket
    }

    /// Takes a token, if there is one. A clock that goes back brings nothing.
    pub fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.tokens = (self.tokens + passed * self.rate.max(0.0)).min(self.capacity());
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    fn capacity(&self) -> f64 {
        if self.rate > 0.0 { self.rate.max(1.0) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// How many of the calls at these milliseconds are let through.
    fn let_through(rate: f64, calls: &[u64]) -> usize {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(rate, start);
        calls.iter().filter(|ms| bucket.take(start + Duration::from_millis(**ms))).count()
    }

    #[test]
    fn as_many_pass_as_the_rate_says() {
        for (rate, calls, expected) in [
            (3.0, vec![0; 9], 3),
            (3.0, vec![0, 0, 0, 0, 333, 334, 334, 667, 667], 5),
            (3.0, vec![0, 0, 0, 60_000, 60_000, 60_000, 60_000], 6),
            (0.5, vec![0, 0, 1000, 1999, 2000, 2001, 4000], 3),
            (0.0, vec![0, 1000, 1_000_000], 0),
            (-1.0, vec![0, 1000], 0),
            (f64::NAN, vec![0, 1000], 0),
            (f64::INFINITY, vec![0, 0, 1], 3),
            (1.0, vec![5000, 0, 0, 5500, 6000], 2),
        ] {
            assert_eq!(let_through(rate, &calls), expected, "{rate} {calls:?}");
        }
    }

    proptest! {
        #[test]
        fn never_do_more_pass_than_a_second_and_the_time_bring(
            rate in 0.1..1000.0_f64,
            mut calls in proptest::collection::vec(0..10_000_u64, 1..300),
        ) {
            calls.sort_unstable();
            let seconds = (calls[calls.len() - 1] - calls[0]) as f64 / 1000.0;
            let most = rate.max(1.0) + rate * seconds;
            let passed = let_through(rate, &calls) as f64;
            prop_assert!(passed <= most + 1e-6, "{passed} of at most {most}");
            prop_assert!(passed >= 1.0);
        }
    }
}
