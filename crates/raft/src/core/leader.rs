//! Leading: winning, proposing, committing, lease and confirmation (thesis sections 3.6, 4.1,
//! 6.2, 6.4 and 3.10).

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use types::Index;

use super::{Core, Proposal};
use crate::action::{Action, LossReason, ReadId};
use crate::entry::{Entry, EntryKind, LogPosition, ServerId};
use crate::error::{ChangeError, ProposeError};
use crate::log::LogReader;
use crate::membership::{Change, Configurations};
use crate::message::Body;
use crate::role::{Candidate, Leader, Progress, Read, Removed, Role, Transfer};

/// Least time between two looks at the lease.
const LEASE_CHECK_MIN: Duration = Duration::from_millis(10);

impl<L: LogReader> Core<L> {
    pub(super) fn become_leader(&mut self) {
        assert!(matches!(self.role, Role::Candidate(Candidate { .. })), "not a candidate");
        let (term, first) = (self.hard.term, self.log.last().next());
        let leader = Leader {
            term,
            first,
            since: self.now,
            progress: BTreeMap::new(),
            lease_check: self.now + self.options.leader_lease_timeout,
            transfer: None,
            reads: VecDeque::new(),
            dirty: true,
            verify: false,
            restoring: false,
            lease_void: false,
        };
        self.role = Role::Leader(leader);
        self.track_members(first);
        self.actions.push_back(Action::BecameLeader { term, first });
        let me = Some(self.id.clone());
        self.actions.push_back(Action::LeaderChanged { term, leader: me });
        let noop = Proposal { kind: EntryKind::Noop, ..Proposal::barrier() };
        self.append_own([noop]);
    }

    /// Makes the set of followers that of the latest configuration, whose entry is at `next`
    /// if it is a new one. New servers are first asked for the entry before that. Those that
    /// are members no longer are sent what they lack up to it, so that they hear of it.
    fn track_members(&mut self, next: Index) {
        let (now, id) = (self.now, &self.id);
        let Configurations { latest, committed: before, .. } = &self.configurations;
        let Role::Leader(leader) = &mut self.role else { return };
        for server in latest.servers.iter().filter(|server| server.id != *id) {
            let fresh = || Progress::new(next, now);
            leader.progress.entry(server.id.clone()).or_insert_with(fresh).removed = None;
        }
        for (id, progress) in &mut leader.progress {
            if latest.server(id).is_none() && progress.removed.is_none() {
                let address = before.server(id).map_or("".into(), |server| server.address.clone());
                progress.removed = Some(Removed { through: next, address });
            }
        }
        leader.dirty = true;
    }

    fn append_own(&mut self, batch: impl IntoIterator<Item = Proposal>) -> LogPosition {
        let term = self.hard.term;
        let mut index = self.log.last();
        let entries = batch.into_iter().map(|proposal| {
            index = index.next();
            let Proposal { kind, data, extensions, appended_at } = proposal;
            Entry { index, term, kind, data, extensions, appended_at }
        });
        let entries: Vec<Entry> = entries.collect();
        if !entries.is_empty() {
            self.append(entries);
        }
        if let Role::Leader(leader) = &mut self.role {
            leader.dirty = true;
        }
        LogPosition { term, index }
    }

    /// Appends commands and barriers, in order. Returns where the last one is: the batch ends
    /// there and has no gap. It is committed when [`Action::Apply`] brings it with that same
    /// term; another term at its index means it is lost.
    pub fn propose(
        &mut self,
        batch: Vec<Proposal>,
        now: Instant,
    ) -> Result<LogPosition, ProposeError> {
        self.tick(now);
        self.may_propose()?;
        if batch.iter().any(|proposal| proposal.kind == EntryKind::Configuration) {
            return Err(ProposeError::ConfigurationEntry);
        }
        Ok(self.append_own(batch))
    }

