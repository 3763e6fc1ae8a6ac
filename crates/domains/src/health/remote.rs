//! Checks, and instances with their checks, on the server port.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::remote::{QueryMethod, QueryOptions, is_zero, nil_if_empty};
use contract::{CallError, MethodDef, ReadFacts};
use serde::{Deserialize, Serialize};
use types::catalog::CheckServiceNode;
use types::check::HealthCheck;

use super::query::{HealthChecksOfService, HealthNode, HealthService, HealthState, InstanceHealth};
use crate::catalog::{InstanceSelection, RowFilter};
use crate::coordinate::Near;
use crate::requests::{NO_NODE, NodeRequest, QuerySource, ServiceRequest, given};

pub(super) const METHODS: &[MethodDef] = &[
    MethodDef::read::<HealthState>(),
    MethodDef::read::<HealthNode>(),
    MethodDef::read::<HealthChecksOfService>(),
    MethodDef::read::<HealthService>(),
];

type Checks = Vec<Arc<HealthCheck>>;

/// `IndexedHealthChecks`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexedHealthChecks<R> {
    health_checks: R,
}

impl QueryMethod for HealthNode {
    type Request = NodeRequest;
    type Wire<'r> = IndexedHealthChecks<Option<&'r [Arc<HealthCheck>]>>;
    type Received = IndexedHealthChecks<Checks>;

    fn filter(&self) -> &str {
        self.filter.as_str()
    }

    fn request(&self) -> NodeRequest {
        NodeRequest::of(self.node.as_str())
    }

    fn of_request(request: NodeRequest, options: &QueryOptions) -> Result<Self, CallError> {
        let filter = RowFilter::of(&options.filter);
        Ok(Self { node: given(request.node, NO_NODE)?, filter })
    }

    fn wire(reply: &Checks) -> Self::Wire<'_> {
        IndexedHealthChecks { health_checks: nil_if_empty(reply) }
    }

    fn of_wire(&self, received: Self::Received, _facts: &ReadFacts) -> Result<Checks, CallError> {
        Ok(received.health_checks)
    }
}

impl QueryMethod for HealthChecksOfService {
    type Request = ServiceRequest;
    type Wire<'r> = IndexedHealthChecks<Option<&'r [Arc<HealthCheck>]>>;
    type Received = IndexedHealthChecks<Checks>;

    fn filter(&self) -> &str {
        self.filter.as_str()
    }

    fn request(&self) -> ServiceRequest {
        ServiceRequest {
            node_meta_filters: self.node_meta.clone(),
            source: self.near.to_source(),
            ..ServiceRequest::of(self.service.as_str())
        }
    }

    /// A call about no service has an empty answer in Consul, too.
    fn of_request(request: ServiceRequest, options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self {
            service: request.service_name,
            node_meta: request.node_meta_filters,
            near: Near::of_source(request.source),
            filter: RowFilter::of(&options.filter),
        })
    }

    fn wire(reply: &Checks) -> Self::Wire<'_> {
        IndexedHealthChecks { health_checks: nil_if_empty(reply) }
    }

    fn of_wire(&self, received: Self::Received, _facts: &ReadFacts) -> Result<Checks, CallError> {
        Ok(received.health_checks)
    }
}

/// `ChecksInStateRequest`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ChecksInStateRequest {
    #[serde(skip_serializing_if = "is_zero")]
    node_meta_filters: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_zero")]
    source: QuerySource,
    state: String,
}

impl QueryMethod for HealthState {
    type Request = ChecksInStateRequest;
    type Wire<'r> = IndexedHealthChecks<Option<&'r [Arc<HealthCheck>]>>;
    type Received = IndexedHealthChecks<Checks>;

    fn filter(&self) -> &str {
        self.filter.as_str()
    }

    fn request(&self) -> ChecksInStateRequest {
        ChecksInStateRequest {
            node_meta_filters: self.node_meta.clone(),
            source: self.near.to_source(),
            state: self.status.clone(),
        }
    }

    fn of_request(
        request: ChecksInStateRequest,
        options: &QueryOptions,
    ) -> Result<Self, CallError> {
        Ok(Self {
            status: request.state,
            node_meta: request.node_meta_filters,
            near: Near::of_source(request.source),
            filter: RowFilter::of(&options.filter),
        })
    }

    fn wire(reply: &Checks) -> Self::Wire<'_> {
        IndexedHealthChecks { health_checks: nil_if_empty(reply) }
    }

    fn of_wire(&self, received: Self::Received, _facts: &ReadFacts) -> Result<Checks, CallError> {
        Ok(received.health_checks)
    }
}

/// `IndexedCheckServiceNodes`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexedCheckServiceNodes<R> {
    nodes: R,
}

impl QueryMethod for HealthService {
    type Request = ServiceRequest;
    type Wire<'r> = IndexedCheckServiceNodes<Option<&'r [CheckServiceNode]>>;
    type Received = IndexedCheckServiceNodes<Vec<CheckServiceNode>>;

    fn filter(&self) -> &str {
        self.filter.as_str()
    }

    fn request(&self) -> ServiceRequest {
        let health_filter_type = match self.health {
            InstanceHealth::Any => 0,
            InstanceHealth::NotCritical => 1,
            InstanceHealth::Passing => 2,
        };
        ServiceRequest { health_filter_type, ..self.selection.to_request() }
    }

    fn of_request(request: ServiceRequest, options: &QueryOptions) -> Result<Self, CallError> {
        let health = match request.health_filter_type {
            1 => InstanceHealth::NotCritical,
            2 => InstanceHealth::Passing,
            _ => InstanceHealth::Any,
        };
        let selection = InstanceSelection::of_request(request)?;
        Ok(Self { selection, health, filter: RowFilter::of(&options.filter) })
    }

    fn wire(reply: &Vec<CheckServiceNode>) -> Self::Wire<'_> {
        IndexedCheckServiceNodes { nodes: nil_if_empty(reply) }
    }

    /// Servers of old versions send all, and leave it to the agent to choose.
    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        let mut rows = received.nodes;
        rows.retain(|row| self.health.fits(row));
        Ok(rows)
    }
}
