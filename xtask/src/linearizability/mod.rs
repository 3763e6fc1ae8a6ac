//! The linearizability test: what concurrent clients see of a real server, with
//! check-and-set, locks and transactions over several keys, while it is killed, restarted
//! and paused, could have come from a machine that does one thing at a time. With several
//! servers these are also cut off from each other, moved, and left without room.
//!
//! - `faults`: what happens to several servers.
//! - `gaps`: for how long nobody could write meanwhile.
//! - `linearizability::keys`: that machine, and what clients ask.
//! - `wire`: how they ask it over HTTP.
//! - `stale`: what stale reads may see.
//! - `verdict`: what the histories say.
//!
//! An act without an answer may have had its effect at any later time, or never. Some
//! clients hang up early, so that this happens to a server that lives, too.

mod faults;
mod gaps;
mod stale;
mod verdict;
mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::linearizability::Operation;
use ::linearizability::keys::workload::Client;
use ::linearizability::keys::{Act, Ending, KEYS, Outcome, Step};
use anyhow::{Context as _, bail, ensure};

use self::gaps::Gaps;
use self::stale::Seen;
use self::wire::{Sessions, Trouble};
use crate::live::http::Connection;
use crate::live::server::{Running, Site, pause};

const SECONDS: u64 = 180;
const SECONDS_SHORT: u64 = 25;
const CLIENTS: usize = 8;

/// Groups of keys.
const GROUPS: usize = 12;

/// These clients do not wait for long, on every other connection, and not for many acts on one
/// on which they do: acts without an answer have to be few.
const IMPATIENT: usize = 2;
const ACTS_OF_IMPATIENT: usize = 20;
const PATIENCE_SHORT: Duration = Duration::from_millis(60);
const PATIENCE: Duration = Duration::from_secs(30);

/// With several servers there is another one to ask.
const PATIENCE_OF_MANY: Duration = Duration::from_secs(3);

/// After this time all go on with other keys: what had no answer may still have its effect at
/// any later time, and a long history has too much of that to be searched.
const ERA_SECONDS: u64 = 8;

/// Before one of so many acts there is a stale read.
const STALE_EVERY: u8 = 8;

/// Between acts of one client, so that histories stay small enough to be searched.
const THINK_MS_MAX: u64 = 12;

/// How the test is run.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    seconds: u64,
    seed: Option<u64>,
    consul: Option<PathBuf>,
    servers: usize,
}

impl Options {
    fn parse(words: &[&str]) -> anyhow::Result<Self> {
        let mut options = Self { seconds: SECONDS, seed: None, consul: None, servers: 1 };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match *word {
                "--short" => options.seconds = SECONDS_SHORT,
                "--seconds" => options.seconds = value()?.parse().context("--seconds")?,
                "--seed" => options.seed = Some(value()?.parse().context("--seed")?),
                "--servers" => options.servers = value()?.parse().context("--servers")?,
                "--consul" => options.consul = Some(value()?.into()),
                _ => bail!("linearizability knows no {word}"),
            }
        }
        ensure!(options.seconds > 0, "--seconds must be above zero");
        ensure!(options.servers % 2 == 1, "--servers must be odd");
        Ok(options)
    }
}

