//! What the endpoints ask of the local services and checks.

use std::sync::Arc;
use std::time::Duration;

use acl::{Authorizer, Permission, Resource};
use checks::status::definition::Origin;
use checks::{NotTtl, Outcome, SavedTtl};
use contract::CallError;
use types::catalog::NodeService;
use types::check::{CheckDefinition, HealthCheck, Status};
use types::service::ServiceDefinition;
use types::{CheckId, Datacenter, NodeName, SecretId, ServiceId};

use super::register::{Asking, may_write_check, plan_check, plan_service, unlisted_checks};
use super::state::{LocalCheck, maintenance_check, service_maintenance};
use super::sync::Lane;
use super::view::{AgentService, ServiceHealth};
use super::{Local, state, unix_now};

impl Local {
    /// What the holder of a token may do.
    pub(crate) fn authorizer(&self, token: &SecretId) -> Authorizer {
        (self.shared.authorizer)(token)
    }

    /// Registers a service with its checks and its sidecar; with `replaces_checks`
    /// its other checks go.
    pub(crate) async fn register_service(
        &self,
        definition: &ServiceDefinition,
        replaces_checks: bool,
        token: &SecretId,
    ) -> Result<(), CallError> {
        let who = self.authorizer(token);
        let asking = Asking { origin: Origin::Api, token, who: &who };
        let ticket = self.shared.change(|inner| {
            let plan = plan_service(&inner.rules, &inner.state, definition, asking)?;
            let unlisted = match replaces_checks {
                true => unlisted_checks(&inner.state, &definition.effective_id(), &plan),
                false => Vec::new(),
            };
            let mut changes = self.shared.put(inner, plan)?;
            for check in unlisted {
                changes.extend(self.shared.remove_check(inner, &check));
            }
            Ok::<_, CallError>(self.shared.enqueue(changes))
        })?;
        warn_of_undiscoverable_name(definition);
        self.shared.settle(ticket).await?;
        self.shared.until_told(Lane::Service(definition.effective_id())).await;
        Ok(())
    }

    /// Removes a service, its checks, and the sidecar that was made for it.
    pub(crate) async fn deregister_service(
        &self,
        id: &ServiceId,
        token: &SecretId,
    ) -> Result<(), CallError> {
        let who = self.authorizer(token);
        let ticket = self.shared.change(|inner| {
            let known = inner.state.service(id).ok_or_else(|| unknown_service(id))?;
            let name = known.service.service.as_str();
            who.require(Permission::write(Resource::Service, name))?;
            let changes = self.shared.remove_service(inner, id);
            Ok::<_, CallError>(self.shared.enqueue(changes))
        })?;
        self.shared.settle(ticket).await?;
        self.shared.until_told(Lane::Service(id.clone())).await;
        Ok(())
    }

    /// Registers a check of the node, or of a service that is here.
    pub(crate) async fn register_check(
        &self,
        definition: &CheckDefinition,
        token: &SecretId,
    ) -> Result<(), CallError> {
        let who = self.authorizer(token);
        let asking = Asking { origin: Origin::Api, token, who: &who };
        let (ticket, lanes) = self.shared.change(|inner| {
            let plan = plan_check(&inner.rules, &inner.state, definition, asking)?;
            let lanes: Vec<Lane> =
                plan.checks.iter().map(|new| Lane::of_check(&new.check)).collect();
            let changes = self.shared.put(inner, plan)?;
            Ok::<_, CallError>((self.shared.enqueue(changes), lanes))
        })?;
        self.shared.settle(ticket).await?;
        for lane in lanes {
            self.shared.until_told(lane).await;
        }
        Ok(())
    }

    /// Removes a check.
    pub(crate) async fn deregister_check(
        &self,
        id: &CheckId,
        token: &SecretId,
    ) -> Result<(), CallError> {
        let who = self.authorizer(token);
        let (ticket, lane) = self.shared.change(|inner| {
            let known = inner.state.check(id).ok_or_else(|| unknown_check(id))?;
            may_write_check(&inner.rules, &known.check, &who)?;
            let lane = Lane::of_check(&known.check);
            let changes = self.shared.remove_check(inner, id);
            Ok::<_, CallError>((self.shared.enqueue(changes), lane))
        })?;
        self.shared.settle(ticket).await?;
        self.shared.until_told(lane).await;
        Ok(())
    }

