//! What the machine says about itself, for reading configuration.

use config::Environment;

use crate::command;

/// Variables that a configuration may depend on.
const VARIABLES: &[&str] = &["CONSUL_INTRO_TOKEN", "CONSUL_HCP_ENABLED", "SHELL", "DOCKER_HOST"];

/// The machine's name and the variables that matter. Without the addresses of
/// its interfaces: checking a configuration does not depend on them.
pub(super) fn environment(variable: &command::Environment) -> Environment {
    let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let variables =
        VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), variable(name)?))).collect();
    Environment { host_name: host_name.trim().to_owned(), variables, ..Environment::default() }
}
