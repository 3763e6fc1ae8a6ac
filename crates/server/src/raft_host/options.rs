//! What a host needs to know of its configuration.

use std::sync::Arc;
use std::time::Duration;

use raft::ServerId;
use wal::LogOptions;

/// Most bytes of a command. Consul's own limits on requests are far below.
pub(super) const PROPOSAL_BYTES_MAX: usize = 64 << 20;

/// Options of a [`super::RaftHost`].
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// This server's node id.
    pub id: ServerId,
    /// `ip:port` at which other servers reach it.
    pub address: Arc<str>,
    /// Timings and limits of the core.
    pub raft: raft::Options,
    /// Seeds the random timeouts; different on each start.
    pub seed: u64,
    /// A fresh server makes itself the sole voter of a new cluster: `-dev`, `-bootstrap`
    /// and `-bootstrap-expect=1`.
    pub bootstrap: bool,
    /// Sizes of the log's files.
    pub log: LogOptions,
    /// Whether a snapshot is due is looked at after a random time in `[x, 2x)`
    /// (`raft_snapshot_interval`).
    pub snapshot_interval: Duration,
    /// For benchmarks: each sync takes this much longer, as on a slow disk.
    pub sync_delay: Duration,
}

/// What of [`HostOptions`] may change while the host runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSettings {
    /// See [`HostOptions::raft`].
    pub raft: raft::Options,
    /// See [`HostOptions::snapshot_interval`].
    pub snapshot_interval: Duration,
}

impl HostOptions {
    /// A server on a real disk with Consul's base timings.
    pub fn new(id: ServerId, address: Arc<str>, seed: u64) -> Self {
        Self {
            id,
            address,
            raft: raft::Options::default(),
            seed,
            bootstrap: false,
            log: LogOptions::default(),
            snapshot_interval: Duration::from_secs(30),
            sync_delay: Duration::ZERO,
        }
    }

    /// A server in memory, as with `-dev`: small segments, so that memory comes back
    /// soon, and its own sole voter.
    pub fn in_memory(id: ServerId, address: Arc<str>, seed: u64) -> Self {
        Self {
            raft: raft::Options::dev(),
            bootstrap: true,
            log: LogOptions { segment_bytes_first: 256 << 10, segment_bytes_max: 4 << 20 },
            ..Self::new(id, address, seed)
        }
    }

    /// Reads [`Self::sync_delay`] as milliseconds, possibly a fraction, from a text such
    /// as the value of `PROCONSUL_SYNC_DELAY_MS`; `None` if it is none.
    pub fn parse_sync_delay(milliseconds: &str) -> Option<Duration> {
        let milliseconds: f64 = milliseconds.trim().parse().ok()?;
        (0.0..60_000.0)
            .contains(&milliseconds)
            .then(|| Duration::from_secs_f64(milliseconds / 1000.0))
    }
}
