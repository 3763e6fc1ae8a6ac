//! Requests to the domains, end to end in memory: path, query string and body to
//! a call, the call to a state or an answer. And commands as the log holds them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use acl::Authorizer;
use bytes::Bytes;
use contract::response::Body;
use contract::{
    ActionCall, AgentFacts, Answer, AnyCommand, Authorized, Call, CallError, Encoding, LoneLeader,
    NoMemory, Outside, ReadCall, ReadFacts, Refusal, Request, Response, Route, Show, Step,
};
use domains::catalog::{Deregister, Register};
use domains::kv::{KvCommand, KvOp, TombstoneReap};
use domains::prepared_query::PreparedQueryCommand;
use domains::txn::TxnCommand;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_server::path::{Decoded, decode_path, is_clean, parse_query};
use replica::state_file;
use server::fsm::{Fsm, FsmCommand};
use store::{Reader, Store};
use types::catalog::{DeregisterRequest, RegisterRequest};
use types::kv::KvEntry;
use types::{Datacenter, Index, NodeName, SecretId};

use super::{assert_says, requests};
use crate::choices::Choices;

/// Requests in one input.
const REQUESTS_MAX: usize = 24;
const KV_VALUE_BYTES_MAX: u64 = 512;

/// What requests to the KV store are made of.
pub(super) const KV_WORDS: &[&str] = &[
    "\nPUT /v1/kv/",
    "\nGET /v1/kv/",
    "\nDELETE /v1/kv/",
    "\nHEAD /v1/kv/",
    "a",
    "a/",
    "a/b",
    "?cas=0",
    "?cas=",
    "&cas=3",
    "?flags=42",
    "?acquire=",
    "?acquire=s",
    "?release=s",
    "?recurse",
    "?keys",
    "&separator=/",
    "&seperator=b",
    "?raw",
    "?index=5",
    "&wait=1s",
    "?stale",
    "&consistent",
    "?dc=dc2",
    "?ns=x",
    "&partition=y",
    " value",
    "%00",
    "%2F",
    "%ff",
    "?pretty",
    "?max_stale=1s",
    "?cached",
    "?filter=Key==a",
    "?token=t",
    "\u{e9}",
    "?flags=-1",
    "?index=-1",
];

/// What requests to the catalog are made of.
pub(super) const CATALOG_WORDS: &[&str] = &[
    "\nPUT /v1/catalog/register {",
    "\nPUT /v1/catalog/deregister {",
    "}",
    "{",
    "[",
    "]",
    ",",
    "\"Node\":\"n1\"",
    "\"Address\":\"10.0.0.1\"",
    "\"ID\":\"f0000000-0000-0000-0000-000000000001\"",
    "\"Service\":{\"Service\":\"web\"}",
    "\"Check\":{\"Name\":\"c\",\"Status\":\"passing\"}",
    "\"Checks\":[",
    "\"CheckID\":\"c\"",
    "\"ServiceID\":\"web\"",
    "\"SkipNodeUpdate\":true",
    "\"NodeMeta\":{\"a\":\"b\"}",
    "\"TaggedAddresses\":{\"lan\":\"::1\"}",
    "\"Kind\":\"connect-proxy\"",
    "\"Proxy\":{\"DestinationServiceName\":\"web\"}",
    "\"Connect\":{\"Native\":true}",
    "\"Port\":80",
    "\"Datacenter\":\"dc2\"",
    "\"PeerName\":\"p\"",
    "\"Upstreams\":[{}]",
    "null",
    "\"\"",
    "\"Weights\":{\"Passing\":0}",
    "\"EnableTagOverride\":true",
    "\"Definition\":{\"TTL\":\"1s\"}",
    "\"Node\":\"N1\"",
    "\"Tags\":[\"a\",\"a\"]",
    "\"Kind\":\"mesh-gateway\"",
    "\"Status\":\"x\"",
    "\nGET /v1/catalog/nodes",
    "\nGET /v1/catalog/services",
    "\nGET /v1/catalog/service/web",
    "\nGET /v1/catalog/node/n1",
    "\nGET /v1/health/service/web?passing",
    "\nGET /v1/health/node/n1",
    "\nGET /v1/health/state/any",
    "\nGET /v1/health/checks/web",
    "\nGET /v1/catalog/connect/web",
    "?filter=Node==n1",
    "&filter=ServiceName==%22web%22",
    "?node-meta=a:b",
    "?tag=a",
    "?near=n1",
    "\nGET /v1/catalog/node-services/n1?merge-central-config",
    "\nGET /v1/health/connect/web",
    "\nGET /v1/health/ingress/web",
    "?filter=Service.Port%20!=%200",
    "\"Config\":{\"a\":1.5}",
];

