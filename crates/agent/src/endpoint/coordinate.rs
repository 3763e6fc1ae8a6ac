//! `/v1/coordinate/datacenters`: what the WAN pool knows of the servers. No token is asked for.

use contract::{CallError, ErrorKind};
use http::Method;
use http_server::LocalRoute;

use super::{handler, json, route};
use crate::delegate::Delegate;
use crate::process::AgentHandle;

/// The route.
pub(crate) fn routes(agent: &AgentHandle) -> Vec<LocalRoute> {
    let datacenters = handler(agent, |agent, request| async move {
        if !request.agent.coordinates {
            return Err(CallError::new(ErrorKind::Disabled, "Coordinate support disabled"));
        }
        let maps = match agent.delegate() {
            Delegate::Server(_) => agent.pools().datacenter_maps().await,
            Delegate::Client(client) => client.datacenter_maps().await?,
        };
        Ok(json(&request, &maps))
    });
    vec![route("/v1/coordinate/datacenters", Method::GET, datacenters)]
}
