//! `/v1/operator/raft/` (`reference/http-api.md` 2.12).

use http::Method;
use serde::{Deserialize, Serialize};

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

impl Client {
    /// The Raft configuration.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn raft_configuration(
        &self,
        options: &QueryOptions,
    ) -> Result<RaftConfiguration, Error> {
        let request = Request::get("/v1/operator/raft/configuration");
        Ok(self.read(request, options).await?.rows)
    }

    /// Removes a server from the Raft configuration by its address.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn raft_remove_peer_by_address(&self, address: &str) -> Result<(), Error> {
        self.call_silently(Request::delete("/v1/operator/raft/peer").query("address", address))
            .await
    }

    /// Removes a server from the Raft configuration by its id.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn raft_remove_peer_by_id(&self, id: &str) -> Result<(), Error> {
        self.call_silently(Request::delete("/v1/operator/raft/peer").query("id", id)).await
    }

    /// Hands the leadership to the server of this id, or to any when it is
    /// empty. Gives whether the leader says that it did.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn raft_transfer_leader(&self, id: &str) -> Result<bool, Error> {
        let request = Request::new(Method::POST, "/v1/operator/raft/transfer-leader");
        let answer: Transfer =
            self.call(request.query_unless_empty("id", id)).await?.json().await?;
        Ok(answer.success)
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Transfer {
    success: bool,
}