    pub(super) fn may_propose(&self) -> Result<&Leader, ProposeError> {
        match &self.role {
            Role::Leader(_) if self.halted => Err(ProposeError::NotLeader(None)),
            Role::Leader(leader) if leader.transfer.is_some() => {
                Err(ProposeError::TransferInProgress)
            }
            Role::Leader(leader) if leader.restoring => Err(ProposeError::RestoreInProgress),
            Role::Leader(leader) => Ok(leader),
            _ => Err(ProposeError::NotLeader(self.leader().cloned())),
        }
    }

    /// Changes one server. With `expected`, only if the latest configuration is still the one
    /// set at that index. It is in effect at once, and committed when the returned position is.
    pub fn change_membership(
        &mut self,
        change: &Change,
        expected: Option<Index>,
        now: Instant,
    ) -> Result<LogPosition, ChangeError> {
        self.tick(now);
        let leader = self.may_propose()?;
        let latest = self.configurations.latest_index;
        // A leader that has committed nothing of its own does not know what is committed.
        if !self.configurations.is_settled() || self.commit < leader.first {
            return Err(ChangeError::InProgress);
        }
        if let Some(expected) = expected.filter(|expected| *expected != latest) {
            return Err(ChangeError::Changed { expected, latest });
        }
        let configuration = self.configurations.latest.changed(change)?;
        let entry = Proposal {
            kind: EntryKind::Configuration,
            data: configuration.encode(),
            extensions: Bytes::new(),
            appended_at: 0,
        };
        let position = self.append_own([entry]);
        self.track_members(position.index);
        self.advance_commit();
        Ok(position)
    }

    /// What a majority of voters has, and is of this term, is committed (thesis 3.6.2).
    pub(super) fn advance_commit(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let stable = self.log.stable();
        let latest = &self.configurations.latest;
        let mut matched: Vec<Index> = latest
            .voters()
            .map(|id| match *id == self.id {
                true => stable,
                false => leader.progress.get(id).map_or(Index::ZERO, |progress| progress.matched),
            })
            .collect();
        matched.sort_unstable_by(|a, b| b.cmp(a));
        let Some(&index) = matched.get(latest.quorum() - 1) else { return };
        if index <= self.commit || index < leader.first {
            return;
        }
        let old = self.commit;
        self.set_commit(index);
        let (now, pause) = (self.now, self.random_time(self.options.commit_timeout));
        if let Role::Leader(leader) = &mut self.role {
            for progress in leader.progress.values_mut().filter(|p| p.commit_sent >= old) {
                progress.commit_at = now + pause;
            }
        }
        let configurations = &self.configurations;
        if configurations.is_settled() && !configurations.latest.is_voter(&self.id) {
            self.become_follower(None, LossReason::Removed);
        }
    }

    pub(super) fn on_leader_timeout(&mut self) {
        self.check_lease();
        self.check_transfer_deadline();
        self.on_replication_timeout();
    }

    /// The times at which voters, without this server, were last known to obey, latest first;
    /// and how many of them a quorum needs.
    fn voter_contacts(&self, leader: &Leader) -> (Vec<Option<Instant>>, usize) {
        let latest = &self.configurations.latest;
        let own = usize::from(latest.is_voter(&self.id));
        let others = latest.voters().filter(|id| **id != self.id);
        let contact = |id| leader.progress.get(id).and_then(|p: &Progress| p.acknowledged);
        let mut contacts: Vec<_> = others.map(contact).collect();
        contacts.sort_unstable_by(|a, b| b.cmp(a));
        (contacts, latest.quorum() - own)
    }

    fn check_lease(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        if self.now < leader.lease_check {
            return;
        }
        let (contacts, needed) = self.voter_contacts(leader);
        let lease = self.options.leader_lease_timeout;
        let oldest = match needed.checked_sub(1) {
            None => self.now,
            Some(position) => {
                let contact = contacts.get(position).copied().flatten();
                contact.map_or(leader.since, |contact| contact.max(leader.since))
            }
        };
        if self.now > oldest + lease {
            self.become_follower(None, LossReason::LeaseExpired);
        } else {
            let next = (oldest + lease).max(self.now + LEASE_CHECK_MIN);
            if let Role::Leader(leader) = &mut self.role {
                leader.lease_check = next;
            }
        }
    }