/// What transactions are made of.
pub(super) const TXN_WORDS: &[&str] = &[
    "\nPUT /v1/txn [",
    "\nPUT /v1/session/create {\"Node\":\"n1\",\"NodeChecks\":[],\"Checks\":[]}",
    "{\"KV\":{\"Verb\":\"",
    "{\"Node\":{\"Verb\":\"",
    "{\"Service\":{\"Verb\":\"",
    "{\"Check\":{\"Verb\":\"",
    "\"Session\":{\"Verb\":\"delete\"}",
    "\"Intention\":{}",
    "set\"",
    "cas\"",
    "lock\"",
    "unlock\"",
    "get-tree\"",
    "check-index\"",
    "delete-cas\"",
    "delete-tree\"",
    ",\"Key\":\"a\"",
    ",\"Index\":10",
    ",\"Index\":-1",
    ",\"Value\":\"dg==\"",
    ",\"Value\":\"!\"",
    ",\"Node\":{\"Node\":\"n1\"}",
    ",\"Node\":\"n1\",\"Service\":{\"Service\":\"web\"}",
    ",\"Check\":{\"Node\":\"n1\",\"CheckID\":\"c\"}",
    ",\"Definition\":{\"IntervalDuration\":\"1s\"}",
    "}}",
    "}},",
    "]",
    "{}",
    "null",
    "?stale",
    "?index=5",
    "?dc=dc2",
];

/// What requests to prepared queries are made of.
pub(super) const QUERY_WORDS: &[&str] = &[
    "\nPUT /v1/catalog/register {\"Node\":\"n1\",\"Address\":\"10.0.0.1\",\"Service\":{\"Service\":\"web\",\"Tags\":[\"a\"]}}",
    "\nPOST /v1/query {\"Name\":\"q\",\"Service\":{\"Service\":\"web\"}}",
    "\nPOST /v1/query {\"Name\":\"t-\",\"Template\":{\"Type\":\"name_prefix_match\",\"Regexp\":\"(.*)\"},\"Service\":{\"Service\":\"${match(1)}\"}}",
    "\nPUT /v1/query/00000000-0000-0000-0000-00000000000b {",
    "\nDELETE /v1/query/00000000-0000-0000-0000-00000000000b",
    "\nGET /v1/query",
    "\nGET /v1/query/q/execute",
    "\nGET /v1/query/t-web/execute?near=n1&limit=1",
    "\nGET /v1/query/t-web/explain",
    "\nOPTIONS /v1/query/q",
    "\nPOST /v1/query {",
    "}",
    ",",
    "\"Name\":\"\"",
    "\"Session\":\"s\"",
    "\"Token\":\"<hidden>\"",
    "\"Template\":{\"Type\":\"name_prefix_match\"}",
    "\"RemoveEmptyTags\":true",
    "\"Service\":{\"Service\":\"web\"",
    "\"Failover\":{\"NearestN\":2,\"Datacenters\":[\"dc2\"]}",
    "\"Targets\":[{\"Peer\":\"p\"}]",
    "\"OnlyPassing\":true",
    "\"IgnoreCheckIDs\":[\"c\"]",
    "\"Near\":\"_ip\"",
    "\"Tags\":[\"!a\",\"${name.suffix}\"]",
    "\"NodeMeta\":{\"a\":\"${name.full}\"}",
    "\"Connect\":true",
    "\"DNS\":{\"TTL\":\"10s\"}",
    "?near=_agent",
    "?limit=2",
    "?connect=true",
    "?stale",
    "?cached",
];

