//! The keys that gossip is encrypted with, and operations on them in all pools
//! (`/v1/operator/keyring`, `Internal.KeyringOperation`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Datacenter, SecretId};

/// What to do with the keys (`reference/rpc-wire.md` sections 14 and 16).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KeyringRequest {
    /// Where it began.
    pub datacenter: Datacenter,
    /// Whether another server passes it on: it is then for the LAN pool alone.
    pub forwarded: bool,
    /// The key, base64; not for lists.
    pub key: SecretId,
    /// Whether the pools of other datacenters are left out; for lists only.
    pub local_only: bool,
    /// One of [`KeyringOperation`].
    pub operation: String,
    /// By how many other members each answer is sent, too.
    pub relay_factor: u8,
    /// The token.
    pub token: SecretId,
}

/// An operation on keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyringOperation {
    /// Tells which keys there are.
    List,
    /// Adds a key.
    Install,
    /// Encrypts with a key from now on.
    Use,
    /// Forgets a key.
    Remove,
}

impl KeyringOperation {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyringOperation::List => "list",
            KeyringOperation::Install => "install",
            KeyringOperation::Use => "use",
            KeyringOperation::Remove => "remove",
        }
    }

    /// The operation of this name.
    pub fn parse(name: &str) -> Option<Self> {
        let all = [Self::List, Self::Install, Self::Use, Self::Remove];
        all.into_iter().find(|operation| operation.as_str() == name)
    }
}

/// What the members of all pools answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KeyringResponses {
    /// One for each pool.
    #[serde(deserialize_with = "crate::null::or_null")]
    pub responses: Vec<KeyringResponse>,
}

/// What the members of one pool answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KeyringResponse {
    /// Whether it is the WAN pool.
    #[serde(rename = "WAN")]
    pub wan: bool,
    /// The datacenter of the server that asked.
    pub datacenter: Datacenter,
    /// Enterprise.
    pub segment: String,
    /// Enterprise; not shown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub partition: String,
    /// What members said, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::null::or_null")]
    pub messages: BTreeMap<String, String>,
    /// How many members have each key.
    #[serde(deserialize_with = "crate::null::or_null")]
    pub keys: BTreeMap<String, u64>,
    /// How many members encrypt with each key.
    #[serde(deserialize_with = "crate::null::or_null")]
    pub primary_keys: BTreeMap<String, u64>,
    /// How many members were asked.
    pub num_nodes: u64,
    /// What went wrong; empty if nothing did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}
