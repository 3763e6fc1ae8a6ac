//! Snapshots: thesis chapter 5; an operator's restore as `reference/raft-and-snapshots.md`
//! section 11 tells it.

use std::time::Instant;

use types::Index;

use super::{Core, Installing};
use crate::action::Action;
use crate::entry::{LogPosition, ServerId, SnapshotMeta};
use crate::error::{ChangeError, ProposeError};
use crate::log::LogReader;
use crate::membership::Configurations;
use crate::message::{Body, InstallSnapshot, InstallSnapshotResponse, RequestId};
use crate::role::{Kind, Mode, Role};

/// Bytes of a snapshot for which a request's timeout is meant.
const TIMEOUT_UNIT: u64 = 256 << 10;

impl<L: LogReader> Core<L> {
    /// Sends the latest snapshot to a follower whose next entries are gone.
    pub(super) fn send_snapshot(&mut self, id: &ServerId) -> bool {
        let Some(snapshot) = self.snapshot.clone() else { return false };
        let units = u32::try_from((snapshot.size / TIMEOUT_UNIT).max(1)).unwrap_or(u32::MAX);
        let patience = self.options.request_timeout.saturating_mul(units);
        let last = snapshot.last.index;
        let request = self.track(id, Kind::Snapshot { last }, patience);
        if let Some(progress) = self.progress(id) {
            progress.mode = Mode::Snapshot;
        }
        let body = Body::InstallSnapshot(InstallSnapshot { term: self.hard.term, snapshot });
        if let Action::Send { to, message } = self.send_action(id, request, body) {
            self.actions.push_back(Action::SendSnapshot { to, message });
        }
        true
    }

    pub(super) fn on_snapshot_response(
        &mut self,
        from: ServerId,
        request: RequestId,
        body: InstallSnapshotResponse,
    ) {
        let (now, term) = (self.now, self.hard.term);
        if self.minds_newer_term(&from, body.term) {
            return;
        }
        let Some(progress) = self.progress(&from) else { return };
        let known = progress.in_flight.iter().find(|f| f.request == request);
        let Some(Kind::Snapshot { last }) = known.map(|f| &f.kind) else { return };
        let last = *last;
        if !body.success || body.term < term {
            self.on_request_failure(&from, request);
            return;
        }
        progress.take(request);
        progress.last_contact = Some(now);
        progress.next = last.next();
        self.on_match(&from, last);
        if let Role::Leader(leader) = &mut self.role {
            leader.dirty = true;
        }
    }

    pub(super) fn on_install_snapshot(
        &mut self,
        from: ServerId,
        request: RequestId,
        body: InstallSnapshot,
    ) {
        if !self.accept_leader(&from, body.term) || self.installing.is_some() {
            self.answer_install(&from, request, false);
        } else if body.snapshot.last.index <= self.commit {
            // It has all that already.
            self.answer_install(&from, request, true);
        } else {
            let snapshot = body.snapshot;
            let action =
                Action::InstallSnapshot { request, from: from.clone(), snapshot: snapshot.clone() };
            self.actions.push_back(action);
            self.installing = Some(Installing { request, from, snapshot });
        }
    }

    fn answer_install(&mut self, to: &ServerId, request: RequestId, success: bool) {
        let body = InstallSnapshotResponse { term: self.hard.term, success };
        self.send_when_durable(to, request, Body::InstallSnapshotResponse(body));
    }

    /// What became of [`Action::InstallSnapshot`]. With `success` the snapshot is durable and
    /// the state machine's state is the snapshot's; without, nothing has changed.
    pub fn handle_snapshot_installed(&mut self, request: RequestId, success: bool, now: Instant) {
        if !self.tick(now) {
            return;
        }
        let Some(installing) = self.installing.take_if(|i| i.request == request) else { return };
        let Installing { from, snapshot, .. } = installing;
        if success {
            self.adopt_snapshot(snapshot);
        }
        self.answer_install(&from, request, success);
        if let Role::Follower(follower) = &mut self.role
            && follower.leader.is_some()
        {
            follower.last_contact = Some(self.now);
        }
    }

    fn adopt_snapshot(&mut self, snapshot: SnapshotMeta) {
        let last = snapshot.last;
        self.applied = self.applied.max(last.index);
        let in_log = last.index <= self.log.last() && self.log.term(last.index) == Some(last.term);
        if in_log {
            if last.index > self.commit {
                self.set_commit(last.index);
            }
            self.compact(last);
        } else {
            assert!(last.index > self.commit, "a snapshot contradicts what is committed");
            self.reset_log(last);
            let index = snapshot.configuration_index;
            self.configurations.reset(snapshot.configuration.clone(), index);
        }
        self.snapshot = Some(snapshot);
    }

