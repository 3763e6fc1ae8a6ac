//! Creation, ties and answers, case by case.

use acl::Authorizer;
use contract::{AnyCommand, AnyQuery, Command, LoneLeader};
use store::{Reader, Store};
use types::catalog::{DeregisterRequest, NodeService, RegisterRequest};
use types::check::{HealthCheck, Status};
use types::kv::KvEntry;
use types::session::{ServiceCheck, Session};
use types::{GoDuration, Index, SessionId};

use super::endpoint::CreateBody;
use super::*;
use crate::catalog::{Deregister, Register};
use crate::kv::{KVS, KvCommand, KvOp};

/// A store with the node `n`, a check of its own and one of the instance `web`.
struct World {
    store: Store,
    index: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self { store: Store::new(&crate::tables()), index: 0 };
        world.register(node());
        let service =
            NodeService { id: "web".into(), service: "web".into(), ..NodeService::default() };
        world.register(RegisterRequest { service: Some(service), ..node() });
        world.check("serfHealth", "", Status::Passing);
        world.check("web-alive", "web", Status::Warning);
        world
    }

    fn run<C: Command>(&mut self, mut command: C) -> Result<C::Reply, String> {
        let last_random = u128::from(self.index) << 8;
        let mut leader = LoneLeader { last_random, ..LoneLeader::new(&self.store) };
        let failed = |error: contract::CallError| error.to_string();
        let answer = leader.lead(|leader| {
            Command::prepare(&mut command, leader)?;
            Command::answer(&command, leader)
        });
        if let Some(reply) = answer.map_err(failed)? {
            return Ok(reply);
        }
        self.index += 1;
        let index = Index(self.index);
        self.store.write(|batch| Command::apply(&command, &mut batch.tx(index))).map_err(failed)
    }

    fn register(&mut self, request: RegisterRequest) {
        self.run(Register(request)).expect("it is sound");
    }

    fn check(&mut self, id: &str, service: &str, status: Status) {
        let check = HealthCheck {
            node: "n".into(),
            check_id: id.into(),
            name: id.to_owned(),
            service_id: service.into(),
            status,
            ..HealthCheck::default()
        };
        self.register(RegisterRequest { check: Some(check), ..node() });
    }

    fn create(&mut self, session: Session) -> Result<SessionId, String> {
        match self.run(SessionCommand { session, ..SessionCommand::default() })? {
            SessionReply::Created { id } => Ok(id),
            other => panic!("{other:?}"),
        }
    }

    fn lock(&mut self, key: &str, session: &SessionId) -> Result<bool, String> {
        let entry = KvEntry { key: key.into(), session: session.clone(), ..KvEntry::default() };
        self.run(KvCommand { op: KvOp::Lock, entry, ..KvCommand::default() })
    }

    fn destroy(&mut self, id: &SessionId) {
        let session = Session { id: id.clone(), ..Session::default() };
        let op = SessionOp::Destroy;
        let reply = self.run(SessionCommand { op, session, ..SessionCommand::default() });
        assert_eq!(reply, Ok(SessionReply::Destroyed(true)));
    }

    fn entry(&self, key: &str) -> Option<KvEntry> {
        self.store.snapshot().peek(&KVS, key.as_bytes()).cloned()
    }

    fn lives(&self, id: &SessionId) -> bool {
        exists(&self.store.snapshot(), id)
    }

    fn delays(&mut self) -> Vec<(String, u64)> {
        let delays = self.store.write(|batch| take_lock_delays(&mut batch.tx(Index(self.index))));
        delays.iter().map(|delay| (delay.key.to_string(), delay.delay.as_secs())).collect()
    }
}

fn node() -> RegisterRequest {
    RegisterRequest { node: "n".into(), address: "10.0.0.1".into(), ..RegisterRequest::default() }
}

fn session(json: &str) -> Session {
    CreateBody::parse(json.as_bytes()).expect("it is sound").session(&"n".into())
}

