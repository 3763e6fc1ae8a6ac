//! Replies to operators whose wire form is another than that over HTTP.

use serde::Serialize;
use types::autopilot::{AutopilotServer, AutopilotState};
use types::{GoDuration, Timestamp};

/// `AutopilotHealthReply` (`reference/rpc-wire.md` section 16).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HealthReply<'s> {
    failure_tolerance: u64,
    healthy: bool,
    servers: Vec<ServerHealthReply<'s>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerHealthReply<'s> {
    address: &'s str,
    healthy: bool,
    #[serde(rename = "ID")]
    id: &'s str,
    last_contact: GoDuration,
    last_index: u64,
    last_term: u64,
    leader: bool,
    name: &'s str,
    serf_status: u8,
    stable_since: Timestamp,
    version: &'s str,
    voter: bool,
}

impl<'s> From<&'s AutopilotState> for HealthReply<'s> {
    fn from(state: &'s AutopilotState) -> Self {
        let servers = state.servers.values().map(|server| ServerHealthReply {
            address: &server.address,
            healthy: server.healthy,
            id: &server.id,
            last_contact: server.last_contact,
            last_index: server.last_index,
            last_term: server.last_term,
            leader: server.status == AutopilotServer::LEADER,
            name: &server.name,
            serf_status: serf_status(&server.node_status),
            stable_since: server.stable_since,
            version: &server.version,
            voter: server.status != AutopilotServer::NON_VOTER,
        });
        Self {
            failure_tolerance: state.failure_tolerance,
            healthy: state.healthy,
            servers: servers.collect(),
        }
    }
}

/// Serf's number of a status.
fn serf_status(text: &str) -> u8 {
    match text {
        "alive" => 1,
        "left" => 3,
        "failed" => 4,
        _ => 0,
    }
}
