//! Sessions end when their time is over: a duty of the leader.
//!
//! A session lives at least its TTL after it was made or last renewed, and at most a
//! second longer while there is a leader that can write. Time is the leader's: when
//! another one is established, the time of every session begins anew
//! (`reference/raft-and-snapshots.md` section 17). [`SessionTimers`] decides, without
//! a clock; [`run`] looks at the table, sleeps and writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domains::session::{SESSIONS, SessionCommand, SessionOp};
use store::{Reader, State, Store, Subscription};
use telemetry::names;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use types::session::Session;
use types::{SecretId, SessionId};

use crate::Server;
use crate::duties::OnDuty;
use crate::lock_delay::LockDelays;

/// Shortest time between two looks at the table of sessions; part of the second by
/// which a session may outlive its time.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Most sessions that are being ended at a time.
const ENDING_MAX: usize = 64;

/// How long to wait after a first failure to end a session, and how often that doubles.
const RETRY_WAIT: Duration = Duration::from_secs(1);
const RETRY_DOUBLINGS_MAX: u32 = 5;

/// What a leader remembers of sessions beside the state.
pub(crate) struct SessionMemory {
    lock_delays: LockDelays,
    timers: Mutex<SessionTimers>,
}

impl SessionMemory {
    /// Delays of locks that are noted elsewhere; no timers.
    pub(crate) fn new(lock_delays: LockDelays) -> Self {
        Self { lock_delays, timers: Mutex::default() }
    }

    /// For how long a key cannot be locked from now on.
    pub(crate) fn lock_delay_left(&self, key: &str) -> Option<Duration> {
        self.lock_delays.left(key)
    }

    /// Sessions with a time to live that are timed here.
    pub(crate) fn timed_sessions(&self) -> usize {
        self.timers().by_session.len()
    }

    /// Whether the key cannot be locked yet.
    pub(crate) fn is_lock_delayed(&self, key: &str) -> bool {
        self.lock_delays.is_delayed(key)
    }

    /// Lets the time of a session begin anew; false if it is over.
    pub(crate) fn renew(&self, session: &SessionId, ttl: Duration) -> bool {
        self.timers().handle_renew(session, ttl, Instant::now())
    }

    fn timers(&self) -> MutexGuard<'_, SessionTimers> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When each session with a TTL ends.
#[derive(Debug, Default)]
struct SessionTimers {
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
    fn handle_established(&mut self, sessions: &BTreeMap<SessionId, Duration>, now: Instant) {
        self.clear();
        self.handle_sessions(sessions, now);
    }

