//! `consul explain`: one traced answer to "why do I (not) see this?".
//!
//! It asks the same questions that clients ask, through the same doors, and tells what
//! each station on the way answers: the agent's own registrations and whether the
//! catalog was told ([`crate::local::report`]), the catalog, tags and filters, health,
//! DNS; for a key the store, its lock and the session behind it. [`gather`] asks, the
//! other files make words of the facts and are pure.
//!
//! Nothing is told that the token could not have found out by asking itself.

mod dns;
mod gather;
mod key;
mod service;
#[cfg(test)]
mod tests;

mod words;

use std::sync::Arc;

use crate::dns_server::Answerer;
use crate::local::Local;
use crate::process::AgentHandle;

/// Explains what this agent sees.
#[derive(Clone)]
pub(crate) struct Explainer {
    handle: AgentHandle,
    local: Local,
    answerer: Arc<Answerer>,
}

impl Explainer {
    /// An explainer over the parts of an agent.
    pub(crate) fn new(handle: AgentHandle, local: Local, answerer: Arc<Answerer>) -> Self {
        Self { handle, local, answerer }
    }
}
