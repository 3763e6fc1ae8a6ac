//! What reads of nodes and instances have in common: which rows, and which of them
//! the caller's filter keeps.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::{CallError, Interest, Request};
use filter::{Filter, Schema};
use store::Reader;
use types::Index;
use types::catalog::{CheckServiceNode, Meta, Node, NodeService};

use super::index;
use super::table::{
    NODES, SERVICES, SERVICES_BY_NAME, SERVICES_BY_TARGET, ServiceRow, node_key, service_key,
};
use crate::coordinate::Near;
use crate::requests::{NO_SERVICE, ServiceRequest, given};

/// An instance of a service, and the node that it runs on.
pub(crate) type Instance = (Arc<Node>, Arc<ServiceRow>);

/// The instances of one service that are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct InstanceSelection {
    /// The service.
    pub service: String,
    /// Whether it is asked for what is reached as this service through the mesh.
    pub connect: bool,
    /// Whether it is asked for the service's ingress gateways, in place of its instances.
    /// They are linked by config entries, of which there are none yet, so no service has
    /// any.
    pub ingress: bool,
    /// Whether instances are shown with what is configured centrally for their service;
    /// nothing is yet.
    pub merge_central_config: bool,
    /// The cluster peer whose instances are asked for. There are no peers yet, and so
    /// nothing that was imported from one.
    pub peer: String,
    /// Tags that an instance must all have, compared without regard to case.
    pub tags: Vec<String>,
    /// Metadata that the node must have.
    pub node_meta: BTreeMap<String, String>,
    /// `near=`.
    pub near: Near,
}

impl InstanceSelection {
    /// All instances of a service.
    pub fn of(service: impl Into<String>) -> Self {
        Self { service: service.into(), ..Self::default() }
    }

    /// What another agent selects.
    pub(crate) fn of_request(request: ServiceRequest) -> Result<Self, CallError> {
        Ok(Self {
            tags: request.tags(),
            service: given(request.service_name, NO_SERVICE)?,
            connect: request.connect,
            ingress: request.ingress,
            merge_central_config: request.merge_central_config,
            peer: request.peer_name,
            node_meta: request.node_meta_filters,
            near: Near::of_source(request.source),
        })
    }

    /// The same for another server.
    pub(crate) fn to_request(&self) -> ServiceRequest {
        ServiceRequest {
            connect: self.connect,
            ingress: self.ingress,
            merge_central_config: self.merge_central_config,
            node_meta_filters: self.node_meta.clone(),
            peer_name: self.peer.clone(),
            service_tags: self.tags.clone(),
            source: self.near.to_source(),
            tag_filter: !self.tags.is_empty(),
            ..ServiceRequest::of(self.service.as_str())
        }
    }

    /// What is counted of asking for them.
    pub fn interest(&self, found: bool) -> Interest<'_> {
        Interest { service: &self.service, tags: &self.tags, connect: self.connect, found }
    }

    /// What an HTTP request selects.
    pub fn parse(request: &Request, service: &str, connect: bool) -> Self {
        Self {
            service: service.to_owned(),
            connect,
            ingress: false,
            merge_central_config: request.params.has("merge-central-config"),
            peer: request.params.text("peer").to_owned(),
            tags: request.params.all("tag").map(str::to_owned).collect(),
            node_meta: parse_node_meta(request),
            near: Near::parse(request),
        }
    }

    /// The instances with their nodes, and the index to wait on, which covers all of
    /// it but their order (see [`index::service_index`] and [`Near::sort`]).
    pub fn find(&self, reader: &mut Reader<'_>) -> (Index, Vec<Instance>) {
        let (index, which) = if self.connect {
            (index::target_index(reader, &self.service), SERVICES_BY_TARGET)
        } else {
            (index::service_index(reader, &self.service), SERVICES_BY_NAME)
        };
        if self.ingress || !self.peer.is_empty() {
            return (index, Vec::new());
        }
        let state = reader.unwatched();
        let key = service_key(&self.service);
        let mut found: Vec<Instance> = state
            .secondary(&SERVICES, which, key.as_bytes())
            .filter(|row| self.has_tags(&row.service))
            .filter_map(|row| {
                let node = state.get(&NODES, node_key(row.node.as_str()).as_bytes())?;
                has_meta(&node.meta, &self.node_meta).then_some((node, row))
            })
            .collect();
        self.near.sort(reader, &mut found, |(node, _)| node.node.as_str());
        (index, found)
    }

    /// Whether an instance of the service is one of those that are asked for.
    pub(crate) fn fits(&self, row: &CheckServiceNode) -> bool {
        self.has_tags(&row.service) && has_meta(&row.node.meta, &self.node_meta)
    }

    fn has_tags(&self, service: &NodeService) -> bool {
        self.tags.iter().all(|wanted| service.has_tag(wanted))
    }
}

/// `node-meta=key:value`, any number of times.
pub fn parse_node_meta(request: &Request) -> BTreeMap<String, String> {
    request
        .params
        .all("node-meta")
        .map(|pair| {
            let (key, value) = pair.split_once(':').unwrap_or((pair, ""));
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

/// Whether the metadata of a node or an instance has all that is wanted.
pub(crate) fn has_meta(meta: &Meta, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| {
        meta.as_ref().and_then(|meta| meta.get(key)).is_some_and(|found| found == value)
    })
}

/// The text of `filter=`, empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RowFilter(String);

impl From<&str> for RowFilter {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl RowFilter {
    /// The filter of an HTTP request.
    pub fn parse(request: &Request) -> Self {
        Self(request.params.text("filter").to_owned())
    }

    /// This expression; empty for none.
    pub fn of(expression: &str) -> Self {
        Self(expression.to_owned())
    }

    /// The expression; empty for none.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Keeps the rows that match; an expression that does not fit the rows is an error
    /// even when there are none.
    pub fn keep<R, T: 'static>(
        &self,
        schema: &'static Schema<T>,
        rows: &mut Vec<R>,
        row: impl Fn(&R) -> &T,
    ) -> Result<(), CallError> {
        let Some(filter) = self.compile(schema)? else { return Ok(()) };
        rows.retain(|candidate| filter.matches(row(candidate)));
        Ok(())
    }

    /// The compiled expression; `None` when there is none.
    pub fn compile<T: 'static>(
        &self,
        schema: &'static Schema<T>,
    ) -> Result<Option<Filter<T>>, CallError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        Filter::compile(&self.0, schema)
            .map(Some)
            .map_err(|error| CallError::failed(error.to_string()))
    }
}
