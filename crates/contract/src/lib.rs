//! What a domain provides, and what the machinery asks of it.
//!
//! A domain (`kv`, `catalog`, …) is data and pure functions. This crate is the
//! form that they take: a [`Command`] goes through the log, a [`Query`] runs over a
//! snapshot and may block, a [`Route`] turns an HTTP request into a [`Call`] of one
//! of the two, or into an [`Action`], which asks several queries. `server` and `http-server` run calls and know nothing else about
//! domains; domains know nothing of either.
//!
//! - Types are erased in one place, [`erased`]: a handler's typed command reaches
//!   `apply` on the same server as the value it was, without an encoding between.
//!   Bytes appear where a command enters the log or leaves the process.
//! - Authorization is part of the contract. A command or query cannot be defined
//!   without saying what it needs, a query not without saying which rows a reader
//!   may see, and [`Authorized`] is the only thing that the write path accepts.
//! - Forwarding, blocking, consistency modes, pruning, `filter=`, headers and error
//!   codes are written once, outside of the domains.
//!
//! Nothing here does I/O, reads a clock or makes random numbers.

pub mod action;
pub mod call;
pub mod domain;
pub mod erased;
pub mod error;
pub mod lone_leader;
pub mod options;
pub mod remote;
pub mod request;
pub mod response;

pub use action::{Action, Answer, AnyAction, Outside, Question, Step};
pub use call::{
    Applied, Authorized, Command, Found, Interest, LeaderMemory, LeaderView, NoMemory, Pruned,
    Query, Refusal,
};
pub use domain::{
    CommandDef, DecodeCommand, Domain, RecordDef, RestoreRecord, Route, SaveRecords, Verb,
};
pub use erased::{AnyCommand, AnyQuery, Evaluated, PruneReply, QueryKey, SKIPPABLE_BIT};
pub use error::{CallError, ErrorKind};
pub use lone_leader::LoneLeader;
pub use options::{Consistency, ReadOptions};
pub use remote::{MethodClass, MethodDef, Outgoing, RemoteCall};
pub use request::{AgentFacts, Params, Request};
pub use response::{
    ActionCall, Body, CacheKind, Call, Encoding, Facts, ReadCall, ReadFacts, Response, Show,
    ShowFacts, ShowOnce, WriteCall, applied_reply_of, reply_of,
};
