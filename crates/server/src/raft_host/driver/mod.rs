//! The thread's loop: inputs in, one sync, outputs out.

mod snapshot;
mod stall;

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use contract::AnyCommand;
use raft::{
    Action, Body, Entry, EntryKind, LogPosition, Proposal, ReadId, Server, ServerId, Suffrage,
    WriteNumber,
};
use telemetry::names;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use types::Index;
use wal::{Log, SnapshotStore};

use super::applier::{Applier, Committed};
use super::error::{Fatal, ProposeError};
use super::inbox::{Done, Inbox, Input, Outcome, Proposed, SnapshotAsked, Taken};
use super::metrics::RaftMetrics;
use super::options::{HostOptions, HostSettings};
use super::peer_lines::PeerLines;
use super::role::RoleLines;
use super::shared::{Lease, Shared};
use super::stats::{RaftStats, configuration_text};
use super::storage::{HostCore, Writes};
use super::transport::Transport;

/// How long to wait before a full disk is tried again.
const FULL_RETRY: Duration = Duration::from_millis(100);

/// Longer than any lease.
const LONG: Duration = Duration::from_secs(365 * 24 * 3600);

/// A disk whose syncs take this long is slow.
const SLOW_SYNC: Duration = Duration::from_micros(500);

/// On a slow disk, this part of a sync's time is waited for more to put into it.
const GATHER_FRACTION: u32 = 8;

/// Nobody came for this part of a sync's time: nobody will.
const SILENCE_FRACTION: u32 = 32;

/// A proposal that is in the core's log.
struct Pending {
    position: LogPosition,
    command: Option<Box<dyn AnyCommand>>,
    done: Done,
    /// When it came to the core.
    proposed: Instant,
    /// Room in the queue, given back with the rest.
    _permit: Option<OwnedSemaphorePermit>,
}

/// Somebody waits for a proof of leadership.
struct Verifying {
    read: ReadId,
    /// Once it is proved: apply this far.
    index: Option<Index>,
    done: oneshot::Sender<Result<(), ProposeError>>,
}

pub(super) struct Driver {
    core: HostCore,
    writes: Writes,
    snapshots: SnapshotStore,
    applier: Box<dyn Applier>,
    transport: Box<dyn Transport>,
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    options: HostOptions,
    /// Proposals that wait for the end of the inputs.
    gathered: Vec<(Proposed, OwnedSemaphorePermit)>,
    /// By index.
    pending: VecDeque<Pending>,
    verifying: Vec<Verifying>,
    transfer: Option<oneshot::Sender<Result<(), ProposeError>>>,
    applied: Index,
    /// How many commands were applied together the last time.
    answered: usize,
    /// While leading: the first entry of the term.
    first_of_term: Option<Index>,
    /// While elected and not yet leading: since when.
    elected: Option<Instant>,
    /// Whether the leader is known and its address is not.
    leader_is_nowhere: bool,
    persisted: WriteNumber,
    full_retry: Instant,
    /// When leadership was last handed over because the disk stalled.
    handed_over: Option<Instant>,
    snapshot_look: Instant,
    snapshot_running: bool,
    snapshot_asked: Vec<SnapshotAsked>,
    /// Threads that write snapshots and segments.
    background: Vec<JoinHandle<()>>,
    random: fastrand::Rng,
    metrics: RaftMetrics,
    lines: RoleLines,
    peer_lines: PeerLines,
}