/// Reads that show most of a state.
const LOOKS: &[&str] = &[
    "/v1/kv/?recurse",
    "/v1/kv/?keys&separator=/",
    "/v1/catalog/nodes",
    "/v1/catalog/services",
    "/v1/catalog/service/web",
    "/v1/catalog/node/n1",
    "/v1/catalog/connect/web",
    "/v1/health/state/any",
    "/v1/health/service/web",
    "/v1/health/node/n1",
    "/v1/health/connect/web",
    "/v1/catalog/node-services/n1",
    "/v1/catalog/gateway-services/g",
    "/v1/query",
];

/// Checks the input as requests to the KV store, and as decisions to make some.
pub(super) fn check_kv(input: &[u8]) {
    check(input);
    check(requests::kv(&mut Choices::new(input)).as_bytes());
}

/// Checks the input as requests to the catalog, and as decisions to make some.
pub(super) fn check_catalog(input: &[u8]) {
    check(input);
    check(requests::catalog(&mut Choices::new(input)).as_bytes());
}

/// Checks the input as transactions, and as decisions to make some.
pub(super) fn check_txn(input: &[u8]) {
    check(input);
    check(requests::txn(&mut Choices::new(input)).as_bytes());
}

/// Checks the input as requests to prepared queries.
pub(super) fn check_queries(input: &[u8]) {
    check(input);
}

/// Checks a run of requests, one on each line: method, target, body; for a read,
/// `Cache-Control` in its place.
fn check(input: &[u8]) {
    let world = World::new();
    for (line, index) in input.split(|byte| *byte == b'\n').take(REQUESTS_MAX).zip(10..) {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let (Some(method), Some(target)) = (parts.next(), parts.next()) else { continue };
        let (Ok(method), target) = (Method::from_bytes(method), super::text(target)) else {
            continue;
        };
        let Some(request) = request(method, &target, parts.next().unwrap_or_default()) else {
            continue;
        };
        world.answer(&request, Index(index));
    }
    world.check_restore();
}

/// Checks one command as the log holds it.
pub(super) fn check_log_command(input: &[u8]) {
    let world = World::new();
    for (command, index) in sample_commands().into_iter().zip(1..) {
        world.apply(command, Index(index)).expect("the samples are sound");
    }
    let before = rows(world.typed.store());
    let one = std::iter::once((Index(20), FsmCommand::Encoded(input)));
    match world.typed.apply(one) {
        Err(error) => {
            assert_says(&error.to_string(), input.len());
            assert_eq!(rows(world.typed.store()), before, "a refused command changed something");
        }
        Ok(replies) => {
            if let [Err(error)] = replies.as_slice() {
                assert_says(error.text(), input.len());
                assert_eq!(
                    rows(world.typed.store()),
                    before,
                    "a refused command changed something"
                );
            }
            restore(world.typed.store());
        }
    }
}

/// Commands of every kind, encoded.
pub(super) fn made_commands() -> Vec<Vec<u8>> {
    sample_commands().iter().map(|command| command.encode().to_vec()).collect()
}

