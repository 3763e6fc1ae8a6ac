//! `/v1/internal/ui/metrics-proxy/`: the way of the web UI to a metrics store
//! (`reference/http-api.md` 2.18). Who may use it and for what is decided here; asking the
//! store is not there yet.

use ::acl::{Permission, Resource};
use contract::{CallError, ErrorKind, Request, Response};
use http::{Method, StatusCode};
use http_server::{LocalRoute, Reply};

use super::{handler, route};
use crate::process::AgentHandle;

const PATH: &str = "/v1/internal/ui/metrics-proxy/";

/// The route.
pub(crate) fn routes(agent: &AgentHandle) -> Vec<LocalRoute> {
    let ask = handler(agent, |agent, request| async move { ask(&agent, &request) });
    vec![route(PATH, Method::GET, ask)]
}

fn ask(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    let config = agent.config();
    if !config.ui.enabled {
        return Err(CallError::not_found("UI is not enabled"));
    }
    let proxy = &config.ui.metrics_proxy;
    if proxy.base_url.is_empty() {
        return Err(CallError::not_found("Metrics proxy is not enabled"));
    }
    // The store knows of everything.
    let who = (agent.authorizer())(&request.token);
    who.require(Permission::read(Resource::Node, ""))?;
    who.require(Permission::read(Resource::Service, ""))?;
    let asked = format!("/{}", request.tail);
    if !proxy.path_allowlist.contains(&asked) {
        return Ok(Response { status: StatusCode::FORBIDDEN, ..Response::ok() }.into());
    }
    let text = format!("{PATH} is not available in this version of Proconsul yet");
    Err(CallError::new(ErrorKind::NotAvailable, text))
}