impl Driver {
    pub(super) fn new(
        mut core: HostCore,
        writes: Writes,
        snapshots: SnapshotStore,
        applier: Box<dyn Applier>,
        transport: Box<dyn Transport>,
        (shared, inbox): (Arc<Shared>, Arc<Inbox>),
        options: HostOptions,
    ) -> Self {
        let now = Instant::now();
        let applied = core.status().applied;
        shared.set_applied(applied);
        let mut driver = Self {
            core,
            writes,
            snapshots,
            applier,
            transport,
            shared,
            inbox,
            random: fastrand::Rng::with_seed(options.seed ^ 0x5eed),
            metrics: RaftMetrics::new(now),
            lines: RoleLines::new(Arc::clone(&options.address)),
            peer_lines: PeerLines::default(),
            options,
            gathered: Vec::new(),
            pending: VecDeque::new(),
            verifying: Vec::new(),
            transfer: None,
            applied,
            answered: 0,
            first_of_term: None,
            elected: None,
            leader_is_nowhere: false,
            persisted: WriteNumber(0),
            full_retry: now,
            handed_over: None,
            snapshot_look: now,
            snapshot_running: false,
            snapshot_asked: Vec::new(),
            background: Vec::new(),
        };
        driver.set_snapshot_look(now);
        let members = driver.core.configurations();
        RoleLines::configuration(members.latest_index, &members.latest);
        driver.shared.set_configuration(&members.latest);
        driver
    }

    /// Runs until the inbox is closed.
    pub(super) fn run(&mut self) -> Result<(), Fatal> {
        let mut inputs = Vec::new();
        self.note_role();
        self.settle()?;
        loop {
            let before = Instant::now();
            let taken = self.take(&mut inputs);
            let now = Instant::now();
            self.metrics.waited(before, now);
            for input in inputs.drain(..) {
                self.handle(input, now)?;
            }
            self.propose_gathered(now);
            if self.core.poll_timeout().is_some_and(|at| at <= now) {
                self.core.handle_timeout(now);
            }
            if self.snapshot_look <= now {
                self.set_snapshot_look(now);
                if self.core.snapshot_due() {
                    self.begin_snapshot();
                }
            }
            self.settle()?;
            self.note_role();
            self.publish();
            self.background.retain(|thread| !thread.is_finished());
            if taken == Taken::Last {
                break;
            }
        }
        for thread in self.background.drain(..) {
            // What it had to say was for a host that goes on.
            let _ = thread.join();
        }
        Ok(())
    }

    /// Waits for inputs. On a slow disk, those who were answered last get a moment to
    /// write again: whoever comes just behind a sync has to wait for two.
    fn take(&self, inputs: &mut Vec<Input>) -> Taken {
        let mut taken = self.inbox.take(inputs, self.deadline());
        let sync_time = self.writes.sync_time();
        let writes = inputs.iter().any(|input| matches!(input, Input::Propose(..)));
        if sync_time < SLOW_SYNC || !writes {
            return taken;
        }
        // Those who are here and those who were answered: two crowds that would otherwise
        // take turns for ever. Who stays silent for a while is not coming.
        let crowd = inputs.len() + self.answered;
        let mut now = Instant::now();
        let until = now + sync_time / GATHER_FRACTION;
        let mut more = Vec::new();
        while inputs.len() < crowd && taken == Taken::Some && now < until {
            let silence = now + sync_time / SILENCE_FRACTION;
            taken = self.inbox.take(&mut more, Some(silence.min(until)));
            if more.is_empty() {
                break;
            }
            inputs.append(&mut more);
            now = Instant::now();
        }
        taken
    }

    fn deadline(&self) -> Option<Instant> {
        let retry = self.writes.full().map(|_| self.full_retry);
        let times = [self.core.poll_timeout(), Some(self.snapshot_look), retry];
        times.into_iter().flatten().min()
    }

