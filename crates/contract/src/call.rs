//! Commands and queries.

use std::any::Any;
use std::hash::Hash;
use std::time::Duration;

use acl::{Authorizer, PermissionDenied};
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{Reader, Store, Tx};
use types::coordinate::NodeCoordinate;
use types::{Datacenter, GoDuration, Index, SessionId};

use crate::error::CallError;
use crate::remote::{RemoteCommand, RemoteQuery};

/// A change of the replicated state.
///
/// It travels as it was typed: from a handler through authorization and
/// [`Command::prepare`] on the leader to [`Command::apply`], which runs on every
/// server. Encoded (msgpack, the fields of `reference/rpc-wire.md` section 16) it
/// is what the Raft log holds behind its tag.
pub trait Command: RemoteCommand + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// First byte of the log entry (`reference/raft-and-snapshots.md` section 7).
    /// Commands of the same tag are told apart by their fields, as in Consul.
    const TAG: u8;
    /// Whether a server that does not know the command may pass over it.
    const SKIPPABLE: bool = false;
    /// The RPC name, `KVS.Apply`.
    const NAME: &'static str;
    /// What the caller gets.
    type Reply: Send + 'static;

    /// The word for what it does by which its cost is measured (`fsm.kvs{op="set"}`);
    /// empty where a command does one thing only.
    fn op(&self) -> &'static str {
        ""
    }

    /// The datacenter whose servers must apply it; empty for this one.
    fn datacenter(&self) -> &Datacenter;

    /// Whether the holder of the token may do this. The store tells what exists
    /// already, where that makes a difference; most commands need no look at it, and
    /// a snapshot that nobody takes costs nothing.
    fn authorize(&self, who: &Authorizer, store: &Store) -> Result<(), PermissionDenied>;

    /// What is answered in place of running it where the refusal is a reply, not an
    /// error: a command of several parts says of each what is wrong with it. Asked on the
    /// leader together with [`Command::authorize`]; what is refused gets no [`Authorized`].
    fn refusal(
        &self,
        who: &Authorizer,
        store: &Store,
        memory: &dyn LeaderMemory,
    ) -> Option<Self::Reply> {
        let _ = (who, store, memory);
        None
    }

    /// Runs on the leader before the log: validates against the state and makes all
    /// choices that must be the same on every server (ids, times).
    fn prepare(&mut self, leader: &mut LeaderView<'_>) -> Result<(), CallError> {
        let _ = leader;
        Ok(())
    }

    /// Runs on the leader after [`Command::prepare`]: the answer to a command that needs
    /// no log entry, because it changes at most what the leader remembers.
    fn answer(&self, leader: &mut LeaderView<'_>) -> Result<Option<Self::Reply>, CallError> {
        let _ = leader;
        Ok(None)
    }

    /// Changes the state. Deterministic: the same log gives the same state on every
    /// server. An error is part of the result and leaves the state as it was.
    fn apply(&self, tx: &mut Tx<'_>) -> Applied<Self::Reply>;

    /// Takes away from a reply what the holder of the token may not see.
    fn prune(who: &Authorizer, reply: Self::Reply) -> Self::Reply {
        let _ = who;
        reply
    }
}

/// What applying a command gave.
pub type Applied<T> = Result<T, CallError>;

/// What a leader knows when it prepares a command.
pub struct LeaderView<'l> {
    /// The state, for those who need a look at it.
    pub store: &'l Store,
    /// Wall clock, nanoseconds since the Unix epoch.
    pub now_unix_nanos: u64,
    /// Fresh random bits for ids.
    pub random: &'l mut dyn FnMut() -> u128,
    /// The datacenter of this server.
    pub datacenter: &'l Datacenter,
    /// The shortest time that a session may be given to live (`session_ttl_min`).
    pub session_ttl_min: GoDuration,
    /// What is known beside the state.
    pub memory: &'l dyn LeaderMemory,
}

/// What a leader remembers beside the state, and what is forgotten when another leads
/// (`reference/raft-and-snapshots.md` section 17).
pub trait LeaderMemory {
    /// Whether the key cannot be locked yet, because a session that held it ended lately.
    fn is_lock_delayed(&self, key: &str) -> bool;

    /// Lets the time of a session begin anew; `ttl` is how long it lives without that.
    /// False if its time is over and it is about to end.
    fn renew_session(&self, session: &SessionId, ttl: Duration) -> bool;

    /// Takes note of where a node is, to be written with those of other nodes before long.
    fn note_coordinate(&self, row: NodeCoordinate);
}

/// The memory of a leader that remembers nothing: no lock is delayed, no time is over, and
/// coordinates are forgotten.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMemory;

