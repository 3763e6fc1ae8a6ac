//! The program behind `cargo xtask sim`: many seeds on all cores, or one with its log.

#![expect(clippy::disallowed_methods, reason = "it tells how fast it is; no run sees its clock")]

use std::io::Write;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sim::{Bug, Counts, Scenario, pool};

const USAGE: &str = "usage: cargo xtask sim [options]

  --seeds N      how many seeds for each number of servers (200)
  --from S       the first seed (1)
  --seconds T    stop after that time, whatever --seeds says
  --servers L    numbers of servers, separated by commas (3,5)
  --pool         gossip pools in the place of quorums
  --agents L     numbers of their agents, 3 to 200 (3,5,12,25)
  --seed X       only this seed
  --trace        print all that happens; with --seed
  --bug NAME     plant a bug
  --threads N    how many at a time (one for each core)
";

/// Most failing seeds that are printed.
const SHOWN: usize = 10;

struct Options {
    seeds: u64,
    from: u64,
    seconds: Option<u64>,
    servers: Vec<u8>,
    pool: bool,
    agents: Vec<u8>,
    trace: bool,
    bug: Option<Bug>,
    pool_bug: Option<pool::Bug>,
    threads: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut out = std::io::stdout();
    let outcome = match parse(&arguments) {
        // A panic is a violation, and told as one.
        Ok(options) => {
            std::panic::set_hook(Box::new(|_| {}));
            run(&options, &mut out)
        }
        Err(why) => write!(out, "sim: {why}\n{USAGE}").map(|()| ExitCode::from(2)),
    };
    // Whoever read the output may have gone.
    outcome.unwrap_or(ExitCode::FAILURE)
}

fn parse(arguments: &[String]) -> Result<Options, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options {
        seeds: 200,
        from: 1,
        seconds: None,
        servers: vec![3, 5],
        pool: false,
        agents: vec![3, 5, 12, 25],
        trace: false,
        bug: None,
        pool_bug: None,
        threads: cores,
    };
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        match name.as_str() {
            "--trace" => {
                options.trace = true;
                continue;
            }
            "--pool" => {
                options.pool = true;
                continue;
            }
            "--help" | "-h" => return Err("simulates clusters under faults".to_owned()),
            _ => {}
        }
        let value = rest.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|error| format!("{name} {value}: {error}"));
        match name.as_str() {
            "--seeds" => options.seeds = number()?,
            "--from" => options.from = number()?,
            "--seconds" => options.seconds = Some(number()?),
            "--seed" => (options.from, options.seeds) = (number()?, 1),
            "--threads" => options.threads = number()?.clamp(1, 256) as usize,
            "--servers" => options.servers = numbers(value, 1..=7)?,
            "--agents" => options.agents = numbers(value, 3..=200)?,
            "--bug" => {
                (options.bug, options.pool_bug) = (Bug::named(value), pool::Bug::named(value));
                if options.bug.is_none() && options.pool_bug.is_none() {
                    let (bugs, pools) = (Bug::ALL, pool::Bug::ALL);
                    return Err(format!("{value}: one of {bugs:?}, with --pool {pools:?}"));
                }
            }
            _ => return Err(format!("{name} is not known")),
        }
    }
    let fits = if options.pool { options.bug.is_none() } else { options.pool_bug.is_none() };
    if fits { Ok(options) } else { Err("--bug: not a bug of what is simulated".to_owned()) }
}

fn numbers(value: &str, range: RangeInclusive<u8>) -> Result<Vec<u8>, String> {
    let numbers = value.split(',').map(|number| number.parse::<u8>().ok());
    let numbers = numbers.map(|number| number.filter(|number| range.contains(number)));
    let all = numbers.collect::<Option<Vec<u8>>>();
    all.ok_or_else(|| format!("{value}: numbers from {} to {}", range.start(), range.end()))
}

#[derive(Default)]
struct Total {
    runs: u64,
    events: u64,
    failed: u64,
    counts: Counts,
    pool_counts: pool::Counts,
}

fn run(options: &Options, out: &mut (impl Write + Send)) -> std::io::Result<ExitCode> {
    let began = Instant::now();
    let limit = options.seconds.map(Duration::from_secs);
    let next = AtomicU64::new(0);
    let runs = options.seeds.saturating_mul(options.sizes().len() as u64);
    let shared = Mutex::new((Total::default(), out, Ok(())));
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= runs || limit.is_some_and(|limit| began.elapsed() > limit) {
                        return;
                    }
                    let report = one(options, number);
                    let mut shared = shared.lock().unwrap_or_else(|error| error.into_inner());
                    let (total, out, written) = &mut *shared;
                    let shown = tell(total, &report, *out);
                    if shown.is_err() {
                        *written = shown;
                        return;
                    }
                }
            });
        }
    });
    let (total, out, written) = shared.into_inner().unwrap_or_else(|error| error.into_inner());
    written?;
    let seconds = began.elapsed().as_secs_f64();
    let (runs, events, failed) = (total.runs, total.events, total.failed);
    if options.pool {
        writeln!(out, "{:?}", total.pool_counts)?;
    } else {
        writeln!(out, "{:?}", total.counts)?;
    }
    writeln!(
        out,
        "{runs} runs, {events} events in {seconds:.1} s ({:.1} runs/s, {:.0} events/s on {} \
         threads); {failed} with violations",
        runs as f64 / seconds,
        events as f64 / seconds,
        options.threads
    )?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What became of a run of either kind.
struct Ran {
    what: String,
    replay: String,
    digest: u64,
    text: Option<String>,
    events: u64,
    violations: Vec<String>,
    counts: Counts,
    pool_counts: pool::Counts,
}

impl Options {
    fn sizes(&self) -> &[u8] {
        if self.pool { &self.agents } else { &self.servers }
    }
}

fn one(options: &Options, number: u64) -> Ran {
    let sizes = options.sizes();
    let kinds = sizes.len() as u64;
    let size = sizes[(number % kinds) as usize];
    let seed = options.from + number / kinds;
    if options.pool {
        let scenario = pool::Scenario { agents: size, bug: options.pool_bug };
        let report = pool::run(seed, scenario, options.trace);
        return Ran {
            what: format!("seed {seed}, {size} agents"),
            replay: report.replay_line(),
            digest: report.digest,
            text: report.text,
            events: report.events,
            violations: report.violations,
            counts: Counts::default(),
            pool_counts: report.counts,
        };
    }
    let scenario = Scenario { servers: size, bug: options.bug };
    let traced = options.trace;
    let report = if traced { sim::run_traced(seed, scenario) } else { sim::run(seed, scenario) };
    Ran {
        what: format!("seed {seed}, {size} servers"),
        replay: report.replay_line(),
        digest: report.digest,
        text: report.text,
        events: report.events,
        violations: report.violations,
        counts: report.counts,
        pool_counts: pool::Counts::default(),
    }
}

fn tell(total: &mut Total, report: &Ran, out: &mut impl Write) -> std::io::Result<()> {
    total.runs += 1;
    total.events += report.events;
    total.counts.add(&report.counts);
    total.pool_counts.add(&report.pool_counts);
    if let Some(text) = &report.text {
        out.write_all(text.as_bytes())?;
        writeln!(out, "digest {:016x}, {} events", report.digest, report.events)?;
    }
    if report.violations.is_empty() {
        return Ok(());
    }
    total.failed += 1;
    if total.failed > SHOWN as u64 {
        return Ok(());
    }
    writeln!(out, "{}:", report.what)?;
    for violation in &report.violations {
        writeln!(out, "  {violation}")?;
    }
    writeln!(out, "  replay: {}", report.replay)
}
