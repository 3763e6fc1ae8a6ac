//! Reading the configuration again (`reference/config.md` section 9).
//!
//! All or nothing: everything that can be wrong is looked at before the first part gets
//! its new settings. Options that need a restart stay as they are, in every part of the
//! agent and in what it says of itself, and are named in the log each time.

use std::path::PathBuf;
use std::sync::Arc;

use config::reload::Reloaded;

use crate::logging::{Level, Logging};
use crate::process::{Running, check_before_start};
use crate::service_manager;

/// Why the configuration is read again.
pub(crate) enum Reason {
    /// Somebody ordered it: a signal, `consul reload`, the HTTP API.
    Order,
    /// These files changed, and `auto_reload_config` is set.
    Files(Vec<PathBuf>),
}

impl Running {
    /// Reads the configuration again and applies what may change; nothing changes if
    /// it is wrong. The outcome is in the log.
    pub(crate) async fn reload(&mut self, reason: Reason, logging: &Logging) -> Result<(), String> {
        if let Reason::Files(files) = &reason {
            let files: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
            let files = format!("[{}]", files.join(", "));
            tracing::info!(target: "agent.file-watcher", files, "Configuration files changed, reloading");
        }
        if self.is_ready {
            service_manager::reloading();
        }
        let outcome = self.try_reload(&reason, logging).await;
        if self.is_ready {
            service_manager::ready();
        }
        if let Err(error) = &outcome {
            tracing::error!(target: "agent", error = %error, "Reload config failed");
        }
        outcome
    }

    async fn try_reload(&mut self, reason: &Reason, logging: &Logging) -> Result<(), String> {
        let old = self.config.load_full();
        let read = config::reload::reload(&old, &self.sources, &config::Disk, &self.environment);
        let Reloaded { config, plan, warnings, by_hand_only } =
            read.map_err(|error| error.to_string())?;
        if by_hand_only && matches!(reason, Reason::Files(_)) {
            tracing::warn!(
                target: "agent",
                "encrypt_verify_incoming or encrypt_verify_outgoing changed: this is not \
                 reloaded automatically; run `consul reload` to reload the configuration"
            );
            return Ok(());
        }
        check_before_start(&config)?;
        self.parts.reload(&config).await?;

        for warning in &warnings {
            tracing::warn!(target: "agent", "{warning}");
        }
        for key in &plan.need_restart {
            tracing::warn!(target: "agent", key, "A changed setting takes effect at the next start only");
        }
        match Level::parse(&config.log.level_text) {
            Some(level) => logging.set_level(level),
            None => {
                let level = &config.log.level_text;
                tracing::warn!(target: "agent", level, "Invalid log level in new configuration");
            }
        }
        if let Some(files) = &mut self.files {
            files.follow(&self.sources, &config);
        }
        self.config.store(Arc::new(config));
        Ok(())
    }
}
