//! Replicating: thesis section 3.5, the leader's side, pipelined as in 10.2.1.

use std::time::{Duration, Instant};

use types::Index;

use super::Core;
use crate::entry::{LogPosition, ServerId, Term};
use crate::log::LogReader;
use crate::message::{AppendEntries, AppendEntriesResponse, Body, RequestId};
use crate::role::{InFlight, Kind, Mode, Progress, Role};

/// Most heartbeats to one follower that wait for an answer.
const MAX_HEARTBEATS: usize = 4;
/// `reference/raft-and-snapshots.md` section 4: 10 ms, doubling after two failures, for as
/// many as twelve.
const BACKOFF_BASE: Duration = Duration::from_millis(10);
const BACKOFF_MAX_SCALE: u32 = 12;

fn backoff(failures: u32) -> Duration {
    BACKOFF_BASE * (1 << failures.min(BACKOFF_MAX_SCALE).saturating_sub(2))
}

impl<L: LogReader> Core<L> {
    pub(super) fn progress(&mut self, id: &ServerId) -> Option<&mut Progress> {
        match &mut self.role {
            Role::Leader(leader) => leader.progress.get_mut(id),
            _ => None,
        }
    }

    /// Sends what followers lack, as far as the limits of what is under way allow.
    pub(super) fn replicate_all(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        let dirty = std::mem::take(&mut leader.dirty);
        let verify = std::mem::take(&mut leader.verify);
        if !dirty && !verify {
            return;
        }
        for id in self.role.followers() {
            if verify {
                self.send_heartbeat(&id);
            }
            if dirty {
                self.replicate(&id);
            }
        }
        self.check_reads();
    }

    pub(super) fn replicate(&mut self, id: &ServerId) {
        let (log_end, depth) = (self.log.last(), self.options.max_in_flight.max(1));
        while let Some(progress) = self.progress(id) {
            let last = progress.end(log_end);
            let limit = if progress.mode == Mode::Pipeline { depth } else { 1 };
            let idle = progress.retry_at.is_none() && progress.appends() < limit;
            if !idle || progress.next > last || !self.send_append(id) {
                return;
            }
        }
    }

    /// Sends entries from the follower's next on, or none if there is none, or a snapshot if
    /// they are gone. `false` if nothing can be sent.
    fn send_append(&mut self, id: &ServerId) -> bool {
        let log_end = self.log.last();
        let range = self.progress(id).map(|progress| (progress.next, progress.end(log_end)));
        let Some((next, last)) = range else { return false };
        let previous = Index(next.0 - 1);
        let term = self.log.term(previous);
        let (Some(term), true) = (term, next >= self.log.first()) else {
            return self.send_snapshot(id);
        };
        let entries = match next <= last {
            true => {
                let (count, bytes) =
                    (self.options.max_append_entries, self.options.max_append_bytes);
                self.log.entries(next, last, count.max(1), bytes)
            }
            false => Vec::new(),
        };
        if entries.is_empty() && next <= last {
            return false;
        }
        let matches = entries.last().map_or(previous, |entry| entry.index);
        let (count, commit) = (entries.len(), self.commit);
        let kind = Kind::Append { matches, count };
        let request = self.track(id, kind, self.options.request_timeout);
        if let Some(progress) = self.progress(id) {
            progress.next = matches.next();
            progress.commit_sent = commit;
        }
        let previous = LogPosition { term, index: previous };
        let term = self.hard.term;
        let body = AppendEntries { term, previous, entries, leader_commit: commit };
        self.send(id, request, Body::AppendEntries(body));
        true
    }

    /// Remembers a request that is about to be sent.
    pub(super) fn track(&mut self, id: &ServerId, kind: Kind, patience: Duration) -> RequestId {
        let (request, sent) = (self.next_request(), self.now);
        if let Some(progress) = self.progress(id) {
            let deadline = sent + patience;
            progress.in_flight.push_back(InFlight { request, sent, deadline, kind });
        }
        request
    }

    fn send_heartbeat(&mut self, id: &ServerId) {
        let pause = self.random_time(self.options.heartbeat_timeout / 10);
        let (now, patience) = (self.now, self.options.heartbeat_timeout);
        let Some(progress) = self.progress(id) else { return };
        progress.heartbeat_at = now + pause;
        if progress.heartbeats() >= MAX_HEARTBEATS {
            return;
        }
        let request = self.track(id, Kind::Heartbeat, patience);
        let body = AppendEntries {
            term: self.hard.term,
            previous: LogPosition::default(),
            entries: Vec::new(),
            leader_commit: Index::ZERO,
        };
        self.send(id, request, Body::AppendEntries(body));
    }

    pub(super) fn on_replication_timeout(&mut self) {
        let now = self.now;
        for id in self.role.followers() {
            let Some(progress) = self.progress(&id) else { continue };
            let late = progress.in_flight.iter().filter(|f| f.deadline <= now);
            let late: Vec<RequestId> = late.map(|f| f.request).collect();
            for request in late {
                self.on_request_failure(&id, request);
            }
            self.do_what_is_due(&id, now);
        }
    }

