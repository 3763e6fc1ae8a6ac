//! `/v1/agent/service`: the services of this agent (`reference/http-api.md` 2.2, 3.4).

use std::collections::BTreeMap;
use std::time::Duration;

use ::acl::{Permission, Resource};
use contract::{CallError, Request, Response};
use filter::Filter;
use filter::schemas::NODE_SERVICE;
use http::Method;
use http_server::{LocalRoute, Reply};
use types::ServiceId;
use types::json::Unknown;
use types::service::ServiceDefinition;

use super::{handler, json, route};
use crate::local::Local;
use crate::local::view::AgentService;

/// How long a request waits for another hash that does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(300);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// The routes.
pub(crate) fn routes(local: &Local) -> Vec<LocalRoute> {
    let get = |path, handler| route(path, Method::GET, handler);
    let put = |path, handler| route(path, Method::PUT, handler);
    vec![
        get(
            "/v1/agent/services",
            handler(local, |local, request| async move { list(&local, &request) }),
        ),
        get(
            "/v1/agent/service/",
            handler(local, |local, request| async move { show(&local, &request).await }),
        ),
        put(
            "/v1/agent/service/register",
            handler(local, |local, request| async move { register(&local, &request).await }),
        ),
        put(
            "/v1/agent/service/deregister/",
            handler(local, |local, request| async move { deregister(&local, &request).await }),
        ),
    ]
}

fn list(local: &Local, request: &Request) -> Result<Reply, CallError> {
    request.read_options()?;
    let filter = match request.params.text("filter") {
        "" => None,
        text => Some(
            Filter::compile(text, &NODE_SERVICE)
                .map_err(|error| CallError::failed(error.to_string()))?,
        ),
    };
    let who = local.authorizer(&request.token);
    let services = local.services();
    let shown: BTreeMap<&str, AgentService> = services
        .iter()
        .filter(|s| who.allows(Permission::read(Resource::Service, s.service.as_str())))
        .filter(|service| filter.as_ref().is_none_or(|filter| filter.matches(service)))
        .map(|service| (service.id.as_str(), local.view(service)))
        .collect();
    Ok(json(request, &shown))
}

async fn show(local: &Local, request: &Request) -> Result<Reply, CallError> {
    let options = request.read_options()?;
    let id = ServiceId::from(request.tail.as_str());
    let unknown = || CallError::not_found(format!("unknown service ID: {id}"));
    let service = local.service(&id).ok_or_else(unknown)?;
    let permission = Permission::read(Resource::Service, service.service.as_str());
    local.authorizer(&request.token).require(permission)?;
    let wait = match options.max_wait {
        None | Some(Duration::ZERO) => WAIT_DEFAULT,
        Some(wait) => wait.min(WAIT_MAX),
    };
    let wait = wait + local.random_below(wait / 16);
    let found = local.watch_service(&id, request.params.text("hash"), wait).await;
    let (view, hash) = found.ok_or_else(unknown)?;
    let mut reply = json(request, &view);
    reply.response = reply.response.with_header("X-Consul-ContentHash", hash);
    Ok(reply)
}

async fn register(local: &Local, request: &Request) -> Result<Reply, CallError> {
    request.read_options()?;
    let definition: ServiceDefinition = request.json(DECODE)?;
    refuse_id_of_checks(&request.body)?;
    let replaces = request.params.get("replace-existing-checks");
    let replaces_checks = replaces.is_some_and(|value| value.is_empty() || value == "true");
    local.register_service(&definition, replaces_checks, &request.token).await?;
    Ok(Response::ok().into())
}

async fn deregister(local: &Local, request: &Request) -> Result<Reply, CallError> {
    request.read_options()?;
    local.deregister_service(&ServiceId::from(request.tail.as_str()), &request.token).await?;
    Ok(Response::ok().into())
}

/// What stands before the text of a body that is not understood.
pub(super) const DECODE: &str = "Request decode failed: ";

/// Inside a service a check's id is called `CheckID`. The definition takes `ID` as
/// well, for checks that stand alone.
fn refuse_id_of_checks(body: &[u8]) -> Result<(), CallError> {
    #[derive(Default, serde::Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Checks {
        check: Option<BTreeMap<String, serde_json::Value>>,
        checks: Option<Vec<BTreeMap<String, serde_json::Value>>>,
    }
    let Ok(found) = types::json::decode::<Checks>(body, Unknown::Ignore) else { return Ok(()) };
    let checks = found.check.iter().chain(found.checks.iter().flatten());
    for key in checks.flat_map(BTreeMap::keys) {
        if key.eq_ignore_ascii_case("ID") {
            return Err(CallError::bad_request(format!("{DECODE}json: unknown field {key:?}")));
        }
    }
    Ok(())
}
