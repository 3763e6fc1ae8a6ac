//! The way of an event out of this agent, and back in.

use contract::CallError;
use http_server::BoxFuture;
use server::{EventFireRequest, Server};
use types::user_event::{LamportTime, UserEvent};
use types::{Blob, Datacenter, SecretId};

use crate::delegate::Client;
use crate::gossip::Pool;

/// What stands before the name of an event in the pool.
pub(crate) const POOL_PREFIX: &str = "consul:event:";

/// Sends events to every agent of a datacenter, this one included if it is its own.
pub(crate) trait Broadcast: Send + Sync + 'static {
    /// Sends an event on behalf of whoever holds the token.
    ///
    /// # Errors
    /// It is too large, or this agent cannot send at the moment.
    fn broadcast(
        &self,
        datacenter: Datacenter,
        event: UserEvent,
        token: SecretId,
    ) -> BoxFuture<Result<(), CallError>>;
}

/// By way of the servers of the datacenter.
impl Broadcast for Client {
    fn broadcast(
        &self,
        datacenter: Datacenter,
        event: UserEvent,
        token: SecretId,
    ) -> BoxFuture<Result<(), CallError>> {
        let client = self.clone();
        Box::pin(async move { client.fire_event(&datacenter, &event, &token).await })
    }
}

/// A message that reached this agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// When it was sent.
    pub(crate) lamport_time: LamportTime,
    /// The name in the pool.
    pub(crate) name: String,
    /// What it carries.
    pub(crate) payload: Vec<u8>,
}

/// Of a server: by way of its LAN pool, or of the servers of another datacenter.
pub(crate) struct PoolBroadcast {
    pub(crate) server: Server,
    pub(crate) pool: Pool,
    pub(crate) datacenter: Datacenter,
}

impl Broadcast for PoolBroadcast {
    fn broadcast(
        &self,
        datacenter: Datacenter,
        event: UserEvent,
        token: SecretId,
    ) -> BoxFuture<Result<(), CallError>> {
        if !datacenter.is_empty() && datacenter != self.datacenter {
            let server = self.server.clone();
            let request = EventFireRequest {
                allow_stale: true,
                datacenter,
                name: event.name.clone(),
                payload: Blob(event.to_wire().into()),
                token,
            };
            return Box::pin(async move { server::fire_event(&server, request).await });
        }
        let pool = self.pool.clone();
        Box::pin(async move {
            let (name, payload) = (format!("{POOL_PREFIX}{}", event.name), event.to_wire());
            let sent = pool.user_event(name, payload.into(), false).await;
            sent.map_err(|error| CallError::failed(format!("error broadcasting event: {error}")))
        })
    }
}
