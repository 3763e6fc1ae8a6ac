//! From a definition to the services and checks that it makes: what is refused, in
//! which order and words, and what is filled in (`reference/http-api.md` 3.4 and 3.5).
//!
//! Pure. A [`Plan`] says what a registration would put in place; the caller carries
//! it out as a whole or not at all.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use acl::{Authorizer, Permission, Resource};
use checks::status::definition::{
    Origin, allow_scripts, initial_status, service_check_id, service_check_name,
};
use config::runtime::{PortRange, ScriptChecks};
use contract::CallError;
use types::catalog::{NodeService, ServiceAddress, ServiceConnect, Weights};
use types::check::{CheckDefinition, HealthCheck, Status};
use types::service::ServiceDefinition;
use types::{CheckId, GoDuration, NodeName, SecretId, ServiceId};

use super::sidecar;
use super::state::{LocalCheck, LocalService, State};

/// What of the agent's configuration registrations depend on.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// The node's name.
    pub(crate) node: NodeName,
    /// Whether checks may run commands.
    pub(crate) scripts: ScriptChecks,
    /// Ports for sidecars that ask for none.
    pub(crate) sidecar_ports: PortRange,
}

/// What a registration puts in place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// The services: the one asked for, then its sidecar.
    pub(crate) services: Vec<LocalService>,
    /// Their checks, or the one check asked for.
    pub(crate) checks: Vec<LocalCheck>,
}

/// What a service definition is planned with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    /// From a file or through the API.
    pub(crate) origin: Origin,
    /// The token of the request, or of the definition in a file.
    pub(crate) token: &'a SecretId,
    /// What the token may do.
    pub(crate) who: &'a Authorizer,
}

/// Plans a service with its checks and its sidecar.
///
/// # Errors
/// The first mistake, in the order and the words of Consul.
pub(crate) fn plan_service(
    rules: &Rules,
    state: &State,
    definition: &ServiceDefinition,
    asking: Asking<'_>,
) -> Result<Plan, CallError> {
    if definition.name.is_empty() {
        return Err(CallError::bad_request(match asking.origin {
            Origin::Api => "Missing service name",
            Origin::File => "Service name missing",
        }));
    }
    if matches!(definition.address.as_str(), "0.0.0.0" | "::" | "[::]") {
        return Err(CallError::bad_request("Invalid service address"));
    }
    if let Some(weights) = &definition.weights {
        validate_weights(weights)?;
    }
    validate_meta(definition)?;
    let sidecar =
        definition.connect.as_ref().and_then(|connect| connect.sidecar_service.as_deref());
    let service = node_service(definition);
    let mut mistakes = domains::catalog::validate_service(&service);
    if let Some(sidecar) = sidecar {
        mistakes.extend(sidecar::mistakes(definition, sidecar));
    }
    refuse_mistakes("Validation failed: ", &mistakes)?;
    validate_checks("Invalid check: ", definition)?;
    if let Some(sidecar) = sidecar {
        validate_checks("Invalid check in sidecar_service: ", sidecar)?;
    }
    may_write(state, &service, asking.who)?;
    let mut plan = Plan::default();
    let expanded = match sidecar {
        None => None,
        Some(sidecar) => {
            let expanded = sidecar::expand(rules, state, definition, sidecar).map_err(|error| {
                CallError::bad_request(format!("Invalid SidecarService: {error}"))
            })?;
            let service = node_service(&expanded);
            let mistakes = domains::catalog::validate_service(&service);
            refuse_mistakes("Failed Validation: ", &mistakes)?;
            validate_meta(&expanded)?;
            may_write(state, &service, asking.who)?;
            Some((expanded, service))
        }
    };
    add_service(&mut plan, rules, definition, service, asking, false)?;
    if let Some((expanded, service)) = expanded {
        let own = expanded.token.clone();
        let token = if own.is_empty() { asking.token } else { &own };
        add_service(&mut plan, rules, &expanded, service, Asking { token, ..asking }, true)?;
    }
    Ok(plan)
}

