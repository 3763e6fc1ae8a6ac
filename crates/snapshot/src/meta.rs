//! `meta.json`.

use std::sync::Arc;

use raft::{Configuration, LogPosition, Server, ServerId, SnapshotMeta, Suffrage, Term};
use serde::{Deserialize, Serialize};
use types::json::{self, DecodeError, Unknown};
use types::{Blob, Index, msgpack};

/// The version of the format, the only one there is.
const VERSION: i64 = 1;

/// What a snapshot is of: `meta.json`, in an archive as well as on a server's disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Meta {
    /// The version of the format.
    pub version: i64,
    /// `<term>-<index>-<unix milliseconds>`.
    #[serde(rename = "ID")]
    pub id: String,
    /// The last Raft index that the state includes.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
    /// Msgpack of the voters' addresses, for readers of older versions.
    peers: Blob,
    configuration: WireConfiguration,
    configuration_index: u64,
    /// Bytes of `state.bin`.
    pub size: u64,
    /// The checksum of `state.bin` on a server's disk: CRC-64, big-endian. Archives
    /// have none.
    #[serde(rename = "CRC", skip_serializing_if = "Blob::is_empty")]
    pub crc: Blob,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct WireConfiguration {
    servers: Vec<WireServer>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct WireServer {
    suffrage: u8,
    #[serde(rename = "ID")]
    id: Arc<str>,
    address: Arc<str>,
}

impl Meta {
    /// Reads the file; unknown members are passed over.
    ///
    /// # Errors
    /// When it is not one JSON object of these members.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        json::decode_whole(bytes, Unknown::Ignore)
    }

    /// The file: one line.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = json::encode(self);
        bytes.push(b'\n');
        bytes
    }

    /// Whether this version of the format can be read.
    pub fn is_readable(&self) -> bool {
        (0..=VERSION).contains(&self.version)
    }
}

impl From<&SnapshotMeta> for Meta {
    fn from(meta: &SnapshotMeta) -> Self {
        let servers = &meta.configuration.servers;
        let voters = servers.iter().filter(|server| server.suffrage == Suffrage::Voter);
        let peers: Vec<&str> = voters.map(|server| &*server.address).collect();
        let servers = servers.iter().map(|server| WireServer {
            suffrage: server.suffrage as u8,
            id: server.id.0.clone(),
            address: server.address.clone(),
        });
        Self {
            version: VERSION,
            id: meta.id.clone(),
            index: meta.last.index.0,
            term: meta.last.term.0,
            peers: Blob(msgpack::to_vec(&peers).into()),
            configuration: WireConfiguration { servers: servers.collect() },
            configuration_index: meta.configuration_index.0,
            size: meta.size,
            crc: Blob::default(),
        }
    }
}

impl From<Meta> for SnapshotMeta {
    fn from(wire: Meta) -> Self {
        let servers = wire.configuration.servers.into_iter().map(|server| Server {
            id: ServerId(server.id),
            address: server.address,
            // All but zero have no vote; see `raft::Configuration::decode`.
            suffrage: if server.suffrage == 0 { Suffrage::Voter } else { Suffrage::Nonvoter },
        });
        SnapshotMeta {
            id: wire.id,
            last: LogPosition { term: Term(wire.term), index: Index(wire.index) },
            configuration: Configuration { servers: servers.collect() },
            configuration_index: Index(wire.configuration_index),
            size: wire.size,
        }
    }
}
