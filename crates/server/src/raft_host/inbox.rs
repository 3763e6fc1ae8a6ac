//! The queue to the thread.
//!
//! The thread takes all that has gathered at once, so that a busy time makes large
//! batches and few wake-ups. Proposals are bounded by the permits that they hold,
//! messages of other servers by [`MESSAGES_MAX`], and the rest by their askers, who
//! wait for the answer.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use contract::AnyCommand;
use raft::{
    BootstrapError, Change, Configuration, EntryKind, LogPosition, Message, RecoverError,
    RequestId, ServerId, SnapshotMeta,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use types::Index;
use wal::{DiskError, Prepared};

use super::applier::SnapshotJob;
use super::error::{Fatal, ProposeError};
use super::options::HostSettings;
use super::stats::RaftStats;
use crate::fsm::FsmReply;

/// Most inputs in the queue that a message is added to.
const MESSAGES_MAX: usize = 1 << 16;

/// Where the outcome of a proposal goes.
pub(super) type Done = oneshot::Sender<Result<Outcome, ProposeError>>;

/// What became of a proposal that took effect.
pub(super) enum Outcome {
    /// Of a command: what applying it gave.
    Reply(FsmReply),
    /// Of anything else: where it is in the log.
    Index(Index),
}

/// An entry to be.
pub(super) struct Proposed {
    pub(super) bytes: Bytes,
    pub(super) command: Option<Box<dyn AnyCommand>>,
    pub(super) kind: EntryKind,
    pub(super) done: Done,
}

/// All that can happen to the thread, besides time passing.
pub(super) enum Input {
    /// The permit is given back when the proposal is done with.
    Propose(Proposed, OwnedSemaphorePermit),
    Bootstrap {
        configuration: Configuration,
        done: oneshot::Sender<Result<(), BootstrapError>>,
    },
    Change {
        change: Change,
        expected: Option<Index>,
        done: Done,
    },
    Recover {
        left: Configuration,
        expected: LogPosition,
        done: oneshot::Sender<Result<LogPosition, RecoverError>>,
    },
    Transfer {
        target: Option<ServerId>,
        done: oneshot::Sender<Result<(), ProposeError>>,
    },
    Verify(oneshot::Sender<Result<(), ProposeError>>),
    TakeSnapshot(SnapshotAsked),
    Capture(oneshot::Sender<Result<Capture, ProposeError>>),
    Restore {
        archived: Index,
        state: Archive,
        done: Restored,
    },
    /// The state of an operator's restore is durable as a snapshot, or not.
    RestoreWritten(Result<SnapshotMeta, SnapshotFailed>, Restored),
    Stats(oneshot::Sender<RaftStats>),
    /// New settings, of a reload.
    Settings(Box<HostSettings>),
    Message {
        from: ServerId,
        message: Message,
    },
    Failure {
        to: ServerId,
        request: RequestId,
    },
    /// The process of a server has ended, as far as can be told.
    PeerDown(ServerId),
    /// A sync failed outside of the thread.
    Halt(Fatal),
    /// A snapshot that this server makes is durable, or failed.
    SnapshotWritten(Result<SnapshotMeta, SnapshotFailed>),
    /// The next segment of the log is zeroed, or not.
    SegmentPrepared(Result<Prepared, DiskError>),
}

/// Somebody waits for a snapshot.
pub(super) type SnapshotAsked = oneshot::Sender<Result<Option<SnapshotMeta>, ProposeError>>;

/// The state of one moment, for an archive.
pub struct Capture {
    /// What it is of; the size is not known yet.
    pub meta: SnapshotMeta,
    /// What writes it.
    pub state: SnapshotJob,
}

/// What writes the state that an operator restores, once.
pub type Archive = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// Somebody waits for a restore.
pub(super) type Restored = oneshot::Sender<Result<SnapshotMeta, ProposeError>>;

/// Why a snapshot was not written.
pub(super) struct SnapshotFailed {
    pub(super) text: String,
    /// A sync failed.
    pub(super) is_fatal: bool,
}

#[derive(Default)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    ready: Condvar,
}

#[derive(Default)]
struct Queue {
    inputs: Vec<Input>,
    /// The thread sleeps and must be woken.
    is_awaited: bool,
    is_closed: bool,
}

/// How [`Inbox::take`] ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// There are inputs, or the time is up.
    Some,
    /// These are the last.
    Last,
}

impl Inbox {
    /// Adds an input; gives it back when nobody takes any more.
    pub(super) fn push(&self, input: Input) -> Result<(), Input> {
        let mut queue = self.lock();
        if queue.is_closed {
            return Err(input);
        }
        queue.inputs.push(input);
        let wake = std::mem::take(&mut queue.is_awaited);
        drop(queue);
        if wake {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// As [`Self::push`], but not behind [`MESSAGES_MAX`] others.
    pub(super) fn push_bounded(&self, input: Input) -> bool {
        self.lock().inputs.len() < MESSAGES_MAX && self.push(input).is_ok()
    }

    /// Lets nothing more in.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.ready.notify_one();
    }

    /// Waits for inputs until `deadline` and swaps all there are into `inputs`, which
    /// must be empty.
    pub(super) fn take(&self, inputs: &mut Vec<Input>, deadline: Option<Instant>) -> Taken {
        let mut queue = self.lock();
        while queue.inputs.is_empty() && !queue.is_closed {
            let wait = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if wait.is_some_and(|wait| wait.is_zero()) {
                break;
            }
            queue.is_awaited = true;
            queue = match wait {
                Some(wait) => {
                    let woken = self.ready.wait_timeout(queue, wait);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
        queue.is_awaited = false;
        std::mem::swap(&mut queue.inputs, inputs);
        if queue.is_closed { Taken::Last } else { Taken::Some }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing in here can panic half-way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
