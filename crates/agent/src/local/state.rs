//! What this agent runs: its services and checks, and what of them the catalog has
//! not been told yet.
//!
//! Pure: values in, values out; the time and random numbers are parameters. The
//! rules that make a service or a check out of a request are in
//! [`super::register`]; how what is dirty reaches the catalog is in [`super::sync`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use checks::status::definition::Origin;
use types::catalog::{Node, NodeService};
use types::check::{CheckDefinition, HealthCheck, Status};
use types::{CheckId, SecretId, ServiceId};

/// A service of this agent.
#[derive(Clone, Debug)]
pub(crate) struct LocalService {
    /// What the catalog is told.
    pub(crate) service: Arc<NodeService>,
    /// The token that it was registered with; empty for the agent's own.
    pub(crate) token: SecretId,
    /// Whether it came from a file or through the API.
    pub(crate) origin: Origin,
    /// Whether it is a sidecar that the agent made, which goes with its parent.
    pub(crate) is_sidecar: bool,
}

/// A check of this agent.
#[derive(Clone, Debug)]
pub(crate) struct LocalCheck {
    /// What the catalog is told.
    pub(crate) check: Arc<HealthCheck>,
    /// How it checks; `None` for maintenance mode, which nothing runs.
    pub(crate) definition: Option<Arc<CheckDefinition>>,
    /// The token that it was registered with; empty for the agent's own.
    pub(crate) token: SecretId,
    /// Whether it came from a file or through the API.
    pub(crate) origin: Origin,
}

/// Something that the catalog must be told. The order is the order of telling: a
/// check cannot be registered before its service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// The node itself.
    Node,
    /// A service: registered if there is one here, else deregistered.
    Service(ServiceId),
    /// A check, likewise.
    Check {
        /// Its service, empty for a check of the node.
        service: ServiceId,
        /// The check.
        id: CheckId,
    },
}

impl Target {
    fn of_check(check: &HealthCheck) -> Self {
        Target::Check { service: check.service_id.clone(), id: check.check_id.clone() }
    }
}

/// Services and checks, by id.
#[derive(Debug)]
pub(crate) struct State {
    /// What the catalog is told of the node.
    pub(crate) node: Node,
    services: BTreeMap<ServiceId, (LocalService, u64)>,
    checks: BTreeMap<CheckId, (LocalCheck, u64)>,
    /// What the catalog must be told.
    pub(crate) dirty: BTreeSet<Target>,
    /// Checks whose output alone changed, and when the catalog is told.
    pub(crate) deferred: BTreeMap<CheckId, Instant>,
    generation: u64,
    removed_at: u64,
}

impl State {
    /// A node with nothing on it, of which the catalog knows nothing.
    pub(crate) fn new(node: Node) -> Self {
        Self {
            node,
            services: BTreeMap::new(),
            checks: BTreeMap::new(),
            dirty: BTreeSet::from([Target::Node]),
            deferred: BTreeMap::new(),
            generation: 1,
            removed_at: 1,
        }
    }

    /// Grows with every change of a service or a check.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The service of that id.
    pub(crate) fn service(&self, id: &ServiceId) -> Option<&LocalService> {
        self.services.get(id).map(|(service, _)| service)
    }

    /// The check of that id.
    pub(crate) fn check(&self, id: &CheckId) -> Option<&LocalCheck> {
        self.checks.get(id).map(|(check, _)| check)
    }

    /// All services in the order of their ids.
    pub(crate) fn services(&self) -> impl Iterator<Item = &LocalService> {
        self.services.values().map(|(service, _)| service)
    }

    /// All checks in the order of their ids.
    pub(crate) fn checks(&self) -> impl Iterator<Item = &LocalCheck> {
        self.checks.values().map(|(check, _)| check)
    }

    /// The checks of one service; with an empty id those of the node.
    pub(crate) fn checks_of(&self, service: &ServiceId) -> impl Iterator<Item = &LocalCheck> {
        self.checks().filter(move |local| local.check.service_id == *service)
    }

    /// When a service or one of its checks changed last. A service that is not here
    /// has changed whenever anything was removed.
    ///
    /// Consul: a check of the node does not count, so an alias of a service sees a
    /// change of one only at its next evaluation (`recorded/agent-services`).
    pub(crate) fn changed_at(&self, service: &ServiceId) -> u64 {
        let own = self.services.get(service).map_or(0, |(_, version)| *version);
        let checks = self.checks.values();
        let checks = checks.filter(|(local, _)| local.check.service_id == *service);
        checks.map(|(_, version)| *version).fold(own.max(self.removed_at), u64::max)
    }

    /// Adds or replaces a service. The catalog is told even if nothing changed: a
    /// registration also repairs what was removed there behind the agent's back.
    pub(crate) fn put_service(&mut self, service: LocalService) {
        let id = service.service.id.clone();
        let known = self.services.get(&id);
        let version = match known.filter(|(known, _)| known.service == service.service) {
            Some((_, version)) => *version,
            None => self.next_generation(),
        };
        self.dirty.insert(Target::Service(id.clone()));
        self.services.insert(id, (service, version));
    }

    /// Takes over the tags that the catalog has, which it may change.
    pub(crate) fn set_tags(&mut self, id: &ServiceId, tags: Vec<String>) {
        let version = self.next_generation();
        if let Some((local, changed_at)) = self.services.get_mut(id) {
            Arc::make_mut(&mut local.service).tags = tags;
            *changed_at = version;
        }
    }

