//! What an execution asks, draws, sorts and where it goes on.

use proptest::prelude::*;

use super::*;

fn instance(node: &str, address: &str) -> String {
    format!(
        r#"{{"Node": "{node}", "Address": "{address}", "Service": {{"Service": "web", "Port": 80}}}}"#
    )
}

/// Three datacenters: `web` runs in the second and the third.
fn world() -> World {
    let mut world = World::new(&["dc1", "dc2", "dc3"]);
    world.register_in(1, &instance("far-1", "10.2.0.1"));
    world.register_in(1, &instance("far-2", "10.2.0.2"));
    world.register_in(2, &instance("farther", "10.3.0.1"));
    world
}

fn request(name: &str) -> ExecuteRequest {
    ExecuteRequest { id_or_name: name.to_owned(), ..ExecuteRequest::default() }
}

/// Where the answer came from, after how many attempts, from which nodes, and what was
/// asked after the definition.
fn outcome(world: &mut World, failover: &str, request: ExecuteRequest) -> String {
    let definition =
        format!(r#"{{"Name": "q", "Service": {{"Service": "web", "Failover": {failover}}}}}"#);
    let id = world.create(&definition).expect("it is sound");
    let (response, asked) = world.execute(request).expect("it runs");
    world.delete(&id).expect("it is there");
    let mut nodes: Vec<&str> =
        response.nodes.iter().map(|entry| entry.node.node.as_str()).collect();
    nodes.sort_unstable();
    let places: Vec<&str> =
        asked[1..].iter().filter_map(|asked| Some(asked.split_once('@')?.1)).collect();
    let ExecuteResponse { datacenter, failovers, .. } = &response;
    format!("{datacenter} after {failovers}: {} | {}", nodes.join(" "), places.join(" "))
}

#[test]
fn without_instances_here_those_elsewhere_are_asked_for() {
    let mut world = world();
    let cases = [
        ("{}", "dc1 after 0:  | dc1"),
        (r#"{"Datacenters": ["dc2"]}"#, "dc2 after 1: far-1 far-2 | dc1 dc2"),
        (r#"{"Datacenters": ["dc1", "dc9", "dc3", "dc2"]}"#, "dc3 after 1: farther | dc1 dc3"),
        (r#"{"NearestN": 1}"#, "dc2 after 1: far-1 far-2 | dc1 dc2"),
        (r#"{"Targets": [{"Datacenter": "dc3"}]}"#, "dc3 after 1: farther | dc1 dc3"),
        // Nothing is imported from peers yet.
        (
            r#"{"Targets": [{"Peer": "p"}, {"Datacenter": "dc2"}]}"#,
            "dc2 after 2: far-1 far-2 | dc1 dc1 dc2",
        ),
    ];
    for (failover, expected) in cases {
        assert_eq!(outcome(&mut world, failover, request("q")), expected, "{failover}");
    }
    let limited = ExecuteRequest { limit: 1, near: "far-2".to_owned(), ..request("q") };
    let outcome = outcome(&mut world, r#"{"Datacenters": ["dc2"]}"#, limited);
    assert!(outcome.starts_with("dc2 after 1: far-"), "{outcome}");
    assert!(!outcome.contains("far-1 far-2"), "{outcome}");
}

#[test]
fn nowhere_is_where_was_looked_last() {
    let mut world = World::new(&["dc1", "dc2", "dc3"]);
    let expected = "dc3 after 3:  | dc1 dc2 dc2 dc3";
    let failover = r#"{"Datacenters": ["dc2", "dc2", "dc3"]}"#;
    assert_eq!(outcome(&mut world, failover, request("q")), expected);
}

#[test]
fn with_instances_here_nobody_else_is_asked() {
    let mut world = world();
    world.register_in(0, &instance("here", "10.1.0.1"));
    let failover = r#"{"NearestN": 2, "Datacenters": ["dc3"]}"#;
    assert_eq!(outcome(&mut world, failover, request("q")), "dc1 after 0: here | dc1");
}

#[test]
fn a_place_that_cannot_be_asked_is_passed_over() {
    let mut world = world();
    world
        .create(r#"{"Name": "q", "Service": {"Service": "web", "Failover": {"NearestN": 2}}}"#)
        .unwrap();
    let options = ReadOptions { datacenter: "dc1".into(), ..ReadOptions::default() };
    let mut execution = Execution::new(request("q"), options);
    let others = ["dc2".into(), "dc3".into()];
    let mut outside = Outside { random: &mut || 1, datacenters: &others };
    let mut question = Action::start(&execution);
    let response = loop {
        let at = question.options.datacenter.clone();
        let answer = match at.as_str() {
            "dc2" => Err(CallError::failed("rpc error")),
            _ => world.evaluate(&*question.query, &at),
        };
        match Action::handle_answer(&mut execution, answer, &mut outside).unwrap() {
            Step::Ask(next) => question = next,
            Step::Done(response, _) => break response,
        }
    };
    assert_eq!((response.datacenter.as_str(), response.failovers), ("dc3", 2));
    assert_eq!(shown(&response), ["farther/web/"]);
}

#[test]
fn trouble_here_is_told() {
    let world = world();
    let options = ReadOptions { datacenter: "dc9".into(), ..ReadOptions::default() };
    let failed = world.act(Execution::new(request("q"), options)).map(drop).unwrap_err();
    assert_eq!(failed.text(), "No path to datacenter");
}

#[test]
fn the_token_of_a_query_takes_the_place_of_the_callers() {
    let mut world = world();
    world.create(r#"{"Name": "q", "Token": "its-own", "Service": {"Service": "web"}}"#).unwrap();
    world.create(r#"{"Name": "p", "Service": {"Service": "web"}}"#).unwrap();
    let token = |name: &str| {
        let options = ReadOptions { token: "callers".into(), ..ReadOptions::default() };
        let mut execution = Execution::new(request(name), options);
        let first = Action::start(&execution);
        assert_eq!(first.options.token.as_str(), "callers");
        let answer = world.evaluate(&*first.query, &Datacenter::default());
        let mut outside = Outside { random: &mut || 1, datacenters: &[] };
        match Action::handle_answer(&mut execution, answer, &mut outside) {
            Ok(Step::Ask(second)) => second.options.token.as_str().to_owned(),
            _ => panic!("it asks for instances"),
        }
    };
    assert_eq!(token("q"), "its-own");
    assert_eq!(token("p"), "callers");
}

/// `web` on ten nodes, in one datacenter.
fn ten() -> World {
    let mut world = World::new(&["dc1"]);
    for number in 0..10 {
        world.register_in(0, &instance(&format!("n{number}"), &format!("10.0.0.{number}")));
    }
    world.create(r#"{"Name": "q", "Service": {"Service": "web"}}"#).unwrap();
    world.create(r#"{"Name": "agent", "Service": {"Service": "web", "Near": "_agent"}}"#).unwrap();
    world.create(r#"{"Name": "ip", "Service": {"Service": "web", "Near": "_ip"}}"#).unwrap();
    world
}

#[test]
fn the_node_itself_is_the_nearest() {
    let world = ten();
    let first = |request: ExecuteRequest| {
        let (response, _) = world.execute(request).unwrap();
        assert_eq!(response.nodes.len(), 1);
        response.nodes[0].node.node.to_string()
    };
    let agent = || ExecuteRequest { agent: "n4".into(), limit: 1, ..request("agent") };
    assert_eq!(first(agent()), "n4");
    assert_eq!(first(ExecuteRequest { near: "N7".to_owned(), ..agent() }), "n7");
    let address = || Some("10.0.0.3".parse().unwrap());
    assert_eq!(first(ExecuteRequest { address: address(), limit: 1, ..request("ip") }), "n3");
    let by_address = ExecuteRequest { near: "_ip".to_owned(), address: address(), ..agent() };
    assert_eq!(first(by_address), "n3");
}

proptest! {
    /// Whatever comes out of the lot, it is a selection without repetition, of the size
    /// that was asked for.
    #[test]
    fn a_draw_is_a_selection(seed in any::<u64>(), limit in 0..14_usize, near in 0..12_usize) {
        let world = World { seed, ..ten() };
        let near = if near < 10 { format!("n{near}") } else { String::new() };
        let request = ExecuteRequest { limit, near: near.clone(), ..request("q") };
        let (response, _) = world.execute(request).unwrap();
        let mut nodes = shown(&response);
        let expected = if limit == 0 { 10 } else { limit.min(10) };
        prop_assert_eq!(nodes.len(), expected);
        if !near.is_empty() {
            prop_assert_eq!(&nodes[0], &format!("{near}/web/"));
        }
        nodes.sort();
        nodes.dedup();
        prop_assert_eq!(nodes.len(), expected, "no instance twice");
    }
}

#[test]
fn every_instance_comes_first_about_as_often() {
    let mut world = ten();
    let mut counts = BTreeMap::new();
    for seed in 0..1000 {
        world.seed = seed;
        let (response, _) = world.execute(ExecuteRequest { limit: 1, ..request("q") }).unwrap();
        *counts.entry(response.nodes[0].node.node.to_string()).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 10);
    assert!(counts.values().all(|count| (60..=140).contains(count)), "{counts:?}");
}
