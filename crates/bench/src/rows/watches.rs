//! Blocked queries: woken all at once, never woken for nothing, and what they cost while they wait.

use std::time::Duration;

use super::Bench;
use crate::herd::{Herd, Waiting};
use crate::line::{Cell, Line, Promise, Turn, Unit};
use crate::machine;
use crate::samples::Samples;
use crate::server::{KINDS, Kind, Server, Setup};
use crate::wire::{grpc, http};

/// Descriptors that neither side gives to the waiting connections.
const RESERVED: usize = 300;
/// Below so much more of a core than without watchers, waiting counts as free.
const IDLE_PERCENT: f64 = 0.5;

fn set(server: &Server, key: &str, value: &str) -> anyhow::Result<()> {
    http::expect(server.address, "PUT", &format!("/v1/kv/{key}"), value.as_bytes()).map(|_| ())
}

/// 10,000 connections wait for one key; it is written, again and again. The figure is when the last one heard of it, at
/// worst over all rounds; the details say it of half and of 99 % of the connections.
pub(super) fn fan_out(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let rounds = if bench.arguments.quick { 5 } else { 20 };
    let count = 10_000.min(bench.descriptors.saturating_sub(RESERVED));
    let cells =
        bench.fleet().take_turns(1, |_| Ok(()), |server| waves(server, count, rounds).map(Some));
    let promise = Promise { at_most: Some(50.0), ..Promise::default() };
    let work = format!("{count} blocked queries woken by one write: the last one, worst round");
    let mut line = bench.line(work, Unit::Milliseconds, promise, cells);
    line.note = format!(
        "{rounds} rounds on connections of their own (etcd: watches); arrivals are known to half a millisecond; \
         answers are read after the wave, so that the generator takes nothing from the server"
    );
    Ok(vec![line])
}

fn waves(server: &Server, count: usize, rounds: usize) -> anyhow::Result<Turn> {
    let (waiting, change): (Waiting, fn(usize) -> Vec<u8>) = match server.kind {
        Kind::Etcd => (Waiting::Watches(b"wave".to_vec()), |round| {
            [grpc::preface(), grpc::put(b"wave", format!("round {round}").as_bytes())].concat()
        }),
        Kind::Ours | Kind::Consul => {
            set(server, "wave", "before")?;
            (Waiting::Queries(vec!["/v1/kv/wave?x".to_owned()]), |round| {
                http::request("PUT", "/v1/kv/wave", format!("round {round}").as_bytes())
            })
        }
    };
    let mut herd = Herd::gather(server.address, count, waiting)?;
    machine::pause(Duration::from_secs(1));
    let (mut lasts, mut medians, mut nearly) = (Samples::default(), Vec::new(), Vec::new());
    let mut missing = 0;
    for round in 0..rounds {
        let mut wave = herd.wave(server.address, &change(round), Duration::from_secs(20))?;
        missing += wave.missing as u64;
        lasts.add(Duration::from_secs_f64(wave.latency.quantile_ms(1.0) / 1000.0));
        medians.push(wave.latency.quantile_ms(0.5));
        nearly.push(wave.latency.quantile_ms(0.99));
        machine::pause(Duration::from_millis(300));
    }
    Ok(Turn {
        p50_ms: Some(crate::samples::median(&medians)),
        p99_ms: Some(crate::samples::median(&nearly)),
        failures: missing,
        remark: format!("last one in the median round {:.1} ms", lasts.quantile_ms(0.5)),
        ..Turn::of(lasts.quantile_ms(1.0))
    })
}

/// 1,000 connections wait for keys, prefixes and services; others are changed 1,000 times. Then one watched key is
/// changed, to see that exactly one connection hears of it.
pub(super) fn unrelated(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let cells = bench.fleet().take_turns(
        1,
        |_| Ok(()),
        |server| if server.kind == Kind::Etcd { Ok(None) } else { disturb(server).map(Some) },
    );
    let promise = Promise { at_most: Some(0.0), ..Promise::default() };
    let work = "wake-ups of 1,000 blocked queries by 1,000 unrelated changes";
    let mut line = bench.line(work, Unit::Events, promise, cells);
    line.note = "queries for 100 keys, a prefix, and a service; changes of other keys, prefixes and services; \
                 what is counted is answers, and that one related change wakes its ten queries is checked"
        .to_owned();
    Ok(vec![line])
}

