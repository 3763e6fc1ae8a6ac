//! Elections: thesis sections 3.4 and 9.6, leader stickiness as in 4.2.3.

use std::collections::BTreeSet;
use std::time::Instant;

use super::Core;
use crate::action::{Action, LossReason, WriteNumber};
use crate::entry::{HardState, LogPosition, ServerId, Term};
use crate::log::LogReader;
use crate::message::{Body, RequestId, RequestPreVote, RequestVote, VoteResponse};
use crate::role::{Candidate, Phase, Role};

impl<L: LogReader> Core<L> {
    /// A follower's timer: campaign if nothing was heard for long enough.
    pub(super) fn on_election_timeout(&mut self) {
        let patience = self.random_time(self.options.heartbeat_timeout);
        let now = self.now;
        let minimum = match &self.role {
            Role::Follower(follower) if follower.leader_down => self.options.early_vote(),
            _ => self.options.heartbeat_timeout,
        };
        let Role::Follower(follower) = &mut self.role else { return };
        if let Some(contact) = follower.last_contact
            && now < contact + minimum
        {
            follower.deadline = (contact + patience).max(now);
            return;
        }
        if self.configurations.latest.is_voter(&self.id) {
            self.start_campaign(false);
        } else {
            // Nobody to elect, or not ours to elect: wait on.
            follower.deadline = now + patience;
            if follower.leader.take().is_some() {
                let term = self.hard.term;
                self.actions.push_back(Action::LeaderChanged { term, leader: None });
            }
        }
    }

    /// The process of `peer` has ended, as far as can be told: its connections broke, and where
    /// it listened nobody does. If it leads, the next leader is elected as soon as the lease
    /// allows, without waiting for the heartbeat timeout. The voters take turns, so that the
    /// first of them wins before the next one tries.
    ///
    /// This may be wrong: nothing but time depends on it, and a message of that leader takes it
    /// back.
    pub fn handle_peer_down(&mut self, peer: &ServerId, now: Instant) {
        let is_voter = self.configurations.latest.is_voter(&self.id);
        if !self.tick(now) || !is_voter || self.leader() != Some(peer) {
            return;
        }
        let (hurry, lease) = (self.options.hurry(), self.options.early_vote());
        let turn = self.other_voters().iter().filter(|id| *id != peer && **id < self.id).count();
        let turns = hurry * u32::try_from(turn).unwrap_or(u32::MAX) + self.random_time(hurry / 4);
        let now = self.now;
        let Role::Follower(follower) = &mut self.role else { return };
        if std::mem::replace(&mut follower.leader_down, true) {
            return;
        }
        let free = follower.last_contact.map_or(now, |contact| now.max(contact + lease));
        // A timer that would run out before is that of an earlier contact.
        if !(free..free + turns).contains(&follower.deadline) {
            follower.deadline = free + turns;
        }
    }

    /// Starts a round. With `transfer` the old leader asked for it: no pre-vote, and voters are
    /// told so.
    pub(super) fn start_campaign(&mut self, transfer: bool) {
        if !self.configurations.latest.is_voter(&self.id) {
            self.become_follower(None, LossReason::Removed);
            return;
        }
        if self.leader().is_some() {
            let term = self.hard.term;
            self.actions.push_back(Action::LeaderChanged { term, leader: None });
        }
        let sole = self.configurations.latest.quorum() == 1;
        match transfer || sole || !self.options.pre_vote {
            true => self.ask_for_votes(transfer),
            false => self.ask_for_pre_votes(),
        }
    }

    fn candidate(&mut self, phase: Phase) -> Candidate {
        let hurries_until = match &self.role {
            Role::Follower(follower) if follower.leader_down => {
                Some(self.now + self.options.election_timeout)
            }
            Role::Candidate(candidate) => candidate.hurries_until,
            _ => None,
        };
        let hurries = hurries_until.is_some_and(|until| self.now < until);
        let patience = match phase {
            Phase::PreVote if hurries => self.options.hurry(),
            Phase::Vote if hurries => self.options.hurry() * 4,
            _ => self.options.election_timeout,
        };
        Candidate {
            phase,
            granted: BTreeSet::new(),
            deadline: self.now + self.random_time(patience),
            hurries_until,
            first_request: RequestId(self.last_request.0 + 1),
            own_vote: WriteNumber(0),
        }
    }

    fn ask_for_pre_votes(&mut self) {
        let candidate = self.candidate(Phase::PreVote);
        self.role = Role::Candidate(candidate);
        let (term, last) = (Term(self.hard.term.0 + 1), self.log.last_position());
        for voter in self.other_voters() {
            let request = self.next_request();
            let body = Body::RequestPreVote(RequestPreVote { term, last });
            self.send(&voter, request, body);
        }
        self.count_votes();
    }

