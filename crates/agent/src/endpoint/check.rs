//! `/v1/agent/check`: the checks of this agent (`reference/http-api.md` 2.2, 3.5).

use std::collections::BTreeMap;

use ::acl::{Permission, Resource};
use contract::{CallError, Request, Response};
use filter::LazyFilter;
use filter::schemas::HEALTH_CHECK;
use http::Method;
use http_server::{LocalRoute, Reply};
use serde::Deserialize;
use types::CheckId;
use types::check::{CheckDefinition, HealthCheck, Status};
use types::json::Unknown;

use super::service::DECODE;
use super::{handler, json, route};
use crate::local::Local;

/// The routes.
pub(crate) fn routes(local: &Local) -> Vec<LocalRoute> {
    let get = |path, handler| route(path, Method::GET, handler);
    let put = |path, handler| route(path, Method::PUT, handler);
    let told = |path, status: Status| {
        let tell = move |local: Local, request: Request| {
            let status = status.clone();
            async move { tell(&local, &request, status).await }
        };
        route(path, Method::PUT, handler(local, tell))
    };
    vec![
        get(
            "/v1/agent/checks",
            handler(local, |local, request| async move { list(&local, &request) }),
        ),
        put(
            "/v1/agent/check/register",
            handler(local, |local, request| async move { register(&local, &request).await }),
        ),
        put(
            "/v1/agent/check/deregister/",
            handler(local, |local, request| async move { deregister(&local, &request).await }),
        ),
        told("/v1/agent/check/pass/", Status::Passing),
        told("/v1/agent/check/warn/", Status::Warning),
        told("/v1/agent/check/fail/", Status::Critical),
        put(
            "/v1/agent/check/update/",
            handler(local, |local, request| async move { update(&local, &request).await }),
        ),
    ]
}

fn list(local: &Local, request: &Request) -> Result<Reply, CallError> {
    request.read_options()?;
    let failed = |error: &dyn std::fmt::Display| CallError::failed(error.to_string());
    let filter = match request.params.text("filter") {
        "" => None,
        text => Some(LazyFilter::compile(text, &HEALTH_CHECK).map_err(|error| failed(&error))?),
    };
    let who = local.authorizer(&request.token);
    let node = local.node();
    let checks = local.checks();
    let mut shown: BTreeMap<&str, &HealthCheck> = BTreeMap::new();
    for check in &checks {
        let permission = match check.service_id.is_empty() {
            true => Permission::read(Resource::Node, node.as_str()),
            false => Permission::read(Resource::Service, check.service_name.as_str()),
        };
        let matches = match &filter {
            _ if !who.allows(permission) => false,
            None => true,
            Some(filter) => filter.matches(check).map_err(|error| failed(&error))?,
        };
        if matches {
            shown.insert(check.check_id.as_str(), check);
        }
    }
    Ok(json(request, &shown))
}

async fn register(local: &Local, request: &Request) -> Result<Reply, CallError> {
    request.read_options()?;
    let definition: CheckDefinition = request.json(DECODE)?;
    refuse_check_id(&request.body)?;
    local.register_check(&definition, &request.token).await?;
    Ok(Response::ok().into())
}

/// A check that stands alone calls its id `ID`. The definition takes `CheckID` as
/// well, for checks inside a service.
fn refuse_check_id(body: &[u8]) -> Result<(), CallError> {
    type Object = BTreeMap<String, serde_json::Value>;
    let Ok(object) = types::json::decode::<Object>(body, Unknown::Ignore) else { return Ok(()) };
    match object.keys().find(|key| key.eq_ignore_ascii_case("CheckID")) {
        Some(key) => Err(CallError::bad_request(format!("{DECODE}json: unknown field {key:?}"))),
        None => Ok(()),
    }
}

async fn deregister(local: &Local, request: &Request) -> Result<Reply, CallError> {
    request.read_options()?;
    local.deregister_check(&CheckId::from(request.tail.as_str()), &request.token).await?;
    Ok(Response::ok().into())
}

async fn tell(local: &Local, request: &Request, status: Status) -> Result<Reply, CallError> {
    request.read_options()?;
    let id = CheckId::from(request.tail.as_str());
    local.update_ttl(&id, status, request.params.text("note"), &request.token).await?;
    Ok(Response::ok().into())
}

/// Body of `check/update`.
#[derive(Default, Deserialize)]
#[serde(rename = "checkUpdate", rename_all = "PascalCase", default)]
struct CheckUpdate {
    status: String,
    output: String,
}

async fn update(local: &Local, request: &Request) -> Result<Reply, CallError> {
    request.read_options()?;
    let update: CheckUpdate = request.json(DECODE)?;
    let status = Status::parse(&update.status).ok_or_else(|| {
        CallError::bad_request(format!("Invalid check status: '{}'", update.status))
    })?;
    let id = CheckId::from(request.tail.as_str());
    local.update_ttl(&id, status, &update.output, &request.token).await?;
    Ok(Response::ok().into())
}
