//! Everything at once: what files define and what was kept, at start and on reload.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use acl::Authorizer;
use checks::SavedTtl;
use checks::status::definition::Origin;
use config::runtime::DefinitionSource;
use contract::CallError;
use thiserror::Error;
use types::check::Status;
use types::{CheckId, SecretId, ServiceId};

use super::persist::{Change, Saved};
use super::register::{Asking, Plan, plan_check, plan_service};
use super::sidecar::sidecar_id;
use super::state::{LocalCheck, State, is_maintenance};
use super::{Inner, Shared};

/// A definition that cannot be registered.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum LoadError {
    /// A service of the files.
    #[error("Failed to register service {name:?}: {reason}")]
    Service {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A check of the files.
    #[error("Failed to register check {name:?}: {reason}")]
    Check {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
}

impl LoadError {
    /// What the caller of a reload reads.
    pub(crate) fn on_reload(&self) -> String {
        match self {
            LoadError::Service { .. } => format!("Failed reloading services: {self}"),
            LoadError::Check { .. } => format!("Failed reloading checks: {self}"),
        }
    }
}

/// What the agent should have, and which of its files no longer count.
struct Wanted {
    plan: Plan,
    dropped_services: Vec<ServiceId>,
    dropped_checks: Vec<CheckId>,
}

impl Shared {
    /// Makes the state what files and `saved` say. At start `now_unix` restores the
    /// states of TTL checks; on reload, where it is `None`, every check keeps its own.
    pub(super) fn load(
        &self,
        inner: &mut Inner,
        definitions: &DefinitionSource,
        saved: Saved,
        now_unix: Option<i64>,
    ) -> Result<Vec<Change>, LoadError> {
        let mut wanted = want(inner, definitions, saved, now_unix)?;
        let kept: BTreeSet<CheckId> = wanted
            .plan
            .checks
            .iter()
            .filter(|local| is_unchanged(inner, local))
            .map(|local| local.check.check_id.clone())
            .collect();
        let fresh = |local: &&LocalCheck| !kept.contains(&local.check.check_id);
        let mut started = Vec::new();
        for local in wanted.plan.checks.iter().filter(fresh) {
            let handles = self.start_checks(inner, std::iter::once(local));
            started.extend(handles.map_err(|error| start_error(local, &error))?);
        }
        self.remove_unwanted(inner, &wanted.plan);
        for service in wanted.plan.services.drain(..) {
            let same = inner.state.service(&service.service.id).is_some_and(|known| {
                known.service == service.service
                    && known.token == service.token
                    && known.origin == service.origin
            });
            if !same {
                inner.state.put_service(service);
            }
        }
        for check in wanted.plan.checks.drain(..) {
            if !kept.contains(&check.check.check_id) {
                inner.put_check(check);
            }
        }
        inner.running.extend(started);
        let mut changes = Vec::new();
        if let Some(disk) = &self.disk {
            changes.extend(wanted.dropped_services.iter().map(|id| disk.remove_service(id)));
            changes.extend(wanted.dropped_checks.iter().map(|id| disk.remove_check(id)));
        }
        Ok(changes)
    }

    fn remove_unwanted(&self, inner: &mut Inner, plan: &Plan) {
        let services: BTreeSet<&ServiceId> =
            plan.services.iter().map(|local| &local.service.id).collect();
        let checks: BTreeSet<&CheckId> =
            plan.checks.iter().map(|local| &local.check.check_id).collect();
        let gone: Vec<ServiceId> = inner
            .state
            .services()
            .map(|local| local.service.id.clone())
            .filter(|id| !services.contains(id))
            .collect();
        for service in gone {
            for check in inner.state.remove_service(&service) {
                // A check may have moved to another service; it is put in place later.
                inner.stop_check(&check);
            }
        }
        let gone: Vec<CheckId> = inner
            .state
            .checks()
            .map(|local| local.check.check_id.clone())
            .filter(|id| !checks.contains(id))
            .collect();
        for check in gone {
            inner.state.remove_check(&check);
            inner.stop_check(&check);
        }
    }
}

/// Whether a check runs already just as it is wanted.
fn is_unchanged(inner: &Inner, wanted: &LocalCheck) -> bool {
    let Some(known) = inner.state.check(&wanted.check.check_id) else { return false };
    let service = &wanted.check.service_id;
    let stays = service.is_empty() || inner.state.service(service).is_some();
    stays
        && known.definition == wanted.definition
        && known.token == wanted.token
        && known.origin == wanted.origin
        && known.check == wanted.check
}

fn start_error(local: &LocalCheck, error: &CallError) -> LoadError {
    let reason = error.text().to_owned();
    match local.check.service_id.is_empty() {
        true => LoadError::Check { name: local.check.name.clone(), reason },
        false => LoadError::Service { name: local.check.service_name.as_str().to_owned(), reason },
    }
}

/// Files first of all decide; what was kept gives way to them. Kept services come
/// before those of files all the same, so that the port of a sidecar that is made
/// anew is not one of theirs.
fn want(
    inner: &Inner,
    definitions: &DefinitionSource,
    saved: Saved,
    now_unix: Option<i64>,
) -> Result<Wanted, LoadError> {
    let allow_all = Authorizer::allow_all();
    let mut scratch = State::new(inner.state.node.clone());
    let (mut dropped_services, mut dropped_checks) = (Vec::new(), Vec::new());
    let of_files: BTreeSet<ServiceId> = definitions
        .services
        .iter()
        .map(types::service::ServiceDefinition::effective_id)
        .flat_map(|id| [sidecar_id(&id), id])
        .collect();
    for service in saved.services {
        let id = service.service.id.clone();
        match of_files.contains(&id) {
            true => dropped_services.push(id),
            false => scratch.put_service(service),
        }
    }
    for definition in &definitions.services {
        let asking = Asking { origin: Origin::File, token: &definition.token, who: &allow_all };
        let plan = plan_service(&inner.rules, &scratch, definition, asking).map_err(|error| {
            LoadError::Service {
                name: definition.name.as_str().to_owned(),
                reason: error.text().to_owned(),
            }
        })?;
        plan.services.into_iter().for_each(|service| scratch.put_service(service));
        plan.checks.into_iter().for_each(|check| scratch.put_check(check));
    }
    for definition in &definitions.checks {
        let none = SecretId::default();
        let asking = Asking { origin: Origin::File, token: &none, who: &allow_all };
        let plan = plan_check(&inner.rules, &scratch, definition, asking).map_err(|error| {
            let name = match definition.name.as_str() {
                "" => definition.check_id.as_str().to_owned(),
                name => name.to_owned(),
            };
            LoadError::Check { name, reason: error.text().to_owned() }
        })?;
        plan.checks.into_iter().for_each(|check| scratch.put_check(check));
    }
    for check in saved.checks {
        let (id, service) = (check.check.check_id.clone(), &check.check.service_id);
        let has_home = service.is_empty() || scratch.service(service).is_some();
        match scratch.check(&id).is_none() && has_home {
            true => scratch.put_check(check),
            false => dropped_checks.push(id),
        }
    }
    let ttl_states = saved.ttl_states.into_iter().map(|state| (state.check_id.clone(), state));
    let ttl_states: BTreeMap<CheckId, SavedTtl> = ttl_states.collect();
    let checks = scratch.checks().cloned().map(|mut local| {
        set_status(&mut local, &inner.state, &ttl_states, now_unix);
        local
    });
    let plan = Plan { checks: checks.collect(), services: scratch.services().cloned().collect() };
    Ok(Wanted { plan, dropped_services, dropped_checks })
}

/// The status that a check begins with: its own if it runs, what was kept of a TTL
/// check, critical for everything else that was kept, what its file says.
fn set_status(
    local: &mut LocalCheck,
    state: &State,
    ttl_states: &BTreeMap<CheckId, SavedTtl>,
    now_unix: Option<i64>,
) {
    let id = &local.check.check_id;
    let is_ttl = local.definition.as_ref().is_some_and(|d| d.ttl.is_positive());
    let restored =
        now_unix.filter(|_| is_ttl).and_then(|now| ttl_states.get(id).cloned()?.restore(now));
    let (status, output) = if let Some(known) = state.check(id) {
        (known.check.status.clone(), known.check.output.clone())
    } else if let Some(outcome) = restored {
        (outcome.status, outcome.output)
    } else if local.origin == Origin::Api && !is_maintenance(id) {
        (Status::Critical, String::new())
    } else {
        return;
    };
    let check = Arc::make_mut(&mut local.check);
    check.status = status;
    check.output = output;
}
