//! Services and checks in the shapes that the agent's endpoints show
//! (`reference/http-api.md` 1.15 "AgentService", 3.7).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};
use types::catalog::{Locality, NodeService, ServiceAddress, Weights};
use types::check::{HealthCheck, Status};
use types::proxy::ConnectProxy;
use types::{CheckId, Datacenter, Index, NodeName, ServiceId, ServiceName};

use super::content_hash;
use super::state::is_maintenance;

/// A service as clients of an agent see it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AgentService {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) kind: String,
    #[serde(rename = "ID")]
    pub(super) id: ServiceId,
    pub(super) service: ServiceName,
    pub(super) tags: Vec<String>,
    pub(super) meta: BTreeMap<String, String>,
    pub(super) port: i64,
    pub(super) address: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) socket_path: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tagged_addresses: BTreeMap<String, ServiceAddress>,
    pub(super) weights: Weights,
    pub(super) enable_tag_override: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    content_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) proxy: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connect: Option<AgentConnect>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) peer_name: String,
    datacenter: Datacenter,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<Locality>,
}

/// `Connect` of a service.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AgentConnect {
    pub(super) native: bool,
}

impl AgentService {
    /// The view of a service in the agent's datacenter.
    pub(crate) fn new(service: &NodeService, datacenter: &Datacenter) -> Self {
        let proxies = service.kind == "connect-proxy" || service.kind.ends_with("-gateway");
        let shows_proxy = proxies || *service.proxy != ConnectProxy::default();
        Self {
            kind: service.kind.clone(),
            id: service.id.clone(),
            service: service.service.clone(),
            tags: service.tags.clone(),
            meta: service.meta.clone().unwrap_or_default(),
            port: service.port,
            address: service.address.clone(),
            socket_path: service.socket_path.clone(),
            tagged_addresses: service.tagged_addresses.clone().unwrap_or_default(),
            weights: service.weights.clone().unwrap_or_default(),
            enable_tag_override: service.enable_tag_override,
            content_hash: String::new(),
            proxy: shows_proxy.then(|| proxy_json(&service.proxy)),
            connect: service.connect.native.then_some(AgentConnect { native: true }),
            peer_name: service.peer_name.clone(),
            datacenter: datacenter.clone(),
            locality: service.locality.clone(),
        }
    }

    /// The same with its hash filled in, and that hash.
    pub(crate) fn hashed(mut self) -> (Self, String) {
        let hash = content_hash::of(&self);
        self.content_hash.clone_from(&hash);
        (self, hash)
    }
}

/// `Proxy` as clients see it: no empty mode, `ParsedFromCheck` always there.
fn proxy_json(proxy: &ConnectProxy) -> Json {
    let Ok(Json::Object(mut object)) = serde_json::to_value(proxy) else { return Json::Null };
    if proxy.mode.is_empty() {
        object.remove("Mode");
    }
    if let Some(Json::Array(upstreams)) = object.get_mut("Upstreams") {
        for upstream in upstreams.iter_mut().filter_map(Json::as_object_mut) {
            upstream.remove("CentrallyConfigured");
            if upstream.get("Datacenter").is_some_and(|datacenter| datacenter == "") {
                upstream.remove("Datacenter");
            }
        }
    }
    let paths = object.get_mut("Expose").and_then(|expose| expose.get_mut("Paths"));
    if let Some(Json::Array(paths)) = paths {
        for path in paths.iter_mut().filter_map(Json::as_object_mut) {
            path.entry("ParsedFromCheck").or_insert(Json::Bool(false));
        }
    }
    Json::Object(object)
}

/// A check as the agent's health endpoints show it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ClientCheck {
    node: NodeName,
    #[serde(rename = "CheckID")]
    check_id: CheckId,
    name: String,
    status: Status,
    notes: String,
    output: String,
    #[serde(rename = "ServiceID")]
    service_id: ServiceId,
    service_name: ServiceName,
    #[serde(serialize_with = "null_when_empty")]
    service_tags: Vec<String>,
    #[serde(rename = "Type")]
    kind: &'static str,
    exposed_port: i64,
    definition: ClientDefinition,
    create_index: Index,
    modify_index: Index,
}

