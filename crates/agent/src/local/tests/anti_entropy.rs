//! The sync machine, driven by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use checks::status::definition::Origin;
use config::runtime::AclTokens;
use contract::{CallError, ErrorKind};
use types::CheckId;
use types::catalog::NodeService;
use types::check::{CheckDefinition, HealthCheck, Status};

use super::super::state::{LocalCheck, LocalService, State, Target};
use super::super::sync::{Action, Event, Lane, RemoteNode, Syncer};
use super::node;

struct Bench {
    state: State,
    syncer: Syncer,
    now: Instant,
    rng: fastrand::Rng,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        let tokens = AclTokens {
            agent: "agent".into(),
            default: "default".into(),
            config_file_service_registration: "files".into(),
            ..AclTokens::default()
        };
        let state = State::new(node());
        Self {
            state,
            syncer: Syncer::new(true, tokens, now),
            now,
            rng: fastrand::Rng::with_seed(1),
        }
    }

    /// One whose first full sync found nothing but the node, in sync.
    fn settled() -> Self {
        let mut bench = Self::new();
        assert_eq!(bench.act(), "fetch as agent");
        bench.remote(&[], &[]);
        assert_eq!(bench.act(), "");
        bench.events();
        bench
    }

    fn service(&mut self, id: &str, token: &str, origin: Origin) {
        self.state.put_service(LocalService {
            service: Arc::new(service(id)),
            token: token.into(),
            origin,
            is_sidecar: false,
        });
    }

    fn check(&mut self, service: &str, id: &str, token: &str) {
        self.state.put_check(LocalCheck {
            check: Arc::new(check(service, id)),
            definition: Some(Arc::new(CheckDefinition::default())),
            token: token.into(),
            origin: Origin::Api,
        });
    }

    fn update(&mut self, id: &str, status: Status, output: &str, delay: Duration) -> bool {
        let id = CheckId::from(id);
        self.state.update_check(&id, status, output.to_owned(), delay, self.now, &mut self.rng)
    }

    /// The next action in a few words.
    fn act(&mut self) -> String {
        self.syncer.handle_timeout(&mut self.state, self.now);
        let Some((_, action)) = self.syncer.poll_action(&mut self.state, self.now) else {
            return String::new();
        };
        match action {
            Action::FetchRemote { token } => format!("fetch as {}", token.as_str()),
            Action::SyncNode(request, token) => {
                assert!(!request.skip_node_update);
                format!("node as {}", token.as_str())
            }
            Action::Register(request, token) => {
                let mut parts: Vec<String> = Vec::new();
                parts.extend(request.service.map(|service| service.id.as_str().to_owned()));
                let checks = request.checks.into_iter().flatten();
                parts.extend(checks.map(|check| format!("{}={}", check.check_id, check.status)));
                let skip = if request.skip_node_update { "" } else { " with node" };
                format!("register {} as {}{skip}", parts.join(" "), token.as_str())
            }
            Action::Deregister(request, token) => format!(
                "deregister {}{} as {}",
                request.service_id,
                request.check_id,
                token.as_str()
            ),
        }
    }

    fn remote(&mut self, services: &[NodeService], checks: &[HealthCheck]) {
        let remote = RemoteNode {
            node: Some(Arc::new(node())),
            services: services.iter().cloned().map(Arc::new).collect(),
            checks: checks.iter().cloned().map(Arc::new).collect(),
            ..RemoteNode::default()
        };
        self.syncer.handle_remote(Ok(remote), &mut self.state, self.now, &mut self.rng);
    }

    fn done(&mut self, service: &str, result: Result<(), CallError>) {
        let lane = Lane::Service(service.into());
        self.syncer.handle_result(&lane, result, &mut self.state, self.now, &mut self.rng);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.syncer.poll_event()).collect()
    }

    fn wait(&self) -> Duration {
        self.syncer.poll_timeout(&self.state).expect("a timer runs") - self.now
    }
}

