//! What operators ask of the quorum: who is in it, who leads, and changes of both.

use std::time::Duration;

use acl::{Permission, Resource};
use bytes::Bytes;
use contract::remote::{QueryOptions, decode_reply, encode};
use contract::{CallError, ReadOptions};
use grpc::messages::{TransferLeaderRequest, TransferLeaderResponse};
use grpc::{TOKEN_METADATA, paths};
use rpc::retry::Purpose;
use rpc::{RpcError, ServerAddr};
use types::member::Member;
use types::operator::{RaftConfiguration, RaftPeer, RaftServer, RemovePeerRequest};
use types::{Datacenter, SecretId};

use crate::Server;
use crate::forward::{
    Answers, Attempts, FORWARDED_METADATA, Failure, Place, ask_answerer, is_elsewhere, place,
};
use crate::leader::hand_over;
use crate::raft_host::{Change, RaftStats, ServerId, Suffrage};

/// The methods behind what operators ask; [`crate::endpoint`] answers them.
pub(crate) const STATUS_LEADER: &str = "Status.Leader";
pub(crate) const STATUS_PEERS: &str = "Status.Peers";
pub(crate) const RAFT_CONFIGURATION: &str = "Operator.RaftGetConfiguration";
pub(crate) const REMOVE_BY_ID: &str = "Operator.RaftRemovePeerByID";
pub(crate) const REMOVE_BY_ADDRESS: &str = "Operator.RaftRemovePeerByAddress";
pub(crate) const AUTOPILOT_STATE: &str = "Operator.AutopilotState";
pub(crate) const SERVER_HEALTH: &str = "Operator.ServerHealth";

/// What does not wait for a change.
pub(crate) const READ: Purpose = Purpose::Read(Duration::ZERO);

/// The only Raft protocol that there is.
const RAFT_PROTOCOL: &str = "3";

impl Server {
    /// The address of the leader, `ip:port`; empty if there is none. No token is asked for.
    ///
    /// # Errors
    /// There is no way to the datacenter.
    pub async fn leader_address(&self, datacenter: &Datacenter) -> Result<String, CallError> {
        let call = (STATUS_LEADER, in_datacenter(datacenter));
        if let Some(reply) = ask_answerer(self, datacenter, Answers::Anybody, call, READ).await? {
            return decode_reply(STATUS_LEADER, &reply);
        }
        Ok(self.raft().leader().map(|leader| leader.address.to_string()).unwrap_or_default())
    }

    /// The addresses of the servers of the quorum, `ip:port`. No token is asked for.
    ///
    /// # Errors
    /// There is no way to the datacenter, or this server is stopping.
    pub async fn peer_addresses(&self, datacenter: &Datacenter) -> Result<Vec<String>, CallError> {
        let call = (STATUS_PEERS, in_datacenter(datacenter));
        if let Some(reply) = ask_answerer(self, datacenter, Answers::Anybody, call, READ).await? {
            return decode_reply(STATUS_PEERS, &reply);
        }
        let stats = self.raft_stats().await?;
        Ok(stats.configuration.servers.iter().map(|server| server.address.to_string()).collect())
    }

    /// The servers of the quorum, with the names that gossip knows.
    ///
    /// # Errors
    /// Permission denied, no way to the datacenter, or this server is stopping.
    pub async fn raft_configuration(
        &self,
        options: &ReadOptions,
        members: &[Member],
    ) -> Result<RaftConfiguration, CallError> {
        let call = (RAFT_CONFIGURATION, encode(&QueryOptions::new(options, "")));
        let (datacenter, answers) = (&options.datacenter, Answers::read(options));
        if let Some(reply) = ask_answerer(self, datacenter, answers, call, READ).await? {
            return decode_reply(RAFT_CONFIGURATION, &reply);
        }
        self.may_read_operator(&options.token)?;
        let leader = self.raft().leader();
        let stats = self.raft_stats().await?;
        let servers = stats.configuration.servers.iter().map(|server| RaftServer {
            id: server.id.0.to_string(),
            node: name_of(&server.id, members),
            address: server.address.to_string(),
            leader: leader.as_ref().is_some_and(|leader| leader.id == server.id),
            protocol_version: RAFT_PROTOCOL.to_owned(),
            voter: server.suffrage == Suffrage::Voter,
            last_index: last_index_of(&server.id, &stats),
        });
        Ok(RaftConfiguration { servers: servers.collect(), index: 0 })
    }

