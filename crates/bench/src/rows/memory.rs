//! What a server needs while it does nothing, and for many keys.

use std::time::Duration;

use base64::Engine as _;

use super::{Bench, megabytes, noise};
use crate::line::{Cell, Line, Promise, Turn, Unit};
use crate::load::{Until, drive};
use crate::machine;
use crate::server::{KINDS, Kind, Server, Setup};
use crate::wire::Script;
use crate::wire::grpc::{self, Calls};
use crate::wire::http::{self, Requests};

/// Bytes of a key and of a value.
const KEY: usize = 64;
const VALUE: usize = 256;
/// Connections that load.
const LOADERS: usize = 8;
/// Keys in one transaction: what Consul allows, and half of it for etcd to fit into one frame.
const PER_TXN: usize = 64;

/// Resident memory ten seconds after the start (five in a short run), with its default settings.
pub(super) fn idle(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let settle = Duration::from_secs(if bench.arguments.quick { 5 } else { 10 });
    let mut cells = Vec::new();
    for kind in KINDS {
        let setup = if kind == Kind::Etcd { Setup::Durable } else { Setup::Dev };
        cells.push(match bench.start(kind, setup, None) {
            Err(reason) => Cell::Absent(reason),
            Ok(server) => {
                machine::pause(settle);
                Cell::Measured(vec![Turn::of(megabytes(server.resident()?))])
            }
        });
    }
    let promise = Promise { at_most: Some(15.0), ..Promise::default() };
    let mut line = bench.line("idle memory of an agent (-dev)", Unit::Megabytes, promise, cells);
    line.note =
        format!("VmRSS {settle:?} after the leader is known, pages of the program file included");
    Ok(vec![line])
}

/// A million keys of 64 bytes with values of 256 (200,000 in a short run), loaded by transactions into a server with a
/// data directory: resident memory against the raw data.
pub(super) fn many_keys(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let keys = if bench.arguments.quick { 200_000 } else { 1_000_000 };
    let mut cells = Vec::new();
    for kind in KINDS {
        let loaded = bench
            .start(kind, Setup::Durable, None)
            .and_then(|server| load(&server, keys).map_err(|error| format!("failed: {error:#}")));
        cells.push(loaded.map_or_else(Cell::Absent, |turn| Cell::Measured(vec![turn])));
    }
    let promise = Promise { at_most: Some(1.5), ..Promise::default() };
    let work = format!("memory of {keys} keys (64 B key, 256 B value)");
    let mut line = bench.line(work, Unit::TimesRaw, promise, cells);
    line.note = "VmRSS ten seconds after the load; etcd keeps values in a mapped file".to_owned();
    Ok(vec![line])
}

fn load(server: &Server, keys: usize) -> anyhow::Result<Turn> {
    let before = server.resident()?;
    let per_txn = load_keys(server, keys)?;
    machine::pause(Duration::from_secs(10));
    let (raw, after) = ((keys * pair_bytes()) as u64, server.resident()?);
    Ok(Turn {
        remark: format!(
            "resident {:.0} MB for {:.0} MB of raw data, before it {:.0} MB; {per_txn} keys in a request",
            megabytes(after),
            megabytes(raw),
            megabytes(before)
        ),
        ..Turn::of(megabytes(after) / megabytes(raw))
    })
}

/// Bytes of a key with its value.
pub(super) fn pair_bytes() -> usize {
    KEY + VALUE
}

/// Loads keys into a server; returns how many went with a request.
pub(super) fn load_keys(server: &Server, keys: usize) -> anyhow::Result<usize> {
    let (per_txn, loaders) = match server.kind {
        Kind::Etcd => (PER_TXN / 2, LOADERS),
        Kind::Ours | Kind::Consul if has_transactions(server)? => (PER_TXN, LOADERS),
        Kind::Ours | Kind::Consul => (1, LOADERS * 8),
    };
    // In portions, so that the generator does not hold all transactions at once.
    for portion in 0..keys.div_ceil(PER_TXN * 1000) {
        let from = portion * PER_TXN * 1000;
        let to = (from + PER_TXN * 1000).min(keys);
        let mut scripts = vec![Vec::new(); loaders];
        for (number, first) in (from..to).step_by(per_txn).enumerate() {
            let last = (first + per_txn).min(to);
            scripts[number % loaders].push(transaction(server.kind, first, last));
        }
        let scripts = scripts.into_iter().map(Script::once);
        let (address, pid) = (server.address, server.pid());
        let load = match server.kind {
            Kind::Etcd => drive(address, pid, scripts.map(Calls::new).collect(), Until::Done)?,
            Kind::Ours | Kind::Consul => {
                drive(address, pid, scripts.map(Requests::new).collect(), Until::Done)?
            }
        };
        anyhow::ensure!(load.failures == 0, "{} transactions failed", load.failures);
    }
    Ok(per_txn)
}

/// Whether `/v1/txn` is there: keys are loaded one by one if it is not.
fn has_transactions(server: &Server) -> anyhow::Result<bool> {
    Ok(http::call(server.address, "PUT", "/v1/txn", b"[]")?.status != 501)
}

fn transaction(kind: Kind, first: usize, last: usize) -> Vec<u8> {
    let pairs: Vec<(String, Vec<u8>)> = (first..last).map(pair).collect();
    if kind == Kind::Etcd {
        return grpc::put_many(pairs.iter().map(|(key, value)| (key.as_bytes(), value.as_slice())));
    }
    if let [(key, value)] = pairs.as_slice() {
        return http::request("PUT", &format!("/v1/kv/{key}"), value);
    }
    let operations: Vec<serde_json::Value> = pairs
        .iter()
        .map(|(key, value)| {
            let value = base64::engine::general_purpose::STANDARD.encode(value);
            serde_json::json!({ "KV": { "Verb": "set", "Key": key, "Value": value } })
        })
        .collect();
    http::request("PUT", "/v1/txn", serde_json::Value::Array(operations).to_string().as_bytes())
}

/// Key and value with this number: keys share directories of a thousand.
fn pair(number: usize) -> (String, Vec<u8>) {
    let key = format!(
        "{:<0width$}",
        format!("many/{:06}/{:03}/", number / 1000, number % 1000),
        width = KEY
    );
    let key = key.replace(' ', "-");
    (key, noise(number as u64, VALUE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_have_the_promised_size_and_differ() {
        let keys: std::collections::BTreeSet<String> =
            (0..2000).map(|number| pair(number).0).collect();
        assert_eq!(keys.len(), 2000);
        assert!(keys.iter().all(|key| key.len() == KEY));
        assert_eq!(pair(7).1.len(), VALUE);
    }

    #[test]
    fn a_transaction_for_etcd_fits_into_one_frame() {
        assert!(transaction(Kind::Etcd, 0, PER_TXN / 2).len() < 16 * 1024);
    }
}
