//! The Raft host: the thread that owns the consensus core and the disk.
//!
//! The core ([`raft::Core`]) decides and the stores ([`wal`]) keep; this module brings
//! them together with a clock, other servers and those who wait. All inputs go through
//! one queue to one thread, which takes whatever has gathered, lets the core append all
//! of it, syncs the disk **once**, applies all that is committed in one call, and then
//! wakes those who waited. The more writers there are, the larger the batches. Only
//! where syncs are slow is a batch held back, for a fraction of a sync, to be larger.
//!
//! - [`RaftHost`]: the handle. Reads of role and lease touch no lock that the thread
//!   holds while it syncs.
//! - [`Applier`]: the state machine. A command that was proposed here comes to it as it
//!   was typed; bytes are decoded only for commands of other servers and after a restart.
//! - [`Transport`]: the way to other servers.
//!
//! A failed sync ends the thread ([`RaftHost::stopped`]) and must end the process. A
//! full disk fails writes and passes; see [`ProposeError::DiskFull`].

mod applier;
mod driver;
mod error;
mod inbox;
mod metrics;
mod options;
mod peer_lines;
mod recovery;
mod role;
mod shared;
mod start;
mod stats;
mod storage;
mod transport;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use contract::AnyCommand;
use raft::{BootstrapError, Configuration, EntryKind, LogPosition, Server, SnapshotMeta};
use telemetry::series::CounterHandle;
use tokio::sync::{oneshot, watch};
use types::Index;

/// What starting a host takes, so that who starts one needs neither crate by itself.
pub use raft::{Change, Options as RaftOptions, ServerId, Suffrage};
pub use wal::{Disk, FileDisk, MemDisk};

pub use self::applier::{Applier, Committed, RestoreFailure, SnapshotJob};
pub use self::error::{Fatal, ProposeError, StartError};
pub use self::options::{HostOptions, HostSettings};
pub use self::stats::RaftStats;
pub use self::transport::{Inlet, NoPeers, Transport};

pub use self::inbox::{Archive, Capture};
use self::inbox::{Inbox, Input, Outcome, Proposed};
use self::shared::{Shared, UNITS_MAX, units_of};
use crate::fsm::FsmReply;

/// How long a proposal waits for room in the queue, as in Consul.
const ENQUEUE_TIMEOUT: Duration = Duration::from_secs(30);

/// A handle to the Raft host; clones are handles to the same one. When the last one is
/// dropped the thread ends.
#[derive(Clone)]
pub struct RaftHost {
    handle: Arc<Handle>,
}

/// What the handles share among themselves, but not with the thread.
struct Handle {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    inlet: Inlet,
    verified: CounterHandle,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl RaftHost {
    /// Proposes a command: `bytes` for the log, `command` for applying it here. Returns
    /// what applying it gave, once it is durable on a quorum and applied.
    ///
    /// # Errors
    /// See [`ProposeError`]; [`ProposeError::is_ambiguous`] tells whether the command
    /// may yet take effect. Dropping the future does not take the command back.
    pub async fn propose(
        &self,
        bytes: Bytes,
        command: Box<dyn AnyCommand>,
    ) -> Result<FsmReply, ProposeError> {
        if bytes.len() > options::PROPOSAL_BYTES_MAX {
            return Err(ProposeError::TooLarge(bytes.len()));
        }
        let permit = self.permit(bytes.len()).await?;
        let (done, outcome) = oneshot::channel();
        let proposed = Proposed { bytes, command: Some(command), kind: EntryKind::Command, done };
        self.push(Input::Propose(proposed, permit))?;
        match outcome.await {
            Ok(Ok(Outcome::Reply(reply))) => Ok(reply),
            Ok(Ok(Outcome::Index(_))) => unreachable!("a command is applied and has a reply"),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(self.gone()),
        }
    }

    /// Waits until all that was committed before this call is applied here, by putting
    /// an empty entry through the log. Returns its index.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn barrier(&self) -> Result<Index, ProposeError> {
        let permit = self.permit(0).await?;
        let (done, outcome) = oneshot::channel();
        let (bytes, command, kind) = (Bytes::new(), None, EntryKind::Barrier);
        self.push(Input::Propose(Proposed { bytes, command, kind, done }, permit))?;
        self.index_of(outcome).await
    }

