//! Logical time (Lamport, 1978): what happened after what, without a clock on the wall.

use types::user_event::LamportTime;

/// A logical clock. It never goes back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(LamportTime);

impl Clock {
    /// A clock that starts behind what was seen in an earlier life, or at 1.
    pub(super) fn after(last: LamportTime) -> Self {
        Self(next(last))
    }

    /// The time that the next message of this node carries.
    pub(super) fn time(self) -> LamportTime {
        self.0
    }

    /// Goes on by one, as a message was sent.
    pub(super) fn increment(&mut self) {
        self.0 = next(self.0);
    }

    /// Goes past a time that somebody told.
    pub(super) fn witness(&mut self, time: LamportTime) {
        self.0 = self.0.max(next(time));
    }
}

/// One later. A peer that tells the end of time does not turn the clock back.
pub(super) fn next(time: LamportTime) -> LamportTime {
    LamportTime(time.0.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_passes_what_it_hears_and_never_goes_back() {
        let mut clock = Clock::after(LamportTime(0));
        assert_eq!(clock.time(), LamportTime(1));
        clock.increment();
        clock.witness(LamportTime(1));
        assert_eq!(clock.time(), LamportTime(2));
        clock.witness(LamportTime(41));
        assert_eq!(clock.time(), LamportTime(42));
        clock.witness(LamportTime(7));
        assert_eq!(clock.time(), LamportTime(42));
        clock.witness(LamportTime(u64::MAX));
        clock.increment();
        assert_eq!(clock.time(), LamportTime(u64::MAX));
    }
}