    /// These are all sessions with a TTL: new ones begin, others are forgotten.
    fn handle_sessions(&mut self, sessions: &BTreeMap<SessionId, Duration>, now: Instant) {
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
    fn handle_renew(&mut self, id: &SessionId, ttl: Duration, now: Instant) -> bool {
        let over = |timer: &Timer| timer.attempts > 0 || timer.deadline <= now;
        if self.by_session.get(id).is_some_and(over) {
            return false;
        }
        self.set(id, Timer { deadline: now + ttl, attempts: 0 });
        true
    }

    /// When the next session is over.
    fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// At most so many sessions that are to be ended now. They are handed out again
    /// after a while, as long as they are there.
    fn take_due(&mut self, most: usize, now: Instant) -> Vec<SessionId> {
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

    fn clear(&mut self) {
        *self = Self::default();
    }

    fn set(&mut self, id: &SessionId, timer: Timer) {
        self.remove(id);
        self.by_session.insert(id.clone(), timer);
        self.by_deadline.insert((timer.deadline, id.clone()));
    }

    fn remove(&mut self, id: &SessionId) {
        if let Some(timer) = self.by_session.remove(id) {
            self.by_deadline.remove(&(timer.deadline, id.clone()));
        }
    }
}

/// Ends sessions whose time is over, for as long as it runs: while this server leads.
pub(crate) async fn run(server: &Server, on_duty: &OnDuty) {
    let memory = &server.shared.memory.sessions;
    let (mut changes, sessions) = look(server.store());
    memory.timers().handle_established(&sessions, Instant::now());
    let mut next_look = Instant::now() + LOOK_INTERVAL;
    let mut ending = JoinSet::new();
    loop {
        let deadline = memory.timers().next_deadline();
        let has_room = ending.len() < ENDING_MAX;
        tokio::select! {
            () = changed_after(&changes, next_look) => {
                let sessions;
                (changes, sessions) = look(server.store());
                memory.timers().handle_sessions(&sessions, Instant::now());
                next_look = Instant::now() + LOOK_INTERVAL;
            }
            () = reached(deadline), if has_room => {
                let due = memory.timers().take_due(ENDING_MAX - ending.len(), Instant::now());
                for id in due {
                    ending.spawn(end(server.clone(), id, on_duty.clone()));
                }
            }
            Some(_) = ending.join_next() => {}
        }
    }
}

/// Completes at the first change, but not before the given moment.
async fn changed_after(changes: &Subscription, earliest: Instant) {
    changes.fired().await;
    sleep_until(earliest).await;
}

/// Completes at the deadline; never if there is none.
async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The sessions that have a TTL, and what tells that they may be others: subscribed
/// to before looking, so that no change falls in between.
fn look(store: &Store) -> (Subscription, BTreeMap<SessionId, Duration>) {
    let state = store.snapshot();
    let mut reader = Reader::new(&state);
    reader.index_of(SESSIONS.name);
    let (changes, _) = store.subscribe(reader.into_watch_set());
    (changes, sessions_with_ttl(&store.snapshot()))
}

fn sessions_with_ttl(state: &State) -> BTreeMap<SessionId, Duration> {
    let with_ttl = |session: &Session| Some((session.id.clone(), session.time_to_live()?));
    state.peek_prefix(&SESSIONS, &[]).filter_map(with_ttl).collect()
}

async fn end(server: Server, id: SessionId, _on_duty: OnDuty) {
    tracing::debug!(target: "agent.server", session = %id, "Session TTL expired");
    let session = Session { id: id.clone(), ..Session::default() };
    let command = SessionCommand { op: SessionOp::Destroy, session, ..SessionCommand::default() };
    let start = Instant::now();
    let outcome = server.write_typed(command, &SecretId::default()).await;
    names::SESSION_TTL_INVALIDATE.record([], start.elapsed());
    match outcome {
        // A renewal may have set a timer behind the last look at the table.
        Ok(_) => server.shared.memory.sessions.timers().remove(&id),
        Err(error) => {
            tracing::error!(target: "agent.server", session = %id, error = %error, "session destroy failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::CallError;
    use domains::catalog::Register;
    use domains::kv::{KvCommand, KvOp};
    use domains::session::SessionReply;
    use types::catalog::RegisterRequest;
    use types::kv::KvEntry;

    use super::*;
    use crate::testing::leader;

    fn sessions(ids: &[(&str, u64)]) -> BTreeMap<SessionId, Duration> {
        ids.iter().map(|(id, ttl)| (SessionId::from(*id), Duration::from_secs(*ttl))).collect()
    }

    fn due(timers: &mut SessionTimers, now: Instant) -> Vec<String> {
        timers.take_due(ENDING_MAX, now).iter().map(|id| id.as_str().to_owned()).collect()
    }

    struct Case {
        timers: SessionTimers,
        start: Instant,
    }

    impl Case {
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

    #[tokio::test]
    async fn renewals_and_delayed_locks_are_answered_without_the_log() {
        let server = leader().await;
        let register = RegisterRequest {
            node: "n".into(),
            address: "127.0.0.1".into(),
            ..RegisterRequest::default()
        };
        write(&server, Register(register)).await.expect("it is sound");
        let session = Session {
            node: "n".into(),
            ttl: "10s".to_owned(),
            lock_delay: types::GoDuration::from_secs(15),
            ..Session::default()
        };
        let command = |op, session| SessionCommand { op, session, ..SessionCommand::default() };
        let create = command(SessionOp::Create, session);
        let reply = write(&server, create.clone()).await.expect("the node is there");
        let SessionReply::Created { id } = reply else { panic!("{reply:?}") };
        let SessionReply::Created { id: rival } =
            write(&server, create).await.expect("there may be two")
        else {
            panic!("it was created")
        };
        let lock = |session: &SessionId| KvCommand {
            op: KvOp::Lock,
            entry: KvEntry { key: "k".into(), session: session.clone(), ..KvEntry::default() },
            ..KvCommand::default()
        };
        assert!(write(&server, lock(&id)).await.expect("the session is there"));

        let of = |id: &SessionId| Session { id: id.clone(), ..Session::default() };
        let applied = server.raft().applied_index();
        let reply = write(&server, command(SessionOp::Renew, of(&id))).await.expect("it is there");
        assert!(matches!(reply, SessionReply::Renewed([session]) if session.id == id));
        assert_eq!(server.raft().applied_index(), applied);

        write(&server, command(SessionOp::Destroy, of(&id))).await.expect("it always can be");
        let applied = server.raft().applied_index();
        assert!(!write(&server, lock(&rival)).await.expect("it is only too early"));
        let reply = write(&server, command(SessionOp::Renew, of(&id))).await;
        assert_eq!(reply.expect("it is gone"), SessionReply::NotFound(id));
        assert_eq!(server.raft().applied_index(), applied);
        server.raft().shutdown().await;
    }

    async fn write<C: contract::Command>(
        server: &Server,
        command: C,
    ) -> Result<C::Reply, CallError> {
        server.write_typed(command, &SecretId::default()).await
    }

    #[test]
    fn no_more_sessions_are_due_than_there_is_room_for() {
        let mut case = Case::new(&[("a", 10), ("b", 10), ("c", 10)]);
        let now = case.after(11_000);
        assert_eq!(case.timers.take_due(2, now).len(), 2);
        assert_eq!(case.timers.take_due(2, now).len(), 1);
    }
}
