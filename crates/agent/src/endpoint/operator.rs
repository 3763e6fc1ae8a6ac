//! `/v1/operator/`: the quorum, autopilot's view of it, and how much there is.

use std::collections::BTreeMap;

use contract::{CallError, ErrorKind, ReadOptions, Request, Response};
use domains::catalog::Usage;
use http::{Method, StatusCode};
use http_server::{LocalRoute, Reply};
use serde::Serialize;
use server::{Server, recovery};
use types::autopilot::AutopilotState;
use types::operator::{RaftPeer, RecoveryOrder};
use types::query_meta::QueryMeta;
use types::usage::ServiceUsage;

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
        let options = request.read_options()?;
        let health = agent.delegate().operator_health(&options, &agent.lan_members()).await?;
        let status = if health.healthy { StatusCode::OK } else { StatusCode::TOO_MANY_REQUESTS };
        let response = Response::json(&health, encoding(&request));
        Ok(Response { status, ..response }.into())
    });
    let state = handler(agent, |agent, request| async move {
        Ok(json(&request, &autopilot_state(&agent, &request).await?))
    });
    let usage = handler(agent, |agent, request| async move { usage(&agent, &request).await });
    let recovery = handler(agent, |agent, request| async move {
        let recovery = recovery::plan(own_server(&agent)?, &request.token).await?;
        Ok(json(&request, &recovery))
    });
    let recover = handler(agent, |agent, request| async move { recover(&agent, &request).await });
    vec![
        route("/v1/operator/raft/configuration", Method::GET, configuration),
        route("/v1/operator/raft/peer", Method::DELETE, remove_peer),
        route("/v1/operator/raft/transfer-leader", Method::POST, transfer),
        LocalRoute {
            path: "/v1/operator/raft/recovery",
            verbs: vec![(Method::GET, recovery), (Method::PUT, recover)],
        },
        route("/v1/operator/autopilot/health", Method::GET, health),
        route("/v1/operator/autopilot/state", Method::GET, state),
        route("/v1/operator/usage", Method::GET, usage),
    ]
}

async fn raft_configuration(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    let options = request.read_options()?;
    let reply = agent.delegate().raft_configuration(&options, &agent.lan_members()).await?;
    Ok(json(request, &reply))
}

/// Takes a server that will not come back out of the quorum, by `id=` or `address=`.
async fn remove_peer(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    let peer = match (request.params.text("id"), request.params.text("address")) {
        ("", "") => {
            return Err(CallError::bad_request(
                "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
            ));
        }
        (id, "") => RaftPeer::Id(id.to_owned()),
        ("", address) => RaftPeer::Address(address.to_owned()),
        _ => return Err(CallError::bad_request("Must specify only one of ?id or ?address")),
    };
    agent.delegate().remove_peer(&request.datacenter(), &peer, &request.token).await?;
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
    let id = Some(request.params.text("id")).filter(|id| !id.is_empty());
    agent.delegate().transfer_leadership(&request.datacenter(), id, &request.token).await?;
    Ok(json(request, &Transferred { success: true }))
}

/// The server in this process: what it is asked concerns no other.
fn own_server(agent: &AgentHandle) -> Result<&Server, CallError> {
    let not_here = "this agent is a client: ask one of the servers that are left";
    agent.delegate().server().ok_or_else(|| CallError::bad_request(not_here))
}

/// Makes the servers that are left the quorum. As that may lose what the others have, it is
/// ordered on the machine itself.
async fn recover(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    let server = own_server(agent)?;
    if request.remote.is_some_and(|remote| !remote.to_canonical().is_loopback()) {
        let text = "Permission denied: a recovery is ordered on the server itself, over a \
                    loopback address or a unix socket";
        return Err(CallError::new(ErrorKind::Denied, text));
    }
    let order: RecoveryOrder = request.json("Request decode failed: ")?;
    recovery::recover(server, (order.last_term, order.last_index), &request.token).await?;
    Ok(Response::ok().into())
}

async fn autopilot_state(
    agent: &AgentHandle,
    request: &Request,
) -> Result<AutopilotState, CallError> {
    let options = request.read_options()?;
    agent.delegate().autopilot_state(&options, &agent.lan_members()).await
}

/// How much there is, by datacenter. What is told of a read stands in the body too.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UsageReply<'r> {
    usage: &'r BTreeMap<String, ServiceUsage>,
    #[serde(flatten)]
    meta: QueryMeta,
}

async fn usage(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    let options = request.read_options()?;
    let question = Usage { datacenter: options.datacenter.clone() };
    let (usage, facts) = agent.delegate().read_typed(question, &options).await?;
    let mut usage = BTreeMap::clone(&usage);
    if request.params.has("global") {
        for datacenter in agent.delegate().datacenters().await? {
            if datacenter != options.datacenter {
                let options = ReadOptions { datacenter: datacenter.clone(), ..options.clone() };
                let there = agent.delegate().read_typed(Usage { datacenter }, &options).await?;
                usage.extend(BTreeMap::clone(&there.0));
            }
        }
    }
    let consistency = options.consistency.as_str();
    let reply = UsageReply { usage: &usage, meta: facts.to_meta(consistency) };
    let meta = read_meta(&facts, Some(consistency));
    Ok(Reply { meta: Some(meta), ..json(request, &reply) })
}