/// Commands of every kind, which can be applied in this order.
pub(super) fn sample_commands() -> Vec<Box<dyn AnyCommand>> {
    let kv = |op, key: &str| -> Box<dyn AnyCommand> {
        let entry = KvEntry { key: key.into(), value: (&b"v"[..]).into(), ..KvEntry::default() };
        Box::new(KvCommand { datacenter: "dc1".into(), op, entry })
    };
    let register = |json: &str| -> Box<dyn AnyCommand> {
        let request: RegisterRequest =
            types::json::decode_whole(json.as_bytes(), types::json::Unknown::Deny)
                .expect("a sound sample");
        Box::new(Register(request))
    };
    let txn = |json: &str| -> Box<dyn AnyCommand> {
        let (_, ops) = domains::txn::parse_body(json.as_bytes()).expect("a sound sample");
        Box::new(TxnCommand { datacenter: "dc1".into(), ops })
    };
    let query = |json: &str| -> Box<dyn AnyCommand> {
        let query = types::json::decode_whole(json.as_bytes(), types::json::Unknown::Deny)
            .expect("a sound sample");
        Box::new(PreparedQueryCommand { query, ..PreparedQueryCommand::default() })
    };
    let deregister = DeregisterRequest { node: "n2".into(), ..DeregisterRequest::default() };
    vec![
        kv(KvOp::Set, "app/a"),
        kv(KvOp::Cas, "app/b"),
        kv(KvOp::Delete, "app/a"),
        register(
            r#"{"Datacenter": "dc1", "ID": "f0000000-0000-0000-0000-000000000001", "Node": "n1",
                "Address": "10.0.0.1", "NodeMeta": {"rack": "a1"}, "TaggedAddresses": {"lan": "10.0.0.1"},
                "Service": {"ID": "web-1", "Service": "web", "Port": 80, "Tags": ["v1"], "Meta": {"a": "b"},
                            "Connect": {"Native": true}},
                "Checks": [{"Node": "n1", "CheckID": "c", "Name": "c", "Status": "passing", "ServiceID": "web-1"}]}"#,
        ),
        register(
            r#"{"Node": "n2", "Address": "10.0.0.2",
                "Service": {"Kind": "connect-proxy", "ID": "p", "Service": "web-proxy", "Port": 1,
                            "Proxy": {"DestinationServiceName": "web", "Config": {"k": [1, 2.5, {"n": null}]},
                                      "Upstreams": [{"DestinationName": "db", "LocalBindPort": 9000}]}}}"#,
        ),
        kv(KvOp::DeleteCas, "app/c"),
        txn(r#"[{"KV": {"Verb": "set", "Key": "app/t", "Value": "dg=="}},
                {"KV": {"Verb": "get-tree", "Key": "app/"}},
                {"Node": {"Verb": "set", "Node": {"Node": "n3", "Address": "10.0.0.3"}}},
                {"Service": {"Verb": "set", "Node": "n3", "Service": {"ID": "t", "Service": "web"}}},
                {"Check": {"Verb": "set", "Check": {"Node": "n3", "CheckID": "t", "ServiceID": "t"}}}]"#),
        kv(KvOp::DeleteTree, "ap"),
        Box::new(Deregister(deregister)),
        query(r#"{"ID": "q", "Name": "q", "Service": {"Service": "web", "Tags": ["!v2"]}}"#),
        query(
            r#"{"ID": "t", "Name": "t-", "Template": {"Type": "name_prefix_match", "Regexp": "-(.*)"},
                "Service": {"Service": "${match(1)}", "Failover": {"NearestN": 1}}, "DNS": {"TTL": "1s"}}"#,
        ),
        Box::new(TombstoneReap {
            datacenter: "dc1".into(),
            op: "reap".into(),
            reap_index: Index(3),
        }),
    ]
}

/// One state that takes commands as they were typed, one that takes them from
/// the log, always equal.
struct World {
    typed: Fsm,
    logged: Fsm,
}

impl World {
    fn new() -> Self {
        let fsm = || Fsm::new(Store::new(&domains::tables()));
        Self { typed: fsm(), logged: fsm() }
    }

    fn answer(&self, request: &Request, index: Index) {
        match call(request) {
            None => {}
            Some(Err(error)) => refused(&error, request),
            Some(Ok(Call::Answer(response))) => well_formed(&response),
            Some(Ok(Call::Read(read))) => {
                let shown = run(self.typed.store(), read);
                shown.map_or_else(
                    |error| refused(&error, request),
                    |(_, response)| well_formed(&response),
                );
            }
            Some(Ok(Call::Act(call))) => match act(self.typed.store(), call) {
                Ok(response) => well_formed(&response),
                Err(error) => refused(&error, request),
            },
            Some(Ok(Call::Write(write))) => {
                let before = rows(self.typed.store());
                match self.write(write.command, index) {
                    Ok(reply) => {
                        let response = (write.show)(&*reply, Encoding::Compact);
                        well_formed(&response);
                        if response.status == StatusCode::CONFLICT {
                            let after = rows(self.typed.store());
                            assert_eq!(before, after, "half applied: {:?}", body(&response));
                        }
                    }
                    Err(error) => {
                        refused(&error, request);
                        let after = rows(self.typed.store());
                        assert_eq!(before, after, "half applied: {}", error.text());
                    }
                }
            }
        }
    }