    /// Takes a server that will not come back out of the quorum.
    ///
    /// # Errors
    /// Permission denied, no such server, or there is no quorum to agree to it.
    pub async fn remove_peer(
        &self,
        datacenter: &Datacenter,
        peer: &RaftPeer,
        token: &SecretId,
    ) -> Result<(), CallError> {
        let base = RemovePeerRequest {
            datacenter: datacenter.clone(),
            token: token.clone(),
            ..RemovePeerRequest::default()
        };
        let (method, request) = match peer {
            RaftPeer::Id(id) => (REMOVE_BY_ID, RemovePeerRequest { id: id.clone(), ..base }),
            RaftPeer::Address(address) => {
                (REMOVE_BY_ADDRESS, RemovePeerRequest { address: address.clone(), ..base })
            }
        };
        let call = (method, encode(&request));
        let answers = Answers::Leader;
        if ask_answerer(self, datacenter, answers, call, Purpose::Write).await?.is_some() {
            return Ok(());
        }
        self.may_write_operator(token)?;
        let stats = self.raft_stats().await?;
        let found = stats.configuration.servers.iter().find(|server| match peer {
            RaftPeer::Address(address) => *server.address == **address,
            RaftPeer::Id(id) => *server.id.0 == **id,
        });
        let Some(server) = found else {
            let (what, value) = match peer {
                RaftPeer::Address(address) => ("address", address),
                RaftPeer::Id(id) => ("id", id),
            };
            return Err(CallError::failed(format!(
                "{what} {value:?} was not found in the Raft configuration"
            )));
        };
        let (id, address) = (server.id.clone(), server.address.clone());
        // Only if the configuration is still the one in which the server was found.
        let change = Change::Remove { id: id.clone() };
        self.raft()
            .change_membership(change, Some(stats.configuration_index))
            .await
            .map_err(|error| error.to_call_error())?;
        tracing::warn!(target: "agent.server", id = %id.0, address = %address, "removed Raft peer");
        Ok(())
    }

    /// Hands the leadership to the server of this id, or to the one whose log is the
    /// furthest.
    ///
    /// # Errors
    /// Permission denied, no such server, or it did not take over.
    pub async fn transfer_leadership(
        &self,
        datacenter: &Datacenter,
        id: Option<&str>,
        token: &SecretId,
    ) -> Result<(), CallError> {
        if is_elsewhere(self, datacenter) {
            let there = self.peers().server_in(datacenter).map_err(Failure::There)?;
            return Ok(order_transfer(self, &there, id, token, false).await?);
        }
        let mut attempts = Attempts::new(Purpose::Write);
        loop {
            let failure = match place(self, false) {
                Ok(Place::Here) => return transfer_here(self, id, token).await,
                Ok(Place::At(leader)) => {
                    match order_transfer(self, &leader, id, token, true).await {
                        Ok(()) => return Ok(()),
                        Err(failure) => failure,
                    }
                }
                Err(error) => Failure::Here(error),
            };
            attempts.pause(self, failure).await?;
        }
    }

    /// Whether the holder of the token may look at the quorum.
    pub(crate) fn may_read_operator(&self, token: &SecretId) -> Result<(), CallError> {
        Ok(self.authorizer(token).require(Permission::read(Resource::Operator, ""))?)
    }

    /// Whether the holder of the token may change the quorum.
    pub(crate) fn may_write_operator(&self, token: &SecretId) -> Result<(), CallError> {
        Ok(self.authorizer(token).require(Permission::write(Resource::Operator, ""))?)
    }

    async fn raft_stats(&self) -> Result<RaftStats, CallError> {
        self.raft().stats().await.map_err(|error| error.to_call_error())
    }
}

/// Has another server do it, of whatever make: this is the one order that goes over gRPC.
async fn order_transfer(
    server: &Server,
    there: &ServerAddr,
    id: Option<&str>,
    token: &SecretId,
    is_leader: bool,
) -> Result<(), Failure> {
    let message = TransferLeaderRequest { id: id.unwrap_or_default().to_owned() };
    let mark = if is_leader { "1" } else { "" };
    let beside = [(TOKEN_METADATA, token.as_str()), (FORWARDED_METADATA, mark)];
    let (path, deadline) = (paths::TRANSFER_LEADER, server.shared.options.client_timeout);
    let called = server.peers().grpc().call(there, path, &message, &beside, deadline).await;
    let failure = match called {
        Ok(TransferLeaderResponse { .. }) => return Ok(()),
        Err(failure) => failure,
    };
    Err(match failure {
        grpc::Failure::Connect(error) => Failure::There(error),
        grpc::Failure::Status(status) => {
            Failure::There(RpcError::Remote(status.message().to_owned()))
        }
        grpc::Failure::NotSpoken => Failure::Here(CallError::failed(format!(
            "the leader is {there}, a version that cannot be told by another server to hand \
             over the leadership: send the request to its own HTTP address"
        ))),
    })
}

async fn transfer_here(
    server: &Server,
    id: Option<&str>,
    token: &SecretId,
) -> Result<(), CallError> {
    server.may_write_operator(token)?;
    let target = match id {
        None => None,
        Some(id) => {
            let stats = server.raft_stats().await?;
            let id = ServerId(id.into());
            if stats.configuration.server(&id).is_none() {
                let text = format!("Could not find address for server id {}", id.0);
                return Err(CallError::failed(text));
            }
            Some(id)
        }
    };
    hand_over(server, target).await.map_err(|error| error.to_call_error())
}

/// The argument of a method that wants to know the datacenter alone.
fn in_datacenter(datacenter: &Datacenter) -> Bytes {
    encode(&QueryOptions { datacenter: datacenter.clone(), ..QueryOptions::default() })
}

fn name_of(id: &ServerId, members: &[Member]) -> String {
    let found = members.iter().find(|m| m.tags.get("id").is_some_and(|known| *known == *id.0));
    found.map_or_else(|| RaftServer::UNKNOWN_NODE.to_owned(), |member| member.name.clone())
}

/// Where the log of a server ends: this one knows of its own, and of those that it leads.
fn last_index_of(id: &ServerId, stats: &RaftStats) -> u64 {
    if stats.status.id == *id {
        return stats.status.last.index.0;
    }
    let follower = stats.followers.iter().find(|follower| follower.id == *id);
    follower.map_or(0, |follower| follower.matched.0)
}
