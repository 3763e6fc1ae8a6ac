//! What autopilot does about the servers: who may vote from now on, who is given up.
//!
//! [`Pilot`] decides, from what [`super::health`] judged; `reference/raft-and-snapshots.md`
//! section 15. `testdata/` shows how it goes.

use types::Timestamp;
use types::autopilot::{AutopilotConfiguration, AutopilotServer, AutopilotState};

use super::health::{ServerFacts, ServerHealth, promotions, removals};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The server votes from now on.
    Promote { id: String, address: String },
    /// Gossip is told that the member will not come back; that it left makes it go.
    ForceLeave { name: String },
    /// The server, of which gossip knows nothing, goes.
    Remove { id: String },
}

/// What one leader knows of the servers, from when it began to lead.
#[derive(Debug, Default)]
pub(super) struct Pilot {
    health: ServerHealth,
    /// When the servers were looked at for the first time.
    since: Option<Timestamp>,
    state: Option<AutopilotState>,
}

impl Pilot {
    /// This is how all servers of the configuration are doing.
    pub(super) fn handle_servers(
        &mut self,
        configuration: &AutopilotConfiguration,
        servers: &[ServerFacts],
        now: Timestamp,
    ) -> AutopilotState {
        self.since.get_or_insert(now);
        let state = self.health.handle_servers(configuration, servers, now);
        self.state = Some(state.clone());
        state
    }

    /// How the servers were doing when they were last looked at.
    pub(super) fn state(&self) -> Option<&AutopilotState> {
        self.state.as_ref()
    }

    /// What is to be done. When servers are promoted, nobody is given up in the same round.
    pub(super) fn reconcile(
        &self,
        configuration: &AutopilotConfiguration,
        now: Timestamp,
    ) -> Vec<Step> {
        let Some(state) = &self.state else { return Vec::new() };
        let stable = if self.is_settling(configuration, now) { 0 } else { stable(configuration) };
        let promoted: Vec<Step> = promotions(state, stable, now).into_iter().map(promote).collect();
        if promoted.is_empty() { self.give_up(configuration, now) } else { promoted }
    }

    /// Who is given up.
    pub(super) fn give_up(
        &self,
        configuration: &AutopilotConfiguration,
        now: Timestamp,
    ) -> Vec<Step> {
        let Some(state) = &self.state else { return Vec::new() };
        // Gossip may not have found everybody yet when a leader begins, and a server that is
        // started again at once keeps its vote.
        let long_dead =
            |server: &&AutopilotServer| since(server.stable_since, now) >= stable(configuration);
        let given_up = removals(configuration, state).into_iter().filter(long_dead);
        given_up.map(give_up).collect()
    }

    /// Whether this leader has not led for long enough to know how long a server is well.
    /// It then takes each server's word: a new cluster has its voters without delay.
    fn is_settling(&self, configuration: &AutopilotConfiguration, now: Timestamp) -> bool {
        let known_for = self.since.map_or(0, |first| since(first, now));
        known_for <= stable(configuration) * 11 / 10
    }
}

/// `server_stabilization_time` in nanoseconds.
fn stable(configuration: &AutopilotConfiguration) -> i128 {
    configuration.server_stabilization_time.to_std().as_nanos() as i128
}

fn since(then: Timestamp, now: Timestamp) -> i128 {
    now.unix_nanos() - then.unix_nanos()
}

fn promote(server: &AutopilotServer) -> Step {
    Step::Promote { id: server.id.clone(), address: server.address.clone() }
}

fn give_up(server: &AutopilotServer) -> Step {
    match server.node_status.as_str() {
        "none" => Step::Remove { id: server.id.clone() },
        _ => Step::ForceLeave { name: server.name.clone() },
    }
}

#[cfg(test)]
#[path = "dialogues.rs"]
mod dialogues;
