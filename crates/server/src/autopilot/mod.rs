//! Autopilot: the leader watches over the servers.
//!
//! [`health`] judges, `acting` decides what is to be done, `membership` how a server comes
//! and goes. This module gathers what they go by, again and again while this server leads,
//! and carries out what they decide.

mod acting;
pub mod health;
pub(crate) mod membership;
mod stats;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use contract::remote::{QueryOptions, decode_reply, encode};
use contract::{CallError, ReadOptions};
use domains::autopilot::{AutopilotSet, configuration};
use domains::catalog::{NODES, node_key};
use raft::{Change, ServerId};
use telemetry::names;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use types::autopilot::{AutopilotConfiguration, AutopilotState, OperatorHealth};
use types::member::Member;
use types::operator::AutopilotStateReply;
use types::{SecretId, Timestamp};

use self::acting::{Pilot, Step};
use self::health::{MemberFacts, ServerFacts};
pub(crate) use self::stats::{Known, RAFT_STATS, ask_all};
use crate::Server;
use crate::endpoint::HealthReply;
use crate::forward::{Answers, ask_answerer};
use crate::operator::{AUTOPILOT_STATE, READ, SERVER_HEALTH};
use crate::raft_host::RaftStats;
use crate::server_member::ServerMember;

/// How often the leader looks at the servers.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How often it does something about them.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(10);

/// How long to wait before the next try to write the first configuration.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What is known of the servers, by this leader's clock.
#[derive(Debug, Default)]
pub(crate) struct AutopilotMemory {
    pilot: Mutex<Pilot>,
}

impl AutopilotMemory {
    fn pilot(&self) -> MutexGuard<'_, Pilot> {
        self.pilot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// How the servers were doing when the leader last looked.
    ///
    /// # Errors
    /// Permission denied, or no way to the datacenter; without leadership there is no knowing.
    pub async fn autopilot_state(
        &self,
        options: &ReadOptions,
        members: &[Member],
    ) -> Result<AutopilotState, CallError> {
        let call = (AUTOPILOT_STATE, encode(&QueryOptions::new(options, "")));
        let (datacenter, answers) = (&options.datacenter, Answers::Leader);
        if let Some(reply) = ask_answerer(self, datacenter, answers, call, READ).await? {
            let reply: AutopilotStateReply = decode_reply(AUTOPILOT_STATE, &reply)?;
            return Ok(reply.into());
        }
        own_state(self, options, members).await
    }

    /// The same in fewer words, and as servers of every version tell it each other.
    ///
    /// # Errors
    /// As [`Self::autopilot_state`].
    pub async fn operator_health(
        &self,
        options: &ReadOptions,
        members: &[Member],
    ) -> Result<OperatorHealth, CallError> {
        let call = (SERVER_HEALTH, encode(&QueryOptions::new(options, "")));
        let (datacenter, answers) = (&options.datacenter, Answers::Leader);
        if let Some(reply) = ask_answerer(self, datacenter, answers, call, READ).await? {
            let reply: HealthReply = decode_reply(SERVER_HEALTH, &reply)?;
            return Ok(reply.into());
        }
        Ok(OperatorHealth::from(&own_state(self, options, members).await?))
    }
}

/// What this server, which leads, has found out.
async fn own_state(
    server: &Server,
    options: &ReadOptions,
    members: &[Member],
) -> Result<AutopilotState, CallError> {
    server.may_read_operator(&options.token)?;
    let known = server.shared.memory.autopilot.pilot().state().cloned();
    let mut found = match known {
        Some(found) => found,
        None => look_at_servers(server, members).await?,
    };
    // The catalog tells the rest, as it is now.
    let state = server.store().snapshot();
    for known in found.servers.values_mut() {
        let node = state.peek(&NODES, node_key(&known.name).as_bytes());
        known.meta = node.and_then(|node| node.meta.clone());
    }
    Ok(found)
}

async fn look_at_servers(server: &Server, members: &[Member]) -> Result<AutopilotState, CallError> {
    let deadline = Instant::now() + LOOK_INTERVAL;
    let stats = server.raft().stats().await.map_err(|error| error.to_call_error())?;
    let answers = stats::ask_all(server, &stats, members, deadline).await;
    let servers = facts(&stats, members, &answers);
    let configuration = configuration_of(server);
    let now = Timestamp::from(SystemTime::now());
    let memory = &server.shared.memory.autopilot;
    Ok(memory.pilot().handle_servers(&configuration, &servers, now))
}