/// Runs the test and tells of it.
///
/// # Errors
/// When it could not be run; what it found is in the exit code.
pub(super) fn run(
    root: &Path,
    words: &[&str],
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<ExitCode> {
    let options = Options::parse(words)?;
    let consul = crate::live::server::program(root, options.consul.as_deref())?;
    let seed = options.seed.unwrap_or_else(|| fastrand::Rng::new().u64(..1 << 32));
    let (seconds, servers) = (options.seconds, options.servers);
    let path = consul.display();
    say(&format!("linearizability: {seconds} s on {servers} of {path}, seed {seed}\n"));
    let folder = tempfile::Builder::new().prefix("proconsul-linearizability-").tempdir()?;
    let recorded = record(&options, &consul, folder.path(), seed, say)?;
    let (histories, stale) = (recorded.histories.len(), recorded.stale.len());
    say(&format!("linearizability: {histories} histories, {stale} stale reads saw a value\n"));
    if let Some(gaps) = &recorded.gaps {
        say(&format!("linearizability: {gaps}\n"));
    }
    let mut report = verdict::judge(&recorded.histories);
    report.mistakes.extend(stale::find_fault(&recorded.stale, &recorded.histories));
    if stale == 0 {
        report.mistakes.push("there were no stale reads".to_owned());
    }
    if let Some(gaps) = recorded.gaps {
        report.mistakes.extend(gaps.mistakes());
    }
    say(&format!("linearizability: {report}\n"));
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was done to each group of keys.
type Histories = Vec<Vec<Operation<Act>>>;

/// What came of a test.
struct Recorded {
    histories: Histories,
    stale: Vec<Seen>,
    /// Where there were several servers.
    gaps: Option<Gaps>,
}

/// What all clients share.
struct Shared {
    /// Where servers answer, each of which a client may ask.
    addresses: Mutex<Vec<SocketAddr>>,
    start: Instant,
    is_over: AtomicBool,
    sessions: Sessions,
    patience: Duration,
}

impl Shared {
    /// ns since the start.
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// The number of the era.
    fn era(&self) -> usize {
        (self.start.elapsed().as_secs() / ERA_SECONDS) as usize
    }
}

/// What is asked and disturbed.
enum Subject {
    One(Site, Option<Running>),
    Many(faults::Site),
}

fn record(
    options: &Options,
    consul: &Path,
    folder: &Path,
    seed: u64,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<Recorded> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut subject, addresses, patience) = if options.servers == 1 {
        let site = Site::new(consul, folder, folder, &mut random)?;
        let server = site.start_and_lead()?;
        let address = server.address;
        (Subject::One(site, Some(server)), vec![address], PATIENCE)
    } else {
        let site = faults::Site::start(options.servers, consul, folder, &mut random, say)?;
        let addresses = site.addresses();
        (Subject::Many(site), addresses, PATIENCE_OF_MANY)
    };
    let shared = Shared {
        addresses: Mutex::new(addresses),
        start: Instant::now(),
        is_over: AtomicBool::new(false),
        sessions: Sessions::default(),
        patience,
    };
    let until = shared.start + Duration::from_secs(options.seconds);
    let (faults, clients, acknowledged) = std::thread::scope(|scope| {
        let shared = &shared;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let random = random.fork();
                scope.spawn(move || run_client(number, random, shared))
            })
            .collect();
        let probed = if options.servers > 1 { options.servers } else { 0 };
        let probes: Vec<_> =
            (0..probed).map(|server| scope.spawn(move || gaps::probe(server, shared))).collect();
        // The servers, and the network between them, are there for longer than the clients:
        // what is asked of a network that is gone is answered by somebody else, or by nobody.
        let faults = match &mut subject {
            Subject::One(site, server) => disturb(site, server, until, &mut random),
            Subject::Many(site) => site.disturb(until, shared, &mut random),
        };
        shared.is_over.store(true, Ordering::SeqCst);
        let clients: Vec<_> =
            clients.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        let acknowledged: Vec<_> =
            probes.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        (faults, clients, acknowledged)
    });
    faults?;
    let gaps = match &subject {
        Subject::One(..) => None,
        Subject::Many(site) => {
            let acknowledged = acknowledged.into_iter().flatten().flatten().collect();
            Some(Gaps::new(acknowledged, &site.rounds, shared.now()))
        }
    };
    let mut stale = Vec::new();
    let mut histories = vec![Vec::new(); GROUPS * (shared.era() + 1)];
    for client in clients {
        let Ok(done) = client else { bail!("a client panicked") };
        let done = done?;
        stale.extend(done.stale);
        for (group, operation) in done.acts {
            histories[group].push(operation);
        }
    }
    Ok(Recorded { histories, stale, gaps })
}

