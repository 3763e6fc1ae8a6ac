//! Replies to operators whose wire form is another than that over HTTP.

use serde::{Deserialize, Serialize};
use types::autopilot::{OperatorHealth, ServerHealth};
use types::{GoDuration, Timestamp};

/// Serf's statuses, by number.
const SERF_STATUSES: [&str; 5] = ["none", "alive", "leaving", "left", "failed"];

/// `AutopilotHealthReply` (`reference/rpc-wire.md` section 16): what `Operator.ServerHealth`
/// replies, on servers of every version.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthReply {
    failure_tolerance: u64,
    healthy: bool,
    servers: Option<Vec<ServerHealthReply>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ServerHealthReply {
    address: String,
    healthy: bool,
    #[serde(rename = "ID")]
    id: String,
    last_contact: GoDuration,
    last_index: u64,
    last_term: u64,
    leader: bool,
    name: String,
    serf_status: u8,
    stable_since: Timestamp,
    version: String,
    voter: bool,
}

impl From<OperatorHealth> for HealthReply {
    fn from(health: OperatorHealth) -> Self {
        let servers = health.servers.into_iter().map(|server| ServerHealthReply {
            address: server.address,
            healthy: server.healthy,
            id: server.id,
            last_contact: server.last_contact,
            last_index: server.last_index,
            last_term: server.last_term,
            leader: server.leader,
            name: server.name,
            serf_status: serf_number(&server.serf_status),
            stable_since: server.stable_since,
            version: server.version,
            voter: server.voter,
        });
        Self {
            failure_tolerance: health.failure_tolerance,
            healthy: health.healthy,
            servers: Some(servers.collect()),
        }
    }
}

impl From<HealthReply> for OperatorHealth {
    fn from(reply: HealthReply) -> Self {
        let servers = reply.servers.unwrap_or_default().into_iter().map(|server| ServerHealth {
            id: server.id,
            name: server.name,
            address: server.address,
            serf_status: serf_status(server.serf_status).to_owned(),
            version: server.version,
            leader: server.leader,
            last_contact: server.last_contact,
            last_term: server.last_term,
            last_index: server.last_index,
            healthy: server.healthy,
            voter: server.voter,
            stable_since: server.stable_since,
        });
        Self {
            healthy: reply.healthy,
            failure_tolerance: reply.failure_tolerance,
            servers: servers.collect(),
        }
    }
}

/// Serf's number of a status; that of none for a word that is none.
fn serf_number(text: &str) -> u8 {
    let known = SERF_STATUSES.iter().zip(0..).find(|(known, _)| **known == text);
    known.map_or(0, |(_, number)| number)
}

fn serf_status(number: u8) -> &'static str {
    SERF_STATUSES.get(usize::from(number)).copied().unwrap_or(SERF_STATUSES[0])
}

#[cfg(test)]
mod tests {
    use types::msgpack;

    use super::*;

    #[test]
    fn the_health_of_servers_crosses_the_port_and_comes_back_as_it_was() {
        let server = ServerHealth {
            id: "i".to_owned(),
            name: "n".to_owned(),
            serf_status: "failed".to_owned(),
            last_term: 3,
            voter: true,
            ..ServerHealth::default()
        };
        let health = OperatorHealth { healthy: true, failure_tolerance: 1, servers: vec![server] };
        let bytes = msgpack::to_vec(&HealthReply::from(health.clone()));
        let reply: HealthReply = msgpack::from_slice(&bytes).expect("it was written");
        assert_eq!(OperatorHealth::from(reply), health);
        let none: HealthReply = msgpack::from_slice(b"\x81\xa7Servers\xc0").expect("nil is none");
        assert_eq!(OperatorHealth::from(none), OperatorHealth::default());
    }
}
