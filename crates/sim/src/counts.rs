//! How much happened of what.

use contract::Consistency;
use domains::session::SessionOp;

use crate::call::{Change, What};

/// How much happened, to see that a run tests what it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Elections won.
    pub elections: u64,
    /// Entries committed.
    pub commits: u64,
    /// Snapshots that servers made of their own state.
    pub snapshots: u64,
    /// Snapshots that servers were sent.
    pub installs: u64,
    /// Starts after the first, of all servers.
    pub restarts: u64,
    /// Log suffixes removed.
    pub truncations: u64,
    /// Writes that clients were told of.
    pub writes: u64,
    /// Reads under the lease.
    pub default_reads: u64,
    /// Reads after a confirmation of leadership.
    pub consistent_reads: u64,
    /// Reads anywhere.
    pub stale_reads: u64,
    /// Operations whose outcome no client knows.
    pub unknown: u64,
    /// Configurations appended by leaders.
    pub changes: u64,
    /// Runs that ended without a leader after careless changes of members.
    pub leaderless: u64,
    /// Groups of keys whose history was too hard to check.
    pub undecided: u64,
    /// Queries that waited and were woken.
    pub woken: u64,
    /// Sessions that ended.
    pub sessions: u64,
}

impl Counts {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Counts) {
        let Counts { elections, commits, snapshots, installs, restarts, truncations, .. } = other;
        self.elections += elections;
        self.commits += commits;
        self.snapshots += snapshots;
        self.installs += installs;
        self.restarts += restarts;
        self.truncations += truncations;
        self.writes += other.writes;
        self.default_reads += other.default_reads;
        self.consistent_reads += other.consistent_reads;
        self.stale_reads += other.stale_reads;
        self.unknown += other.unknown;
        self.changes += other.changes;
        self.leaderless += other.leaderless;
        self.undecided += other.undecided;
        self.woken += other.woken;
        self.sessions += other.sessions;
    }

    /// A client was told the outcome of what it asked.
    pub(crate) fn answered(&mut self, what: &What) {
        let counter = match what {
            What::Change(Change::Session(command)) if command.op == SessionOp::Destroy => {
                self.writes += 1;
                &mut self.sessions
            }
            What::Change(_) => &mut self.writes,
            What::Ask { consistency: Consistency::Default, .. } => &mut self.default_reads,
            What::Ask { consistency: Consistency::Consistent, .. } => &mut self.consistent_reads,
            What::Ask { consistency: Consistency::Stale, .. } => &mut self.stale_reads,
        };
        *counter += 1;
    }
}