fn disturb(server: &Server) -> anyhow::Result<Turn> {
    let mut paths = Vec::new();
    for key in 0..80 {
        set(server, &format!("watched/{key}"), "before")?;
        paths.push(format!("/v1/kv/watched/{key}?x"));
    }
    set(server, "directory/one", "before")?;
    register(server, "watched", "watched-node")?;
    paths.extend((0..10).map(|_| "/v1/kv/directory/?recurse".to_owned()));
    paths.extend((0..10).map(|_| "/v1/health/service/watched?x".to_owned()));
    let mut herd = Herd::gather(server.address, 1000, Waiting::Queries(paths))?;
    machine::pause(Duration::from_millis(500));
    herd.forget();
    for round in 0..200 {
        for key in ["unrelated", "watched/800", "directories/one"] {
            set(server, key, &round.to_string())?;
        }
        http::expect(server.address, "DELETE", "/v1/kv/unrelated", b"")?;
        register(server, &format!("other-{}", round % 10), "other-node")?;
    }
    let woken = herd.listen(Duration::from_millis(500))?;
    herd.forget();
    set(server, "watched/1", "after")?;
    let related = herd.listen(Duration::from_millis(500))?;
    anyhow::ensure!(related == 10, "a change of one key woke {related} queries instead of its ten");
    #[expect(clippy::cast_precision_loss, reason = "at most a thousand")]
    Ok(Turn::of(woken as f64))
}

fn register(server: &Server, service: &str, node: &str) -> anyhow::Result<()> {
    let body = serde_json::json!({
        "Node": node, "Address": "10.1.1.1", "Service": { "ID": service, "Service": service, "Port": 80 },
    });
    http::expect(server.address, "PUT", "/v1/catalog/register", body.to_string().as_bytes())
        .map(|_| ())
}

/// 100,000 connections (fewer where a process may not open so many files) wait for 100 keys that nobody writes: what
/// memory the server needs for each, and what processor time for all, more than without them.
pub(super) fn idle(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let count = 100_000.min(bench.descriptors.saturating_sub(RESERVED));
    let watch_for = Duration::from_secs(if bench.arguments.quick { 5 } else { 20 });
    let (mut memory, mut processor) = (Vec::new(), Vec::new());
    for kind in KINDS {
        let measured = match kind {
            Kind::Etcd => Err("–".to_owned()),
            Kind::Ours | Kind::Consul => {
                bench.start(kind, Setup::Durable, None).and_then(|server| {
                    wait_idly(&server, count, watch_for)
                        .map_err(|error| format!("failed: {error:#}"))
                })
            }
        };
        let (each, cores) = match measured {
            Ok((each, cores)) => (Cell::Measured(vec![each]), Cell::Measured(vec![cores])),
            Err(reason) => (Cell::Absent(reason.clone()), Cell::Absent(reason)),
        };
        memory.push(each);
        processor.push(cores);
    }
    let promise = |most| Promise { at_most: Some(most), ..Promise::default() };
    let work = format!("{count} idle blocked queries: memory");
    let mut lines = vec![bench.line(work, Unit::KilobytesEach, promise(12.0), memory)];
    let work =
        format!("{count} idle blocked queries: processor time beyond that of the idle server");
    lines.push(bench.line(work, Unit::PercentOfCore, promise(IDLE_PERCENT), processor));
    if count < 100_000 {
        lines[0].note = format!(
            "promised for 100,000; a process may open only {} files here",
            bench.descriptors
        );
    }
    lines[1].note =
        format!("promised is 0 %; processor time is counted in steps of 10 ms over {watch_for:?}");
    Ok(lines)
}

fn wait_idly(server: &Server, count: usize, time: Duration) -> anyhow::Result<(Turn, Turn)> {
    let mut paths = Vec::new();
    for key in 0..100 {
        set(server, &format!("idle/{key}"), "value")?;
        paths.push(format!("/v1/kv/idle/{key}?x"));
    }
    machine::pause(Duration::from_secs(3));
    let before = server.resident()?;
    let alone = percent(server, time)?;
    let mut herd = Herd::gather(server.address, count, Waiting::Queries(paths))?;
    machine::pause(Duration::from_secs(3));
    herd.forget();
    let after = server.resident()?;
    let crowded = percent(server, time)?;
    let woken = herd.listen(Duration::from_millis(50))?;
    anyhow::ensure!(woken == 0, "{woken} queries were answered though nothing changed");
    #[expect(clippy::cast_precision_loss, reason = "memory sizes and counts are far below 2^52")]
    let each = after.saturating_sub(before) as f64 / herd.count().max(1) as f64 / 1000.0;
    let memory = Turn {
        remark: format!(
            "resident {:.1} MB, without them {:.1} MB",
            super::megabytes(after),
            super::megabytes(before)
        ),
        ..Turn::of(each)
    };
    let processor = Turn {
        remark: format!("{crowded:.1} % of a core, without them {alone:.1} %"),
        ..Turn::of((crowded - alone).max(0.0))
    };
    Ok((memory, processor))
}

/// Processor time over some time, in percent of one core.
fn percent(server: &Server, time: Duration) -> anyhow::Result<f64> {
    let before = machine::processor_time(server.pid())?;
    machine::pause(time);
    let used = machine::processor_time(server.pid())?.saturating_sub(before);
    Ok(used.as_secs_f64() / time.as_secs_f64() * 100.0)
}
