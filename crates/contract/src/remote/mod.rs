//! How calls cross the server port: as Consul's net/rpc methods, with its structs
//! (`reference/rpc-wire.md` sections 4, 5, 12 and 16).
//!
//! Both directions are here, since agents of ours ask real servers and real agents ask ours:
//!
//! - Whoever sends: [`AnyQuery::to_request`](crate::AnyQuery::to_request) and its like make
//!   the [`Outgoing`] call, `decode_reply` reads what comes back.
//! - Whoever serves: [`header`] is all that forwarding needs to know of a call. A
//!   [`MethodDef`] decodes it into a [`RemoteCall`], which also knows how to write the reply.
//!
//! A domain says in its `remote.rs` what is particular to it: the names of the fields and
//! where they come from ([`QueryMethod`], [`CommandMethod`], [`ActionMethod`]). The options
//! of a request and the facts of a reply share a map with these fields; that is done here,
//! once. What no server is asked for by another has no method: a bare `impl RemoteQuery`.
//!
//! Unknown fields are passed over, missing ones and nil are zero, as in Consul. Where a field
//! of ours differs from Consul's struct, Consul's is what crosses the wire.

mod action;
mod command;
mod method;
mod options;
mod query;
mod refusal;
#[cfg(test)]
mod tests;

pub use action::{ActionMethod, RemoteAction};
pub use command::{CommandMethod, DecodeReply, RemoteCommand, ReplyReader, reading, with_token};
pub use method::{EncodeReply, MethodClass, MethodDef, RemoteCall};
pub use options::{QueryOptions, header};
pub use query::{QueryMethod, RemoteQuery};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use types::msgpack;

use crate::error::CallError;
use crate::response::ReadFacts;

/// A call on its way to another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The method, `KVS.Get`.
    pub method: &'static str,
    /// The argument, token included. Not for logs.
    pub args: Args,
}

/// The encoded argument of a call. It may hold secrets, so `Debug` shows its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct Args(pub Bytes);

impl std::fmt::Debug for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Args({} bytes)", self.0.len())
    }
}

/// The struct without fields: what a method replies that has nothing to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

/// Encodes a reply or a request that is one value.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Bytes {
    msgpack::to_vec(value).into()
}

/// Encodes a reply that has the facts of the read among its fields.
pub fn encode_with_facts<T: Serialize + ?Sized>(reply: &T, facts: &ReadFacts) -> Bytes {
    join(reply, &facts.to_meta(""))
}

/// Decodes an argument; the text is what the sender gets.
pub fn decode_args<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CallError> {
    msgpack::from_slice(bytes)
        .map_err(|error| CallError::failed(format!("the request cannot be read: {error}")))
}

/// Decodes what another server replied.
pub fn decode_reply<T: DeserializeOwned>(method: &str, bytes: &[u8]) -> Result<T, CallError> {
    msgpack::from_slice(bytes).map_err(|error| {
        CallError::failed(format!("the reply of the server to {method} cannot be read: {error}"))
    })
}

/// The same rows, or nil for none: what Consul sends of a list that nobody filled.
pub fn nil_if_empty<R>(rows: &[R]) -> Option<&[R]> {
    (!rows.is_empty()).then_some(rows)
}

/// Whether a field can be left out, for `skip_serializing_if`.
pub fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn join<A: Serialize + ?Sized, B: Serialize + ?Sized>(value: &A, beside: &B) -> Bytes {
    let mut out = Vec::with_capacity(256);
    msgpack::write_joined(&mut out, value, beside);
    out.into()
}
