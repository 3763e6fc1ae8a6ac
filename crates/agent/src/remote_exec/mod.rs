//! Remote execution: this agent's side of `consul exec`. Off unless
//! `disable_remote_exec = false`.
//!
//! An event names a job in the KV store; the agent says that it begins, runs it, and
//! writes its output and its exit code back, all of it under the session of whoever
//! ordered (`types::remote_exec`). [`job`] decides what happens when, without I/O;
//! [`run`] reads, writes and runs.
//!
//! When the session ends while the program runs, or the agent stops, the program is
//! killed with all it started. What it left behind on purpose when it ended by itself
//! lives on, as with Consul.

mod job;
mod run;
mod store;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use types::NodeName;
use types::user_event::UserEvent;

use job::Job;
pub(crate) use store::{JobStore, KvJobStore};

/// Orders that wait to be looked at; more are dropped.
pub(crate) const WAITING_MAX: usize = 16;

/// Programs that run at a time; further orders are refused.
const RUNNING_MAX: usize = 64;

/// What carries out orders.
pub(crate) struct RemoteExec {
    /// The name of this node.
    pub(crate) node: NodeName,
    /// The shell of commands and scripts.
    pub(crate) shell: String,
    /// Where jobs stand.
    pub(crate) store: Arc<dyn JobStore>,
}

impl RemoteExec {
    /// Carries out orders until the agent stops; what runs then is killed.
    pub(crate) async fn run(
        self,
        mut orders: mpsc::Receiver<UserEvent>,
        mut stop: watch::Receiver<bool>,
    ) {
        let this = Arc::new(self);
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => this.begin(&order, &mut running),
                    None => return,
                },
                // An error is a panic, which the panic hook has told.
                Some(_) = running.join_next() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    fn begin(self: &Arc<Self>, order: &UserEvent, running: &mut JoinSet<()>) {
        tracing::debug!(target: "agent", id = %order.id, "received remote exec event");
        if running.len() >= RUNNING_MAX {
            tracing::warn!(target: "agent", id = %order.id, max = RUNNING_MAX, "Too many remote executions run; refused one");
            return;
        }
        match Job::new(&order.payload, self.node.clone(), Instant::now()) {
            Ok(job) => {
                let this = Arc::clone(self);
                running.spawn(async move { run::carry_out(job, &this.shell, &*this.store).await });
            }
            Err(error) => {
                tracing::error!(target: "agent", error, "failed to decode remote exec event");
            }
        }
    }
}

/// Executes nothing, and says so in the log.
pub(crate) async fn refuse_all(mut orders: mpsc::Receiver<UserEvent>) {
    while let Some(order) = orders.recv().await {
        tracing::info!(target: "agent", event_name = order.name, event_id = %order.id, "ignoring remote exec event, disabled.");
    }
}

#[cfg(test)]
mod tests;
