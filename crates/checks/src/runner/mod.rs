//! Runs checks: one task for each, which asks and reports.
//!
//! A [`Runner`] holds what all checks share (limits, TLS, proxies, where to
//! report). [`Runner::start`] turns a definition into a running task and gives
//! a [`CheckHandle`] that stops it. An idle check costs one sleeping task: the
//! future of a run lives only while it runs, and there are no threads.
//!
//! Log lines go to the target `agent` (`reference/checks.md` section 11).

pub mod alias;
pub mod proxy;
pub mod tls;

mod body;
mod dial;
mod docker;
mod grpc;
mod h2ping;
mod http;
mod probe;
mod script;
mod tcp;
mod ttl;
mod udp;
mod url;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::task::JoinHandle;
use types::check::{CheckDefinition, Status};
use types::{CheckId, GoDuration};

use crate::status::alias::Alias;
use crate::status::{Outcome, Thresholds, Verdict, definition, output};
use alias::AliasSource;
use probe::{Observation, Probe};
use proxy::Proxies;
use tls::Tls;

pub(crate) use dial::errno_text;
pub use ttl::TtlUpdates;

/// Where results go: the local state of the agent.
///
/// It is called from the task of the check, so it must not block. It may be
/// told a status and an output that the check has already.
pub trait Reporter: Send + Sync + 'static {
    /// The check has this status and output from here on.
    fn update(&self, check: &CheckId, status: Status, output: String);
}

/// What all checks of an agent share.
#[derive(Debug)]
pub struct Settings {
    /// `check_output_max_size`, in bytes.
    pub output_max_size: usize,
    /// No check runs more often than this.
    pub interval_min: GoDuration,
    /// How checks verify servers and show themselves; each run takes what is there.
    pub tls: ArcSwap<Tls>,
    /// The proxies that HTTP checks go through.
    pub proxies: Proxies,
    /// Where Docker listens: `unix:///path` or `tcp://host:port`.
    pub docker_host: String,
    /// What a Docker check without arguments runs.
    pub shell: String,
}

impl Settings {
    /// The defaults, with `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`,
    /// `DOCKER_HOST` and `SHELL` taken from `variable` (`std::env::var(name).ok()`).
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str, default: &str| {
            variable(name).filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned())
        };
        Self {
            output_max_size: output::DEFAULT_OUTPUT_SIZE,
            interval_min: definition::INTERVAL_MIN,
            tls: ArcSwap::default(),
            proxies: Proxies::from_variables(&variable),
            docker_host: given("DOCKER_HOST", "unix:///var/run/docker.sock"),
            shell: given("SHELL", "/bin/sh"),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::from_variables(|_| None)
    }
}

/// Why a valid definition cannot run here.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum StartError {
    /// The definition names nothing to check.
    #[error("Check type is not valid")]
    InvalidType,
    /// `os_service` exists on Windows alone.
    #[error("not implemented")]
    NotImplemented,
}

/// Starts checks.
#[derive(Clone)]
pub struct Runner {
    settings: Arc<Settings>,
    reporter: Arc<dyn Reporter>,
    aliases: Arc<dyn AliasSource>,
}

impl Runner {
    /// A runner for one agent. Settings do not change, but for [`Runner::set_tls`].
    pub fn new(
        settings: Settings,
        reporter: Arc<dyn Reporter>,
        aliases: Arc<dyn AliasSource>,
    ) -> Self {
        Self { settings: Arc::new(settings), reporter, aliases }
    }

    /// From their next run on, checks verify servers and show themselves so.
    pub fn set_tls(&self, tls: Tls) {
        self.settings.tls.store(Arc::new(tls));
    }

    /// Starts a check that [`CheckDefinition::validate`] has accepted, under
    /// `definition.check_id`, inside a tokio runtime.
    ///
    /// `last_output` is what the check shows at the moment (empty for a new
    /// one); a TTL check that expires tells it. `rng` gives the delay of the
    /// first run, in [0, interval).
    pub fn start(
        &self,
        definition: &CheckDefinition,
        last_output: &str,
        rng: &mut fastrand::Rng,
    ) -> Result<CheckHandle, StartError> {
        let check_id = definition.check_id.clone();
        if definition.ttl.is_positive() {
            let limit = output::limit(definition.output_max_size, self.settings.output_max_size);
            let reporter = self.reporter.clone();
            let (updates, run) =
                ttl::prepare(check_id.clone(), definition, limit, last_output, reporter);
            return Ok(CheckHandle { task: tokio::spawn(run), updates: Some(updates), check_id });
        }
        let task = match Probe::new(definition, &self.settings)? {
            Some(probe) => self.spawn_polling(definition, probe, rng),
            None if definition.is_alias() => {
                let alias = Alias {
                    check_id: check_id.clone(),
                    node: definition.alias_node.clone().into(),
                    service: definition.alias_service.clone().into(),
                };
                let (aliases, reporter) = (self.aliases.clone(), self.reporter.clone());
                tokio::spawn(alias::run(alias, definition.token.clone(), aliases, reporter))
            }
            None => return Err(StartError::InvalidType),
        };
        Ok(CheckHandle { task, updates: None, check_id })
    }

