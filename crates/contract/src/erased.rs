//! Commands and queries without their types: the one place where they are erased.
//!
//! Every [`Command`] is an [`AnyCommand`] and every [`Query`] an [`AnyQuery`]; a
//! reply comes back as `dyn Any` and is the very value that `apply` or `run` made.

use std::any::{Any, TypeId};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use acl::{Authorizer, PermissionDenied};
use bytes::Bytes;
use store::{Reader, Store, Tx};
use types::{Datacenter, Index, SecretId};

use crate::call::{Command, Interest, LeaderMemory, LeaderView, Query};
use crate::error::CallError;
use crate::options::ReadOptions;
use crate::remote::{DecodeReply, Outgoing, RemoteCommand, RemoteQuery};
use crate::response::ReadFacts;

/// Bit of a tag that says: a server that does not know the command may skip it
/// (`reference/raft-and-snapshots.md` section 7).
pub const SKIPPABLE_BIT: u8 = 0x80;

/// Prunes a reply of the type that goes with it; see [`Command::prune`].
pub type PruneReply = fn(&Authorizer, Box<dyn Any + Send>) -> Box<dyn Any + Send>;

/// A [`Command`] of unknown type.
pub trait AnyCommand: Send + Sync + 'static {
    /// See [`Command::NAME`].
    fn name(&self) -> &'static str;
    /// See [`Command::op`].
    fn op(&self) -> &'static str;
    /// See [`Command::datacenter`].
    fn datacenter(&self) -> &Datacenter;
    /// See [`Command::authorize`].
    fn authorize(&self, who: &Authorizer, store: &Store) -> Result<(), PermissionDenied>;
    /// See [`Command::refusal`]. The reply is the command's `Reply`.
    fn refusal(
        &self,
        who: &Authorizer,
        store: &Store,
        memory: &dyn LeaderMemory,
    ) -> Option<Box<dyn Any + Send>>;
    /// See [`Command::prepare`].
    fn prepare(&mut self, leader: &mut LeaderView<'_>) -> Result<(), CallError>;
    /// See [`Command::answer`]. The reply is the command's `Reply`.
    fn answer(&self, leader: &mut LeaderView<'_>)
    -> Result<Option<Box<dyn Any + Send>>, CallError>;
    /// The bytes of the log entry: the tag, then msgpack.
    fn encode(&self) -> Bytes;
    /// See [`Command::apply`]. The reply is the command's `Reply`.
    fn apply(&self, tx: &mut Tx<'_>) -> Result<Box<dyn Any + Send>, CallError>;
    /// See [`Command::prune`]. It outlives the command, which the log takes away.
    fn pruner(&self) -> PruneReply;
    /// See [`RemoteCommand::to_request`].
    fn to_request(&self, token: &SecretId) -> Option<Outgoing>;
    /// See [`RemoteCommand::reply_decoder`]. The reply is the command's `Reply`.
    fn reply_decoder(&self) -> DecodeReply;
}

impl<C: Command> AnyCommand for C {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn op(&self) -> &'static str {
        Command::op(self)
    }

    fn datacenter(&self) -> &Datacenter {
        Command::datacenter(self)
    }

    fn authorize(&self, who: &Authorizer, store: &Store) -> Result<(), PermissionDenied> {
        Command::authorize(self, who, store)
    }

    fn refusal(
        &self,
        who: &Authorizer,
        store: &Store,
        memory: &dyn LeaderMemory,
    ) -> Option<Box<dyn Any + Send>> {
        let reply = Command::refusal(self, who, store, memory)?;
        Some(Box::new(reply))
    }

    fn prepare(&mut self, leader: &mut LeaderView<'_>) -> Result<(), CallError> {
        Command::prepare(self, leader)
    }

    fn answer(
        &self,
        leader: &mut LeaderView<'_>,
    ) -> Result<Option<Box<dyn Any + Send>>, CallError> {
        let reply = Command::answer(self, leader)?;
        Ok(reply.map(|reply| Box::new(reply) as Box<dyn Any + Send>))
    }

    fn encode(&self) -> Bytes {
        let mut bytes = vec![if C::SKIPPABLE { C::TAG | SKIPPABLE_BIT } else { C::TAG }];
        types::msgpack::write(&mut bytes, self);
        bytes.into()
    }

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Box<dyn Any + Send>, CallError> {
        Command::apply(self, tx).map(|reply| Box::new(reply) as Box<dyn Any + Send>)
    }

    fn pruner(&self) -> PruneReply {
        |who, reply| match reply.downcast::<C::Reply>() {
            Ok(reply) => Box::new(C::prune(who, *reply)),
            Err(_) => unreachable!("a command's reply has the command's reply type"),
        }
    }

    fn to_request(&self, token: &SecretId) -> Option<Outgoing> {
        RemoteCommand::to_request(self, token)
    }

    fn reply_decoder(&self) -> DecodeReply {
        RemoteCommand::reply_decoder(self)
    }
}

/// A [`Query`] of unknown type.
pub trait AnyQuery: Send + Sync + 'static {
    /// See [`Query::NAME`].
    fn name(&self) -> &'static str;
    /// See [`Query::KEPT`].
    fn is_kept(&self) -> bool;
    /// See [`Query::authorize`].
    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied>;
    /// Runs, prunes and refines.
    fn evaluate(&self, who: &Authorizer, reader: &mut Reader<'_>) -> Result<Evaluated, CallError>;
    /// See [`Query::interest`]. None for a reply that is not the query's.
    fn interest<'q>(&'q self, reply: &dyn Any) -> Option<Interest<'q>>;
    /// See [`RemoteQuery::to_request`].
    fn to_request(&self, options: &ReadOptions) -> Option<Outgoing>;
    /// See [`RemoteQuery::decode_reply`]. The reply is the query's `Reply`.
    fn decode_reply(
        &self,
        bytes: &[u8],
    ) -> Result<(Arc<dyn Any + Send + Sync>, ReadFacts), CallError>;
    /// For comparison with another query of the same type.
    fn as_any(&self) -> &dyn Any;
    /// Whether the other is the same question.
    fn equals(&self, other: &dyn AnyQuery) -> bool;
    /// Feeds the question to a hasher.
    fn feed(&self, hasher: &mut dyn Hasher);
}

