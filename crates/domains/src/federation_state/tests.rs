//! Commands, snapshots and answers.

use acl::Authorizer;
use contract::{AnyCommand, Command, LoneLeader, Query};
use store::{Reader, Store};
use types::catalog::{CheckServiceNode, DeregisterRequest, NodeService, RegisterRequest};
use types::federation_state::FederationState;
use types::{Index, Timestamp};

use super::*;
use crate::catalog::{Deregister, Register};

struct World {
    store: Store,
    index: u64,
}

impl World {
    fn new() -> Self {
        Self { store: Store::new(&crate::tables()), index: 0 }
    }

    fn apply<C: Command>(&mut self, command: &C) {
        self.index += 1;
        let index = Index(self.index);
        let applied = self.store.write(|batch| command.apply(&mut batch.tx(index)));
        assert!(applied.is_ok());
    }

    fn ask<Q: Query>(&self, query: &Q) -> (u64, Q::Reply) {
        let state = self.store.snapshot();
        let found = query.run(&mut Reader::new(&state));
        (found.index.0, found.reply)
    }
}

fn upsert(datacenter: &str, gateways: usize) -> FederationStateCommand {
    let state = FederationState {
        datacenter: datacenter.into(),
        mesh_gateways: vec![CheckServiceNode::default(); gateways],
        ..FederationState::default()
    };
    FederationStateCommand { state: Some(state), ..FederationStateCommand::default() }
}

#[test]
fn a_state_keeps_its_first_index_and_a_copy_that_of_its_home() {
    let mut world = World::new();
    world.apply(&upsert("dc1", 0));
    world.apply(&upsert("dc1", 1));
    let mut copy = upsert("dc2", 1);
    copy.state.as_mut().unwrap().primary_modify_index = Index(77);
    world.apply(&copy);
    let (index, rows) = world.ask(&FederationStates);
    let indexes: Vec<[u64; 3]> = rows
        .iter()
        .map(|row| [row.create_index.0, row.modify_index.0, row.primary_modify_index.0])
        .collect();
    assert_eq!((index, indexes), (3, vec![[1, 2, 2], [3, 3, 77]]));

    let (index, gateways) = world.ask(&MeshGateways);
    let datacenters: Vec<&str> = gateways.keys().map(String::as_str).collect();
    assert_eq!((index, datacenters), (3, vec!["dc1", "dc2"]));
    let pruned = MeshGateways.prune(&Authorizer::deny_all(), gateways);
    assert!(pruned.removed && pruned.reply.is_empty());

    let gone = FederationStateCommand { op: FederationStateOp::Delete, ..upsert("dc1", 0) };
    world.apply(&gone);
    world.apply(&gone);
    let (index, found) = world.ask(&FederationStateOf { datacenter: "dc1".into() });
    assert_eq!((index, found), (4, None));
    assert_eq!(world.ask(&FederationStates).1.len(), 1);
}

#[test]
fn a_state_needs_a_datacenter_and_gets_the_time_of_the_leader() {
    let store = Store::new(&crate::tables());
    let mut leader = LoneLeader { now_unix_nanos: 1_000_000_000, ..LoneLeader::new(&store) };
    let mut command = upsert("dc1", 0);
    leader.lead(|leader| Command::prepare(&mut command, leader)).unwrap();
    let time = Timestamp::from_unix_nanos(1_000_000_000);
    assert_eq!(command.state.as_ref().unwrap().updated_at, time);
    assert_eq!(AnyCommand::encode(&command)[0], 30);
    let nameless = leader.lead(|leader| Command::prepare(&mut upsert("", 0), leader));
    assert_eq!(nameless.unwrap_err().text(), "must specify Datacenter");
}

#[test]
fn states_survive_a_snapshot() {
    let mut world = World::new();
    world.apply(&upsert("dc1", 1));
    let mut records = Vec::new();
    (table::RECORDS[0].save)(&world.store.snapshot(), &mut |bytes| records.push(bytes.to_vec()));
    let restored = Store::new(&crate::tables());
    restored.write(|batch| {
        for record in &records {
            (table::RECORDS[0].restore)(record, &mut batch.tx(Index(9))).unwrap();
        }
    });
    let before: Vec<_> = world.store.snapshot().prefix(&FEDERATION_STATES, &[]).collect();
    let after: Vec<_> = restored.snapshot().prefix(&FEDERATION_STATES, &[]).collect();
    assert_eq!(before, after);
}

#[test]
fn the_gateways_of_this_datacenter_are_those_of_its_catalog() {
    let mut world = World::new();
    let register = |kind: &str, id: &str| {
        let service = NodeService {
            kind: kind.to_owned(),
            id: id.into(),
            service: id.into(),
            ..NodeService::default()
        };
        Register(RegisterRequest {
            node: "n1".into(),
            service: Some(service),
            ..RegisterRequest::default()
        })
    };
    world.apply(&register("", "web"));
    let (before, rows) = world.ask(&OwnMeshGateways);
    assert!(rows.is_empty());
    world.apply(&register("", "db"));
    assert_eq!(world.ask(&OwnMeshGateways).0, before, "other services wake nobody");
    world.apply(&register("mesh-gateway", "gate"));
    let (came, rows) = world.ask(&OwnMeshGateways);
    assert!(came > before);
    assert_eq!(rows.len(), 1);
    world.apply(&Deregister(DeregisterRequest {
        node: "n1".into(),
        service_id: "gate".into(),
        ..DeregisterRequest::default()
    }));
    let (went, rows) = world.ask(&OwnMeshGateways);
    assert!(went > came && rows.is_empty());
}