    fn do_what_is_due(&mut self, id: &ServerId, now: Instant) {
        let commit = self.commit;
        let Some(progress) = self.progress(id) else { return };
        let heartbeat = progress.heartbeat_at <= now;
        let retry = progress.retry_at.take_if(|at| *at <= now).is_some();
        let tell = progress.wants_commit(commit) && progress.commit_at <= now;
        if heartbeat {
            self.send_heartbeat(id);
        }
        if retry {
            self.replicate(id);
        }
        if tell && self.progress(id).is_some_and(|progress| progress.wants_commit(commit)) {
            self.send_append(id);
        }
    }

    pub(super) fn on_append_response(
        &mut self,
        from: ServerId,
        request: RequestId,
        body: AppendEntriesResponse,
    ) {
        let (now, term) = (self.now, self.hard.term);
        if self.minds_newer_term(&from, body.term) {
            return;
        }
        let Some(progress) = self.progress(&from) else { return };
        let Some(in_flight) = progress.take(request) else { return };
        progress.last_contact = Some(now);
        if body.term == term {
            progress.acknowledged = progress.acknowledged.max(Some(in_flight.sent));
            progress.acknowledged_request = progress.acknowledged_request.max(Some(request));
        }
        match in_flight.kind {
            Kind::Heartbeat => {
                // It is back: what waits for a retry need not wait on.
                if std::mem::take(&mut progress.heartbeat_failures) > 0 {
                    progress.retry_at = None;
                    progress.failures = 0;
                }
            }
            Kind::Append { matches, .. } if body.success && body.term == term => {
                self.on_match(&from, matches);
            }
            Kind::Append { matches, count } => {
                self.on_mismatch(&from, Index(matches.0 - count as u64), &body);
            }
            Kind::Snapshot { .. } => {}
        }
        if let Role::Leader(leader) = &mut self.role {
            leader.dirty = true;
        }
        self.check_reads();
    }

    /// Whether a follower's answer is of a newer term, and so ends this leadership. Who is a
    /// member no longer does not end it: what it knows is of no use to it.
    pub(super) fn minds_newer_term(&mut self, from: &ServerId, term: Term) -> bool {
        let Role::Leader(leader) = &mut self.role else { return false };
        if term <= self.hard.term || !leader.progress.contains_key(from) {
            return false;
        }
        match leader.removed(from) {
            Some(_) => drop(leader.progress.remove(from)),
            None => self.retreat(term),
        }
        true
    }

    /// The follower has the log up to `matches`.
    pub(super) fn on_match(&mut self, id: &ServerId, matches: Index) {
        assert!(matches <= self.log.last(), "a follower has more than was sent");
        let Some(progress) = self.progress(id) else { return };
        let grown = matches > progress.matched;
        progress.matched = progress.matched.max(matches);
        progress.next = progress.next.max(progress.matched.next());
        progress.mode = Mode::Pipeline;
        progress.failures = 0;
        progress.retry_at = None;
        if progress.removed.as_ref().is_some_and(|removed| progress.matched >= removed.through) {
            self.role.forget_removed(id);
        } else if grown {
            self.advance_commit();
            self.check_transfer();
        }
    }

    fn on_mismatch(&mut self, id: &ServerId, previous: Index, body: &AppendEntriesResponse) {
        let now = self.now;
        let Some(progress) = self.progress(id) else { return };
        let next = previous.min(body.last_log.next()).max(Index(1));
        progress.mode = Mode::Probe;
        progress.next = next;
        // A server that came back with an empty disk has less than it once said.
        progress.matched = progress.matched.min(Index(next.0 - 1));
        progress.in_flight.retain(|f| matches!(f.kind, Kind::Heartbeat));
        if !body.no_retry_backoff {
            progress.failures = progress.failures.saturating_add(1);
            progress.retry_at = Some(now + backoff(progress.failures));
            self.role.forget_removed(id);
        }
    }

    pub(super) fn on_request_failure(&mut self, id: &ServerId, request: RequestId) {
        let (now, cap) = (self.now, self.options.heartbeat_timeout / 2);
        let Some(progress) = self.progress(id) else { return };
        let Some(failed) = progress.take(request) else { return };
        if matches!(failed.kind, Kind::Heartbeat) {
            progress.heartbeat_failures = progress.heartbeat_failures.saturating_add(1);
            let pause = backoff(progress.heartbeat_failures).min(cap);
            progress.heartbeat_at = now + pause;
            return;
        }
        if progress.mode == Mode::Pipeline {
            progress.next = progress.matched.next();
        } else if let Kind::Append { matches, count } = failed.kind {
            progress.next = Index(matches.0 - count as u64).next();
        }
        progress.mode = Mode::Probe;
        progress.in_flight.retain(|f| matches!(f.kind, Kind::Heartbeat));
        progress.commit_sent = Index::ZERO;
        progress.failures = progress.failures.saturating_add(1);
        progress.retry_at = Some(now + backoff(progress.failures));
        // Who is a member no longer is told if it can be; nobody waits for it.
        self.role.forget_removed(id);
    }
}
