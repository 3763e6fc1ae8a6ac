//! `/v1/operator/`: the quorum, autopilot's view of it, and how much there is.

use std::collections::BTreeMap;

use ::acl::{Permission, Resource};
use contract::{CallError, Request, Response};
use domains::catalog::Usage;
use http::{Method, StatusCode};
use http_server::{LocalRoute, Reply};
use serde::Serialize;
use server::raft_host::{Change, ServerId, Suffrage};
use types::autopilot::{AutopilotState, OperatorHealth};
use types::query_meta::QueryMeta;
use types::usage::ServiceUsage;

use super::status::check_datacenter;
use super::{encoding, handler, json, route};
use crate::backend::read_meta;
use crate::process::AgentHandle;

/// The routes.
pub(crate) fn routes(agent: &AgentHandle) -> Vec<LocalRoute> {
    let configuration =
        handler(agent, |agent, request| async move { raft_configuration(&agent, &request).await });
    let remove_peer =
        handler(agent, |agent, request| async move { remove_peer(&agent, &request).await });
    let transfer =
        handler(agent, |agent, request| async move { transfer_leader(&agent, &request).await });
    let health = handler(agent, |agent, request| async move {
        let health = OperatorHealth::from(&autopilot_state(&agent, &request).await?);
        let status = if health.healthy { StatusCode::OK } else { StatusCode::TOO_MANY_REQUESTS };
        let response = Response::json(&health, encoding(&request));
        Ok(Response { status, ..response }.into())
    });
    let state = handler(agent, |agent, request| async move {
        Ok(json(&request, &autopilot_state(&agent, &request).await?))
    });
    let usage = handler(agent, |agent, request| async move { usage(&agent, &request).await });
    vec![
        route("/v1/operator/raft/configuration", Method::GET, configuration),
        route("/v1/operator/raft/peer", Method::DELETE, remove_peer),
        route("/v1/operator/raft/transfer-leader", Method::POST, transfer),
        route("/v1/operator/autopilot/health", Method::GET, health),
        route("/v1/operator/autopilot/state", Method::GET, state),
        route("/v1/operator/usage", Method::GET, usage),
    ]
}

/// Whether the token may look at the servers (`writes`: change them).
fn require(agent: &AgentHandle, request: &Request, writes: bool) -> Result<(), CallError> {
    let permission = match writes {
        true => Permission::write(Resource::Operator, ""),
        false => Permission::read(Resource::Operator, ""),
    };
    Ok((agent.authorizer())(&request.token).require(permission)?)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RaftConfiguration {
    servers: Vec<RaftServer>,
    /// Zero, whichever entry set the configuration: Consul tells no other.
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

async fn raft_configuration(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    check_datacenter(request)?;
    require(agent, request, false)?;
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
    let reply = RaftConfiguration { servers: servers.collect(), index: 0 };
    Ok(json(request, &reply))
}

/// Takes a server that will not come back out of the quorum, by `id=` or `address=`.
async fn remove_peer(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    let (id, address) = (request.params.text("id"), request.params.text("address"));
    if id.is_empty() && address.is_empty() {
        return Err(CallError::bad_request(
            "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
        ));
    }
    if !id.is_empty() && !address.is_empty() {
        return Err(CallError::bad_request("Must specify only one of ?id or ?address"));
    }
    check_datacenter(request)?;
    require(agent, request, true)?;
    let raft = agent.server().raft();
    let stats = raft.stats().await.map_err(|error| error.to_call_error())?;
    let found = stats.configuration.servers.iter().find(|server| match id {
        "" => &*server.address == address,
        id => &*server.id.0 == id,
    });
    let Some(server) = found else {
        let (what, value) = if id.is_empty() { ("address", address) } else { ("id", id) };
        return Err(CallError::failed(format!(
            "{what} {value:?} was not found in the Raft configuration"
        )));
    };
    let (id, address) = (server.id.clone(), server.address.clone());
    // Only if the configuration is still the one in which the server was found.
    let change = Change::Remove { id: id.clone() };
    raft.change_membership(change, Some(stats.configuration_index))
        .await
        .map_err(|error| error.to_call_error())?;
    tracing::warn!(target: "agent.server", id = %id.0, address = %address, "removed Raft peer");
    Ok(Response::ok().into())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Transferred {
    success: bool,
}

/// Hands the leadership to another server: to the one of `id=`, or to the one whose log is
/// the furthest.
async fn transfer_leader(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    check_datacenter(request)?;
    require(agent, request, true)?;
    let raft = agent.server().raft();
    let target = match request.params.text("id") {
        "" => None,
        id => {
            let stats = raft.stats().await.map_err(|error| error.to_call_error())?;
            let id = ServerId(id.into());
            if stats.configuration.server(&id).is_none() {
                let text = format!("Could not find address for server id {}", id.0);
                return Err(CallError::failed(text));
            }
            Some(id)
        }
    };
    raft.transfer_leadership(target).await.map_err(|error| error.to_call_error())?;
    Ok(json(request, &Transferred { success: true }))
}

async fn autopilot_state(
    agent: &AgentHandle,
    request: &Request,
) -> Result<AutopilotState, CallError> {
    check_datacenter(request)?;
    require(agent, request, false)?;
    agent.server().autopilot_state(&[agent.lan_member()]).await
}

/// How much there is, by datacenter; there is no other than this one yet, so `global` adds
/// none. What is told of a read stands in the body too.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UsageReply<'r> {
    usage: BTreeMap<&'r str, &'r ServiceUsage>,
    #[serde(flatten)]
    meta: QueryMeta,
}

async fn usage(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    let options = request.read_options()?;
    let (usage, facts) = agent.server().read_typed(Usage, &options).await?;
    let consistency = options.consistency.as_str();
    let datacenter = request.agent.datacenter.as_str();
    let reply = UsageReply {
        usage: BTreeMap::from([(datacenter, &*usage)]),
        meta: facts.to_meta(consistency),
    };
    let meta = read_meta(&facts, Some(consistency));
    Ok(Reply { meta: Some(meta), ..json(request, &reply) })
}
