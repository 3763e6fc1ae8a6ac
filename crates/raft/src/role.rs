//! The roles of thesis section 3.3, each its own type, and what a leader knows of the others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use types::Index;

use crate::action::{ReadId, WriteNumber};
use crate::entry::{ServerId, Term};
use crate::message::RequestId;

/// Which role a server has, without its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleName {
    /// Obeys a leader, or waits for one.
    Follower,
    /// Asks whether an election could be won.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

pub(crate) enum Role {
    Follower(Follower),
    Candidate(Candidate),
    Leader(Leader),
}

impl Role {
    /// All that this server replicates to, if it leads.
    pub(crate) fn followers(&self) -> Vec<ServerId> {
        match self {
            Role::Leader(leader) => leader.progress.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Forgets a server that is a member no longer, and has heard of it or cannot be told.
    pub(crate) fn forget_removed(&mut self, id: &ServerId) {
        if let Role::Leader(leader) = self
            && leader.removed(id).is_some()
        {
            leader.progress.remove(id);
        }
    }
}

pub(crate) struct Follower {
    pub(crate) leader: Option<ServerId>,
    /// When a leader was heard, or a vote given.
    pub(crate) last_contact: Option<Instant>,
    pub(crate) deadline: Instant,
    /// The leader's process is said to have ended, and nothing was heard of it since.
    pub(crate) leader_down: bool,
}

impl Follower {
    pub(crate) fn of(
        leader: Option<ServerId>,
        last_contact: Option<Instant>,
        deadline: Instant,
    ) -> Self {
        Self { leader, last_contact, deadline, leader_down: false }
    }

    /// Whether its leader, whose process is said to have ended, cannot have a lease any more.
    pub(crate) fn is_released(&self, now: Instant, lease: Duration) -> bool {
        self.leader_down && self.last_contact.is_some_and(|contact| now >= contact + lease)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    PreVote,
    Vote,
}

pub(crate) struct Candidate {
    pub(crate) phase: Phase,
    pub(crate) granted: BTreeSet<ServerId>,
    pub(crate) deadline: Instant,
    /// Until then rounds are short: the leader's process has ended, so that somebody has to win.
    pub(crate) hurries_until: Option<Instant>,
    /// Answers to requests before this one are of an earlier round.
    pub(crate) first_request: RequestId,
    /// The write that makes its vote for itself durable; until then that vote does not count.
    pub(crate) own_vote: WriteNumber,
}

pub(crate) struct Leader {
    pub(crate) term: Term,
    /// The first entry of the term.
    pub(crate) first: Index,
    pub(crate) since: Instant,
    pub(crate) progress: BTreeMap<ServerId, Progress>,
    pub(crate) lease_check: Instant,
    pub(crate) transfer: Option<Transfer>,
    pub(crate) reads: VecDeque<Read>,
    /// Entries or commit progress may be waiting to be sent.
    pub(crate) dirty: bool,
    /// A confirmation waits for heartbeats to be sent.
    pub(crate) verify: bool,
    pub(crate) restoring: bool,
    /// A server was told to campaign. It may do so at any later time, so that in this term
    /// the lease proves nothing any more.
    pub(crate) lease_void: bool,
}

pub(crate) struct Transfer {
    pub(crate) target: ServerId,
    pub(crate) deadline: Instant,
    pub(crate) told: bool,
}

pub(crate) struct Read {
    pub(crate) id: ReadId,
    pub(crate) index: Index,
    /// Answers to requests after this one confirm.
    pub(crate) after: RequestId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Looking for where the logs agree: one request at a time.
    Probe,
    /// Several requests under way.
    Pipeline,
    /// A snapshot is under way.
    Snapshot,
}

pub(crate) enum Kind {
    Heartbeat,
    /// What the follower has if it says yes.
    Append {
        matches: Index,
        count: usize,
    },
    Snapshot {
        last: Index,
    },
}

pub(crate) struct InFlight {
    pub(crate) request: RequestId,
    pub(crate) sent: Instant,
    pub(crate) deadline: Instant,
    pub(crate) kind: Kind,
}

/// What the leader knows of one other server.
pub(crate) struct Progress {
    pub(crate) mode: Mode,
    pub(crate) matched: Index,
    pub(crate) next: Index,
    pub(crate) in_flight: VecDeque<InFlight>,
    /// When the latest request was sent that it answered in this term.
    pub(crate) acknowledged: Option<Instant>,
    /// That request.
    pub(crate) acknowledged_request: Option<RequestId>,
    pub(crate) last_contact: Option<Instant>,
    pub(crate) commit_sent: Index,
    pub(crate) failures: u32,
    pub(crate) heartbeat_failures: u32,
    pub(crate) retry_at: Option<Instant>,
    pub(crate) heartbeat_at: Instant,
    pub(crate) commit_at: Instant,
    /// Set once it is a member no longer.
    pub(crate) removed: Option<Removed>,
}

/// A server that is a member no longer, and is still to hear of it.
pub(crate) struct Removed {
    /// The entry that tells it. Once it has that, or does not answer, it is forgotten.
    pub(crate) through: Index,
    /// Where it was.
    pub(crate) address: Arc<str>,
}

impl Leader {
    /// Of a server that is a member no longer, and is still to hear of it.
    pub(crate) fn removed(&self, id: &ServerId) -> Option<&Removed> {
        self.progress.get(id)?.removed.as_ref()
    }

    /// When something is due, given the commit index.
    pub(crate) fn next_timeout(&self, commit: Index) -> Instant {
        let mut next = self.lease_check;
        if let Some(transfer) = &self.transfer {
            next = next.min(transfer.deadline);
        }
        for progress in self.progress.values() {
            next = next.min(progress.heartbeat_at);
            next = progress.retry_at.map_or(next, |at| next.min(at));
            if progress.wants_commit(commit) {
                next = next.min(progress.commit_at);
            }
            for in_flight in &progress.in_flight {
                next = next.min(in_flight.deadline);
            }
        }
        next
    }
}

impl Progress {
    pub(crate) fn new(next: Index, now: Instant) -> Self {
        Progress {
            mode: Mode::Probe,
            matched: Index::ZERO,
            next,
            in_flight: VecDeque::new(),
            acknowledged: None,
            acknowledged_request: None,
            last_contact: None,
            commit_sent: Index::ZERO,
            failures: 0,
            heartbeat_failures: 0,
            retry_at: None,
            heartbeat_at: now,
            commit_at: now,
            removed: None,
        }
    }

    /// The last entry that it is sent, of a log that ends at `last`.
    pub(crate) fn end(&self, last: Index) -> Index {
        self.removed.as_ref().map_or(last, |removed| removed.through)
    }

    /// Whether an idle follower must be told of the commit index.
    pub(crate) fn wants_commit(&self, commit: Index) -> bool {
        self.commit_sent < commit
            && self.mode == Mode::Pipeline
            && self.retry_at.is_none()
            && self.appends() == 0
    }

    pub(crate) fn appends(&self) -> usize {
        self.in_flight.iter().filter(|f| !matches!(f.kind, Kind::Heartbeat)).count()
    }

    pub(crate) fn heartbeats(&self) -> usize {
        self.in_flight.len() - self.appends()
    }

    pub(crate) fn take(&mut self, request: RequestId) -> Option<InFlight> {
        let position = self.in_flight.iter().position(|f| f.request == request)?;
        self.in_flight.remove(position)
    }
}
