//! A slower disk: a small launcher, built with the machine's C compiler, that makes every sync of a server take longer.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

const SOURCE: &str = include_str!("delay.c");

/// Builds the launcher in `directory` and tries it.
///
/// # Errors
/// No C compiler, or a kernel without seccomp notifications (before Linux 5.5, or forbidden here).
pub(crate) fn build(directory: &Path) -> anyhow::Result<PathBuf> {
    let source = directory.join("delay.c");
    let program = directory.join("delay");
    std::fs::write(&source, SOURCE)?;
    let output = Command::new("cc")
        .args(["-O1", "-pthread", "-o"])
        .arg(&program)
        .arg(&source)
        .output()
        .context("no C compiler (cc) to build the delay with")?;
    ensure!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
    let tried = Command::new(&program).args(["1000", "/bin/true"]).output()?;
    ensure!(
        tried.status.success(),
        "this kernel does not let a sync be delayed: {}",
        String::from_utf8_lossy(&tried.stderr).trim()
    );
    Ok(program)
}
