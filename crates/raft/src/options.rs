//! Timings and limits. Defaults and meanings: `reference/raft-and-snapshots.md` section 4.

use std::time::Duration;

/// Timings and limits of one core. All may be changed between two inputs with
/// [`crate::Core::set_options`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A follower that hears nothing from a leader for a random time in `[x, 2x)` campaigns.
    /// A leader sends a heartbeat every random time in `[x/10, x/5)`.
    pub heartbeat_timeout: Duration,
    /// A candidate tries again after a random time in `[x, 2x)`; also the deadline of a
    /// leadership transfer.
    pub election_timeout: Duration,
    /// A leader that has not been in contact with a quorum for this long steps down. Must not
    /// be above `heartbeat_timeout`. See also [`Options::read_lease`].
    pub leader_lease_timeout: Duration,
    /// An idle leader tells followers of the commit index after a random time in `[x, 2x)`.
    pub commit_timeout: Duration,
    /// Whether a campaign begins by asking whether it can be won (thesis 9.6).
    pub pre_vote: bool,
    /// A request for entries or a heartbeat that was neither answered nor reported as failed
    /// counts as failed after this long. For snapshots it is scaled with their size.
    pub request_timeout: Duration,
    /// Most entries in one AppendEntries, at least 1.
    pub max_append_entries: usize,
    /// Most bytes of entry data in one AppendEntries; one entry always fits.
    pub max_append_bytes: usize,
    /// Most unanswered AppendEntries with entries to one follower, at least 1.
    pub max_in_flight: usize,
    /// Most bytes of entry data in one [`crate::Action::Apply`]; one entry always fits.
    pub max_apply_bytes: usize,
    /// Bytes of durable entry data to keep in memory for slow followers and for applying.
    pub cache_bytes: usize,
    /// Entries to keep before a snapshot, so that a slow follower needs no snapshot.
    pub trailing_logs: u64,
    /// Entries since the last snapshot that make the next one due.
    pub snapshot_threshold: u64,
}

impl Default for Options {
    /// The base values, as with `performance.raft_multiplier` 1.
    fn default() -> Self {
        Options {
            heartbeat_timeout: Duration::from_millis(1000),
            election_timeout: Duration::from_millis(1000),
            leader_lease_timeout: Duration::from_millis(500),
            commit_timeout: Duration::from_millis(50),
            pre_vote: true,
            request_timeout: Duration::from_secs(10),
            max_append_entries: 64,
            max_append_bytes: 4 << 20,
            max_in_flight: 2,
            max_apply_bytes: 4 << 20,
            cache_bytes: 8 << 20,
            trailing_logs: 10240,
            snapshot_threshold: 16384,
        }
    }
}

impl Options {
    /// How long after a quorum was in contact a leader answers reads without asking again:
    /// half of the time after which it would step down, and longer than the time between two
    /// heartbeats.
    pub fn read_lease(&self) -> Duration {
        self.leader_lease_timeout / 2
    }

    /// How long after it heard a leader, whose process is said to have ended, a server may have
    /// another: longer than [`Options::read_lease`], by a fifth, as clocks are not equal.
    pub fn early_vote(&self) -> Duration {
        self.leader_lease_timeout * 3 / 5
    }

    /// What a round of an election takes with some haste: 50 ms at a heartbeat timeout of a
    /// second.
    pub fn hurry(&self) -> Duration {
        self.heartbeat_timeout / 20
    }

    /// The base values times `performance.raft_multiplier`, 1 to 10 (Consul's default is 5).
    pub fn with_multiplier(multiplier: u32) -> Self {
        let base = Options::default();
        Options {
            heartbeat_timeout: base.heartbeat_timeout * multiplier,
            election_timeout: base.election_timeout * multiplier,
            leader_lease_timeout: base.leader_lease_timeout * multiplier,
            ..base
        }
    }

    /// The timings of `consul agent -dev`: heartbeat 35 ms, election 52 ms, lease 20 ms.
    pub fn dev() -> Self {
        Options {
            heartbeat_timeout: Duration::from_millis(35),
            election_timeout: Duration::from_millis(52),
            leader_lease_timeout: Duration::from_millis(20),
            ..Options::default()
        }
    }
}
