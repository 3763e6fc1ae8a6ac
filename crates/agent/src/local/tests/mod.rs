//! Tests of the local part: the state and its rules, syncing, files, endpoints.

mod anti_entropy;
mod endpoints;
mod files;
mod registration;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acl::Authorizer;
use config::runtime::{AclTokens, DefinitionSource, PortRange, ScriptChecks};
use contract::{AgentFacts, CallError, Params, Request};
use http::{HeaderMap, Method};
use http_server::{BoxFuture, LocalRoute, Reply};
use types::catalog::{DeregisterRequest, Node, NodeService, RegisterRequest};
use types::check::HealthCheck;
use types::{CheckId, Index, SecretId, ServiceId};

use super::catalog::{Catalog, NodeQuery, RemoteNode};
use super::register::Rules;
use super::{Local, LocalOptions};
use crate::endpoint::{check, health, maintenance, service};

pub(super) fn rules() -> Rules {
    Rules {
        node: "a1".into(),
        scripts: ScriptChecks { local: true, remote: false },
        sidecar_ports: PortRange { min: 21000, max: 21255 },
    }
}

pub(super) fn node() -> Node {
    Node {
        id: "11111111-2222-3333-4444-555555555555".into(),
        node: "a1".into(),
        address: "127.0.0.1".to_owned(),
        datacenter: "dc1".into(),
        ..Node::default()
    }
}

pub(super) fn options() -> LocalOptions {
    LocalOptions {
        node: node(),
        is_server: true,
        data_dir: None,
        rules: rules(),
        runner: checks::Settings::default(),
        discard_output: false,
        output_delay: Duration::ZERO,
        tokens: AclTokens::default(),
        authorizer: Arc::new(|_| Authorizer::allow_all()),
        definitions: DefinitionSource::default(),
    }
}

/// The local part of the agent `a1`, which has no services.
pub(crate) fn local() -> Local {
    Local::start(options(), Arc::new(FakeCatalog::default())).expect("nothing is defined")
}

/// A catalog that keeps what it is told, in one node.
#[derive(Default)]
pub(super) struct FakeCatalog {
    inner: Mutex<Kept>,
    changed: tokio::sync::watch::Sender<()>,
}

#[derive(Default)]
struct Kept {
    node: Option<Node>,
    services: BTreeMap<ServiceId, NodeService>,
    checks: BTreeMap<CheckId, HealthCheck>,
    tokens: Vec<String>,
}

impl FakeCatalog {
    pub(super) fn service(&self, id: &str) -> Option<NodeService> {
        self.inner.lock().unwrap().services.get(id).cloned()
    }

    pub(super) fn check(&self, id: &str) -> Option<HealthCheck> {
        self.inner.lock().unwrap().checks.get(id).cloned()
    }

    /// Waits for a state, however many changes it takes.
    pub(super) async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let mut changes = self.changed.subscribe();
        while !holds(self) {
            changes.borrow_and_update();
            if holds(self) {
                return;
            }
            changes.changed().await.unwrap();
        }
    }
}

impl Catalog for FakeCatalog {
    fn remote(&self, _query: NodeQuery) -> BoxFuture<Result<RemoteNode, CallError>> {
        let kept = self.inner.lock().unwrap();
        let remote = RemoteNode {
            node: kept.node.clone().map(Arc::new),
            services: kept.services.values().cloned().map(Arc::new).collect(),
            checks: kept.checks.values().cloned().map(Arc::new).collect(),
            index: Index(1),
        };
        Box::pin(async move { Ok(remote) })
    }

    fn register(
        &self,
        request: RegisterRequest,
        token: SecretId,
    ) -> BoxFuture<Result<(), CallError>> {
        let mut kept = self.inner.lock().unwrap();
        kept.tokens.push(token.as_str().to_owned());
        if !request.skip_node_update || kept.node.is_none() {
            kept.node = Some(Node {
                id: request.id,
                node: request.node,
                address: request.address,
                datacenter: request.datacenter,
                tagged_addresses: request.tagged_addresses,
                meta: request.node_meta,
                ..Node::default()
            });
        }
        if let Some(service) = request.service {
            kept.services.insert(service.id.clone(), service);
        }
        for check in request.checks.into_iter().flatten() {
            kept.checks.insert(check.check_id.clone(), check);
        }
        drop(kept);
        self.changed.send_replace(());
        Box::pin(async { Ok(()) })
    }

    fn deregister(
        &self,
        request: DeregisterRequest,
        _token: SecretId,
    ) -> BoxFuture<Result<(), CallError>> {
        let mut kept = self.inner.lock().unwrap();
        if request.service_id.is_empty() {
            kept.checks.remove(&request.check_id);
        } else {
            kept.services.remove(&request.service_id);
            kept.checks.retain(|_, check| check.service_id != request.service_id);
        }
        drop(kept);
        self.changed.send_replace(());
        Box::pin(async { Ok(()) })
    }
}

/// The endpoints of one agent, called without sockets.
pub(crate) struct Endpoints {
    routes: Vec<LocalRoute>,
}

impl Endpoints {
    pub(super) fn new(local: &Local) -> Self {
        let families = [
            service::routes(local),
            check::routes(local),
            health::routes(local),
            maintenance::routes(local),
        ];
        Self::of(families.into_iter().flatten().collect())
    }

    pub(crate) fn of(routes: Vec<LocalRoute>) -> Self {
        Self { routes }
    }

    /// Calls `method path?query`.
    pub(crate) async fn call(&self, what: &str, body: Vec<u8>) -> Result<Reply, CallError> {
        let (method, url) = what.split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let params =
            http_server::path::parse_query(query).unwrap_or_else(|| Params::new(Vec::new()));
        let route = self
            .routes
            .iter()
            .filter(|route| {
                route.path == path || route.path.ends_with('/') && path.starts_with(route.path)
            })
            .max_by_key(|route| route.path.len())
            .unwrap_or_else(|| panic!("no route for {path}"));
        let verb = route.verbs.iter().find(|(known, _)| *known == method);
        let (_, handler) = verb.unwrap_or_else(|| panic!("{method} is not for {path}"));
        let request = Request {
            method,
            path: path.to_owned(),
            tail: path[route.path.len().min(path.len())..].to_owned(),
            params,
            headers: HeaderMap::new(),
            body: body.into(),
            token: SecretId::default(),
            remote: None,
            agent: Arc::new(AgentFacts {
                connect: true,
                coordinates: true,
                datacenter: "dc1".into(),
                node: "a1".into(),
                kv_max_value_size: 0,
                txn_max_req_len: 0,
                discovery_max_stale: Duration::ZERO,
                indents: false,
            }),
        };
        handler(request).await
    }
}
