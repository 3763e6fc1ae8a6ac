//! Gossip pools of many agents on one machine: what they cost at rest, how long news takes to get around, and who is
//! wrongly taken for failed when some agents are starved. Beside ours and Consul's agents there are serf's.

use std::time::{Duration, Instant};

use super::{Bench, megabytes};
use crate::line::{Cell, Line, Promise, Turn, Unit};
use crate::machine;
use crate::pool::{GOSSIPS, Gossip, News, Pool, Told};
use crate::samples::{Samples, median};

/// A starved agent works for so long at a time...
const WORK_MS: std::ops::Range<u64> = 50..300;

/// ... and stands still for so long in between.
const STILL_MS: std::ops::Range<u64> = 500..6_000;

/// How many agents of a kind: real Consul's need so much memory that there are fewer of them.
fn count(bench: &Bench, kind: Gossip) -> usize {
    match (kind, bench.arguments.quick) {
        (Gossip::Consul, false) => 50,
        (Gossip::Consul, true) => 20,
        (_, false) => 200,
        (_, true) => 60,
    }
}

/// The lines of a row: what is measured of each program in turn, for each line.
fn lines<const N: usize>(
    bench: &Bench,
    works: [(&str, Unit); N],
    note: &str,
    measure: impl Fn(&mut Pool) -> anyhow::Result<[Vec<Turn>; N]>,
) -> Vec<Line> {
    let [ours, consul, serf] = GOSSIPS.map(|kind| {
        let pool = bench.start_pool(kind, count(bench, kind));
        pool.and_then(|mut pool| measure(&mut pool).map_err(|error| format!("failed: {error:#}")))
    });
    let [many, fewer, serfs] = GOSSIPS.map(|kind| count(bench, kind));
    let works = works.into_iter().enumerate();
    let lines = works.map(|(place, (work, unit))| {
        let cell = |measured: &Result<[Vec<Turn>; N], String>| match measured {
            Ok(turns) => Cell::Measured(turns[place].clone()),
            Err(reason) => Cell::Absent(reason.clone()),
        };
        let cells = vec![cell(&ours), cell(&consul), Cell::Absent("–".to_owned())];
        let mut line = bench.line(work, unit, Promise::default(), cells);
        line.serf = Some(cell(&serf));
        line.note = format!(
            "pools of {many} agents of ours, {fewer} of Consul and {serfs} of serf, with the timings of a local network; \
             Consul's and ours are a server and its clients; {note}"
        );
        line
    });
    lines.collect()
}

/// What a client agent in a settled pool needs: memory, its own alone, and processor time.
pub(super) fn at_rest(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let watched = Duration::from_secs(if bench.arguments.quick { 15 } else { 60 });
    let settle = Duration::from_secs(if bench.arguments.quick { 10 } else { 30 });
    let works = [
        ("a client agent in a pool at rest: memory", Unit::Megabytes),
        ("a client agent in a pool at rest: memory, its share of what is shared", Unit::Megabytes),
        ("a client agent in a pool at rest: processor time", Unit::PercentOfCoreEach),
    ];
    let note = format!("over {watched:?}; the medians of all agents' VmRSS and Pss");
    Ok(lines(bench, works, &note, |pool| {
        machine::pause(settle);
        // The first is a server.
        let pids: Vec<u32> = pool
            .running()
            .into_iter()
            .skip(1)
            .map(|number| pool.pid(number))
            .collect::<Result<_, _>>()?;
        let used = |pids: &[u32]| {
            pids.iter().map(|pid| machine::processor_time(*pid)).sum::<anyhow::Result<Duration>>()
        };
        let (before, since) = (used(&pids)?, Instant::now());
        machine::pause(watched);
        let share = (used(&pids)? - before).as_secs_f64() / since.elapsed().as_secs_f64();
        let memory = |read: fn(u32) -> anyhow::Result<u64>| -> anyhow::Result<f64> {
            let all: Vec<f64> =
                pids.iter().map(|pid| read(*pid).map(megabytes)).collect::<Result<_, _>>()?;
            Ok(median(&all))
        };
        #[expect(clippy::cast_precision_loss, reason = "some hundred agents")]
        let each = share * 100.0 / pids.len() as f64;
        let all = Turn { remark: format!("all together {:.1} %", share * 100.0), ..Turn::of(each) };
        Ok([
            vec![Turn::of(memory(machine::resident)?)],
            vec![Turn::of(memory(machine::proportional)?)],
            vec![all],
        ])
    }))
}

