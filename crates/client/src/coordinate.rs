//! `/v1/coordinate/` (`reference/http-api.md` 2.8).

use types::coordinate::{DatacenterMap, NodeCoordinate};

use crate::{Answer, Client, Error, QueryOptions, Request};

/// Calls about network coordinates, see [`Client::coordinate`].
#[derive(Clone, Copy)]
pub struct Coordinates<'c>(&'c Client);

impl Client {
    /// Calls about network coordinates.
    pub fn coordinate(&self) -> Coordinates<'_> {
        Coordinates(self)
    }
}

impl Coordinates<'_> {
    /// The coordinates of the servers of each datacenter, measured over the WAN.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn datacenters(self) -> Result<Vec<DatacenterMap>, Error> {
        self.0.call(Request::get("/v1/coordinate/datacenters")).await?.json().await
    }

    /// The coordinates of all nodes of the datacenter.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn nodes(self, options: &QueryOptions) -> Result<Answer<Vec<NodeCoordinate>>, Error> {
        self.0.read(Request::get("/v1/coordinate/nodes"), options).await
    }

    /// The coordinates of one node, one for each network segment.
    ///
    /// # Errors
    /// Those of [`Client::read`]; a node without coordinates is one of them, a 404.
    pub async fn node(
        self,
        node: &str,
        options: &QueryOptions,
    ) -> Result<Answer<Vec<NodeCoordinate>>, Error> {
        self.0.read(Request::get(format!("/v1/coordinate/node/{node}")), options).await
    }

    /// Tells the servers where a node is.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn update(self, row: &NodeCoordinate) -> Result<(), Error> {
        self.0.call_silently(Request::put("/v1/coordinate/update").json(row)).await
    }
}
