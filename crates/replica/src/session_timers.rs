//! When sessions are over, as their leader sees it.
//!
//! A session lives at least its TTL after it was made or last renewed. Time is the leader's:
//! when another one is established, the time of every session begins anew
//! (`reference/raft-and-snapshots.md` section 17).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use domains::session::SESSIONS;
use store::State;
use types::SessionId;
use types::session::Session;

/// How long to wait after a first failure to end a session, and how often that doubles.
const RETRY_WAIT: Duration = Duration::from_secs(1);
const RETRY_DOUBLINGS_MAX: u32 = 5;

/// The sessions that have a TTL.
pub fn sessions_with_ttl(state: &State) -> BTreeMap<SessionId, Duration> {
    let with_ttl = |session: &Session| Some((session.id.clone(), session.time_to_live()?));
    state.peek_prefix(&SESSIONS, &[]).filter_map(with_ttl).collect()
}

/// When each session with a TTL ends.
#[derive(Debug, Default)]
pub struct SessionTimers {
    by_session: BTreeMap<SessionId, Timer>,
    by_deadline: BTreeSet<(Instant, SessionId)>,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    /// When it is over; once it was, when to try again to end the session.
    deadline: Instant,
    /// How often ending the session was tried.
    attempts: u32,
}

impl SessionTimers {
    /// A leader is established: the time of all sessions begins anew.
    pub fn handle_established(&mut self, sessions: &BTreeMap<SessionId, Duration>, now: Instant) {
        self.clear();
        self.handle_sessions(sessions, now);
    }

    /// These are all sessions with a TTL: new ones begin, others are forgotten.
    pub fn handle_sessions(&mut self, sessions: &BTreeMap<SessionId, Duration>, now: Instant) {
        let gone: Vec<SessionId> =
            self.by_session.keys().filter(|id| !sessions.contains_key(*id)).cloned().collect();
        for id in gone {
            self.remove(&id);
        }
        for (id, ttl) in sessions {
            if !self.by_session.contains_key(id) {
                self.set(id, Timer { deadline: now + *ttl, attempts: 0 });
            }
        }
    }

    /// A session begins anew, unless it is being ended.
    pub fn handle_renew(&mut self, id: &SessionId, ttl: Duration, now: Instant) -> bool {
        let over = |timer: &Timer| timer.attempts > 0 || timer.deadline <= now;
        if self.by_session.get(id).is_some_and(over) {
            return false;
        }
        self.set(id, Timer { deadline: now + ttl, attempts: 0 });
        true
    }

    /// When the next session is over.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// At most so many sessions that are to be ended now. They are handed out again
    /// after a while, as long as they are there.
    pub fn take_due(&mut self, most: usize, now: Instant) -> Vec<SessionId> {
        let due: Vec<SessionId> = self
            .by_deadline
            .iter()
            .take_while(|(deadline, _)| *deadline <= now)
            .take(most)
            .map(|(_, id)| id.clone())
            .collect();
        for id in &due {
            let attempts = self.by_session.get(id).map_or(0, |timer| timer.attempts);
            let wait = RETRY_WAIT * 2u32.pow(attempts.min(RETRY_DOUBLINGS_MAX));
            self.set(id, Timer { deadline: now + wait, attempts: attempts.saturating_add(1) });
        }
        due
    }

