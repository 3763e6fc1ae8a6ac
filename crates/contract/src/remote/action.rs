//! Actions as methods.

use std::any::Any;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::query::read_facts;
use super::{Args, Outgoing, QueryOptions, decode_reply, join};
use crate::action::Action;
use crate::error::CallError;
use crate::options::ReadOptions;
use crate::response::ReadFacts;

/// How an action is asked of another server. What implements [`ActionMethod`] has it.
pub trait RemoteAction {
    /// The call. None if no method carries the action.
    fn to_request(&self) -> Option<Outgoing> {
        None
    }

    /// Reads what another server replied; the reply is the action's `Reply`.
    fn decode_reply(
        &self,
        bytes: &[u8],
    ) -> Result<(Box<dyn Any + Send + Sync>, ReadFacts), CallError> {
        let _ = bytes;
        Err(CallError::failed("no server can be asked this"))
    }
}

/// An action that is a method of Consul's.
pub trait ActionMethod: Action {
    /// The method.
    const METHOD: &'static str = Self::NAME;
    /// The argument without its options.
    type Request: Serialize + DeserializeOwned;
    /// The reply as it is written.
    type Wire<'r>: Serialize;
    /// The reply as it is read.
    type Received: DeserializeOwned;

    /// The argument.
    fn request(&self) -> Self::Request;

    /// The action that an argument stands for.
    fn of_request(request: Self::Request, options: ReadOptions) -> Result<Self, CallError>
    where
        Self: Sized;

    /// The reply to write.
    fn wire(reply: &Self::Reply) -> Self::Wire<'_>;

    /// The reply that was read.
    fn of_wire(
        &self,
        received: Self::Received,
        facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError>;
}

impl<A: ActionMethod> RemoteAction for A {
    fn to_request(&self) -> Option<Outgoing> {
        let args = Args(join(&self.request(), &QueryOptions::new(self.options(), "")));
        Some(Outgoing { method: Self::METHOD, args })
    }

    fn decode_reply(
        &self,
        bytes: &[u8],
    ) -> Result<(Box<dyn Any + Send + Sync>, ReadFacts), CallError> {
        let received = decode_reply(Self::METHOD, bytes)?;
        let facts = read_facts(Self::METHOD, true, bytes)?;
        Ok((Box::new(self.of_wire(received, &facts)?), facts))
    }
}

/// Writes the reply to an action.
pub(super) fn encode_reply<A: ActionMethod>(
    reply: &(dyn Any + Send + Sync),
    facts: &ReadFacts,
) -> bytes::Bytes {
    let reply = reply.downcast_ref::<A::Reply>();
    let reply = reply.expect("an action's reply has the action's reply type");
    super::encode_with_facts(&A::wire(reply), facts)
}