    /// Makes this fresh server a member of a new cluster of these; to be done with the
    /// same configuration on each of them that is asked to.
    ///
    /// # Errors
    /// [`BootstrapError::NotNew`] in the outer result's value when there is a log.
    pub async fn bootstrap(
        &self,
        configuration: Configuration,
    ) -> Result<Result<(), BootstrapError>, ProposeError> {
        self.ask(|done| Input::Bootstrap { configuration, done }).await
    }

    /// Changes one member; with `expected`, only if the latest configuration is the one
    /// set at that index. Returns once the change is committed, with its index.
    ///
    /// # Errors
    /// [`ProposeError::Change`] when refused, and the others.
    pub async fn change_membership(
        &self,
        change: Change,
        expected: Option<Index>,
    ) -> Result<Index, ProposeError> {
        let (done, outcome) = oneshot::channel();
        self.push(Input::Change { change, expected, done })?;
        self.index_of(outcome).await
    }

    /// Makes those of the members that are left the configuration, on an operator's word that
    /// the others are lost for good, and has this server campaign. `expected` is the end of
    /// the log by which the operator judged. Returns where the configuration stands.
    ///
    /// # Errors
    /// [`ProposeError::Recover`] when refused; nothing has changed then.
    pub async fn recover(
        &self,
        left: Configuration,
        expected: LogPosition,
    ) -> Result<LogPosition, ProposeError> {
        Ok(self.ask(|done| Input::Recover { left, expected, done }).await??)
    }

    /// Hands leadership to `target`, or to whoever is most up to date.
    ///
    /// # Errors
    /// [`ProposeError::Change`] when it did not happen.
    pub async fn transfer_leadership(&self, target: Option<ServerId>) -> Result<(), ProposeError> {
        self.ask(|done| Input::Transfer { target, done }).await?
    }

    /// Proves that this server leads at this moment and has applied all that was
    /// committed when this was called.
    ///
    /// # Errors
    /// [`ProposeError::NotLeader`], [`ProposeError::LeadershipLost`].
    pub async fn verify_leader(&self) -> Result<(), ProposeError> {
        self.handle.verified.increment(1);
        // A sole voter needs no one's confirmation, and applies before it answers.
        if self.handle.shared.leads_alone() {
            return Ok(());
        }
        self.ask(Input::Verify).await?
    }

