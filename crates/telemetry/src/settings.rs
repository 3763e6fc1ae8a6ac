//! What may be set.

use std::path::PathBuf;
use std::time::Duration;

use crate::sink::SinkSettings;

/// What the metrics of an agent are called, and which of them are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The first part of every name.
    pub prefix: String,
    /// The host's name, which becomes a part of the names of gauges; empty for none.
    pub host: String,
    /// Which metrics are kept.
    pub filter: FilterSettings,
    /// Collectors that every value is pushed to.
    pub sinks: SinkSettings,
    /// Whether the machine is measured, and whose file system.
    pub host_metrics: Option<PathBuf>,
    /// How long Prometheus may take to read a value; zero disables its format. A time
    /// below a second counts as one.
    pub prometheus_retention: Duration,
}

/// Which metrics are kept: the longest rule that begins a metric's full name decides.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterSettings {
    /// Prefixes of metrics that are kept.
    pub allowed: Vec<String>,
    /// Prefixes of metrics that are not kept. They win over the same text in `allowed`.
    pub blocked: Vec<String>,
    /// Whether a metric is kept that no rule names.
    pub default: bool,
}

/// Named `consul`, everything is kept, no Prometheus.
impl Default for Settings {
    fn default() -> Self {
        let filter = FilterSettings { allowed: Vec::new(), blocked: Vec::new(), default: true };
        Self {
            prefix: "consul".to_owned(),
            host: String::new(),
            filter,
            sinks: SinkSettings::default(),
            host_metrics: None,
            prometheus_retention: Duration::ZERO,
        }
    }
}
