//! Saving and restoring the state of many keys, over HTTP.

use std::time::Instant;

use super::memory::{load_keys, pair_bytes};
use super::{Bench, megabytes};
use crate::line::{Cell, Line, Promise, Turn, Unit};
use crate::machine;
use crate::server::{KINDS, Kind, Server, Setup};
use crate::wire::http;

/// What is measured, and in what.
const FIGURES: [(&str, Unit); 4] = [
    ("snapshot: save", Unit::Milliseconds),
    ("snapshot: memory on top while saving", Unit::Megabytes),
    ("snapshot: restore", Unit::Milliseconds),
    ("snapshot: memory on top while restoring", Unit::Megabytes),
];

/// A million keys of 64 bytes with values of 256 (200,000 in a short run): the time from asking for the archive to its
/// last byte, and from sending it back to the answer; and how much more memory the server needs at its peak than before.
pub(super) fn save_and_restore(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let keys = if bench.arguments.quick { 200_000 } else { 1_000_000 };
    let mut columns: Vec<Result<[Turn; 4], String>> = Vec::new();
    for kind in KINDS {
        columns.push(match kind {
            Kind::Etcd => Err("–".to_owned()),
            Kind::Ours | Kind::Consul => {
                bench.start(kind, Setup::Durable, None).and_then(|server| {
                    measure(&server, keys).map_err(|error| format!("failed: {error:#}"))
                })
            }
        });
    }
    let lines = FIGURES.iter().enumerate().map(|(number, (what, unit))| {
        let cells = columns.iter().map(|column| match column {
            Ok(turns) => Cell::Measured(vec![turns[number].clone()]),
            Err(reason) => Cell::Absent(reason.clone()),
        });
        let work = format!("{what}, {keys} keys (64 B key, 256 B value)");
        bench.line(work, *unit, Promise::default(), cells.collect())
    });
    Ok(lines.collect())
}

fn measure(server: &Server, keys: usize) -> anyhow::Result<[Turn; 4]> {
    load_keys(server, keys)?;
    let (save_ms, save_mb, archive) = watched(server, "GET", b"")?;
    let raw = megabytes((keys * pair_bytes()) as u64);
    let size =
        format!("archive of {:.0} MB for {raw:.0} MB of raw data", megabytes(archive.len() as u64));
    let (restore_ms, restore_mb, _) = watched(server, "PUT", &archive)?;
    Ok([
        Turn { remark: size, ..Turn::of(save_ms) },
        Turn::of(save_mb),
        Turn::of(restore_ms),
        Turn::of(restore_mb),
    ])
}

/// Milliseconds, megabytes beyond those before, and the answer.
fn watched(server: &Server, method: &str, body: &[u8]) -> anyhow::Result<(f64, f64, Vec<u8>)> {
    machine::reset_peak(server.pid())?;
    let before = server.resident()?;
    let started = Instant::now();
    let answer = http::expect(server.address, method, "/v1/snapshot", body)?;
    let took = started.elapsed();
    let peak = machine::peak(server.pid())?;
    Ok((took.as_secs_f64() * 1e3, megabytes(peak.saturating_sub(before)), answer.body))
}
