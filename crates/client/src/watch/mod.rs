//! Watches: a query whose handler is called when its answer changes
//! (`reference/cli.md` section 21, `reference/config.md` 7.3).
//!
//! `consul watch` and the watches in an agent's configuration are the same thing with other
//! handlers. This module is what they share:
//!
//! - [`WatchQuery`]: the parameters of a definition and the request that they make;
//! - [`WatchPlan`]: the machine that tells changes from answers, without network or clock;
//! - [`Watcher`]: a plan, a [`Client`], and the waiting between the two.
//!
//! ```no_run
//! # async fn example(client: client::Client) -> Result<(), client::watch::InvalidWatch> {
//! use client::watch::{WatchEvent, WatchPlan, WatchQuery, Watcher};
//!
//! let parameters = serde_json::json!({"type": "key", "key": "app/limit"});
//! let query = WatchQuery::parse(parameters.as_object().cloned().unwrap_or_default())?;
//! let mut watcher = Watcher::new(client, WatchPlan::new(query));
//! loop {
//!     match watcher.next().await {
//!         WatchEvent::Changed(change) => println!("{}", String::from_utf8_lossy(&change.json)),
//!         WatchEvent::Failed { error, retry } => eprintln!("{error}, again in {retry:?}"),
//!     }
//! }
//! # }
//! ```
//!
//! A handler that the caller runs between two calls of [`Watcher::next`] never runs twice at
//! once, and misses no last state: what happens meanwhile is one change afterwards.

mod plan;
mod query;
mod shape;

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

pub use plan::{Change, Fingerprint, PlanAnswer, UnusableAnswer, WatchPlan};
pub use query::{InvalidWatch, Parameters, WatchHead, WatchQuery, take_text};

use crate::{Client, Error};

/// Requests that should wait for a change and come back without one leave this much between
/// them, so that an agent (or a proxy before it) that does not wait is not asked in a circle.
const PACE: Duration = Duration::from_millis(250);

/// What a watch brings.
#[derive(Debug)]
pub enum WatchEvent {
    /// Another state than before.
    Changed(Change),
    /// The agent could not be asked; it is asked again after a while.
    Failed {
        /// Why.
        error: WatchError,
        /// How long the next call of [`Watcher::next`] waits first.
        retry: Duration,
    },
}

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No answer.
    #[error(transparent)]
    Request(#[from] Error),
    /// An answer that says nothing.
    #[error(transparent)]
    Answer(#[from] UnusableAnswer),
}

/// A plan that asks an agent.
pub struct Watcher {
    client: Client,
    plan: WatchPlan,
    not_before: Option<Instant>,
}

impl Watcher {
    /// Asks nothing yet.
    pub fn new(client: Client, plan: WatchPlan) -> Self {
        Self { client, plan, not_before: None }
    }

    /// The plan.
    pub fn plan(&self) -> &WatchPlan {
        &self.plan
    }

    /// Waits for the next change or failure. Dropping the future loses neither: what was not
    /// returned comes with the next call.
    pub async fn next(&mut self) -> WatchEvent {
        loop {
            if let Some(moment) = self.not_before {
                sleep_until(moment).await;
                self.not_before = None;
            }
            let (asked, waits) = (Instant::now(), self.plan.waits());
            match self.ask().await {
                Ok(Some(change)) => return WatchEvent::Changed(change),
                Ok(None) if waits && asked.elapsed() < PACE => sleep(PACE).await,
                Ok(None) => {}
                Err(error) => {
                    let retry = self.plan.handle_failure();
                    self.not_before = Some(Instant::now() + retry);
                    return WatchEvent::Failed { error, retry };
                }
            }
        }
    }

    async fn ask(&mut self) -> Result<Option<Change>, WatchError> {
        let response = self.client.send(self.plan.request()).await?;
        let (status, index) = (response.status().as_u16(), response.meta().last_index);
        let body = response.bytes().await?;
        Ok(self.plan.handle_answer(&PlanAnswer { status, index, body: &body })?)
    }
}
