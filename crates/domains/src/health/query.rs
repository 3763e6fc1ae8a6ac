//! Reads of checks, and of instances with their checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use acl::{Authorizer, PermissionDenied};
use contract::{CallError, Found, Interest, Pruned, Query};
use filter::schemas;
use store::{Reader, State};
use types::catalog::{CheckServiceNode, Node};
use types::check::HealthCheck;

use crate::catalog::{
    self, CHECKS, CHECKS_BY_INSTANCE, CHECKS_BY_SERVICE, InstanceSelection, NODES, RowFilter,
    ServiceRow, instance_key, node_key, service_key,
};
use crate::coordinate::Near;

/// The checks of a node, those of its instances included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HealthNode {
    /// The node.
    pub node: String,
    /// `filter=`.
    pub filter: RowFilter,
}

impl Query for HealthNode {
    const NAME: &'static str = "Health.NodeChecks";
    type Reply = Vec<Arc<HealthCheck>>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = catalog::node_index(reader, &self.node);
        let key = node_key(&self.node);
        Found::new(index, reader.unwatched().prefix(&CHECKS, key.as_bytes()).collect())
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::keep(reply, |check| catalog::can_see_check(who, check))
    }

    fn refine(&self, mut reply: Self::Reply) -> Result<Self::Reply, CallError> {
        self.filter.keep(&schemas::HEALTH_CHECK, &mut reply, |check| check)?;
        Ok(reply)
    }
}

/// The checks of all instances of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HealthChecksOfService {
    /// The service.
    pub service: String,
    /// Metadata that the node must have.
    pub node_meta: BTreeMap<String, String>,
    /// `near=`.
    pub near: Near,
    /// `filter=`.
    pub filter: RowFilter,
}

impl Query for HealthChecksOfService {
    const NAME: &'static str = "Health.ServiceChecks";
    type Reply = Vec<Arc<HealthCheck>>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = catalog::service_index(reader, &self.service);
        let state = reader.unwatched();
        let key = service_key(&self.service);
        let mut checks: Vec<_> = state
            .secondary(&CHECKS, CHECKS_BY_SERVICE, key.as_bytes())
            .filter(|check| on_node_with(state, check, &self.node_meta))
            .collect();
        self.near.sort(reader, &mut checks, |check| check.node.as_str());
        Found::new(index, checks)
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::keep(reply, |check| catalog::can_see_check(who, check))
    }

    fn refine(&self, mut reply: Self::Reply) -> Result<Self::Reply, CallError> {
        self.filter.keep(&schemas::HEALTH_CHECK, &mut reply, |check| check)?;
        Ok(reply)
    }
}

/// All checks in a status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HealthState {
    /// The status, or `any`.
    pub status: String,
    /// Metadata that the node must have.
    pub node_meta: BTreeMap<String, String>,
    /// `near=`.
    pub near: Near,
    /// `filter=`.
    pub filter: RowFilter,
}

impl Query for HealthState {
    const NAME: &'static str = "Health.ChecksInState";
    type Reply = Vec<Arc<HealthCheck>>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = reader.max_index_of(&["checks"]);
        let state = reader.unwatched();
        let mut checks: Vec<_> = state
            .prefix(&CHECKS, &[])
            .filter(|check| self.status == "any" || check.status.as_str() == self.status)
            .filter(|check| on_node_with(state, check, &self.node_meta))
            .collect();
        self.near.sort(reader, &mut checks, |check| check.node.as_str());
        Found::new(index, checks)
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::keep(reply, |check| catalog::can_see_check(who, check))
    }

    fn refine(&self, mut reply: Self::Reply) -> Result<Self::Reply, CallError> {
        self.filter.keep(&schemas::HEALTH_CHECK, &mut reply, |check| check)?;
        Ok(reply)
    }
}

fn on_node_with(state: &State, check: &HealthCheck, wanted: &BTreeMap<String, String>) -> bool {
    wanted.is_empty()
        || state
            .peek(&NODES, node_key(check.node.as_str()).as_bytes())
            .is_some_and(|node| catalog::has_meta(&node.meta, wanted))
}

