//! `/v1/operator/raft/configuration`.

use ::acl::{Permission, Resource};
use http::Method;
use http_server::LocalRoute;
use serde::Serialize;
use server::raft_host::Suffrage;

use super::status::check_datacenter;
use super::{handler, json, route};
use crate::process::AgentHandle;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RaftConfiguration {
    servers: Vec<RaftServer>,
    index: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RaftServer {
    #[serde(rename = "ID")]
    id: String,
    node: String,
    address: String,
    leader: bool,
    protocol_version: &'static str,
    voter: bool,
    last_index: u64,
}

/// The routes.
pub(crate) fn routes(agent: &AgentHandle) -> Vec<LocalRoute> {
    let configuration = handler(agent, |agent, request| async move {
        check_datacenter(&request)?;
        let who = (agent.authorizer())(&request.token);
        who.require(Permission::read(Resource::Operator, ""))?;
        let raft = agent.server().raft();
        let leader = raft.leader();
        let stats = raft.stats().await.map_err(|error| error.to_call_error())?;
        let (node, node_id) = (agent.config().identity.node_name.clone(), agent.node_id());
        let servers = stats.configuration.servers.iter().map(|member| {
            let is_this = &*member.id.0 == node_id.as_str();
            RaftServer {
                id: member.id.0.to_string(),
                node: if is_this { node.as_str().to_owned() } else { "(unknown)".to_owned() },
                address: member.address.to_string(),
                leader: leader.as_ref().is_some_and(|leader| leader.id == member.id),
                protocol_version: "3",
                voter: member.suffrage == Suffrage::Voter,
                last_index: if is_this { stats.status.last.index.0 } else { 0 },
            }
        });
        let reply =
            RaftConfiguration { servers: servers.collect(), index: stats.configuration_index.0 };
        Ok(json(&request, &reply))
    });
    vec![route("/v1/operator/raft/configuration", Method::GET, configuration)]
}
