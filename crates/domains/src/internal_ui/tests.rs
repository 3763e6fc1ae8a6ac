//! Answers over a small catalog, as HTTP shows them.

use acl::Authorizer;
use contract::{CallError, Command, Query};
use serde::Serialize;
use serde_json::{Value, json};
use store::{Reader, Store};
use types::Index;
use types::catalog::{NodeService, RegisterRequest};
use types::check::{HealthCheck, Status};
use types::proxy::{ConnectProxy, Upstream};

use super::*;
use crate::catalog::{Deregister, Register, RowFilter};

struct World {
    store: Store,
    index: u64,
}

impl World {
    /// `front` behind a proxy that reaches `back`, on one node; `back` behind a proxy, on
    /// two; the first node is unwell.
    fn new() -> Self {
        let mut world = Self { store: Store::new(&crate::tables()), index: 0 };
        world.register("n1", None, &[("serf", "", Status::Passing)]);
        world.register("n2", None, &[("serf", "", Status::Warning)]);
        let front = NodeService {
            tags: vec!["ui".to_owned()],
            meta: Some([("external-source".to_owned(), "nomad".to_owned())].into()),
            ..service("front", "front")
        };
        world.register("n1", Some(front), &[("f", "front", Status::Passing)]);
        world.register("n1", Some(proxy("front", &["back", "absent"])), &[]);
        for node in ["n1", "n2"] {
            world.register(node, Some(service("back", "back")), &[]);
            let check = ("p", "back-sidecar-proxy", Status::Critical);
            world.register(node, Some(proxy("back", &[])), &[check]);
        }
        world
    }

    fn register(
        &mut self,
        node: &str,
        service: Option<NodeService>,
        checks: &[(&str, &str, Status)],
    ) {
        let checks = checks.iter().map(|(id, service, status)| HealthCheck {
            node: node.into(),
            check_id: (*id).into(),
            name: format!("check {id}"),
            service_id: (*service).into(),
            status: status.clone(),
            ..HealthCheck::default()
        });
        self.apply(&Register(RegisterRequest {
            node: node.into(),
            address: "10.0.0.1".to_owned(),
            datacenter: "dc1".into(),
            service,
            checks: Some(checks.collect()),
            ..RegisterRequest::default()
        }));
    }

    fn apply<C: Command>(&mut self, command: &C) {
        self.index += 1;
        let index = Index(self.index);
        let applied = self.store.write(|batch| command.apply(&mut batch.tx(index)));
        assert!(applied.is_ok());
    }

    fn ask_as<Q: Query>(&self, query: &Q, who: &Authorizer) -> (bool, Result<Value, CallError>)
    where
        Q::Reply: Serialize,
    {
        let state = self.store.snapshot();
        let found = query.run(&mut Reader::new(&state));
        let pruned = query.prune(who, found.reply);
        let shown = query.refine(pruned.reply);
        let json = shown.map(|shown| serde_json::from_slice(&types::json::encode(&shown)).unwrap());
        (pruned.removed, json)
    }

    fn ask<Q: Query>(&self, query: &Q) -> Value
    where
        Q::Reply: Serialize,
    {
        let (removed, shown) = self.ask_as(query, &Authorizer::allow_all());
        assert!(!removed);
        shown.unwrap()
    }
}

fn service(id: &str, name: &str) -> NodeService {
    NodeService { id: id.into(), service: name.into(), ..NodeService::default() }
}

fn proxy(target: &str, upstreams: &[&str]) -> NodeService {
    let name = format!("{target}-sidecar-proxy");
    let upstream =
        |name: &&str| Upstream { destination_name: (*name).to_owned(), ..Upstream::default() };
    let proxy = ConnectProxy {
        destination_service_name: target.into(),
        upstreams: upstreams.iter().map(upstream).collect(),
        ..ConnectProxy::default()
    };
    NodeService {
        kind: "connect-proxy".to_owned(),
        proxy: Box::new(proxy),
        ..service(&name, &name)
    }
}

fn filter(text: &str) -> RowFilter {
    RowFilter::from(text)
}