    fn handle(&mut self, input: Input, now: Instant) -> Result<(), Fatal> {
        let input = match input {
            Input::Propose(proposed, permit) => {
                self.gathered.push((proposed, permit));
                return Ok(());
            }
            other => other,
        };
        // What was asked first comes first.
        self.propose_gathered(now);
        match input {
            Input::Propose(..) => unreachable!("gathered above"),
            Input::Bootstrap { configuration, done } => {
                // The asker may have gone.
                let _ = done.send(self.core.bootstrap(configuration, now));
            }
            Input::Change { change, expected, done } => {
                match self.core.change_membership(&change, expected, now) {
                    Ok(position) => {
                        PeerLines::changed(&change, &self.core.configurations().latest);
                        let (command, _permit) = (None, None);
                        let proposed = now;
                        self.pending.push_back(Pending {
                            position,
                            command,
                            done,
                            proposed,
                            _permit,
                        });
                    }
                    Err(error) => drop(done.send(Err(error.into()))),
                }
            }
            Input::Recover { left, expected, done } => {
                let recovered = self.core.recover(&left, expected, now);
                if recovered.is_ok() {
                    let servers = configuration_text(&left);
                    tracing::warn!(target: "agent.server.raft", servers, "recovering Raft configuration");
                }
                let _ = done.send(recovered);
            }
            Input::Transfer { target, done } => {
                let target = target.or_else(|| self.successor(now, Duration::ZERO));
                match self.core.transfer_leadership(target, now) {
                    Ok(()) => self.transfer = Some(done),
                    Err(error) => drop(done.send(Err(error.into()))),
                }
            }
            Input::Verify(done) => match self.core.verify_leader(now) {
                Ok(read) => self.verifying.push(Verifying { read, index: None, done }),
                Err(error) => drop(done.send(Err(error.into()))),
            },
            Input::TakeSnapshot(asked) => {
                self.settle()?;
                self.snapshot_asked.push(asked);
                self.begin_snapshot();
            }
            Input::Capture(done) => {
                self.settle()?;
                let _ = done.send(self.capture());
            }
            Input::Restore { archived, state, done } => {
                names::RAFT_RESTORE.increment([], 1);
                self.settle()?;
                self.begin_restore(archived, state, done, now);
            }
            Input::RestoreWritten(outcome, done) => {
                let outcome = self.restore_written(outcome, now)?;
                self.settle()?;
                let _ = done.send(outcome);
            }
            Input::Stats(done) => drop(done.send(self.stats(now))),
            Input::Settings(settings) => self.take_settings(*settings, now),
            Input::Message { from, message } => self.core.handle_message(from, message, now),
            Input::Failure { to, request } => self.core.handle_failure(&to, request, now),
            Input::PeerDown(id) => self.core.handle_peer_down(&id, now),
            Input::SnapshotWritten(outcome) => self.snapshot_written(outcome, now)?,
            Input::Halt(fatal) => return Err(fatal),
            Input::SegmentPrepared(prepared) => {
                self.log().accept(prepared).map_err(Fatal::new)?;
            }
        }
        Ok(())
    }

    fn propose_gathered(&mut self, now: Instant) {
        if self.gathered.is_empty() {
            return;
        }
        if let Some(error) = self.writes.full() {
            let error = ProposeError::DiskFull { error: error.clone(), queued: false };
            return self.refuse_gathered(&error);
        }
        let appended_at = unix_nanos();
        let proposals = self.gathered.iter().map(|(proposed, _)| Proposal {
            kind: proposed.kind,
            data: proposed.bytes.clone(),
            extensions: Bytes::new(),
            appended_at,
        });
        let last = match self.core.propose(proposals.collect(), now) {
            Ok(last) => last,
            Err(error) => return self.refuse_gathered(&error.into()),
        };
        let first = last.index.0 + 1 - self.gathered.len() as u64;
        self.metrics.dispatched_entries.set(self.gathered.len() as f64);
        for ((proposed, permit), index) in self.gathered.drain(..).zip(first..) {
            let position = LogPosition { index: Index(index), ..last };
            let Proposed { command, done, kind, .. } = proposed;
            match kind {
                EntryKind::Command => self.metrics.proposed.increment(1),
                _ => self.metrics.barriers.increment(1),
            }
            let (proposed, _permit) = (now, Some(permit));
            self.pending.push_back(Pending { position, command, done, proposed, _permit });
        }
    }

    fn refuse_gathered(&mut self, error: &ProposeError) {
        for (proposed, _) in self.gathered.drain(..) {
            // Who does not wait any more need not be told; so in all that follows.
            let _ = proposed.done.send(Err(error.clone()));
        }
    }

