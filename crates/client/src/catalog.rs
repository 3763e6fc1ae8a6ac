//! `/v1/catalog/`, `/v1/health/` and `/v1/status/` (`reference/http-api.md`
//! 2.3, 2.4 and 2.17).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::catalog::{
    CheckServiceNode, DeregisterRequest, Node, NodeService, RegisterRequest, ServiceNode,
};
use types::check::HealthCheck;

use crate::{Answer, Client, Error, QueryOptions, Request};

/// A node with its service instances by id (`/v1/catalog/node/`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CatalogNode {
    /// The node.
    pub node: Node,
    /// Its instances.
    pub services: BTreeMap<String, NodeService>,
}

impl Client {
    /// The names of all known datacenters, nearest first.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn catalog_datacenters(&self) -> Result<Vec<String>, Error> {
        self.call(Request::get("/v1/catalog/datacenters")).await?.json().await
    }

    /// All nodes.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn catalog_nodes(&self, options: &QueryOptions) -> Result<Answer<Vec<Node>>, Error> {
        self.read(Request::get("/v1/catalog/nodes"), options).await
    }

    /// The names of all services with the tags of their instances.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn catalog_services(
        &self,
        options: &QueryOptions,
    ) -> Result<Answer<BTreeMap<String, Vec<String>>>, Error> {
        self.read(Request::get("/v1/catalog/services"), options).await
    }

    /// The instances of a service.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn catalog_service(
        &self,
        service: &str,
        options: &QueryOptions,
    ) -> Result<Answer<Vec<ServiceNode>>, Error> {
        self.read(Request::get(format!("/v1/catalog/service/{service}")), options).await
    }

    /// A node by its name or id; `None` if it does not exist.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn catalog_node(
        &self,
        node: &str,
        options: &QueryOptions,
    ) -> Result<Answer<Option<CatalogNode>>, Error> {
        self.read(Request::get(format!("/v1/catalog/node/{node}")), options).await
    }

    /// Registers a node, an instance or a check in the catalog.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn catalog_register(&self, registration: &RegisterRequest) -> Result<(), Error> {
        self.call_silently(Request::put("/v1/catalog/register").json(registration)).await
    }

    /// Removes a node, an instance or a check from the catalog.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn catalog_deregister(&self, what: &DeregisterRequest) -> Result<(), Error> {
        self.call_silently(Request::put("/v1/catalog/deregister").json(what)).await
    }

    /// The instances of a service with their nodes and checks, only those that
    /// pass if `passing`.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn health_service(
        &self,
        service: &str,
        passing: bool,
        options: &QueryOptions,
    ) -> Result<Answer<Vec<CheckServiceNode>>, Error> {
        let mut request = Request::get(format!("/v1/health/service/{service}"));
        if passing {
            request = request.query("passing", "1");
        }
        self.read(request, options).await
    }

    /// The checks of a node.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn health_node(
        &self,
        node: &str,
        options: &QueryOptions,
    ) -> Result<Answer<Vec<HealthCheck>>, Error> {
        self.read(Request::get(format!("/v1/health/node/{node}")), options).await
    }

    /// The checks of a service.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn health_checks(
        &self,
        service: &str,
        options: &QueryOptions,
    ) -> Result<Answer<Vec<HealthCheck>>, Error> {
        self.read(Request::get(format!("/v1/health/checks/{service}")), options).await
    }

    /// The checks in a state: `any`, `passing`, `warning` or `critical`.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn health_state(
        &self,
        state: &str,
        options: &QueryOptions,
    ) -> Result<Answer<Vec<HealthCheck>>, Error> {
        self.read(Request::get(format!("/v1/health/state/{state}")), options).await
    }

    /// `ip:port` of the leader; empty when there is none.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn status_leader(&self) -> Result<String, Error> {
        self.call(Request::get("/v1/status/leader")).await?.json().await
    }

    /// `ip:port` of every server in the Raft configuration.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn status_peers(&self) -> Result<Vec<String>, Error> {
        self.call(Request::get("/v1/status/peers")).await?.json().await
    }

    /// A request whose answer says nothing but that it worked.
    pub(crate) async fn call_silently(&self, request: Request) -> Result<(), Error> {
        self.call(request).await?.bytes().await.map(drop)
    }
}
