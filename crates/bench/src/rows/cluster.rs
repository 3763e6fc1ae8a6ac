//! Three servers: what replication costs, and what a lost or restarted server costs.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Bench, kv, noise};
use crate::cluster::{self, Cluster};
use crate::line::{Cell, Line, Promise, Turn, Unit};
use crate::load::Until;
use crate::machine;
use crate::samples::Samples;
use crate::server::{KINDS, Kind};

/// Writers at work while servers come and go.
const WRITERS: usize = 8;

/// Between two tries of a writer that was refused.
const BREATH: Duration = Duration::from_millis(5);

/// 64 connections write through the leader, and through a follower.
pub(super) fn put(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (work, by_leader) in [
        ("three servers: KV PUT through the leader, 64 connections", true),
        ("three servers: KV PUT through a follower, 64 connections", false),
    ] {
        let cells =
            load(bench, by_leader, |until, cluster, server| turn(cluster, server, until, kv::puts));
        lines.push(bench.line(work, Unit::PerSecond, Promise::default(), cells));
    }
    Ok(lines)
}

/// 64 connections read: from the leader, through a follower, and what a follower has.
pub(super) fn get(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (work, by_leader, stale) in [
        ("three servers: KV GET default at the leader, 64 connections", true, false),
        ("three servers: KV GET default through a follower, 64 connections", false, false),
        ("three servers: KV GET stale at a follower, 64 connections", false, true),
    ] {
        let cells = load(bench, by_leader, |until, cluster, server| {
            turn(cluster, server, Until::Done, kv::puts_once)?;
            turn(cluster, server, until, |kind, one| kv::gets(kind, one, stale))
        });
        lines.push(bench.line(work, Unit::PerSecond, Promise::default(), cells));
    }
    Ok(lines)
}

fn turn(
    cluster: &Cluster,
    server: usize,
    until: Until,
    script: impl Fn(Kind, usize) -> crate::wire::Script,
) -> anyhow::Result<Turn> {
    let (address, pid) = (cluster.address(server), cluster.pid(server)?);
    kv::run_at(cluster.kind, address, pid, until, script)
}

/// Each program's three servers by themselves: nine at once would measure the machine.
fn load(
    bench: &Bench,
    by_leader: bool,
    measure: impl Fn(Until, &Cluster, usize) -> anyhow::Result<Turn>,
) -> Vec<Cell> {
    let arguments = &bench.arguments;
    let until = Until::Time { warm_up: arguments.warm_up(), run: arguments.run_time() };
    each(bench, |cluster| {
        let mut turns = Vec::new();
        for _ in 0..arguments.turns() {
            let leader = cluster.until_leader()?;
            let server = if by_leader { leader } else { (leader + 1) % cluster.len() };
            turns.push(measure(until, cluster, server)?);
        }
        Ok(turns)
    })
}

fn each(
    bench: &Bench,
    mut measure: impl FnMut(&mut Cluster) -> anyhow::Result<Vec<Turn>>,
) -> Vec<Cell> {
    let measured = KINDS.map(|kind| match bench.start_three(kind) {
        Err(reason) => Cell::Absent(reason),
        Ok(mut cluster) => match measure(&mut cluster) {
            Ok(turns) => Cell::Measured(turns),
            Err(error) => Cell::Absent(format!("failed: {error:#}")),
        },
    });
    measured.into()
}

/// The leader is killed (-9) again and again under eight writers: how long until a write that
/// began after the kill is acknowledged, through whichever server.
pub(super) fn leader_killed(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let kills = if bench.arguments.quick { 10 } else { 50 };
    let mut worst: Vec<Cell> = Vec::new();
    let cells = each(bench, |cluster| {
        let mut gaps = Samples::default();
        for _ in 0..kills {
            gaps.add(kill_leader(cluster)?);
        }
        let turn = |share: f64, gaps: &mut Samples| Turn {
            remark: format!("{kills} kills, the longest gap {:.0} ms", gaps.quantile_ms(1.0)),
            ..Turn::of(gaps.quantile_ms(share))
        };
        worst.push(Cell::Measured(vec![turn(0.99, &mut gaps)]));
        Ok(vec![turn(0.5, &mut gaps)])
    });
    // A program that has no figure at all has none for the worst either.
    let mut measured = worst.into_iter();
    let worst = cells.iter().map(|cell| match cell {
        Cell::Measured(_) => measured.next().unwrap_or_else(|| Cell::Absent("–".to_owned())),
        Cell::Absent(reason) => Cell::Absent(reason.clone()),
    });
    let worst: Vec<Cell> = worst.collect();
    let promise = Promise { at_most: Some(500.0), ..Promise::default() };
    let note = "raft_multiplier 1; etcd with its defaults".to_owned();
    let none = Promise::default();
    let mut middle =
        bench.line("leader killed under load: write gap, p50", Unit::Milliseconds, none, cells);
    let mut last =
        bench.line("leader killed under load: write gap, p99", Unit::Milliseconds, promise, worst);
    (middle.note, last.note) = (note.clone(), note);
    Ok(vec![middle, last])
}

