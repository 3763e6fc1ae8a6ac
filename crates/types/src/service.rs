//! Service definitions: what an agent's files and its API register.
//!
//! A [`ServiceDefinition`] is the request; what the agent and the catalog keep
//! is [`crate::catalog::NodeService`]. Sources: `reference/config.md` 7.1,
//! `reference/http-api.md` 3.4. CamelCase and snake_case spellings are read;
//! `null` is read as "not given", as clients written in Go send it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalog::{Locality, Meta, ServiceAddress, Weights};
use crate::check::CheckDefinition;
use crate::proxy::{ConnectProxy, is_default, is_zero};
use crate::{SecretId, ServiceId, ServiceName};

/// A service as it is asked for. Nothing is filled in yet: an empty `id` means
/// the name, no `weights` means 1 and 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = ".Alias", rename_all = "PascalCase", default)]
pub struct ServiceDefinition {
    /// `""`, `connect-proxy`, `mesh-gateway`, ….
    #[serde(
        alias = "kind",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "crate::null::or_null"
    )]
    pub kind: String,
    /// The id of the instance; empty for the name.
    #[serde(
        rename = "ID",
        alias = "id",
        skip_serializing_if = "ServiceId::is_empty",
        deserialize_with = "crate::null::or_null"
    )]
    pub id: ServiceId,
    /// The service. Required when it is registered.
    #[serde(
        alias = "name",
        skip_serializing_if = "ServiceName::is_empty",
        deserialize_with = "crate::null::or_null"
    )]
    pub name: ServiceName,
    /// Tags.
    #[serde(
        alias = "tags",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::null::or_null"
    )]
    pub tags: Vec<String>,
    /// IP address or host name; empty for the node's.
    #[serde(
        alias = "address",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "crate::null::or_null"
    )]
    pub address: String,
    /// Named addresses.
    #[serde(alias = "tagged_addresses", skip_serializing_if = "Option::is_none")]
    pub tagged_addresses: Option<BTreeMap<String, ServiceAddress>>,
    /// Metadata.
    #[serde(alias = "meta", skip_serializing_if = "Option::is_none")]
    pub meta: Meta,
    /// Port; 0 for none.
    #[serde(
        alias = "port",
        skip_serializing_if = "is_zero",
        deserialize_with = "crate::null::or_null"
    )]
    pub port: i64,
    /// A unix socket instead of address and port.
    #[serde(
        alias = "socket_path",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "crate::null::or_null"
    )]
    pub socket_path: String,
    /// The first check.
    #[serde(alias = "check", skip_serializing_if = "Option::is_none")]
    pub check: Option<Box<CheckDefinition>>,
    /// More checks.
    #[serde(
        alias = "checks",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::null::or_null"
    )]
    pub checks: Vec<CheckDefinition>,
    /// DNS weights; `None` for 1 and 1.
    #[serde(alias = "weights", skip_serializing_if = "Option::is_none")]
    pub weights: Option<Weights>,
    /// The token used to sync this instance.
    #[serde(
        alias = "token",
        skip_serializing_if = "SecretId::is_empty",
        deserialize_with = "crate::null::or_null"
    )]
    pub token: SecretId,
    /// Whether tags set in the catalog survive the agent's sync.
    #[serde(
        alias = "enable_tag_override",
        skip_serializing_if = "is_default",
        deserialize_with = "crate::null::or_null"
    )]
    pub enable_tag_override: bool,
    /// Mesh proxy settings.
    #[serde(alias = "proxy", skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Box<ConnectProxy>>,
    /// Mesh settings.
    #[serde(alias = "connect", skip_serializing_if = "Option::is_none")]
    pub connect: Option<ServiceDefinitionConnect>,
    /// Where it stands.
    #[serde(alias = "locality", skip_serializing_if = "Option::is_none")]
    pub locality: Option<Locality>,
}

impl ServiceDefinition {
    /// The id that the instance gets: its own, else the name.
    pub fn effective_id(&self) -> ServiceId {
        if self.id.is_empty() { ServiceId::from(self.name.as_str()) } else { self.id.clone() }
    }

    /// `check` followed by `checks`: the order that numbers their ids.
    pub fn all_checks(&self) -> impl Iterator<Item = &CheckDefinition> {
        self.check.as_deref().into_iter().chain(&self.checks)
    }
}

/// `Connect` of a service definition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceDefinitionConnect {
    /// Whether the application speaks the mesh protocol itself.
    #[serde(
        alias = "native",
        skip_serializing_if = "is_default",
        deserialize_with = "crate::null::or_null"
    )]
    pub native: bool,
    /// A proxy instance to register beside this one; it has no id of its own.
    #[serde(alias = "sidecar_service", skip_serializing_if = "Option::is_none")]
    pub sidecar_service: Option<Box<ServiceDefinition>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_and_nulls_are_read() {
        let camel: ServiceDefinition = serde_json::from_str(
            r#"{"Name":"web","Tags":null,"Check":null,"Checks":null,"EnableTagOverride":true,
                "Connect":{"SidecarService":{"Port":7}}}"#,
        )
        .unwrap();
        let snake: ServiceDefinition = serde_json::from_str(
            r#"{"name":"web","enable_tag_override":true,
                "connect":{"sidecar_service":{"port":7}}}"#,
        )
        .unwrap();
        assert_eq!(camel, snake);
        assert_eq!(camel.effective_id(), "web");
    }
}
