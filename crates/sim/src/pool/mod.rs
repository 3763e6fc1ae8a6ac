//! Gossip pools under faults: agents that come, go, crash, freeze and move, on a network that
//! loses, doubles, delays and cuts.
//!
//! Each agent is the product's [`gossip::serf::Serf`]; only the shell and the outside are
//! simulated, and time is virtual. What is checked:
//! * while it runs: an event is delivered once, and not again after a restart with the file of the
//!   earlier life; Lamport clocks and incarnations only grow; a refuted death does not count; what
//!   a push/pull tells as left is not taken in; a query comes once, to those whom it is for, and what
//!   its asker hears was answered; keys that were told as kept are kept;
//! * in calm weather: nobody who is there is suspected, also where one pair of agents cannot reach
//!   each other; who crashed is found in time; answers come, if need be over others; of two with one
//!   name the later one gives up; who is not starved is not taken for failed by others of these;
//! * after the last fault, in bounded time: all agree who is alive, failed and left, know the
//!   latest tags, and have every event, whatever was done to the keys meanwhile.

mod agent;
mod bug;
mod checker;
mod keys;
mod names;
mod nemesis;
mod network;
mod queries;
mod weather;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use network::Network;

pub use bug::Bug;

/// What to simulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Agents, 3 to 200.
    pub agents: u8,
    /// The mistake to make, if any.
    pub bug: Option<Bug>,
}

/// How much happened of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Runs in calm weather.
    pub calm: u64,
    /// Crashes.
    pub crashes: u64,
    /// Agents started again.
    pub restarts: u64,
    /// Of these, with another address.
    pub moves: u64,
    /// Graceful leaves.
    pub leaves: u64,
    /// Leaves that an operator forced.
    pub forced: u64,
    /// Partitions.
    pub partitions: u64,
    /// Agents that stood still.
    pub freezes: u64,
    /// New tags.
    pub tags: u64,
    /// User events sent.
    pub events: u64,
    /// User events delivered.
    pub delivered: u64,
    /// Members declared failed, by each who did.
    pub failed: u64,
    /// Of these, in calm weather, those who were starved or were so declared by who was.
    pub starved_failures: u64,
    /// Cuts of single ways.
    pub one_way: u64,
    /// Queries asked.
    pub queries: u64,
    /// Answers that came.
    pub answers: u64,
    /// Agents with a name that was taken.
    pub twins: u64,
    /// Changes of keys that were ordered.
    pub key_operations: u64,
    /// Keys that took the place of another one everywhere.
    pub rotations: u64,
    /// Seconds until all agreed; the longest, when added.
    pub healing: u64,
}

impl Counts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Counts) {
        self.calm += other.calm;
        self.crashes += other.crashes;
        self.restarts += other.restarts;
        self.moves += other.moves;
        self.leaves += other.leaves;
        self.forced += other.forced;
        self.partitions += other.partitions;
        self.freezes += other.freezes;
        self.tags += other.tags;
        self.events += other.events;
        self.delivered += other.delivered;
        self.failed += other.failed;
        self.starved_failures += other.starved_failures;
        self.one_way += other.one_way;
        self.queries += other.queries;
        self.answers += other.answers;
        self.twins += other.twins;
        self.key_operations += other.key_operations;
        self.rotations += other.rotations;
        self.healing = self.healing.max(other.healing);
    }
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was simulated.
    pub scenario: Scenario,
    /// FNV-1a of the log of all that happened.
    pub digest: u64,
    /// That log, if it was asked for.
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
        let (seed, agents) = (self.seed, self.scenario.agents);
        let bug = self.scenario.bug.map(|bug| format!(" --bug {bug:?}")).unwrap_or_default();
        format!("cargo xtask sim --pool --seed {seed} --agents {agents}{bug} --trace")
    }
}

/// Simulates one pool. The same seed and scenario give the same report, byte for byte.
#[expect(clippy::disallowed_methods, reason = "a base to count from; its value is never seen")]
pub fn run(seed: u64, scenario: Scenario, keep_text: bool) -> Report {
    let mut network = Network::new(seed, scenario, Instant::now(), keep_text);
    // An assertion of the product that fails is a finding too.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| network.run())) {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?");
        network.violation(format!("assertion: {text}"));
    }
    Report {
        seed,
        scenario,
        digest: network.trace.digest.0,
        text: network.trace.text,
        events: network.events,
        counts: network.counts,
        violations: network.violations,
    }
}
