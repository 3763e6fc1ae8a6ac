//! Golden dialogues, and what they cannot say.
//!
//! `testdata/*.txt` hold lines `> …` and what is answered. `> [ … ]` is the body of
//! `PUT /v1/txn`; other lines prepare the state or ask about it (see [`World::line`]).
//! `UPDATE_EXPECT=1 cargo test -p domains` writes the answers anew; read the difference.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use acl::Authorizer;
use contract::{
    AgentFacts, AnyCommand, Authorized, Body, Call, CallError, Encoding, Facts, LeaderMemory,
    LoneLeader, Params, ReadFacts, Refusal, Request, Response, Show,
};
use http::{HeaderMap, Method};
use store::{Reader, Store};
use types::session::{Behavior, Session};
use types::{GoDuration, Index, SessionId, msgpack};

use super::*;
use crate::catalog::{CHECKS, NODES, SERVICES};
use crate::kv::{KVS, TOMBSTONES};
use crate::session::{LOCK_DELAYS, SESSIONS};
use crate::system_metadata::{SYSTEM_METADATA, SystemMetadataEntry, VIRTUAL_IPS};

/// A leader alone with its state.
struct World {
    store: Store,
    index: u64,
    who: Authorizer,
    delayed: BTreeSet<String>,
}

impl LeaderMemory for World {
    fn is_lock_delayed(&self, key: &str) -> bool {
        self.delayed.contains(key)
    }

    fn renew_session(&self, _session: &SessionId, _ttl: Duration) -> bool {
        true
    }

    fn note_coordinate(&self, _row: types::coordinate::NodeCoordinate) {}
}

impl World {
    fn new() -> Self {
        let store = Store::new(&crate::tables());
        store.write(|batch| {
            // All servers are of today.
            let (key, value) = (VIRTUAL_IPS.to_owned(), "true".to_owned());
            let flag = SystemMetadataEntry { key, value, ..SystemMetadataEntry::default() };
            batch.tx(Index::ZERO).put(&SYSTEM_METADATA, flag);
        });
        Self { store, index: 0, who: Authorizer::allow_all(), delayed: BTreeSet::new() }
    }

