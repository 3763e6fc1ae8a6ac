//! Collectors that every value is pushed to as it comes: statsd, statsite, dogstatsd
//! (`reference/telemetry.md` section 1, external sinks).
//!
//! A value becomes a line in a queue of its sink; nothing else happens where it is
//! emitted. A task empties the queue ten times a second. What does not fit into the queue
//! is lost, as datagrams are.

mod connection;
mod line;
mod queue;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use connection::Connection;
use line::Dialect;
pub(crate) use line::Feed;
use queue::Queue;

/// How often queues are emptied.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

/// The wait before a collector is tried again, doubled each time.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(300);

/// Which collectors there are. Any number of them at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkSettings {
    /// `host:port` of a statsd, by UDP; empty for none.
    pub statsd: String,
    /// `host:port` of a statsite, by TCP; empty for none.
    pub statsite: String,
    /// `host:port` or `unix://path` of a dogstatsd; empty for none.
    pub dogstatsd: String,
    /// Tags of all that goes to dogstatsd.
    pub dogstatsd_tags: Vec<String>,
    /// Whether a collector whose address is not known at the start is tried again, and
    /// not an error.
    pub retry: bool,
}

/// A collector whose address cannot be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkError {
    /// The option that names it.
    pub option: &'static str,
    /// What it says.
    pub address: String,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, address, reason } = self;
        write!(f, "telemetry.{option}: cannot reach {address}: {reason}")
    }
}

impl std::error::Error for SinkError {}

/// How a collector is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
    Unix,
}

/// One collector.
pub(crate) struct Sink {
    option: &'static str,
    transport: Transport,
    /// `host:port` or a path.
    address: String,
    dialect: Dialect,
    queue: Arc<Queue>,
}

impl Sink {
    /// The collectors of these settings. Values that come before one is reached wait.
    pub(crate) fn all(settings: &SinkSettings, host: Option<&str>) -> Vec<Self> {
        let SinkSettings { statsd, statsite, dogstatsd, dogstatsd_tags, .. } = settings;
        let sink = |option, transport, address: &str, dialect| Self {
            option,
            transport,
            address: address.to_owned(),
            dialect,
            queue: Arc::default(),
        };
        let mut sinks = Vec::new();
        if !statsite.is_empty() {
            sinks.push(sink("statsite_address", Transport::Tcp, statsite, Dialect::Statsd));
        }
        if !statsd.is_empty() {
            sinks.push(sink("statsd_address", Transport::Udp, statsd, Dialect::Statsd));
        }
        if !dogstatsd.is_empty() {
            let dialect =
                Dialect::Dogstatsd { tags: dogstatsd_tags.clone(), host: host.map(str::to_owned) };
            let (transport, address) = match dogstatsd.strip_prefix("unix://") {
                Some(path) => (Transport::Unix, path),
                None => (Transport::Udp, dogstatsd.as_str()),
            };
            sinks.push(sink("dogstatsd_addr", transport, address, dialect));
        }
        sinks
    }

    async fn connect(&self) -> Result<Connection, SinkError> {
        let connected = Connection::open(self.transport, &self.address).await;
        connected.map_err(|error| SinkError {
            option: self.option,
            address: self.address.clone(),
            reason: error.to_string(),
        })
    }

    /// Whether the address is one that can be sent to: for a start that must not go on
    /// without. A statsite that does not listen yet is waited for in any case.
    pub(crate) async fn check(&self) -> Result<(), SinkError> {
        match self.transport {
            Transport::Tcp => Ok(()),
            Transport::Udp | Transport::Unix => self.connect().await.map(drop),
        }
    }

    /// Sends what comes, until `stop`; connects again whenever that is needed.
    pub(crate) async fn run(&self, mut stop: watch::Receiver<bool>) {
        let mut failures = 0_u32;
        loop {
            let wait = match self.connect().await {
                Ok(connection) => {
                    if failures > 0 {
                        tracing::info!(target: "agent", sink = self.option, "successfully configured metrics sinks");
                    }
                    failures = 0;
                    // What was measured long ago must not count as measured now.
                    self.queue.clear();
                    match self.send(connection, &mut stop).await {
                        Ok(()) => return,
                        Err(error) => {
                            let (sink, address) = (self.option, self.address.as_str());
                            tracing::error!(target: "agent", sink, address, error = %error, "Error writing to a metrics sink");
                            RETRY_FIRST
                        }
                    }
                }
                Err(error) => {
                    tracing::error!(target: "agent", error = %error, "failed configure sinks");
                    failures = failures.saturating_add(1);
                    backoff(failures)
                }
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(wait) => {}
            }
            if failures > 0 {
                tracing::info!(target: "agent", sink = self.option, retries = failures, "retrying configure metric sinks");
            }
        }
    }

    async fn send(
        &self,
        mut connection: Connection,
        stop: &mut watch::Receiver<bool>,
    ) -> std::io::Result<()> {
        let mut flush = tokio::time::interval(FLUSH_INTERVAL);
        flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lines = Vec::new();
        loop {
            let stopping = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => true,
                _ = flush.tick() => false,
            };
            let lost = self.queue.take(&mut lines);
            if lost > 0 {
                tracing::warn!(target: "agent", sink = self.option, lost, "A metrics sink is too slow, values were lost");
            }
            connection.send(&lines).await?;
            if stopping {
                return Ok(());
            }
        }
    }
}

/// How long to wait after so many failures in a row.
fn backoff(failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    RETRY_FIRST.saturating_mul(doubled).min(RETRY_MAX)
}
