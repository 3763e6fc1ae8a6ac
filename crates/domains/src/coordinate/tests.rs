//! Commands, snapshots, answers and orders, case by case.

use acl::Authorizer;
use contract::{AnyCommand, Command, LoneLeader, Query};
use proptest::prelude::*;
use store::{Reader, Store};
use types::catalog::{DeregisterRequest, RegisterRequest};
use types::coordinate::{Coordinate, NodeCoordinate};
use types::{Index, msgpack};

use super::*;
use crate::catalog::{CatalogNodes, Deregister, Register};

struct World {
    store: Store,
    index: u64,
}

impl World {
    /// A catalog with these nodes.
    fn new(nodes: &[&str]) -> Self {
        let mut world = Self { store: Store::new(&crate::tables()), index: 0 };
        for node in nodes {
            let node = (*node).into();
            world.apply(&Register(RegisterRequest { node, ..RegisterRequest::default() }));
        }
        world
    }

    fn apply<C: Command>(&mut self, command: &C) {
        self.index += 1;
        let index = Index(self.index);
        let applied = self.store.write(|batch| command.apply(&mut batch.tx(index)));
        assert!(applied.is_ok());
    }

    fn place(&mut self, rows: &[NodeCoordinate]) {
        self.apply(&CoordinateBatch { rows: rows.to_vec() });
    }

    fn ask<Q: Query>(&self, query: &Q) -> (u64, Q::Reply) {
        let state = self.store.snapshot();
        let found = query.run(&mut Reader::new(&state));
        (found.index.0, found.reply)
    }

    /// All coordinates as `node x`, and their index.
    fn all(&self) -> (u64, Vec<String>) {
        let (index, rows) = self.ask(&CoordinatesOfNodes);
        let text = |row: &NodeCoordinate| {
            let coord = row.coord.as_ref().expect("only those with one are kept");
            format!("{}{} {}", row.node, row.segment, coord.vec[0])
        };
        (index, rows.iter().map(|row| text(row)).collect())
    }

    fn near(&self, node: &str) -> (u64, Vec<String>) {
        let query = CatalogNodes { near: Near::node(node), ..CatalogNodes::default() };
        let (index, nodes) = self.ask(&query);
        (index, nodes.iter().map(|node| node.node.to_string()).collect())
    }
}

fn coordinate(x: f64) -> Coordinate {
    let mut coordinate = Coordinate::fresh();
    coordinate.vec[0] = x;
    coordinate
}

fn row(node: &str, x: f64) -> NodeCoordinate {
    NodeCoordinate { node: node.into(), segment: String::new(), coord: Some(coordinate(x)) }
}

#[test]
fn coordinates_of_known_nodes_are_kept_and_others_passed_over() {
    let mut world = World::new(&["n1", "n2"]);
    assert_eq!(world.all(), (1, vec![]));
    let without = NodeCoordinate { coord: None, ..row("n1", 0.0) };
    world.place(&[row("N2", 0.2), row("nobody", 0.3), without]);
    assert_eq!(world.all(), (3, vec!["N2 0.2".to_owned()]));
    let elsewhere = NodeCoordinate { segment: "alpha".to_owned(), ..row("n2", 0.4) };
    world.place(&[row("n1", 0.1), elsewhere]);
    assert_eq!(world.all().1, ["n1 0.1", "N2 0.2", "n2alpha 0.4"]);
    let of = |node: &str, segment: Option<&str>| {
        let (_, rows) = world.ask(&CoordinatesOfNode { node: node.to_owned() });
        endpoint::of_segment(&rows, segment).len()
    };
    assert_eq!((of("N1", None), of("n2", None), of("n", None)), (1, 2, 0));
    assert_eq!((of("n2", Some("")), of("n2", Some("alpha")), of("n1", Some("alpha"))), (1, 1, 0));
    let (_, rows) = world.ask(&CoordinatesOfNodes);
    assert_eq!(endpoint::of_segment(&rows, Some("alpha")).len(), 1);
}