    fn ask_for_votes(&mut self, leadership_transfer: bool) {
        let term = Term(self.hard.term.0 + 1);
        self.save_hard_state(HardState { term, vote: Some((term, self.id.clone())) });
        let mut candidate = self.candidate(Phase::Vote);
        candidate.own_vote = self.written;
        self.role = Role::Candidate(candidate);
        let last = self.log.last_position();
        for voter in self.other_voters() {
            let request = self.next_request();
            let body = Body::RequestVote(RequestVote { term, last, leadership_transfer });
            // The end of the log that is claimed here must survive a crash, as must the term.
            self.send_when_durable(&voter, request, body);
        }
    }

    fn other_voters(&self) -> Vec<ServerId> {
        self.configurations.latest.voters().filter(|id| **id != self.id).cloned().collect()
    }

    pub(super) fn on_vote_response(
        &mut self,
        from: ServerId,
        request: RequestId,
        body: VoteResponse,
        pre_vote: bool,
    ) {
        let Role::Candidate(candidate) = &mut self.role else { return };
        let asked = match candidate.phase {
            Phase::PreVote => Term(self.hard.term.0 + 1),
            Phase::Vote => self.hard.term,
        };
        if request < candidate.first_request || (candidate.phase == Phase::PreVote) != pre_vote {
            return;
        }
        if body.term > asked {
            self.retreat(body.term);
        } else if body.granted && body.term == asked && self.configurations.latest.is_voter(&from) {
            candidate.granted.insert(from);
            self.count_votes();
        }
    }

    /// Counts its own vote too, which for a real one must be durable.
    pub(super) fn count_votes(&mut self) {
        let Role::Candidate(candidate) = &self.role else { return };
        let own = usize::from(candidate.own_vote <= self.persisted);
        if candidate.granted.len() + own < self.configurations.latest.quorum() {
            return;
        }
        match candidate.phase {
            Phase::PreVote => self.ask_for_votes(false),
            Phase::Vote => self.become_leader(),
        }
    }

    /// The rules that votes and pre-votes share, up to the term.
    fn refuses(&self, from: &ServerId, transfer: bool) -> bool {
        let latest = &self.configurations.latest;
        let stranger = !latest.servers.is_empty() && latest.server(from).is_none();
        let lease = self.options.early_vote();
        let bound = match &self.role {
            Role::Follower(follower) if follower.is_released(self.now, lease) => false,
            _ => self.leader().is_some_and(|leader| leader != from),
        };
        stranger || (!transfer && (bound || self.now < self.quiet_until))
    }

    /// Whether that candidate may lead by its suffrage and its log.
    fn is_eligible(&mut self, from: &ServerId, last: LogPosition) -> bool {
        let latest = &self.configurations.latest;
        let votes = latest.servers.is_empty() || latest.is_voter(from);
        votes && self.log.last_position() <= last
    }

    pub(super) fn on_request_vote(&mut self, from: ServerId, request: RequestId, b: RequestVote) {
        let mut answer = VoteResponse { term: self.hard.term, granted: false };
        if !self.refuses(&from, b.leadership_transfer) && b.term >= self.hard.term {
            if b.term > self.hard.term {
                self.retreat(b.term);
                answer.term = b.term;
            }
            let term = self.hard.term;
            let voted = self.hard.vote.as_ref().filter(|(voted_term, _)| *voted_term == term);
            let again = voted.is_some_and(|(_, candidate)| *candidate == from);
            let free = voted.is_none() && matches!(self.role, Role::Follower(_));
            if self.is_eligible(&from, b.last) && (again || free) {
                if !again {
                    self.save_hard_state(HardState { term, vote: Some((term, from.clone())) });
                }
                answer.granted = true;
                self.refresh_contact();
            }
        }
        self.send_when_durable(&from, request, Body::RequestVoteResponse(answer));
    }

    fn refresh_contact(&mut self) {
        let deadline = self.now + self.random_time(self.options.heartbeat_timeout);
        if let Role::Follower(follower) = &mut self.role {
            follower.last_contact = Some(self.now);
            follower.deadline = deadline;
        }
    }

    pub(super) fn on_request_pre_vote(
        &mut self,
        from: ServerId,
        request: RequestId,
        body: RequestPreVote,
    ) {
        let mut answer = VoteResponse { term: self.hard.term, granted: false };
        if !self.refuses(&from, false) && body.term >= self.hard.term {
            answer.term = body.term;
            answer.granted = self.is_eligible(&from, body.last);
        }
        // The term in the answer may be one that is not durable yet.
        self.send_when_term_durable(&from, request, Body::RequestPreVoteResponse(answer));
    }

    /// Thesis 3.10: the leader hands over.
    pub(super) fn on_timeout_now(&mut self, from: ServerId, request: RequestId) {
        self.send(&from, request, Body::TimeoutNowResponse);
        // Only of the leader that is obeyed: the word of an earlier one may have been long under
        // way, and voters would break the present leader's lease for it.
        let is_follower = matches!(&self.role, Role::Follower(f) if f.leader == Some(from));
        if is_follower && self.configurations.latest.is_voter(&self.id) {
            self.start_campaign(true);
        }
    }
}
