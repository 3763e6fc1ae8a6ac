//! What is counted and measured of one route (`reference/telemetry.md` section 2,
//! `api.http` and `client.api.*`).

use std::sync::OnceLock;
use std::time::Duration;

use http::Method;
use telemetry::names;
use telemetry::series::{CounterHandle, TimerHandle};

use crate::Reply;

/// Routes whose calls are counted, each under its own name.
const COUNTED: &[(&str, &str)] = &[
    ("/v1/catalog/register", "catalog_register"),
    ("/v1/catalog/deregister", "catalog_deregister"),
    ("/v1/catalog/datacenters", "catalog_datacenters"),
    ("/v1/catalog/nodes", "catalog_nodes"),
    ("/v1/catalog/services", "catalog_services"),
    ("/v1/catalog/service/", "catalog_service_nodes"),
    ("/v1/catalog/connect/", "catalog_connect_service_nodes"),
    ("/v1/catalog/node/", "catalog_node_services"),
    ("/v1/catalog/node-services/", "catalog_node_service_list"),
    ("/v1/catalog/gateway-services/", "catalog_gateway_services"),
    ("/v1/operator/usage", "operator_usage"),
    ("/v1/internal/service-virtual-ip", "service_virtual_ips"),
];

/// The handles of one method of one route, found when it is first called.
#[derive(Default)]
pub(crate) struct RouteMetrics {
    handles: OnceLock<Handles>,
}

struct Handles {
    timer: TimerHandle,
    calls: Option<Calls>,
}

struct Calls {
    all: CounterHandle,
    success: CounterHandle,
    error: CounterHandle,
}

impl RouteMetrics {
    /// A call was answered.
    pub(crate) fn record(
        &self,
        method: &Method,
        path: &str,
        node: &str,
        reply: &Reply,
        took: Duration,
    ) {
        let handles = self.handles.get_or_init(|| Handles::new(method, path, node));
        handles.timer.record(took);
        if let Some(calls) = &handles.calls {
            calls.all.increment(1);
            // What the client did wrong never became a call to a server.
            match &reply.error {
                None if reply.response.status.is_success() => calls.success.increment(1),
                None => {}
                Some(_) => calls.error.increment(1),
            }
        }
    }
}

impl Handles {
    fn new(method: &Method, path: &str, node: &str) -> Self {
        let pattern = path.trim_start_matches('/').replace('/', "_");
        let counted = COUNTED.iter().find(|(counted, _)| *counted == path);
        Self {
            timer: names::API_HTTP.handle([method.as_str().to_owned().into(), pattern.into()]),
            calls: counted.map(|(_, call)| {
                let label = || [node.to_owned().into()];
                Calls {
                    all: names::CLIENT_API.handle_at(call, label()),
                    success: names::CLIENT_API_SUCCESS.handle_at(call, label()),
                    error: names::CLIENT_RPC_ERROR.handle_at(call, label()),
                }
            }),
        }
    }
}
