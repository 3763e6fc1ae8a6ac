//! Changes of coordinates.

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use contract::{Applied, CallError, Command, LeaderView};
use serde::{Deserialize, Serialize, Serializer};
use store::{Store, Tx};
use types::coordinate::{Coordinate, NodeCoordinate};
use types::{Datacenter, NodeName};

use super::table::COORDINATES;
use crate::catalog::{NODES, node_key};

/// New coordinates of some nodes (Raft command 6). On the wire it is the list alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CoordinateBatch {
    /// The coordinates.
    pub rows: Vec<NodeCoordinate>,
}

/// Only leaders write batches, each for its own datacenter.
static OWN_DATACENTER: Datacenter = Datacenter::EMPTY;

impl Command for CoordinateBatch {
    const TAG: u8 = 6;
    const SKIPPABLE: bool = true;
    const NAME: &'static str = "Coordinate.BatchUpdate";
    type Reply = ();

    fn datacenter(&self) -> &Datacenter {
        &OWN_DATACENTER
    }

    fn authorize(&self, who: &Authorizer, _store: &Store) -> Result<(), PermissionDenied> {
        self.rows.iter().try_for_each(|row| require_write(who, &row.node))
    }

    fn apply(&self, tx: &mut Tx<'_>) -> Applied<()> {
        for row in &self.rows {
            put(tx, row);
        }
        Ok(())
    }
}

fn put(tx: &mut Tx<'_>, row: &NodeCoordinate) {
    let key = node_key(row.node.as_str());
    if row.coord.is_none() || tx.peek(&NODES, key.as_bytes()).is_none() {
        return;
    }
    if tx.peek(&COORDINATES, key.text(&row.segment).as_bytes()) == Some(row) {
        return;
    }
    tx.put(&COORDINATES, row.clone());
    tx.bump(COORDINATES.name);
}

fn require_write(who: &Authorizer, node: &NodeName) -> Result<(), PermissionDenied> {
    who.require(Permission::write(Resource::Node, node.as_str()))
}

/// A node tells where it is. The leader takes note of it and writes it later, with others.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CoordinateUpdate {
    /// The datacenter.
    pub datacenter: Datacenter,
    /// The node.
    pub node: NodeName,
    /// The segment; empty for the only one that Community Edition has.
    pub segment: String,
    /// Where the node is.
    pub coord: Option<Coordinate>,
}

impl CoordinateUpdate {
    fn row(&self) -> NodeCoordinate {
        NodeCoordinate {
            node: self.node.clone(),
            segment: self.segment.clone(),
            coord: self.coord.clone(),
        }
    }
}

/// It never enters the log; if it did, it would be a batch of one.
impl Serialize for CoordinateUpdate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        CoordinateBatch { rows: vec![self.row()] }.serialize(serializer)
    }
}

impl Command for CoordinateUpdate {
    const TAG: u8 = CoordinateBatch::TAG;
    const SKIPPABLE: bool = CoordinateBatch::SKIPPABLE;
    const NAME: &'static str = "Coordinate.Update";
    type Reply = ();

    fn datacenter(&self) -> &Datacenter {
        &self.datacenter
    }

    fn authorize(&self, who: &Authorizer, _store: &Store) -> Result<(), PermissionDenied> {
        require_write(who, &self.node)
    }

    fn prepare(&mut self, _leader: &mut LeaderView<'_>) -> Result<(), CallError> {
        let Some(coord) = &self.coord else {
            return Err(CallError::bad_request("Missing coordinate"));
        };
        coord.check().map_err(|error| CallError::failed(error.to_string()))
    }

    fn answer(&self, leader: &mut LeaderView<'_>) -> Result<Option<()>, CallError> {
        leader.memory.note_coordinate(self.row());
        Ok(Some(()))
    }

    fn apply(&self, tx: &mut Tx<'_>) -> Applied<()> {
        put(tx, &self.row());
        Ok(())
    }
}