/// Plans a check of the node, or of a service that is here.
///
/// # Errors
/// The first mistake, in the order and the words of Consul.
pub(crate) fn plan_check(
    rules: &Rules,
    state: &State,
    definition: &CheckDefinition,
    asking: Asking<'_>,
) -> Result<Plan, CallError> {
    let mut definition = definition.clone();
    if definition.check_id.is_empty() {
        definition.check_id = CheckId::from(definition.name.as_str());
    }
    if definition.name.is_empty() {
        if asking.origin == Origin::Api {
            return Err(CallError::bad_request("Missing check name"));
        }
        definition.name = definition.check_id.as_str().to_owned();
    }
    let Some(status) = initial_status(&definition) else {
        return Err(CallError::bad_request("Bad check status"));
    };
    definition
        .validate()
        .map_err(|error| CallError::bad_request(format!("Invalid check: {error}")))?;
    let service = match definition.service_id.is_empty() {
        true => None,
        false => Some(state.service(&definition.service_id).ok_or_else(|| {
            let id = definition.service_id.as_str();
            CallError::not_found(format!("ServiceID {id:?} does not exist"))
        })?),
    };
    if let Some(known) = state.check(&definition.check_id) {
        may_write_check(rules, &known.check, asking.who)?;
    }
    let mut check = health_check(rules, &definition, status, GoDuration::to_string);
    if let Some(local) = service {
        check.service_name = local.service.service.clone();
        check.service_tags.clone_from(&local.service.tags);
    }
    may_write_check(rules, &check, asking.who)?;
    scripts_allowed(rules, &definition, asking.origin)?;
    // Consul: checks of files that belong to no service's definition have no type.
    if asking.origin == Origin::File {
        check.kind.clear();
    }
    let token = match definition.token.is_empty() {
        true => asking.token.clone(),
        false => definition.token.clone(),
    };
    definition.token = token.clone();
    let checks = vec![LocalCheck {
        check: Arc::new(check),
        definition: Some(Arc::new(definition)),
        token,
        origin: asking.origin,
    }];
    Ok(Plan { services: Vec::new(), checks })
}

/// Whether the holder of a token may touch a check.
pub(crate) fn may_write_check(
    rules: &Rules,
    check: &HealthCheck,
    who: &Authorizer,
) -> Result<(), CallError> {
    let permission = match check.service_id.is_empty() {
        true => Permission::write(Resource::Node, rules.node.as_str()),
        false => Permission::write(Resource::Service, check.service_name.as_str()),
    };
    Ok(who.require(permission)?)
}

/// The service's own name, the name that its id has now, and what it is a proxy of.
fn may_write(state: &State, service: &NodeService, who: &Authorizer) -> Result<(), CallError> {
    who.require(Permission::write(Resource::Service, service.service.as_str()))?;
    if let Some(known) = state.service(&service.id) {
        who.require(Permission::write(Resource::Service, known.service.service.as_str()))?;
    }
    if service.kind == "connect-proxy" {
        let target = service.proxy.destination_service_name.as_str();
        who.require(Permission::write(Resource::Service, target))?;
    }
    Ok(())
}

fn validate_weights(weights: &Weights) -> Result<(), CallError> {
    let problem = match (weights.passing, weights.warning) {
        (passing, _) if passing < 1 => "Passing must be greater than 0",
        (_, warning) if warning < 0 => "Warning must be greater or equal than 0",
        (passing, warning) if passing > 65535 || warning > 65535 => {
            "DNS Weight must be between 0 and 65535"
        }
        _ => return Ok(()),
    };
    Err(CallError::bad_request(format!("Invalid Weights: {problem}")))
}

fn validate_meta(definition: &ServiceDefinition) -> Result<(), CallError> {
    let exempt: &[&str] = match definition.kind.as_str() {
        "mesh-gateway" => &["consul-wan-federation"],
        _ => &[],
    };
    let Some(meta) = &definition.meta else { return Ok(()) };
    types::meta::validate(meta, exempt)
        .map_err(|error| CallError::bad_request(format!("Invalid Service Meta: {error}")))
}

fn validate_checks(prefix: &str, definition: &ServiceDefinition) -> Result<(), CallError> {
    for check in given_checks(definition) {
        check.validate().map_err(|error| CallError::bad_request(format!("{prefix}{error}")))?;
        if initial_status(check).is_none() {
            let text = "Status for checks must 'passing', 'warning', 'critical'";
            return Err(CallError::bad_request(text));
        }
    }
    Ok(())
}

/// The checks of a definition; an empty object is none.
pub(super) fn given_checks(
    definition: &ServiceDefinition,
) -> impl Iterator<Item = &CheckDefinition> {
    definition.all_checks().filter(|check| **check != CheckDefinition::default())
}

fn refuse_mistakes(prefix: &str, mistakes: &[String]) -> Result<(), CallError> {
    if mistakes.is_empty() {
        return Ok(());
    }
    let noun = if mistakes.len() == 1 { "error" } else { "errors" };
    let mut text = format!("{prefix}{} {noun} occurred:\n", mistakes.len());
    for mistake in mistakes {
        text.push_str(&format!("\t* {mistake}\n"));
    }
    text.push('\n');
    Err(CallError::bad_request(text))
}

