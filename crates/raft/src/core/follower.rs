//! Receiving entries: thesis section 3.5, the follower's side.

use types::Index;

use super::Core;
use crate::action::{Action, LossReason};
use crate::entry::{Configuration, Entry, EntryKind, LogPosition, ServerId, Term};
use crate::log::LogReader;
use crate::message::{AppendEntries, AppendEntriesResponse, Body, RequestId};
use crate::role::Role;

impl<L: LogReader> Core<L> {
    /// A message of a leader of `term`. Says whether it is to be obeyed; if so, this server is
    /// now its follower.
    pub(super) fn accept_leader(&mut self, from: &ServerId, term: Term) -> bool {
        // Two leaders of one term cannot be; a peer that claims so is not obeyed.
        let rival = match &self.role {
            Role::Leader(_) => term == self.hard.term,
            Role::Follower(follower) => {
                term == self.hard.term && follower.leader.as_ref().is_some_and(|l| l != from)
            }
            Role::Candidate(_) => false,
        };
        if term < self.hard.term || rival || *from == self.id {
            return false;
        }
        let newer = term > self.hard.term;
        if newer {
            self.adopt_term(term);
        }
        let now = self.now;
        match &mut self.role {
            Role::Follower(follower) if !newer && follower.leader.as_ref() == Some(from) => {
                follower.last_contact = Some(now);
                if std::mem::take(&mut follower.leader_down) {
                    self.arm_follower();
                }
            }
            _ => self.become_follower(Some(from.clone()), LossReason::NewerTerm),
        }
        true
    }

    pub(super) fn on_append_entries(
        &mut self,
        from: ServerId,
        request: RequestId,
        body: AppendEntries,
    ) {
        let mut answer = AppendEntriesResponse {
            term: self.hard.term,
            last_log: self.log.last(),
            success: false,
            no_retry_backoff: false,
        };
        let heartbeat = body.is_heartbeat();
        if self.accept_leader(&from, body.term) {
            answer.term = self.hard.term;
            if self.check_entries(&body) {
                answer.success = self.matches(body.previous);
                answer.no_retry_backoff = !answer.success;
                if answer.success {
                    let AppendEntries { previous, entries, leader_commit, .. } = body;
                    answer.success = self.take_entries(previous.index, entries, leader_commit);
                }
            }
            answer.last_log = self.log.last();
        }
        let answer = Body::AppendEntriesResponse(answer);
        match heartbeat {
            true => self.send_when_term_durable(&from, request, answer),
            false => self.send_when_durable(&from, request, answer),
        }
    }

    /// Whether the entries make sense in themselves: they come from outside.
    fn check_entries(&self, body: &AppendEntries) -> bool {
        let mut before = body.previous;
        for entry in &body.entries {
            let follows = entry.index == before.index.next() && entry.term >= before.term;
            let readable = entry.kind != EntryKind::Configuration
                || Configuration::decode(&entry.data).is_ok();
            if !follows || entry.term > body.term || !readable {
                return false;
            }
            before = LogPosition { term: entry.term, index: entry.index };
        }
        true
    }

    fn matches(&mut self, previous: LogPosition) -> bool {
        match self.log.term(previous.index) {
            Some(term) => term == previous.term,
            // Compacted away: it was committed, and every leader has what is committed.
            None => previous.index <= self.commit && previous.index < self.log.first(),
        }
    }

    /// Appends what is new and truncates what conflicts. `false` if that would undo what is
    /// committed, which no right leader asks.
    fn take_entries(&mut self, previous: Index, entries: Vec<Entry>, commit: Index) -> bool {
        let sent_last = entries.last().map_or(previous, |entry| entry.index);
        let mut known = 0;
        for entry in &entries {
            if entry.index > self.log.last() {
                break;
            }
            let compacted = entry.index < self.log.first();
            if !compacted && self.log.term(entry.index) != Some(entry.term) {
                if entry.index <= self.commit.max(self.configurations.committed_index) {
                    return false;
                }
                self.truncate(entry.index);
                break;
            }
            known += 1;
        }
        let mut entries = entries;
        entries.drain(..known);
        if !entries.is_empty() {
            self.append(entries);
        }
        // Only what this message showed to be the leader's own is known to be committed.
        let commit = commit.min(sent_last).min(self.log.last());
        if commit > self.commit {
            self.set_commit(commit);
        }
        true
    }

    fn truncate(&mut self, from: Index) {
        assert!(!matches!(self.role, Role::Leader(_)), "a leader truncates its log");
        assert!(from > self.commit, "a committed entry is truncated");
        self.configurations.truncate(from);
        self.log.truncate(from);
        let write = self.next_write();
        self.actions.push_back(Action::TruncateLog { write, from });
    }
}