    /// Takes a snapshot now, whatever the threshold says; `None` if there is nothing
    /// new to put in one.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn take_snapshot(&self) -> Result<Option<SnapshotMeta>, ProposeError> {
        self.ask(Input::TakeSnapshot).await?
    }

    /// The state as of the last entry that was applied here, for an archive. Writing it
    /// disturbs nobody; until it is dropped it costs the memory of what changes meanwhile.
    ///
    /// # Errors
    /// [`ProposeError::Snapshot`] when there is nothing to save yet.
    pub async fn capture(&self) -> Result<Capture, ProposeError> {
        self.ask(Input::Capture).await?
    }

    /// An operator's restore: what `state` writes (a `state.bin`) takes the place of the
    /// state on all servers. Its archive ended at `archived`; the snapshot that this makes ends
    /// behind that and behind the whole log. Waiting proposals fail with
    /// [`ProposeError::SnapshotRestored`].
    ///
    /// # Errors
    /// [`ProposeError::Snapshot`] when the state cannot be read or written; nothing is
    /// changed then.
    pub async fn restore(
        &self,
        archived: Index,
        state: Archive,
    ) -> Result<SnapshotMeta, ProposeError> {
        self.ask(|done| Input::Restore { archived, state, done }).await?
    }

    /// The figures of this server's part in the consensus, and its configuration.
    ///
    /// # Errors
    /// [`ProposeError::Shutdown`] when the host has stopped.
    pub async fn stats(&self) -> Result<RaftStats, ProposeError> {
        self.ask(Input::Stats).await
    }

    /// Takes new timings and limits, as after a reload of the configuration.
    ///
    /// # Errors
    /// [`ProposeError::Shutdown`] when the host has stopped.
    pub fn set(&self, settings: HostSettings) -> Result<(), ProposeError> {
        self.push(Input::Settings(Box::new(settings)))
    }

    /// Whether this server leads and has applied all that earlier leaders acknowledged.
    pub fn is_leader(&self) -> bool {
        self.handle.shared.is_leader()
    }

    /// Whether this server may answer a default read from its own state: it leads, and
    /// no other server can.
    pub fn has_lease(&self) -> bool {
        self.handle.shared.has_lease(Instant::now())
    }

    /// The leader this server knows, possibly itself, with the address that it gives itself;
    /// of one that gives none, that in the latest configuration.
    pub fn leader(&self) -> Option<Server> {
        self.handle.shared.leader.borrow().clone()
    }

    /// This server's id.
    pub fn id(&self) -> &ServerId {
        &self.handle.shared.id
    }

    /// Whether a leader was known here at any time since the start.
    pub fn had_leader(&self) -> bool {
        self.handle.shared.had_leader()
    }

    /// Follows [`Self::leader`].
    pub fn watch_leader(&self) -> watch::Receiver<Option<Server>> {
        self.handle.shared.leader.subscribe()
    }

    /// Follows the members of the cluster, as this server knows them.
    pub fn watch_configuration(&self) -> watch::Receiver<Arc<Configuration>> {
        self.handle.shared.configuration.subscribe()
    }

    /// Follows [`Self::is_leader`].
    pub fn watch_leadership(&self) -> watch::Receiver<bool> {
        self.handle.shared.leadership.subscribe()
    }

    /// Follows whether this server's disk is full, so that it takes no writes.
    pub fn watch_disk_full(&self) -> watch::Receiver<bool> {
        self.handle.shared.disk_full.subscribe()
    }

    /// Waits until this server leads; `false` when the host has stopped.
    pub async fn until_leader(&self) -> bool {
        let mut leadership = self.watch_leadership();
        tokio::select! {
            outcome = leadership.wait_for(|leads| *leads) => outcome.is_ok(),
            _ = self.stopped() => false,
        }
    }

    /// How long ago the leader was heard of: zero on the leader; since the start when
    /// never.
    pub fn last_contact(&self) -> Duration {
        self.handle.shared.last_contact(Instant::now())
    }

    /// The last entry that was applied here.
    pub fn applied_index(&self) -> Index {
        self.handle.shared.applied_index()
    }

    /// Waits for the thread's end: `None` after [`Self::shutdown`], and otherwise why it
    /// could not go on. The process must then exit and say so.
    pub async fn stopped(&self) -> Option<Fatal> {
        let mut end = self.handle.shared.end.subscribe();
        let ended = end.wait_for(Option::is_some).await;
        ended.ok().and_then(|end| end.clone()).and_then(Result::err)
    }

    /// Where a transport brings messages from other servers.
    pub fn inlet(&self) -> Inlet {
        self.handle.inlet.clone()
    }

    /// Ends the host: what is queued is proposed, synced and, where nobody else is
    /// needed, applied and answered; then the thread and all its helpers are joined.
    pub async fn shutdown(&self) {
        self.handle.inbox.close();
        let thread = self.handle.take_thread();
        if let Some(thread) = thread {
            // The guard in the thread has told of a panic already.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    async fn permit(
        &self,
        bytes: usize,
    ) -> Result<tokio::sync::OwnedSemaphorePermit, ProposeError> {
        let room = self.handle.shared.room.clone();
        let units = units_of(bytes).min(UNITS_MAX);
        if let Ok(permit) = room.clone().try_acquire_many_owned(units) {
            return Ok(permit);
        }
        match tokio::time::timeout(ENQUEUE_TIMEOUT, room.acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(self.gone()),
            Err(_) => Err(ProposeError::EnqueueTimeout),
        }
    }

    fn push(&self, input: Input) -> Result<(), ProposeError> {
        self.handle.inbox.push(input).map_err(|_| self.gone())
    }

    async fn ask<T>(
        &self,
        input: impl FnOnce(oneshot::Sender<T>) -> Input,
    ) -> Result<T, ProposeError> {
        let (done, answer) = oneshot::channel();
        self.push(input(done))?;
        answer.await.map_err(|_| self.gone())
    }

    async fn index_of(
        &self,
        outcome: oneshot::Receiver<Result<Outcome, ProposeError>>,
    ) -> Result<Index, ProposeError> {
        match outcome.await {
            Ok(Ok(Outcome::Index(index))) => Ok(index),
            Ok(Ok(Outcome::Reply(_))) => unreachable!("only a command has a reply"),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(self.gone()),
        }
    }

    /// Why nobody answers any more.
    fn gone(&self) -> ProposeError {
        match &*self.handle.shared.end.borrow() {
            Some(Err(fatal)) => ProposeError::Fatal(fatal.clone()),
            _ => ProposeError::Shutdown,
        }
    }
}

impl Handle {
    fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inbox.close();
        if let Some(thread) = self.take_thread() {
            // Nobody is left to be told of a panic.
            let _ = thread.join();
        }
    }
}
