//! The methods of servers that belong to no domain, as a client agent calls them
//! (`reference/rpc-wire.md` section 12).

use bytes::Bytes;
use contract::remote::{QueryOptions, decode_reply, encode};
use contract::{CallError, ReadOptions};
use grpc::messages::{TransferLeaderRequest, TransferLeaderResponse};
use grpc::{Failure, TOKEN_METADATA, paths};
use serde::de::DeserializeOwned;
use server::EventFireRequest;
use server::endpoint::HealthReply;
use types::autopilot::{AutopilotState, OperatorHealth};
use types::coordinate::DatacenterMap;
use types::operator::{AutopilotStateReply, RaftConfiguration, RaftPeer, RemovePeerRequest};
use types::user_event::UserEvent;
use types::{Blob, Datacenter, SecretId};

use super::client::Client;

/// Whether this is what a server says that does not know a method: one of Consul's, asked
/// for what only ours have, or an older one.
pub(crate) fn is_unknown_method(text: &str) -> bool {
    text.contains("rpc: can't find")
}

impl Client {
    /// Asks, and reads the answer.
    async fn ask_for<R: DeserializeOwned>(
        &self,
        method: &str,
        args: Bytes,
    ) -> Result<R, CallError> {
        decode_reply(method, &self.ask(method, args).await?)
    }

    /// `Status.Leader`.
    pub(crate) async fn leader_address(&self, dc: &Datacenter) -> Result<String, CallError> {
        self.ask_for("Status.Leader", in_datacenter(dc)).await
    }

    /// `Status.Peers`.
    pub(crate) async fn peer_addresses(&self, dc: &Datacenter) -> Result<Vec<String>, CallError> {
        self.ask_for("Status.Peers", in_datacenter(dc)).await
    }

    /// `Catalog.ListDatacenters`.
    pub(crate) async fn datacenters(&self) -> Result<Vec<Datacenter>, CallError> {
        self.ask_for("Catalog.ListDatacenters", encode(&QueryOptions::default())).await
    }

    /// `Coordinate.ListDatacenters`.
    pub(crate) async fn datacenter_maps(&self) -> Result<Vec<DatacenterMap>, CallError> {
        self.ask_for("Coordinate.ListDatacenters", encode(&contract::remote::Nothing {})).await
    }

    /// `Operator.RaftGetConfiguration`.
    pub(crate) async fn raft_configuration(
        &self,
        options: &ReadOptions,
    ) -> Result<RaftConfiguration, CallError> {
        self.ask_for("Operator.RaftGetConfiguration", encode(&QueryOptions::new(options, ""))).await
    }

    /// `Operator.RaftRemovePeerByID` and `Operator.RaftRemovePeerByAddress`.
    pub(crate) async fn remove_peer(
        &self,
        dc: &Datacenter,
        peer: &RaftPeer,
        token: &SecretId,
    ) -> Result<(), CallError> {
        let base = RemovePeerRequest {
            datacenter: dc.clone(),
            token: token.clone(),
            ..RemovePeerRequest::default()
        };
        let (method, request) = match peer {
            RaftPeer::Id(id) => {
                ("Operator.RaftRemovePeerByID", RemovePeerRequest { id: id.clone(), ..base })
            }
            RaftPeer::Address(address) => (
                "Operator.RaftRemovePeerByAddress",
                RemovePeerRequest { address: address.clone(), ..base },
            ),
        };
        self.order(method, encode(&request)).await.map(drop)
    }

    /// `OperatorService.TransferLeader`, the one order that goes over gRPC.
    pub(crate) async fn transfer_leadership(
        &self,
        dc: &Datacenter,
        id: Option<&str>,
        token: &SecretId,
    ) -> Result<(), CallError> {
        if !dc.is_empty() && *dc != self.datacenter() {
            return Err(CallError::failed(format!(
                "the order to hand over the leadership does not go from an agent to another \
                 datacenter: send the request to an agent in {}",
                dc.as_str()
            )));
        }
        let server = self.server()?;
        let message = TransferLeaderRequest { id: id.unwrap_or_default().to_owned() };
        let (path, beside) = (paths::TRANSFER_LEADER, [(TOKEN_METADATA, token.as_str())]);
        let called = self.grpc().call(&server, path, &message, &beside, self.timeout());
        match called.await {
            Ok(TransferLeaderResponse { .. }) => Ok(()),
            Err(Failure::NotSpoken) => Err(CallError::failed(
                "the server that this agent asks cannot be told over the server port to hand \
                 over the leadership: send the request to the HTTP address of a server",
            )),
            Err(failure) => {
                if let Failure::Connect(_) = failure {
                    self.fail_server(&server);
                }
                Err(CallError::from_remote(failure.to_string()))
            }
        }
    }

    /// `Operator.AutopilotState`.
    pub(crate) async fn autopilot_state(
        &self,
        options: &ReadOptions,
    ) -> Result<AutopilotState, CallError> {
        let reply: AutopilotStateReply = self
            .ask_for("Operator.AutopilotState", encode(&QueryOptions::new(options, "")))
            .await?;
        Ok(reply.into())
    }

    /// `Operator.ServerHealth`.
    pub(crate) async fn operator_health(
        &self,
        options: &ReadOptions,
    ) -> Result<OperatorHealth, CallError> {
        let reply: HealthReply =
            self.ask_for("Operator.ServerHealth", encode(&QueryOptions::new(options, ""))).await?;
        Ok(reply.into())
    }

    /// `Internal.EventFire`: the servers of the datacenter send the event to all agents.
    pub(crate) async fn fire_event(
        &self,
        dc: &Datacenter,
        event: &UserEvent,
        token: &SecretId,
    ) -> Result<(), CallError> {
        let request = EventFireRequest {
            allow_stale: true,
            datacenter: dc.clone(),
            name: event.name.clone(),
            payload: Blob(event.to_wire().into()),
            token: token.clone(),
        };
        self.order("Internal.EventFire", encode(&request)).await.map(drop)
    }
}

/// The argument of a method that wants to know the datacenter alone.
fn in_datacenter(dc: &Datacenter) -> Bytes {
    encode(&QueryOptions { datacenter: dc.clone(), ..QueryOptions::default() })
}
