//! How often an answer that is kept is fetched again (`cache.entry_fetch_rate` and
//! `cache.entry_fetch_max_burst`): answers that change all the time cost the servers no more
//! than that, and are as much older.

use std::time::Duration;

use tokio::time::Instant;

/// For each entry by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FetchRate {
    /// Fetches in a second, above zero; `None` for as many as there are changes.
    pub(crate) per_second: Option<f64>,
    /// Fetches at once, after a while without any; at least one.
    pub(crate) burst: u32,
}

impl Default for FetchRate {
    fn default() -> Self {
        Self { per_second: None, burst: 2 }
    }
}

/// What one entry has left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetches {
    /// Below zero for those that wait.
    left: f64,
    at: Instant,
}

/// The longest time for which a fetch is put off, whatever the rate.
const WAIT_MAX: Duration = Duration::from_secs(3600);

impl Fetches {
    /// All that may be had at once.
    pub(super) fn new(rate: FetchRate, now: Instant) -> Self {
        Self { left: f64::from(rate.burst), at: now }
    }

    /// Takes a fetch, and says how long to wait with it.
    pub(super) fn take(&mut self, rate: FetchRate, now: Instant) -> Duration {
        let Some(per_second) = rate.per_second else {
            *self = Self::new(rate, now);
            return Duration::ZERO;
        };
        let came = now.saturating_duration_since(self.at).as_secs_f64() * per_second;
        self.left = (self.left + came).min(f64::from(rate.burst)) - 1.0;
        self.at = now;
        let wait = Duration::try_from_secs_f64((-self.left).max(0.0) / per_second);
        wait.unwrap_or(WAIT_MAX).min(WAIT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_fetches_are_as_far_apart_as_the_rate_says() {
        let millis = Duration::from_millis;
        let start = Instant::now();
        let rate = FetchRate { per_second: Some(4.0), burst: 2 };
        let mut fetches = Fetches::new(rate, start);
        let mut take = |at| fetches.take(rate, start + millis(at)).as_millis();
        assert_eq!([take(0), take(0), take(0), take(0)], [0, 0, 250, 500]);
        assert_eq!(take(750), 0, "those that waited have gone");
        assert_eq!([take(60_000), take(60_000), take(60_000)], [0, 0, 250]);

        let slow = FetchRate { per_second: Some(1e-300), burst: 1 };
        let mut fetches = Fetches::new(slow, start);
        assert_eq!([fetches.take(slow, start), fetches.take(slow, start)], [millis(0), WAIT_MAX]);
        let free = FetchRate::default();
        assert_eq!([(); 5].map(|()| fetches.take(free, start)), [millis(0); 5]);
    }
}
