//! `/v1/coordinate/` (`reference/http-api.md` 2.8).

use types::coordinate::{DatacenterMap, NodeCoordinate};

use crate::{Answer, Client, Error, QueryOptions, Request};

impl Client {
    /// The coordinates of the servers of each datacenter, measured over the WAN.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn coordinate_datacenters(&self) -> Result<Vec<DatacenterMap>, Error> {
        self.call(Request::get("/v1/coordinate/datacenters")).await?.json().await
    }

    /// The coordinates of all nodes of the datacenter.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn coordinate_nodes(
        &self,
        options: &QueryOptions,
    ) -> Result<Answer<Vec<NodeCoordinate>>, Error> {
        self.read(Request::get("/v1/coordinate/nodes"), options).await
    }

    /// The coordinates of one node, one for each network segment.
    ///
    /// # Errors
    /// Those of [`Client::read`]; a node without coordinates is one of them, a 404.
    pub async fn coordinate_node(
        &self,
        node: &str,
        options: &QueryOptions,
    ) -> Result<Answer<Vec<NodeCoordinate>>, Error> {
        self.read(Request::get(format!("/v1/coordinate/node/{node}")), options).await
    }

    /// Tells the servers where a node is.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn coordinate_update(&self, row: &NodeCoordinate) -> Result<(), Error> {
        self.call_silently(Request::put("/v1/coordinate/update").json(row)).await
    }
}
