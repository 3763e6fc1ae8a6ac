//! `/v1/acl/`: what answers while ACLs are off.

use contract::{CallError, ErrorKind};
use http::Method;
use http_server::LocalRoute;

use super::handler;

const GET: &[Method] = &[Method::GET];
const PUT: &[Method] = &[Method::PUT];
const POST: &[Method] = &[Method::POST];
const OBJECT: &[Method] = &[Method::GET, Method::PUT, Method::DELETE];

const PATHS: &[(&str, &[Method])] = &[
    ("/v1/acl/auth-method", PUT),
    ("/v1/acl/auth-method/", OBJECT),
    ("/v1/acl/auth-methods", GET),
    ("/v1/acl/binding-rule", PUT),
    ("/v1/acl/binding-rule/", OBJECT),
    ("/v1/acl/binding-rules", GET),
    ("/v1/acl/bootstrap", PUT),
    ("/v1/acl/login", POST),
    ("/v1/acl/logout", POST),
    ("/v1/acl/policies", GET),
    ("/v1/acl/policy", PUT),
    ("/v1/acl/policy/", OBJECT),
    ("/v1/acl/policy/name/", GET),
    ("/v1/acl/replication", GET),
    ("/v1/acl/role", PUT),
    ("/v1/acl/role/", OBJECT),
    ("/v1/acl/role/name/", GET),
    ("/v1/acl/roles", GET),
    ("/v1/acl/templated-policies", GET),
    ("/v1/acl/templated-policy/name/", GET),
    ("/v1/acl/templated-policy/preview/", POST),
    ("/v1/acl/token", PUT),
    ("/v1/acl/token/", OBJECT),
    ("/v1/acl/token/self", GET),
    ("/v1/acl/tokens", GET),
    ("/v1/agent/token/", PUT),
    ("/v1/internal/acl/authorize", POST),
];

/// Everything about ACLs.
pub(crate) fn routes() -> Vec<LocalRoute> {
    let off = handler(&(), |(), _| async {
        Err(CallError::new(ErrorKind::Disabled, "ACL support disabled"))
    });
    let verbs = |methods: &[Method]| methods.iter().map(|m| (m.clone(), off.clone())).collect();
    PATHS.iter().map(|(path, methods)| LocalRoute { path, verbs: verbs(methods) }).collect()
}
