//! How long the agent's certificate is still valid: as a metric, and in the log when its end
//! is near (`reference/telemetry.md` sections 2 and 4).

use std::path::Path;
use std::time::{Duration, SystemTime};

use telemetry::names;
use tls::Validity;
use tokio::sync::watch;
use types::{GoDuration, Timestamp};

use crate::process::AgentHandle;

const LOOK_INTERVAL: Duration = Duration::from_secs(3600);

/// Looks at the certificate for the server port at the start and every hour, until the agent
/// stops. A reload may have brought another one, or none.
pub(crate) async fn watch(agent: AgentHandle, mut stop: watch::Receiver<bool>) {
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let Some(file) = agent.config().tls.internal_rpc.cert_file.clone() else { continue };
        match tokio::task::spawn_blocking(move || validity(&file)).await {
            Ok(Ok(validity)) => tell(validity, SystemTime::now().into()),
            Ok(Err(error)) => {
                tracing::warn!(target: "agent", error, "The agent TLS certificate cannot be read");
            }
            Err(error) => {
                tracing::error!(target: "agent", error = %error, "Looking at the agent TLS certificate failed");
            }
        }
    }
}

fn validity(file: &Path) -> Result<Validity, String> {
    let chain = tls::files::certificates(file).map_err(|error| error.to_string())?;
    let own = chain.first().and_then(|certificate| Validity::of(certificate));
    own.ok_or_else(|| format!("{} holds no certificate", file.display()))
}

fn tell(validity: Validity, now: Timestamp) {
    let now = i64::try_from(now.unix_nanos() / 1_000_000_000).unwrap_or(i64::MAX);
    let left = validity.seconds_left(now);
    names::AGENT_TLS_CERT_EXPIRY.set([], left as f64);
    if validity.ends_soon(now) {
        let end = Timestamp::from_unix_nanos(i128::from(validity.not_after) * 1_000_000_000);
        tracing::warn!(
            target: "agent",
            metric = "agent.tls.cert.expiry",
            time_to_expiry = %GoDuration::from_secs(left),
            expiration = %end,
            suggested_action = "manually rotate this agent's certificate",
            "agent TLS certificate will expire soon"
        );
    }
}
