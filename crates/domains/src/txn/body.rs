//! The body of `PUT /v1/txn`: the shapes of Consul's public Go client, which differ
//! from those that are stored.
//!
//! Names of structs and their order of fields are those that error texts tell.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use types::catalog::{Locality, Meta, Node, NodeService, ServiceAddress, ServiceConnect, Weights};
use types::check::{HealthCheck, HealthCheckDefinition, Status};
use types::json::{self, DecodeError, Unknown};
use types::kv::KvEntry;
use types::proxy::ConnectProxy;
use types::txn::{KvVerb, RowVerb, TxnCheckOp, TxnKvOp, TxnNodeOp, TxnOp, TxnServiceOp};
use types::{
    Blob, CheckId, Datacenter, GoDuration, Index, NodeId, NodeName, ServiceId, ServiceName,
    SessionId,
};

/// Reads a body: how many operations it lists, and those that are not empty.
pub fn parse_body(bytes: &[u8]) -> Result<(usize, Vec<TxnOp>), DecodeError> {
    let listed: ListedOps = json::decode(bytes, Unknown::Deny)?;
    let count = listed.0.len();
    Ok((count, listed.0.into_iter().flatten().filter_map(Op::into_op).collect()))
}

/// The whole body. An operation that is `null` is as good as an empty one.
#[derive(Debug, Default)]
struct ListedOps(Vec<Option<Op>>);

impl<'de> Deserialize<'de> for ListedOps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OpsVisitor;

        impl<'de> Visitor<'de> for OpsVisitor {
            type Value = ListedOps;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("api.TxnOps")
            }

            fn visit_unit<E: de::Error>(self) -> Result<ListedOps, E> {
                Ok(ListedOps::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<ListedOps, A::Error> {
                let mut ops = Vec::new();
                while let Some(op) = items.next_element()? {
                    ops.push(op);
                }
                Ok(ListedOps(ops))
            }
        }

        deserializer.deserialize_any(OpsVisitor)
    }
}

/// One operation: the first of these that is given counts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "api.TxnOp", rename_all = "PascalCase", default)]
struct Op {
    #[serde(rename = "KV")]
    kv: Option<KvBody>,
    node: Option<NodeOpBody>,
    service: Option<ServiceOpBody>,
    check: Option<CheckOpBody>,
}

impl Op {
    fn into_op(self) -> Option<TxnOp> {
        match self {
            Self { kv: Some(op), .. } => Some(TxnOp { kv: Some(op.into_op()), ..TxnOp::default() }),
            Self { node: Some(op), .. } => {
                Some(TxnOp { node: Some(Box::new(op.into_op())), ..TxnOp::default() })
            }
            Self { service: Some(op), .. } => {
                Some(TxnOp { service: Some(Box::new(op.into_op())), ..TxnOp::default() })
            }
            Self { check: Some(op), .. } => {
                Some(TxnOp { check: Some(Box::new(op.into_op())), ..TxnOp::default() })
            }
            Self { .. } => None,
        }
    }
}

/// Namespaces and partitions are read and ignored, as Consul without Enterprise does.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "api.KVTxnOp", rename_all = "PascalCase", default)]
struct KvBody {
    verb: String,
    key: String,
    value: Blob,
    flags: u64,
    index: Index,
    session: SessionId,
    #[serde(rename = "Namespace")]
    _namespace: IgnoredAny,
    #[serde(rename = "Partition")]
    _partition: IgnoredAny,
}

impl KvBody {
    fn into_op(self) -> TxnKvOp {
        let entry = KvEntry {
            key: Arc::from(self.key),
            value: self.value,
            flags: self.flags,
            session: self.session,
            modify_index: self.index,
            ..KvEntry::default()
        };
        TxnKvOp { verb: KvVerb::from(self.verb.as_str()), entry }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "api.NodeTxnOp", rename_all = "PascalCase", default)]
struct NodeOpBody {
    verb: String,
    node: NodeBody,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "api.Node", rename_all = "PascalCase", default)]
struct NodeBody {
    #[serde(rename = "ID")]
    id: NodeId,
    node: NodeName,
    address: String,
    datacenter: Datacenter,
    tagged_addresses: Meta,
    meta: Meta,
    #[serde(rename = "CreateIndex")]
    _create_index: IgnoredAny,
    modify_index: Index,
    #[serde(rename = "Partition")]
    _partition: IgnoredAny,
    #[serde(rename = "PeerName")]
    _peer_name: IgnoredAny,
    locality: Option<Locality>,
}

impl NodeOpBody {
    fn into_op(self) -> TxnNodeOp {
        let NodeBody {
            id,
            node,
            address,
            datacenter,
            tagged_addresses,
            meta,
            modify_index,
            locality,
            ..
        } = self.node;
        let node = Node {
            id,
            node,
            address,
            datacenter,
            tagged_addresses,
            meta,
            locality,
            modify_index,
            ..Node::default()
        };
        TxnNodeOp { verb: RowVerb::from(self.verb.as_str()), node }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "api.ServiceTxnOp", rename_all = "PascalCase", default)]
struct ServiceOpBody {
    verb: String,
    node: NodeName,
    service: ServiceBody,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "api.AgentService", rename_all = "PascalCase", default)]
