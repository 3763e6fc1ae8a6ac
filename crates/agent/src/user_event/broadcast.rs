//! The way of an event out of this agent, and back in.

use std::sync::{Mutex, PoisonError};

use contract::CallError;
use http_server::BoxFuture;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::mpsc;
use types::user_event::{LamportTime, UserEvent};
use types::{Blob, Datacenter, SecretId, msgpack};

use crate::delegate::Client;

/// Most bytes of an event in the pool (`reference/gossip-wire.md` section 9).
const BYTES_MAX: usize = 512;

/// Deliveries that wait to be taken in.
const WAITING_MAX: usize = 256;

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

/// Why a message was not sent. The first two texts are serf's.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum BroadcastError {
    /// Name and payload alone are too large.
    #[error("user event exceeds configured limit of {BYTES_MAX} bytes before encoding")]
    TooLarge,
    /// It became too large on the way into a packet.
    #[error("encoded user event exceeds configured limit of {BYTES_MAX} bytes after encoding")]
    TooLargeEncoded,
    /// Nobody takes in what was delivered.
    #[error("{WAITING_MAX} events wait to be delivered on this agent; try again")]
    Full,
}

/// Whether a message fits into a packet of the pool.
fn check_size(message: &PoolMessage<'_>) -> Result<(), BroadcastError> {
    if message.name.len() + message.payload.len() > BYTES_MAX {
        return Err(BroadcastError::TooLarge);
    }
    // One byte before it says what kind of message it is.
    if 1 + msgpack::to_vec(message).len() > BYTES_MAX {
        return Err(BroadcastError::TooLargeEncoded);
    }
    Ok(())
}

/// A user event as serf encodes it (`reference/gossip-wire.md` section 8).
#[derive(Serialize)]
struct PoolMessage<'m> {
    #[serde(rename = "LTime")]
    lamport_time: LamportTime,
    #[serde(rename = "Name")]
    name: &'m str,
    #[serde(rename = "Payload")]
    payload: Blob,
    /// Whether events of one name may be melted into one. Consul never asks for it.
    #[serde(rename = "CC")]
    coalesce: bool,
}

/// The pool of an agent that is alone: what it sends comes back to itself, under the
/// limits of a real pool.
pub(crate) struct Alone {
    datacenter: Datacenter,
    clock: Mutex<LamportTime>,
    deliveries: mpsc::Sender<Delivery>,
}

impl Alone {
    /// The pool of this datacenter, and what it delivers.
    pub(crate) fn new(datacenter: Datacenter) -> (Self, mpsc::Receiver<Delivery>) {
        let (deliveries, queue) = mpsc::channel(WAITING_MAX);
        (Self { datacenter, clock: Mutex::new(LamportTime(1)), deliveries }, queue)
    }
}

impl Broadcast for Alone {
    fn broadcast(
        &self,
        datacenter: Datacenter,
        event: UserEvent,
        _token: SecretId,
    ) -> BoxFuture<Result<(), CallError>> {
        if !datacenter.is_empty() && datacenter != self.datacenter {
            return Box::pin(std::future::ready(Err(CallError::no_path_to_datacenter())));
        }
        let sent = self.send(&format!("{POOL_PREFIX}{}", event.name), &event.to_wire());
        let failed = |error| CallError::failed(format!("error broadcasting event: {error}"));
        Box::pin(std::future::ready(sent.map_err(failed)))
    }
}

impl Alone {
    fn send(&self, name: &str, payload: &[u8]) -> Result<(), BroadcastError> {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let lamport_time = *clock;
        let message = PoolMessage {
            lamport_time,
            name,
            payload: Blob(bytes::Bytes::copy_from_slice(payload)),
            coalesce: false,
        };
        check_size(&message)?;
        let delivery = Delivery { lamport_time, name: name.to_owned(), payload: payload.to_vec() };
        self.deliveries.try_send(delivery).map_err(|_| BroadcastError::Full)?;
        *clock = LamportTime(lamport_time.0 + 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use types::user_event::VERSION;

    use super::*;

    fn send(pool: &Alone, payload_len: usize) -> Result<(), BroadcastError> {
        let event = UserEvent {
            id: types::uuid(7).into(),
            name: "abc".to_owned(),
            payload: Blob(vec![b'a'; payload_len].into()),
            version: VERSION,
            ..UserEvent::default()
        };
        pool.send("consul:event:abc", &event.to_wire())
    }

    /// The sizes at which Consul 1.8.7 says no, tried byte by byte.
    #[test]
    fn events_are_refused_from_the_size_on_at_which_consul_refuses_them() {
        let (pool, _queue) = Alone::new("dc1".into());
        assert_eq!(send(&pool, 410), Ok(()));
        assert_eq!(send(&pool, 411), Err(BroadcastError::TooLargeEncoded));
        assert_eq!(send(&pool, 440), Err(BroadcastError::TooLargeEncoded));
        assert_eq!(send(&pool, 441), Err(BroadcastError::TooLarge));
        assert_eq!(send(&pool, 9000), Err(BroadcastError::TooLarge));
    }

    #[test]
    fn the_clock_grows_with_each_event_that_is_sent_and_with_no_other() {
        let (pool, mut queue) = Alone::new("dc1".into());
        for length in [1, 9000, 1] {
            let _ = send(&pool, length);
        }
        let mut time = || queue.try_recv().map(|delivery| delivery.lamport_time);
        assert_eq!([time(), time()], [Ok(LamportTime(1)), Ok(LamportTime(2))]);
        assert!(time().is_err());
    }

    #[test]
    fn a_queue_that_nobody_empties_is_bounded() {
        let (pool, _queue) = Alone::new("dc1".into());
        for _ in 0..WAITING_MAX {
            send(&pool, 1).expect("there is room");
        }
        assert_eq!(send(&pool, 1), Err(BroadcastError::Full));
    }
}
