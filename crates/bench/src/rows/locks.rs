//! Sessions, the locks that they hold, and transactions.

use std::rc::Rc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::kv::{CONNECTIONS, run};
use super::{Bench, noise};
use crate::line::{Line, Promise, Turn, Unit};
use crate::load::{Until, drive};
use crate::server::{Kind, Server};
use crate::wire::http::{self, Parser};
use crate::wire::{Dialogue, Script};

/// Operations of a transaction.
const OPERATIONS: usize = 10;
/// Transactions of each connection, on keys of their own.
const TRANSACTIONS: usize = 20;
/// Bytes of a value.
const VALUE: usize = 256;
/// What a session is made of: it depends on no check, and delays no lock.
const SESSION: &[u8] = br#"{"LockDelay":"0s","NodeChecks":[],"Checks":[]}"#;

/// 64 connections run transactions of ten operations on keys: ten writes, or ten reads.
pub(super) fn transactions(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let until = until(bench);
    let turns = bench.arguments.turns();
    let mut lines = Vec::new();
    for (work, verb) in [
        ("transactions of 10 KV sets, 64 connections, durable", "set"),
        ("transactions of 10 KV gets, 64 connections", "get"),
    ] {
        let cells = bench.fleet().take_turns(
            turns,
            |server| match server.kind {
                Kind::Etcd => Ok(()),
                Kind::Ours | Kind::Consul => {
                    run(server, Until::Done, |_, one| Script::once(requests("set", one)))
                        .map(|_| ())
                }
            },
            |server| match server.kind {
                Kind::Etcd => Ok(None),
                Kind::Ours | Kind::Consul => {
                    let script = |_, one| Script::forever(Rc::from(requests(verb, one)), 0);
                    run(server, until, script).map(Some)
                }
            },
        );
        let mut line = bench.line(work, Unit::PerSecond, Promise::default(), cells);
        line.note =
            "values of 256 bytes; a figure is of transactions, not of operations".to_owned();
        lines.push(line);
    }
    Ok(lines)
}

fn requests(verb: &str, connection: usize) -> Vec<Vec<u8>> {
    let operation = |number: usize| {
        let key = format!("txn/{connection:02}/{number:04}");
        let value = noise((connection * TRANSACTIONS * OPERATIONS + number) as u64, VALUE);
        match verb {
            "set" => json!({"KV": {"Verb": verb, "Key": key, "Value": STANDARD.encode(value)}}),
            _ => json!({"KV": {"Verb": verb, "Key": key}}),
        }
    };
    let transaction = |first: usize| {
        let operations: Vec<_> = (first..first + OPERATIONS).map(operation).collect();
        http::request("PUT", "/v1/txn", json!(operations).to_string().as_bytes())
    };
    (0..TRANSACTIONS).map(|number| transaction(number * OPERATIONS)).collect()
}

/// 64 connections take a lock of their own and give it back.
pub(super) fn locks(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let until = until(bench);
    let turns = bench.arguments.turns();
    let cells = bench.fleet().take_turns(
        turns,
        |_| Ok(()),
        |server| {
            if server.kind == Kind::Etcd {
                return Ok(None);
            }
            let sessions: anyhow::Result<Vec<String>> =
                (0..CONNECTIONS).map(|_| create_session(server)).collect();
            let sessions = sessions?;
            let script = |_, one: usize| {
                let lock = |how: &str| {
                    let path = format!("/v1/kv/lock/{one:02}?{how}={}", sessions[one]);
                    http::request("PUT", &path, b"holder")
                };
                Script::forever(Rc::from([lock("acquire"), lock("release")]), 0)
            };
            run(server, until, script).map(Some)
        },
    );
    let work = "lock acquire / release, 64 connections, durable";
    let mut line = bench.line(work, Unit::PerSecond, Promise::default(), cells);
    line.note =
        "PUT ?acquire and ?release in turn, a key and a session for each connection".to_owned();
    Ok(vec![line])
}

/// 64 connections make sessions and end them.
pub(super) fn sessions(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let until = until(bench);
    let turns = bench.arguments.turns();
    let cells = bench.fleet().take_turns(
        turns,
        |_| Ok(()),
        |server| {
            if server.kind == Kind::Etcd {
                return Ok(None);
            }
            let churns = (0..CONNECTIONS).map(|_| Churn::new()).collect();
            drive(server.address, server.pid(), churns, until).map(Turn::of_load).map(Some)
        },
    );
    let work = "session create / destroy churn, 64 connections, durable";
    let mut line = bench.line(work, Unit::PerSecond, Promise::default(), cells);
    line.note = "PUT /v1/session/create and destroy in turn".to_owned();
    Ok(vec![line])
}

fn until(bench: &Bench) -> Until {
    Until::Time { warm_up: bench.arguments.warm_up(), run: bench.arguments.run_time() }
}

fn create_session(server: &Server) -> anyhow::Result<String> {
    let answer = http::expect(server.address, "PUT", "/v1/session/create", SESSION)?;
    session_id(&answer.body)
}

fn session_id(body: &[u8]) -> anyhow::Result<String> {
    let created: serde_json::Value = serde_json::from_slice(body)?;
    let id = created["ID"].as_str().context("a session without an id")?;
    Ok(id.to_owned())
}

/// Makes a session and ends it, again and again.
#[derive(Debug)]
struct Churn {
    parser: Parser,
    /// The session that is there.
    session: Option<String>,
}

impl Churn {
    fn new() -> Self {
        Self { parser: Parser::new(true), session: None }
    }
}

impl Dialogue for Churn {
    fn open(&mut self, _out: &mut Vec<u8>) {}

    fn ask(&mut self, out: &mut Vec<u8>) -> bool {
        out.extend(match &self.session {
            None => http::request("PUT", "/v1/session/create", SESSION),
            Some(id) => http::request("PUT", &format!("/v1/session/destroy/{id}"), b""),
        });
        true
    }

    fn hear(&mut self, bytes: &[u8], _out: &mut Vec<u8>) -> anyhow::Result<Option<bool>> {
        let Some(used) = self.parser.feed(bytes)? else { return Ok(None) };
        anyhow::ensure!(used == bytes.len(), "the peer said more than it was asked");
        let is_good = self.parser.status == 200;
        self.session = match self.session.take() {
            None if is_good => Some(session_id(&self.parser.body)?),
            _ => None,
        };
        Ok(Some(is_good))
    }

    fn excuse(&self) -> String {
        format!("{} {}", self.parser.status, String::from_utf8_lossy(&self.parser.body))
    }
}
