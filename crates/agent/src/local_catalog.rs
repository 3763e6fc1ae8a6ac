//! The catalog of the datacenter, as the local part sees it.

use contract::{CallError, Consistency, ReadOptions};
use domains::catalog::{CatalogNode, Deregister, Register};
use domains::health::HealthNode;
use http_server::BoxFuture;
use telemetry::names;
use telemetry::series::CounterHandle;
use types::catalog::{DeregisterRequest, Node, RegisterRequest};
use types::{Datacenter, SecretId};

use crate::delegate::Delegate;
use crate::local::catalog::{Catalog, NodeQuery, RemoteNode};

/// Reads and writes through the delegate.
pub(crate) struct DelegateCatalog {
    delegate: Delegate,
    datacenter: Datacenter,
    calls: CounterHandle,
}

impl DelegateCatalog {
    /// The catalog of this datacenter.
    pub(crate) fn new(delegate: Delegate, datacenter: Datacenter) -> Self {
        Self { delegate, datacenter, calls: names::CLIENT_RPC.handle([]) }
    }

    fn read_options(&self, query: &NodeQuery) -> ReadOptions {
        let consistency = match query.stale_max.is_zero() {
            true => Consistency::Default,
            false => Consistency::Stale,
        };
        ReadOptions {
            datacenter: self.datacenter.clone(),
            token: query.token.clone(),
            consistency,
            min_index: query.newer_than,
            max_wait: Some(query.wait),
            ..ReadOptions::default()
        }
    }
}

impl Catalog for DelegateCatalog {
    fn remote(&self, query: NodeQuery) -> BoxFuture<Result<RemoteNode, CallError>> {
        self.calls.increment(2);
        let (delegate, options) = (self.delegate.clone(), self.read_options(&query));
        Box::pin(async move {
            // The leader registers the member, and the agent tells the rest of its node.
            if let Some(server) = delegate.server() {
                server::leader::until_reconciled(server).await;
            }
            let name = query.node.as_str().to_owned();
            let services = CatalogNode { node: name.clone(), ..CatalogNode::default() };
            let (found, facts) = delegate.read_typed(services, &options).await?;
            let at_once = ReadOptions { min_index: types::Index::ZERO, ..options };
            let checks = HealthNode { node: name, ..HealthNode::default() };
            let (checks, _) = delegate.read_typed(checks, &at_once).await?;
            let found = found.as_ref().as_ref();
            Ok(RemoteNode {
                node: found.map(|found| Node::clone(&found.node).into()),
                services: found.map(|f| f.services.values().cloned().collect()).unwrap_or_default(),
                checks: checks.as_ref().clone(),
                index: facts.index,
            })
        })
    }

    fn register(
        &self,
        mut request: RegisterRequest,
        token: SecretId,
    ) -> BoxFuture<Result<(), CallError>> {
        request.datacenter = self.datacenter.clone();
        self.calls.increment(1);
        let delegate = self.delegate.clone();
        Box::pin(async move { delegate.write_typed(Register(request), &token).await })
    }

    fn deregister(
        &self,
        mut request: DeregisterRequest,
        token: SecretId,
    ) -> BoxFuture<Result<(), CallError>> {
        request.datacenter = self.datacenter.clone();
        self.calls.increment(1);
        let delegate = self.delegate.clone();
        Box::pin(async move { delegate.write_typed(Deregister(request), &token).await })
    }
}