    /// Tells a TTL check its status. When this returns, the state shows it.
    pub(crate) async fn update_ttl(
        &self,
        id: &CheckId,
        status: Status,
        output: &str,
        token: &SecretId,
    ) -> Result<(), CallError> {
        let who = self.authorizer(token);
        let (updates, lane) = {
            let inner = self.shared.lock();
            let known = inner.state.check(id).ok_or_else(|| unknown_check(id))?;
            may_write_check(&inner.rules, &known.check, &who)?;
            let handle = inner.running.get(id).ok_or_else(|| NotTtl(id.clone()));
            let updates = handle
                .and_then(checks::CheckHandle::updates)
                .map_err(|error| CallError::failed(error.to_string()))?;
            (updates, Lane::of_check(&known.check))
        };
        updates.update(status, output).await;
        let ticket = {
            let inner = self.shared.lock();
            let saved = inner.state.check(id).and_then(saved_ttl);
            match (saved, &self.shared.disk) {
                (Some(saved), Some(disk)) => Some(disk.enqueue(vec![disk.save_ttl_state(&saved)])),
                _ => None,
            }
        };
        self.shared.settle(ticket).await?;
        self.shared.until_told(lane).await;
        Ok(())
    }

    /// Puts the node into maintenance mode, or takes it out.
    pub(crate) async fn set_node_maintenance(
        &self,
        enable: bool,
        reason: &str,
        token: &SecretId,
    ) -> Result<(), CallError> {
        let node = self.node();
        self.authorizer(token).require(Permission::write(Resource::Node, node.as_str()))?;
        let id = CheckId::from(state::NODE_MAINTENANCE);
        let changed = self.set_maintenance(None, &id, enable, reason, token).await?;
        match (changed, enable) {
            (true, true) => tracing::info!(target: "agent", "Node entered maintenance mode"),
            (true, false) => tracing::info!(target: "agent", "Node left maintenance mode"),
            (false, _) => {}
        }
        Ok(())
    }

    /// Puts a service into maintenance mode, or takes it out.
    pub(crate) async fn set_service_maintenance(
        &self,
        service: &ServiceId,
        enable: bool,
        reason: &str,
        token: &SecretId,
    ) -> Result<(), CallError> {
        let known = self.service(service).ok_or_else(|| unknown_service(service))?;
        let name = known.service.as_str();
        self.authorizer(token).require(Permission::write(Resource::Service, name))?;
        let id = service_maintenance(service);
        let changed = self.set_maintenance(Some(service), &id, enable, reason, token).await?;
        match (changed, enable) {
            (true, true) => {
                tracing::info!(target: "agent", %service, "Service entered maintenance mode");
            }
            (true, false) => {
                tracing::info!(target: "agent", %service, "Service left maintenance mode");
            }
            (false, _) => {}
        }
        Ok(())
    }

    /// Whether anything changed: who enters twice keeps the first reason.
    async fn set_maintenance(
        &self,
        service: Option<&ServiceId>,
        id: &CheckId,
        enable: bool,
        reason: &str,
        token: &SecretId,
    ) -> Result<bool, CallError> {
        if self.check(id).is_some() == enable {
            return Ok(false);
        }
        let ticket = self.shared.change(|inner| {
            if !enable {
                let changes = self.shared.remove_check(inner, id);
                return Ok(self.shared.enqueue(changes));
            }
            let known = match service {
                None => None,
                Some(id) => Some(inner.state.service(id).ok_or_else(|| unknown_service(id))?),
            };
            let service = known.map(|local| &*local.service);
            let check = LocalCheck {
                check: Arc::new(maintenance_check(&inner.state.node, service, reason)),
                definition: None,
                token: token.clone(),
                origin: Origin::Api,
            };
            let plan = super::Plan { services: Vec::new(), checks: vec![check] };
            let changes = self.shared.put(inner, plan)?;
            Ok::<_, CallError>(self.shared.enqueue(changes))
        })?;
        self.shared.settle(ticket).await?;
        Ok(true)
    }