    fn spawn_polling(
        &self,
        definition: &CheckDefinition,
        probe: Probe,
        rng: &mut fastrand::Rng,
    ) -> JoinHandle<()> {
        let minimum = self.settings.interval_min;
        let (interval, was_raised) = definition::interval(definition, minimum);
        let check_id = definition.check_id.clone();
        if was_raised {
            tracing::warn!(
                target: "agent",
                check = %check_id,
                minimum_interval = %minimum,
                "check has interval below minimum"
            );
        }
        let interval = interval.to_std();
        let first_delay = random_below(interval, rng);
        let thresholds = Thresholds::new(definition);
        let polling =
            Polling { check_id: check_id.clone(), thresholds, reporter: self.reporter.clone() };
        let (probe, settings) = (Arc::new(probe), self.settings.clone());
        let ask = move || -> Run {
            let (probe, check_id, settings) = (probe.clone(), check_id.clone(), settings.clone());
            Box::pin(async move { probe.run(&check_id, &settings).await })
        };
        tokio::spawn(polling.run(first_delay, interval, ask))
    }
}

/// A run under way. It is boxed, so that a check that sleeps does not hold its room.
type Run = Pin<Box<dyn Future<Output = Observation> + Send>>;

fn random_below(interval: Duration, rng: &mut fastrand::Rng) -> Duration {
    let nanoseconds = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(if nanoseconds == 0 { 0 } else { rng.u64(0..nanoseconds) })
}

/// A polling check between its runs.
struct Polling {
    check_id: CheckId,
    thresholds: Thresholds,
    reporter: Arc<dyn Reporter>,
}

impl Polling {
    /// Asks for ever: first after `first_delay`, then `interval` after the end
    /// of the run before, so that runs never overlap.
    async fn run(
        mut self,
        first_delay: Duration,
        interval: Duration,
        ask: impl Fn() -> Run + Send,
    ) {
        tokio::time::sleep(first_delay).await;
        loop {
            let observation = ask().await;
            self.handle_observation(observation);
            tokio::time::sleep(interval).await;
        }
    }

    fn handle_observation(&mut self, observation: Observation) {
        let Outcome { status, output } = observation.outcome;
        tracing::trace!(target: "agent", check = %self.check_id, output = %output, "Check output");
        if observation.bypasses_thresholds {
            self.reporter.update(&self.check_id, status, output);
            return;
        }
        let verdict = self.thresholds.handle_result(&status);
        self.log(&status, &verdict);
        if let Verdict::Apply(applied) = verdict {
            self.reporter.update(&self.check_id, applied, output);
        }
    }

    fn log(&self, status: &Status, verdict: &Verdict) {
        let check = &self.check_id;
        match verdict {
            Verdict::Apply(applied) if status == applied && *status != Status::Critical => {
                log_updated(check, applied);
            }
            Verdict::Apply(applied) => {
                tracing::warn!(target: "agent", check = %check, "Check is now {applied}");
            }
            Verdict::TooFewSuccesses { count, threshold } => tracing::warn!(
                target: "agent",
                check = %check,
                status = %status,
                success_count = count,
                success_threshold = threshold,
                "Check passed but has not reached success threshold"
            ),
            Verdict::TooFewFailures { count, warning_threshold, critical_threshold } => {
                tracing::warn!(
                    target: "agent",
                    check = %check,
                    status = %status,
                    failure_count = count,
                    warning_threshold,
                    failure_threshold = critical_threshold,
                    "Check failed but has not reached warning/failure threshold"
                );
            }
        }
    }
}

fn log_updated(check: &CheckId, status: &Status) {
    tracing::debug!(target: "agent", check = %check, status = %status, "Check status updated");
}

/// A running check. Dropping it stops the check.
#[derive(Debug)]
pub struct CheckHandle {
    check_id: CheckId,
    task: JoinHandle<()>,
    updates: Option<TtlUpdates>,
}

impl CheckHandle {
    /// The way to tell a TTL check its status; [`crate::NotTtl`] for any other.
    /// It is a cheap copy, so that no lock on the handle need be held while
    /// the check is told.
    pub fn updates(&self) -> Result<TtlUpdates, crate::NotTtl> {
        self.updates.clone().ok_or_else(|| crate::NotTtl(self.check_id.clone()))
    }

    /// Tells a TTL check that all is well.
    pub async fn pass(&self, note: &str) -> Result<(), crate::NotTtl> {
        self.updates()?.update(Status::Passing, note).await;
        Ok(())
    }

    /// Tells a TTL check that something needs attention.
    pub async fn warn(&self, note: &str) -> Result<(), crate::NotTtl> {
        self.updates()?.update(Status::Warning, note).await;
        Ok(())
    }

    /// Tells a TTL check that its service fails.
    pub async fn fail(&self, note: &str) -> Result<(), crate::NotTtl> {
        self.updates()?.update(Status::Critical, note).await;
        Ok(())
    }

    /// Stops the check and waits until its task is gone; nothing is reported
    /// after that. A program that it runs is killed.
    pub async fn stop(mut self) {
        self.task.abort();
        // The error says that the task was stopped, or that it panicked, which
        // the panic hook has told.
        let _ = (&mut self.task).await;
    }
}

impl Drop for CheckHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs `work` while `connection` moves its bytes; `connection` may end first.
async fn alongside<W: Future>(connection: impl Future, work: W) -> W::Output {
    let mut connection = std::pin::pin!(connection);
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        result = &mut work => result,
        _ = &mut connection => work.await,
    }
}

#[cfg(test)]
mod tests;