/// Kills and restarts the server, and lets it stand still.
fn disturb(
    site: &Site,
    held: &mut Option<Running>,
    until: Instant,
    random: &mut fastrand::Rng,
) -> anyhow::Result<()> {
    while Instant::now() < until {
        pause(Duration::from_millis(random.u64(300..1200)));
        let server = held.take().context("it was started")?;
        let server = if random.bool() {
            server.pause(true)?;
            pause(Duration::from_millis(random.u64(20..250)));
            server.pause(false)?;
            server
        } else {
            server.kill()?;
            site.start_and_lead()?
        };
        *held = Some(server);
    }
    Ok(())
}

/// What a client did.
#[derive(Default)]
struct Done {
    acts: Vec<(usize, Operation<Act>)>,
    stale: Vec<Seen>,
}

/// Asks until it is over.
fn run_client(number: usize, mut random: fastrand::Rng, shared: &Shared) -> anyhow::Result<Done> {
    let mut think = fastrand::Rng::with_seed(number as u64);
    let mut client = Client::new(number, GROUPS, random.fork());
    let mut era = 0;
    let mut waits = true;
    let mut done = Done::default();
    while !shared.is_over.load(Ordering::SeqCst) {
        let address = {
            let addresses = shared.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            addresses[think.usize(..addresses.len())]
        };
        if era != shared.era() {
            era = shared.era();
            client = Client::new(number + era * CLIENTS, GROUPS, random.fork());
        }
        waits = number >= IMPATIENT || !waits;
        let patience = if waits { shared.patience } else { PATIENCE_SHORT };
        let acts = if number < IMPATIENT { ACTS_OF_IMPATIENT } else { usize::MAX };
        match Connection::open_patient(address, patience) {
            Ok(connection) => {
                act((&mut client, era, acts), &mut think, connection, shared, &mut done)?
            }
            Err(_) => pause(Duration::from_millis(2)),
        }
    }
    Ok(done)
}

/// Acts on one connection until it is lost or the era is over.
fn act(
    (client, era, acts): (&mut Client, usize, usize),
    think: &mut fastrand::Rng,
    mut connection: Connection,
    shared: &Shared,
    done: &mut Done,
) -> anyhow::Result<()> {
    for _ in 0..acts {
        if shared.is_over.load(Ordering::SeqCst) || shared.era() != era {
            return Ok(());
        }
        pause(Duration::from_millis(think.u64(..THINK_MS_MAX)));
        let group = client.pick_group();
        let named = era * GROUPS + group;
        if client.lacks_session(group) {
            let ending = [Ending::Release, Ending::Delete][think.usize(..2)];
            match shared.sessions.create(ending, &mut connection) {
                Ok(Some(session)) => client.take_session(group, session, ending),
                Ok(None) => continue,
                Err(_) => return Ok(()),
            }
        }
        if think.u8(..STALE_EVERY) == 0 {
            let key = think.usize(..KEYS);
            match wire::ask_stale(&mut connection, (named, key), &shared.sessions) {
                Ok(value) => {
                    let at = shared.now();
                    done.stale.extend(value.map(|value| Seen { group: named, key, value, at }));
                }
                Err(Trouble::NoLeader) => {}
                Err(Trouble::Lost) => return Ok(()),
                Err(Trouble::Wrong(error)) => return Err(error),
            }
        }
        let mut plan = client.plan(group);
        plan.group = named;
        let called = shared.now();
        let asked = wire::ask(&mut connection, &plan, &shared.sessions, think.bool());
        let (outcome, is_lost) = match asked {
            Ok(outcome) => (outcome, false),
            Err(Trouble::Lost) => (Outcome::Unknown, true),
            Err(Trouble::NoLeader) => continue,
            Err(Trouble::Wrong(error)) => return Err(error),
        };
        let returned = (outcome != Outcome::Unknown).then(|| shared.now());
        let act = Act { steps: plan.steps, outcome };
        client.learn(group, &act);
        // A read without an answer says nothing.
        let reads = act.steps.iter().all(|step| matches!(step, Step::Get(_)));
        if returned.is_some() || !reads {
            done.acts.push((named, Operation { called, returned, act }));
        }
        if is_lost {
            return Ok(());
        }
    }
    Ok(())
}
