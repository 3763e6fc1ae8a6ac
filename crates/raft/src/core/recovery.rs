//! Going on without the majority: an operator says that the other servers are lost for good
//! (hashicorp/raft's `RecoverCluster`, but on a server that runs).
//!
//! One server is asked, and it must be the one whose log goes furthest of all that are left:
//! what any of them knows to be committed is then in its log. It appends the configuration of
//! those that are left in a term of its own, where no majority of theirs can have elected
//! anybody else, and campaigns. Its log being ahead of theirs, the others vote for it and get
//! the configuration as they get any entry; nothing is asked of them.
//!
//! What it had and no majority was known to have takes effect; what only lost servers had is
//! lost. A lost server that comes back with its data knows nothing of all this: a majority of
//! such would be a cluster of its own.

use std::time::Instant;

use bytes::Bytes;

use super::Core;
use crate::action::LossReason;
use crate::entry::{Configuration, Entry, EntryKind, HardState, LogPosition, Term};
use crate::error::RecoverError;
use crate::log::LogReader;
use crate::role::Role;

impl<L: LogReader> Core<L> {
    /// Makes those of the members that are left the configuration, without asking anybody,
    /// and campaigns. `expected` is the end of the log by which the operator judged. Returns
    /// where the configuration stands.
    pub fn recover(
        &mut self,
        left: &Configuration,
        expected: LogPosition,
        now: Instant,
    ) -> Result<LogPosition, RecoverError> {
        self.tick(now);
        may_recover(self, left, expected)?;
        self.become_follower(None, LossReason::Asked);
        let term = Term(self.hard.term.0 + 1);
        let position = LogPosition { term, index: self.log.last().next() };
        self.save_hard_state(HardState { term, vote: Some((term, self.id.clone())) });
        self.append(vec![Entry {
            index: position.index,
            term,
            kind: EntryKind::Configuration,
            data: left.encode(),
            extensions: Bytes::new(),
            appended_at: 0,
        }]);
        self.start_campaign(false);
        Ok(position)
    }
}

fn may_recover<L: LogReader>(
    core: &mut Core<L>,
    left: &Configuration,
    expected: LogPosition,
) -> Result<(), RecoverError> {
    match &core.role {
        _ if core.halted => return Err(RecoverError::Busy),
        Role::Leader(_) => return Err(RecoverError::Leads),
        Role::Follower(follower) => {
            if let Some(leader) = &follower.leader {
                return Err(RecoverError::LeaderKnown(leader.clone()));
            }
        }
        Role::Candidate(_) => {}
    }
    if core.installing.is_some() {
        return Err(RecoverError::Busy);
    }
    let last = core.log.last_position();
    if last != expected {
        return Err(RecoverError::Changed { expected, last });
    }
    left.validate()?;
    if !left.is_voter(&core.id) {
        return Err(RecoverError::NotAVoter);
    }
    let latest = &core.configurations.latest;
    match left.servers.iter().find(|server| latest.server(&server.id).is_none()) {
        Some(stranger) => Err(RecoverError::Stranger(stranger.id.clone())),
        None => Ok(()),
    }
}
