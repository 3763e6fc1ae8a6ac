//! `cargo xtask sim`: builds the simulator with optimisation and runs it.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context as _;

/// Of the profile `fast`, but with unwinding, as the simulator reports a failed assertion with
/// its seed, and with the assertions and checks of a debug build.
const PROFILE: &[&str] = &[
    "--profile=fast",
    "--config=profile.fast.panic=\"unwind\"",
    "--config=profile.fast.debug-assertions=true",
    "--config=profile.fast.overflow-checks=true",
];

/// Runs the simulator with these options; it knows and explains them.
pub(crate) fn run(root: &Path, options: &[&str]) -> anyhow::Result<ExitCode> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["run", "--quiet", "--package=sim"])
        .args(PROFILE)
        .arg("--")
        .args(options)
        .status()
        .context("cargo run --package=sim")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