/// An agent joins: how long from the first to the last who knows of it.
pub(super) fn join(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let turns = if bench.arguments.quick { 5 } else { 10 };
    let works = [("a new agent: from the first to the last who knows of it", Unit::Milliseconds)];
    Ok(lines(bench, works, "logs are looked at every 5 ms", |pool| {
        let mut done = Vec::new();
        for _ in 0..turns {
            let (new, others) = (pool.spare()?, pool.running());
            pool.run(new)?;
            let mut times = until_known(pool, News::Join, new, &others)?;
            let first = times.quantile_ms(0.0);
            let half = times.quantile_ms(0.5) - first;
            done.push(Turn {
                remark: format!("the last time half of them knew after {half:.0} ms"),
                ..Turn::of(times.quantile_ms(1.0) - first)
            });
        }
        Ok([done])
    }))
}

/// An agent is killed: how long until somebody, and everybody, has found out.
pub(super) fn failure(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let turns = if bench.arguments.quick { 3 } else { 7 };
    let works = [
        ("a killed agent: failed for the first of the others", Unit::Milliseconds),
        ("a killed agent: failed for all others", Unit::Milliseconds),
    ];
    let note = "a suspect has longer to answer the more there are in a pool";
    Ok(lines(bench, works, note, |pool| {
        let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
        for _ in 0..turns {
            let victim = pool.running().pop().unwrap_or_default();
            pool.kill(victim)?;
            let others = pool.running();
            let mut times = until_known(pool, News::Failed, victim, &others)?;
            firsts.push(Turn::of(times.quantile_ms(0.0)));
            lasts.push(Turn::of(times.quantile_ms(1.0)));
        }
        Ok([firsts, lasts])
    }))
}

/// Waits until all of `who` have told it, and tells when each did, from now on.
fn until_known(pool: &mut Pool, news: News, of: usize, who: &[usize]) -> anyhow::Result<Samples> {
    let since = Instant::now();
    let mut waiting: Vec<usize> = who.to_vec();
    let mut times = Samples::default();
    pool.until(|_, told| {
        for told in told.iter().filter(|told| told.news == news && told.of == of) {
            if let Some(place) = waiting.iter().position(|number| *number == told.by) {
                waiting.swap_remove(place);
                times.add(since.elapsed());
            }
        }
        let missing = waiting.first()?;
        Some(format!("{} agents tell no {news:?} of agent {of}, as {missing}", waiting.len()))
    })?;
    Ok(times)
}

/// A tenth of the agents get a twentieth of a processor each, in bits: who is taken for failed by those who are well?
pub(super) fn starved(bench: &mut Bench) -> anyhow::Result<Vec<Line>> {
    let lasts = Duration::from_secs(if bench.arguments.quick { 60 } else { 300 });
    let works = [
        ("some agents starved: others taken for failed, by each who is well", Unit::Share),
        ("some agents starved: starved ones taken for failed, by each who is well", Unit::Share),
    ];
    let note = format!("a tenth of them stopped (SIGSTOP) again and again, over {lasts:?}");
    Ok(lines(bench, works, &note, |pool| {
        let all = pool.running();
        // Not the first, which is a server.
        let starved: Vec<usize> = all.iter().skip(1).step_by(10).copied().collect();
        pool.news()?;
        let told = starve(pool, &starved, lasts)?;
        let is_well = |number: usize| !starved.contains(&number);
        let failed = told.iter().filter(|told| told.news == News::Failed && is_well(told.by));
        let (well, ill): (Vec<&Told>, Vec<&Told>) = failed.partition(|told| is_well(told.of));
        #[expect(clippy::cast_precision_loss, reason = "some thousand at most")]
        let turn = |told: &[&Told]| Turn {
            remark: format!("{} of {} agents starved", starved.len(), all.len()),
            ..Turn::of(told.len() as f64 / (all.len() - starved.len()) as f64)
        };
        Ok([vec![turn(&well)], vec![turn(&ill)]])
    }))
}

fn starve(pool: &mut Pool, starved: &[usize], lasts: Duration) -> anyhow::Result<Vec<Told>> {
    let since = Instant::now();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |range: &std::ops::Range<u64>| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        Duration::from_millis(range.start + random % (range.end - range.start))
    };
    let mut turns: Vec<(Instant, bool)> =
        starved.iter().map(|_| (since + draw(&WORK_MS), false)).collect();
    let mut told = Vec::new();
    while since.elapsed() < lasts {
        for (number, (until, still)) in starved.iter().zip(&mut turns) {
            if *until <= Instant::now() {
                *still = !*still;
                pool.hold(*number, *still)?;
                *until = Instant::now() + draw(if *still { &STILL_MS } else { &WORK_MS });
            }
        }
        told.extend(pool.news()?);
        machine::pause(Duration::from_millis(5));
    }
    for number in starved {
        pool.hold(*number, false)?;
    }
    Ok(told)
}
