//! The core: common state, the verbs, and what all roles share.

mod candidate;
mod follower;
mod leader;
mod recovery;
mod replication;
mod snapshot;
mod status;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use types::Index;

use crate::action::{Action, LossReason, ReadId, WriteNumber};
use crate::entry::{
    Configuration, Entry, EntryKind, HardState, LogPosition, ServerId, SnapshotMeta, Term,
};
use crate::error::{BootstrapError, ChangeError, LogError};
use crate::log::{Log, LogReader};
use crate::membership::Configurations;
use crate::message::{Body, Destination, Message, RequestId};
use crate::options::Options;
use crate::role::{Follower, Role};

pub use status::{FollowerStatus, Status};

/// What a core starts from: who it is and what its disk holds.
#[derive(Clone, Debug)]
pub struct Start {
    /// This server.
    pub id: ServerId,
    /// Timings and limits.
    pub options: Options,
    /// Seeds the random timeouts and the request numbers. Two servers, or two runs of one,
    /// should not have the same.
    pub seed: u64,
    /// As last saved; the default for a fresh server.
    pub hard_state: HardState,
    /// The latest snapshot, already restored into the state machine.
    pub snapshot: Option<SnapshotMeta>,
    /// As [`Configurations::recover`] finds them.
    pub configurations: Configurations,
}

/// One entry to propose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// [`EntryKind::Command`], [`EntryKind::Barrier`] or [`EntryKind::Noop`].
    pub kind: EntryKind,
    /// The command.
    pub data: Bytes,
    /// See [`Entry::extensions`].
    pub extensions: Bytes,
    /// See [`Entry::appended_at`].
    pub appended_at: u64,
}

impl Proposal {
    /// A command without extensions or time.
    pub fn command(data: impl Into<Bytes>) -> Self {
        let kind = EntryKind::Command;
        Proposal { kind, data: data.into(), extensions: Bytes::new(), appended_at: 0 }
    }

    /// A barrier: once it is applied, so is all before it.
    pub fn barrier() -> Self {
        Proposal { kind: EntryKind::Barrier, ..Proposal::command(Bytes::new()) }
    }
}

/// A message that must not leave before a write is durable.
struct Held {
    until: WriteNumber,
    action: Action,
}

/// A snapshot that the shell is installing.
struct Installing {
    request: RequestId,
    from: ServerId,
    snapshot: SnapshotMeta,
}

/// One server's part in the consensus. See the crate's documentation for how to drive it.
///
/// `now` must never go back from one call to the next.
pub struct Core<L> {
    id: ServerId,
    options: Options,
    random: fastrand::Rng,
    log: Log<L>,
    hard: HardState,
    snapshot: Option<SnapshotMeta>,
    configurations: Configurations,
    commit: Index,
    /// The last entry given out to apply.
    applied: Index,
    role: Role,
    actions: VecDeque<Action>,
    held: VecDeque<Held>,
    written: WriteNumber,
    /// The latest write of term and vote.
    term_write: WriteNumber,
    persisted: WriteNumber,
    installing: Option<Installing>,
    /// Before this a restarted server gives no votes: it may have confirmed a lease.
    quiet_until: Instant,
    last_request: RequestId,
    last_read: ReadId,
    now: Instant,
    halted: bool,
}

impl<L: LogReader> Core<L> {
    /// A core that starts, or starts again, as a follower. Entries behind the snapshot are given
    /// to apply as they are found to be committed. Fails when the log cannot be read.
    pub fn new(start: Start, reader: L, now: Instant) -> Result<Self, LogError> {
        let snapshot_end = start.snapshot.as_ref().map(|s| s.last).unwrap_or_default();
        let quiet = match start.hard_state.term {
            Term(0) => Duration::ZERO,
            _ => start.options.leader_lease_timeout,
        };
        let mut random = fastrand::Rng::with_seed(start.seed);
        let last_request = RequestId(random.u64(..) >> 1);
        let log = Log::new(reader, snapshot_end, start.options.cache_bytes)?;
        let mut core = Core {
            id: start.id,
            options: start.options,
            random,
            log,
            hard: start.hard_state,
            snapshot: start.snapshot,
            configurations: start.configurations,
            commit: snapshot_end.index,
            applied: snapshot_end.index,
            role: Role::Follower(Follower::of(None, None, now)),
            actions: VecDeque::new(),
            held: VecDeque::new(),
            written: WriteNumber(0),
            term_write: WriteNumber(0),
            persisted: WriteNumber(0),
            installing: None,
            quiet_until: now + quiet,
            last_request,
            last_read: ReadId(0),
            now,
            halted: false,
        };
        core.check_log_bounds(snapshot_end)?;
        core.arm_follower();
        Ok(core)
    }

