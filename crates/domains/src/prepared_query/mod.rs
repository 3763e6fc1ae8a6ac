//! Prepared queries: stored questions for healthy instances of a service, with what to do
//! when there are none here.
//!
//! Semantics: `reference/http-api.md` 3.9, `reference/raft-and-snapshots.md` 7 and 10.
//!
//! - Names are compared without regard to case. No two queries have the same name, and no
//!   name is the id of a query; templates count among them.
//! - A name belongs to the query that has it, else to the template with the longest name
//!   that it begins with. Templates are kept compiled beside their rows, in the order of
//!   their names, so that finding one takes a few look-ups ([`resolve`]).
//! - A query with a session goes away in the transaction in which the session ends.
//! - An execution is not one read but several, and draws lots: it is the action
//!   [`Execution`], which asks for the definition ([`PreparedQueryResolve`]), then for the
//!   instances here ([`QueryInstances`]), then, as long as there are none, for those
//!   elsewhere ([`failover`]).
//! - A token that is stored with a query is shown to nobody but those who manage tokens.

mod access;
mod command;
mod endpoint;
mod execution;
mod failover;
mod instances;
mod query;
mod remote;
mod remote_execution;
mod resolve;
mod table;
pub mod template;
mod uuid;
mod validate;

pub use command::{PreparedQueryCommand, PreparedQueryOp, PreparedQueryReply};
pub use execution::{ExecuteRequest, Execution};
pub use instances::{QueryInstances, QueryOrder, Source};
pub use query::{Explanation, PreparedQueries, PreparedQueryExplain, PreparedQueryGet};
pub use remote_execution::RemoteExecution;
pub use resolve::PreparedQueryResolve;
pub(crate) use table::handle_session_ended;
pub use table::{PREPARED_QUERIES, TEMPLATES, TemplateRow};

use contract::{CommandDef, Domain};

/// Prepared queries.
pub const DOMAIN: Domain = Domain {
    name: "prepared_query",
    tables: &[&PREPARED_QUERIES, &TEMPLATES],
    commands: &[CommandDef::of::<PreparedQueryCommand>()],
    records: table::RECORDS,
    routes: endpoint::ROUTES,
    methods: remote::METHODS,
};

#[cfg(test)]
mod tests;
