//! All instances of a service in a few numbers.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use types::Datacenter;
use types::catalog::{CheckServiceNode, NodeService};
use types::check::Status;

/// The kind of an instance that stands for another service in the mesh.
pub(super) const PROXY: &str = "connect-proxy";

/// The metadata that says which system registered an instance.
const EXTERNAL_SOURCE: &str = "external-source";

/// A service. What nobody gave is `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ServiceSummary {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) datacenter: Datacenter,
    pub(super) tags: Option<BTreeSet<String>>,
    pub(super) nodes: Option<BTreeSet<String>>,
    pub(super) external_sources: Option<BTreeSet<String>>,
    pub(super) instance_count: usize,
    pub(super) checks_passing: usize,
    pub(super) checks_warning: usize,
    pub(super) checks_critical: usize,
    pub(super) gateway_config: GatewayConfig,
    pub(super) transparent_proxy: bool,
    pub(super) connect_native: bool,
}

/// What a gateway serves. There are no gateways yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct GatewayConfig {}

/// Summaries of services by name, as instance by instance is taken in.
#[derive(Debug, Default)]
pub(super) struct Summaries {
    by_name: BTreeMap<String, Gathered>,
}

/// What is known of a service so far.
#[derive(Debug, Default)]
struct Gathered {
    summary: ServiceSummary,
    /// Node and id of each check, so that none is counted twice.
    checks: BTreeMap<(String, String), Status>,
    has_proxy: bool,
}

impl Summaries {
    /// The summaries of all services that these are instances of.
    pub(super) fn of<'r>(rows: impl IntoIterator<Item = &'r CheckServiceNode>) -> Self {
        let mut summaries = Self::default();
        for row in rows {
            summaries.add(row);
        }
        summaries
    }

    fn add(&mut self, row: &CheckServiceNode) {
        let service = &row.service;
        let own = self.by_name.entry(service.service.as_str().to_owned()).or_default();
        own.add_instance(row);
        own.add_checks(row);
        // How a service is depends on the proxies that stand before it.
        let target = service.proxy.destination_service_name.as_str();
        if service.kind == PROXY && !target.is_empty() {
            let target = self.by_name.entry(target.to_owned()).or_default();
            target.has_proxy = true;
            target.summary.transparent_proxy |= is_transparent(service);
            target.add_checks(row);
        }
    }

    /// The summary of a service, with whether a proxy stands for it. One without instances
    /// has a name and no more.
    pub(super) fn get(&self, name: &str) -> (ServiceSummary, bool) {
        match self.by_name.get(name) {
            Some(gathered) if gathered.summary.instance_count > 0 => gathered.finish(),
            _ => (ServiceSummary { name: name.to_owned(), ..ServiceSummary::default() }, false),
        }
    }

    /// The names of all services with instances, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let present = self.by_name.iter().filter(|(_, one)| one.summary.instance_count > 0);
        present.map(|(name, _)| name.as_str())
    }
}

impl Gathered {
    fn add_instance(&mut self, row: &CheckServiceNode) {
        let (service, summary) = (&row.service, &mut self.summary);
        summary.instance_count += 1;
        summary.kind.clone_from(&service.kind);
        summary.name = service.service.as_str().to_owned();
        summary.datacenter = row.node.datacenter.clone();
        insert(&mut summary.nodes, row.node.node.as_str());
        for tag in &service.tags {
            insert(&mut summary.tags, tag);
        }
        let source = service.meta.as_ref().and_then(|meta| meta.get(EXTERNAL_SOURCE));
        if let Some(source) = source.filter(|source| !source.is_empty()) {
            insert(&mut summary.external_sources, source);
        }
        summary.connect_native |= service.connect.native;
        summary.transparent_proxy |= is_transparent(service);
    }

    fn add_checks(&mut self, row: &CheckServiceNode) {
        for check in &row.checks {
            let id = (check.node.as_str().to_owned(), check.check_id.as_str().to_owned());
            self.checks.insert(id, check.status.clone());
        }
    }

    fn finish(&self) -> (ServiceSummary, bool) {
        let count = |wanted: Status| self.checks.values().filter(|s| **s == wanted).count();
        let summary = ServiceSummary {
            checks_passing: count(Status::Passing),
            checks_warning: count(Status::Warning),
            checks_critical: count(Status::Critical),
            ..self.summary.clone()
        };
        (summary, self.has_proxy)
    }
}

fn is_transparent(service: &NodeService) -> bool {
    service.proxy.mode == "transparent"
}

fn insert(set: &mut Option<BTreeSet<String>>, text: &str) {
    set.get_or_insert_default().insert(text.to_owned());
}
