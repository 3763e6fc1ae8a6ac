//! How many nodes, services and checks there are, and how they are.

use std::collections::BTreeMap;

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use contract::{Found, Pruned, Query};
use serde::{Deserialize, Serialize};
use store::Reader;
use types::check::{HealthCheck, Status};

use super::services::instances;
use crate::catalog::{CHECKS, CHECKS_BY_INSTANCE, NODES, instance_key};

/// The overview. Consul makes a new one every few seconds; this one is never old.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CatalogOverview;

/// The answer to [`CatalogOverview`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Overview {
    nodes: Vec<Counts>,
    services: Vec<Counts>,
    checks: Vec<Counts>,
}

/// How many there are, and how many in each status. What has several checks is as bad as
/// the worst of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Counts {
    /// What is counted; all nodes are counted as one.
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    total: usize,
    passing: usize,
    warning: usize,
    critical: usize,
}

impl Counts {
    fn add(&mut self, status: &Status) {
        self.total += 1;
        match status {
            Status::Critical => self.critical += 1,
            Status::Warning => self.warning += 1,
            _ => self.passing += 1,
        }
    }
}

/// Counts by name.
#[derive(Default)]
struct Table(BTreeMap<String, Counts>);

impl Table {
    fn add(&mut self, name: &str, status: &Status) {
        let named = || Counts { name: name.to_owned(), ..Counts::default() };
        self.0.entry(name.to_owned()).or_insert_with(named).add(status);
    }

    fn rows(self) -> Vec<Counts> {
        self.0.into_values().collect()
    }
}

fn worst<'c>(checks: impl Iterator<Item = &'c HealthCheck>) -> Status {
    let mut worst = Status::Passing;
    for check in checks {
        match &check.status {
            Status::Critical => return Status::Critical,
            Status::Warning => worst = Status::Warning,
            _ => {}
        }
    }
    worst
}

impl Query for CatalogOverview {
    const NAME: &'static str = "Internal.CatalogOverview";
    type Reply = Overview;

    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied> {
        who.require(Permission::read(Resource::Operator, ""))
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Overview> {
        let index = reader.max_index_of(&["nodes", "services", "checks"]);
        let state = reader.unwatched();
        let (mut nodes, mut services, mut checks) =
            (Table::default(), Table::default(), Table::default());
        for node in state.peek_prefix(&NODES, &[]) {
            let key = instance_key(node.node.as_str(), "");
            let on_node: Vec<_> =
                state.secondary(&CHECKS, CHECKS_BY_INSTANCE, key.as_bytes()).collect();
            nodes.add("", &worst(on_node.iter().map(|check| &**check)));
        }
        for row in instances(state) {
            let status = worst(row.checks.iter().map(|check| &**check));
            services.add(row.service.service.as_str(), &status);
        }
        for check in state.peek_prefix(&CHECKS, &[]) {
            checks.add(&check.name, &check.status);
        }
        let reply =
            Overview { nodes: nodes.rows(), services: services.rows(), checks: checks.rows() };
        Found::new(index, reply)
    }

    fn prune(&self, _who: &Authorizer, reply: Overview) -> Pruned<Overview> {
        Pruned::nothing(reply)
    }
}
