//! Federation states on the server port.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use contract::remote::{
    CommandMethod, QueryMethod, QueryOptions, RemoteQuery, ReplyReader, encode, nil_if_empty,
    reading,
};
use contract::{CallError, MethodDef, ReadFacts};
use serde::{Deserialize, Serialize};
use types::Datacenter;
use types::catalog::CheckServiceNode;
use types::federation_state::FederationState;

use super::command::FederationStateCommand;
use super::query::{FederationStateOf, FederationStates, MeshGateways, OwnMeshGateways};
use crate::requests::DcRequest;

pub(super) const METHODS: &[MethodDef] = &[
    MethodDef::write::<FederationStateCommand>(),
    MethodDef::read::<FederationStateOf>(),
    MethodDef::read::<FederationStates>(),
    MethodDef::read::<MeshGateways>(),
];

/// A leader watches its own catalog.
impl RemoteQuery for OwnMeshGateways {}

impl CommandMethod for FederationStateCommand {
    fn encode_reply(reply: &bool) -> Bytes {
        encode(reply)
    }

    fn reply_reader(&self) -> ReplyReader<bool> {
        reading(Self::METHOD, Ok)
    }
}

/// `FederationStateQuery`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FederationStateRequest {
    target_datacenter: Datacenter,
}

/// `FederationStateResponse`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FederationStateResponse<S> {
    state: S,
}

impl QueryMethod for FederationStateOf {
    type Request = FederationStateRequest;
    type Wire<'r> = FederationStateResponse<Option<&'r FederationState>>;
    type Received = FederationStateResponse<Option<Arc<FederationState>>>;

    fn request(&self) -> FederationStateRequest {
        FederationStateRequest { target_datacenter: self.datacenter.clone() }
    }

    fn of_request(
        request: FederationStateRequest,
        _options: &QueryOptions,
    ) -> Result<Self, CallError> {
        Ok(Self { datacenter: request.target_datacenter })
    }

    fn wire(reply: &Option<Arc<FederationState>>) -> Self::Wire<'_> {
        FederationStateResponse { state: reply.as_deref() }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        Ok(received.state)
    }
}

/// `IndexedFederationStates`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexedFederationStates<R> {
    states: R,
}

impl QueryMethod for FederationStates {
    type Request = DcRequest;
    type Wire<'r> = IndexedFederationStates<Option<&'r [Arc<FederationState>]>>;
    type Received = IndexedFederationStates<Vec<Arc<FederationState>>>;

    fn request(&self) -> DcRequest {
        DcRequest::default()
    }

    fn of_request(_request: DcRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self)
    }

    fn wire(reply: &Vec<Arc<FederationState>>) -> Self::Wire<'_> {
        IndexedFederationStates { states: nil_if_empty(reply) }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        Ok(received.states)
    }
}

/// `DatacenterIndexedCheckServiceNodes`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DatacenterNodes<R> {
    datacenter_nodes: R,
}

impl QueryMethod for MeshGateways {
    type Request = DcRequest;
    type Wire<'r> = DatacenterNodes<&'r BTreeMap<String, Vec<CheckServiceNode>>>;
    type Received = DatacenterNodes<BTreeMap<String, Vec<CheckServiceNode>>>;

    fn request(&self) -> DcRequest {
        DcRequest::default()
    }

    fn of_request(_request: DcRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self)
    }

    fn wire(reply: &Self::Reply) -> Self::Wire<'_> {
        DatacenterNodes { datacenter_nodes: reply }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        Ok(received.datacenter_nodes)
    }
}