/// What autopilot goes by.
fn configuration_of(server: &Server) -> AutopilotConfiguration {
    let state = server.store().snapshot();
    configuration(&state).unwrap_or(&server.shared.options.autopilot).clone()
}

/// What the leader knows of the servers of the configuration: of itself, and of the others
/// what they said when they were asked.
fn facts(
    stats: &RaftStats,
    members: &[Member],
    answers: &BTreeMap<ServerId, Known>,
) -> Vec<ServerFacts> {
    let last = &stats.status.last;
    let own = Known {
        last_contact: Some(Duration::ZERO),
        last_term: last.term.0,
        last_index: last.index.0,
    };
    let server_facts = |server: &raft::Server| {
        let leads = server.id == stats.status.id;
        let known = if leads { Some(&own) } else { answers.get(&server.id) };
        let known = known.copied().unwrap_or_default();
        ServerFacts {
            id: server.id.clone(),
            address: server.address.to_string(),
            suffrage: server.suffrage,
            leads,
            member: member_of(&server.id, members).map(|found| MemberFacts {
                name: found.name,
                version: found.version,
                status: found.status,
            }),
            last_contact: known.last_contact,
            last_term: known.last_term,
            last_index: known.last_index,
        }
    };
    stats.configuration.servers.iter().map(server_facts).collect()
}

fn member_of(id: &ServerId, members: &[Member]) -> Option<ServerMember> {
    members.iter().filter_map(ServerMember::parse).find(|server| server.id == *id)
}

/// Writes the first configuration if there is none, tells that it is there, and then looks
/// after the servers for as long as it runs: while this server leads.
pub(crate) async fn run(
    server: &Server,
    mut members: watch::Receiver<Vec<Member>>,
    established: impl FnOnce(),
) {
    let memory = &server.shared.memory.autopilot;
    *memory.pilot() = Pilot::default();
    establish(server).await;
    established();
    let _enabled = Enabled::tell();
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reconciles = tokio::time::interval(RECONCILE_INTERVAL);
    reconciles.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = || Timestamp::from(SystemTime::now());
        tokio::select! {
            _ = looks.tick() => {
                let present = members.borrow().clone();
                look(server, &present).await;
            }
            _ = reconciles.tick() => {
                let configuration = configuration_of(server);
                let steps = memory.pilot().reconcile(&configuration, now());
                carry_out(server, steps).await;
            }
            // Who joined may replace one that failed.
            Ok(()) = members.changed() => {
                let present = members.borrow_and_update().clone();
                look(server, &present).await;
                let configuration = configuration_of(server);
                let steps = memory.pilot().give_up(&configuration, now());
                carry_out(server, steps).await;
            }
        }
    }
}

/// Tells that autopilot looks after the servers, for as long as this lives.
struct Enabled;

impl Enabled {
    fn tell() -> Self {
        tracing::info!(target: "agent.server.autopilot", "reconciliation now enabled");
        Self
    }
}

impl Drop for Enabled {
    fn drop(&mut self) {
        tracing::info!(target: "agent.server.autopilot", "reconciliation now disabled");
    }
}

async fn look(server: &Server, members: &[Member]) {
    // Without leadership this ends, and there is nothing to tell.
    let Ok(state) = look_at_servers(server, members).await else { return };
    names::AUTOPILOT_HEALTHY.set([], f64::from(u8::from(state.healthy)));
    names::AUTOPILOT_FAILURE_TOLERANCE.set([], state.failure_tolerance as f64);
}

async fn carry_out(server: &Server, steps: Vec<Step>) {
    for step in steps {
        let outcome = match &step {
            Step::Promote { id, address } => {
                tracing::info!(target: "agent.server.autopilot", id, address, "Promoting server");
                let (id, address) = (ServerId(id.as_str().into()), address.as_str().into());
                let change = Change::AddVoter { id, address };
                let changed = server.raft().change_membership(change, None).await;
                changed.map(|_| ()).map_err(|error| error.to_string())
            }
            Step::ForceLeave { name } => {
                tracing::info!(target: "agent.server.autopilot", name, "Attempting removal of failed server node");
                server.gossip().force_leave(name).await
            }
            Step::Remove { id } => {
                tracing::info!(target: "agent.server.autopilot", id, "removing stale server");
                let removed =
                    membership::remove_server(server, &ServerId(id.as_str().into())).await;
                removed.map_err(|error| error.to_string())
            }
        };
        if let Err(error) = outcome {
            tracing::error!(target: "agent.server.autopilot", ?step, error, "failed to do what the servers call for");
        }
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
