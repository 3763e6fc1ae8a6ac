//! From sources to a [`RuntimeConfig`]: the order of `reference/config.md` 1.1.

use std::net::IpAddr;

use thiserror::Error;

use crate::file_system::FileSystem;
use crate::runtime::RuntimeConfig;

/// Where the configuration comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// `-dev`.
    pub dev: bool,
    /// `-config-file` and `-config-dir` in command-line order: files or folders.
    pub config_files: Vec<String>,
    /// `-config-format`: `hcl` or `json`, empty to go by the file name.
    pub config_format: String,
    /// `-hcl` fragments in order.
    pub hcl: Vec<String>,
    /// The other flags in order: name without dashes, value as written
    /// (`true` for a boolean flag without value).
    pub flags: Vec<(String, String)>,
}

/// One address of a network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceAddr {
    /// Name of the interface: `eth0`.
    pub name: String,
    /// The address.
    pub address: IpAddr,
    /// Bits of the network mask.
    pub prefix_len: u8,
    /// Whether the interface is up.
    pub up: bool,
    /// Whether the default route leaves through the interface.
    pub default_route: bool,
}

/// What the machine says about itself; read once by the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// The host name, for `node_name`.
    pub host_name: String,
    /// Addresses of the interfaces in the order of the operating system.
    pub interfaces: Vec<InterfaceAddr>,
    /// Environment variables `(name, value)`; only those that matter are read.
    pub variables: Vec<(String, String)>,
}

impl Environment {
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// Why there is no configuration. The text is what `consul agent` prints after
/// `==> ` and `consul validate` after `Config validation failed: `.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct LoadError(pub String);

/// A finished configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: RuntimeConfig,
    /// For the log at WARN, and for `consul validate`, in order.
    pub warnings: Vec<String>,
    /// One line per setting that was accepted and has no effect yet.
    pub without_effect: Vec<String>,
}

/// Reads the sources in their order, merges them, and makes the configuration.
///
/// # Errors
/// The first mistake that ends the work, or all wrong values together; the text
/// is Consul's where `reference/config.md` gives one.
pub fn load(
    sources: &Sources,
    files: &dyn FileSystem,
    environment: &Environment,
) -> Result<Loaded, LoadError> {
    let read = crate::sources::read(sources, files).map_err(LoadError)?;
    crate::build::build(read, sources.dev, files, environment).map_err(LoadError)
}

/// `consul validate` and `configtest`: the warnings to print, or the mistake.
/// `config_format` is as in [`Sources`].
///
/// # Errors
/// As [`load`], and when no path is given.
pub fn validate(
    paths: &[String],
    config_format: &str,
    files: &dyn FileSystem,
    environment: &Environment,
) -> Result<Vec<String>, LoadError> {
    if paths.is_empty() {
        return Err(LoadError("Must specify at least one config file or directory".to_owned()));
    }
    let sources = Sources {
        config_files: paths.to_vec(),
        config_format: config_format.to_owned(),
        ..Sources::default()
    };
    load(&sources, files, environment).map(|loaded| loaded.warnings)
}