    /// Does all that the core asks for, with one sync for all writes of a round.
    fn settle(&mut self) -> Result<(), Fatal> {
        if self.writes.full().is_some() && self.full_retry <= Instant::now() {
            self.writes.retry(&mut self.core.reader_mut().0)?;
        }
        loop {
            while let Some(action) = self.core.poll_action() {
                let log = &mut self.core.reader_mut().0;
                if let Some(action) = self.writes.perform(action, log)? {
                    self.perform(action)?;
                }
            }
            let done = self.writes.sync(&mut self.core.reader_mut().0)?;
            if done <= self.persisted {
                break;
            }
            self.persisted = done;
            self.core.handle_persisted(done, Instant::now());
            self.mind_stalled_disk();
            self.prepare_segment();
        }
        self.mind_full_disk();
        self.find_leader();
        Ok(())
    }

    /// A new server hears of the leader before it has the members, and so of its address.
    fn find_leader(&mut self) {
        if !self.leader_is_nowhere {
            return;
        }
        let leader = self.core.leader().cloned().map(|id| self.leader_server(id));
        if let Some(leader) = leader.filter(|leader| !leader.address.is_empty()) {
            self.leader_is_nowhere = false;
            self.lines.note_leader(Some(&leader));
            self.shared.set_leader(Some(leader));
        }
    }

    /// An action that is no write.
    fn perform(&mut self, action: Action) -> Result<(), Fatal> {
        match action {
            Action::Send { to, message } => {
                if matches!(message.body, Body::TimeoutNow) {
                    // Who is told to campaign may lead before this thread, which may have to
                    // wait for the disk, comes to tell that the lease is void.
                    self.shared.set_lease(Lease::None);
                }
                self.transport.send(to, message);
            }
            Action::SendSnapshot { to, message } => {
                self.transport.send_snapshot(to, message, &self.snapshots);
            }
            Action::Apply { entries } => self.apply(entries)?,
            Action::InstallSnapshot { request, snapshot, .. } => {
                self.install_snapshot(request, &snapshot)?;
            }
            Action::BecameLeader { first, .. } => {
                self.note_role();
                self.first_of_term = Some(first);
                self.elected = Some(Instant::now());
            }
            Action::LostLeadership { term, reason } => {
                RoleLines::lost(term, reason);
                self.lost_leadership();
            }
            Action::LeaderChanged { leader, .. } => {
                let leader = leader.map(|id| self.leader_server(id));
                self.lines.note_leader(leader.as_ref());
                self.leader_is_nowhere = leader.as_ref().is_some_and(|l| l.address.is_empty());
                self.shared.set_leader(leader);
            }
            Action::LeaderVerified { read, index } => {
                for verifying in self.verifying.iter_mut().filter(|v| v.read == read) {
                    verifying.index = Some(index);
                }
            }
            Action::TransferFinished { result } => {
                if let Some(done) = self.transfer.take() {
                    let _ = done.send(result.map_err(ProposeError::from));
                }
            }
            Action::Halt { error } => return Err(Fatal::new(error)),
            Action::SaveHardState { .. }
            | Action::TruncateLog { .. }
            | Action::AppendEntries { .. }
            | Action::CompactLog { .. }
            | Action::ResetLog { .. } => unreachable!("writes are done by `Writes`"),
        }
        Ok(())
    }

    fn apply(&mut self, entries: Vec<Entry>) -> Result<(), Fatal> {
        let mut batch = Vec::with_capacity(entries.len());
        let mut replied = Vec::with_capacity(entries.len());
        let mut others = Vec::new();
        let start = Instant::now();
        let committed = entries.len();
        let mut proposed = Vec::with_capacity(committed);
        for entry in entries {
            self.applied = entry.index;
            let pending = self.take_pending(&entry);
            proposed.extend(pending.as_ref().map(|pending| pending.proposed));
            if entry.kind != EntryKind::Command {
                others.extend(pending);
                continue;
            }
            let (command, rest) = match pending {
                Some(pending) => (pending.command, Some((pending.done, pending._permit))),
                None => (None, None),
            };
            batch.push(Committed::new(entry, command));
            replied.push(rest);
        }
        self.metrics.committed(committed, proposed.into_iter(), start);
        let handed = Instant::now();
        let commands = batch.len();
        if !batch.is_empty() {
            let replies = self.applier.apply(batch).map_err(Fatal::new)?;
            assert_eq!(replies.len(), replied.len(), "a reply for each command");
            self.answered = replies.len();
            self.shared.set_applied(self.applied);
            self.metrics.applied(commands, handed - start, handed.elapsed());
            for (reply, rest) in replies.into_iter().zip(replied) {
                if let Some((done, _permit)) = rest {
                    let _ = done.send(Ok(Outcome::Reply(reply)));
                }
            }
        }
        self.shared.set_applied(self.applied);
        for Pending { position, done, .. } in others {
            let _ = done.send(Ok(Outcome::Index(position.index)));
        }
        Ok(())
    }

