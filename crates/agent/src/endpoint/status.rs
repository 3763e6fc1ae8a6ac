//! `/v1/status/`: who leads, who votes. No token is asked for.

use contract::{CallError, Request};
use http::Method;
use http_server::LocalRoute;

use super::{handler, json, route};
use crate::delegate::Delegate;

/// The two routes.
pub(crate) fn routes(delegate: &Delegate) -> Vec<LocalRoute> {
    let leader = handler(delegate, |delegate, request| async move {
        let leader = delegate.leader_address(&request.datacenter()).await?;
        Ok(json(&request, &leader))
    });
    let peers = handler(delegate, |delegate, request| async move {
        let addresses = delegate.peer_addresses(&request.datacenter()).await?;
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
