//! What this agent knows of its services beyond what it shows on its endpoints: where
//! they came from, and whether the catalog knows of them.

use std::sync::Arc;
use std::time::Duration;

use checks::status::definition::Origin;
use types::catalog::NodeService;
use types::check::HealthCheck;
use types::{NodeName, ServiceId};

use super::state::Target;
use super::sync::Lane;
use super::trouble::Trouble;
use super::{Inner, Local, now};

/// A service of this agent, and how far the catalog knows of it.
#[derive(Clone, Debug)]
pub(crate) struct ServiceReport {
    /// The service.
    pub(crate) service: Arc<NodeService>,
    /// Whether it came from a file or through the API.
    pub(crate) origin: Origin,
    /// Its own checks.
    pub(crate) checks: Vec<Arc<HealthCheck>>,
    /// Whether the catalog knows.
    pub(crate) told: Told,
}

/// How far the catalog knows of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It was told all there is.
    Yes,
    /// It is being told, or will be in a moment.
    Soon,
    /// It could not be told.
    No(Trouble),
}

/// What this agent knows of its services.
#[derive(Clone, Debug)]
pub(crate) struct LocalReport {
    /// The node.
    pub(crate) node: NodeName,
    /// The services that were asked for.
    pub(crate) services: Vec<ServiceReport>,
    /// Why the catalog could not be read lately.
    pub(crate) unread: Option<String>,
    /// How long until everything is compared with the catalog again.
    pub(crate) next_full: Duration,
}

impl Local {
    /// Reports on the services that match.
    pub(crate) fn report(&self, matches: impl Fn(&NodeService) -> bool) -> LocalReport {
        let inner = self.shared.lock();
        let found = inner.state.services().filter(|local| matches(&local.service));
        let services = found
            .map(|local| ServiceReport {
                service: Arc::clone(&local.service),
                origin: local.origin,
                checks: inner
                    .state
                    .checks_of(&local.service.id)
                    .map(|local| Arc::clone(&local.check))
                    .collect(),
                told: told(&inner, &local.service.id),
            })
            .collect();
        LocalReport {
            node: inner.state.node.node.clone(),
            services,
            unread: inner.troubles.fetch().map(str::to_owned),
            next_full: inner.syncer.next_full().saturating_duration_since(now()),
        }
    }
}

fn told(inner: &Inner, service: &ServiceId) -> Told {
    let checks = inner
        .state
        .checks_of(service)
        .map(|local| Target::Check { service: service.clone(), id: local.check.check_id.clone() });
    let mut targets = std::iter::once(Target::Service(service.clone())).chain(checks);
    if let Some(trouble) = targets.find_map(|target| inner.troubles.of(&target)) {
        return Told::No(trouble.clone());
    }
    match inner.syncer.is_told(&Lane::Service(service.clone()), &inner.state) {
        true => Told::Yes,
        false => Told::Soon,
    }
}
