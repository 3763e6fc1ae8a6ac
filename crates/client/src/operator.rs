//! `/v1/operator/` (`reference/http-api.md` 2.12 and 3.18).

use std::collections::BTreeMap;

use http::Method;
use serde::{Deserialize, Serialize};
use types::autopilot::{AutopilotConfiguration, AutopilotState};
use types::operator::{Recovery, RecoveryOrder};
use types::usage::ServiceUsage;

use crate::{Client, Error, QueryOptions, Request};

/// The servers that vote, and those that only listen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RaftConfiguration {
    /// The servers.
    pub servers: Vec<RaftServer>,
    /// The Raft index of the configuration.
    pub index: u64,
}

/// One server of the Raft configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RaftServer {
    /// The node's id.
    #[serde(rename = "ID")]
    pub id: String,
    /// The node's name; `(unknown)` when gossip does not know it.
    pub node: String,
    /// `ip:port`.
    pub address: String,
    /// Whether it leads.
    pub leader: bool,
    /// Raft protocol version; empty when not known.
    pub protocol_version: String,
    /// Whether it votes.
    pub voter: bool,
    /// The last index in its log.
    pub last_index: u64,
}

/// The keys that one gossip pool knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Keyring {
    /// Whether it is the pool of all datacenters.
    #[serde(rename = "WAN")]
    pub wan: bool,
    /// The datacenter.
    pub datacenter: String,
    /// Enterprise: the network segment.
    pub segment: String,
    /// What members complained of, by their names.
    pub messages: BTreeMap<String, String>,
    /// How many members have each key.
    pub keys: BTreeMap<String, u64>,
    /// How many members encrypt with each key.
    pub primary_keys: BTreeMap<String, u64>,
    /// How many members there are.
    pub num_nodes: u64,
}

/// What to do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAction {
    /// Members understand it from now on.
    Install,
    /// Members encrypt with it from now on.
    Use,
    /// Members forget it.
    Remove,
}

/// How an operation on keyrings goes through the pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyringOptions {
    /// How many members pass each answer on, 0 to 5.
    pub relay_factor: u8,
    /// Only the pool of the datacenter, and only what the agent itself knows; for lists.
    pub local_only: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyBody<'k> {
    key: &'k str,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UsageAnswer {
    usage: BTreeMap<String, ServiceUsage>,
}

/// Calls about the servers, see [`Client::operator`].
#[derive(Clone, Copy)]
pub struct Operator<'c>(&'c Client);

impl Client {
    /// Calls about the servers.
    pub fn operator(&self) -> Operator<'_> {
        Operator(self)
    }
}

impl Operator<'_> {
    /// The Raft configuration.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn raft_configuration(
        self,
        options: &QueryOptions,
    ) -> Result<RaftConfiguration, Error> {
        let request = Request::get("/v1/operator/raft/configuration");
        Ok(self.0.read(request, options).await?.rows)
    }

    /// Removes a server from the Raft configuration by its address.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn raft_remove_peer_by_address(self, address: &str) -> Result<(), Error> {
        self.0
            .call_silently(Request::delete("/v1/operator/raft/peer").query("address", address))
            .await
    }

    /// Removes a server from the Raft configuration by its id.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn raft_remove_peer_by_id(self, id: &str) -> Result<(), Error> {
        self.0.call_silently(Request::delete("/v1/operator/raft/peer").query("id", id)).await
    }

    /// Hands the leadership to the server of this id, or to any when it is
    /// empty. Gives whether the leader says that it did.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn raft_transfer_leader(self, id: &str) -> Result<bool, Error> {
        let request = Request::new(Method::POST, "/v1/operator/raft/transfer-leader");
        let answer: Transfer =
            self.0.call(request.query_unless_empty("id", id)).await?.json().await?;
        Ok(answer.success)
    }

    /// What a recovery of the quorum would do at the server that is asked, which is none of
    /// Consul's calls.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn raft_recovery(self) -> Result<Recovery, Error> {
        self.0.call(Request::get(RECOVERY)).await?.json().await
    }

    /// Makes the servers that are left the quorum, if the log of the one that is asked still
    /// ends where `order` says.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn raft_recover(self, order: RecoveryOrder) -> Result<(), Error> {
        self.0.call_silently(Request::put(RECOVERY).json(&order)).await
    }

    /// What autopilot goes by.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn autopilot_configuration(
        self,
        options: &QueryOptions,
    ) -> Result<AutopilotConfiguration, Error> {
        let request = Request::get("/v1/operator/autopilot/configuration");
        Ok(self.0.read(request, options).await?.rows)
    }

    /// Sets what autopilot goes by, if it is still as of `configuration.modify_index`. Gives
    /// whether it was.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn autopilot_cas_configuration(
        self,
        configuration: &AutopilotConfiguration,
    ) -> Result<bool, Error> {
        let request = Request::put("/v1/operator/autopilot/configuration")
            .query("cas", configuration.modify_index.to_string())
            .json(configuration);
        self.0.call(request).await?.json().await
    }

    /// How the servers are doing.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn autopilot_state(self, options: &QueryOptions) -> Result<AutopilotState, Error> {
        Ok(self.0.read(Request::get("/v1/operator/autopilot/state"), options).await?.rows)
    }

    /// How much there is, by datacenter: in the one that is asked or, if `global`, in all.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn usage(
        self,
        global: bool,
        options: &QueryOptions,
    ) -> Result<BTreeMap<String, ServiceUsage>, Error> {
        let mut request = Request::get("/v1/operator/usage");
        if global {
            request = request.query("global", "");
        }
        let answer = self.0.read::<UsageAnswer>(request, options).await?;
        Ok(answer.rows.usage)
    }

    /// The keys of each gossip pool.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn keyrings(self, options: KeyringOptions) -> Result<Vec<Keyring>, Error> {
        let request = with_keyring_options(Request::get(KEYRING), options);
        self.0.call(request).await?.json().await
    }

    /// Does something with a key in all pools.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn change_keyrings(
        self,
        action: KeyAction,
        key: &str,
        options: KeyringOptions,
    ) -> Result<(), Error> {
        let method = match action {
            KeyAction::Install => Method::POST,
            KeyAction::Use => Method::PUT,
            KeyAction::Remove => Method::DELETE,
        };
        let request = Request::new(method, KEYRING).json(&KeyBody { key });
        self.0.call_silently(with_keyring_options(request, options)).await
    }
}

const RECOVERY: &str = "/v1/operator/raft/recovery";

const KEYRING: &str = "/v1/operator/keyring";

fn with_keyring_options(mut request: Request, options: KeyringOptions) -> Request {
    if options.relay_factor > 0 {
        request = request.query("relay-factor", options.relay_factor.to_string());
    }
    if options.local_only {
        request = request.query("local-only", "true");
    }
    request
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Transfer {
    success: bool,
}
