//! What a reload changes (`reference/config.md` section 9).

use std::collections::BTreeSet;

use crate::file_system::FileSystem;
use crate::load::{Environment, LoadError, Sources};
use crate::options;
use crate::runtime::RuntimeConfig;

/// The parts of a running agent that take new settings without a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReloadPart {
    /// `log_level`.
    LogLevel,
    /// Services.
    Services,
    /// Checks.
    Checks,
    /// Node metadata.
    NodeMeta,
    /// ACL tokens.
    Tokens,
    /// Certificates and TLS settings.
    Tls,
    /// Watches.
    Watches,
    /// `dns_config` and recursors.
    Dns,
    /// Limits.
    Limits,
    /// Raft's snapshot settings and timings.
    Raft,
    /// `config_entries.bootstrap`.
    ConfigEntries,
    /// The cache.
    Cache,
    /// Metric filters.
    Telemetry,
    /// `discard_check_output`.
    CheckOutput,
    /// The web interface.
    Ui,
    /// xDS limits.
    Xds,
    /// `enable_debug`.
    Debug,
    /// `snapshot_schedule`.
    SnapshotSchedule,
}

/// What a reload does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadPlan {
    /// The parts to give their new settings, in order.
    pub parts: BTreeSet<ReloadPart>,
    /// Keys that changed and need a restart, sorted.
    pub need_restart: Vec<String>,
}

/// A configuration that was read again.
#[derive(Clone, Debug, PartialEq)]
pub struct Reloaded {
    /// What the agent runs with from now on: options that need a restart are as they were.
    pub config: RuntimeConfig,
    /// What that changes.
    pub plan: ReloadPlan,
    /// As [`crate::Loaded::warnings`].
    pub warnings: Vec<String>,
    /// Whether settings changed that change only when an operator orders the reload:
    /// those of gossip encryption (`encrypt_verify_*`).
    pub by_hand_only: bool,
}

/// Reads the sources again for an agent that runs with `running`. `environment` is that of
/// the agent's start: an address that comes from a template does not change either.
///
/// # Errors
/// As [`crate::load`]; also when what changes does not go together with what cannot.
pub fn reload(
    running: &RuntimeConfig,
    sources: &Sources,
    files: &dyn FileSystem,
    environment: &Environment,
) -> Result<Reloaded, LoadError> {
    let loaded = crate::load(sources, files, environment)?;
    let plan = running.reload_from(&loaded.config);
    let by_hand_only = running.refuses_auto_reload(&loaded.config);
    let settings =
        running.settings.with_those_of(&loaded.config.settings, |option| option.reloadable);
    let (config, _) =
        crate::build::build_settings(settings, Vec::new(), running.dev, files, environment)
            .map_err(LoadError)?;
    Ok(Reloaded { config, plan, warnings: loaded.warnings, by_hand_only })
}

/// Which part of the agent takes an option; the longest prefix decides.
const PARTS: &[(&str, ReloadPart)] = &[
    ("log_level", ReloadPart::LogLevel),
    ("services", ReloadPart::Services),
    ("checks", ReloadPart::Checks),
    ("node_meta", ReloadPart::NodeMeta),
    ("acl.", ReloadPart::Tokens),
    ("tls.", ReloadPart::Tls),
    ("watches", ReloadPart::Watches),
    ("dns_config.", ReloadPart::Dns),
    ("recursors", ReloadPart::Dns),
    ("limits.", ReloadPart::Limits),
    ("raft_", ReloadPart::Raft),
    ("performance.raft_multiplier", ReloadPart::Raft),
    ("config_entries.", ReloadPart::ConfigEntries),
    ("cache.", ReloadPart::Cache),
    ("telemetry.", ReloadPart::Telemetry),
    ("discard_check_output", ReloadPart::CheckOutput),
    ("ui_config.", ReloadPart::Ui),
    ("xds.", ReloadPart::Xds),
    ("enable_debug", ReloadPart::Debug),
    ("snapshot_schedule.", ReloadPart::SnapshotSchedule),
];

impl RuntimeConfig {
    /// Compares this running configuration with a newly loaded one.
    pub fn reload_from(&self, new: &RuntimeConfig) -> ReloadPlan {
        let mut plan = ReloadPlan::default();
        let keys: BTreeSet<_> = self.settings.keys().chain(new.settings.keys()).collect();
        for key in keys {
            if self.settings.get(key) == new.settings.get(key) {
                continue;
            }
            match part_of(key) {
                Some(part) => {
                    plan.parts.insert(part);
                }
                None => plan.need_restart.push(key.to_owned()),
            }
        }
        plan
    }

    /// Whether a reload that was triggered by a changed file must be refused:
    /// the settings of gossip encryption change only by hand.
    pub fn refuses_auto_reload(&self, new: &RuntimeConfig) -> bool {
        let verify = |config: &RuntimeConfig| {
            (config.gossip.encrypt_verify_incoming, config.gossip.encrypt_verify_outgoing)
        };
        verify(self) != verify(new)
    }
}

/// The part that takes an option on reload; `None` when it needs a restart.
pub fn part_of(key: &str) -> Option<ReloadPart> {
    options::find(key).filter(|option| option.reloadable)?;
    PARTS.iter().find(|(prefix, _)| key.starts_with(prefix)).map(|(_, part)| *part)
}
