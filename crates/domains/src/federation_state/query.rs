//! Reads of federation states, and of the gateways that make the one of this datacenter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use contract::{Found, Pruned, Query};
use store::Reader;
use types::Datacenter;
use types::catalog::CheckServiceNode;
use types::federation_state::FederationState;

use super::table::FEDERATION_STATES;
use crate::catalog::{self, NODES, SERVICES, node_key};
use crate::health;

/// The kind of an instance that leads into a datacenter.
const MESH_GATEWAY: &str = "mesh-gateway";

fn operator_read(who: &Authorizer) -> Result<(), PermissionDenied> {
    who.require(Permission::read(Resource::Operator, ""))
}

/// All states.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FederationStates;

impl Query for FederationStates {
    const NAME: &'static str = "FederationState.List";
    type Reply = Vec<Arc<FederationState>>;

    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied> {
        operator_read(who)
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = reader.max_index_of(&[FEDERATION_STATES.name]);
        Found::new(index, reader.unwatched().prefix(&FEDERATION_STATES, &[]).collect())
    }

    fn prune(&self, _who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::nothing(reply)
    }
}

/// The state of one datacenter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FederationStateOf {
    /// The datacenter.
    pub datacenter: Datacenter,
}

impl Query for FederationStateOf {
    const NAME: &'static str = "FederationState.Get";
    type Reply = Option<Arc<FederationState>>;

    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied> {
        operator_read(who)
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let found = reader.get(&FEDERATION_STATES, self.datacenter.as_str().as_bytes());
        let table = reader.unwatched().index_of(FEDERATION_STATES.name);
        match found {
            Some(row) => Found::new(row.modify_index, Some(row)),
            None => Found::new(table, None),
        }
    }

    fn prune(&self, _who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::nothing(reply)
    }
}

/// The mesh gateways of all datacenters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MeshGateways;

impl Query for MeshGateways {
    const NAME: &'static str = "FederationState.ListMeshGateways";
    type Reply = BTreeMap<String, Vec<CheckServiceNode>>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = reader.max_index_of(&[FEDERATION_STATES.name]);
        let state = reader.unwatched();
        let rows = state.peek_prefix(&FEDERATION_STATES, &[]);
        let with_gateways = rows.filter(|row| !row.mesh_gateways.is_empty());
        let by_datacenter = with_gateways
            .map(|row| (row.datacenter.as_str().to_owned(), row.mesh_gateways.clone()))
            .collect();
        Found::new(index, by_datacenter)
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        let mut removed = false;
        let mut kept = BTreeMap::new();
        for (datacenter, rows) in reply {
            let rows = health::keep_visible(who, rows);
            removed |= rows.removed;
            if !rows.reply.is_empty() {
                kept.insert(datacenter, rows.reply);
            }
        }
        Pruned { reply: kept, removed }
    }
}

/// The mesh gateways of this datacenter, from its catalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnMeshGateways;

impl Query for OwnMeshGateways {
    const NAME: &'static str = "Internal.MeshGateways";
    type Reply = Vec<CheckServiceNode>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    /// Waits for gateways that come and go, and for what changes with those that are there.
    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let mut index = reader.max_index_of(&[catalog::MESH_GATEWAYS]);
        let state = reader.unwatched();
        let rows: Vec<_> = state
            .prefix(&SERVICES, &[])
            .filter(|row| row.service.kind == MESH_GATEWAY)
            .filter_map(|row| {
                let node = state.get(&NODES, node_key(row.node.as_str()).as_bytes())?;
                Some(health::with_checks(state, node, &row))
            })
            .collect();
        let names: BTreeSet<&str> = rows.iter().map(|row| row.service.service.as_str()).collect();
        for name in names {
            index = index.max(catalog::service_index(reader, name));
        }
        Found::new(index, rows)
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        health::keep_visible(who, reply)
    }
}