impl ClientCheck {
    fn new(check: &HealthCheck) -> Self {
        Self {
            node: check.node.clone(),
            check_id: check.check_id.clone(),
            name: check.name.clone(),
            status: check.status.clone(),
            notes: check.notes.clone(),
            output: check.output.clone(),
            service_id: check.service_id.clone(),
            service_name: check.service_name.clone(),
            service_tags: check.service_tags.clone(),
            kind: "",
            exposed_port: check.exposed_port,
            definition: ClientDefinition,
            create_index: check.create_index,
            modify_index: check.modify_index,
        }
    }
}

fn null_when_empty<S: Serializer>(tags: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match tags {
        [] => serializer.serialize_none(),
        tags => tags.serialize(serializer),
    }
}

/// `Definition` of a check that an agent manages: nothing, spelled out.
#[derive(Clone, Copy, Debug)]
struct ClientDefinition;

impl Serialize for ClientDefinition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts = [
            ("Body", ""),
            ("DeregisterCriticalServiceAfter", "0s"),
            ("GRPC", ""),
            ("HTTP", ""),
            ("Interval", "0s"),
            ("Method", ""),
            ("OSService", ""),
            ("TCP", ""),
            ("TLSServerName", ""),
            ("Timeout", "0s"),
            ("UDP", ""),
        ];
        let mut object: Map<String, Json> =
            texts.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
        for flag in ["GRPCUseTLS", "TCPUseTLS", "TLSSkipVerify"] {
            object.insert(flag.to_owned(), Json::Bool(false));
        }
        object.insert("Header".to_owned(), Json::Null);
        object.serialize(serializer)
    }
}

/// How a service of this agent is, from its own checks and those of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aggregate {
    /// All checks pass.
    Passing,
    /// Some check warns.
    Warning,
    /// Some check is critical.
    Critical,
    /// The node or the service is in maintenance mode.
    Maintenance,
}

impl Aggregate {
    /// The worst of some checks.
    pub(crate) fn of<'c>(checks: impl Iterator<Item = &'c HealthCheck>) -> Self {
        let one = |check: &HealthCheck| match &check.status {
            _ if is_maintenance(&check.check_id) => Aggregate::Maintenance,
            Status::Passing => Aggregate::Passing,
            Status::Warning => Aggregate::Warning,
            Status::Critical | Status::Other(_) => Aggregate::Critical,
        };
        checks.map(one).max().unwrap_or(Aggregate::Passing)
    }

    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Aggregate::Passing => "passing",
            Aggregate::Warning => "warning",
            Aggregate::Critical => "critical",
            Aggregate::Maintenance => "maintenance",
        }
    }
}

/// A service with its checks and what they come to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ServiceHealth {
    aggregated_status: &'static str,
    service: Option<AgentService>,
    checks: Option<Vec<ClientCheck>>,
    #[serde(skip)]
    pub(crate) aggregate: Aggregate,
}

impl ServiceHealth {
    /// The health of a service with these checks, which include those of the node.
    pub(crate) fn new(service: AgentService, checks: &[Arc<HealthCheck>]) -> Self {
        let aggregate = Aggregate::of(checks.iter().map(|check| &**check));
        Self {
            aggregated_status: aggregate.as_str(),
            service: Some(service),
            checks: Some(checks.iter().map(|check| ClientCheck::new(check)).collect()),
            aggregate,
        }
    }

    /// What is told of a service that does not exist.
    pub(crate) fn missing() -> Self {
        let aggregate = Aggregate::Critical;
        Self { aggregated_status: aggregate.as_str(), service: None, checks: None, aggregate }
    }
}