#[test]
fn what_is_the_same_again_changes_nothing_and_a_node_takes_its_coordinates_with_it() {
    let mut world = World::new(&["n1", "n2"]);
    world.place(&[row("n1", 0.1), row("n2", 0.2)]);
    world.place(&[row("n1", 0.1)]);
    assert_eq!(world.all().0, 3);
    let gone = |node: &str| {
        Deregister(DeregisterRequest { node: node.into(), ..DeregisterRequest::default() })
    };
    world.apply(&gone("nobody"));
    assert_eq!(world.all().0, 3);
    world.apply(&gone("N1"));
    assert_eq!(world.all(), (6, vec!["n2 0.2".to_owned()]));
}

#[test]
fn an_update_is_checked_and_needs_no_log_entry() {
    let store = Store::new(&crate::tables());
    let tell = |coord: Option<Coordinate>| {
        let mut update = CoordinateUpdate { coord, ..CoordinateUpdate::default() };
        let told = LoneLeader::new(&store).lead(|leader| {
            Command::prepare(&mut update, leader)?;
            Command::answer(&update, leader)
        });
        told.map_err(|error| (error.kind(), error.text().to_owned()))
    };
    use contract::ErrorKind::{BadRequest, Failed};
    assert_eq!(tell(Some(coordinate(0.1))), Ok(Some(())));
    assert_eq!(tell(None), Err((BadRequest, "Missing coordinate".to_owned())));
    let invalid = tell(Some(coordinate(f64::NAN)));
    assert_eq!(invalid, Err((Failed, "invalid coordinate".to_owned())));
    let incompatible = tell(Some(Coordinate::default()));
    assert_eq!(incompatible, Err((Failed, "incompatible coordinate".to_owned())));
}

#[test]
fn batches_and_snapshots_are_those_of_consul() {
    let mut world = World::new(&["n1", "n2"]);
    let batch = CoordinateBatch { rows: vec![row("n1", 0.1)] };
    let bytes = AnyCommand::encode(&batch);
    // May be skipped, an array of one, a map of three.
    assert_eq!(bytes[..3], [0x86, 0x91, 0x83]);
    let update = CoordinateUpdate {
        node: "n1".into(),
        coord: Some(coordinate(0.1)),
        ..CoordinateUpdate::default()
    };
    assert_eq!(AnyCommand::encode(&update), bytes);
    assert_eq!(msgpack::from_slice::<CoordinateBatch>(&bytes[1..]), Ok(batch.clone()));

    world.place(&batch.rows);
    world.place(&[row("n2", 0.2)]);
    let [record] = DOMAIN.records else { panic!("coordinates are one kind of record") };
    let mut records = Vec::new();
    (record.save)(&world.store.snapshot(), &mut |bytes| records.push(bytes.to_vec()));
    assert_eq!(records.len(), 2);
    assert_eq!(records[0], bytes[1..]);
    let mut state = store::State::new(&crate::tables());
    let restored: Result<(), msgpack::Error> =
        state.fill(Index(9), |tx| records.iter().try_for_each(|bytes| (record.restore)(bytes, tx)));
    assert_eq!(restored, Ok(()));
    let rows: Vec<_> = state.peek_prefix(&COORDINATES, &[]).cloned().collect();
    assert_eq!(rows, [row("n1", 0.1), row("n2", 0.2)]);
}

/// The orders that Consul 1.8.7 gave for these coordinates.
#[test]
fn nodes_near_another_come_in_the_order_of_their_round_trips() {
    let mut world = World::new(&["a1", "n0", "n1", "n2", "n3", "n4", "n5", "n6"]);
    let placed = [("n1", 0.1), ("n2", 0.2), ("n3", 0.2), ("n4", -0.05), ("n6", 0.1001)];
    world.place(&placed.map(|(node, x)| row(node, x)));
    let check = |world: &World, near: &str, expected: &str| {
        let (index, nodes) = world.near(near);
        assert_eq!(nodes.join(" "), expected, "near {near}");
        assert_eq!(index, 8, "the order does not show in the index");
    };
    check(&world, "n1", "n1 n6 n2 n3 n4 a1 n0 n5");
    check(&world, "N1", "n1 n6 n2 n3 n4 a1 n0 n5");
    check(&world, "n2", "n2 n3 n6 n1 n4 a1 n0 n5");
    check(&world, "n3", "n2 n3 n6 n1 n4 a1 n0 n5");
    for unplaced in ["n5", "nobody", "", "_agent"] {
        check(&world, unplaced, "a1 n0 n1 n2 n3 n4 n5 n6");
    }
    // A node's way to itself counts its height twice, so another can be nearer.
    let high = Coordinate { height: 0.05, ..coordinate(0.1) };
    world.place(&[NodeCoordinate { coord: Some(high), ..row("n1", 0.0) }, row("n6", 0.1)]);
    check(&world, "n1", "n6 n1 n2 n3 n4 a1 n0 n5");
}