/// How healthy an instance must be: its own checks and those of its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum InstanceHealth {
    /// In any way.
    #[default]
    Any,
    /// None of them is critical.
    NotCritical,
    /// All of them pass.
    Passing,
}

impl InstanceHealth {
    /// Whether an instance is as healthy as this.
    pub fn fits(self, row: &CheckServiceNode) -> bool {
        row.checks.iter().all(|check| match self {
            Self::Any => true,
            Self::NotCritical => check.status.is_handed_out(false),
            Self::Passing => check.status.is_handed_out(true),
        })
    }
}

/// The instances of a service with their nodes and checks: what most clients of
/// service discovery ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HealthService {
    /// Which instances.
    pub selection: InstanceSelection,
    /// How healthy they must be.
    pub health: InstanceHealth,
    /// `filter=`.
    pub filter: RowFilter,
}

impl HealthService {
    /// Whether the answer can be made of the instances of the service alone, as a stream of
    /// changes tells them.
    pub fn is_of_one_service(&self) -> bool {
        let selection = &self.selection;
        selection.near == Near::default()
            && !selection.ingress
            && !selection.merge_central_config
            && selection.peer.is_empty()
    }

    /// The answer, of all instances of the service.
    ///
    /// # Errors
    /// `filter=` does not fit the rows.
    pub fn choose<'r>(
        &self,
        all: impl Iterator<Item = &'r CheckServiceNode>,
    ) -> Result<Vec<CheckServiceNode>, CallError> {
        let chosen = all.filter(|row| self.selection.fits(row) && self.health.fits(row));
        self.refine(chosen.cloned().collect())
    }
}

impl Query for HealthService {
    const NAME: &'static str = "Health.ServiceNodes";
    type Reply = Vec<CheckServiceNode>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let (index, rows) = self.selection.find(reader);
        let state = reader.unwatched();
        let entries = rows
            .into_iter()
            .map(|(node, row)| with_checks(state, node, &row))
            .filter(|entry| self.health.fits(entry))
            .collect();
        Found::new(index, entries)
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        keep_visible(who, reply)
    }

    fn refine(&self, mut reply: Self::Reply) -> Result<Self::Reply, CallError> {
        self.filter.keep(&schemas::CHECK_SERVICE_NODE, &mut reply, |entry| entry)?;
        Ok(reply)
    }

    fn interest<'q>(&'q self, reply: &Self::Reply) -> Option<Interest<'q>> {
        Some(self.selection.interest(!reply.is_empty()))
    }
}

/// An instance with the checks of its node, then its own.
pub(crate) fn with_checks(state: &State, node: Arc<Node>, row: &ServiceRow) -> CheckServiceNode {
    let on_node = instance_key(row.node.as_str(), "");
    let of_instance = instance_key(row.node.as_str(), row.service.id.as_str());
    let checks = state
        .secondary(&CHECKS, CHECKS_BY_INSTANCE, on_node.as_bytes())
        .chain(state.secondary(&CHECKS, CHECKS_BY_INSTANCE, of_instance.as_bytes()))
        .collect();
    CheckServiceNode { node, service: Arc::clone(&row.service), checks }
}

/// Takes away instances, and checks of the others, that may not be seen.
pub(crate) fn keep_visible(
    who: &Authorizer,
    rows: Vec<CheckServiceNode>,
) -> Pruned<Vec<CheckServiceNode>> {
    if who.allows_everything() {
        return Pruned::nothing(rows);
    }
    let mut kept = Pruned::keep(rows, |entry| {
        let (node, service) = (entry.node.node.as_str(), entry.service.service.as_str());
        catalog::can_see_instance(who, node, service)
    });
    for entry in &mut kept.reply {
        let before = entry.checks.len();
        entry.checks.retain(|check| catalog::can_see_check(who, check));
        kept.removed |= entry.checks.len() < before;
    }
    kept
}
