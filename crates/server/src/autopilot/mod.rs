//! Autopilot: the leader watches over the servers.
//!
//! [`health`] judges; this module gathers what it judges by, again and again while this
//! server leads and whenever somebody asks.

pub mod health;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use contract::{CallError, ReadOptions};
use domains::autopilot::{AutopilotSet, configuration};
use domains::catalog::{NODES, node_key};
use telemetry::names;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use types::autopilot::{AutopilotConfiguration, AutopilotState};
use types::member::Member;
use types::{Index, SecretId, Timestamp};

use self::health::{MemberFacts, ServerFacts, ServerHealth};
use crate::Server;
use crate::raft_host::RaftStats;

/// How often the leader looks at the servers.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How long to wait before the next try to write the first configuration.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Since when each server is as healthy as it is, by this leader's clock.
#[derive(Debug, Default)]
pub(crate) struct AutopilotMemory {
    health: Mutex<ServerHealth>,
}

impl AutopilotMemory {
    fn health(&self) -> MutexGuard<'_, ServerHealth> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// How the servers are doing at this moment, as the leader sees them.
    ///
    /// # Errors
    /// Permission denied, or no way to the datacenter; without leadership there is no knowing.
    pub async fn autopilot_state(
        &self,
        options: &ReadOptions,
        members: &[Member],
    ) -> Result<AutopilotState, CallError> {
        self.check_datacenter(&options.datacenter)?;
        self.may_read_operator(&options.token)?;
        self.judge_servers(members).await
    }

    async fn judge_servers(&self, members: &[Member]) -> Result<AutopilotState, CallError> {
        self.wait_for_leadership().await?;
        let stats = self.raft().stats().await.map_err(|error| error.to_call_error())?;
        let state = self.store().snapshot();
        let mut servers = facts(&stats, members, Instant::now());
        for server in &mut servers {
            let Some(member) = &server.member else { continue };
            let node = state.peek(&NODES, node_key(&member.name).as_bytes());
            server.meta = node.and_then(|node| node.meta.clone());
        }
        let first = &self.shared.options.autopilot;
        let configuration = configuration(&state).unwrap_or(first);
        let now = Timestamp::from(SystemTime::now());
        let memory = &self.shared.memory.autopilot;
        Ok(memory.health().handle_servers(configuration, &servers, now))
    }
}

/// What the leader knows of the servers of the configuration. What it replicates to them
/// tells it all that it needs: nobody is asked.
fn facts(stats: &RaftStats, members: &[Member], now: Instant) -> Vec<ServerFacts> {
    let last = &stats.status.last;
    let server_facts = |server: &raft::Server| {
        let leads = server.id == stats.status.id;
        let follower = stats.followers.iter().find(|follower| follower.id == server.id);
        let last_contact = follower.and_then(|follower| follower.last_contact);
        let matched = follower.map_or(Index::ZERO, |follower| follower.matched);
        // Where the logs match, the terms do: only a log that was never seen has another.
        let last_term = if leads || matched > Index::ZERO { last.term.0 } else { 0 };
        ServerFacts {
            id: server.id.clone(),
            address: server.address.to_string(),
            suffrage: server.suffrage,
            leads,
            member: member_of(&server.id.0, members),
            meta: None,
            last_contact: match leads {
                true => Some(Duration::ZERO),
                false => last_contact.map(|at| now.saturating_duration_since(at)),
            },
            last_term,
            last_index: if leads { last.index.0 } else { matched.0 },
        }
    };
    stats.configuration.servers.iter().map(server_facts).collect()
}

fn member_of(id: &str, members: &[Member]) -> Option<MemberFacts> {
    let member = members.iter().find(|m| m.tags.get("id").is_some_and(|known| known == id))?;
    let build = member.tags.get("build").map_or("", String::as_str);
    Some(MemberFacts {
        name: member.name.clone(),
        version: build.split(':').next().unwrap_or_default().to_owned(),
        status: member.status,
    })
}

/// Writes the first configuration if there is none, and looks at the servers, for as long
/// as it runs: while this server leads.
pub(crate) async fn run(server: &Server, members: watch::Receiver<Vec<Member>>) {
    *server.shared.memory.autopilot.health() = ServerHealth::default();
    establish(server).await;
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let present = members.borrow().clone();
        // Without leadership this ends, and there is nothing to tell.
        let Ok(state) = server.judge_servers(&present).await else { continue };
        names::AUTOPILOT_HEALTHY.set([], f64::from(u8::from(state.healthy)));
        names::AUTOPILOT_FAILURE_TOLERANCE.set([], state.failure_tolerance as f64);
    }
}

async fn establish(server: &Server) {
    while configuration(&server.store().snapshot()).is_none() {
        let config = server.shared.options.autopilot.clone();
        let Err(error) = initialize(server, config).await else { return };
        tracing::error!(target: "agent.server.autopilot", error = %error, "failed to initialize config");
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Earlier leaders' entries are applied when a leader is established, so nobody else's
/// configuration is replaced.
async fn initialize(server: &Server, config: AutopilotConfiguration) -> Result<(), CallError> {
    let command = AutopilotSet { config, ..AutopilotSet::default() };
    server.write_typed(command, &SecretId::default()).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use raft::ServerId;
    use types::member::MemberStatus;

    use super::*;

    #[test]
    fn gossip_knows_a_server_by_its_id() {
        let tags = [("id", "u-1"), ("build", "1.21.4:abc")];
        let member = Member {
            name: "s1".to_owned(),
            status: MemberStatus::ALIVE,
            tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..Member::default()
        };
        let id = ServerId("u-1".into());
        let found = member_of(&id.0, std::slice::from_ref(&member)).expect("it is there");
        assert_eq!((found.name.as_str(), found.version.as_str()), ("s1", "1.21.4"));
        assert_eq!(member_of("u-2", &[member]), None);
    }
}