    /// A crash may have come between a snapshot and the removal of the log that it replaces:
    /// one that ends before the snapshot, or that has another entry where the snapshot ends.
    fn check_log_bounds(&mut self, snapshot_end: LogPosition) -> Result<(), LogError> {
        let (first, last, end) = (self.log.first(), self.log.last(), snapshot_end.index);
        let is_inside = end >= first && end <= last;
        if last < end || (is_inside && self.log.reader.term(end)? != snapshot_end.term) {
            let write = self.next_write();
            self.log.reset(snapshot_end);
            self.actions.push_back(Action::ResetLog { write, last: snapshot_end });
            if let Some(snapshot) = &self.snapshot {
                let (members, index) = (&snapshot.configuration, snapshot.configuration_index);
                self.configurations.reset(members.clone(), index);
            }
        } else if self.log.first() > snapshot_end.index.next() {
            let (first, end) = (self.log.first(), snapshot_end.index);
            return Err(LogError(format!("log begins at {first} but the snapshot ends at {end}")));
        }
        Ok(())
    }

    /// Makes this fresh server's first entry a configuration, at index 1 of term 1. Every
    /// server of that configuration may be bootstrapped with the same one. A sole voter
    /// campaigns at once.
    pub fn bootstrap(
        &mut self,
        configuration: Configuration,
        now: Instant,
    ) -> Result<(), BootstrapError> {
        self.tick(now);
        configuration.validate()?;
        if self.log.last() != Index::ZERO || self.hard.term != Term(0) || self.snapshot.is_some() {
            return Err(BootstrapError::NotNew);
        }
        self.save_hard_state(HardState { term: Term(1), vote: None });
        let entry = Entry {
            index: Index(1),
            term: Term(1),
            kind: EntryKind::Configuration,
            data: configuration.encode(),
            extensions: Bytes::new(),
            appended_at: 0,
        };
        self.append(vec![entry]);
        self.arm_follower();
        Ok(())
    }

    /// Takes a message from `from`, whose transport-level identity the shell vouches for.
    /// One with absurd numbers is dropped.
    pub fn handle_message(&mut self, from: ServerId, message: Message, now: Instant) {
        if !self.tick(now) || !message.body.is_sane() {
            return;
        }
        let request = message.request;
        match message.body {
            Body::AppendEntries(body) => self.on_append_entries(from, request, body),
            Body::RequestVote(body) => self.on_request_vote(from, request, body),
            Body::RequestPreVote(body) => self.on_request_pre_vote(from, request, body),
            Body::InstallSnapshot(body) => self.on_install_snapshot(from, request, body),
            Body::TimeoutNow => self.on_timeout_now(from, request),
            Body::AppendEntriesResponse(body) => self.on_append_response(from, request, body),
            Body::RequestVoteResponse(body) => self.on_vote_response(from, request, body, false),
            Body::RequestPreVoteResponse(body) => self.on_vote_response(from, request, body, true),
            Body::InstallSnapshotResponse(body) => {
                self.on_snapshot_response(from, request, body);
            }
            Body::TimeoutNowResponse => {}
        }
    }

    /// A request to `to` could not be sent or was not answered. Requests whose failure is not
    /// told are given up after [`Options::request_timeout`].
    pub fn handle_failure(&mut self, to: &ServerId, request: RequestId, now: Instant) {
        if self.tick(now) {
            self.on_request_failure(to, request);
        }
    }