/// The answer to a query.
#[derive(Clone)]
pub struct Evaluated {
    /// See [`crate::Found::index`].
    pub index: Index,
    /// The query's `Reply`.
    pub reply: Arc<dyn Any + Send + Sync>,
    /// See [`crate::Found::absent`].
    pub absent: bool,
    /// See [`crate::Pruned::removed`].
    pub removed: bool,
}

impl<Q: Query> AnyQuery for Q {
    fn name(&self) -> &'static str {
        Q::NAME
    }

    fn is_kept(&self) -> bool {
        Q::KEPT
    }

    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied> {
        Query::authorize(self, who)
    }

    fn evaluate(&self, who: &Authorizer, reader: &mut Reader<'_>) -> Result<Evaluated, CallError> {
        let found = self.run(reader);
        let pruned = self.prune(who, found.reply);
        let reply = self.refine(pruned.reply)?;
        Ok(Evaluated {
            index: found.index,
            reply: Arc::new(reply),
            absent: found.absent,
            removed: pruned.removed,
        })
    }

    fn interest<'q>(&'q self, reply: &dyn Any) -> Option<Interest<'q>> {
        Query::interest(self, reply.downcast_ref()?)
    }

    fn to_request(&self, options: &ReadOptions) -> Option<Outgoing> {
        RemoteQuery::to_request(self, options)
    }

    fn decode_reply(
        &self,
        bytes: &[u8],
    ) -> Result<(Arc<dyn Any + Send + Sync>, ReadFacts), CallError> {
        RemoteQuery::decode_reply(self, bytes)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn equals(&self, other: &dyn AnyQuery) -> bool {
        other.as_any().downcast_ref::<Q>().is_some_and(|other| self == other)
    }

    fn feed(&self, mut hasher: &mut dyn Hasher) {
        TypeId::of::<Q>().hash(&mut hasher);
        self.hash(&mut hasher);
    }
}

/// A query as the key of a map.
#[derive(Clone)]
pub struct QueryKey(pub Arc<dyn AnyQuery>);

impl PartialEq for QueryKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.equals(&*other.0)
    }
}

impl Eq for QueryKey {}

impl Hash for QueryKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.feed(state);
    }
}
