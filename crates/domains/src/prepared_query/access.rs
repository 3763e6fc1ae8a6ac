//! Who may see, change and execute queries (`reference/http-api.md` 1.13, 3.9).
//!
//! The permission is about the name; of a template, about what names begin with. A query
//! without a name is guarded by its id, which is a secret to those who were not told it:
//! whoever knows it may read and change it, and lists show it to those who manage tokens.

use std::sync::Arc;

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use contract::CallError;
use store::Store;
use types::SecretId;
use types::prepared_query::{HIDDEN_TOKEN, PreparedQuery};

use super::table::PREPARED_QUERIES;
use super::uuid;

/// The name that permissions are about, if there are any.
fn guarded_name(query: &PreparedQuery) -> Option<&str> {
    (!query.name.is_empty() || query.is_template()).then_some(query.name.as_str())
}

/// To store a query.
pub(super) fn require_write(
    who: &Authorizer,
    query: &PreparedQuery,
) -> Result<(), PermissionDenied> {
    match guarded_name(query) {
        Some(name) => who.require(Permission::write(Resource::Query, name)),
        None => Ok(()),
    }
}

/// To change the query that has this id, if there is one.
pub(super) fn require_write_of(
    who: &Authorizer,
    store: &Store,
    id: &str,
) -> Result<(), PermissionDenied> {
    if who.allows_everything() {
        return Ok(());
    }
    let Ok(id) = uuid::parse(id) else { return Ok(()) };
    match store.snapshot().peek(&PREPARED_QUERIES, id.as_bytes()) {
        Some(query) => require_write(who, query),
        None => Ok(()),
    }
}

/// To read one query that was asked for.
pub(super) fn require_read(who: &Authorizer, query: &PreparedQuery) -> Result<(), CallError> {
    match guarded_name(query) {
        Some(name) => Ok(who.require(Permission::read(Resource::Query, name))?),
        None => Ok(()),
    }
}

/// Whether a list shows the query.
pub(super) fn is_listed(who: &Authorizer, query: &PreparedQuery) -> bool {
    match guarded_name(query) {
        Some(name) => who.allows(Permission::read(Resource::Query, name)),
        None => is_management(who),
    }
}

/// The query as the reader may see it: without its token, unless the reader manages tokens.
pub(super) fn hide_token(who: &Authorizer, query: Arc<PreparedQuery>) -> Arc<PreparedQuery> {
    if query.token.is_empty() || is_management(who) {
        return query;
    }
    let token = SecretId::from(HIDDEN_TOKEN);
    Arc::new(PreparedQuery { token, ..PreparedQuery::clone(&query) })
}

fn is_management(who: &Authorizer) -> bool {
    who.allows(Permission::write(Resource::Acl, ""))
}
