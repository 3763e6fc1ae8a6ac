//! Rows of the catalog as messages, and back.
//!
//! A message has no place for what is empty but there: an empty map comes back as Consul's
//! `null`. What stands in a field that this version does not know is passed over.

mod check;
mod opaque;
mod proxy;

use std::collections::BTreeMap;
use std::sync::Arc;

use types::catalog;
use types::{Datacenter, Index, NodeId, NodeName, ServiceId, ServiceName};

use crate::messages;

/// An instance with its node and checks, to be sent.
pub fn to_message(row: &catalog::CheckServiceNode) -> messages::CheckServiceNode {
    messages::CheckServiceNode {
        node: Some(node_to_message(&row.node)),
        service: Some(service_to_message(&row.service)),
        checks: row.checks.iter().map(|check| check::to_message(check)).collect(),
    }
}

/// An instance with its node and checks, as it was sent.
pub fn of_message(message: messages::CheckServiceNode) -> catalog::CheckServiceNode {
    let messages::CheckServiceNode { node, service, checks } = message;
    catalog::CheckServiceNode {
        node: Arc::new(node.map(node_of_message).unwrap_or_default()),
        service: Arc::new(service.map(service_of_message).unwrap_or_default()),
        checks: checks.into_iter().map(|check| Arc::new(check::of_message(check))).collect(),
    }
}

/// What tells an instance that is gone: who it was, on which node.
pub fn identity_to_message(row: &catalog::CheckServiceNode) -> messages::CheckServiceNode {
    let node = messages::Node {
        id: text(row.node.id.as_str()),
        node: text(row.node.node.as_str()),
        datacenter: text(row.node.datacenter.as_str()),
        peer_name: row.node.peer_name.clone(),
        ..messages::Node::default()
    };
    let service = messages::NodeService {
        kind: row.service.kind.clone(),
        id: text(row.service.id.as_str()),
        service: text(row.service.service.as_str()),
        enterprise_meta: Some(messages::EnterpriseMeta::default()),
        peer_name: row.service.peer_name.clone(),
        ..messages::NodeService::default()
    };
    messages::CheckServiceNode { node: Some(node), service: Some(service), checks: Vec::new() }
}

fn node_to_message(node: &catalog::Node) -> messages::Node {
    messages::Node {
        id: text(node.id.as_str()),
        node: text(node.node.as_str()),
        address: node.address.clone(),
        datacenter: text(node.datacenter.as_str()),
        tagged_addresses: node.tagged_addresses.clone().unwrap_or_default(),
        meta: node.meta.clone().unwrap_or_default(),
        raft_index: indexes(node.create_index, node.modify_index),
        partition: String::new(),
        peer_name: node.peer_name.clone(),
        locality: node.locality.as_ref().map(locality_to_message),
    }
}

fn node_of_message(message: messages::Node) -> catalog::Node {
    let (create_index, modify_index) = of_indexes(message.raft_index);
    catalog::Node {
        id: NodeId::from(message.id),
        node: NodeName::from(message.node),
        address: message.address,
        datacenter: Datacenter::from(message.datacenter),
        peer_name: message.peer_name,
        tagged_addresses: given(message.tagged_addresses),
        meta: given(message.meta),
        locality: message.locality.map(locality_of_message),
        create_index,
        modify_index,
    }
}

fn service_to_message(service: &catalog::NodeService) -> messages::NodeService {
    let tagged = service.tagged_addresses.iter().flatten();
    messages::NodeService {
        kind: service.kind.clone(),
        id: text(service.id.as_str()),
        service: text(service.service.as_str()),
        tags: service.tags.clone(),
        address: service.address.clone(),
        meta: service.meta.clone().unwrap_or_default(),
        port: number(service.port),
        weights: service.weights.as_ref().map(|weights| messages::Weights {
            passing: number(weights.passing),
            warning: number(weights.warning),
        }),
        enable_tag_override: service.enable_tag_override,
        proxy: Some(proxy::to_message(&service.proxy)),
        connect: Some(connect_to_message(&service.connect)),
        locally_registered_as_sidecar: false,
        raft_index: indexes(service.create_index, service.modify_index),
        tagged_addresses: tagged
            .map(|(kind, at)| {
                let (address, port) = (at.address.clone(), number(at.port));
                (kind.clone(), messages::ServiceAddress { address, port })
            })
            .collect(),
        enterprise_meta: Some(messages::EnterpriseMeta::default()),
        socket_path: service.socket_path.clone(),
        peer_name: service.peer_name.clone(),
        locality: service.locality.as_ref().map(locality_to_message),
    }
}

fn service_of_message(message: messages::NodeService) -> catalog::NodeService {
    let (create_index, modify_index) = of_indexes(message.raft_index);
    let tagged = message.tagged_addresses.into_iter().map(|(kind, at)| {
        (kind, catalog::ServiceAddress { address: at.address, port: at.port.into() })
    });
    catalog::NodeService {
        kind: message.kind,
        id: ServiceId::from(message.id),
        service: ServiceName::from(message.service),
        tags: message.tags,
        address: message.address,
        tagged_addresses: given(tagged.collect()),
        meta: given(message.meta),
        port: message.port.into(),
        socket_path: message.socket_path,
        weights: message.weights.map(|weights| catalog::Weights {
            passing: weights.passing.into(),
            warning: weights.warning.into(),
        }),
        enable_tag_override: message.enable_tag_override,
        locality: message.locality.map(locality_of_message),
        proxy: Box::new(message.proxy.map(proxy::of_message).unwrap_or_default()),
        connect: message.connect.map(connect_of_message).unwrap_or_default(),
        peer_name: message.peer_name,
        create_index,
        modify_index,
    }
}

fn connect_to_message(connect: &catalog::ServiceConnect) -> messages::ServiceConnect {
    messages::ServiceConnect {
        native: connect.native,
        peer_meta: connect.peer_meta.as_ref().map(|meta| messages::PeeringServiceMeta {
            sni: meta.sni.clone(),
            spiffe_id: meta.spiffe_id.clone(),
            protocol: meta.protocol.clone(),
        }),
    }
}

fn connect_of_message(message: messages::ServiceConnect) -> catalog::ServiceConnect {
    catalog::ServiceConnect {
        native: message.native,
        peer_meta: message.peer_meta.map(|meta| catalog::PeerMeta {
            sni: meta.sni,
            spiffe_id: meta.spiffe_id,
            protocol: meta.protocol,
        }),
    }
}

fn locality_to_message(locality: &catalog::Locality) -> messages::Locality {
    messages::Locality { region: locality.region.clone(), zone: locality.zone.clone() }
}

fn locality_of_message(message: messages::Locality) -> catalog::Locality {
    catalog::Locality { region: message.region, zone: message.zone }
}

fn indexes(create: Index, modify: Index) -> Option<messages::RaftIndex> {
    Some(messages::RaftIndex { create_index: create.0, modify_index: modify.0 })
}

fn of_indexes(message: Option<messages::RaftIndex>) -> (Index, Index) {
    let message = message.unwrap_or_default();
    (Index(message.create_index), Index(message.modify_index))
}

/// Consul's `null` for an empty map.
fn given<V>(map: BTreeMap<String, V>) -> Option<BTreeMap<String, V>> {
    (!map.is_empty()).then_some(map)
}

fn text(text: &str) -> String {
    text.to_owned()
}

/// Ports and weights are small; the catalog takes any number that a client sends.
fn number(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}

#[cfg(test)]
mod tests;
