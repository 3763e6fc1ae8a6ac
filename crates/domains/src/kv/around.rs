//! What stands near a key: for whoever wonders why the key is not there. Consul has
//! nothing like it; it serves `consul explain key`.

use std::sync::Arc;

use acl::{Authorizer, PermissionDenied};
use contract::{Found, Pruned, Query};
use serde::{Deserialize, Serialize};
use store::Reader;
use types::Index;
use types::similar::similar;

use super::access;
use super::table::{self, KVS, TOMBSTONES};

/// Most keys that are looked at in each direction: an answer for people must not cost
/// what a listing of the store costs.
const LOOKED_AT_MAX: usize = 10_000;
/// Most folders that a key is looked for in.
const FOLDERS_MAX: usize = 32;
/// Most keys of each kind that are told.
const TOLD_MAX: usize = 5;

/// Looks around a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KvAround {
    /// The key.
    pub key: Arc<str>,
}

/// What stands near a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Around {
    /// When the key was deleted, or a folder that it could have been in, if the tombstone is
    /// still there.
    pub deleted_at: Option<Index>,
    /// The first keys below it, were it a folder.
    pub below: Vec<Arc<str>>,
    /// How many keys there are below it, up to ten thousand.
    pub below_count: usize,
    /// Keys of the same folder whose names are nearly the same.
    pub similar: Vec<Arc<str>>,
}

impl KvAround {
    /// What keys below it begin with, were it a folder.
    pub fn folder(&self) -> String {
        format!("{}/", self.bare())
    }

    /// The folder that it is in, without its slash; none for the outermost.
    pub fn parent(&self) -> Option<&str> {
        self.bare().rsplit_once('/').map(|(parent, _)| parent)
    }

    fn bare(&self) -> &str {
        self.key.trim_matches('/')
    }
}

impl Around {
    /// What the keys below a key and those of its folder come to.
    pub fn of(key: &str, below: Vec<Arc<str>>, siblings: Vec<Arc<str>>) -> Self {
        let near = similar(key, siblings.iter().map(|key| &**key), TOLD_MAX);
        let below: Vec<_> = below.into_iter().filter(|entry| **entry != *key).collect();
        Self {
            deleted_at: None,
            below_count: below.len(),
            below: below.into_iter().take(TOLD_MAX).collect(),
            similar: near.into_iter().map(Arc::from).collect(),
        }
    }
}

impl Query for KvAround {
    const NAME: &'static str = "KVS.Around";
    const KEPT: bool = false;
    type Reply = Around;

    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied> {
        who.require(access::read(&self.key))
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Around> {
        let state = reader.unwatched();
        let keys = |prefix: &str| {
            let entries = state.prefix(&KVS, prefix.as_bytes()).take(LOOKED_AT_MAX);
            entries.map(|entry| Arc::clone(&entry.key)).collect::<Vec<_>>()
        };
        let mut around =
            Around::of(&self.key, keys(&self.folder()), keys(self.parent().unwrap_or_default()));
        let folders = self.key.match_indices('/').take(FOLDERS_MAX);
        let prefixes = folders.flat_map(|(at, _)| [&self.key[..at], &self.key[..=at]]);
        around.deleted_at = prefixes
            .chain([&*self.key])
            .filter_map(|prefix| state.peek(&TOMBSTONES, prefix.as_bytes()))
            .map(|tombstone| tombstone.index)
            .max();
        Found::new(table::table_index(state), around)
    }

    fn prune(&self, who: &Authorizer, mut around: Around) -> Pruned<Around> {
        let told = around.below.len();
        around.below = access::keep_readable(who, around.below, |key| key).reply;
        around.similar = access::keep_readable(who, around.similar, |key| key).reply;
        if around.below.len() < told {
            // How many there are would tell of what is hidden.
            around.below_count = around.below.len();
        }
        Pruned::nothing(around)
    }
}

#[cfg(test)]
mod tests {
    use store::Store;
    use types::kv::KvEntry;

    use super::*;

    fn around(keys: &[&str], deleted: &[&str], key: &str) -> Around {
        let store = Store::new(&crate::tables());
        store.write(|batch| {
            for (at, key) in keys.iter().chain(deleted).enumerate() {
                let tx = &mut batch.tx(Index(at as u64 + 1));
                table::store(tx, KvEntry { key: Arc::from(*key), ..KvEntry::default() });
            }
            for key in deleted {
                table::delete(&mut batch.tx(Index(99)), key);
            }
        });
        let snapshot = store.snapshot();
        let query = KvAround { key: Arc::from(key) };
        query.run(&mut Reader::new(&snapshot)).reply
    }

    #[test]
    fn a_deleted_key_is_told_with_the_index_of_its_deletion() {
        assert_eq!(around(&[], &["app/a"], "app/a").deleted_at, Some(Index(99)));
        assert_eq!(around(&["app/b"], &[], "app/a").deleted_at, None);
    }

    #[test]
    fn keys_that_were_deleted_by_their_prefix_leave_one_tombstone_for_all() {
        let store = Store::new(&crate::tables());
        store.write(|batch| {
            for key in ["app/a", "app/b", "apple", "other"] {
                let tx = &mut batch.tx(Index(1));
                table::store(tx, KvEntry { key: Arc::from(key), ..KvEntry::default() });
            }
            table::delete_tree(&mut batch.tx(Index(2)), "app/");
            table::delete_tree(&mut batch.tx(Index(3)), "app/");
        });
        let snapshot = store.snapshot();
        let left: Vec<_> = snapshot.peek_prefix(&TOMBSTONES, b"").cloned().collect();
        assert_eq!(left, [table::Tombstone { key: "app/".into(), index: Index(2) }]);
        let query = KvAround { key: "app/a".into() };
        let found = query.run(&mut Reader::new(&snapshot)).reply;
        assert_eq!(found.deleted_at, Some(Index(2)));
        store.write(|batch| table::delete_tree(&mut batch.tx(Index(4)), ""));
        let snapshot = store.snapshot();
        assert_eq!(snapshot.peek_prefix(&TOMBSTONES, b"").count(), 1);
        assert_eq!(table::table_index(&snapshot), Index(4));
    }

    #[test]
    fn a_key_that_is_a_folder_is_told_with_what_is_in_it() {
        let found = around(&["app/a", "app/b", "apple"], &[], "app");
        assert_eq!(found.below_count, 2);
        assert_eq!(found.below, [Arc::from("app/a"), Arc::from("app/b")]);
    }

    #[test]
    fn slashes_and_letters_that_are_wrong_lead_to_the_key_that_was_meant() {
        let keys = ["app/config", "app/Config", "other"];
        let similar =
            |key| around(&keys, &[], key).similar.iter().map(|k| k.to_string()).collect::<Vec<_>>();
        assert_eq!(similar("/app/config"), ["app/Config", "app/config"]);
        assert_eq!(similar("app/confg"), ["app/Config", "app/config"]);
        assert!(similar("nothing/like/it").is_empty());
    }
}
