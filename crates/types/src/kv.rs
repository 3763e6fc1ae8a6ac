//! The key/value entry.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Blob, Index, SessionId};

/// One key with its value, as the HTTP API, the Raft log and snapshots show it
/// (`DirEntry` in `reference/rpc-wire.md` section 16).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KvEntry {
    /// How often the lock on this key was acquired.
    pub lock_index: u64,
    /// The whole key, slashes included.
    #[serde(serialize_with = "serialize_text", deserialize_with = "deserialize_text")]
    pub key: Arc<str>,
    /// Opaque number of the client.
    pub flags: u64,
    /// The value; empty is shown as `null` in JSON.
    pub value: Blob,
    /// The session that holds the lock; empty when free.
    #[serde(skip_serializing_if = "SessionId::is_empty")]
    pub session: SessionId,
    /// The index that created the key.
    pub create_index: Index,
    /// The index of the last write that changed the key.
    pub modify_index: Index,
}

impl Default for KvEntry {
    fn default() -> Self {
        Self {
            lock_index: 0,
            key: Arc::from(""),
            flags: 0,
            value: Blob::default(),
            session: SessionId::default(),
            create_index: Index::ZERO,
            modify_index: Index::ZERO,
        }
    }
}

fn serialize_text<S: serde::Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn deserialize_text<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Arc<str>, D::Error> {
    String::deserialize(deserializer).map(Arc::from)
}
