//! The task of an alias check: follows the checks of another service or node.
//!
//! The agent gives an [`AliasSource`], which answers from its own state for the
//! local node and by a blocking query to the servers for any other.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use types::check::HealthCheck;
use types::{Index, NodeName, SecretId, ServiceId};

use super::Reporter;
use crate::status::Outcome;
use crate::status::alias::{Alias, Retries};

/// An alias is evaluated at least this often.
pub const WAIT: Duration = Duration::from_secs(60);
/// The oldest answer that an alias of another node accepts.
pub const STALE_MAX: Duration = Duration::from_secs(15);
/// The pause after an answer that came early and brought nothing, which keeps
/// a source that never waits from spinning.
const EARLY_ANSWER_PAUSE: Duration = Duration::from_secs(1);

/// What an alias asks for.
#[derive(Clone, Copy, Debug)]
pub struct AliasQuery<'a> {
    /// The node whose checks are wanted; `None` for the local one, which is
    /// answered from the agent's own state.
    pub node: Option<&'a NodeName>,
    /// The service id that must exist there; empty when only the node counts.
    pub service: &'a ServiceId,
    /// The token of the alias check.
    pub token: &'a SecretId,
    /// Answer when the state is newer than this (0: at once), or after `wait`.
    pub newer_than: Index,
    /// The longest wait for a newer state.
    pub wait: Duration,
    /// The oldest answer that is accepted from a server.
    pub stale_max: Duration,
}

/// The checks of a node at some index.
#[derive(Clone, Debug, Default)]
pub struct AliasState {
    /// Whether the wanted service is registered on the node.
    pub service_found: bool,
    /// The checks of the node and of its services; others do not count.
    pub checks: Vec<HealthCheck>,
    /// The index to ask with next. For the local node any number that grows
    /// with every change.
    pub index: Index,
}

/// The checks could not be read; the text becomes part of the check's output.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct AliasFailure(pub String);

/// The answer to come.
pub type AliasAnswer<'a> =
    Pin<Box<dyn Future<Output = Result<AliasState, AliasFailure>> + Send + 'a>>;

/// Where the checks of aliased services and nodes come from.
pub trait AliasSource: Send + Sync + 'static {
    /// Answers as [`AliasQuery::newer_than`] and [`AliasQuery::wait`] ask.
    fn fetch<'a>(&'a self, query: AliasQuery<'a>) -> AliasAnswer<'a>;
}

/// A source that never answers: alias checks keep their first status.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAliases;

impl AliasSource for NoAliases {
    fn fetch<'a>(&'a self, _query: AliasQuery<'a>) -> AliasAnswer<'a> {
        Box::pin(std::future::pending())
    }
}

/// Follows the aliased checks for ever and reports every change.
pub(super) async fn run(
    alias: Alias,
    token: SecretId,
    source: Arc<dyn AliasSource>,
    reporter: Arc<dyn Reporter>,
) {
    let mut retries = Retries::default();
    let mut newer_than = Index(0);
    let mut reported: Option<Outcome> = None;
    loop {
        let asked_at = tokio::time::Instant::now();
        let query = AliasQuery {
            node: Some(&alias.node).filter(|node| !node.is_empty()),
            service: &alias.service,
            token: &token,
            newer_than,
            wait: WAIT,
            stale_max: STALE_MAX,
        };
        let (outcome, pause) = match source.fetch(query).await {
            Ok(state) => {
                retries.handle_success();
                let early = state.index <= newer_than && asked_at.elapsed() < WAIT / 2;
                // An index that went back says that the state was replaced.
                newer_than = if state.index < newer_than { Index(0) } else { state.index };
                let outcome = alias.evaluate(state.service_found, &state.checks);
                (Some(outcome), if early { EARLY_ANSWER_PAUSE } else { Duration::ZERO })
            }
            Err(error) => {
                newer_than = Index(0);
                let (pause, outcome) = retries.handle_failure(&error.to_string());
                (outcome, pause)
            }
        };
        if outcome.is_some() && outcome != reported {
            reported = outcome.clone();
            if let Some(Outcome { status, output }) = outcome {
                reporter.update(&alias.check_id, status, output);
            }
        }
        tokio::time::sleep(pause).await;
    }
}