    fn write(
        &self,
        command: Box<dyn AnyCommand>,
        index: Index,
    ) -> Result<Box<dyn std::any::Any + Send>, CallError> {
        let store = self.typed.store();
        let who = Authorizer::allow_all();
        let mut command = match Authorized::command(command, &who, store, &NoMemory) {
            Ok(authorized) => authorized,
            Err(Refusal::Error(error)) => return Err(error),
            Err(Refusal::Reply(reply)) => return Ok(reply),
        };
        let mut leader = LoneLeader {
            now_unix_nanos: 1_800_000_000_000_000_000,
            last_random: u128::from(index.0),
            ..LoneLeader::new(store)
        };
        let answer = leader.lead(|leader| {
            command.get_mut().prepare(leader)?;
            command.get_mut().answer(leader)
        });
        if let Some(answer) = answer? {
            return Ok(answer);
        }
        self.apply(command.into_inner(), index)
    }

    fn apply(
        &self,
        command: Box<dyn AnyCommand>,
        index: Index,
    ) -> Result<Box<dyn std::any::Any + Send>, CallError> {
        let bytes = command.encode();
        let logged = std::iter::once((index, FsmCommand::Encoded(&bytes)));
        let logged = self.logged.apply(logged).expect("what we encode we can decode");
        let typed = std::iter::once((index, FsmCommand::Typed(command)));
        let mut typed = self.typed.apply(typed).expect("a typed command needs no decoding");
        assert_eq!(
            saved(self.typed.store()),
            saved(self.logged.store()),
            "the log changes a command"
        );
        let typed = typed.pop().expect("one command has one reply");
        assert_eq!(typed.as_ref().err(), logged[0].as_ref().err());
        typed
    }

    /// A snapshot holds all there is: the state that comes out of it shows the same.
    fn check_restore(&self) {
        let store = self.typed.store();
        assert_eq!(look(store), look(&restore(store)), "a snapshot does not hold all");
    }
}

/// What can be seen of a state.
pub(super) fn look(store: &Store) -> Vec<(&'static str, Index, Bytes)> {
    let looks = LOOKS.iter().map(|target| {
        let request = request(Method::GET, target, b"").expect("a sound path");
        let Some(Ok(Call::Read(read))) = call(&request) else { panic!("{target} is a read") };
        let (index, response) = run(store, read).expect("a plain read");
        well_formed(&response);
        (*target, index, body(&response))
    });
    looks.collect()
}

fn request(method: Method, target: &str, body: &[u8]) -> Option<Request> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Decoded::Path(path) = decode_path(path, false) else { return None };
    if !is_clean(&path) {
        return None;
    }
    let (_, tail) = route(&path)?;
    let mut headers = HeaderMap::new();
    if method == Method::GET
        && let Ok(value) = HeaderValue::from_bytes(body)
    {
        headers.insert(http::header::CACHE_CONTROL, value);
    }
    Some(Request {
        method,
        tail: tail.to_owned(),
        params: parse_query(query)?,
        path,
        headers,
        body: Bytes::copy_from_slice(body),
        token: SecretId::default(),
        remote: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        agent: Arc::new(AgentFacts {
            connect: true,
            coordinates: true,
            datacenter: Datacenter::from("dc1"),
            node: NodeName::from("n1"),
            kv_max_value_size: KV_VALUE_BYTES_MAX,
            txn_max_req_len: KV_VALUE_BYTES_MAX,
            discovery_max_stale: Duration::ZERO,
            indents: false,
        }),
    })
}

