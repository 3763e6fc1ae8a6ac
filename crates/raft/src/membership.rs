//! Who is in the cluster: configurations, changes to them, and their bytes.
//!
//! Thesis chapter 4, single-server changes. Consul: a configuration takes effect when it is
//! appended, and one that is truncated gives way to the one before
//! (`reference/raft-and-snapshots.md` section 3).

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use types::{Index, msgpack};

use crate::entry::{Configuration, Entry, EntryKind, Server, ServerId, SnapshotMeta, Suffrage};
use crate::error::{ConfigurationError, LogError};
use crate::log::LogReader;

/// Most servers a received configuration may have.
const MAX_SERVERS: usize = 1000;

/// One change of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds a voter, makes a nonvoter one, or updates a voter's address.
    AddVoter {
        /// Who.
        id: ServerId,
        /// `ip:port`.
        address: Arc<str>,
    },
    /// Adds a nonvoter; of a server that is there already only the address is updated.
    AddNonvoter {
        /// Who.
        id: ServerId,
        /// `ip:port`.
        address: Arc<str>,
    },
    /// Takes a voter's vote; of no effect on others.
    DemoteVoter {
        /// Who.
        id: ServerId,
    },
    /// Removes a server; of no effect if it is not there.
    Remove {
        /// Who.
        id: ServerId,
    },
}

impl Configuration {
    /// The server of that id.
    pub fn server(&self, id: &ServerId) -> Option<&Server> {
        self.servers.iter().find(|server| server.id == *id)
    }

    /// Whether that server votes.
    pub fn is_voter(&self, id: &ServerId) -> bool {
        self.server(id).is_some_and(|server| server.suffrage == Suffrage::Voter)
    }

    /// The ids of those who vote, in the configuration's order.
    pub fn voters(&self) -> impl Iterator<Item = &ServerId> {
        let voters = self.servers.iter().filter(|server| server.suffrage == Suffrage::Voter);
        voters.map(|server| &server.id)
    }

    /// How many votes are a majority.
    pub fn quorum(&self) -> usize {
        self.voters().count() / 2 + 1
    }

    /// Checks that there is a voter and that ids and addresses are given and differ.
    pub fn validate(&self) -> Result<(), ConfigurationError> {
        for (position, server) in self.servers.iter().enumerate() {
            let before = &self.servers[..position];
            if server.id.0.is_empty() {
                return Err(ConfigurationError::EmptyId);
            }
            if server.address.is_empty() {
                return Err(ConfigurationError::EmptyAddress(server.id.clone()));
            }
            if before.iter().any(|other| other.id == server.id) {
                return Err(ConfigurationError::DuplicateId(server.id.clone()));
            }
            if before.iter().any(|other| other.address == server.address) {
                return Err(ConfigurationError::DuplicateAddress(server.address.to_string()));
            }
        }
        if self.voters().next().is_none() {
            return Err(ConfigurationError::NoVoter);
        }
        Ok(())
    }

    /// What the change makes of it, validated.
    pub fn changed(&self, change: &Change) -> Result<Configuration, ConfigurationError> {
        let mut servers = self.servers.clone();
        let find = |servers: &[Server], id: &ServerId| servers.iter().position(|s| s.id == *id);
        match change {
            Change::AddVoter { id, address } => {
                let (id, address) = (id.clone(), address.clone());
                let server = Server { id, address, suffrage: Suffrage::Voter };
                match find(&servers, &server.id) {
                    Some(position) => servers[position] = server,
                    None => servers.push(server),
                }
            }
            Change::AddNonvoter { id, address } => match find(&servers, id) {
                Some(position) => servers[position].address = address.clone(),
                None => {
                    let (id, address) = (id.clone(), address.clone());
                    servers.push(Server { id, address, suffrage: Suffrage::Nonvoter });
                }
            },
            Change::DemoteVoter { id } => {
                if let Some(position) = find(&servers, id) {
                    servers[position].suffrage = Suffrage::Nonvoter;
                }
            }
            Change::Remove { id } => servers.retain(|server| server.id != *id),
        }
        let configuration = Configuration { servers };
        configuration.validate()?;
        Ok(configuration)
    }

    /// The bytes of a configuration entry and of the wire.
    pub fn encode(&self) -> Bytes {
        let servers = self.servers.iter().map(|server| WireServer {
            suffrage: server.suffrage as u8,
            id: server.id.0.to_string(),
            address: server.address.to_string(),
        });
        Bytes::from(msgpack::to_vec(&WireConfiguration { servers: servers.collect() }))
    }

