//! Clusters of real agents, started and disturbed as operators start and disturb them.
//!
//! - `walk`: what a new operator does in the first hour, with what `members` and the catalog
//!   show at each step.
//! - `losses`: five and seven servers, some of which are lost, and recovery by `peers.json`.
//! - `compose`: the topology of the compose file, with a network namespace for each container.

mod compose;
mod losses;
mod walk;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

/// Runs the walks and tells of them.
///
/// # Errors
/// When something was not as it should be.
pub(super) fn run(
    root: &Path,
    words: &[&str],
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<ExitCode> {
    let (mut consul, mut only) = (None, Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--consul" => consul = Some(PathBuf::from(words.next().context("--consul BIN")?)),
            "walk" | "losses" | "compose" => only.push(*word),
            _ => bail!("cluster knows no {word}"),
        }
    }
    let consul = crate::live::server::program(root, consul.as_deref())?;
    let folder = tempfile::Builder::new().prefix("proconsul-cluster-").tempdir()?;
    let is_wanted = |name| only.is_empty() || only.contains(&name);
    if is_wanted("walk") {
        let folder = folder.path().join("walk");
        std::fs::create_dir(&folder)?;
        walk::run(&consul, &folder, say).context("the walk of a new operator")?;
    }
    if is_wanted("losses") {
        let folder = folder.path().join("losses");
        std::fs::create_dir(&folder)?;
        losses::run(&consul, &folder, say).context("the losses of large clusters")?;
    }
    if is_wanted("compose") {
        let folder = folder.path().join("compose");
        std::fs::create_dir(&folder)?;
        compose::run(root, &consul, &folder, say).context("the compose topology")?;
    }
    Ok(ExitCode::SUCCESS)
}