/// The route of the longest path that `path` begins with, and what follows.
fn route(path: &str) -> Option<(&'static Route, &str)> {
    let routes = domains::ALL.iter().flat_map(|domain| domain.routes);
    let fits = routes.filter(|route| {
        path == route.path || (route.path.ends_with('/') && path.starts_with(route.path))
    });
    fits.max_by_key(|route| route.path.len()).map(|route| (route, &path[route.path.len()..]))
}

fn call(request: &Request) -> Option<Result<Call, CallError>> {
    let (route, _) = route(&request.path)?;
    let verb = route.verbs.iter().find(|verb| verb.fits(&request.method))?;
    Some((verb.call)(request))
}

fn run(store: &Store, read: ReadCall) -> Result<(Index, Response), CallError> {
    let state = store.snapshot();
    let mut reader = Reader::new(&state);
    let evaluated = read.query.evaluate(&Authorizer::allow_all(), &mut reader)?;
    assert!(evaluated.index > Index::ZERO, "clients would not wait for index 0");
    let response = match read.show {
        Show::Json(show) => Response::encoded(show(&*evaluated.reply, Encoding::Indented)),
        Show::Custom(show) => show(&*evaluated.reply, Encoding::Compact),
        Show::WithFacts(show) => {
            let facts = ReadFacts {
                index: evaluated.index,
                known_leader: true,
                last_contact: Duration::ZERO,
                removed: evaluated.removed,
            };
            show(&*evaluated.reply, &facts, Encoding::Compact)
        }
    };
    Ok((evaluated.index, response))
}

/// Runs an action as the server does, in the only datacenter there is.
fn act(store: &Store, mut call: ActionCall) -> Result<Response, CallError> {
    let mut question = call.action.start();
    loop {
        let state = store.snapshot();
        let evaluated = question.query.evaluate(&Authorizer::allow_all(), &mut Reader::new(&state));
        let answer = evaluated.map(|evaluated| Answer {
            reply: evaluated.reply,
            facts: ReadFacts { index: evaluated.index, ..ReadFacts::default() },
        });
        let mut outside = Outside { random: &mut || 7, datacenters: &[] };
        match call.action.handle_answer(answer, &mut outside)? {
            Step::Ask(next) => question = next,
            Step::Done(reply, _) => return Ok((call.show)(&*reply, Encoding::Compact)),
        }
    }
}

fn refused(error: &CallError, request: &Request) {
    let echoed = request.path.len() + request.params.encode().len() + request.body.len();
    assert_says(error.text(), echoed);
}

fn well_formed(response: &Response) {
    if let Body::Json(json) = &response.body {
        let read: Result<serde_json::Value, _> = serde_json::from_slice(json);
        assert!(read.is_ok(), "not JSON: {}", String::from_utf8_lossy(json));
    }
}

fn body(response: &Response) -> Bytes {
    match &response.body {
        Body::Empty => Bytes::new(),
        Body::Json(bytes) | Body::Bytes { bytes, .. } => bytes.clone(),
    }
}

/// The whole state as a snapshot.
pub(super) fn saved(store: &Store) -> Vec<u8> {
    let mut bytes = Vec::new();
    state_file::save(&store.snapshot(), &mut bytes).expect("memory takes all");
    bytes
}

/// The state as a snapshot, but for the index that every command moves.
pub(super) fn rows(store: &Store) -> Vec<u8> {
    let mut bytes = saved(store);
    let header = types::msgpack::value_len(&bytes).expect("a header").expect("all of it");
    bytes.split_off(header)
}

/// A new state out of the snapshot of `store`, whose own snapshot is the same.
pub(super) fn restore(store: &Store) -> Store {
    let bytes = saved(store);
    let restored = Store::new(&domains::tables());
    state_file::restore(&mut bytes.as_slice(), &restored).expect("we can read what we save");
    assert_eq!(saved(&restored), bytes, "a snapshot does not hold all");
    restored
}