    /// The node's name.
    pub(crate) fn node(&self) -> NodeName {
        self.shared.lock().state.node.node.clone()
    }

    /// One service.
    pub(crate) fn service(&self, id: &ServiceId) -> Option<Arc<NodeService>> {
        self.shared.lock().state.service(id).map(|local| local.service.clone())
    }

    /// One check.
    pub(crate) fn check(&self, id: &CheckId) -> Option<Arc<HealthCheck>> {
        self.shared.lock().state.check(id).map(|local| local.check.clone())
    }

    /// One service as clients see it, with its hash. While the hash is `known`, waits
    /// up to `wait` for another.
    pub(crate) async fn watch_service(
        &self,
        id: &ServiceId,
        known: &str,
        wait: Duration,
    ) -> Option<(AgentService, String)> {
        let deadline = tokio::time::Instant::now() + wait;
        let mut changes = self.shared.changes.subscribe();
        loop {
            changes.borrow_and_update();
            let service = self.service(id)?;
            let (view, hash) = AgentService::new(&service, &self.datacenter()).hashed();
            if known.is_empty() || hash != known || tokio::time::Instant::now() >= deadline {
                return Some((view, hash));
            }
            tokio::select! {
                // The sender lives as long as this handle.
                _ = changes.changed() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    /// A random part of `limit`, for spreading waiters.
    pub(crate) fn random_below(&self, limit: Duration) -> Duration {
        super::sync::random_below(limit, &mut self.shared.lock().rng)
    }

    /// One service as clients see it.
    pub(crate) fn view(&self, service: &NodeService) -> AgentService {
        AgentService::new(service, &self.datacenter())
    }

    /// The health of every service that `wanted` picks, by id.
    pub(crate) fn health(&self, wanted: impl Fn(&NodeService) -> bool) -> Vec<ServiceHealth> {
        let inner = self.shared.lock();
        let datacenter = &inner.state.node.datacenter;
        let of_node = ServiceId::default();
        let services = inner.state.services().map(|local| &local.service);
        services
            .filter(|service| wanted(service))
            .map(|service| {
                let node = inner.state.checks_of(&of_node);
                let checks: Vec<Arc<HealthCheck>> = inner
                    .state
                    .checks_of(&service.id)
                    .chain(node)
                    .map(|local| local.check.clone())
                    .collect();
                ServiceHealth::new(AgentService::new(service, datacenter), &checks)
            })
            .collect()
    }

    fn datacenter(&self) -> Datacenter {
        self.shared.lock().state.node.datacenter.clone()
    }
}

fn saved_ttl(local: &LocalCheck) -> Option<SavedTtl> {
    let ttl = local.definition.as_ref()?.ttl;
    let outcome = Outcome::new(local.check.status.clone(), local.check.output.clone());
    Some(SavedTtl::new(local.check.check_id.clone(), &outcome, ttl.to_std(), unix_now()))
}

fn unknown_service(id: &ServiceId) -> CallError {
    let id = id.as_str();
    CallError::not_found(format!(
        "Unknown service ID {id:?}. Ensure that the service ID is passed, not the service name."
    ))
}

fn unknown_check(id: &CheckId) -> CallError {
    let id = id.as_str();
    CallError::not_found(format!(
        "Unknown check ID {id:?}. Ensure that the check ID is passed, not the check name."
    ))
}

/// Names that are no DNS labels are registered all the same.
fn warn_of_undiscoverable_name(definition: &ServiceDefinition) {
    let name = definition.name.as_str();
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !name.bytes().all(valid) {
        tracing::warn!(
            target: "agent",
            service = %name,
            "Service name will not be discoverable via DNS due to invalid characters. Valid \
             characters include all alpha-numerics and dashes."
        );
    } else if name.len() > 63 {
        tracing::warn!(
            target: "agent",
            service = %name,
            "Service name will not be discoverable via DNS due to it being too long. Valid \
             lengths are between 1 and 63 bytes."
        );
    }
}
