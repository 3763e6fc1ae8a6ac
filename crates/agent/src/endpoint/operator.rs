//! `/v1/operator/raft/configuration`.

use ::acl::{Permission, Resource};
use http::Method;
use http_server::LocalRoute;
use raft::Suffrage;
use serde::Serialize;
use server::Server;

use super::status::check_datacenter;
use super::{AuthorizerHook, handler, json, route};

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

/// The routes; `node` and `node_id` are of this server.
pub(crate) fn routes(
    server: &Server,
    node: &str,
    node_id: &str,
    authorizer: &AuthorizerHook,
) -> Vec<LocalRoute> {
    let shared = (server.clone(), node.to_owned(), node_id.to_owned(), authorizer.clone());
    let configuration = handler(&shared, |(server, node, node_id, authorizer), request| async move {
        check_datacenter(&request)?;
        authorizer(&request.token).require(Permission::read(Resource::Operator, ""))?;
        let raft = server.raft();
        let leader = raft.leader();
        let status = raft.status();
        let servers = raft.configuration().servers.into_iter().map(|member| {
            let id = member.id.0.to_string();
            RaftServer {
                node: if id == node_id { node.clone() } else { "(unknown)".to_owned() },
                address: member.address.to_string(),
                leader: leader.as_ref().is_some_and(|leader| leader.id == member.id),
                protocol_version: "3",
                voter: member.suffrage == Suffrage::Voter,
                last_index: if id == node_id { status.last_index.0 } else { 0 },
                id,
            }
        });
        let reply =
            RaftConfiguration { servers: servers.collect(), index: status.configuration_index.0 };
        Ok(json(&request, &reply))
    });
    vec![route("/v1/operator/raft/configuration", Method::GET, configuration)]
}
