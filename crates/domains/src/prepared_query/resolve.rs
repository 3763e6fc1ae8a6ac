//! From what an execution is asked for by to a definition.

use std::sync::Arc;

use acl::{Authorizer, PermissionDenied};
use contract::{CallError, Found, Pruned, Query};
use store::{Reader, State};
use types::prepared_query::PreparedQuery;

use super::execution::ExecuteRequest;
use super::table::{self, PREPARED_QUERIES};
use super::uuid;

/// The definition that an id or a name stands for, filled in if it is a template. For a
/// client that asks for a cached answer, equal requests are the same question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PreparedQueryResolve(pub ExecuteRequest);

impl Query for PreparedQueryResolve {
    const NAME: &'static str = "PreparedQuery.Execute";
    const KEPT: bool = false;
    /// The definition with its token: for the server's own use.
    type Reply = Result<Arc<PreparedQuery>, CallError>;

    /// Everybody may execute: what is found is pruned.
    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = reader.max_index_of(&[PREPARED_QUERIES.name]);
        Found::new(index, resolve(reader.unwatched(), &self.0.id_or_name, &self.0.segment))
    }

    fn prune(&self, _who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::nothing(reply)
    }

    fn refine(&self, reply: Self::Reply) -> Result<Self::Reply, CallError> {
        reply.map(Ok)
    }
}

/// What Consul says of a query that is not there.
pub(super) fn not_found() -> CallError {
    CallError::not_found("Query not found")
}

/// The query with this id; else the one with this name; else that of the longest template,
/// filled in.
pub(super) fn resolve(
    state: &State,
    id_or_name: &str,
    segment: &str,
) -> Result<Arc<PreparedQuery>, CallError> {
    let by_id = uuid::parse(id_or_name).ok();
    if let Some(query) = by_id.and_then(|id| state.get(&PREPARED_QUERIES, id.as_bytes())) {
        if query.is_template() {
            let text = "prepared query templates can only be resolved up by name, not by ID";
            return Err(CallError::failed(text));
        }
        return Ok(query);
    }
    if let Some(query) = table::named(state, id_or_name) {
        return Ok(query);
    }
    let row = table::template_for(state, id_or_name).ok_or_else(not_found)?;
    let query = state.peek(&PREPARED_QUERIES, row.id.as_bytes()).ok_or_else(not_found)?;
    let rendered = row.template.render(query, id_or_name, segment);
    rendered.map(Arc::new).map_err(|error| CallError::failed(error.to_string()))
}
