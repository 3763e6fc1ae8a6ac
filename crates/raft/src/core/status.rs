//! What can be asked of a core.

use std::time::Instant;

use types::Index;

use super::Core;
use crate::entry::{HardState, LogPosition, ServerId, SnapshotMeta, Term};
use crate::log::LogReader;
use crate::membership::Configurations;
use crate::options::Options;
use crate::role::{Phase, Role, RoleName};

/// Where a server stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This server.
    pub id: ServerId,
    /// Its role.
    pub role: RoleName,
    /// Its term.
    pub term: Term,
    /// The leader it knows.
    pub leader: Option<ServerId>,
    /// The end of its log, durable or not.
    pub last: LogPosition,
    /// The last durable entry.
    pub stable: Index,
    /// The last entry known to be committed.
    pub commit: Index,
    /// The last entry given out to apply.
    pub applied: Index,
    /// The end of the latest snapshot, zero for none.
    pub snapshot: LogPosition,
    /// The first entry of the log.
    pub first: Index,
    /// When a follower last heard from a leader.
    pub last_contact: Option<Instant>,
}

/// What a leader knows of another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerStatus {
    /// Who.
    pub id: ServerId,
    /// The last entry it is known to have.
    pub matched: Index,
    /// The next entry to send.
    pub next: Index,
    /// When it last answered; `None` for never in this term.
    pub last_contact: Option<Instant>,
}

impl<L: LogReader> Core<L> {
    /// This server.
    pub fn id(&self) -> &ServerId {
        &self.id
    }

    /// Its role.
    pub fn role(&self) -> RoleName {
        match &self.role {
            Role::Follower(_) => RoleName::Follower,
            Role::Candidate(candidate) if candidate.phase == Phase::PreVote => {
                RoleName::PreCandidate
            }
            Role::Candidate(_) => RoleName::Candidate,
            Role::Leader(_) => RoleName::Leader,
        }
    }

    /// Whether it leads.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// The leader it knows, possibly itself.
    pub fn leader(&self) -> Option<&ServerId> {
        match &self.role {
            Role::Leader(_) => Some(&self.id),
            Role::Follower(follower) => follower.leader.as_ref(),
            Role::Candidate(_) => None,
        }
    }

    /// Its term.
    pub fn term(&self) -> Term {
        self.hard.term
    }

    /// Term and vote, durable or not.
    pub fn hard_state(&self) -> &HardState {
        &self.hard
    }

    /// The last entry known to be committed.
    pub fn commit_index(&self) -> Index {
        self.commit
    }

    /// The last entry of the log, durable or not.
    pub fn last_index(&self) -> Index {
        self.log.last()
    }

    /// The members.
    pub fn configurations(&self) -> &Configurations {
        &self.configurations
    }

    /// The latest snapshot.
    pub fn snapshot(&self) -> Option<&SnapshotMeta> {
        self.snapshot.as_ref()
    }

    /// Timings and limits.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The reader of the stored log.
    pub fn reader(&self) -> &L {
        &self.log.reader
    }

    /// The reader of the stored log, for a shell that lets the core own its log.
    pub fn reader_mut(&mut self) -> &mut L {
        &mut self.log.reader
    }

    /// Everything at once.
    pub fn status(&mut self) -> Status {
        let last_contact = match &self.role {
            Role::Follower(follower) => follower.last_contact,
            _ => None,
        };
        Status {
            id: self.id.clone(),
            role: self.role(),
            term: self.hard.term,
            leader: self.leader().cloned(),
            last: self.log.last_position(),
            stable: self.log.stable(),
            commit: self.commit,
            applied: self.applied,
            snapshot: self.log.snapshot(),
            first: self.log.first(),
            last_contact,
        }
    }

    /// The other servers, by id; empty unless this server leads.
    pub fn followers_status(&self) -> Vec<FollowerStatus> {
        let Role::Leader(leader) = &self.role else { return Vec::new() };
        let members = leader.progress.iter().filter(|(_, progress)| progress.removed.is_none());
        let status = members.map(|(id, progress)| FollowerStatus {
            id: id.clone(),
            matched: progress.matched,
            next: progress.next,
            last_contact: progress.last_contact,
        });
        status.collect()
    }
}