impl LeaderMemory for NoMemory {
    fn is_lock_delayed(&self, _key: &str) -> bool {
        false
    }

    fn renew_session(&self, _session: &SessionId, _ttl: Duration) -> bool {
        true
    }

    fn note_coordinate(&self, _row: NodeCoordinate) {}
}

/// A read of the replicated state. Two equal queries are the same question: the
/// machinery answers all who ask it with one evaluation.
pub trait Query: RemoteQuery + Clone + Eq + Hash + Send + Sync + 'static {
    /// The RPC name, `Health.ServiceNodes`.
    const NAME: &'static str;
    /// Whether results are kept until the state they came from changes. False for
    /// reads that are as cheap as looking the result up.
    const KEPT: bool = true;
    /// The rows, in the form that the caller gets.
    type Reply: Send + Sync + 'static;

    /// Whether the holder of the token may ask at all.
    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied>;

    /// Answers over a snapshot; what the reader looked at is what a blocked caller
    /// waits for.
    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply>;

    /// Takes away the rows that the holder of the token may not see.
    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply>;

    /// Applies what the caller asked for beyond the rows (`filter=`), after pruning,
    /// so that a filter cannot probe what is hidden.
    fn refine(&self, reply: Self::Reply) -> Result<Self::Reply, CallError> {
        Ok(reply)
    }

    /// What is counted of a question for a service, and of this answer to it.
    fn interest<'q>(&'q self, reply: &Self::Reply) -> Option<Interest<'q>> {
        let _ = reply;
        None
    }
}

/// Who asks for which service is counted: a service that nobody asks for any more can
/// go, and one that is asked for and not found is missing
/// (`reference/telemetry.md`, `catalog.service.*` and `health.service.*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest<'q> {
    /// The service.
    pub service: &'q str,
    /// Tags that were asked for.
    pub tags: &'q [String],
    /// Whether its proxies were asked for, not its own instances.
    pub connect: bool,
    /// Whether anything was found.
    pub found: bool,
}

/// Rows, and the index under which a client waits for their next change.
#[derive(Clone, Debug)]
pub struct Found<T> {
    /// `X-Consul-Index`: grows when the rows change.
    pub index: Index,
    /// The rows.
    pub reply: T,
    /// Whether the one object that was asked for does not exist. A caller that
    /// blocks on such an object sleeps on until it appears, whatever the index does.
    pub absent: bool,
}

impl<T> Found<T> {
    /// Rows as of this index.
    pub fn new(index: Index, reply: T) -> Self {
        Self { index: index.max(Index(1)), reply, absent: false }
    }

    /// The object does not exist.
    pub fn absent(index: Index, reply: T) -> Self {
        Self { absent: true, ..Self::new(index, reply) }
    }
}

/// Rows after pruning.
#[derive(Clone, Debug)]
pub struct Pruned<T> {
    /// The rows that may be seen.
    pub reply: T,
    /// Whether any row was taken away (`X-Consul-Results-Filtered-By-ACLs`).
    pub removed: bool,
}

impl<T> Pruned<T> {
    /// All rows may be seen.
    pub fn nothing(reply: T) -> Self {
        Self { reply, removed: false }
    }
}

impl<R> Pruned<Vec<R>> {
    /// Keeps the rows for which `visible` says yes.
    pub fn keep(mut rows: Vec<R>, mut visible: impl FnMut(&R) -> bool) -> Self {
        let before = rows.len();
        rows.retain(|row| visible(row));
        Self { removed: rows.len() < before, reply: rows }
    }
}

/// Proof that the permission to run `T` was checked: nothing else can make one.
#[derive(Debug)]
pub struct Authorized<T>(T);

/// Why there is no [`Authorized`].
pub enum Refusal {
    /// The call fails.
    Error(CallError),
    /// The call is answered with this reply of its command ([`Command::refusal`]).
    Reply(Box<dyn Any + Send>),
}

impl<C: crate::AnyCommand + ?Sized> Authorized<Box<C>> {
    /// Checks a command.
    pub fn command(
        command: Box<C>,
        who: &Authorizer,
        store: &Store,
        memory: &dyn LeaderMemory,
    ) -> Result<Self, Refusal> {
        command.authorize(who, store).map_err(|denied| Refusal::Error(denied.into()))?;
        match command.refusal(who, store, memory) {
            Some(reply) => Err(Refusal::Reply(reply)),
            None => Ok(Self(command)),
        }
    }
}

impl<T> Authorized<T> {
    /// The checked call.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// The checked call, to be prepared in place.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
