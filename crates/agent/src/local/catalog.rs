//! The catalog, as the local part of the agent sees it.

use std::time::Duration;

use contract::CallError;
use http_server::BoxFuture;
use types::catalog::{DeregisterRequest, RegisterRequest};
use types::{Index, NodeName, SecretId};

pub(crate) use super::sync::RemoteNode;

/// A question for what the catalog has of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeQuery {
    /// The node.
    pub(crate) node: NodeName,
    /// The token to read with.
    pub(crate) token: SecretId,
    /// Answer when the index of the answer is above this one; zero for at once.
    pub(crate) newer_than: Index,
    /// The longest wait for that.
    pub(crate) wait: Duration,
    /// The oldest answer that will do; zero for the leader's own.
    pub(crate) stale_max: Duration,
}

/// The catalog. Implemented over the server in this process, or over the servers of
/// the datacenter.
pub(crate) trait Catalog: Send + Sync + 'static {
    /// What the catalog has of a node.
    fn remote(&self, query: NodeQuery) -> BoxFuture<Result<RemoteNode, CallError>>;

    /// Registers a node, a service, checks. `true` once it is applied.
    fn register(
        &self,
        request: RegisterRequest,
        token: SecretId,
    ) -> BoxFuture<Result<(), CallError>>;

    /// Removes a service or a check.
    fn deregister(
        &self,
        request: DeregisterRequest,
        token: SecretId,
    ) -> BoxFuture<Result<(), CallError>>;
}
