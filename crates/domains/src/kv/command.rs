//! Changes of keys.

use std::sync::Arc;

use acl::{Authorizer, Permission, PermissionDenied};
use contract::{Applied, CallError, Command, LeaderView};
use serde::{Deserialize, Serialize};
use store::{Store, Tx};
use thiserror::Error;
use types::kv::KvEntry;
use types::{Datacenter, Index, SessionId};

use super::access;
use super::table::{self, KVS, TOMBSTONES, Tombstone};
use crate::session;

/// A change of one key, or of all keys under a prefix (Raft command 2, `KVSRequest`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KvCommand {
    /// The datacenter whose keys it changes.
    pub datacenter: Datacenter,
    /// What to do.
    pub op: KvOp,
    /// Key, value, flags; for some operations also the session or the expected index.
    #[serde(rename = "DirEnt")]
    pub entry: KvEntry,
}

/// What to do with a key. The texts are the wire's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KvOp {
    /// Write it, whatever was there.
    #[default]
    Set,
    /// Remove it.
    Delete,
    /// Remove it if its `ModifyIndex` is the given one.
    DeleteCas,
    /// Remove everything that begins with it.
    DeleteTree,
    /// Write it if its `ModifyIndex` is the given one; zero: if it does not exist.
    Cas,
    /// Write it and take its lock for the session.
    Lock,
    /// Write it and give its lock back.
    Unlock,
}

impl Command for KvCommand {
    const TAG: u8 = 2;
    const NAME: &'static str = "KVS.Apply";
    type Reply = bool;

    fn op(&self) -> &'static str {
        match self.op {
            KvOp::Set => "set",
            KvOp::Delete => "delete",
            KvOp::DeleteCas => "delete-cas",
            KvOp::DeleteTree => "delete-tree",
            KvOp::Cas => "cas",
            KvOp::Lock => "lock",
            KvOp::Unlock => "unlock",
        }
    }

    fn datacenter(&self) -> &Datacenter {
        &self.datacenter
    }

    fn authorize(&self, who: &Authorizer, _store: &Store) -> Result<(), PermissionDenied> {
        who.require(match self.op {
            KvOp::DeleteTree => access::write_tree(&self.entry.key),
            _ => access::write(&self.entry.key),
        })
    }

    fn prepare(&mut self, _leader: &mut LeaderView<'_>) -> Result<(), CallError> {
        if self.entry.key.is_empty() && self.op != KvOp::DeleteTree {
            return Err(CallError::failed("Must provide key"));
        }
        Ok(())
    }

    /// A key whose lock ended with its session cannot be locked for a while.
    fn answer(&self, leader: &mut LeaderView<'_>) -> Result<Option<bool>, CallError> {
        let locks = self.op == KvOp::Lock && !self.entry.session.is_empty();
        let refused = locks && leader.memory.is_lock_delayed(&self.entry.key);
        Ok(refused.then_some(false))
    }

    /// `false` means that a condition was not met and nothing was changed.
    fn apply(&self, tx: &mut Tx<'_>) -> Applied<bool> {
        change(tx, self.op, &self.entry)
            .map_err(|refused| CallError::failed(format!("raft apply failed: {refused}")))
    }
}

/// Why a key can be neither locked nor unlocked, whatever its state.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum LockRefused {
    /// No session is named.
    #[error("missing session")]
    MissingSession,
    /// There is no such session.
    #[error("invalid session {:?}", .0.as_str())]
    InvalidSession(SessionId),
}

