//! User events: small messages that reach every agent of a datacenter, best effort and
//! without replay (`reference/http-api.md` 2.9 and 3.10, `reference/gossip-wire.md`
//! section 16).
//!
//! An event leaves through [`Broadcast`] and comes back as a [`Delivery`], on the agent
//! that sent it as on every other. What a delivery is, whether it is meant for this agent
//! and what the agent remembers of it is decided in [`ring`], which does no I/O; this
//! module carries messages between the pool, the ring and those who wait for it.

pub(crate) mod broadcast;
mod ring;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use acl::{Permission, Resource};
use contract::CallError;
use filter::Pattern;
use tokio::sync::{mpsc, watch};
use types::user_event::{UserEvent, VERSION};
use types::{Datacenter, EventId, Index, NodeName, SecretId};

use crate::endpoint::AuthorizerHook;
use crate::local::Local;
use broadcast::{Broadcast, Delivery};
use ring::{Addressee, EventRing, Received};

/// The events of this agent. Clones are the same one.
#[derive(Clone)]
pub(crate) struct UserEvents {
    shared: Arc<Shared>,
}

struct Shared {
    node: NodeName,
    local: Local,
    authorizer: AuthorizerHook,
    broadcast: Arc<dyn Broadcast>,
    ring: Mutex<EventRing>,
    /// Sent whenever an event was kept.
    kept: watch::Sender<()>,
}

/// Events of a name, and the number under which to wait for the next one.
pub(crate) struct Listing {
    pub(crate) events: Vec<Arc<UserEvent>>,
    pub(crate) index: Index,
}

impl UserEvents {
    /// The events of the agent of this node, that leave it through `broadcast`.
    pub(crate) fn new(
        node: NodeName,
        local: Local,
        authorizer: AuthorizerHook,
        broadcast: Arc<dyn Broadcast>,
    ) -> Self {
        let (ring, kept) = (Mutex::default(), watch::Sender::new(()));
        Self { shared: Arc::new(Shared { node, local, authorizer, broadcast, ring, kept }) }
    }

    /// Takes in what the pool delivers, until it ends or the agent stops. Orders to
    /// execute something go to `executions`.
    pub(crate) async fn run(
        self,
        mut deliveries: mpsc::Receiver<Delivery>,
        executions: mpsc::Sender<UserEvent>,
        mut stop: watch::Receiver<bool>,
    ) {
        loop {
            tokio::select! {
                delivery = deliveries.recv() => match delivery {
                    Some(delivery) => self.handle_delivery(&delivery, &executions),
                    None => return,
                },
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Sends an event to every agent of a datacenter and gives it with its new id.
    pub(crate) async fn fire(
        &self,
        datacenter: Datacenter,
        mut event: UserEvent,
        token: &SecretId,
    ) -> Result<UserEvent, CallError> {
        check_filters(&event)?;
        let permission = Permission::write(Resource::Event, &event.name);
        if !(self.shared.authorizer)(token).allows(permission) {
            // Consul tells nobody here what is missing.
            return Err(acl_denied());
        }
        event.id = EventId::from(types::uuid(fastrand::u128(..)));
        event.version = VERSION;
        self.shared.broadcast.broadcast(datacenter, event.clone(), token.clone()).await?;
        Ok(event)
    }

    /// The events of this name that the holder of the token may read, oldest first; of
    /// any name if it is empty.
    pub(crate) fn list(&self, name: &str, token: &SecretId) -> Listing {
        let who = (self.shared.authorizer)(token);
        let mut events = self.ring().list(name);
        events.retain(|event| who.allows(Permission::read(Resource::Event, &event.name)));
        let index = Index(events.last().map_or(0, |event| event.index()).max(1));
        Listing { events, index }
    }

    /// As [`Self::list`], once the index is another one than `known`, or after `wait`.
    pub(crate) async fn wait(
        &self,
        name: &str,
        token: &SecretId,
        known: Index,
        wait: Duration,
    ) -> Listing {
        // Watching begins before the first look, so that nothing is missed in between.
        let mut kept = self.shared.kept.subscribe();
        let changed = async {
            loop {
                let listing = self.list(name, token);
                if listing.index != known {
                    return listing;
                }
                if kept.changed().await.is_err() {
                    return listing;
                }
            }
        };
        match tokio::time::timeout(wait, changed).await {
            Ok(listing) => listing,
            Err(_) => self.list(name, token),
        }
    }

    fn ring(&self) -> MutexGuard<'_, EventRing> {
        self.shared.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle_delivery(&self, delivery: &Delivery, executions: &mpsc::Sender<UserEvent>) {
        let services = self.shared.local.services();
        let own = Addressee { node: self.shared.node.as_str(), services: &services };
        let received = self.ring().handle_delivery(delivery, &own);
        match received {
            Received::Kept(event) => {
                if event.version > VERSION {
                    tracing::warn!(target: "agent", event_id = %event.id, version = event.version, "Event version may have unsupported features");
                }
                tracing::debug!(target: "agent", event_name = event.name, event_id = %event.id, "new event");
                self.shared.kept.send_replace(());
            }
            Received::RemoteExec(event) => {
                let id = event.id.clone();
                if executions.try_send(event).is_err() {
                    tracing::warn!(target: "agent", event_id = %id, "Too many remote executions wait; dropped one");
                }
            }
            Received::NewLeader(name) => {
                tracing::info!(target: "agent.server", payload = name, "New leader elected");
                self.shared.local.server_found();
            }
            Received::Malformed(error) => {
                tracing::error!(target: "agent", error = %error, "Failed to decode event");
            }
            Received::BadFilter { event_id, error } => {
                tracing::error!(target: "agent", event_id = %event_id, error = %error, "Failed to parse filter for event");
            }
            Received::NotMeant => {}
        }
    }
}

fn acl_denied() -> CallError {
    CallError::new(contract::ErrorKind::Denied, "Permission denied")
}

/// Whoever sends an event learns of a wrong filter, not everybody who receives it.
fn check_filters(event: &UserEvent) -> Result<(), CallError> {
    for (what, filter) in [
        ("node", &event.node_filter),
        ("service", &event.service_filter),
        ("tag", &event.tag_filter),
    ] {
        Pattern::compile(filter)
            .map_err(|error| CallError::failed(format!("Invalid {what} filter: {error}")))?;
    }
    if !event.tag_filter.is_empty() && event.service_filter.is_empty() {
        return Err(CallError::failed("Cannot provide tag filter without service filter"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
