//! Reads of coordinates.

use std::sync::Arc;

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use contract::{Found, Pruned, Query};
use store::Reader;
use types::coordinate::NodeCoordinate;

use super::table::COORDINATES;
use crate::catalog::node_key;

/// The coordinates of all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CoordinatesOfNodes;

impl Query for CoordinatesOfNodes {
    const NAME: &'static str = "Coordinate.ListNodes";
    type Reply = Vec<Arc<NodeCoordinate>>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = reader.index_of(COORDINATES.name);
        let rows = reader.unwatched().prefix(&COORDINATES, &[]);
        Found::new(index, rows.collect())
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::keep(reply, |row| who.allows(Permission::read(Resource::Node, row.node.as_str())))
    }
}

/// The coordinates of one node: none for a node that has not told any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CoordinatesOfNode {
    /// The node.
    pub node: String,
}

impl Query for CoordinatesOfNode {
    const NAME: &'static str = "Coordinate.Node";
    type Reply = Vec<Arc<NodeCoordinate>>;

    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied> {
        who.require(Permission::read(Resource::Node, &self.node))
    }

    /// Waits for this node alone, under the index of all.
    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = reader.unwatched().index_of(COORDINATES.name);
        let key = node_key(&self.node);
        let rows = reader.prefix(&COORDINATES, key.as_bytes());
        Found::new(index, rows.collect())
    }

    fn prune(&self, _who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::nothing(reply)
    }
}