/// Changes one key, or all keys under a prefix. `false` means that a condition was not
/// met; then, as with an error, nothing was changed.
pub(crate) fn change(tx: &mut Tx<'_>, op: KvOp, wanted: &KvEntry) -> Result<bool, LockRefused> {
    let key = &wanted.key;
    let expected = wanted.modify_index;
    let present = tx.get(&KVS, key.as_bytes());
    let present_index = present.as_ref().map_or(Index::ZERO, |entry| entry.modify_index);
    match op {
        KvOp::Set => {
            set(tx, present.as_deref(), plain(wanted));
            Ok(true)
        }
        KvOp::Cas if expected == present_index => {
            set(tx, present.as_deref(), plain(wanted));
            Ok(true)
        }
        KvOp::Cas => Ok(false),
        KvOp::Delete => {
            table::delete(tx, key);
            Ok(true)
        }
        KvOp::DeleteCas if present.is_none() => Ok(true),
        KvOp::DeleteCas if expected == present_index => Ok(table::delete(tx, key)),
        KvOp::DeleteCas => Ok(false),
        KvOp::DeleteTree => {
            table::delete_tree(tx, key);
            Ok(true)
        }
        KvOp::Lock | KvOp::Unlock if wanted.session.is_empty() => Err(LockRefused::MissingSession),
        KvOp::Lock => lock(tx, present.as_deref(), wanted),
        KvOp::Unlock => Ok(unlock(tx, present.as_deref(), wanted)),
    }
}

/// The entry that a plain write stores: it never takes a lock.
fn plain(wanted: &KvEntry) -> KvEntry {
    KvEntry { session: SessionId::default(), lock_index: 0, ..wanted.clone() }
}

/// Writes a key. The session of a locked key is kept: locks are advisory.
fn set(tx: &mut Tx<'_>, present: Option<&KvEntry>, mut entry: KvEntry) {
    if let Some(present) = present {
        if entry.session.is_empty() {
            entry.session = present.session.clone();
        }
        entry.create_index = present.create_index;
        entry.modify_index = present.modify_index;
        if entry == *present {
            return;
        }
    } else {
        entry.create_index = tx.index();
    }
    entry.modify_index = tx.index();
    table::store(tx, entry);
}

fn lock(tx: &mut Tx<'_>, present: Option<&KvEntry>, wanted: &KvEntry) -> Result<bool, LockRefused> {
    if !session::exists(tx, &wanted.session) {
        return Err(LockRefused::InvalidSession(wanted.session.clone()));
    }
    let lock_index = match present {
        Some(present) if present.session == wanted.session => present.lock_index,
        Some(present) if !present.session.is_empty() => return Ok(false),
        Some(present) => present.lock_index + 1,
        None => 1,
    };
    set(tx, present, KvEntry { lock_index, ..wanted.clone() });
    Ok(true)
}

fn unlock(tx: &mut Tx<'_>, present: Option<&KvEntry>, wanted: &KvEntry) -> bool {
    let Some(present) = present.filter(|present| present.session == wanted.session) else {
        return false;
    };
    let mut entry = KvEntry {
        session: SessionId::default(),
        lock_index: present.lock_index,
        create_index: present.create_index,
        ..wanted.clone()
    };
    entry.modify_index = tx.index();
    table::store(tx, entry);
    true
}

/// Forgets tombstones that are old enough (Raft command 5, `TombstoneRequest`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TombstoneReap {
    /// The datacenter.
    pub datacenter: Datacenter,
    /// Always `reap`.
    pub op: String,
    /// Tombstones up to this index go.
    pub reap_index: Index,
}

impl Command for TombstoneReap {
    const TAG: u8 = 5;
    const NAME: &'static str = "Tombstone.Reap";
    type Reply = ();

    fn op(&self) -> &'static str {
        "reap"
    }

    fn datacenter(&self) -> &Datacenter {
        &self.datacenter
    }

    fn authorize(&self, who: &Authorizer, _store: &Store) -> Result<(), PermissionDenied> {
        who.require(Permission::write(acl::Resource::Operator, ""))
    }

    fn apply(&self, tx: &mut Tx<'_>) -> Applied<()> {
        let old: Vec<Arc<str>> = tx
            .peek_prefix(&TOMBSTONES, &[])
            .filter(|tombstone: &&Tombstone| tombstone.index <= self.reap_index)
            .map(|tombstone| Arc::clone(&tombstone.key))
            .collect();
        for key in old {
            tx.delete(&TOMBSTONES, key.as_bytes());
        }
        Ok(())
    }
}
