//! How a lock is acquired, as a machine (`reference/http-api.md` 3.1; the algorithm is that of
//! `lock.go` in `hashicorp/consul/api`).
//!
//! The key is read until nobody holds it, each read waiting for a change; then the session
//! tries to take it. If that fails although nobody holds it, a lock-delay is in effect, which
//! no read can wait for: the machine pauses, longer each time, up to five seconds.

use std::time::Duration;

use types::kv::KvEntry;
use types::{Index, SessionId};

/// Tells keys that are locks from others.
pub const LOCK_FLAGS: u64 = 0x2ddc_cbc0_58a5_0c18;

/// The longest pause between two tries while a lock-delay is in effect.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The first pause.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockStep {
    /// Read the key, waiting at most `wait` for what is newer than `index`.
    Read { index: Index, wait: Duration },
    /// Try to take it.
    Acquire,
    /// Wait this long.
    Pause(Duration),
    /// It is ours.
    Held,
    /// The time for a single attempt is over.
    OutOfTime,
}

/// The key is used for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict;

/// One attempt to acquire a lock. Times are those since the attempt began.
#[derive(Debug)]
pub(crate) struct LockAttempt {
    session: SessionId,
    wait: Duration,
    once: bool,
    index: Index,
    reads: u32,
    /// Whether the last try to take the key failed, and nobody knows yet why.
    refused: bool,
    pause: Duration,
}

impl LockAttempt {
    /// Reads wait for at most `wait`; with `once` the whole attempt does.
    pub(crate) fn new(session: SessionId, wait: Duration, once: bool) -> Self {
        let (index, pause) = (Index::ZERO, PAUSE_MIN);
        Self { session, wait, once, index, reads: 0, refused: false, pause }
    }

    /// The first step, and the one after a pause.
    pub(crate) fn read(&mut self, elapsed: Duration) -> LockStep {
        let mut wait = self.wait;
        if self.once && self.reads > 0 {
            match self.wait.checked_sub(elapsed).filter(|left| !left.is_zero()) {
                Some(left) => wait = left,
                None => return LockStep::OutOfTime,
            }
        }
        self.reads += 1;
        LockStep::Read { index: self.index, wait }
    }

    /// What the key is.
    pub(crate) fn handle_read(
        &mut self,
        entry: Option<&KvEntry>,
        index: Index,
        elapsed: Duration,
    ) -> Result<LockStep, Conflict> {
        if entry.is_some_and(|entry| entry.flags != LOCK_FLAGS) {
            return Err(Conflict);
        }
        let refused = std::mem::take(&mut self.refused);
        match entry.map(|entry| &entry.session) {
            Some(session) if *session == self.session => return Ok(LockStep::Held),
            Some(session) if !session.is_empty() => {
                // An index that goes back belongs to a server that lost its state.
                self.index = if index < self.index { Index::ZERO } else { index };
                self.pause = PAUSE_MIN;
                return Ok(self.read(elapsed));
            }
            _ => {}
        }
        self.index = Index::ZERO;
        if !refused {
            return Ok(LockStep::Acquire);
        }
        let mut pause = self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        if self.once {
            match self.wait.checked_sub(elapsed).filter(|left| !left.is_zero()) {
                Some(left) => pause = pause.min(left),
                None => return Ok(LockStep::OutOfTime),
            }
        }
        Ok(LockStep::Pause(pause))
    }

    /// Whether the key was taken.
    pub(crate) fn handle_acquired(&mut self, acquired: bool) -> LockStep {
        if acquired {
            return LockStep::Held;
        }
        self.refused = true;
        LockStep::Read { index: Index::ZERO, wait: self.wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(15);

    fn attempt(once: bool) -> LockAttempt {
        LockAttempt::new("ours".into(), WAIT, once)
    }

    fn entry(session: &str) -> KvEntry {
        KvEntry { session: session.into(), flags: LOCK_FLAGS, ..KvEntry::default() }
    }

    fn read(index: u64) -> LockStep {
        LockStep::Read { index: Index(index), wait: WAIT }
    }

    #[track_caller]
    fn sees(attempt: &mut LockAttempt, session: Option<&str>, index: u64) -> LockStep {
        let entry = session.map(entry);
        attempt.handle_read(entry.as_ref(), Index(index), Duration::ZERO).unwrap()
    }

    #[test]
    fn a_free_key_is_taken_at_once() {
        for free in [None, Some("")] {
            let mut attempt = attempt(false);
            assert_eq!(attempt.read(Duration::ZERO), read(0));
            assert_eq!(sees(&mut attempt, free, 7), LockStep::Acquire);
            assert_eq!(attempt.handle_acquired(true), LockStep::Held);
        }
    }

    #[test]
    fn a_key_that_is_held_is_watched_until_it_is_free() {
        let mut attempt = attempt(false);
        attempt.read(Duration::ZERO);
        assert_eq!(sees(&mut attempt, Some("theirs"), 7), read(7));
        assert_eq!(sees(&mut attempt, Some("others"), 9), read(9));
        assert_eq!(sees(&mut attempt, Some("others"), 3), read(0), "the server lost its state");
        assert_eq!(sees(&mut attempt, Some("others"), 3), read(3));
        assert_eq!(sees(&mut attempt, None, 10), LockStep::Acquire);
    }

    #[test]
    fn a_key_that_is_ours_already_is_held() {
        let mut attempt = attempt(false);
        attempt.read(Duration::ZERO);
        assert_eq!(sees(&mut attempt, Some("ours"), 7), LockStep::Held);
    }

    #[test]
    fn who_loses_the_race_watches_the_winner() {
        let mut attempt = attempt(false);
        attempt.read(Duration::ZERO);
        assert_eq!(sees(&mut attempt, None, 7), LockStep::Acquire);
        assert_eq!(attempt.handle_acquired(false), read(0));
        assert_eq!(sees(&mut attempt, Some("theirs"), 9), read(9));
    }

    #[test]
    fn a_lock_delay_is_waited_for_in_growing_pauses() {
        let mut attempt = attempt(false);
        attempt.read(Duration::ZERO);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert_eq!(sees(&mut attempt, Some(""), 7), LockStep::Acquire);
            assert_eq!(attempt.handle_acquired(false), read(0));
            let LockStep::Pause(pause) = sees(&mut attempt, Some(""), 7) else { panic!() };
            pauses.push(pause.as_millis());
            assert_eq!(attempt.read(pause), read(0));
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 5000, 5000]);
    }

    #[test]
    fn a_single_attempt_ends_with_its_time() {
        let mut attempt = attempt(true);
        assert_eq!(attempt.read(Duration::from_secs(99)), read(0), "the key is read once");
        let held = entry("theirs");
        let at = |attempt: &mut LockAttempt, seconds| {
            attempt.handle_read(Some(&held), Index(7), Duration::from_secs(seconds)).unwrap()
        };
        let wait = Duration::from_secs(10);
        assert_eq!(at(&mut attempt, 5), LockStep::Read { index: Index(7), wait });
        assert_eq!(at(&mut attempt, 15), LockStep::OutOfTime);
    }

    #[test]
    fn a_key_that_is_no_lock_is_left_alone() {
        let mut attempt = attempt(false);
        attempt.read(Duration::ZERO);
        let other = KvEntry::default();
        assert_eq!(
            attempt.handle_read(Some(&other), Index(7), Duration::ZERO).unwrap_err(),
            Conflict
        );
    }
}
