//! Who may see, make and end sessions (`reference/http-api.md` 1.13, 2.11).

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use store::Store;
use types::SessionId;
use types::session::Session;

use super::table::SESSIONS;

/// Whether a session may be seen.
pub(super) fn can_see(who: &Authorizer, session: &Session) -> bool {
    who.allows(Permission::read(Resource::Session, session.node.as_str()))
}

/// To make a session of a node.
pub(super) fn write(node: &str) -> Permission<'_> {
    Permission::write(Resource::Session, node)
}

/// To change a session that exists; one that does not is nobody's.
pub(super) fn require_write(
    who: &Authorizer,
    store: &Store,
    id: &SessionId,
) -> Result<(), PermissionDenied> {
    if who.allows_everything() {
        return Ok(());
    }
    match store.snapshot().peek(&SESSIONS, id.as_str().as_bytes()) {
        Some(session) => who.require(write(session.node.as_str())),
        None => Ok(()),
    }
}
