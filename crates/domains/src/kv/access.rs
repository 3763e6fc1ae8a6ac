//! Who may do what with keys.

use acl::{Access, Authorizer, Permission, Resource};
use contract::Pruned;

/// To see a key.
pub(crate) fn read(key: &str) -> Permission<'_> {
    Permission::read(Resource::Key, key)
}

/// To change a key.
pub(crate) fn write(key: &str) -> Permission<'_> {
    Permission::write(Resource::Key, key)
}

/// To change everything under a prefix.
pub(crate) fn write_tree(prefix: &str) -> Permission<'_> {
    Permission::write(Resource::KeyPrefix, prefix)
}

/// To list keys under a prefix, where listing needs a permission of its own.
pub(super) fn list(prefix: &str) -> Permission<'_> {
    Permission { resource: Resource::Key, access: Access::List, name: prefix }
}

/// Keeps the rows whose key the reader may see.
pub(super) fn keep_readable<R>(
    who: &Authorizer,
    rows: Vec<R>,
    key: impl Fn(&R) -> &str,
) -> Pruned<Vec<R>> {
    if who.allows_everything() {
        return Pruned::nothing(rows);
    }
    Pruned::keep(rows, |row| who.allows(read(key(row))))
}
