//! How far each server is, in its own words: `Status.RaftStats`.

use std::collections::BTreeMap;
use std::time::Duration;

use contract::remote::{Nothing, decode_reply, encode};
use raft::ServerId;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use types::autopilot::ServerRaftStats;
use types::member::{Member, MemberStatus};

use crate::Server;
use crate::raft_host::RaftStats;
use crate::server_member::ServerMember;

/// The name of the method.
pub(crate) const RAFT_STATS: &str = "Status.RaftStats";

/// What one server said of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// How long ago it heard of the leader; `None` for never.
    pub(crate) last_contact: Option<Duration>,
    pub(crate) last_term: u64,
    pub(crate) last_index: u64,
}

impl From<&ServerRaftStats> for Known {
    fn from(stats: &ServerRaftStats) -> Self {
        Self {
            last_contact: stats.since_contact(),
            last_term: stats.last_term,
            last_index: stats.last_index,
        }
    }
}

/// Asks all other servers of the configuration that gossip takes for alive, at the same
/// time. Who does not answer in time has said nothing.
pub(crate) async fn ask_all(
    server: &Server,
    stats: &RaftStats,
    members: &[Member],
    deadline: Instant,
) -> BTreeMap<ServerId, Known> {
    let mut asked = JoinSet::new();
    let present = members.iter().filter(|member| member.status == MemberStatus::ALIVE);
    for member in present.filter_map(ServerMember::parse) {
        let listed = stats.configuration.server(&member.id).is_some();
        if !listed || member.id == stats.status.id {
            continue;
        }
        let server = server.clone();
        asked.spawn(async move {
            let answer = timeout_at(deadline, ask(&server, &member.id, deadline)).await;
            match answer {
                Ok(Ok(known)) => Some((member.id, known)),
                Ok(Err(error)) => {
                    tracing::warn!(target: "agent.server.autopilot", server = member.name, error, "error getting server health from server");
                    None
                }
                Err(_) => None,
            }
        });
    }
    let mut answers = BTreeMap::new();
    while let Some(answer) = asked.join_next().await {
        answers.extend(answer.ok().flatten());
    }
    answers
}

async fn ask(server: &Server, id: &ServerId, deadline: Instant) -> Result<Known, String> {
    let (peers, datacenter) = (server.peers(), &server.shared.options.datacenter);
    let peer = peers.server(datacenter, &id.0).ok_or("its address is not known")?;
    let wait = deadline.saturating_duration_since(Instant::now());
    let reply = peers.call(&peer, RAFT_STATS, encode(&Nothing {}), wait).await;
    let reply = reply.map_err(|error| error.to_string())?;
    let stats: ServerRaftStats =
        decode_reply(RAFT_STATS, &reply).map_err(|error| error.to_string())?;
    Ok(Known::from(&stats))
}
