//! The task around [`Ttl`]: one timer and a queue of updates.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use types::CheckId;
use types::check::{CheckDefinition, Status};

use super::{Reporter, log_updated};
use crate::status::ttl::Ttl;

/// Updates that wait for a check's task; more make the sender wait.
const UPDATES_MAX: usize = 16;

struct Update {
    status: Status,
    note: String,
    reported: oneshot::Sender<()>,
}

/// Tells one TTL check its status. Copies tell the same check.
#[derive(Clone, Debug)]
pub struct TtlUpdates {
    sender: mpsc::Sender<Update>,
}

impl TtlUpdates {
    /// Sets the status, starts the timer again, and returns when the reporter
    /// has been told. Does nothing when the check was stopped meanwhile.
    pub async fn update(&self, status: Status, note: &str) {
        let (reported, done) = oneshot::channel();
        let update = Update { status, note: note.to_owned(), reported };
        if self.sender.send(update).await.is_ok() {
            // An error here means that the check was stopped.
            let _ = done.await;
        }
    }
}

/// The queue and the task of a TTL check; its timer runs from here on.
pub(super) fn prepare(
    check: CheckId,
    definition: &CheckDefinition,
    output_limit: usize,
    last_output: &str,
    reporter: Arc<dyn Reporter>,
) -> (TtlUpdates, impl Future<Output = ()> + Send + use<>) {
    let (sender, receiver) = mpsc::channel(UPDATES_MAX);
    let ttl = Ttl::new(definition.ttl.to_std(), output_limit, last_output.to_owned(), now());
    (TtlUpdates { sender }, run(check, ttl, receiver, reporter))
}

async fn run(
    check: CheckId,
    mut ttl: Ttl,
    mut updates: mpsc::Receiver<Update>,
    reporter: Arc<dyn Reporter>,
) {
    loop {
        let wait = ttl.poll_timeout();
        tokio::select! {
            biased;
            update = updates.recv() => match update {
                Some(Update { status, note, reported }) => {
                    let outcome = ttl.handle_update(status, note, now());
                    log_updated(&check, &outcome.status);
                    reporter.update(&check, outcome.status, outcome.output);
                    // Nobody may be waiting any more.
                    let _ = reported.send(());
                }
                // All senders, so the handle too, are gone: the check is stopped.
                None => return,
            },
            () = sleep_until(wait) => {
                if let Some(outcome) = ttl.handle_timeout(now()) {
                    tracing::warn!(target: "agent", check = %check, "Check missed TTL, is now critical");
                    reporter.update(&check, outcome.status, outcome.output);
                }
            }
        }
    }
}

/// The time as tokio's timers see it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
