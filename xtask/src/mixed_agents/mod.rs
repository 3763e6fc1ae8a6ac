//! Client agents across: ours on real Consul servers, and real ones on ours. What an
//! application and an operator do at an agent is done at the one across, seen by the
//! servers, and answered as by an agent of the servers' own kind.
//!
//! - `walk`: the steps, in their order.
//! - `data`: keys, sessions, locks, transactions, events, prepared queries.
//! - `local`: services and checks of the agent, and what becomes of them while agent or
//!   servers are away.
//! - `answers`: the questions that both agents answer alike.
//! - `dns`: questions over DNS.

mod answers;
mod data;
mod dns;
mod local;
mod walk;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;

/// Runs both directions and tells of them; `words` are the options.
///
/// # Errors
/// When something was not as it should be.
pub(super) fn run(
    root: &Path,
    words: &[&str],
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<ExitCode> {
    let (ours, real) = crate::snapshot_interop::programs(root, words)?;
    let Some(real) = real.filter(|real| real.is_file()) else {
        say("mixed-agents: skipped, there is no real Consul\n");
        return Ok(ExitCode::SUCCESS);
    };
    let folder = tempfile::Builder::new().prefix("proconsul-across-").tempdir()?;
    for (name, servers, across) in
        [("ours on real servers", &real, &ours), ("a real one on our servers", &ours, &real)]
    {
        let start = Instant::now();
        let mut say =
            |text: &str| say(&format!("{:6.1} s  {name}: {text}\n", start.elapsed().as_secs_f64()));
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder)?;
        walk::run(servers, across, &folder, &mut say).with_context(|| name.to_owned())?;
    }
    Ok(ExitCode::SUCCESS)
}
