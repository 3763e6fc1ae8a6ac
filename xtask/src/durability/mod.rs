//! The durability test: a server is killed, `kill -9`, again and again while writers
//! write, and each time everything that was acknowledged must be there.
//!
//! - `item`: what must be found of each thing written, as a small machine.
//! - `writer`: concurrent writers with their items.
//! - `verify`: reading everything back.
//! - `torn`: damage to the end of the log, where nothing was promised.
//! - `full_disk`: no room.
//!
//! The choice of writes, damage and moments follows from the seed; what the processes
//! make of it does not, so a seed narrows a failure down and does not replay it.

mod full_disk;
mod item;
mod torn;
mod verify;
mod writer;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use self::torn::Damage;
use self::verify::Verifier;
use self::writer::Writer;
use crate::live::server::{Running, Site, pause};

const RESTARTS: u32 = 200;
const RESTARTS_SHORT: u32 = 15;
const WRITERS: usize = 12;

/// Writers are killed with the server after at most this time.
const ROUND_MS_MAX: u64 = 600;

/// A start is killed after at most this time.
const START_MS_MAX: u64 = 120;

/// How the test is run.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    restarts: u32,
    seed: Option<u64>,
    consul: Option<PathBuf>,
}

impl Options {
    fn parse(words: &[&str]) -> anyhow::Result<Self> {
        let mut options = Self { restarts: RESTARTS, seed: None, consul: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match *word {
                "--short" => options.restarts = RESTARTS_SHORT,
                "--restarts" => options.restarts = value()?.parse().context("--restarts")?,
                "--seed" => options.seed = Some(value()?.parse().context("--seed")?),
                "--consul" => options.consul = Some(value()?.into()),
                _ => bail!("durability knows no {word}"),
            }
        }
        ensure!(options.restarts > 0, "--restarts must be above zero");
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
    let folder = tempfile::Builder::new().prefix("proconsul-durability-").tempdir()?;
    say(&format!(
        "durability: {} restarts of {}, seed {seed}\n",
        options.restarts,
        consul.display()
    ));
    let mut random = fastrand::Rng::with_seed(seed);
    let outcome = kills(&options, &consul, folder.path(), &mut random).and_then(|report| {
        say(&format!("durability: {report}\n"));
        full_disk::run(&consul, folder.path(), &mut random).context("full disk")
    });
    match outcome {
        Ok(full_disk::Outcome::Passed { before, after, error }) => {
            say(&format!(
                "durability: full disk: {before} writes kept, then {error:?}; {after} more once \
                 there was room\n"
            ));
            Ok(ExitCode::SUCCESS)
        }
        Ok(full_disk::Outcome::Skipped(reason)) => {
            say(&format!("durability: full disk: skipped, no small disk to be had: {reason}\n"));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            // Whoever looks into it needs the data.
            let folder = folder.keep();
            let place = folder.display();
            say(&format!("durability: FAILED with seed {seed}, data in {place}: {error:#}\n"));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What a run saw.
#[derive(Debug, Default)]
struct Report {
    restarts: u32,
    killed_while_starting: u32,
    acknowledged: u64,
    whole: u64,
    absent: u64,
    torn: [u32; 5],
    snapshots: BTreeSet<String>,
    time: Duration,
}

impl Report {
    fn note_damage(&mut self, damage: Damage) {
        self.torn[damage as usize] += 1;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [flipped, zeroed, cut, half, garbage] = self.torn;
        write!(
            f,
            "nothing lost in {} restarts ({} of them killed while starting) in {} s: {} writes \
             acknowledged, {} in flight when killed ({} found whole, {} absent), {} torn tails \
             ({flipped} flipped, {zeroed} zeroed, {cut} cut short, {half} half records, {garbage} \
             garbage), {} snapshots",
            self.restarts,
            self.killed_while_starting,
            self.time.as_secs(),
            self.acknowledged,
            self.whole + self.absent,
            self.whole,
            self.absent,
            self.torn.iter().sum::<u32>(),
            self.snapshots.len(),
        )
    }
}

/// Kills and restarts while writers write.
fn kills(
    options: &Options,
    consul: &Path,
    folder: &Path,
    random: &mut fastrand::Rng,
) -> anyhow::Result<Report> {
    let begin = Instant::now();
    let site = Site::new(consul, folder, folder, random)?;
    let mut writers: Vec<Writer> =
        (0..WRITERS).map(|number| Writer::new(number, random.fork())).collect();
    let mut report = Report::default();
    let mut verifier = Verifier::default();
    let mut server = site.start_and_lead()?;
    while report.restarts < options.restarts {
        let time = Duration::from_millis(random.u64(1..ROUND_MS_MAX));
        round(&mut writers, server, time)?;
        report.restarts += 1;
        report.snapshots.extend(site.snapshots()?);
        if random.u32(..3) == 0 {
            report.note_damage(tear(&site, &writers, random)?);
        }
        if random.u32(..6) == 0 {
            let started = site.start()?;
            pause(Duration::from_millis(random.u64(..START_MS_MAX)));
            started.kill()?;
            report.restarts += 1;
            report.killed_while_starting += 1;
        }
        server = site.start_and_lead()?;
        verifier
            .verify(server.address, &mut writers)
            .with_context(|| format!("after restart {}", report.restarts))?;
    }
    server.kill()?;
    report.acknowledged = writers.iter().map(|writer| writer.acknowledged).sum();
    (report.whole, report.absent) = (verifier.whole, verifier.absent);
    report.time = begin.elapsed();
    let enough = report.restarts < RESTARTS_SHORT || !report.snapshots.is_empty();
    ensure!(enough, "no snapshot was made, so the run proves too little");
    Ok(report)
}

/// All writers write until the server is killed.
fn round(writers: &mut [Writer], server: Running, time: Duration) -> anyhow::Result<()> {
    let (address, killed) = (server.address, AtomicBool::new(false));
    let outcomes = std::thread::scope(|scope| {
        let killed = &killed;
        let threads: Vec<_> = writers
            .iter_mut()
            .map(|writer| scope.spawn(move || writer.write(address, killed)))
            .collect();
        pause(time);
        killed.store(true, Ordering::SeqCst);
        let ended = server.kill();
        let outcomes: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        ended.map(|()| outcomes)
    })?;
    for outcome in outcomes {
        match outcome {
            Ok(outcome) => outcome.map_err(anyhow::Error::msg)?,
            Err(_) => bail!("a writer panicked"),
        }
    }
    Ok(())
}

/// Damages the newest segment where nothing was promised.
fn tear(site: &Site, writers: &[Writer], random: &mut fastrand::Rng) -> anyhow::Result<Damage> {
    let segments = site.segments()?;
    let newest = segments.last().context("the server left no log")?;
    // What tells the writes without an answer from all others. A deletion has no stamp.
    let stamps: Vec<String> = writers
        .iter()
        .flat_map(Writer::in_flight)
        .filter_map(|(_, stamp)| stamp.map(|stamp| stamp.to_string()))
        .collect();
    torn::tear(newest, random, |body| {
        let holds = |stamp: &String| body.windows(stamp.len()).any(|at| at == stamp.as_bytes());
        stamps.iter().any(holds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let options = Options::parse(&["--short", "--seed", "7", "--consul", "a/consul"]).unwrap();
        assert_eq!((options.restarts, options.seed), (RESTARTS_SHORT, Some(7)));
        assert_eq!(options.consul, Some("a/consul".into()));
        for wrong in [&["--restarts", "0"][..], &["--restarts"], &["--long"], &["--seed", "x"]] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
