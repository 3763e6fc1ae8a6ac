//! What the core asks its shell to do.

use types::Index;

use crate::entry::{Entry, HardState, LogPosition, ServerId, SnapshotMeta, Term};
use crate::error::{ChangeError, LogError};
use crate::message::{Destination, Message, RequestId};

/// The number of a write to disk, counting up from one. Writes are done in their order, and
/// [`crate::Core::handle_persisted`] tells the last one that is durable, so that one sync may
/// cover many of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteNumber(pub u64);

/// Names a leadership confirmation asked for with [`crate::Core::verify_leader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// One thing to do. Actions are taken in order from [`crate::Core::poll_action`]. Those with a
/// `write` change what is on disk: do them in order, sync, and report with
/// [`crate::Core::handle_persisted`]. The others need not wait for the disk: the core itself
/// holds back each message that must not leave before a write is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write term and vote.
    SaveHardState {
        /// Its number.
        write: WriteNumber,
        /// What to write.
        state: HardState,
    },
    /// Remove the entries from `from` to the end of the log. Never a committed one.
    TruncateLog {
        /// Its number.
        write: WriteNumber,
        /// The first entry to go.
        from: Index,
    },
    /// Write entries at the end of the log. Never empty; the indexes follow the log's last.
    AppendEntries {
        /// Its number.
        write: WriteNumber,
        /// The entries.
        entries: Vec<Entry>,
    },
    /// Remove the entries up to and including `through`: a snapshot stands for them.
    CompactLog {
        /// Its number.
        write: WriteNumber,
        /// The last entry to go.
        through: Index,
    },
    /// Remove every entry; the next one appended is `last.index + 1`. A snapshot that ends at
    /// `last` is durable and stands for them.
    ResetLog {
        /// Its number.
        write: WriteNumber,
        /// The last position of the snapshot.
        last: LogPosition,
    },
    /// Send a message. For a request, bring back the answer with
    /// [`crate::Core::handle_message`] or say that it failed with
    /// [`crate::Core::handle_failure`]. An answer goes back on the call it belongs to.
    Send {
        /// The receiver.
        to: Destination,
        /// The message.
        message: Message,
    },
    /// Send an [`crate::Body::InstallSnapshot`] and after it the bytes of that snapshot, named
    /// by its `id`. If it is gone by now, say [`crate::Core::handle_failure`].
    SendSnapshot {
        /// The receiver.
        to: Destination,
        /// The announcement.
        message: Message,
    },
    /// These entries are committed and durable here: apply them in order. They follow each
    /// other without a gap, across actions too; after a restart they begin behind the snapshot.
    Apply {
        /// Every kind of entry, also those that carry nothing for the state machine.
        entries: Vec<Entry>,
    },
    /// Make the received snapshot durable and replace the state machine's state by it; then
    /// say [`crate::Core::handle_snapshot_installed`]. No entries are given to apply meanwhile.
    InstallSnapshot {
        /// The call it came with.
        request: RequestId,
        /// Who sent it.
        from: ServerId,
        /// What it stands for.
        snapshot: SnapshotMeta,
    },
    /// This server won an election.
    BecameLeader {
        /// In this term.
        term: Term,
        /// The index of the term's first entry. Once it is applied, so is all that earlier
        /// leaders acknowledged.
        first: Index,
    },
    /// This server was the leader of `term` and is no longer. Entries it proposed and has not
    /// applied may or may not survive; confirmations it had not given will not come.
    LostLeadership {
        /// The term it led.
        term: Term,
        /// Why.
        reason: LossReason,
    },
    /// Another server is known to lead, or no one.
    LeaderChanged {
        /// The term.
        term: Term,
        /// The leader; `None` when unknown.
        leader: Option<ServerId>,
    },
    /// A majority took this server for the leader after [`crate::Core::verify_leader`] was
    /// asked. A consistent read is right once the state machine has applied `index`.
    LeaderVerified {
        /// What was asked.
        read: ReadId,
        /// Apply this far before reading.
        index: Index,
    },
    /// What became of [`crate::Core::transfer_leadership`]. Success is told when leadership was
    /// lost to a newer term.
    TransferFinished {
        /// The outcome.
        result: Result<(), ChangeError>,
    },
    /// The log could not be read. The core does nothing any more; the process should stop.
    Halt {
        /// Why.
        error: LogError,
    },
}

/// Why a leader is one no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossReason {
    /// A server with a newer term was heard of.
    NewerTerm,
    /// A quorum was not in contact within the lease.
    LeaseExpired,
    /// The committed configuration no longer has it as a voter.
    Removed,
    /// [`crate::Core::step_down`] was called.
    Asked,
}
