//! How many calls an agent may make to its servers (`limits.rpc_rate`, `rpc_max_burst`).

use std::time::{Duration, Instant};

/// A token bucket. Each call takes a token; `rate` tokens come back each second, up to
/// `burst`.
#[derive(Clone, Debug)]
pub struct Limiter {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Option<Instant>,
}

impl Limiter {
    /// A full bucket. A `rate` that is negative or infinite is no limit.
    pub fn new(rate: f64, burst: u32) -> Self {
        let rate = if rate < 0.0 { f64::INFINITY } else { rate };
        Self { rate, burst: burst.into(), tokens: burst.into(), at: None }
    }

    /// Changes the limits. What is left in the bucket stays, as far as it holds it.
    pub fn set(&mut self, rate: f64, burst: u32) {
        let Self { tokens, at, .. } = *self;
        *self = Self { at, ..Self::new(rate, burst) };
        self.tokens = tokens.min(self.burst);
    }

    /// Whether a call may be made now.
    pub fn allow(&mut self, now: Instant) -> bool {
        if self.rate.is_infinite() {
            return true;
        }
        let since = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.at = Some(now);
        self.tokens = (self.tokens + since.as_secs_f64() * self.rate).min(self.burst);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let start = Instant::now();
        let mut limiter = Limiter::new(2.0, 3);
        let mut at = |ms: u64| limiter.allow(start + Duration::from_millis(ms));
        assert_eq!([at(0), at(0), at(0), at(0)], [true, true, true, false]);
        assert_eq!([at(400), at(500), at(600)], [false, true, false]);
        assert_eq!([at(60_000), at(60_000), at(60_000), at(60_000)], [true, true, true, false]);
    }

    #[test]
    fn without_a_rate_everything_is_allowed_and_with_none_left_nothing() {
        let now = Instant::now();
        for rate in [f64::INFINITY, -1.0] {
            let mut limiter = Limiter::new(rate, 0);
            assert!((0..10_000).all(|_| limiter.allow(now)));
        }
        let mut limiter = Limiter::new(0.0, 1);
        assert!(limiter.allow(now) && !limiter.allow(now + Duration::from_secs(3600)));
    }

    #[test]
    fn limits_change_without_filling_the_bucket() {
        let now = Instant::now();
        let mut limiter = Limiter::new(1.0, 2);
        assert!(limiter.allow(now) && limiter.allow(now));
        limiter.set(1.0, 100);
        assert!(!limiter.allow(now));
        assert!(limiter.allow(now + Duration::from_secs(1)));
    }
}