#[test]
fn round_trips_are_compared_within_a_segment() {
    let mut world = World::new(&["n1", "n2", "n3"]);
    let alpha = |node: &str, x| NodeCoordinate { segment: "alpha".to_owned(), ..row(node, x) };
    world.place(&[row("n1", 0.0), alpha("n2", 0.1), alpha("n1", 0.3), row("n3", 0.2)]);
    // n2 shares alpha with n1 and is 0.2 away there; it shares nothing with n3.
    assert_eq!(world.near("n1").1, ["n1", "n2", "n3"]);
    assert_eq!(world.near("n3").1, ["n3", "n1", "n2"]);
}

#[test]
fn a_kept_order_does_not_outlive_the_coordinates_that_it_came_from() {
    let mut world = World::new(&["n1", "n2"]);
    let watch = |world: &World, near: Near| {
        let state = world.store.snapshot();
        let mut reader = Reader::new(&state);
        CatalogNodes { near, ..CatalogNodes::default() }.run(&mut reader);
        world.store.subscribe(reader.into_watch_set()).0
    };
    let (sorted, unsorted) = (watch(&world, Near::node("n1")), watch(&world, Near::default()));
    world.place(&[row("n2", 0.1)]);
    assert!(sorted.has_fired());
    assert!(!unsorted.has_fired());
}

#[test]
fn nobody_sees_coordinates_of_nodes_that_are_hidden() {
    let mut world = World::new(&["n1", "n2"]);
    world.place(&[row("n1", 0.1), row("n2", 0.2)]);
    let nobody = Authorizer::deny_all();
    let query = CoordinatesOfNodes;
    let pruned = query.prune(&nobody, world.ask(&query).1);
    assert!(pruned.reply.is_empty() && pruned.removed);
    let node = "n1".to_owned();
    assert!(CoordinatesOfNode { node }.authorize(&nobody).is_err());
    let update = CoordinateUpdate { node: "n1".into(), ..CoordinateUpdate::default() };
    assert!(Command::authorize(&update, &nobody, &world.store).is_err());
}

/// Coordinates with ties, holes and extremes.
fn place() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        1 => Just(None),
        4 => (0..5i32).prop_map(|x| Some(f64::from(x) / 100.0)),
        1 => any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Some),
    ]
}

proptest! {
    /// Whatever the coordinates: nothing is lost, a nearer one is never behind, and
    /// equals keep their order.
    #[test]
    fn orders_are_stable_and_total(places in prop::collection::vec(place(), 1..12)) {
        let names: Vec<String> = (0..places.len()).map(|number| format!("n{number:02}")).collect();
        let mut world = World::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let rows: Vec<_> =
            names.iter().zip(&places).filter_map(|(name, x)| Some(row(name, (*x)?))).collect();
        world.place(&rows);
        let distance = |name: &str| {
            let place = |name: &str| places[names.iter().position(|n| n == name)?];
            coordinate(place("n00")?).round_trip_to(&coordinate(place(name)?))
        };
        let order = world.near("n00").1;
        let mut all = order.clone();
        all.sort();
        prop_assert_eq!(all, names.clone());
        for pair in order.windows(2) {
            let (before, behind) = (distance(&pair[0]), distance(&pair[1]));
            let key = |d: Option<std::time::Duration>| (d.is_none(), d);
            prop_assert!(key(before) <= key(behind), "{:?}", order);
            prop_assert!(key(before) < key(behind) || pair[0] < pair[1], "{:?}", order);
        }
    }
}
