//! The arguments that methods of several domains share (`reference/rpc-wire.md`
//! section 16). What is zero is left out.

use std::collections::BTreeMap;

use contract::CallError;
use contract::remote::is_zero;
use serde::{Deserialize, Serialize};

/// `DCSpecificRequest`: what is asked of a whole datacenter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DcRequest {
    /// Metadata that nodes must have.
    #[serde(skip_serializing_if = "is_zero")]
    pub node_meta_filters: BTreeMap<String, String>,
    /// Near what.
    #[serde(skip_serializing_if = "is_zero")]
    pub source: QuerySource,
}

/// `NodeSpecificRequest`: what is asked about a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeRequest {
    /// Whether instances are shown with what is configured centrally.
    #[serde(skip_serializing_if = "is_zero")]
    pub merge_central_config: bool,
    /// The node.
    pub node: String,
    /// The cluster peer whose node it is.
    #[serde(skip_serializing_if = "is_zero")]
    pub peer_name: String,
}

impl NodeRequest {
    /// About this node.
    pub fn of(node: impl Into<String>) -> Self {
        Self { node: node.into(), ..Self::default() }
    }
}

/// `ServiceSpecificRequest`: what is asked about a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceRequest {
    /// Whether it is asked for what is reached as this service through the mesh.
    #[serde(skip_serializing_if = "is_zero")]
    pub connect: bool,
    /// How healthy instances must be.
    #[serde(skip_serializing_if = "is_zero")]
    pub health_filter_type: i32,
    /// Whether it is asked for the service's ingress gateways.
    #[serde(skip_serializing_if = "is_zero")]
    pub ingress: bool,
    /// Whether instances are shown with what is configured centrally.
    #[serde(skip_serializing_if = "is_zero")]
    pub merge_central_config: bool,
    /// Metadata that nodes must have.
    #[serde(skip_serializing_if = "is_zero")]
    pub node_meta_filters: BTreeMap<String, String>,
    /// The cluster peer whose instances are asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub peer_name: String,
    /// The address of the instances, in place of a name.
    #[serde(skip_serializing_if = "is_zero")]
    pub service_address: String,
    /// The service.
    #[serde(skip_serializing_if = "is_zero")]
    pub service_name: String,
    /// The tag that instances must have, as it was before there could be several.
    #[serde(skip_serializing_if = "is_zero")]
    pub service_tag: String,
    /// The tags that instances must have.
    #[serde(skip_serializing_if = "is_zero")]
    pub service_tags: Vec<String>,
    /// Near what.
    #[serde(skip_serializing_if = "is_zero")]
    pub source: QuerySource,
    /// Whether tags count.
    #[serde(skip_serializing_if = "is_zero")]
    pub tag_filter: bool,
}

impl ServiceRequest {
    /// About this service.
    pub fn of(service: impl Into<String>) -> Self {
        Self { service_name: service.into(), ..Self::default() }
    }

    /// The tags that count, also of a sender that knows one only.
    pub fn tags(&self) -> Vec<String> {
        match self {
            Self { tag_filter: false, .. } => Vec::new(),
            Self { service_tags, service_tag, .. }
                if service_tags.is_empty() && !service_tag.is_empty() =>
            {
                vec![service_tag.clone()]
            }
            Self { service_tags, .. } => service_tags.clone(),
        }
    }
}

/// Where a question comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QuerySource {
    /// The datacenter of the node: only there anything is near it.
    #[serde(skip_serializing_if = "is_zero")]
    pub datacenter: String,
    /// The address of the client.
    #[serde(skip_serializing_if = "is_zero")]
    pub ip: String,
    /// The node.
    #[serde(skip_serializing_if = "is_zero")]
    pub node: String,
    /// Its network segment.
    #[serde(skip_serializing_if = "is_zero")]
    pub segment: String,
}

/// What must be given, or the text that Consul's servers refuse its absence with.
pub(crate) fn given(text: String, refusal: &str) -> Result<String, CallError> {
    if text.is_empty() { Err(CallError::failed(refusal)) } else { Ok(text) }
}

/// What Consul's servers say of a call about no service.
pub(crate) const NO_SERVICE: &str = "Must provide service name";
/// What Consul's servers say of a call about no node.
pub(crate) const NO_NODE: &str = "Must provide node";
