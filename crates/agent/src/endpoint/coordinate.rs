//! `/v1/coordinate/datacenters`: what the WAN pool knows of the servers. No token is asked for.

use contract::{CallError, ErrorKind};
use http::Method;
use http_server::LocalRoute;

use super::{handler, json, route};
use crate::process::AgentHandle;

/// The route.
pub(crate) fn routes(agent: &AgentHandle) -> Vec<LocalRoute> {
    let datacenters = handler(agent, |agent, request| async move {
        if !request.agent.coordinates {
            return Err(CallError::new(ErrorKind::Disabled, "Coordinate support disabled"));
        }
        Ok(json(&request, &agent.delegate().datacenter_maps().await?))
    });
    vec![route("/v1/coordinate/datacenters", Method::GET, datacenters)]
}