#[test]
fn services_are_summed_up_with_the_checks_of_their_nodes_and_proxies_each_once() {
    let world = World::new();
    let shown = world.ask(&ServiceDump::default());
    let names: Vec<&str> =
        shown.as_array().unwrap().iter().map(|row| row["Name"].as_str().unwrap()).collect();
    assert_eq!(names, ["back", "back-sidecar-proxy", "front", "front-sidecar-proxy"]);
    let back = json!({
        "Name": "back", "Datacenter": "dc1", "Tags": null, "Nodes": ["n1", "n2"],
        "ExternalSources": null, "InstanceCount": 2,
        "ChecksPassing": 1, "ChecksWarning": 1, "ChecksCritical": 2,
        "GatewayConfig": {}, "TransparentProxy": false, "ConnectNative": false,
        "ConnectedWithProxy": true, "ConnectedWithGateway": false,
    });
    assert_eq!(shown[0], back);
    let front = &shown[2];
    assert_eq!((&front["Tags"], &front["ExternalSources"]), (&json!(["ui"]), &json!(["nomad"])));
    assert_eq!((&front["ChecksPassing"], &front["ChecksCritical"]), (&json!(2), &json!(0)));
    assert_eq!(shown[3]["Kind"], "connect-proxy");
    assert_eq!(shown[3]["ConnectedWithProxy"], false);
}

#[test]
fn a_filter_picks_instances_before_they_are_summed_up() {
    let world = World::new();
    let query = ServiceDump { filter: filter("Node.Node == n2"), ..ServiceDump::default() };
    let shown = world.ask(&query);
    assert_eq!(shown.as_array().unwrap().len(), 2);
    assert_eq!((&shown[0]["Name"], &shown[0]["InstanceCount"]), (&json!("back"), &json!(1)));
    let query = ServiceDump { filter: filter("ServiceName == x"), ..ServiceDump::default() };
    let (_, refused) = world.ask_as(&query, &Authorizer::allow_all());
    let text =
        "Failed to create boolean expression evaluator: Selector \"ServiceName\" is not valid";
    assert_eq!(refused.unwrap_err().text(), text);
}

#[test]
fn nodes_come_with_all_that_is_on_them_and_tags_that_nobody_gave_are_null() {
    let world = World::new();
    let all = world.ask(&NodeDump::default());
    assert_eq!(all.as_array().unwrap().len(), 2);
    let n2 = &all[1];
    assert_eq!(
        (&n2["Node"], &n2["Meta"], &n2["Address"]),
        (&json!("n2"), &json!(null), &json!("10.0.0.1"))
    );
    assert_eq!(n2["Services"][0]["Service"], "back");
    assert_eq!(n2["Services"][0]["Tags"], Value::Null);
    let names = |field: &str, name: &str| -> Vec<Value> {
        n2[field].as_array().unwrap().iter().map(|row| row[name].clone()).collect()
    };
    assert_eq!(names("Services", "ID"), ["back", "back-sidecar-proxy"]);
    assert_eq!(names("Checks", "CheckID"), ["p", "serf"]);
    assert_eq!(n2["Checks"][1]["ServiceTags"], Value::Null);
    let front = all[0]["Services"].as_array().unwrap().iter().find(|row| row["ID"] == "front");
    assert_eq!(front.unwrap()["Tags"], json!(["ui"]));

    for (expression, nodes) in [
        ("Node == n2", vec!["n2"]),
        ("Services.Service == front", vec!["n1"]),
        ("Checks.Status == warning", vec!["n2"]),
        ("Checks is empty", vec![]),
    ] {
        let shown = world.ask(&NodeDump { filter: filter(expression) });
        let found: Vec<&Value> = shown.as_array().unwrap().iter().map(|row| &row["Node"]).collect();
        assert_eq!(found, nodes, "{expression}");
    }

    let one = |node: &str, peer: &str| {
        world.ask(&NodeInfo { node: node.to_owned(), peer: peer.to_owned() })
    };
    assert_eq!(one("N2", ""), json!([n2]));
    assert_eq!(one("nobody", ""), json!([]));
    assert_eq!(one("n2", "other"), json!([]));
}