    fn reset_log(&mut self, last: LogPosition) {
        let write = self.next_write();
        self.log.reset(last);
        self.commit = last.index;
        self.applied = last.index;
        self.actions.push_back(Action::ResetLog { write, last });
    }

    fn compact(&mut self, position: LogPosition) {
        if let Some(through) = self.log.compact(position, self.options.trailing_logs) {
            let write = self.next_write();
            self.actions.push_back(Action::CompactLog { write, through });
        }
    }

    /// Whether there are enough entries since the last snapshot to make a new one
    /// ([`crate::Options::snapshot_threshold`]). The shell looks every random(30 s).
    pub fn snapshot_due(&self) -> bool {
        let since = self.log.last().0.saturating_sub(self.log.snapshot().index.0);
        since >= self.options.snapshot_threshold && self.applied > self.log.snapshot().index
    }

    /// The position and the configuration for a snapshot of the state after `applied`, an
    /// entry that was given to apply; `None` if a snapshot must wait, because the committed
    /// configuration is newer than that, or has nothing to say beyond the last one.
    pub fn snapshot_meta(&mut self, applied: Index) -> Option<(LogPosition, Configurations)> {
        if applied <= self.log.snapshot().index {
            return None;
        }
        self.state_meta(applied)
    }

    /// As [`Core::snapshot_meta`], also where the last snapshot has all of that: for a copy of
    /// the state that is no snapshot of this server's. `None` before anything was applied.
    pub fn state_meta(&mut self, applied: Index) -> Option<(LogPosition, Configurations)> {
        let configurations = &self.configurations;
        if applied == Index::ZERO
            || applied > self.applied
            || applied < self.log.snapshot().index
            || configurations.committed_index > applied
        {
            return None;
        }
        let configurations = configurations.clone();
        let term = self.log.term(applied)?;
        Some((LogPosition { term, index: applied }, configurations))
    }

    /// The shell made a snapshot of its own state and it is durable. Older entries beyond
    /// [`crate::Options::trailing_logs`] are removed. An older snapshot than the latest is ignored.
    pub fn handle_snapshot_created(&mut self, snapshot: SnapshotMeta, now: Instant) {
        if !self.tick(now) || snapshot.last.index <= self.log.snapshot().index {
            return;
        }
        assert!(snapshot.last.index <= self.applied, "a snapshot of what was never applied");
        let known = self.log.term(snapshot.last.index);
        assert!(
            known == Some(snapshot.last.term) || self.halted || self.log.has_failed(),
            "a snapshot of another log"
        );
        self.compact(snapshot.last);
        self.snapshot = Some(snapshot);
    }

    /// An operator restores an archive whose last index is `archived`: this leader accepts
    /// nothing more until [`Core::handle_restored`] or [`Core::abort_restore`]. Returns where
    /// the restored snapshot ends and the configuration it must name: the present one. The
    /// gap it leaves in the log makes every follower take the snapshot.
    pub fn begin_restore(
        &mut self,
        archived: Index,
        now: Instant,
    ) -> Result<(LogPosition, Configurations), ChangeError> {
        self.tick(now);
        self.may_propose()?;
        if !self.configurations.is_settled() {
            return Err(ChangeError::InProgress);
        }
        let index = self.log.last().max(archived).next();
        if let Role::Leader(leader) = &mut self.role {
            leader.restoring = true;
        }
        Ok((LogPosition { term: self.hard.term, index }, self.configurations.clone()))
    }

    /// The restored snapshot is durable and the state machine's state is its. Entries not yet
    /// applied are void: `snapshot restored while committing log`.
    pub fn handle_restored(
        &mut self,
        snapshot: SnapshotMeta,
        now: Instant,
    ) -> Result<(), ChangeError> {
        self.tick(now);
        let last = snapshot.last;
        let ours = matches!(&self.role, Role::Leader(leader) if leader.restoring);
        if !ours || last.term != self.hard.term || last.index <= self.log.last() {
            return Err(ChangeError::Propose(ProposeError::NotLeader(self.leader().cloned())));
        }
        self.reset_log(last);
        self.configurations.commit(last.index);
        self.snapshot = Some(snapshot);
        if let Role::Leader(leader) = &mut self.role {
            leader.restoring = false;
            leader.dirty = true;
            for progress in leader.progress.values_mut() {
                progress.in_flight.retain(|f| matches!(f.kind, Kind::Heartbeat));
                progress.mode = Mode::Probe;
                progress.next = progress.next.min(last.index);
            }
        }
        Ok(())
    }

    /// The restore failed and has changed nothing: accept proposals again.
    pub fn abort_restore(&mut self) {
        if let Role::Leader(leader) = &mut self.role {
            leader.restoring = false;
        }
    }
}
