//! `Connect.SidecarService`: the proxy instance that the agent makes beside a service
//! (`reference/http-api.md` 3.4, "Sidecar registration").

use std::collections::BTreeSet;

use config::runtime::PortRange;
use thiserror::Error;
use types::check::CheckDefinition;
use types::service::ServiceDefinition;
use types::{GoDuration, ServiceId, ServiceName};

use super::register::{Rules, given_checks};
use super::state::State;

/// Where a sidecar reaches its application, unless it says otherwise.
const LOCAL_ADDRESS: &str = "127.0.0.1";
/// How often the sidecar's own port is tried.
const LISTENING_INTERVAL: GoDuration = GoDuration::from_secs(10);

/// Why a sidecar gets no port.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum SidecarError {
    /// The range is used up.
    #[error(
        "no port provided for sidecar_service and none left in the configured range [{}, {}]",
        .0.min, .0.max
    )]
    NoPortLeft(PortRange),
    /// There is no range.
    #[error("no port provided for sidecar_service and auto-assignment disabled in config")]
    NoPorts,
}

/// The id of a service's sidecar.
pub(crate) fn sidecar_id(parent: &ServiceId) -> ServiceId {
    ServiceId::from(format!("{parent}-sidecar-proxy"))
}

/// What is wrong with a sidecar before it is expanded.
pub(super) fn mistakes(parent: &ServiceDefinition, sidecar: &ServiceDefinition) -> Vec<String> {
    let mut mistakes = Vec::new();
    let kind = parent.kind.as_str();
    if kind.ends_with("-gateway") {
        mistakes.push(format!("A {kind} cannot have a sidecar service defined"));
    }
    if !sidecar.id.is_empty() {
        let text = "A SidecarService cannot specify an ID as this is managed by the agent";
        mistakes.push(text.to_owned());
    }
    if sidecar.connect.as_ref().is_some_and(|connect| connect.sidecar_service.is_some()) {
        mistakes.push("A SidecarService cannot have a nested SidecarService".to_owned());
    }
    mistakes
}

/// The whole definition of a sidecar: what it says, else what its parent does.
pub(super) fn expand(
    rules: &Rules,
    state: &State,
    parent: &ServiceDefinition,
    given: &ServiceDefinition,
) -> Result<ServiceDefinition, SidecarError> {
    let parent_id = parent.effective_id();
    let mut sidecar = given.clone();
    sidecar.id = sidecar_id(&parent_id);
    if sidecar.name.is_empty() {
        sidecar.name = ServiceName::from(format!("{}-sidecar-proxy", parent.name));
    }
    if sidecar.kind.is_empty() {
        "connect-proxy".clone_into(&mut sidecar.kind);
    }
    if sidecar.address.is_empty() {
        sidecar.address.clone_from(&parent.address);
    }
    if sidecar.meta.as_ref().is_none_or(|meta| meta.is_empty()) {
        sidecar.meta.clone_from(&parent.meta);
    }
    if sidecar.tags.is_empty() {
        sidecar.tags.clone_from(&parent.tags);
    }
    if sidecar.locality.is_none() {
        sidecar.locality.clone_from(&parent.locality);
    }
    if sidecar.token.is_empty() {
        sidecar.token = parent.token.clone();
    }
    let proxy = sidecar.proxy.get_or_insert_default();
    if proxy.destination_service_name.is_empty() {
        proxy.destination_service_name = parent.name.clone();
    }
    if proxy.destination_service_id.is_empty() {
        proxy.destination_service_id = parent_id.clone();
    }
    if !parent.socket_path.is_empty() {
        if proxy.local_service_socket_path.is_empty() {
            proxy.local_service_socket_path.clone_from(&parent.socket_path);
        }
    } else if proxy.local_service_socket_path.is_empty() {
        if proxy.local_service_address.is_empty() {
            LOCAL_ADDRESS.clone_into(&mut proxy.local_service_address);
        }
        if proxy.local_service_port < 1 {
            proxy.local_service_port = parent.port;
        }
    }
    let local_address = proxy.local_service_address.clone();
    if sidecar.port < 1 && sidecar.socket_path.is_empty() {
        sidecar.port = free_port(rules.sidecar_ports, state, &sidecar.id, parent)?;
    }
    if given_checks(given).next().is_none() {
        let host = [sidecar.address.as_str(), &local_address]
            .into_iter()
            .find(|host| !host.is_empty())
            .unwrap_or(LOCAL_ADDRESS);
        sidecar.check = None;
        sidecar.checks = default_checks(host, sidecar.port, &parent_id);
    }
    Ok(sidecar)
}

/// The port that the sidecar has, else the lowest that nobody here has.
fn free_port(
    range: PortRange,
    state: &State,
    id: &ServiceId,
    parent: &ServiceDefinition,
) -> Result<i64, SidecarError> {
    let (min, max) = (i64::from(range.min), i64::from(range.max));
    if min < 1 || max < min {
        return Err(SidecarError::NoPorts);
    }
    if let Some(own) = state.service(id)
        && (min..=max).contains(&own.service.port)
    {
        return Ok(own.service.port);
    }
    let mut taken: BTreeSet<i64> = state.services().map(|local| local.service.port).collect();
    taken.insert(parent.port);
    (min..=max).find(|port| !taken.contains(port)).ok_or(SidecarError::NoPortLeft(range))
}

fn default_checks(host: &str, port: i64, parent: &ServiceId) -> Vec<CheckDefinition> {
    let target = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    vec![
        CheckDefinition {
            name: "Connect Sidecar Listening".to_owned(),
            tcp: target,
            interval: LISTENING_INTERVAL,
            ..CheckDefinition::default()
        },
        CheckDefinition {
            name: format!("Connect Sidecar Aliasing {parent}"),
            alias_service: parent.as_str().to_owned(),
            ..CheckDefinition::default()
        },
    ]
}