#[test]
fn bodies_say_what_a_session_depends_on() {
    let checks = |json: &str| {
        let session = session(json);
        let names = |ids: &[types::CheckId]| {
            ids.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>().join(",")
        };
        (names(&session.node_checks), names(&session.checks))
    };
    let cases = [
        ("{}", "serfHealth", ""),
        (r#"{"NodeChecks":[]}"#, "", ""),
        (r#"{"NodeChecks":null}"#, "serfHealth", ""),
        (r#"{"NodeChecks":["a"]}"#, "a", ""),
        (r#"{"Checks":[]}"#, "", ""),
        (r#"{"Checks":null}"#, "", ""),
        (r#"{"Checks":[],"NodeChecks":["a"]}"#, "", ""),
        (r#"{"Checks":["serfHealth"]}"#, "serfHealth", ""),
        (r#"{"Checks":["a","b"]}"#, "serfHealth", "a,b"),
    ];
    for (json, node_checks, old) in cases {
        assert_eq!(checks(json), (node_checks.to_owned(), old.to_owned()), "{json}");
    }
}

#[test]
fn lock_delays_are_durations_or_numbers_of_which_small_ones_are_seconds() {
    let cases = [
        ("{}", 15_000_000_000),
        (r#"{"LockDelay":"0s"}"#, 0),
        (r#"{"LockDelay":20}"#, 20_000_000_000),
        (r#"{"LockDelay":999}"#, 999_000_000_000),
        (r#"{"LockDelay":1000}"#, 1000),
        (r#"{"LockDelay":"61s"}"#, 61_000_000_000),
        (r#"{"LockDelay":null}"#, 15_000_000_000),
    ];
    for (json, nanos) in cases {
        assert_eq!(session(json).lock_delay, GoDuration::from_nanos(nanos), "{json}");
    }
}

#[test]
fn mistakes_of_a_creation_are_told_in_consuls_words() {
    let cases = [
        (r#"{"TTL":"5s"}"#, "Invalid Session TTL '5000000000', must be between [10s=24h0m0s]"),
        (
            r#"{"TTL":"86401s"}"#,
            "Invalid Session TTL '86401000000000', must be between [10s=24h0m0s]",
        ),
        (r#"{"TTL":"-1s"}"#, "Invalid Session TTL '-1000000000', must be between [10s=24h0m0s]"),
        (r#"{"TTL":"abc"}"#, r#"Session TTL 'abc' invalid: time: invalid duration "abc""#),
        (r#"{"Behavior":"explode"}"#, "Invalid Behavior setting 'explode'"),
        (r#"{"Node":"nobody"}"#, "apply failed: Missing node registration"),
        (r#"{"NodeChecks":["zz"]}"#, "apply failed: Missing check 'zz' registration"),
        (r#"{"ServiceChecks":[{"ID":"zz"}]}"#, "apply failed: Missing check 'zz' registration"),
        (r#"{"Checks":["bad"]}"#, "apply failed: Check 'bad' is in critical state"),
    ];
    for (json, text) in cases {
        let mut world = World::new();
        world.check("bad", "", Status::Critical);
        assert_eq!(world.create(session(json)), Err(text.to_owned()), "{json}");
        assert_eq!(world.store.snapshot().len(&SESSIONS), 0);
    }
    let error = CreateBody::parse(br#"{"TTL":30}"#).expect_err("a number");
    assert_eq!(
        error.to_string(),
        "json: cannot unmarshal number into Go struct field .Alias.TTL of type string"
    );
}

#[test]
fn a_session_that_depends_on_a_warning_or_on_nothing_can_be_made() {
    let mut world = World::new();
    for json in [
        r#"{"NodeChecks":["web-alive"]}"#,
        r#"{"ServiceChecks":[{"ID":"web-alive"}]}"#,
        r#"{"NodeChecks":[],"TTL":"0s","Node":"N"}"#,
        r#"{"TTL":"24h","Unknown":1}"#,
    ] {
        let id = world.create(session(json)).expect(json);
        assert_eq!(id.as_str().len(), 36);
        assert!(world.lives(&id));
    }
}

#[test]
fn the_end_of_a_session_ends_its_locks() {
    let mut world = World::new();
    let keeps = world.create(session("{}")).expect("sound");
    let deletes =
        world.create(session(r#"{"Behavior":"delete","LockDelay":"2m"}"#)).expect("sound");
    let eager = world.create(session(r#"{"LockDelay":"0s"}"#)).expect("sound");
    for (key, id) in [("a", &keeps), ("b", &keeps), ("c", &deletes), ("d", &eager)] {
        assert_eq!(world.lock(key, id), Ok(true));
        assert_eq!(
            world.lock(key, &SessionId::from("x")),
            Err("raft apply failed: invalid session \"x\"".to_owned())
        );
    }
    assert_eq!(world.lock("a", &eager), Ok(false));
    world.destroy(&keeps);
    assert_eq!(world.delays(), [("a".to_owned(), 15), ("b".to_owned(), 15)]);
    let released = world.entry("a").expect("it stays");
    assert!(released.session.is_empty());
    assert_eq!((released.lock_index, released.modify_index), (1, Index(world.index)));
    world.destroy(&deletes);
    assert_eq!(world.entry("c"), None);
    assert_eq!(world.delays(), [("c".to_owned(), 60)]);
    world.destroy(&eager);
    assert_eq!(world.delays(), []);
    let index = world.store.snapshot().index_of("sessions");
    world.destroy(&eager);
    assert_eq!(world.store.snapshot().index_of("sessions"), index);
}

#[test]
fn a_session_ends_with_what_it_depends_on() {
    type Cause = fn(&mut World);
    let causes: [(&str, Cause); 5] = [
        ("check critical", |world| world.check("web-alive", "web", Status::Critical)),
        ("check removed", |world| deregister(world, "", "web-alive")),
        ("instance removed", |world| deregister(world, "web", "")),
        ("node removed", |world| deregister(world, "", "")),
        ("node renamed", |world| {
            let id = "0a1b2c3d-0000-1111-2222-333344445555";
            world.register(RegisterRequest { id: id.into(), ..node() });
            world.check("serfHealth", "", Status::Critical);
            world.register(RegisterRequest { id: id.into(), node: "m".into(), ..node() });
        }),
    ];
    let bound = Session {
        service_checks: Some(vec![ServiceCheck {
            id: "web-alive".into(),
            ..ServiceCheck::default()
        }]),
        ..session(r#"{"LockDelay":"0s"}"#)
    };
    for (cause, act) in causes {
        let mut world = World::new();
        let id = world.create(bound.clone()).expect("sound");
        assert_eq!(world.lock("k", &id), Ok(true));
        world.check("web-alive", "web", Status::Passing);
        world.check("other", "", Status::Critical);
        assert!(world.lives(&id), "{cause}");
        act(&mut world);
        assert!(!world.lives(&id), "{cause}");
        assert!(world.entry("k").expect("it stays").session.is_empty(), "{cause}");
    }
}

fn deregister(world: &mut World, service: &str, check: &str) {
    let request = DeregisterRequest {
        node: "n".into(),
        service_id: service.into(),
        check_id: check.into(),
        ..DeregisterRequest::default()
    };
    world.run(Deregister(request)).expect("it is sound");
}

#[test]
fn a_check_that_changes_hands_keeps_its_sessions() {
    let mut world = World::new();
    let id = world.create(session(r#"{"NodeChecks":["web-alive"]}"#)).expect("sound");
    world.check("web-alive", "", Status::Passing);
    assert!(world.lives(&id));
}

#[test]
fn renewing_tells_the_session_and_changes_nothing() {
    let mut world = World::new();
    let id = world.create(session(r#"{"TTL":"10s"}"#)).expect("sound");
    let renew = |id: &SessionId| SessionCommand {
        op: SessionOp::Renew,
        session: Session { id: id.clone(), ..Session::default() },
        ..SessionCommand::default()
    };
    let before = world.index;
    let reply = world.run(renew(&id)).expect("it is there");
    assert!(matches!(&reply, SessionReply::Renewed([session]) if session.id == id));
    assert_eq!(world.index, before);
    assert_eq!(world.run(renew(&"x".into())), Ok(SessionReply::NotFound("x".into())));
}

#[test]
fn replies_are_shown_as_consul_shows_them() {
    let shown = |reply: &SessionReply| serde_json::to_string(reply).expect("it is plain");
    assert_eq!(shown(&SessionReply::Created { id: "s".into() }), r#"{"ID":"s"}"#);
    assert_eq!(shown(&SessionReply::Destroyed(true)), "true");
}

#[test]
fn a_command_comes_back_from_the_log_as_it_was() {
    let command = SessionCommand {
        session: session(r#"{"TTL":"10s","Behavior":"delete","ServiceChecks":[{"ID":"c"}]}"#),
        ..SessionCommand::default()
    };
    let bytes = command.encode();
    assert_eq!(bytes[0], 3);
    let back: SessionCommand = types::msgpack::from_slice(&bytes[1..]).expect("just written");
    assert_eq!(back, command);
}

#[test]
fn sessions_of_a_snapshot_end_as_others_do() {
    let mut world = World::new();
    let id = world.create(session(r#"{"TTL":"10s","LockDelay":"0s"}"#)).expect("sound");
    assert_eq!(world.lock("k", &id), Ok(true));
    let mut restored = World { store: Store::new(&crate::tables()), index: world.index };
    for record in crate::ALL.iter().flat_map(|domain| domain.records) {
        (record.save)(&world.store.snapshot(), &mut |bytes| {
            let index = Index(restored.index);
            let done = restored.store.write(|batch| (record.restore)(bytes, &mut batch.tx(index)));
            done.expect("it was just saved");
        });
    }
    let row = |world: &World| world.store.snapshot().get(&SESSIONS, id.as_str().as_bytes());
    assert_eq!(row(&restored), row(&world));
    restored.check("serfHealth", "", Status::Critical);
    assert!(!restored.lives(&id));
    assert!(restored.entry("k").expect("it stays").session.is_empty());
}

#[test]
fn reads_watch_the_sessions_that_they_show() {
    let mut world = World::new();
    world.register(RegisterRequest { node: "m".into(), ..node() });
    let mine = world.create(session(r#"{"NodeChecks":[]}"#)).expect("sound");
    let queries: [(&str, Box<dyn AnyQuery>, bool); 3] = [
        ("info", Box::new(SessionInfo { id: mine.clone() }), false),
        ("node", Box::new(NodeSessions { node: "N".into() }), false),
        ("list", Box::new(Sessions), true),
    ];
    let watch = |world: &World, query: &dyn AnyQuery| {
        let state = world.store.snapshot();
        let mut reader = Reader::new(&state);
        let found = query.evaluate(&Authorizer::allow_all(), &mut reader).expect("no filter");
        assert_eq!(found.index, state.index_of("sessions"));
        world.store.subscribe(reader.into_watch_set()).0
    };
    let watches: Vec<_> = queries.iter().map(|(_, query, _)| watch(&world, &**query)).collect();
    world.create(session(r#"{"Node":"m","NodeChecks":[]}"#)).expect("sound");
    for ((name, _, fires), watched) in queries.iter().zip(&watches) {
        assert_eq!(watched.has_fired(), *fires, "{name}: a session of another node");
    }
    let watches: Vec<_> = queries.iter().map(|(_, query, _)| watch(&world, &**query)).collect();
    world.destroy(&mine);
    for ((name, _, _), watched) in queries.iter().zip(&watches) {
        assert!(watched.has_fired(), "{name}: the session itself");
    }
}