    /// Who waits for this entry. Who waited for another one at its place is told so.
    fn take_pending(&mut self, entry: &Entry) -> Option<Pending> {
        while let Some(first) = self.pending.front() {
            if first.position.index > entry.index {
                return None;
            }
            let pending = self.pending.pop_front()?;
            if pending.position == (LogPosition { term: entry.term, index: entry.index }) {
                return Some(pending);
            }
            let _ = pending.done.send(Err(ProposeError::LeadershipLost));
        }
        None
    }

    fn lost_leadership(&mut self) {
        // Until now it was in contact with itself.
        self.shared.set_last_contact(Instant::now());
        self.first_of_term = None;
        self.elected = None;
        self.peer_lines.stop();
        self.shared.set_lease(Lease::None);
        self.shared.set_leadership(false);
        for pending in self.pending.drain(..) {
            let _ = pending.done.send(Err(ProposeError::LeadershipLost));
        }
        for verifying in self.verifying.drain(..) {
            let _ = verifying.done.send(Err(ProposeError::LeadershipLost));
        }
    }

    /// A full disk: those whose entries are not on it are not kept waiting.
    fn mind_full_disk(&mut self) {
        let Some(error) = self.writes.full().cloned() else {
            self.shared.set_disk_full(false);
            return;
        };
        let now = Instant::now();
        self.full_retry = now + FULL_RETRY;
        if self.shared.set_disk_full(true) {
            tracing::error!(target: "agent.server.raft", error = %error, "the disk is full: writes fail until there is room");
        }
        let written = self.log().last_index();
        let kept = self.pending.partition_point(|pending| pending.position.index <= written);
        for pending in self.pending.drain(kept..) {
            let error = ProposeError::DiskFull { error: error.clone(), queued: true };
            let _ = pending.done.send(Err(error));
        }
        if self.core.is_leader() && self.core.configurations().latest.quorum() > 1 {
            // Others have room, perhaps.
            self.core.step_down(now);
        }
    }

    /// Tells everybody where this server stands.
    fn publish(&mut self) {
        let now = Instant::now();
        let leads = self.first_of_term.is_some_and(|first| self.applied >= first);
        if leads && let Some(elected) = self.elected.take() {
            names::LEADER_BARRIER.record([], now.saturating_duration_since(elected));
        }
        if self.metrics.positions_due(now) {
            self.tell_positions();
        }
        if leads && self.core.is_leader() {
            self.shared.set_lease(self.lease(now));
            self.shared.set_leadership(true);
        } else if let Some(contact) = self.core.status().last_contact {
            self.shared.set_last_contact(contact);
        }
        self.shared.set_configuration(&self.core.configurations().latest);
        let applied = self.applied;
        let is_done = |v: &mut Verifying| v.index.is_some_and(|index| index <= applied);
        for verifying in self.verifying.extract_if(.., is_done) {
            let _ = verifying.done.send(Ok(()));
        }
    }

    /// Tells the role, if it has changed.
    fn note_role(&mut self) {
        let voters = self.core.configurations().latest.voters().count();
        self.lines.note(&self.core.status(), voters);
        let members = self.core.configurations();
        if self.core.is_leader() && self.peer_lines.wants(members.latest_index) {
            let followers = self.core.followers_status();
            self.peer_lines.note(members.latest_index, &members.latest, &followers);
        }
    }

