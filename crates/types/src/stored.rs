//! Instances and checks as some endpoints of Consul show them: as they are stored, where
//! tags that nobody gave are `null` and not an empty list.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::catalog::{Locality, Meta, NodeService, ServiceAddress, ServiceConnect, Weights};
use crate::check::{HealthCheck, HealthCheckDefinition, Status};
use crate::proxy::ConnectProxy;
use crate::{CheckId, Index, NodeName, ServiceId, ServiceName};

/// A row as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'s, T>(pub &'s T);

impl Serialize for Stored<'_, NodeService> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        StoredService::serialize(self.0, serializer)
    }
}

impl Serialize for Stored<'_, HealthCheck> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        StoredCheck::serialize(self.0, serializer)
    }
}

fn null_if_empty<S: Serializer>(tags: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match tags {
        [] => serializer.serialize_none(),
        tags => tags.serialize(serializer),
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The fields of [`NodeService`]; a test makes sure that they are all there.
#[derive(Serialize)]
#[serde(remote = "NodeService", rename_all = "PascalCase")]
struct StoredService {
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(rename = "ID")]
    id: ServiceId,
    service: ServiceName,
    #[serde(serialize_with = "null_if_empty")]
    tags: Vec<String>,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tagged_addresses: Option<BTreeMap<String, ServiceAddress>>,
    meta: Meta,
    #[serde(skip_serializing_if = "is_zero")]
    port: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    socket_path: String,
    weights: Option<Weights>,
    enable_tag_override: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<Locality>,
    proxy: Box<ConnectProxy>,
    connect: ServiceConnect,
    peer_name: String,
    create_index: Index,
    modify_index: Index,
}

/// The fields of [`HealthCheck`]; a test makes sure that they are all there.
#[derive(Serialize)]
#[serde(remote = "HealthCheck", rename_all = "PascalCase")]
struct StoredCheck {
    node: NodeName,
    #[serde(rename = "CheckID")]
    check_id: CheckId,
    name: String,
    status: Status,
    notes: String,
    output: String,
    #[serde(rename = "ServiceID")]
    service_id: ServiceId,
    service_name: ServiceName,
    #[serde(serialize_with = "null_if_empty")]
    service_tags: Vec<String>,
    #[serde(rename = "Type")]
    kind: String,
    interval: String,
    timeout: String,
    exposed_port: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    peer_name: String,
    definition: HealthCheckDefinition,
    create_index: Index,
    modify_index: Index,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn text<T: Serialize>(value: &T) -> String {
        String::from_utf8(json::encode(value)).unwrap()
    }

    /// Whatever a row has is there in both forms.
    #[test]
    fn only_empty_tags_differ_from_the_row_itself() {
        let full = NodeService {
            kind: "k".to_owned(),
            tags: vec!["t".to_owned()],
            tagged_addresses: Some(BTreeMap::new()),
            meta: Some(BTreeMap::new()),
            port: 1,
            socket_path: "s".to_owned(),
            weights: Some(Weights::default()),
            locality: Some(Locality::default()),
            ..NodeService::default()
        };
        assert_eq!(text(&Stored(&full)), text(&full));
        let bare = NodeService::default();
        let expected = text(&bare).replace("\"Tags\":[]", "\"Tags\":null");
        assert_eq!(text(&Stored(&bare)), expected);

        let full = HealthCheck {
            service_tags: vec!["t".to_owned()],
            peer_name: "p".to_owned(),
            ..HealthCheck::default()
        };
        assert_eq!(text(&Stored(&full)), text(&full));
        let bare = HealthCheck::default();
        let expected = text(&bare).replace("\"ServiceTags\":[]", "\"ServiceTags\":null");
        assert_eq!(text(&Stored(&bare)), expected);
    }
}
