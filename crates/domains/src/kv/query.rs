//! Reads of keys.

use std::sync::Arc;

use acl::{Authorizer, PermissionDenied};
use contract::{Found, Pruned, Query};
use store::{Reader, State};
use types::Index;
use types::kv::KvEntry;

use super::access;
use super::table::{self, KVS, TOMBSTONES};

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KvGet {
    /// The key.
    pub key: Arc<str>,
}

impl Query for KvGet {
    const NAME: &'static str = "KVS.Get";
    const KEPT: bool = false;
    type Reply = Option<Arc<KvEntry>>;

    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied> {
        who.require(access::read(&self.key))
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        match reader.get(&KVS, self.key.as_bytes()) {
            Some(entry) => Found::new(entry.modify_index, Some(entry)),
            None => Found::absent(table::table_index(reader.unwatched()), None),
        }
    }

    fn prune(&self, _who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::nothing(reply)
    }
}

/// All keys with a prefix, with their values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KvList {
    /// The prefix.
    pub prefix: Arc<str>,
}

impl Query for KvList {
    const NAME: &'static str = "KVS.List";
    type Reply = Vec<Arc<KvEntry>>;

    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied> {
        who.require(access::list(&self.prefix))
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let entries: Vec<_> = reader.prefix(&KVS, self.prefix.as_bytes()).collect();
        let newest = entries.iter().map(|entry| entry.modify_index).max();
        Found::new(prefix_index(reader.unwatched(), &self.prefix, newest), entries)
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        access::keep_readable(who, reply, |entry| &entry.key)
    }
}

/// The names of all keys with a prefix, cut after the first separator beyond it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KvKeys {
    /// The prefix.
    pub prefix: Arc<str>,
    /// Where to cut; empty for not at all.
    pub separator: String,
}

impl Query for KvKeys {
    const NAME: &'static str = "KVS.ListKeys";
    type Reply = Vec<Arc<str>>;

    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied> {
        who.require(access::list(&self.prefix))
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let mut newest = None;
        let mut keys = Vec::new();
        for entry in reader.prefix(&KVS, self.prefix.as_bytes()) {
            newest = newest.max(Some(entry.modify_index));
            keys.push(Arc::clone(&entry.key));
        }
        Found::new(prefix_index(reader.unwatched(), &self.prefix, newest), keys)
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        access::keep_readable(who, reply, |key| key)
    }

    /// Cutting comes after pruning, so that a folder is shown exactly if the reader
    /// may see something in it.
    fn refine(&self, mut keys: Self::Reply) -> Result<Self::Reply, contract::CallError> {
        if !self.separator.is_empty() {
            for key in &mut keys {
                let beyond = key.get(self.prefix.len()..).unwrap_or("");
                if let Some(at) = beyond.find(&self.separator) {
                    let end = self.prefix.len() + at + self.separator.len();
                    *key = Arc::from(&key[..end]);
                }
            }
            keys.dedup();
        }
        Ok(keys)
    }
}

/// The index of a prefix: of the newest key or tombstone under it. The whole store
/// and a prefix that never held anything report the table's index.
///
/// Tombstones are not watched: one appears only together with a watched key going.
fn prefix_index(state: &State, prefix: &str, newest: Option<Index>) -> Index {
    if prefix.is_empty() {
        return table::table_index(state);
    }
    let deleted =
        state.peek_prefix(&TOMBSTONES, prefix.as_bytes()).map(|tombstone| tombstone.index).max();
    newest.max(deleted).unwrap_or_else(|| table::table_index(state))
}
