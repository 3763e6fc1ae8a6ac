//! `/v1/status/`: who leads, who votes. No token is asked for.

use contract::{CallError, Request};
use http::Method;
use http_server::LocalRoute;
use server::Server;

use super::{handler, json, route};

/// The two routes.
pub(crate) fn routes(server: &Server) -> Vec<LocalRoute> {
    let leader = handler(server, |server, request| async move {
        check_datacenter(&request)?;
        let leader = server.raft().leader().map(|leader| leader.address.to_string());
        Ok(json(&request, &leader.unwrap_or_default()))
    });
    let peers = handler(server, |server, request| async move {
        check_datacenter(&request)?;
        let stats = server.raft().stats().await.map_err(|error| error.to_call_error())?;
        let addresses: Vec<String> =
            stats.configuration.servers.iter().map(|server| server.address.to_string()).collect();
        Ok(json(&request, &addresses))
    });
    vec![
        route("/v1/status/leader", Method::GET, leader),
        route("/v1/status/peers", Method::GET, peers),
    ]
}

/// Other datacenters cannot be asked yet.
pub(super) fn check_datacenter(request: &Request) -> Result<(), CallError> {
    if request.datacenter() == request.agent.datacenter {
        return Ok(());
    }
    Err(CallError::no_path_to_datacenter())
}