fn service(id: &str) -> NodeService {
    NodeService { id: id.into(), service: id.into(), ..NodeService::default() }
}

fn check(service: &str, id: &str) -> HealthCheck {
    HealthCheck { service_id: service.into(), check_id: id.into(), ..HealthCheck::default() }
}

fn target(service: &str, id: &str) -> Target {
    Target::Check { service: service.into(), id: id.into() }
}

#[test]
fn the_first_thing_is_a_full_sync() {
    let mut bench = Bench::new();
    bench.service("web", "", Origin::Api);
    assert_eq!(bench.act(), "fetch as agent");
    assert_eq!(bench.act(), "", "nothing else while the catalog is fetched");
    let none = Ok(RemoteNode::default());
    bench.syncer.handle_remote(none, &mut bench.state, bench.now, &mut bench.rng);
    assert_eq!(bench.act(), "node as agent");
    assert_eq!(bench.act(), "register web as default with node");
    assert_eq!(bench.act(), "");
    let (node, web) = (Target::Node, Target::Service("web".into()));
    bench.syncer.handle_result(&Lane::Node, Ok(()), &mut bench.state, bench.now, &mut bench.rng);
    bench.done("web", Ok(()));
    assert_eq!(bench.events(), [Event::Synced(node), Event::Synced(web)]);
}

#[test]
fn a_full_sync_removes_what_is_unknown_and_leaves_what_is_the_leaders() {
    let mut bench = Bench::new();
    bench.service("same", "", Origin::Api);
    bench.service("other", "", Origin::Api);
    assert_eq!(bench.act(), "fetch as agent");
    let other = NodeService { port: 7, ..service("other") };
    let remote = [service("same"), other, service("gone"), service("consul")];
    let checks = [check("", "serfHealth"), check("", "old"), check("gone", "gone-check")];
    bench.remote(&remote, &checks);
    let in_sync = [Event::InSync(Target::Node), Event::InSync(Target::Service("same".into()))];
    assert_eq!(bench.events(), [&in_sync[..], &[Event::Skipped("serfHealth".into())]].concat());
    assert_eq!(bench.act(), "deregister gone as agent");
    assert_eq!(bench.act(), "register other as default");
    assert_eq!(bench.act(), "deregister old as agent");
    assert_eq!(bench.act(), "");
    bench.done("gone", Ok(()));
    assert_eq!(bench.events(), [Event::Removed(Target::Service("gone".into()))]);
}

#[test]
fn a_client_removes_a_service_named_consul() {
    let mut bench = Bench::new();
    bench.syncer = Syncer::new(false, AclTokens::default(), bench.now);
    bench.act();
    bench.remote(&[service("consul")], &[]);
    assert_eq!(bench.act(), "deregister consul as ");
}

#[test]
fn a_service_goes_with_its_checks_of_the_same_token() {
    let mut bench = Bench::settled();
    bench.service("web", "t", Origin::Api);
    bench.check("web", "a", "t");
    bench.check("web", "b", "u");
    assert_eq!(bench.act(), "register web a=critical as t");
    assert_eq!(bench.act(), "", "one service, one thing at a time");
    bench.done("web", Ok(()));
    assert_eq!(bench.act(), "register b=critical as u");
}

#[test]
fn tokens_are_the_own_then_that_of_files_then_the_default() {
    let mut bench = Bench::settled();
    bench.service("a", "", Origin::Api);
    bench.service("b", "", Origin::File);
    bench.service("c", "own", Origin::File);
    assert_eq!(bench.act(), "register a as default");
    assert_eq!(bench.act(), "register b as files");
    assert_eq!(bench.act(), "register c as own");
}

