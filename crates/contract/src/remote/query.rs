//! Queries as methods.

use std::any::Any;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use types::query_meta::QueryMeta;

use super::{Args, Outgoing, QueryOptions, decode_reply, join};
use crate::call::Query;
use crate::error::CallError;
use crate::options::ReadOptions;
use crate::response::ReadFacts;

/// How a query is asked of another server. What implements [`QueryMethod`] has it; a query
/// that is asked on the spot only has an empty `impl`.
pub trait RemoteQuery {
    /// The call. None if no method carries the query.
    fn to_request(&self, options: &ReadOptions) -> Option<Outgoing> {
        let _ = options;
        None
    }

    /// Reads what another server replied; the reply is the query's `Reply`.
    fn decode_reply(
        &self,
        bytes: &[u8],
    ) -> Result<(Arc<dyn Any + Send + Sync>, ReadFacts), CallError> {
        let _ = bytes;
        Err(CallError::failed("no server can be asked this"))
    }
}

/// A query that is a method of Consul's, or of ours under a name that begins with
/// `Proconsul.`.
pub trait QueryMethod: Query {
    /// The method.
    const METHOD: &'static str = Self::NAME;
    /// Whether a reply may say "not modified" to whoever allows it.
    const MAY_BE_NOT_MODIFIED: bool = false;
    /// Whether the reply is a struct that has the facts of the read among its fields.
    const TELLS_FACTS: bool = true;
    /// The argument without its options.
    type Request: Serialize + DeserializeOwned;
    /// The reply as it is written.
    type Wire<'r>: Serialize;
    /// The reply as it is read.
    type Received: DeserializeOwned;

    /// `filter=`.
    fn filter(&self) -> &str {
        ""
    }

    /// The argument.
    fn request(&self) -> Self::Request;

    /// The query that an argument and its options stand for.
    fn of_request(request: Self::Request, options: &QueryOptions) -> Result<Self, CallError>;

    /// The reply to write.
    fn wire(reply: &Self::Reply) -> Self::Wire<'_>;

    /// The facts to write with it, where they are not those of the read.
    fn facts(reply: &Self::Reply, facts: &ReadFacts) -> ReadFacts {
        let _ = reply;
        *facts
    }

    /// The reply that was read, with the facts that stood with it.
    fn of_wire(
        &self,
        received: Self::Received,
        facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError>;
}

impl<Q: QueryMethod> RemoteQuery for Q {
    fn to_request(&self, options: &ReadOptions) -> Option<Outgoing> {
        let options = QueryOptions::new(options, self.filter());
        let args = Args(join(&self.request(), &options));
        Some(Outgoing { method: Self::METHOD, args })
    }

    fn decode_reply(
        &self,
        bytes: &[u8],
    ) -> Result<(Arc<dyn Any + Send + Sync>, ReadFacts), CallError> {
        let received = decode_reply(Self::METHOD, bytes)?;
        let facts = read_facts(Self::METHOD, Self::TELLS_FACTS, bytes)?;
        let reply: Q::Reply = self.of_wire(received, &facts)?;
        Ok((Arc::new(reply), facts))
    }
}

/// Writes the reply to a query.
pub(super) fn encode_reply<Q: QueryMethod>(
    reply: &(dyn Any + Send + Sync),
    facts: &ReadFacts,
) -> bytes::Bytes {
    let reply = crate::response::reply_of::<Q>(reply);
    match Q::TELLS_FACTS {
        true => super::encode_with_facts(&Q::wire(reply), &Q::facts(reply, facts)),
        false => super::encode(&Q::wire(reply)),
    }
}

/// The facts in a reply. One without them came from a server that knows the leader, or it
/// would not have answered.
pub(super) fn read_facts(method: &str, told: bool, bytes: &[u8]) -> Result<ReadFacts, CallError> {
    if !told {
        return Ok(ReadFacts { known_leader: true, ..ReadFacts::default() });
    }
    let meta: QueryMeta = decode_reply(method, bytes)?;
    Ok(ReadFacts {
        index: meta.index,
        known_leader: meta.known_leader,
        last_contact: meta.last_contact.to_std(),
        removed: meta.results_filtered_by_acls,
    })
}
