//! The clocks of the servers: each runs at its own rate and may leap.
//!
//! # What the lease allows
//!
//! A read under the lease is right as long as no other server can win an election while a leader
//! takes its lease for valid. A voter that confirmed the lease gives no vote to another before
//! its own heartbeat timeout is over, or, after a restart, before the length of a lease, or, if it
//! is told that the leader's process has ended, before six tenths of that. Reads are answered for
//! half of it. So with clocks that never leap the design allows
//!
//! * a voter's clock faster than the leader's by a fifth, while neither restarts;
//! * over the time of a lease, a voter's clock ahead of the leader's by no more than a restart
//!   takes.
//!
//! [`Tempers::Steady`] keeps both: rates within ±4 % and restarts of 20 ms and more with a lease
//! of 150 ms (12 ms at most). [`Tempers::Wild`] keeps neither; the checker then leaves out
//! default reads, as only `consistent` ones promise anything.

use std::time::{Duration, Instant};

use fastrand::Rng;

/// Virtual time in nanoseconds since the run began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Time {
    /// A time after this one.
    pub fn after(self, wait: Duration) -> Time {
        Time(self.0.saturating_add(nanoseconds(wait)))
    }
}

/// A duration as a number; what does not fit is as good as for ever.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How far clocks may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tempers {
    /// Within what the lease allows.
    Steady,
    /// Half to three times as fast, and leaps of seconds.
    Wild,
}

const MILLIONTHS: u64 = 1_000_000;

/// One server's clock.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    base: Instant,
    since: Time,
    /// What it showed at `since`, in nanoseconds after `base`.
    shown: u64,
    /// Millionths of its time per unit of true time.
    rate: u64,
}

impl Clock {
    /// Clocks of one run share `base`, whose own value is never seen.
    pub(crate) fn new(base: Instant, tempers: Tempers, rng: &mut Rng) -> Self {
        let shown = rng.u64(0..1_000_000_000_000);
        let mut clock = Clock { base, since: Time(0), shown, rate: MILLIONTHS };
        clock.change_rate(Time(0), tempers, rng);
        clock
    }

    /// Runs at another rate from `now` on.
    pub(crate) fn change_rate(&mut self, now: Time, tempers: Tempers, rng: &mut Rng) {
        self.leap(now, 0);
        self.rate = match tempers {
            Tempers::Steady => rng.u64(960_000..=1_040_000),
            Tempers::Wild => rng.u64(500_000..=3_000_000),
        };
    }

    /// Goes forward at once. Monotonic clocks never go back.
    pub(crate) fn leap(&mut self, now: Time, nanoseconds: u64) {
        self.shown = self.shown_at(now) + nanoseconds;
        self.since = now;
    }

    fn shown_at(&self, now: Time) -> u64 {
        let passed = u128::from(now.0 - self.since.0) * u128::from(self.rate);
        self.shown + (passed / u128::from(MILLIONTHS)) as u64
    }

    /// What it shows.
    pub(crate) fn read(&self, now: Time) -> Instant {
        self.base + Duration::from_nanos(self.shown_at(now))
    }

    /// When it will show `local`, or `now` if it has.
    pub(crate) fn true_time(&self, local: Instant, now: Time) -> Time {
        let local = nanoseconds(local.saturating_duration_since(self.base));
        let wait = u128::from(local.saturating_sub(self.shown)) * u128::from(MILLIONTHS);
        let wait = wait.div_ceil(u128::from(self.rate)) as u64;
        Time(self.since.0 + wait).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a base to count from; its value is never seen")]
    fn the_true_time_of_a_reading_is_when_it_is_read() {
        let mut rng = Rng::with_seed(1);
        let mut clock = Clock::new(Instant::now(), Tempers::Wild, &mut rng);
        let mut now = Time(0);
        for step in 0..100 {
            now = Time(now.0 + rng.u64(0..1_000_000_000));
            if step % 7 == 0 {
                clock.leap(now, 5_000_000);
            }
            if step % 11 == 0 {
                clock.change_rate(now, Tempers::Wild, &mut rng);
            }
            let local = clock.read(now) + Duration::from_millis(rng.u64(0..500));
            let at = clock.true_time(local, now);
            assert!(clock.read(at) >= local && at >= now, "step {step}");
            if at > now {
                assert!(clock.read(Time(at.0 - 10)) < local, "step {step} is late");
            }
        }
    }
}
