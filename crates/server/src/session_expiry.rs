//! Sessions end when their time is over: a duty of the leader.
//!
//! A session lives at least its TTL after it was made or last renewed, and at most a
//! second longer while there is a leader that can write. Time is the leader's: when
//! another one is established, the time of every session begins anew
//! (`reference/raft-and-snapshots.md` section 17). [`SessionTimers`] decides, without
//! a clock; [`run`] looks at the table, sleeps and writes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domains::session::{SESSIONS, SessionCommand, SessionOp};
use replica::session_timers::{SessionTimers, sessions_with_ttl};
use store::{Reader, Store, Subscription};
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
        self.timers().len()
    }

    /// Whether the key cannot be locked yet.
    pub(crate) fn is_lock_delayed(&self, key: &str) -> bool {
        self.lock_delays.is_delayed(key)
    }

    /// Lets the time of a session begin anew; false if it is over.
    pub(crate) fn renew(&self, session: &SessionId, ttl: Duration) -> bool {
        self.timers().handle_renew(session, ttl, now())
    }

    fn timers(&self) -> MutexGuard<'_, SessionTimers> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends sessions whose time is over, for as long as it runs: while this server leads.
pub(crate) async fn run(server: &Server, on_duty: &OnDuty) {
    let memory = &server.shared.memory.sessions;
    let _forgotten = Forgotten(memory);
    let (mut changes, sessions) = look(server.store());
    memory.timers().handle_established(&sessions, now());
    let mut next_look = Instant::now() + LOOK_INTERVAL;
    let mut ending = JoinSet::new();
    loop {
        let deadline = memory.timers().next_deadline();
        let has_room = ending.len() < ENDING_MAX;
        tokio::select! {
            () = changed_after(&changes, next_look) => {
                let sessions;
                (changes, sessions) = look(server.store());
                memory.timers().handle_sessions(&sessions, now());
                next_look = Instant::now() + LOOK_INTERVAL;
            }
            () = reached(deadline), if has_room => {
                let due = memory.timers().take_due(ENDING_MAX - ending.len(), now());
                for id in due {
                    ending.spawn(end(server.clone(), id, on_duty.clone()));
                }
            }
            Some(_) = ending.join_next() => {}
        }
    }
}

/// Forgets the timers when it is dropped: who leads again later must not take sessions for
/// over that were renewed elsewhere meanwhile.
struct Forgotten<'m>(&'m SessionMemory);

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        *self.0.timers() = SessionTimers::default();
    }
}

/// Completes at the first change, but not before the given moment.
async fn changed_after(changes: &Subscription, earliest: Instant) {
    changes.fired().await;
    sleep_until(earliest).await;
}

/// Completes at the deadline; never if there is none.
async fn reached(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
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

/// The moment, by the runtime's clock.
fn now() -> std::time::Instant {
    Instant::now().into_std()
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

    #[tokio::test]
    async fn a_leader_that_leads_no_more_forgets_when_sessions_are_over() {
        let server = leader().await;
        let memory = &server.shared.memory.sessions;
        let (id, ttl) = (SessionId::from("s"), Duration::from_secs(10));
        {
            let on_duty = server.shared.duties.begin().await;
            let mut duty = std::pin::pin!(run(&server, &on_duty));
            let waits = std::future::poll_fn(|context| {
                std::task::Poll::Ready(duty.as_mut().poll(context).is_pending())
            });
            assert!(waits.await);
            let long_ago = now() - 2 * ttl;
            memory.timers().handle_renew(&id, ttl, long_ago);
            assert!(!memory.renew(&id, ttl), "its time is over");
        }
        assert_eq!(memory.timed_sessions(), 0);
        // It was renewed at another leader, say; this one leads again, and is asked before it
        // has taken on its duties.
        assert!(memory.renew(&id, ttl));
        server.raft().shutdown().await;
    }

    async fn write<C: contract::Command>(
        server: &Server,
        command: C,
    ) -> Result<C::Reply, CallError> {
        server.write_typed(command, &SecretId::default()).await
    }
}