#[test]
fn a_change_during_a_registration_is_told_after_it() {
    let mut bench = Bench::settled();
    bench.service("web", "", Origin::Api);
    bench.check("web", "a", "");
    assert_eq!(bench.act(), "register web a=critical as default");
    bench.update("a", Status::Passing, "", Duration::ZERO);
    assert_eq!(bench.act(), "");
    bench.done("web", Ok(()));
    assert_eq!(bench.act(), "register a=passing as default");
    bench.state.remove_service(&"web".into());
    bench.done("web", Ok(()));
    assert_eq!(bench.act(), "deregister web as agent");
    assert_eq!(bench.act(), "");
}

#[test]
fn output_alone_waits_and_a_status_does_not() {
    let mut bench = Bench::settled();
    bench.check("", "a", "");
    assert_eq!(bench.act(), "register a=critical as default");
    let lane = Lane::Check("a".into());
    bench.syncer.handle_result(&lane, Ok(()), &mut bench.state, bench.now, &mut bench.rng);
    let delay = Duration::from_secs(20);
    assert!(bench.update("a", Status::Critical, "x", delay));
    assert!(!bench.update("a", Status::Critical, "x", delay), "nothing new");
    assert_eq!(bench.act(), "");
    let wait = bench.wait();
    assert!((delay / 2..delay / 2 + delay).contains(&wait), "{wait:?}");
    // A later output does not put it off.
    bench.now += wait / 2;
    bench.update("a", Status::Critical, "y", delay);
    assert_eq!(bench.wait(), wait - wait / 2);
    bench.now += wait - wait / 2;
    assert_eq!(bench.act(), "register a=critical as default");
    bench.syncer.handle_result(&lane, Ok(()), &mut bench.state, bench.now, &mut bench.rng);
    bench.update("a", Status::Critical, "z", delay);
    bench.update("a", Status::Passing, "z", delay);
    assert_eq!(bench.act(), "register a=passing as default");
    assert!(bench.state.deferred.is_empty());
}

#[test]
fn output_that_waits_is_no_difference() {
    let mut bench = Bench::new();
    bench.check("", "a", "");
    bench.state.dirty.clear();
    bench.update("a", Status::Critical, "new", Duration::from_secs(500));
    bench.act();
    bench.remote(&[], &[check("", "a")]);
    assert!(bench.events().contains(&Event::InSync(target("", "a"))));
    assert_eq!(bench.act(), "");
}

#[test]
fn tags_of_the_catalog_stay_where_they_may_be_overridden() {
    let mut bench = Bench::new();
    let overridable = NodeService { enable_tag_override: true, ..service("web") };
    bench.state.put_service(LocalService {
        service: Arc::new(overridable.clone()),
        token: Default::default(),
        origin: Origin::Api,
        is_sidecar: false,
    });
    bench.act();
    bench.remote(&[NodeService { tags: vec!["theirs".to_owned()], ..overridable }], &[]);
    assert!(bench.events().contains(&Event::InSync(Target::Service("web".into()))));
    assert_eq!(bench.state.service(&"web".into()).unwrap().service.tags, ["theirs"]);
}

#[test]
fn what_the_catalog_adds_by_itself_is_no_difference() {
    let mut bench = Bench::new();
    bench.service("web", "", Origin::Api);
    bench.act();
    let address = types::catalog::ServiceAddress { address: "240.0.0.1".to_owned(), port: 80 };
    bench.remote(
        &[NodeService {
            tagged_addresses: Some([("consul-virtual".to_owned(), address)].into()),
            meta: Some(Default::default()),
            weights: Some(Default::default()),
            modify_index: types::Index(9),
            ..service("web")
        }],
        &[],
    );
    assert_eq!(bench.act(), "");
}

#[test]
fn a_refused_token_counts_as_told_until_the_next_full_sync() {
    let mut bench = Bench::settled();
    bench.service("web", "", Origin::Api);
    bench.act();
    bench.done("web", Err(CallError::new(ErrorKind::Denied, "Permission denied")));
    let blocked = Event::Blocked { target: Target::Service("web".into()), removal: false };
    assert_eq!(bench.events(), [blocked]);
    assert_eq!(bench.act(), "");
    assert!(bench.wait() >= Duration::from_secs(30));
}

