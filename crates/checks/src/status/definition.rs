//! What agents allow of check definitions, and the values these take when they say nothing
//! (`reference/checks.md` sections 1 and 6, `reference/http-api.md` 3.5). Which ones are valid
//! at all is said by [`CheckDefinition::validate`].

use std::time::Duration;

use thiserror::Error;
use types::check::{CheckDefinition, Status};
use types::{CheckId, GoDuration, ServiceId, ServiceName};

/// Checks run at most this often.
pub const INTERVAL_MIN: GoDuration = GoDuration::from_secs(1);
/// The least time that a service stays critical before it is removed.
pub const DEREGISTER_AFTER_MIN: GoDuration = GoDuration::from_secs(60);
/// The timeout of HTTP, TCP, UDP, gRPC and H2PING checks that give none.
pub const NETWORK_TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout of script checks that give none.
pub const SCRIPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a definition comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The agent's own configuration files.
    File,
    /// A call of the HTTP API.
    Api,
}

/// A check wants to run a program and the agent does not allow it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ScriptsDisabled {
    /// Neither switch is on.
    #[error(
        "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or \
         'enable_local_script_checks' to true"
    )]
    Everywhere,
    /// The switch for definitions that come over the network is off.
    #[error(
        "Scripts are disabled on this agent from remote calls; to enable, configure \
         'enable_script_checks' to true"
    )]
    FromApi,
}

/// Whether `definition` may run programs, given the agent's options
/// `enable_script_checks` and `enable_local_script_checks`.
pub fn allow_scripts(
    definition: &CheckDefinition,
    origin: Origin,
    enable_script_checks: bool,
    enable_local_script_checks: bool,
) -> Result<(), ScriptsDisabled> {
    if !definition.is_script() || enable_script_checks {
        return Ok(());
    }
    match origin {
        Origin::File if enable_local_script_checks => Ok(()),
        Origin::File => Err(ScriptsDisabled::Everywhere),
        Origin::Api => Err(ScriptsDisabled::FromApi),
    }
}

/// The status that a new check has before its first run: the one it gives, else
/// critical. `None` for a text that is no status (`Bad check status`).
pub fn initial_status(definition: &CheckDefinition) -> Option<Status> {
    match definition.status.as_str() {
        "" => Some(Status::Critical),
        text => Status::parse(text),
    }
}

/// The id of a service's check that gives none: `service:<id>`, with
/// `:<position>` (from 1) when the service has several checks (`count`).
pub fn service_check_id(service: &ServiceId, position: usize, count: usize) -> CheckId {
    match count {
        0 | 1 => CheckId::from(format!("service:{service}")),
        _ => CheckId::from(format!("service:{service}:{position}")),
    }
}

/// The name of a service's check that gives none.
pub fn service_check_name(service: &ServiceName) -> String {
    format!("Service '{service}' check")
}

/// The interval that is kept, at least `minimum`, and whether it was raised.
/// The definition itself, as the API shows it, keeps what was asked.
pub fn interval(definition: &CheckDefinition, minimum: GoDuration) -> (GoDuration, bool) {
    raised(definition.interval, minimum)
}

/// The time critical before removal, and whether it was raised to its minimum;
/// `None` when the service is never removed.
pub fn deregister_after(definition: &CheckDefinition) -> Option<(GoDuration, bool)> {
    let after = definition.deregister_critical_service_after;
    after.is_positive().then(|| raised(after, DEREGISTER_AFTER_MIN))
}

fn raised(asked: GoDuration, minimum: GoDuration) -> (GoDuration, bool) {
    (asked.max(minimum), asked < minimum)
}

/// The timeout of a run, or `default` when the definition gives none.
pub fn timeout(definition: &CheckDefinition, default: Duration) -> Duration {
    if definition.timeout.is_positive() { definition.timeout.to_std() } else { default }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_json(text: &str) -> CheckDefinition {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn scripts_run_only_where_they_were_allowed() {
        let script = from_json(r#"{"Args":["true"],"Interval":"1s"}"#);
        let docker = from_json(r#"{"DockerContainerID":"a","Args":["true"],"Interval":"1s"}"#);
        for definition in [script, docker] {
            let allowed = |origin, all, local| allow_scripts(&definition, origin, all, local);
            assert_eq!(allowed(Origin::Api, true, false), Ok(()));
            assert_eq!(allowed(Origin::File, false, true), Ok(()));
            assert_eq!(
                allowed(Origin::File, false, false).unwrap_err().to_string(),
                "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' \
                 or 'enable_local_script_checks' to true"
            );
            assert_eq!(
                allowed(Origin::Api, false, true).unwrap_err().to_string(),
                "Scripts are disabled on this agent from remote calls; to enable, configure \
                 'enable_script_checks' to true"
            );
        }
        let tcp = from_json(r#"{"TCP":"x:1","Interval":"1s"}"#);
        assert_eq!(allow_scripts(&tcp, Origin::Api, false, false), Ok(()));
    }

    #[test]
    fn ids_and_names_of_service_checks_have_defaults() {
        assert_eq!(service_check_id(&"web-1".into(), 1, 1).as_str(), "service:web-1");
        assert_eq!(service_check_id(&"web-1".into(), 2, 3).as_str(), "service:web-1:2");
        assert_eq!(service_check_name(&"web".into()), "Service 'web' check");
    }

    #[test]
    fn times_below_their_minimum_are_raised() {
        let low = from_json(r#"{"Interval":"300ms","DeregisterCriticalServiceAfter":"5s"}"#);
        assert_eq!(interval(&low, INTERVAL_MIN), (GoDuration::from_secs(1), true));
        assert_eq!(deregister_after(&low), Some((GoDuration::from_secs(60), true)));
        let high = from_json(r#"{"Interval":"5s","DeregisterCriticalServiceAfter":"3m"}"#);
        assert_eq!(interval(&high, INTERVAL_MIN), (GoDuration::from_secs(5), false));
        assert_eq!(deregister_after(&high), Some((GoDuration::from_secs(180), false)));
        assert_eq!(deregister_after(&from_json("{}")), None);
    }

    #[test]
    fn a_new_check_is_critical_unless_it_says_so() {
        assert_eq!(initial_status(&from_json("{}")), Some(Status::Critical));
        assert_eq!(initial_status(&from_json(r#"{"Status":"passing"}"#)), Some(Status::Passing));
        assert_eq!(initial_status(&from_json(r#"{"Status":"odd"}"#)), None);
    }
}
