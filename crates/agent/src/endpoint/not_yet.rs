//! Endpoints of Consul that this version does not have. They say so, which a client
//! can tell from a path that never existed.

use contract::{CallError, ErrorKind};
use http::Method;
use http_server::LocalRoute;

use super::handler;

const GET: &[Method] = &[Method::GET];
const PUT: &[Method] = &[Method::PUT];
const POST: &[Method] = &[Method::POST];
const READ_WRITE: &[Method] = &[Method::GET, Method::PUT];
const OBJECT: &[Method] = &[Method::GET, Method::PUT, Method::DELETE];

/// `reference/http-api.md` section 5, without what is built.
const PATHS: &[(&str, &[Method])] = &[
    ("/v1/agent/connect/authorize", POST),
    ("/v1/agent/connect/ca/leaf/", GET),
    ("/v1/config", PUT),
    ("/v1/config/", &[Method::GET, Method::DELETE]),
    ("/v1/connect/ca/configuration", READ_WRITE),
    ("/v1/connect/intentions", &[Method::GET, Method::POST]),
    ("/v1/connect/intentions/", OBJECT),
    ("/v1/connect/intentions/check", GET),
    ("/v1/connect/intentions/exact", OBJECT),
    ("/v1/connect/intentions/match", GET),
    ("/v1/discovery-chain/", &[Method::GET, Method::POST]),
    ("/v1/exported-services", GET),
    ("/v1/peering/", &[Method::GET, Method::DELETE]),
    ("/v1/peering/establish", POST),
    ("/v1/peering/token", POST),
    ("/v1/peerings", GET),
];

/// Everything that is not there yet.
pub(crate) fn routes() -> Vec<LocalRoute> {
    let not_yet = handler(&(), |(), request| async move {
        let text = format!("{} is not available in this version of Proconsul yet", request.path);
        Err(CallError::new(ErrorKind::NotAvailable, text))
    });
    let verbs = |methods: &[Method]| methods.iter().map(|m| (m.clone(), not_yet.clone())).collect();
    PATHS.iter().map(|(path, methods)| LocalRoute { path, verbs: verbs(methods) }).collect()
}