    /// One line of a dialogue.
    fn line(&mut self, line: &str) -> String {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            // `stale BODY`: with this parameter.
            "stale" | "consistent" | "index=9" => self.body(rest, &[word]),
            "session" => {
                let session = Session {
                    id: rest.into(),
                    lock_delay: GoDuration::from_secs(10),
                    behavior: Behavior::Release,
                    ..Session::default()
                };
                self.index += 1;
                self.store.write(|batch| batch.tx(Index(self.index)).put(&SESSIONS, session));
                String::new()
            }
            "delay" => {
                self.delayed.insert(rest.to_owned());
                String::new()
            }
            "deny" => {
                self.who = Authorizer::deny_all();
                String::new()
            }
            "allow" => {
                self.who = Authorizer::allow_all();
                String::new()
            }
            // A whole log entry in hexadecimal digits.
            "log" => {
                let bytes = from_hex(&std::fs::read_to_string(testdata().join(rest)).unwrap());
                assert_eq!(bytes[0], 8);
                let command = (DOMAIN.commands[0].decode)(&bytes[1..]).expect("it can be read");
                self.apply(&*command)
            }
            "state" => self.state(),
            _ => self.body(line, &[]),
        }
    }

    fn body(&mut self, body: &str, params: &[&str]) -> String {
        match self.call(body.as_bytes(), params) {
            Err(error) => format!("{:?}: {}\n", error.kind(), error.text()),
            Ok(Call::Read(read)) => {
                let state = self.store.snapshot();
                let found = read.query.evaluate(&self.who, &mut Reader::new(&state)).unwrap();
                let facts = ReadFacts {
                    index: found.index,
                    known_leader: true,
                    last_contact: Duration::ZERO,
                    removed: found.removed,
                };
                assert!(read.facts == Facts::Withheld && read.options.min_index == Index::ZERO);
                let Show::WithFacts(show) = read.show else { panic!("it shows facts") };
                print("read", show(&*found.reply, &facts, Encoding::Compact))
            }
            Ok(Call::Act(call)) => panic!("{} is no transaction", call.action.name()),
            Ok(Call::Write(write)) => {
                let checked = Authorized::command(write.command, &self.who, &self.store, self);
                let mut command = match checked {
                    Ok(authorized) => authorized.into_inner(),
                    Err(Refusal::Reply(reply)) => {
                        return print("refused", (write.show)(&*reply, Encoding::Compact));
                    }
                    Err(Refusal::Error(error)) => panic!("refusals are replies: {error}"),
                };
                LoneLeader { memory: self, ..LoneLeader::new(&self.store) }.lead(|leader| {
                    command.prepare(leader).unwrap();
                    assert!(command.answer(leader).unwrap().is_none());
                });
                self.apply(&*command)
            }
            Ok(Call::Answer(_)) => panic!("every transaction needs the state"),
        }
    }

    fn call(&self, body: &[u8], params: &[&str]) -> Result<Call, CallError> {
        let pairs = params.iter().map(|name| name.split_once('=').unwrap_or((name, "")));
        let request = Request {
            method: Method::PUT,
            path: "/v1/txn".to_owned(),
            tail: String::new(),
            params: Params::new(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()),
            headers: HeaderMap::new(),
            body: body.to_vec().into(),
            token: "".into(),
            remote: None,
            agent: Arc::new(AgentFacts {
                datacenter: "dc1".into(),
                node: "n".into(),
                kv_max_value_size: 1000,
                txn_max_req_len: 3000,
                discovery_max_stale: Duration::ZERO,
                connect: true,
                coordinates: true,
                indents: false,
            }),
        };
        (DOMAIN.routes[0].verbs[0].call)(&request)
    }

    /// Applies a command, from its bytes as well as typed: both must give the same.
    fn apply(&mut self, command: &dyn AnyCommand) -> String {
        self.index += 1;
        let index = Index(self.index);
        let before = self.store.snapshot();
        let bytes = command.encode();
        let again = (DOMAIN.commands[0].decode)(&bytes[1..]).expect("it was written here");
        assert_eq!(again.encode(), bytes, "what was read is written the same");
        let mut copy = store::State::clone(&before);
        let from_bytes = copy.fill(index, |tx| again.apply(tx)).unwrap();
        let reply = self.store.write(|batch| command.apply(&mut batch.tx(index))).unwrap();
        let typed = |reply: &dyn Any| reply.downcast_ref::<TxnReply>().unwrap().clone();
        assert_eq!(typed(&*from_bytes), typed(&*reply));
        let after = self.store.snapshot();
        assert_eq!(dump(&copy), dump(&after), "a log entry does what the typed command does");
        let reply = typed(&*reply);
        if !reply.errors.is_empty() {
            assert!(reply.results.is_empty());
            assert_eq!(dump(&before), dump(&after), "what is refused changes nothing");
        }
        let pruned = command.pruner()(&self.who, Box::new(reply));
        let text = print("write", endpoint::show_applied(&*pruned, Encoding::Compact));
        let deleted = self.store.write(|batch| {
            crate::session::take_lock_delays(&mut batch.tx(index))
                .into_iter()
                .map(|delay| delay.key)
                .collect::<Vec<_>>()
        });
        self.delayed.extend(deleted.iter().map(|key| key.to_string()));
        text
    }

    /// The keys, nodes, instances, checks and sessions that there are.
    fn state(&self) -> String {
        let state = self.store.snapshot();
        let mut text = String::new();
        for entry in state.prefix(&KVS, b"") {
            let value = String::from_utf8_lossy(&entry.value).into_owned();
            let _ = writeln!(text, "{} = {value:?} @{}", entry.key, entry.modify_index);
        }
        for node in state.prefix(&NODES, b"") {
            let _ = writeln!(text, "node {} @{}", node.node, node.modify_index);
        }
        for row in state.prefix(&SERVICES, b"") {
            let (service, index) = (&row.service.id, row.service.modify_index);
            let _ = writeln!(text, "service {service} on {} @{index}", row.node);
        }
        for check in state.prefix(&CHECKS, b"") {
            let (id, status) = (&check.check_id, &check.status);
            let _ = writeln!(text, "check {id} on {} {status} @{}", check.node, check.modify_index);
        }
        for session in state.prefix(&SESSIONS, b"") {
            let _ = writeln!(text, "session {}", session.id);
        }
        text
    }
}

/// Every row of the tables that a transaction can touch.
fn dump(state: &store::State) -> String {
    let mut text = format!("{:?}", state.prefix(&KVS, b"").collect::<Vec<_>>());
    let _ = write!(text, "{:?}", state.prefix(&TOMBSTONES, b"").collect::<Vec<_>>());
    let _ = write!(text, "{:?}", state.prefix(&NODES, b"").collect::<Vec<_>>());
    let _ = write!(text, "{:?}", state.prefix(&SERVICES, b"").collect::<Vec<_>>());
    let _ = write!(text, "{:?}", state.prefix(&CHECKS, b"").collect::<Vec<_>>());
    let _ = write!(text, "{:?}", state.prefix(&SESSIONS, b"").collect::<Vec<_>>());
    let _ = write!(text, "{:?}", state.prefix(&LOCK_DELAYS, b"").collect::<Vec<_>>());
    let _ = write!(text, "{:?}", state.prefix(&store::INDEXES, b"").collect::<Vec<_>>());
    text
}