#[test]
fn a_failure_brings_the_next_full_sync_closer_and_holds_nothing_else_up() {
    let mut bench = Bench::settled();
    bench.service("a", "", Origin::Api);
    bench.service("b", "", Origin::Api);
    bench.act();
    bench.done("a", Err(CallError::failed("no")));
    let failed = Event::Failed { target: Target::Service("a".into()), error: "no".to_owned() };
    assert_eq!(bench.events(), [failed]);
    assert_eq!(bench.act(), "register b as default");
    bench.done("b", Ok(()));
    let wait = bench.wait();
    assert!((Duration::from_secs(15)..Duration::from_secs(30)).contains(&wait), "{wait:?}");
    bench.now += wait;
    assert_eq!(bench.act(), "fetch as agent");
    bench.remote(&[service("b")], &[]);
    assert_eq!(bench.act(), "register a as default");
}

#[test]
fn without_a_leader_nothing_more_is_tried_until_a_server_is_found() {
    let mut bench = Bench::settled();
    bench.service("a", "", Origin::Api);
    bench.service("b", "", Origin::Api);
    bench.act();
    bench.done("a", Err(CallError::no_leader()));
    assert_eq!(bench.act(), "");
    bench.syncer.handle_server_found(bench.now, &mut bench.rng);
    assert!(bench.wait() < Duration::from_secs(3));
    bench.now += Duration::from_secs(3);
    assert_eq!(bench.act(), "fetch as agent");
    bench.remote(&[], &[]);
    assert_eq!(bench.act(), "register a as default");
    assert_eq!(bench.act(), "register b as default");
}

#[test]
fn a_failed_fetch_is_repeated_later() {
    let mut bench = Bench::new();
    bench.act();
    let failed = Err(CallError::failed("No known Consul servers"));
    bench.syncer.handle_remote(failed, &mut bench.state, bench.now, &mut bench.rng);
    assert_eq!(bench.events(), [Event::FetchFailed("No known Consul servers".to_owned())]);
    assert_eq!(bench.act(), "");
    assert!((Duration::from_secs(15)..Duration::from_secs(30)).contains(&bench.wait()));
}

#[test]
fn full_syncs_come_every_one_to_two_minutes_and_later_in_large_pools() {
    let between = |members: u64| {
        let mut bench = Bench::settled();
        bench.syncer.handle_members(members);
        let mut longest = Duration::ZERO;
        for _ in 0..200 {
            bench.now += bench.wait();
            bench.act();
            bench.remote(&[], &[]);
            let wait = bench.wait();
            assert!(wait >= Duration::from_secs(60));
            longest = longest.max(wait);
        }
        longest.as_secs() / 60
    };
    assert_eq!([between(1), between(128)], [1, 1]);
    assert_eq!([between(129), between(256), between(257), between(8192)], [2, 2, 3, 7]);
}

#[test]
fn nothing_is_told_while_paused() {
    let mut bench = Bench::settled();
    bench.syncer.pause();
    bench.service("a", "", Origin::Api);
    assert_eq!(bench.act(), "");
    assert_eq!(bench.syncer.poll_timeout(&bench.state), None);
    bench.syncer.resume();
    assert_eq!(bench.act(), "register a as default");
}

#[test]
fn changes_of_a_service_are_seen_through_its_own_checks_alone() {
    let mut bench = Bench::settled();
    bench.service("a", "", Origin::Api);
    bench.service("b", "", Origin::Api);
    bench.check("a", "of-a", "");
    bench.check("", "of-node", "");
    let a = bench.state.changed_at(&"a".into());
    bench.update("of-node", Status::Passing, "", Duration::ZERO);
    bench.service("b", "", Origin::Api);
    assert_eq!(bench.state.changed_at(&"a".into()), a);
    bench.update("of-a", Status::Passing, "", Duration::ZERO);
    assert!(bench.state.changed_at(&"a".into()) > a);
}