    /// Where this server's log stands, and how old it is.
    fn tell_positions(&mut self) {
        let status = self.core.status();
        names::RAFT_APPLIED_INDEX.set([], self.applied.0 as f64);
        names::RAFT_LAST_INDEX.set([], status.last.index.0 as f64);
        if self.core.is_leader() {
            let voters = self.core.configurations().latest.voters().count();
            names::RAFT_PEERS.set([], voters as f64);
            if let Some(appended_at) = self.oldest_entry() {
                let age = Duration::from_nanos(unix_nanos().saturating_sub(appended_at));
                names::RAFT_LEADER_OLDEST_LOG_AGE.set([], age.as_secs_f64() * 1000.0);
            }
        }
    }

    /// When the oldest entry of the log was appended, nanoseconds since the Unix epoch;
    /// `None` for an empty log, and for entries of which that is not known.
    fn oldest_entry(&mut self) -> Option<u64> {
        let log = self.log();
        let first = log.first_index();
        let entries = log.entries(first, first, 1).ok()?;
        entries.first().map(|entry| entry.appended_at).filter(|at| *at > 0)
    }

    /// Until when the lease holds. The core answers for one moment, so the last one for
    /// which it says yes is looked for, and rounded down.
    fn lease(&self, now: Instant) -> Lease {
        if self.core.lease_valid(now + LONG) {
            return Lease::Forever;
        }
        if !self.core.lease_valid(now) {
            return Lease::None;
        }
        let (mut holds, mut step) = (now, self.core.options().leader_lease_timeout);
        for _ in 0..6 {
            step /= 2;
            if self.core.lease_valid(holds + step) {
                holds += step;
            }
        }
        Lease::Until(holds)
    }

    fn stats(&mut self, now: Instant) -> RaftStats {
        let status = self.core.status();
        let last_contact = match self.core.is_leader() {
            true => Some(Duration::ZERO),
            false => status.last_contact.map(|at| now.saturating_duration_since(at)),
        };
        let configurations = self.core.configurations();
        RaftStats {
            applied: self.applied,
            pending: self.pending.len(),
            configuration: configurations.latest.clone(),
            configuration_index: configurations.latest_index,
            last_contact,
            followers: self.core.followers_status(),
            status,
        }
    }

    /// The leader of that id. Where it is, it says itself, as servers come back with other
    /// addresses than the latest configuration has.
    fn leader_server(&self, id: ServerId) -> Server {
        let address = match id == self.options.id {
            true => Some(self.options.address.clone()),
            false => self.transport.heard_at(&id),
        };
        match self.core.configurations().latest.server(&id).cloned() {
            Some(known) => Server { address: address.unwrap_or(known.address), ..known },
            None => {
                let (address, suffrage) = (address.unwrap_or_default(), Suffrage::Nonvoter);
                Server { id, address, suffrage }
            }
        }
    }

    fn log(&mut self) -> &mut Log {
        &mut self.core.reader_mut().0
    }

    /// Timings that run already run to their end; a snapshot may be due at once.
    fn take_settings(&mut self, settings: HostSettings, now: Instant) {
        let HostSettings { raft, snapshot_interval } = settings;
        self.core.set_options(raft);
        if self.options.snapshot_interval != snapshot_interval {
            self.options.snapshot_interval = snapshot_interval;
            self.set_snapshot_look(now);
        }
    }

    fn set_snapshot_look(&mut self, now: Instant) {
        let interval = self.options.snapshot_interval;
        self.snapshot_look = now + interval + interval.mul_f64(self.random.f64());
    }

    /// Has the log's next segment zeroed before it is needed.
    fn prepare_segment(&mut self) {
        if let Some(preparation) = self.log().preparation() {
            let inbox = self.inbox.clone();
            self.spawn("raft-segment", move || {
                // When the host has ended, the next start removes the file.
                let _ = inbox.push(Input::SegmentPrepared(preparation.run()));
            });
        }
    }

    /// Runs `job` on a thread that is joined at the end at the latest; whether it could.
    fn spawn(&mut self, name: &str, job: impl FnOnce() + Send + 'static) -> bool {
        match std::thread::Builder::new().name(name.to_owned()).spawn(job) {
            Ok(thread) => {
                self.background.push(thread);
                true
            }
            Err(error) => {
                tracing::error!(target: "agent.server.raft", thread = name, error = %error, "failed to start a thread");
                false
            }
        }
    }
}

pub(super) fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
