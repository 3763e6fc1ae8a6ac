//! Maintenance mode of the node and of services (`reference/http-api.md` 3.6).

use contract::{CallError, Request, Response};
use http::Method;
use http_server::{LocalRoute, Reply};
use types::ServiceId;

use super::{handler, route};
use crate::local::Local;

/// The routes.
pub(crate) fn routes(local: &Local) -> Vec<LocalRoute> {
    let put = |path, handler| route(path, Method::PUT, handler);
    vec![
        put(
            "/v1/agent/maintenance",
            handler(local, |local, request| async move { of_node(&local, &request).await }),
        ),
        put(
            "/v1/agent/service/maintenance/",
            handler(local, |local, request| async move { of_service(&local, &request).await }),
        ),
    ]
}

async fn of_node(local: &Local, request: &Request) -> Result<Reply, CallError> {
    request.read_options()?;
    let enable = enable(request)?;
    local.set_node_maintenance(enable, request.params.text("reason"), &request.token).await?;
    Ok(Response::ok().into())
}

async fn of_service(local: &Local, request: &Request) -> Result<Reply, CallError> {
    request.read_options()?;
    let service = ServiceId::from(request.tail_or("Missing service ID")?);
    let enable = enable(request)?;
    let reason = request.params.text("reason");
    local.set_service_maintenance(&service, enable, reason, &request.token).await?;
    Ok(Response::ok().into())
}

/// `enable=`, with the words that Go's `ParseBool` takes.
fn enable(request: &Request) -> Result<bool, CallError> {
    match request.params.get("enable") {
        None => Err(CallError::bad_request("Missing value for enable")),
        Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
        Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
        Some(other) => Err(CallError::bad_request(format!("Invalid value for enable: {other:?}"))),
    }
}
