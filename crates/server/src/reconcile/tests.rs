//! Members and catalogs in, plans out.

use store::Store;
use types::Index;
use types::member::MemberStatus;

use super::*;
use crate::fsm::{Fsm, FsmCommand};
use crate::server_member::tests::member;

const CLIENT: &str = "role=node id=u-c build=1.21.4:abc";
const SERVER: &str = "role=consul id=u-s port=8300 build=1.21.4:abc raft_vsn=3 grpc_port=8502";

/// A catalog made of the changes that were called for.
struct World {
    fsm: Fsm,
    index: u64,
    own: NodeName,
}

impl World {
    fn new() -> Self {
        Self { fsm: Fsm::new(Store::new(&domains::tables())), index: 0, own: "Me".into() }
    }

    fn apply(&mut self, command: FsmCommand) {
        self.index += 1;
        let one = std::iter::once((Index(self.index), command));
        assert!(self.fsm.apply(one).expect("known").remove(0).is_ok());
    }

    fn plan_with<T>(&self, plan: impl FnOnce(&plan::World<'_>) -> T) -> T {
        let state = self.fsm.store().snapshot();
        plan(&plan::World { state: &state, own: &self.own })
    }

    fn plan(&self, member: &Member) -> Plan {
        self.plan_with(|world| world.plan(member))
    }

    /// Applies what is called for and tells it in words.
    fn follow(&mut self, plan: Plan) -> String {
        let mut told = Vec::new();
        match &plan.quorum {
            Some(QuorumChange::Add(server)) => {
                told.push(format!("add {} {}", server.id.0, server.address));
            }
            Some(QuorumChange::Remove(id)) => told.push(format!("remove {}", id.0)),
            None => {}
        }
        match plan.catalog {
            Some(CatalogChange::Alive(request)) => {
                told.push(format!("register {} at {}", request.node, request.address));
                self.apply(FsmCommand::Typed(Box::new(Register(request))));
            }
            Some(CatalogChange::Failed(request)) => {
                assert!(request.skip_node_update, "a failed node keeps what is known of it");
                told.push(format!("fail {}", request.node));
                self.apply(FsmCommand::Typed(Box::new(Register(request))));
            }
            Some(CatalogChange::Gone(request, reason)) => {
                told.push(format!("deregister {} {}", request.node, reason.as_str()));
                self.apply(FsmCommand::Typed(Box::new(Deregister(request))));
            }
            None => {}
        }
        told.join(", ")
    }
}

#[test]
fn a_member_calls_for_what_the_catalog_lacks_and_no_more() {
    let mut world = World::new();
    let client = |status, address| member("c1", address, status, CLIENT);
    let (alive, leaving, left, failed) =
        (MemberStatus::ALIVE, MemberStatus::LEAVING, MemberStatus::LEFT, MemberStatus::FAILED);
    // Each step meets the catalog that the steps before made.
    let steps = [
        ("is not put there to say that it failed", client(failed, "10.0.0.1"), ""),
        ("nor to say that it left", client(left, "10.0.0.1"), ""),
        ("joins", client(alive, "10.0.0.1"), "register c1 at 10.0.0.1"),
        ("is there already", client(alive, "10.0.0.1"), ""),
        ("moves", client(alive, "10.0.0.2"), "register c1 at 10.0.0.2"),
        ("fails", client(failed, "10.0.0.2"), "fail c1"),
        ("has failed already", client(failed, "10.0.0.2"), ""),
        ("comes back", client(alive, "10.0.0.2"), "register c1 at 10.0.0.2"),
        ("is about to leave", client(leaving, "10.0.0.2"), ""),
        ("leaves", client(left, "10.0.0.2"), "deregister c1 left"),
        ("has left already", client(left, "10.0.0.2"), ""),
    ];
    for (what, member, expected) in steps {
        let plan = world.plan(&member);
        assert_eq!(world.follow(plan), expected, "{what}");
    }
}

#[test]
fn a_server_is_also_a_matter_of_the_quorum() {
    let mut world = World::new();
    let server = |status, tags: &str| member("s1", "10.0.0.1", status, tags);
    let newer = SERVER.replace("1.21.4", "1.21.5");
    let steps = [
        (server(MemberStatus::ALIVE, SERVER), "add u-s 10.0.0.1:8300, register s1 at 10.0.0.1"),
        (server(MemberStatus::ALIVE, SERVER), "add u-s 10.0.0.1:8300"),
        (server(MemberStatus::ALIVE, &newer), "add u-s 10.0.0.1:8300, register s1 at 10.0.0.1"),
        (server(MemberStatus::FAILED, &newer), "fail s1"),
        (server(MemberStatus::LEFT, &newer), "remove u-s, deregister s1 left"),
        (server(MemberStatus::LEFT, &newer), "remove u-s"),
    ];
    for (member, expected) in steps {
        let plan = world.plan(&member);
        assert_eq!(world.follow(plan), expected, "{member:?}");
    }
}

#[test]
fn the_registration_of_a_server_tells_what_its_tags_say() {
    let world = World::new();
    let plan = world.plan(&member("s1", "10.0.0.1", MemberStatus::ALIVE, SERVER));
    let Some(CatalogChange::Alive(request)) = plan.catalog else { panic!("{plan:?}") };
    let check = request.check.expect("there is one");
    assert_eq!(
        (check.name.as_str(), check.check_id.as_str()),
        ("Serf Health Status", "serfHealth")
    );
    assert_eq!(check.output, "Agent alive and reachable");
    let meta = request.node_meta.expect("there is some");
    assert_eq!(meta.get("consul-version").map(String::as_str), Some("1.21.4"));
    let service = request.service.expect("there is one");
    assert_eq!((service.service.as_str(), service.port), ("consul", 8300));
    let meta = service.meta.expect("there is some");
    let told: Vec<String> = meta.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let expected = "grpc_port=8502 non_voter=false raft_version=3 read_replica=false \
                    serf_protocol_current=0 serf_protocol_max=0 serf_protocol_min=0 version=1.21.4";
    assert_eq!(told.join(" "), expected);
}

#[test]
fn what_the_agent_told_of_the_node_is_kept() {
    let mut world = World::new();
    let told = |key: &str, value: &str| Some([(key.to_owned(), value.to_owned())].into());
    let request = types::catalog::RegisterRequest {
        node: "c1".into(),
        address: "10.0.0.1".into(),
        tagged_addresses: told("wan", "192.0.2.1"),
        node_meta: told("rack", "7"),
        ..Default::default()
    };
    world.apply(FsmCommand::Typed(Box::new(Register(request))));
    let plan = world.plan(&member("c1", "10.0.0.1", MemberStatus::ALIVE, CLIENT));
    let Some(CatalogChange::Alive(request)) = plan.catalog else { panic!("{plan:?}") };
    assert_eq!(request.tagged_addresses, told("wan", "192.0.2.1"));
    let meta = request.node_meta.expect("there is some");
    assert_eq!(meta.keys().collect::<Vec<_>>(), ["consul-version", "rack"]);
}

#[test]
fn an_agent_that_registers_its_node_meanwhile_is_not_overwritten() {
    let mut world = World::new();
    let joined = member("c1", "10.0.0.1", MemberStatus::ALIVE, CLIENT);
    let plan = world.plan(&joined);
    let told = Some([("wan".to_owned(), "192.0.2.1".to_owned())].into());
    let request = types::catalog::RegisterRequest {
        node: "c1".into(),
        address: "10.0.0.1".into(),
        tagged_addresses: told.clone(),
        ..Default::default()
    };
    world.apply(FsmCommand::Typed(Box::new(Register(request))));
    assert_eq!(world.follow(plan), "register c1 at 10.0.0.1");
    let state = world.fsm.store().snapshot();
    let key = domains::catalog::node_key("c1");
    let node = state.peek(&domains::catalog::NODES, key.as_bytes()).expect("it is there");
    assert_eq!(node.tagged_addresses, told);
    drop(state);
    assert_eq!(world.plan(&joined), Plan::default(), "and nothing is left to do");
}

#[test]
fn nobody_removes_himself() {
    let mut world = World::new();
    let tags = SERVER.replace("u-s", "u-me");
    let me = |status| member("me", "10.0.0.9", status, &tags);
    let plan = world.plan(&me(MemberStatus::ALIVE));
    assert_eq!(world.follow(plan), "add u-me 10.0.0.9:8300, register me at 10.0.0.9");
    assert_eq!(world.plan(&me(MemberStatus::LEFT)), Plan::default());
    assert_eq!(world.plan_with(|world| world.plan_strangers(&[])), []);
}

#[test]
fn nodes_that_gossip_forgot_go_and_those_made_by_hand_stay() {
    let mut world = World::new();
    let (client, server) = (
        member("C1", "10.0.0.1", MemberStatus::ALIVE, CLIENT),
        member("s1", "10.0.0.2", MemberStatus::ALIVE, SERVER),
    );
    for member in [&client, &server] {
        let plan = world.plan(member);
        world.follow(plan);
    }
    let by_hand = types::catalog::RegisterRequest {
        node: "by-hand".into(),
        address: "10.0.0.3".into(),
        ..Default::default()
    };
    world.apply(FsmCommand::Typed(Box::new(Register(by_hand))));
    let renamed = Member { name: "c1".to_owned(), ..client.clone() };
    for (members, expected) in [
        (vec![client, server.clone()], vec![]),
        (vec![renamed], vec!["remove u-s, deregister s1 reaped"]),
        (vec![server], vec!["deregister C1 reaped"]),
    ] {
        let plans = world.plan_with(|world| world.plan_strangers(&members));
        let told: Vec<String> = plans.into_iter().map(|(_, plan)| world.follow(plan)).collect();
        assert_eq!(told, expected);
    }
    let plans = world.plan_with(|world| world.plan_strangers(&[]));
    assert_eq!(plans, []);
}

#[test]
fn a_node_is_gone_once_gossip_has_not_known_it_for_a_while() {
    let start = tokio::time::Instant::now();
    let mut strangers = Strangers::default();
    let mut gone = |seconds, found: &[&str]| -> Vec<String> {
        let found = found.iter().map(|name| ((*name).into(), ())).collect();
        let gone = strangers.gone(found, start + Duration::from_secs(seconds));
        gone.into_iter().map(|(name, ())| name.to_string()).collect()
    };
    assert!(gone(0, &["a", "b"]).is_empty(), "whoever leads since a moment ago waits");
    assert!(gone(5, &["a", "b", "c"]).is_empty(), "a pass that comes soon after is no proof");
    assert!(gone(40, &["a"]).is_empty());
    assert_eq!(gone(60, &["a", "b", "c"]), ["a"], "the others were known meanwhile");
    assert_eq!(gone(120, &["a", "b"]), ["a", "b"], "until it is gone it is told again");
}

#[test]
fn two_servers_that_both_begin_a_cluster_are_not_brought_together() {
    let begins = |name, id: &str| {
        let tags = format!("role=consul id={id} port=8300 bootstrap=1");
        member(name, "10.0.0.1", MemberStatus::ALIVE, &tags)
    };
    let joins = member("s3", "10.0.0.3", MemberStatus::ALIVE, SERVER);
    let members = [begins("s1", "a"), begins("s2", "b"), joins];
    let rivals: Vec<_> = members
        .iter()
        .map(|m| rival(&crate::server_member::ServerMember::parse(m).expect("a server"), &members))
        .collect();
    assert_eq!(rivals, [Some("s2"), Some("s1"), None]);
    assert_eq!(
        rival(
            &crate::server_member::ServerMember::parse(&members[0]).expect("a server"),
            &members[..1]
        ),
        None
    );
}

#[test]
fn what_changed_is_found_by_name() {
    let one = |name: &str, address: &str| member(name, address, MemberStatus::ALIVE, CLIENT);
    let before = [one("a", "1"), one("b", "1"), one("c", "1")];
    let after = [one("b", "2"), one("c", "1"), one("d", "1")];
    let changes = Changes::between(&before, &after);
    let names = |members: &[&Member]| -> String { members.iter().map(|m| &*m.name).collect() };
    assert_eq!((names(&changes.changed), names(&changes.gone)), ("bd".to_owned(), "a".to_owned()));
    assert_eq!(Changes::between(&after, &after), Changes { changed: vec![], gone: vec![] });
}