fn kill_leader(cluster: &mut Cluster) -> anyhow::Result<Duration> {
    let leader = cluster.until_leader()?;
    let kind = cluster.kind;
    let others: Vec<SocketAddr> = (0..cluster.len())
        .filter(|number| *number != leader)
        .map(|number| cluster.address(number))
        .collect();
    let writers = Writers::default();
    let (killed, acknowledged) = std::thread::scope(|scope| {
        for number in 0..WRITERS {
            let (writers, address) = (&writers, others[number % others.len()]);
            scope.spawn(move || writers.write(kind, number, || address));
        }
        // Under load, and not at its beginning.
        machine::pause(Duration::from_millis(200));
        let killed = Instant::now();
        let outcome = cluster.kill(leader);
        let acknowledged = outcome.and_then(|()| writers.until_acknowledged_since(killed));
        writers.is_over.store(true, Ordering::SeqCst);
        (killed, acknowledged)
    });
    let gap = acknowledged?.duration_since(killed);
    cluster.start_one(leader)?;
    cluster.until_follows(leader)?;
    Ok(gap)
}

/// Each server is stopped and started again, as for an upgrade, under eight writers: the
/// longest time without an acknowledged write, and how many writes failed.
pub(super) fn rolling_restart(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let rounds = if bench.arguments.quick { 1 } else { 3 };
    let cells = each(bench, |cluster| {
        let mut turns = Vec::new();
        for _ in 0..rounds {
            turns.push(restart_all(cluster)?);
        }
        Ok(turns)
    });
    let work = "rolling restart under load: longest write gap";
    let mut line = bench.line(work, Unit::Milliseconds, Promise::default(), cells);
    line.note =
        "failed requests: those of writers whose server was stopped are among them".to_owned();
    Ok(vec![line])
}

fn restart_all(cluster: &mut Cluster) -> anyhow::Result<Turn> {
    let kind = cluster.kind;
    let addresses: Vec<SocketAddr> =
        (0..cluster.len()).map(|number| cluster.address(number)).collect();
    let (writers, addresses) = (Writers::default(), &addresses);
    let outcome = std::thread::scope(|scope| {
        for number in 0..WRITERS {
            let writers = &writers;
            let mut at = number;
            scope.spawn(move || {
                writers.write(kind, number, || {
                    // The next one whenever it asks again.
                    at += 1;
                    addresses[at % addresses.len()]
                });
            });
        }
        machine::pause(Duration::from_millis(500));
        let restarted = (0..cluster.len()).try_for_each(|number| {
            cluster.stop(number)?;
            cluster.start_one(number)?;
            cluster.until_follows(number)
        });
        machine::pause(Duration::from_millis(500));
        writers.is_over.store(true, Ordering::SeqCst);
        restarted
    });
    outcome?;
    let done = writers.done();
    let gaps = done.acknowledged.windows(2).map(|pair| pair[1].1.duration_since(pair[0].1));
    let longest = gaps.max().unwrap_or_default();
    let mut turn = Turn::of(longest.as_secs_f64() * 1000.0);
    turn.failures = done.failed;
    turn.remark = format!("{} writes", done.acknowledged.len());
    Ok(turn)
}

/// Writers, each with one write after the other.
#[derive(Debug, Default)]
struct Writers {
    is_over: AtomicBool,
    done: Mutex<Done>,
}

#[derive(Debug, Default, Clone)]
struct Done {
    /// When each acknowledged write began and ended, in the order of their ends.
    acknowledged: Vec<(Instant, Instant)>,
    failed: u64,
}

impl Writers {
    fn write(&self, kind: Kind, number: usize, mut server: impl FnMut() -> SocketAddr) {
        let key = format!("cluster/writer/{number}");
        let value = noise(number as u64, 256);
        let mut address = server();
        while !self.is_over.load(Ordering::SeqCst) {
            let began = Instant::now();
            if cluster::put(kind, address, &key, &value) {
                let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
                done.acknowledged.push((began, Instant::now()));
            } else {
                self.done.lock().unwrap_or_else(PoisonError::into_inner).failed += 1;
                address = server();
                machine::pause(BREATH);
            }
        }
    }

    fn done(&self) -> Done {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the acknowledgement of a write that began after `since`.
    fn until_acknowledged_since(&self, since: Instant) -> anyhow::Result<Instant> {
        while since.elapsed() < Duration::from_secs(60) {
            let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            let found = done.acknowledged.iter().rev().filter(|(began, _)| *began > since);
            if let Some(first) = found.map(|(_, ended)| *ended).min() {
                return Ok(first);
            }
            drop(done);
            machine::pause(Duration::from_millis(1));
        }
        anyhow::bail!("no write was acknowledged within a minute")
    }
}
