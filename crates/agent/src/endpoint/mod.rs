//! The HTTP endpoints that are about this agent or this server, not about the state.
//!
//! Each file gives the routes of one family. Handlers get what they need when they
//! are made; none of them reaches for a global.

pub(crate) mod acl;
pub(crate) mod agent;
pub(crate) mod check;
pub(crate) mod coordinate;
pub(crate) mod datacenters;
pub(crate) mod event;
pub(crate) mod explain;
pub(crate) mod health;
pub(crate) mod host;
pub(crate) mod keyring;
pub(crate) mod maintenance;
pub(crate) mod metrics;
pub(crate) mod metrics_proxy;
pub(crate) mod monitor;
pub(crate) mod not_yet;
pub(crate) mod operator;
pub(crate) mod pprof;
pub(crate) mod service;
pub(crate) mod snapshot;
pub(crate) mod status;

use std::future::Future;
use std::sync::Arc;

use contract::{CallError, Encoding, Request, Response};
use http::Method;
use http_server::{LocalHandler, LocalRoute, Reply};
use types::SecretId;

/// What a token may do.
pub(crate) type AuthorizerHook = Arc<dyn Fn(&SecretId) -> ::acl::Authorizer + Send + Sync>;

/// A route of one method.
pub(crate) fn route(path: &'static str, method: Method, handler: LocalHandler) -> LocalRoute {
    LocalRoute { path, verbs: vec![(method, handler)] }
}

/// A handler over some shared part of the agent.
pub(crate) fn handler<T, F, Fut>(shared: &T, run: F) -> LocalHandler
where
    T: Clone + Send + Sync + 'static,
    F: Fn(T, Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Reply, CallError>> + Send + 'static,
{
    let shared = shared.clone();
    Arc::new(move |request| Box::pin(run(shared.clone(), request)))
}

/// How JSON is laid out for this request.
pub(crate) fn encoding(request: &Request) -> Encoding {
    if request.agent.indents || request.params.has("pretty") {
        Encoding::Indented
    } else {
        Encoding::Compact
    }
}

/// A value as JSON.
pub(crate) fn json<T: serde::Serialize + ?Sized>(request: &Request, value: &T) -> Reply {
    Response::json(value, encoding(request)).into()
}
