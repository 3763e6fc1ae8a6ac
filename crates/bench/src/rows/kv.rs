//! Keys and values: writes that are on disk when answered, and reads.

use std::net::SocketAddr;
use std::rc::Rc;

use super::{Bench, Fleet, noise};
use crate::line::{Cell, Line, Promise, Turn, Unit};
use crate::load::{Until, drive};
use crate::server::{Kind, Server};
use crate::wire::Script;
use crate::wire::grpc::{self, Calls};
use crate::wire::http::{self, Requests};

/// Connections of a load, each with one request under way.
pub(super) const CONNECTIONS: usize = 64;
/// Keys of each connection.
const KEYS: usize = 100;
/// Bytes of a value.
const VALUE: usize = 256;

/// 64 connections write values of 256 bytes to 6,400 keys; an answered write has been synced.
pub(super) fn put(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let arguments = bench.arguments.clone();
    let until = Until::Time { warm_up: arguments.warm_up(), run: arguments.run_time() };
    let cells = writes(bench.fleet(), arguments.turns(), until);
    let promise = Promise { times_consul: Some(4.0), times_etcd: Some(1.5), at_most: None };
    let mut line = bench.line("KV PUT, 64 connections, durable", Unit::PerSecond, promise, cells);
    line.note = "values of 256 bytes; Consul and ours over HTTP, etcd over gRPC".to_owned();
    Ok(vec![line])
}

/// The same with each fsync and fdatasync taking 2 ms longer, for every program by the same means.
pub(super) fn put_slow_disk(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let arguments = bench.arguments.clone();
    let until = Until::Time { warm_up: arguments.warm_up(), run: arguments.run_time() };
    let cells = match bench.slow_fleet() {
        Ok(fleet) => writes(&fleet, arguments.turns(), until),
        Err(error) => vec![Cell::Absent(format!("{error:#}")); 3],
    };
    let promise = Promise { times_consul: Some(3.0), ..Promise::default() };
    let work = "KV PUT, 64 connections, durable, each sync 2 ms longer";
    let mut line = bench.line(work, Unit::PerSecond, promise, cells);
    line.note =
        "fsync and fdatasync of each program are held up by 2 ms (crates/bench/src/delay.c)"
            .to_owned();
    Ok(vec![line])
}

fn writes(fleet: &Fleet, turns: usize, until: Until) -> Vec<Cell> {
    fleet.take_turns(turns, |_| Ok(()), |server| run(server, until, puts).map(Some))
}

/// 64 connections read 6,400 keys; by default (the leader answers, knowing that it is one) and stale (any server answers;
/// etcd: serializable).
pub(super) fn get(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let arguments = bench.arguments.clone();
    let until = Until::Time { warm_up: arguments.warm_up(), run: arguments.run_time() };
    let mut lines = Vec::new();
    for (work, stale) in
        [("KV GET default, 64 connections", false), ("KV GET stale, 64 connections", true)]
    {
        let cells = bench.fleet().take_turns(
            arguments.turns(),
            |server| run(server, Until::Done, puts_once).map(|_| ()),
            |server| run(server, until, |kind, one| gets(kind, one, stale)).map(Some),
        );
        let promise = Promise { times_consul: Some(5.0), ..Promise::default() };
        let mut line = bench.line(work, Unit::PerSecond, promise, cells);
        let mode = if stale { "serializable" } else { "linearizable" };
        line.note = format!("values of 256 bytes; etcd over gRPC, {mode}");
        lines.push(line);
    }
    Ok(lines)
}

/// Runs one load with the script of each connection.
pub(super) fn run(
    server: &Server,
    until: Until,
    script: impl Fn(Kind, usize) -> Script,
) -> anyhow::Result<Turn> {
    run_at(server.kind, server.address, server.pid(), until, script)
}

/// The same with the server in parts.
pub(super) fn run_at(
    kind: Kind,
    address: SocketAddr,
    pid: u32,
    until: Until,
    script: impl Fn(Kind, usize) -> Script,
) -> anyhow::Result<Turn> {
    let scripts = (0..CONNECTIONS).map(|one| script(kind, one));
    let load = match kind {
        Kind::Etcd => drive(address, pid, scripts.map(Calls::new).collect(), until),
        Kind::Ours | Kind::Consul => {
            drive(address, pid, scripts.map(Requests::new).collect(), until)
        }
    };
    load.map(Turn::of_load)
}

fn key(connection: usize, key: usize) -> String {
    format!("bench/{connection:02}/{key:04}")
}

fn put_requests(kind: Kind, connection: usize) -> Vec<Vec<u8>> {
    let render = |number| {
        let (key, value) =
            (key(connection, number), noise((connection * KEYS + number) as u64, VALUE));
        match kind {
            Kind::Etcd => grpc::put(key.as_bytes(), &value),
            Kind::Ours | Kind::Consul => http::request("PUT", &format!("/v1/kv/{key}"), &value),
        }
    };
    (0..KEYS).map(render).collect()
}

pub(super) fn puts(kind: Kind, connection: usize) -> Script {
    Script::forever(put_requests(kind, connection).into(), 0)
}

pub(super) fn puts_once(kind: Kind, connection: usize) -> Script {
    Script::once(put_requests(kind, connection))
}

pub(super) fn gets(kind: Kind, connection: usize, stale: bool) -> Script {
    let render = |number| {
        let key = key(connection, number);
        match kind {
            Kind::Etcd => grpc::range(key.as_bytes(), stale),
            Kind::Ours | Kind::Consul => {
                let query = if stale { "?stale" } else { "" };
                http::request("GET", &format!("/v1/kv/{key}{query}"), b"")
            }
        }
    };
    let requests: Vec<Vec<u8>> = (0..KEYS).map(render).collect();
    Script::forever(Rc::from(requests), 0)
}
