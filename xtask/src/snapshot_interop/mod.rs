//! `cargo xtask snapshot-interop`: snapshots of real Consul restore here, and ours there.
//!
//! A real Consul 1.8.7 is filled with everything that its HTTP API can make. Its snapshot
//! is restored into a server of ours, which must answer as it does, and carry what it has
//! no feature for; the snapshot of ours is restored into another real one, which must
//! answer as the first. Answers are compared member by member, those that only one of the
//! versions knows aside.

mod agent;
mod compare;
mod filling;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use self::agent::Agent;
pub(super) use self::compare::agrees;

/// Runs the chore; `options` are the words behind its name.
pub(crate) fn run(
    root: &Path,
    options: &[&str],
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<ExitCode> {
    let (ours, real) = programs(root, options)?;
    let Some(real) = real.filter(|path| path.exists()) else {
        say("snapshot-interop: skipped, there is no Consul 1.8.7 (--real PATH, or CONSUL_1_8)\n");
        return Ok(ExitCode::SUCCESS);
    };
    let folder = tempfile::Builder::new().prefix("proconsul-snapshots-").tempdir()?;
    let checked = round_trip(&ours, &real, folder.path());
    if checked.is_err() {
        say(&format!("snapshot-interop: see {}\n", folder.keep().display()));
    }
    say(&format!("snapshot-interop: {} answers and records agree\n", checked?));
    Ok(ExitCode::SUCCESS)
}

/// Ours and the real one, as far as they are named or known.
pub(super) fn programs(
    root: &Path,
    options: &[&str],
) -> anyhow::Result<(PathBuf, Option<PathBuf>)> {
    let (mut ours, mut real) = (None, std::env::var_os("CONSUL_1_8").map(PathBuf::from));
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("{word} needs a value"))?;
        match *word {
            "--consul" => ours = Some(PathBuf::from(value)),
            "--real" => real = Some(PathBuf::from(value)),
            other => anyhow::bail!("unknown option {other}"),
        }
    }
    let ours = crate::live::server::program(root, ours.as_deref())?;
    let cache = std::env::home_dir().map(|home| home.join(".cache/proconsul-peers"));
    let real = real.or_else(|| Some(cache?.join("bullseye/usr/bin/consul")));
    Ok((ours, real))
}

/// Returns how many things were compared.
fn round_trip(ours: &Path, real: &Path, folder: &Path) -> anyhow::Result<usize> {
    let mut count = 0;
    let first = Agent::start(real, &folder.join("first"), "real", &agent::acls())?;
    let session = filling::fill(&first)?;
    let from_real = folder.join("real.snap");
    std::fs::write(&from_real, first.save()?)?;
    let there = first.answers(filling::SERVED.iter().chain(filling::CARRIED), &session)?;
    drop(first);

    let here = Agent::start(ours, &folder.join("ours"), "ours", &json!({"enabled": false}))?;
    here.command(ours, &["snapshot", "restore", path(&from_real)?])?;
    let answers = here.answers(filling::SERVED.iter(), &session)?;
    for (asked, answer) in &answers {
        let expected = there.get(asked).context("both were asked the same")?;
        agrees(expected, answer).with_context(|| format!("restored here, {asked}"))?;
        count += 1;
    }
    let from_ours = folder.join("ours.snap");
    here.command(ours, &["snapshot", "save", path(&from_ours)?])?;
    drop(here);
    count += same_records(ours, &from_real, &from_ours)?;

    let listing = Command::new(real).args(["snapshot", "inspect", path(&from_ours)?]).output()?;
    ensure!(listing.status.success(), "Consul cannot inspect our snapshot: {listing:?}");
    let last = Agent::start(real, &folder.join("last"), "another", &agent::acls())?;
    last.restore(&std::fs::read(&from_ours)?)?;
    let back = last.answers(filling::SERVED.iter().chain(filling::CARRIED), &session)?;
    for (asked, answer) in &back {
        let expected = there.get(asked).context("both were asked the same")?;
        agrees(expected, answer).with_context(|| format!("restored there, {asked}"))?;
        count += 1;
    }
    Ok(count)
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path that is no text")
}

/// The records that nothing here puts in force are the same in both snapshots.
fn same_records(ours: &Path, from_real: &Path, from_ours: &Path) -> anyhow::Result<usize> {
    let (before, after) = (records(ours, from_real)?, records(ours, from_ours)?);
    let mut count = 0;
    for kind in filling::CARRIED_KINDS {
        let of_kind = |records: &[Value]| -> Vec<Value> {
            records.iter().filter(|record| record["Type"] == *kind).cloned().collect()
        };
        let (before, after) = (of_kind(&before), of_kind(&after));
        ensure!(!before.is_empty(), "the real snapshot has no {kind}");
        agrees(&Value::Array(before.clone()), &Value::Array(after))
            .with_context(|| format!("records of kind {kind}"))?;
        count += before.len();
    }
    Ok(count)
}

pub(super) fn records(ours: &Path, snapshot: &Path) -> anyhow::Result<Vec<Value>> {
    let output = Command::new(ours).args(["snapshot", "decode", path(snapshot)?]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).context("a line that is no JSON")).collect()
}