#[test]
fn the_overview_counts_what_is_as_bad_as_its_worst_check() {
    let world = World::new();
    let counts = |total: u64, passing: u64, warning: u64, critical: u64| json!({"Total": total, "Passing": passing, "Warning": warning, "Critical": critical});
    let named = |name: &str, mut counts: Value| {
        counts["Name"] = json!(name);
        counts
    };
    assert_eq!(
        world.ask(&CatalogOverview),
        json!({
            "Nodes": [counts(2, 1, 1, 0)],
            "Services": [
                named("back", counts(2, 1, 1, 0)),
                named("back-sidecar-proxy", counts(2, 0, 0, 2)),
                named("front", counts(1, 1, 0, 0)),
                named("front-sidecar-proxy", counts(1, 1, 0, 0)),
            ],
            "Checks": [
                named("check f", counts(1, 1, 0, 0)),
                named("check p", counts(2, 0, 0, 2)),
                named("check serf", counts(2, 1, 1, 0)),
            ],
        })
    );
    assert!(Query::authorize(&CatalogOverview, &Authorizer::deny_all()).is_err());
}

#[test]
fn neighbours_are_known_from_the_upstreams_of_proxies() {
    let world = World::new();
    let around = |service: &str| world.ask(&ServiceTopology { service: service.to_owned() });
    let names = |list: &Value| -> Vec<String> {
        let rows = list.as_array().unwrap().iter();
        rows.map(|row| row["Name"].as_str().unwrap().to_owned()).collect()
    };
    let front = around("front");
    assert_eq!(names(&front["Upstreams"]), ["absent", "back"]);
    assert_eq!(names(&front["Downstreams"]), [""; 0]);
    assert_eq!((&front["Protocol"], &front["FilteredByACLs"]), (&json!("tcp"), &json!(false)));
    let back = &front["Upstreams"][1];
    assert_eq!(
        (&back["InstanceCount"], &back["Source"]),
        (&json!(2), &json!("proxy-registration"))
    );
    assert_eq!(
        back["Intention"],
        json!({"DefaultAllow": true, "Allowed": true,
        "HasPermissions": false, "ExternalSource": "", "HasExact": false})
    );
    let absent = &front["Upstreams"][0];
    assert_eq!((&absent["InstanceCount"], &absent["Nodes"]), (&json!(0), &Value::Null));
    let back = around("back");
    assert_eq!(
        (names(&back["Upstreams"]).len(), names(&back["Downstreams"])),
        (0, vec!["front".to_owned()])
    );
}

#[test]
fn what_a_token_may_not_see_is_left_out() {
    let world = World::new();
    let nobody = Authorizer::deny_all();
    assert_eq!(world.ask_as(&NodeDump::default(), &nobody), (true, Ok(json!([]))));
    assert_eq!(world.ask_as(&ServiceDump::default(), &nobody), (true, Ok(json!([]))));
    let node = NodeInfo { node: "n1".to_owned(), peer: String::new() };
    assert_eq!(world.ask_as(&node, &nobody), (true, Ok(json!([]))));
    let topology = ServiceTopology { service: "front".to_owned() };
    assert!(Query::authorize(&topology, &nobody).is_err());
    let (removed, shown) = world.ask_as(&topology, &nobody);
    assert_eq!((removed, &shown.unwrap()["FilteredByACLs"]), (true, &json!(true)));
}

#[test]
fn exports_need_the_name_of_a_peer() {
    let world = World::new();
    let ask = |peer: &str| {
        world.ask_as(&ExportedServices { peer: peer.to_owned() }, &Authorizer::allow_all()).1
    };
    assert_eq!(ask("other"), Ok(json!([])));
    assert_eq!(ask("").unwrap_err().text(), "must provide PeerName");
}

/// Who waits is told of everything that the answer shows.
#[test]
fn every_change_of_the_catalog_moves_the_index_of_the_lists() {
    let mut world = World::new();
    let index = |world: &World| {
        let state = world.store.snapshot();
        let nodes = NodeDump::default().run(&mut Reader::new(&state)).index;
        let services = ServiceDump::default().run(&mut Reader::new(&state)).index;
        let node = NodeInfo { node: "n1".to_owned(), peer: String::new() };
        assert_eq!(nodes, services);
        (nodes, node.run(&mut Reader::new(&state)).index)
    };
    let mut last = index(&world);
    world.register("n1", None, &[("serf", "", Status::Critical)]);
    assert!(index(&world).0 > last.0 && index(&world).1 > last.1);
    last = index(&world);
    world.register("n2", Some(service("new", "new")), &[]);
    assert!(index(&world).0 > last.0 && index(&world).1 == last.1);
    last = index(&world);
    world.apply(&Deregister(types::catalog::DeregisterRequest {
        node: "n2".into(),
        ..Default::default()
    }));
    assert!(index(&world).0 > last.0);
}