/// What the catalog is told of a service.
fn node_service(definition: &ServiceDefinition) -> NodeService {
    let mut proxy = definition.proxy.clone().unwrap_or_default();
    for upstream in &mut proxy.upstreams {
        if upstream.destination_type.is_empty() {
            "service".clone_into(&mut upstream.destination_type);
        }
    }
    NodeService {
        kind: definition.kind.clone(),
        id: definition.effective_id(),
        service: definition.name.clone(),
        tags: definition.tags.clone(),
        address: definition.address.clone(),
        tagged_addresses: tagged_addresses(definition),
        meta: definition.meta.clone(),
        port: definition.port,
        socket_path: definition.socket_path.clone(),
        weights: Some(definition.weights.clone().unwrap_or_default()),
        enable_tag_override: definition.enable_tag_override,
        locality: definition.locality.clone(),
        proxy,
        connect: ServiceConnect {
            native: definition.connect.as_ref().is_some_and(|connect| connect.native),
            peer_meta: None,
        },
        ..NodeService::default()
    }
}

/// The addresses given, and those that an IP address of the service stands for.
fn tagged_addresses(definition: &ServiceDefinition) -> Option<BTreeMap<String, ServiceAddress>> {
    let mut addresses = definition.tagged_addresses.clone().unwrap_or_default();
    let own = || ServiceAddress { address: definition.address.clone(), port: definition.port };
    let implied = match definition.address.as_str() {
        address if address.parse::<Ipv4Addr>().is_ok() => ["lan_ipv4", "wan_ipv4"],
        address if address.parse::<Ipv6Addr>().is_ok() => ["lan_ipv6", "wan_ipv6"],
        _ => return (!addresses.is_empty()).then_some(addresses),
    };
    for name in implied {
        addresses.entry(name.to_owned()).or_insert_with(own);
    }
    Some(addresses)
}

fn validate_addresses(service: &NodeService) -> Result<(), CallError> {
    for (name, address) in service.tagged_addresses.iter().flatten() {
        let address = address.address.as_str();
        let (valid, family) = match name.as_str() {
            "lan_ipv4" | "wan_ipv4" => (address.parse::<Ipv4Addr>().is_ok(), "ipv4"),
            "lan_ipv6" | "wan_ipv6" => (address.parse::<Ipv6Addr>().is_ok(), "ipv6"),
            _ => continue,
        };
        if !valid {
            return Err(CallError::failed(format!(
                "Service tagged address {name:?} must be a valid {family} address"
            )));
        }
    }
    Ok(())
}

fn scripts_allowed(
    rules: &Rules,
    definition: &CheckDefinition,
    origin: Origin,
) -> Result<(), CallError> {
    allow_scripts(definition, origin, rules.scripts.remote, rules.scripts.local)
        .map_err(|error| CallError::failed(error.to_string()))
}

fn add_service(
    plan: &mut Plan,
    rules: &Rules,
    definition: &ServiceDefinition,
    service: NodeService,
    asking: Asking<'_>,
    is_sidecar: bool,
) -> Result<(), CallError> {
    validate_addresses(&service)?;
    let count = given_checks(definition).count();
    for (at, given) in given_checks(definition).enumerate() {
        scripts_allowed(rules, given, asking.origin)?;
        let mut given = given.clone();
        given.service_id = service.id.clone();
        if given.check_id.is_empty() {
            given.check_id = service_check_id(&service.id, at + 1, count);
        }
        if given.name.is_empty() {
            given.name = service_check_name(&service.service);
        }
        given.token = asking.token.clone();
        let status = initial_status(&given).unwrap_or_default();
        let mut check = health_check(rules, &given, status, |duration| match duration.is_zero() {
            true => String::new(),
            false => duration.to_string(),
        });
        check.service_name = service.service.clone();
        check.service_tags.clone_from(&service.tags);
        plan.checks.retain(|known| known.check.check_id != check.check_id);
        plan.checks.push(LocalCheck {
            check: Arc::new(check),
            definition: Some(Arc::new(given)),
            token: asking.token.clone(),
            origin: asking.origin,
        });
    }
    plan.services.push(LocalService {
        service: Arc::new(service),
        token: asking.token.clone(),
        origin: asking.origin,
        is_sidecar,
    });
    Ok(())
}

fn health_check(
    rules: &Rules,
    definition: &CheckDefinition,
    status: Status,
    show: impl Fn(&GoDuration) -> String,
) -> HealthCheck {
    HealthCheck {
        node: rules.node.clone(),
        check_id: definition.check_id.clone(),
        name: definition.name.clone(),
        status,
        notes: definition.notes.clone(),
        service_id: definition.service_id.clone(),
        kind: definition.kind().to_owned(),
        interval: show(&definition.interval),
        timeout: show(&definition.timeout),
        ..HealthCheck::default()
    }
}

/// The checks of a service that a new registration does not list. Maintenance mode
/// is not a check that a registration could list.
pub(crate) fn unlisted_checks(state: &State, service: &ServiceId, plan: &Plan) -> Vec<CheckId> {
    state
        .checks_of(service)
        .map(|local| &local.check.check_id)
        .filter(|id| !super::state::is_maintenance(id))
        .filter(|id| !plan.checks.iter().any(|planned| planned.check.check_id == **id))
        .cloned()
        .collect()
}
