//! `/v1/agent/health/service/`: how the services of this agent are, told in the
//! status code too (`reference/http-api.md` 3.7).

use ::acl::{Permission, Resource};
use bytes::Bytes;
use contract::{Body, CallError, Request, Response};
use http::{Method, StatusCode, header};
use http_server::{LocalRoute, Reply};
use serde::Serialize;
use types::{ServiceId, ServiceName};

use super::{handler, json, route};
use crate::local::Local;
use crate::local::view::{Aggregate, ServiceHealth};

/// The routes.
pub(crate) fn routes(local: &Local) -> Vec<LocalRoute> {
    let get = |path, handler| route(path, Method::GET, handler);
    vec![
        get(
            "/v1/agent/health/service/id/",
            handler(local, |local, request| async move { by_id(&local, &request) }),
        ),
        get(
            "/v1/agent/health/service/name/",
            handler(local, |local, request| async move { by_name(&local, &request) }),
        ),
    ]
}

fn by_id(local: &Local, request: &Request) -> Result<Reply, CallError> {
    request.read_options()?;
    let id = ServiceId::from(request.tail.as_str());
    if id.is_empty() {
        return Err(CallError::failed("Missing serviceID"));
    }
    if let Some(service) = local.service(&id) {
        may_read(local, request, service.service.as_str())?;
    }
    match local.health(|service| service.id == id).first() {
        Some(health) => {
            let aggregate = health.aggregate;
            Ok(answer(request, status_of(aggregate), aggregate.as_str(), health))
        }
        None => {
            let reason = format!("ServiceId {id} not found");
            Ok(answer(request, StatusCode::NOT_FOUND, &reason, &ServiceHealth::missing()))
        }
    }
}

fn by_name(local: &Local, request: &Request) -> Result<Reply, CallError> {
    request.read_options()?;
    let name = ServiceName::from(request.tail.as_str());
    if name.is_empty() {
        return Err(CallError::failed("Missing service Name"));
    }
    may_read(local, request, name.as_str())?;
    let found = local.health(|service| service.service == name);
    match found.iter().map(|health| health.aggregate).max() {
        Some(worst) => Ok(answer(request, status_of(worst), worst.as_str(), &found)),
        None => {
            let reason = format!("ServiceName {name} Not Found");
            Ok(answer(request, StatusCode::NOT_FOUND, &reason, &found))
        }
    }
}

fn may_read(local: &Local, request: &Request, name: &str) -> Result<(), CallError> {
    let permission = Permission::read(Resource::Service, name);
    Ok(local.authorizer(&request.token).require(permission)?)
}

fn status_of(aggregate: Aggregate) -> StatusCode {
    match aggregate {
        Aggregate::Passing => StatusCode::OK,
        Aggregate::Warning => StatusCode::TOO_MANY_REQUESTS,
        Aggregate::Critical | Aggregate::Maintenance => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn answer<T: Serialize + ?Sized>(
    request: &Request,
    status: StatusCode,
    reason: &str,
    value: &T,
) -> Reply {
    let response = if wants_text(request) {
        let bytes = Bytes::copy_from_slice(reason.as_bytes());
        let body = Body::Bytes { content_type: "text/plain", bytes };
        Response { body, ..Response::ok() }
    } else {
        json(request, value).response
    };
    let response = Response { status, ..response };
    response.with_header("X-Consul-Reason", reason).into()
}

fn wants_text(request: &Request) -> bool {
    let accept = request.headers.get(header::ACCEPT);
    request.params.text("format") == "text"
        || accept.is_some_and(|accept| accept.as_bytes() == b"text/plain")
}