    /// How many sessions are timed.
    pub fn len(&self) -> usize {
        self.by_session.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_session.is_empty()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    fn set(&mut self, id: &SessionId, timer: Timer) {
        self.remove(id);
        self.by_session.insert(id.clone(), timer);
        self.by_deadline.insert((timer.deadline, id.clone()));
    }

    /// A session is over, whatever the table said last.
    pub fn remove(&mut self, id: &SessionId) {
        if let Some(timer) = self.by_session.remove(id) {
            self.by_deadline.remove(&(timer.deadline, id.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(ids: &[(&str, u64)]) -> BTreeMap<SessionId, Duration> {
        ids.iter().map(|(id, ttl)| (SessionId::from(*id), Duration::from_secs(*ttl))).collect()
    }

    fn due(timers: &mut SessionTimers, now: Instant) -> Vec<String> {
        timers.take_due(64, now).iter().map(|id| id.as_str().to_owned()).collect()
    }

    struct Case {
        timers: SessionTimers,
        start: Instant,
    }

    impl Case {
        #[expect(clippy::disallowed_methods, reason = "a base to count from")]
        fn new(ids: &[(&str, u64)]) -> Self {
            let (mut timers, start) = (SessionTimers::default(), Instant::now());
            timers.handle_established(&sessions(ids), start);
            Self { timers, start }
        }

        fn after(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        fn renew(&mut self, id: &str, millis: u64) -> bool {
            let now = self.after(millis);
            self.timers.handle_renew(&id.into(), Duration::from_secs(10), now)
        }
    }

    #[test]
    fn a_session_is_over_at_its_time_and_not_before() {
        let mut case = Case::new(&[("a", 10), ("b", 20)]);
        assert_eq!(case.timers.next_deadline(), Some(case.after(10_000)));
        let (before, at) = (case.after(9_999), case.after(10_000));
        assert!(due(&mut case.timers, before).is_empty());
        assert_eq!(due(&mut case.timers, at), ["a"]);
    }

    #[test]
    fn renewing_begins_anew_until_the_time_is_over() {
        let mut case = Case::new(&[("a", 10)]);
        assert!(case.renew("a", 9_000));
        assert_eq!(case.timers.next_deadline(), Some(case.after(19_000)));
        assert!(!case.renew("a", 19_000));
        let later = case.after(19_500);
        assert_eq!(due(&mut case.timers, later), ["a"]);
        assert!(!case.renew("a", 19_600));
    }

    #[test]
    fn a_session_that_could_not_be_ended_is_tried_again_ever_more_rarely() {
        let mut case = Case::new(&[("a", 10)]);
        let mut at = 10_000;
        for wait in [1, 2, 4, 8, 16, 32, 32, 32] {
            let now = case.after(at);
            assert_eq!(due(&mut case.timers, now), ["a"]);
            at += wait * 1000;
            assert_eq!(case.timers.next_deadline(), Some(case.after(at)));
        }
    }

    #[test]
    fn timers_follow_the_table() {
        let mut case = Case::new(&[("a", 10), ("b", 10)]);
        let now = case.after(5_000);
        case.timers.handle_sessions(&sessions(&[("b", 10), ("c", 10)]), now);
        let later = case.after(15_000);
        assert_eq!(due(&mut case.timers, later), ["b", "c"]);
        case.timers.handle_sessions(&sessions(&[]), later);
        assert_eq!(case.timers.next_deadline(), None);
        assert!(case.timers.by_deadline.is_empty());
    }

    #[test]
    fn a_new_leader_gives_every_session_its_full_time() {
        let mut case = Case::new(&[("a", 10)]);
        let now = case.after(10_000);
        assert_eq!(due(&mut case.timers, now), ["a"]);
        case.timers.handle_established(&sessions(&[("a", 10)]), now);
        assert_eq!(case.timers.next_deadline(), Some(case.after(20_000)));
        assert!(case.renew("a", 12_000));
    }

    #[test]
    fn a_session_that_the_table_was_not_yet_seen_with_can_be_renewed() {
        let mut case = Case::new(&[]);
        assert!(case.renew("new", 100));
        assert_eq!(case.timers.next_deadline(), Some(case.after(10_100)));
    }

    #[test]
    fn no_more_sessions_are_due_than_there_is_room_for() {
        let mut case = Case::new(&[("a", 10), ("b", 10), ("c", 10)]);
        let now = case.after(11_000);
        assert_eq!(case.timers.take_due(2, now).len(), 2);
        assert_eq!(case.timers.take_due(2, now).len(), 1);
    }
}
