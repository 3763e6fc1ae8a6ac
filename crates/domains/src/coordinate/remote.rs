//! Coordinates on the server port.

use std::sync::Arc;

use bytes::Bytes;
use contract::remote::{
    CommandMethod, Nothing, QueryMethod, QueryOptions, RemoteCommand, ReplyReader, decode_args,
    encode, header, nil_if_empty, reading, with_token,
};
use contract::{CallError, Command, MethodClass, MethodDef, ReadFacts, RemoteCall};
use serde::{Deserialize, Serialize};
use types::coordinate::{Coordinate, NodeCoordinate};
use types::{Datacenter, NodeName, SecretId};

use super::command::{CoordinateBatch, CoordinateUpdate};
use super::query::{CoordinatesOfNode, CoordinatesOfNodes};
use crate::requests::{DcRequest, NodeRequest};

pub(super) const METHODS: &[MethodDef] = &[
    MethodDef::of(CoordinateUpdate::NAME, MethodClass::Write, decode_update),
    MethodDef::read::<CoordinatesOfNodes>(),
    MethodDef::read::<CoordinatesOfNode>(),
];

/// Leaders gather them, and write them for themselves.
impl RemoteCommand for CoordinateBatch {}

/// `CoordinateUpdateRequest`, which is not what enters the log.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CoordinateUpdateRequest<'c> {
    /// Servers of Consul's do not survive its absence.
    coord: &'c Coordinate,
    datacenter: &'c Datacenter,
    node: &'c NodeName,
    segment: &'c str,
}

impl CommandMethod for CoordinateUpdate {
    fn request(&self, token: &SecretId) -> (&'static str, Bytes) {
        let none = Coordinate::default();
        let request = CoordinateUpdateRequest {
            coord: self.coord.as_ref().unwrap_or(&none),
            datacenter: &self.datacenter,
            node: &self.node,
            segment: &self.segment,
        };
        (Self::METHOD, with_token(&request, token))
    }

    fn encode_reply(_reply: &()) -> Bytes {
        encode(&Nothing {})
    }

    fn reply_reader(&self) -> ReplyReader<()> {
        reading(Self::METHOD, |Nothing {}| Ok(()))
    }
}

fn decode_update(args: &[u8]) -> Result<RemoteCall, CallError> {
    let update: CoordinateUpdate = decode_args(args)?;
    if update.coord.is_none() {
        return Err(CallError::bad_request("Missing coordinate"));
    }
    Ok(RemoteCall::write(update, header(args)?.token))
}

/// `IndexedCoordinates`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexedCoordinates<R> {
    coordinates: R,
}

type Rows = Vec<Arc<NodeCoordinate>>;

impl QueryMethod for CoordinatesOfNodes {
    type Request = DcRequest;
    type Wire<'r> = IndexedCoordinates<Option<&'r [Arc<NodeCoordinate>]>>;
    type Received = IndexedCoordinates<Rows>;

    fn request(&self) -> DcRequest {
        DcRequest::default()
    }

    fn of_request(_request: DcRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self)
    }

    fn wire(reply: &Rows) -> Self::Wire<'_> {
        IndexedCoordinates { coordinates: nil_if_empty(reply) }
    }

    fn of_wire(&self, received: Self::Received, _facts: &ReadFacts) -> Result<Rows, CallError> {
        Ok(received.coordinates)
    }
}

impl QueryMethod for CoordinatesOfNode {
    type Request = NodeRequest;
    type Wire<'r> = IndexedCoordinates<Option<&'r [Arc<NodeCoordinate>]>>;
    type Received = IndexedCoordinates<Rows>;

    fn request(&self) -> NodeRequest {
        NodeRequest::of(self.node.as_str())
    }

    fn of_request(request: NodeRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self { node: request.node })
    }

    fn wire(reply: &Rows) -> Self::Wire<'_> {
        IndexedCoordinates { coordinates: nil_if_empty(reply) }
    }

    fn of_wire(&self, received: Self::Received, _facts: &ReadFacts) -> Result<Rows, CallError> {
        Ok(received.coordinates)
    }
}