    /// Reads what [`Configuration::encode`] or a real Consul server wrote. Does not validate.
    pub fn decode(data: &[u8]) -> Result<Configuration, ConfigurationError> {
        let undecodable = |text: String| ConfigurationError::Undecodable(text);
        let wire: WireConfiguration =
            msgpack::from_slice(data).map_err(|error| undecodable(error.to_string()))?;
        if wire.servers.len() > MAX_SERVERS {
            return Err(undecodable(format!("more than {MAX_SERVERS} servers")));
        }
        let servers = wire.servers.into_iter().map(|server| {
            let suffrage = match server.suffrage {
                0 => Suffrage::Voter,
                1 | 2 => Suffrage::Nonvoter,
                other => return Err(undecodable(format!("unknown suffrage {other}"))),
            };
            let (id, address) = (ServerId(server.id.into()), server.address.into());
            Ok(Server { id, address, suffrage })
        });
        Ok(Configuration { servers: servers.collect::<Result<_, _>>()? })
    }
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct WireConfiguration {
    servers: Vec<WireServer>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct WireServer {
    suffrage: u8,
    #[serde(rename = "ID")]
    id: String,
    address: String,
}

/// The two configurations that matter: the latest, which is in effect, and the one to go back
/// to should the latest be truncated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configurations {
    /// In effect.
    pub latest: Configuration,
    /// The entry that set it; zero for none.
    pub latest_index: Index,
    /// Known to be committed.
    pub committed: Configuration,
    /// The entry that set it; zero for none.
    pub committed_index: Index,
}

impl Configurations {
    /// What a restarted server starts with: the snapshot's configuration and those in the log
    /// behind it. Reads the whole log, in pieces.
    pub fn recover(
        snapshot: Option<&SnapshotMeta>,
        reader: &impl LogReader,
    ) -> Result<Configurations, LogError> {
        const PIECE_BYTES: usize = 1 << 20;
        let mut configurations = Configurations::default();
        let mut next = reader.first_index()?;
        if let Some(snapshot) = snapshot {
            configurations.reset(snapshot.configuration.clone(), snapshot.configuration_index);
            next = next.max(snapshot.last.index.next());
        }
        let last = reader.last_index()?;
        let mut piece = Vec::new();
        while next <= last {
            piece.clear();
            reader.entries(next, last, PIECE_BYTES, &mut piece)?;
            let Some(end) = piece.last() else {
                return Err(LogError(format!("entry {next} is missing")));
            };
            next = end.index.next();
            for entry in piece.iter().filter(|entry| entry.kind == EntryKind::Configuration) {
                configurations.append(entry).map_err(|error| LogError(error.to_string()))?;
            }
        }
        Ok(configurations)
    }

    pub(crate) fn reset(&mut self, configuration: Configuration, index: Index) {
        self.latest = configuration.clone();
        self.latest_index = index;
        self.committed = configuration;
        self.committed_index = index;
    }

    /// A leader appends a configuration only when the one before is committed.
    pub(crate) fn append(&mut self, entry: &Entry) -> Result<(), ConfigurationError> {
        let configuration = Configuration::decode(&entry.data)?;
        self.committed = std::mem::replace(&mut self.latest, configuration);
        self.committed_index = std::mem::replace(&mut self.latest_index, entry.index);
        Ok(())
    }

    pub(crate) fn truncate(&mut self, from: Index) {
        if from <= self.latest_index {
            assert!(from > self.committed_index, "a committed configuration is truncated");
            self.latest = self.committed.clone();
            self.latest_index = self.committed_index;
        }
    }

    pub(crate) fn commit(&mut self, index: Index) {
        if index >= self.latest_index && self.committed_index != self.latest_index {
            self.committed = self.latest.clone();
            self.committed_index = self.latest_index;
        }
    }

    /// Whether the latest configuration is committed.
    pub fn is_settled(&self) -> bool {
        self.latest_index == self.committed_index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(n: u8, suffrage: Suffrage) -> Server {
        let id = ServerId(format!("{n:036}").into());
        Server { id, address: format!("127.0.0.1:3830{n}").into(), suffrage }
    }

    /// `reference/raft-and-snapshots.md` section 19.
    #[test]
    fn a_configuration_has_the_bytes_of_a_real_one() {
        let configuration = Configuration { servers: vec![server(0, Suffrage::Voter)] };
        let mut expected =
            b"\x81\xa7Servers\x91\x83\xa7Address\xaf127.0.0.1:38300\xa2ID\xda\x00\x24".to_vec();
        expected.extend([b'0'; 36]);
        expected.extend(b"\xa8Suffrage\x00");
        assert_eq!(configuration.encode(), expected);
        assert_eq!(Configuration::decode(&expected), Ok(configuration));
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for data in [&b""[..], b"\x81", b"\xff", b"\x81\xa7Servers\x91\x81\xa8Suffrage\x09"] {
            assert!(Configuration::decode(data).is_err(), "{data:?}");
        }
    }

    #[test]
    fn changes_make_what_they_say_or_an_error() {
        let voter = |n| server(n, Suffrage::Voter);
        let nonvoter = |n| server(n, Suffrage::Nonvoter);
        let two = Configuration { servers: vec![voter(1), nonvoter(2)] };
        let (id, address) = (|n| voter(n).id, |n| voter(n).address);
        let cases = [
            (Change::AddVoter { id: id(2), address: address(2) }, Ok(vec![voter(1), voter(2)])),
            (
                Change::AddNonvoter { id: id(1), address: address(3) },
                Ok(vec![Server { address: address(3), ..voter(1) }, nonvoter(2)]),
            ),
            (Change::Remove { id: id(2) }, Ok(vec![voter(1)])),
            (Change::Remove { id: id(9) }, Ok(vec![voter(1), nonvoter(2)])),
            (Change::Remove { id: id(1) }, Err(ConfigurationError::NoVoter)),
            (Change::DemoteVoter { id: id(1) }, Err(ConfigurationError::NoVoter)),
            (
                Change::AddVoter { id: id(3), address: address(1) },
                Err(ConfigurationError::DuplicateAddress(address(1).to_string())),
            ),
            (
                Change::AddVoter { id: ServerId("".into()), address: address(3) },
                Err(ConfigurationError::EmptyId),
            ),
        ];
        for (change, expected) in cases {
            let result = two.changed(&change).map(|configuration| configuration.servers);
            assert_eq!(result, expected, "{change:?}");
        }
    }
}