/// The status, then a line for each result or error, then the facts of a read.
fn print(how: &str, response: Response) -> String {
    let Body::Json(bytes) = &response.body else { panic!("not JSON: {response:?}") };
    let body: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    let mut text = format!("{} {how}", response.status.as_u16());
    if how == "read" {
        let headers: Vec<&str> = response.headers.iter().map(|(_, value)| value.as_str()).collect();
        let _ = write!(text, " index {} known leader {}", body["Index"], headers[0]);
        if body["ResultsFilteredByACLs"] == true {
            text.push_str(" some are hidden");
        }
    }
    text.push('\n');
    for result in body["Results"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "  {result}");
    }
    for error in body["Errors"].as_array().into_iter().flatten() {
        let what = error["What"].as_str().unwrap().replace('\n', "\\n");
        let _ = writeln!(text, "  {}: {what}", error["OpIndex"]);
    }
    let nulls = [body["Results"].is_null(), body["Errors"].is_null()];
    assert_eq!(nulls, [response.status != 200, response.status == 200]);
    text
}

fn testdata() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/txn/testdata")
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| (byte as char).to_digit(16).expect("they were filtered") as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn run(script: &str) -> String {
    let mut world = World::new();
    let mut text = String::new();
    for line in script.lines() {
        if let Some(asked) = line.strip_prefix("> ") {
            let _ = write!(text, "{line}\n{}", world.line(asked));
        } else if line.starts_with('#') || line.is_empty() {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

#[test]
fn dialogues_are_as_recorded() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut seen = 0;
    for file in std::fs::read_dir(testdata()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let script = std::fs::read_to_string(&path).unwrap();
        let text = run(&script);
        if update {
            std::fs::write(&path, text).unwrap();
        } else {
            let lines = text.lines().zip(script.lines()).find(|(new, old)| new != old);
            assert!(text == script, "{}: {lines:#?}", path.display());
        }
        seen += 1;
    }
    assert!(seen >= 5, "dialogues are missing");
}

#[test]
fn a_transaction_that_is_refused_wakes_nobody() {
    let mut world = World::new();
    let state = world.store.snapshot();
    let mut reader = Reader::new(&state);
    let _ = reader.get(&KVS, b"a");
    let (watch, _) = world.store.subscribe(reader.into_watch_set());
    let set = r#"{"KV":{"Verb":"set","Key":"a"}}"#;
    world.body(&format!(r#"[{set},{{"KV":{{"Verb":"get","Key":"none"}}}}]"#), &[]);
    assert!(!watch.has_fired());
    world.body(&format!("[{set}]"), &[]);
    assert!(watch.has_fired());
}

#[test]
fn limits_are_told_with_their_numbers() {
    let error = |body: &str| match World::new().call(body.as_bytes(), &[]) {
        Err(error) => format!("{:?}: {}", error.kind(), error.text()),
        Ok(_) => "accepted".to_owned(),
    };
    let op = r#"{"KV":{"Verb":"get","Key":"k"}}"#;
    let short = r#"{"Node":{}}"#;
    let many = |op: &str, count: usize| format!("[{}]", vec![op; count].join(","));
    assert_eq!(error(&many(short, 128)), "accepted");
    // Empty operations are dropped, and count.
    assert_eq!(
        error(&many("{}", 129)),
        "TooLarge: Transaction contains too many operations (129 > 128)"
    );
    let body = many(op, 128);
    assert_eq!(
        error(&body),
        format!(
            "TooLarge: Request body({} bytes) too large, max size: 3000 bytes. See \
             https://developer.hashicorp.com/docs/agent/config/config-files#txn_max_req_len.",
            body.len()
        )
    );
    let value = |bytes: usize| {
        let value = "AAAA".repeat(bytes / 3);
        format!(r#"[{{"KV":{{"Verb":"set","Key":"k\"","Value":"{value}"}}}}]"#)
    };
    assert_eq!(error(&value(999)), "accepted");
    assert_eq!(
        error(&value(1002)),
        r#"TooLarge: Value for key "k\"" is too large (1002 > 1000 bytes)"#
    );
}

#[test]
fn a_log_entry_of_consul_says_what_its_request_said() {
    let bytes = from_hex(&std::fs::read_to_string(testdata().join("consul-1.8.7.hex")).unwrap());
    let command: TxnCommand = msgpack::from_slice(&bytes[1..]).expect("it can be read");
    assert_eq!(command.datacenter.as_str(), "dc1");
    let verbs: Vec<String> = command
        .ops
        .iter()
        .map(|op| match op {
            types::txn::TxnOp { kv: Some(op), .. } => format!("{} {}", op.verb, op.entry.key),
            types::txn::TxnOp { node: Some(op), .. } => format!("{} {}", op.verb, op.node.node),
            types::txn::TxnOp { service: Some(op), .. } => format!("{} {}", op.verb, op.service.id),
            types::txn::TxnOp { check: Some(op), .. } => {
                format!("{} {}", op.verb, op.check.check_id)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        "set golden/a",
        "lock golden/l",
        "cas golden/c",
        "get golden/a",
        "set tx",
        "set s1",
        "set c1",
        "delete golden/c",
    ];
    assert_eq!(verbs, expected);
    // Consul writes every field; ours leaves out what is empty, and both read the same.
    let again: TxnCommand = msgpack::from_slice(&msgpack::to_vec(&command)).unwrap();
    assert_eq!(again, command);
}