    /// Whether a read may be answered from here without asking others: a quorum obeyed within
    /// the lease, so that no other leader can be, and what earlier leaders committed is known.
    /// `false` for the rest of the term once a transfer was tried; ask
    /// [`Core::verify_leader`] then.
    /// The reader must still have applied [`Status::commit`](super::Status::commit).
    pub fn lease_valid(&self, now: Instant) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let (contacts, needed) = self.voter_contacts(leader);
        let lease = self.options.read_lease();
        let quorum = match needed.checked_sub(1) {
            None => true,
            Some(position) => contacts
                .get(position)
                .copied()
                .flatten()
                .is_some_and(|contact| now.max(self.now) < contact + lease),
        };
        quorum && !leader.lease_void && !self.halted && self.commit >= leader.first
    }

    /// Asks for a proof that this server leads at this moment (thesis 6.4). It comes as
    /// [`Action::LeaderVerified`], or never if leadership is lost. Requests made close together
    /// share one proof and one [`ReadId`].
    pub fn verify_leader(&mut self, now: Instant) -> Result<ReadId, ProposeError> {
        self.tick(now);
        let after = self.last_request;
        let commit = self.commit;
        let known = self.leader().cloned();
        let Role::Leader(leader) = &mut self.role else {
            return Err(ProposeError::NotLeader(known));
        };
        let index = commit.max(leader.first);
        leader.verify = true;
        if let Some(read) = leader.reads.back_mut().filter(|read| read.after == after) {
            read.index = index;
            return Ok(read.id);
        }
        self.last_read.0 += 1;
        let id = self.last_read;
        leader.reads.push_back(Read { id, index, after });
        Ok(id)
    }

    /// Gives the confirmations that a quorum's answers allow.
    pub(super) fn check_reads(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        let latest = &self.configurations.latest;
        while let Some(read) = leader.reads.front() {
            let confirms = |id: &&ServerId| {
                let progress = leader.progress.get(*id);
                **id == self.id
                    || progress.is_some_and(|p| p.acknowledged_request > Some(read.after))
            };
            if latest.voters().filter(confirms).count() < latest.quorum() {
                return;
            }
            let (read, index) = (read.id, read.index);
            leader.reads.pop_front();
            self.actions.push_back(Action::LeaderVerified { read, index });
        }
    }

    /// Hands leadership to `target`, or to the voter that has most of the log. No proposals
    /// are accepted meanwhile. The outcome comes as [`Action::TransferFinished`] within the
    /// election timeout.
    pub fn transfer_leadership(
        &mut self,
        target: Option<ServerId>,
        now: Instant,
    ) -> Result<(), ChangeError> {
        self.tick(now);
        let leader = self.may_propose()?;
        let latest = &self.configurations.latest;
        let mut able = leader.progress.iter().filter(|(id, _)| latest.is_voter(id));
        let target = match target {
            Some(target) => able.find(|(id, _)| **id == target),
            None => able.max_by_key(|(_, progress)| progress.matched),
        };
        let target = target.map(|(id, _)| id.clone()).ok_or(ChangeError::NoTarget)?;
        let deadline = self.now + self.options.election_timeout;
        if let Role::Leader(leader) = &mut self.role {
            leader.transfer = Some(Transfer { target, deadline, told: false });
        }
        self.check_transfer();
        Ok(())
    }

    /// Tells the target to campaign once it has the whole log.
    pub(super) fn check_transfer(&mut self) {
        let last = self.log.last();
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = leader.transfer.as_mut().filter(|transfer| !transfer.told) else {
            return;
        };
        let matched = leader.progress.get(&transfer.target).map(|progress| progress.matched);
        if matched == Some(last) {
            transfer.told = true;
            leader.lease_void = true;
            let target = transfer.target.clone();
            let request = self.next_request();
            self.send(&target, request, Body::TimeoutNow);
        }
    }

    fn check_transfer_deadline(&mut self) {
        let now = self.now;
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.transfer.take_if(|transfer| transfer.deadline <= now).is_some() {
            let result = Err(ChangeError::TransferTimeout);
            self.actions.push_back(Action::TransferFinished { result });
        }
    }
}