struct ServiceBody {
    kind: String,
    #[serde(rename = "ID")]
    id: ServiceId,
    service: ServiceName,
    tags: Vec<String>,
    meta: Meta,
    port: i64,
    address: String,
    socket_path: String,
    tagged_addresses: Option<std::collections::BTreeMap<String, ServiceAddress>>,
    weights: WeightsBody,
    enable_tag_override: bool,
    #[serde(rename = "CreateIndex")]
    _create_index: IgnoredAny,
    modify_index: Index,
    #[serde(rename = "ContentHash")]
    _content_hash: IgnoredAny,
    proxy: Option<Box<ConnectProxy>>,
    #[serde(rename = "Connect")]
    _connect: Option<ServiceConnect>,
    #[serde(rename = "PeerName")]
    _peer_name: IgnoredAny,
    #[serde(rename = "Namespace")]
    _namespace: IgnoredAny,
    #[serde(rename = "Partition")]
    _partition: IgnoredAny,
    #[serde(rename = "Datacenter")]
    _datacenter: IgnoredAny,
    locality: Option<Locality>,
}

/// Weights of which none is given are the default ones.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "api.AgentWeights", rename_all = "PascalCase", default)]
struct WeightsBody {
    passing: i64,
    warning: i64,
}

impl ServiceOpBody {
    /// Of the mesh's settings only the ones that name what a proxy stands for and how
    /// it is reached are taken over.
    fn into_op(self) -> TxnServiceOp {
        let body = self.service;
        let WeightsBody { passing, warning } = body.weights;
        let weights = (passing != 0 || warning != 0).then_some(Weights { passing, warning });
        let proxy = body.proxy.map(|proxy| ConnectProxy {
            destination_service_name: proxy.destination_service_name,
            destination_service_id: proxy.destination_service_id,
            local_service_address: proxy.local_service_address,
            local_service_port: proxy.local_service_port,
            local_service_socket_path: proxy.local_service_socket_path,
            mode: proxy.mode,
            mesh_gateway: proxy.mesh_gateway,
            transparent_proxy: proxy.transparent_proxy,
            ..ConnectProxy::default()
        });
        let service = NodeService {
            kind: body.kind,
            id: body.id,
            service: body.service,
            tags: body.tags,
            address: body.address,
            tagged_addresses: body.tagged_addresses,
            meta: body.meta,
            port: body.port,
            socket_path: body.socket_path,
            weights,
            enable_tag_override: body.enable_tag_override,
            locality: body.locality,
            proxy: proxy.map(Box::new).unwrap_or_default(),
            modify_index: body.modify_index,
            ..NodeService::default()
        };
        TxnServiceOp { verb: RowVerb::from(self.verb.as_str()), node: self.node, service }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "api.CheckTxnOp", rename_all = "PascalCase", default)]
struct CheckOpBody {
    verb: String,
    check: CheckBody,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "api.HealthCheck", rename_all = "PascalCase", default)]
struct CheckBody {
    node: NodeName,
    #[serde(rename = "CheckID")]
    check_id: CheckId,
    name: String,
    status: String,
    notes: String,
    output: String,
    #[serde(rename = "ServiceID")]
    service_id: ServiceId,
    service_name: ServiceName,
    service_tags: Vec<String>,
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Namespace")]
    _namespace: IgnoredAny,
    #[serde(rename = "Partition")]
    _partition: IgnoredAny,
    exposed_port: i64,
    #[serde(rename = "PeerName")]
    _peer_name: IgnoredAny,
    definition: DefinitionBody,
    #[serde(rename = "CreateIndex")]
    _create_index: IgnoredAny,
    modify_index: Index,
}

/// A definition may give its durations under two names.
#[derive(Debug, Default)]
struct DefinitionBody(HealthCheckDefinition);

#[derive(Debug, Default, Deserialize)]
#[serde(rename = "HealthCheckDefinition", rename_all = "PascalCase", default)]
struct NewDurations {
    interval_duration: Option<GoDuration>,
    timeout_duration: Option<GoDuration>,
    deregister_critical_service_after_duration: Option<GoDuration>,
}

impl<'de> Deserialize<'de> for DefinitionBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let read = |error: DecodeError| de::Error::custom(error);
        let newer: NewDurations =
            json::decode_value(value.clone(), Unknown::Ignore).map_err(read)?;
        let mut definition: HealthCheckDefinition =
            json::decode_value(value, Unknown::Ignore).map_err(read)?;
        let settings = [
            (&mut definition.interval, newer.interval_duration),
            (&mut definition.timeout, newer.timeout_duration),
            (
                &mut definition.deregister_critical_service_after,
                newer.deregister_critical_service_after_duration,
            ),
        ];
        for (place, duration) in settings {
            if let Some(duration) = duration {
                *place = duration;
            }
        }
        Ok(Self(definition))
    }
}

impl CheckOpBody {
    fn into_op(self) -> TxnCheckOp {
        let body = self.check;
        let check = HealthCheck {
            node: body.node,
            check_id: body.check_id,
            name: body.name,
            status: Status::from(body.status.as_str()),
            notes: body.notes,
            output: body.output,
            service_id: body.service_id,
            service_name: body.service_name,
            service_tags: body.service_tags,
            kind: body.kind,
            exposed_port: body.exposed_port,
            definition: body.definition.0,
            modify_index: body.modify_index,
            ..HealthCheck::default()
        };
        TxnCheckOp { verb: RowVerb::from(self.verb.as_str()), check }
    }
}
