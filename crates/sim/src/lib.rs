//! Deterministic cluster simulator: faults under a seed, checkers, planted bugs.
//!
//! [`run`] simulates a cluster of `raft` cores with `wal` stores in one thread and in virtual
//! time. All that happens follows from the seed: the network loses, doubles, delays and cuts;
//! machines lose power with torn writes, processes die, freeze and run on wrong clocks; disks
//! are slow, full, or fail to sync; members and leaders are changed meanwhile. The servers run
//! the code of the product, its state machine and queries included (`replica`); only the shell
//! around it and the outside are simulated. Clients work with keys, locks, transactions, sessions
//! and the catalog, and wait for changes.
//!
//! What is checked:
//! * while it runs: election safety, one vote a term, log matching, leader completeness, state
//!   machine safety, states that are what the log says, also out of snapshots, terms and commits
//!   that only grow, nothing committed that is lost, no stale read under the lease or after a
//!   confirmation; no lock of a session that is over, and no session that is over before its time; answers, stale ones too, that are those of
//!   the state after the entry that their index names, and indexes that do not go back; queries
//!   that wait as long as nothing changes, and no longer;
//! * after the last fault: a write succeeds, all members come to the same state, in bounded time,
//!   whoever waited for changes has seen the last, and all that was acknowledged was applied;
//! * of what clients saw: linearizability, and that no lock was held twice
//!   ([`linearizability::keys`]).
//!
//! Default reads, those under the lease, are checked only if the clocks are as good as the lease
//! needs; how good that is, [`clock`] says. That the checkers find what they should is shown by
//! planted bugs ([`Bug`]).
//!
//! [`pool`] does the like for gossip pools of `serf` machines.
//!
//! `cargo xtask sim` runs many seeds, with `--pool` of pools; a failing one prints the line that replays it.

mod bug;
mod call;
mod client;
pub mod clock;
mod cluster;
mod counts;
mod keeper;
mod machine;
mod nemesis;
mod network;
mod observer;
mod plan;
pub mod pool;
mod process;
mod reference;
mod sabotage;
mod scenario;
mod server;
mod serving;
mod storage;
mod watcher;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use cluster::Cluster;

pub use bug::Bug;
pub use counts::Counts;
pub use scenario::Scenario;

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was simulated.
    pub scenario: Scenario,
    /// FNV-1a of the log of all that happened.
    pub digest: u64,
    /// That log, if it was asked for: a line for each message, fault and outcome.
    pub text: Option<String>,
    /// How many events there were.
    pub events: u64,
    /// How much happened of what.
    pub counts: Counts,
    /// What was wrong, each with the property's name first; empty if nothing was.
    pub violations: Vec<String>,
}

impl Report {
    /// The command that runs this again, with all that happened.
    pub fn replay_line(&self) -> String {
        let (seed, servers) = (self.seed, self.scenario.servers);
        let bug = self.scenario.bug.map(|bug| format!(" --bug {bug:?}")).unwrap_or_default();
        format!("cargo xtask sim --seed {seed} --servers {servers}{bug} --trace")
    }
}

/// Simulates one cluster. The same seed and scenario give the same report, byte for byte.
pub fn run(seed: u64, scenario: Scenario) -> Report {
    run_with(seed, scenario, false)
}

/// As [`run`], and keeps the log.
pub fn run_traced(seed: u64, scenario: Scenario) -> Report {
    run_with(seed, scenario, true)
}

#[expect(clippy::disallowed_methods, reason = "a base to count from; its value is never seen")]
fn run_with(seed: u64, scenario: Scenario, keep_text: bool) -> Report {
    let mut cluster = Cluster::new(seed, scenario, Instant::now(), keep_text);
    // An assertion of the product that fails is a finding too.
    let outcome = catch_unwind(AssertUnwindSafe(|| cluster.run()));
    if let Err(panic) = outcome {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?");
        cluster.world.violation(format!("assertion: {text}"));
    }
    let world = cluster.world;
    Report {
        seed,
        scenario,
        digest: world.trace.digest.0,
        text: world.trace.text,
        events: world.events,
        counts: world.observer.counts,
        violations: world.observer.violations,
    }
}