    /// Does what is due. Call it when [`Core::poll_timeout`]'s time has come; earlier is harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.tick(now) {
            return;
        }
        match &self.role {
            Role::Follower(follower) if follower.deadline <= now => self.on_election_timeout(),
            Role::Candidate(candidate) if candidate.deadline <= now => self.start_campaign(false),
            Role::Leader(_) => self.on_leader_timeout(),
            _ => {}
        }
    }

    /// When [`Core::handle_timeout`] must be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.halted {
            return None;
        }
        match &self.role {
            Role::Follower(follower) => Some(follower.deadline),
            Role::Candidate(candidate) => Some(candidate.deadline),
            Role::Leader(leader) => Some(leader.next_timeout(self.commit)),
        }
    }

    /// The next thing to do; see [`Action`]. Drain it after every input. Entries to apply and
    /// to replicate are read only now, so that many inputs make few large actions.
    pub fn poll_action(&mut self) -> Option<Action> {
        if self.actions.is_empty() && !self.halted {
            self.replicate_all();
            if self.actions.is_empty() {
                self.give_to_apply();
            }
        }
        if let Some(error) = self.log.take_failure() {
            self.halted = true;
            self.actions.clear();
            self.held.clear();
            return Some(Action::Halt { error });
        }
        self.actions.pop_front()
    }

    /// All writes up to and including `write` are durable.
    pub fn handle_persisted(&mut self, write: WriteNumber, now: Instant) {
        if !self.tick(now) || write <= self.persisted {
            return;
        }
        assert!(write <= self.written, "a write that was never asked for is durable");
        self.persisted = write;
        self.log.persisted(write);
        for held in std::mem::take(&mut self.held) {
            match held.until <= write {
                true => self.actions.push_back(held.action),
                false => self.held.push_back(held),
            }
        }
        match self.role {
            Role::Candidate(_) => self.count_votes(),
            Role::Leader(_) => self.advance_commit(),
            Role::Follower(_) => {}
        }
    }

    /// Gives up leadership: the disk stalls, or the shell cannot serve. Of no effect on others.
    pub fn step_down(&mut self, now: Instant) {
        if self.tick(now) && matches!(self.role, Role::Leader(_)) {
            self.become_follower(None, LossReason::Asked);
        }
    }

    /// Changes timings and limits (configuration reload).
    pub fn set_options(&mut self, options: Options) {
        self.log.set_cache_bytes(options.cache_bytes);
        self.options = options;
    }

    fn tick(&mut self, now: Instant) -> bool {
        self.now = self.now.max(now);
        !self.halted
    }

    /// Uniform in `[base, 2 * base)`.
    fn random_time(&mut self, base: Duration) -> Duration {
        let nanos = u64::try_from(base.as_nanos()).unwrap_or(u64::MAX / 2).max(1);
        base + Duration::from_nanos(self.random.u64(0..nanos))
    }

    fn next_write(&mut self) -> WriteNumber {
        self.written.0 += 1;
        self.written
    }

    fn next_request(&mut self) -> RequestId {
        self.last_request.0 += 1;
        self.last_request
    }

    fn save_hard_state(&mut self, state: HardState) {
        assert!(state.term >= self.hard.term, "the term goes back");
        let write = self.next_write();
        self.term_write = write;
        self.hard = state.clone();
        self.actions.push_back(Action::SaveHardState { write, state });
    }

    /// Adopts a newer term; votes of older terms are kept, as a vote names its term.
    fn adopt_term(&mut self, term: Term) {
        assert!(term > self.hard.term, "the term does not grow");
        let vote = self.hard.vote.clone();
        self.save_hard_state(HardState { term, vote });
    }

    /// Appends entries that follow the last, in memory and, in one write with those not yet
    /// polled, on disk. Configurations take effect.
    fn append(&mut self, entries: Vec<Entry>) {
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Configuration) {
            let decoded = self.configurations.append(entry);
            assert!(decoded.is_ok(), "configurations are checked before they are appended");
        }
        if let Some(Action::AppendEntries { write, entries: waiting }) = self.actions.back_mut() {
            self.log.append(*write, &entries);
            waiting.extend(entries);
            return;
        }
        let write = self.next_write();
        self.log.append(write, &entries);
        self.actions.push_back(Action::AppendEntries { write, entries });
    }

    fn set_commit(&mut self, index: Index) {
        assert!(index >= self.commit, "the commit index goes back");
        assert!(index <= self.log.last(), "more is committed than there is");
        self.commit = index;
        self.configurations.commit(index);
    }

    /// Gives out committed entries that are durable here.
    fn give_to_apply(&mut self) {
        let limit = self.commit.min(self.log.stable());
        if self.installing.is_some() || self.applied >= limit {
            return;
        }
        let (first, bytes) = (self.applied.next(), self.options.max_apply_bytes);
        let entries = self.log.entries(first, limit, usize::MAX, bytes);
        if let Some(last) = entries.last() {
            assert!(entries[0].index == first && last.index <= limit, "applied out of order");
            self.applied = last.index;
            self.actions.push_back(Action::Apply { entries });
        }
    }

    fn send(&mut self, to: &ServerId, request: RequestId, body: Body) {
        let action = self.send_action(to, request, body);
        self.actions.push_back(action);
    }

    /// Sends once all writes asked for so far are durable.
    fn send_when_durable(&mut self, to: &ServerId, request: RequestId, body: Body) {
        self.send_after(self.written, to, request, body);
    }

    /// Sends once term and vote are durable, which entries need not be.
    fn send_when_term_durable(&mut self, to: &ServerId, request: RequestId, body: Body) {
        self.send_after(self.term_write, to, request, body);
    }

    fn send_after(&mut self, until: WriteNumber, to: &ServerId, request: RequestId, body: Body) {
        let action = self.send_action(to, request, body);
        match until <= self.persisted {
            true => self.actions.push_back(action),
            false => self.held.push_back(Held { until, action }),
        }
    }

    fn send_action(&self, to: &ServerId, request: RequestId, body: Body) -> Action {
        let address = match (self.configurations.latest.server(to), &self.role) {
            (Some(server), _) => Some(&server.address),
            (None, Role::Leader(leader)) => leader.removed(to).map(|removed| &removed.address),
            (None, _) => None,
        };
        let to = Destination { id: to.clone(), address: address.cloned().unwrap_or_default() };
        Action::Send { to, message: Message { request, body } }
    }

    fn arm_follower(&mut self) {
        let sole = {
            let latest = &self.configurations.latest;
            latest.is_voter(&self.id) && latest.voters().count() == 1
        };
        // A sole voter waits for no one.
        let wait = match sole {
            true => Duration::ZERO,
            false => self.random_time(self.options.heartbeat_timeout),
        };
        if let Role::Follower(follower) = &mut self.role {
            follower.deadline = self.now + wait;
        }
    }

    /// Becomes, or stays, a follower of `leader`.
    fn become_follower(&mut self, leader: Option<ServerId>, reason: LossReason) {
        let known = self.leader().cloned();
        let term = self.hard.term;
        let last_contact = leader.is_some().then_some(self.now);
        let fresh = Role::Follower(Follower::of(leader.clone(), last_contact, self.now));
        match std::mem::replace(&mut self.role, fresh) {
            Role::Leader(lost) => {
                self.leadership_lost(lost, reason);
                self.arm_follower();
            }
            Role::Candidate(_) => self.arm_follower(),
            Role::Follower(old) => {
                // A mere newer term does not put off its own campaign.
                if let Role::Follower(follower) = &mut self.role {
                    follower.last_contact = last_contact.or(old.last_contact);
                    follower.deadline = old.deadline;
                }
                if leader.is_some() {
                    self.arm_follower();
                }
            }
        }
        if known != leader {
            self.actions.push_back(Action::LeaderChanged { term, leader });
        }
    }

    /// A newer term was heard of in an answer.
    fn retreat(&mut self, term: Term) {
        self.adopt_term(term);
        self.become_follower(None, LossReason::NewerTerm);
    }

    fn leadership_lost(&mut self, lost: crate::role::Leader, reason: LossReason) {
        let term = lost.term;
        self.actions.push_back(Action::LostLeadership { term, reason });
        if lost.transfer.is_some() {
            let result = match reason {
                LossReason::NewerTerm => Ok(()),
                _ => Err(ChangeError::LeadershipLost),
            };
            self.actions.push_back(Action::TransferFinished { result });
        }
    }
}
