//! The messages, under one roof.

use crate::generated::hashicorp::consul::internal;

pub use crate::generated::subscribe::{
    CatalogOp, Event, EventBatch, NamedSubject, ServiceHealthUpdate, ServiceListUpdate,
    SubscribeRequest, Topic, event, subscribe_request,
};
pub use internal::common::{EnterpriseMeta, Locality, RaftIndex};
pub use internal::operator::{TransferLeaderRequest, TransferLeaderResponse};
pub use internal::service::{
    AccessLogsConfig, CheckServiceNode, ConnectProxyConfig, EnvoyExtension, ExposeConfig,
    ExposePath, HeaderValue, HealthCheck, HealthCheckDefinition, MeshGatewayConfig, Node,
    NodeService, PeeringServiceMeta, ServiceAddress, ServiceConnect, TransparentProxyConfig,
    Upstream, Weights,
};