    /// Adds or replaces a check. One that is known keeps its status and its output.
    pub(crate) fn put_check(&mut self, mut local: LocalCheck) {
        let id = local.check.check_id.clone();
        if let Some((known, _)) = self.checks.get(&id) {
            if known.check.status != local.check.status || known.check.output != local.check.output
            {
                let check = Arc::make_mut(&mut local.check);
                check.status = known.check.status.clone();
                check.output.clone_from(&known.check.output);
            }
            if known.check.service_id != local.check.service_id {
                self.dirty.remove(&Target::of_check(&known.check));
            }
        }
        let version = self.next_generation();
        self.dirty.insert(Target::of_check(&local.check));
        self.checks.insert(id, (local, version));
    }

    /// Removes a service with its checks, whose ids are given back. Nothing happens
    /// when it is not here.
    pub(crate) fn remove_service(&mut self, id: &ServiceId) -> Vec<CheckId> {
        if self.services.remove(id).is_none() {
            return Vec::new();
        }
        self.removed_at = self.next_generation();
        let removed: Vec<CheckId> =
            self.checks_of(id).map(|local| local.check.check_id.clone()).collect();
        for check in &removed {
            self.forget_check(check);
        }
        // The catalog removes the checks of a service with it.
        self.dirty.insert(Target::Service(id.clone()));
        removed
    }

    /// Removes a check; whether it was here.
    pub(crate) fn remove_check(&mut self, id: &CheckId) -> bool {
        let Some(target) = self.forget_check(id) else { return false };
        self.removed_at = self.next_generation();
        self.dirty.insert(target);
        true
    }

    fn forget_check(&mut self, id: &CheckId) -> Option<Target> {
        let (local, _) = self.checks.remove(id)?;
        let target = Target::of_check(&local.check);
        self.deferred.remove(id);
        self.dirty.remove(&target);
        Some(target)
    }

    /// Takes a result of a check; whether it changed anything.
    ///
    /// The catalog is told of a new status at once, of a new output alone after half
    /// of `output_delay` and up to a whole one more (`reference/checks.md` section 7).
    pub(crate) fn update_check(
        &mut self,
        id: &CheckId,
        status: Status,
        output: String,
        output_delay: Duration,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> bool {
        let Some((local, version)) = self.checks.get_mut(id) else { return false };
        let same_status = local.check.status == status;
        if same_status && local.check.output == output {
            return false;
        }
        let check = Arc::make_mut(&mut local.check);
        check.status = status;
        check.output = output;
        self.generation += 1;
        *version = self.generation;
        let target = Target::of_check(check);
        if !same_status || output_delay.is_zero() {
            self.deferred.remove(id);
            self.dirty.insert(target);
        } else if !self.dirty.contains(&target) && !self.deferred.contains_key(id) {
            let delay = output_delay / 2 + super::sync::random_below(output_delay, rng);
            self.deferred.insert(id.clone(), now + delay);
        }
        true
    }

    /// Moves the checks whose output has waited long enough to the dirty ones.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<CheckId> = self
            .deferred
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(check, _)| check.clone())
            .collect();
        for id in due {
            self.deferred.remove(&id);
            if let Some(local) = self.check(&id) {
                let target = Target::of_check(&local.check);
                self.dirty.insert(target);
            }
        }
    }

    fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }
}

/// The id of the check that stands for maintenance mode of the node.
pub(crate) const NODE_MAINTENANCE: &str = "_node_maintenance";
const SERVICE_MAINTENANCE: &str = "_service_maintenance:";

/// The id of the check that stands for maintenance mode of a service.
pub(crate) fn service_maintenance(service: &ServiceId) -> CheckId {
    CheckId::from(format!("{SERVICE_MAINTENANCE}{service}"))
}

/// Whether a check stands for maintenance mode.
pub(crate) fn is_maintenance(check: &CheckId) -> bool {
    check == NODE_MAINTENANCE || check.as_str().starts_with(SERVICE_MAINTENANCE)
}

/// The check of maintenance mode of the node, or of `service`
/// (`reference/checks.md` section 9).
pub(crate) fn maintenance_check(
    node: &Node,
    service: Option<&NodeService>,
    reason: &str,
) -> HealthCheck {
    let (what, name) = match service {
        Some(_) => ("service", "Service Maintenance Mode"),
        None => ("node", "Node Maintenance Mode"),
    };
    let notes = match reason {
        "" => format!(
            "Maintenance mode is enabled for this {what}, but no reason was provided. This is a \
             default message."
        ),
        reason => reason.to_owned(),
    };
    HealthCheck {
        node: node.node.clone(),
        check_id: service
            .map_or(NODE_MAINTENANCE.into(), |service| service_maintenance(&service.id)),
        name: name.to_owned(),
        status: Status::Critical,
        notes,
        service_id: service.map(|service| service.id.clone()).unwrap_or_default(),
        service_name: service.map(|service| service.service.clone()).unwrap_or_default(),
        service_tags: service.map(|service| service.tags.clone()).unwrap_or_default(),
        kind: "maintenance".to_owned(),
        ..HealthCheck::default()
    }
}
