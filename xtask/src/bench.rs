//! `cargo xtask bench`: builds what is compared, finds the peers, and starts the benchmark (crate `bench`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, ensure};

/// The script that unpacks the peers and prints a `NAME=PATH` line for each, seen from the workspace.
const FETCH_PEERS: &str = "../shared/tools/fetch-peers";

/// Runs the benchmark with its own `options`; `--ours PATH` saves building the release binary.
///
/// # Errors
/// A build fails or the benchmark cannot be started. Missing peers are no error: their columns say so.
pub(crate) fn run(root: &Path, options: &[&str]) -> anyhow::Result<ExitCode> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |directory| root.join(directory));
    cargo(root, &["build", "--profile", "fast", "--package", "bench"])?;
    let mut command = Command::new(target.join("fast/bench"));
    command.current_dir(root);
    if !options.contains(&"--ours") {
        cargo(root, &["build", "--release", "--package", "cli"])?;
        command.arg("--ours").arg(target.join("release/consul"));
    }
    for (variable, path) in peers(root) {
        if std::env::var_os(&variable).is_none() {
            command.env(variable, path);
        }
    }
    let status = command.args(options).status().context("cannot start the benchmark")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cargo(root: &Path, words: &[&str]) -> anyhow::Result<()> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let status = Command::new(program).args(words).current_dir(root).status()?;
    ensure!(status.success(), "cargo {} failed", words.join(" "));
    Ok(())
}

/// The peers' variables and paths; none if they cannot be had.
fn peers(root: &Path) -> Vec<(String, PathBuf)> {
    let output = Command::new(root.join(FETCH_PEERS)).stderr(Stdio::inherit()).output();
    let Ok(output) = output else { return Vec::new() };
    parse_peers(&String::from_utf8_lossy(&output.stdout))
}

fn parse_peers(text: &str) -> Vec<(String, PathBuf)> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, path)| (name.to_owned(), PathBuf::from(path)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_read_from_the_lines_that_name_them() {
        let text = "unpacking\nCONSUL_1_8=/x/consul\nETCD_3_5=/x/a=b\n";
        let expected = [("CONSUL_1_8", "/x/consul"), ("ETCD_3_5", "/x/a=b")]
            .map(|(name, path)| (name.to_owned(), PathBuf::from(path)));
        assert_eq!(parse_peers(text), expected);
    }
}
