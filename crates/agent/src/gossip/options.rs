//! Settings of a pool.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use gossip::consul::{MergeRules, Tags};
use gossip::memberlist;
use gossip::serf;
use ipnet::IpNet;
use types::SecretId;

use super::files::Kept;

/// Which pool. It names files, metrics and log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The agents of one datacenter.
    Lan,
    /// The servers of all datacenters.
    Wan,
}

impl PoolKind {
    /// The name of its files.
    pub(super) fn file_stem(self) -> &'static str {
        match self {
            PoolKind::Lan => "local",
            PoolKind::Wan => "remote",
        }
    }
}

impl fmt::Display for PoolKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PoolKind::Lan => "lan",
            PoolKind::Wan => "wan",
        })
    }
}

/// Settings of a pool.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// This agent's name in the pool: that of the node; in the WAN pool
    /// [`gossip::consul::wan_name`].
    pub name: String,
    /// Which pool.
    pub kind: PoolKind,
    /// Whether this agent is a server, which the names of log lines tell.
    pub server: bool,
    /// Where to listen, for packets and streams; port 0 for any that is free.
    pub bind: SocketAddr,
    /// Where others reach this agent; port 0 for the one that is listened on.
    pub advertise: SocketAddr,
    /// Networks that members may be in; empty for all.
    pub allowed_networks: Vec<IpNet>,
    /// What this agent says of itself.
    pub tags: Tags,
    /// Who may be in the pool.
    pub merge: MergeRules,
    /// How often, how many, how long.
    pub timings: memberlist::Timings,
    /// How long a failed member is kept and tried.
    pub reconnect_timeout: Duration,
    /// How long this agent stays after a leave, for the others to hear of it.
    pub leave_propagate_delay: Duration,
    /// Base64 of a key; a keyring's file wins. `None`, and no such file: plain text.
    pub encrypt: Option<SecretId>,
    /// Whether plain text is refused, where there are keys.
    pub verify_incoming: bool,
    /// Whether to encrypt, where there are keys.
    pub verify_outgoing: bool,
    /// `serf` in the data directory; `None` to keep nothing.
    pub folder: Option<PathBuf>,
    /// Whether keys are kept there.
    pub keyring_file: bool,
    /// Whether to try the members of an earlier life even after a leave.
    pub rejoin_after_leave: bool,
    /// Whether to ask the pool which of two nodes with one name is to go.
    pub resolve_name_conflicts: bool,
    /// Where randomness starts.
    pub seed: u64,
}

impl PoolOptions {
    /// Consul's for a pool of one kind, with nothing kept, nothing encrypted and nobody refused.
    pub fn new(kind: PoolKind, name: &str, bind: SocketAddr, seed: u64) -> Self {
        let timings = match kind {
            PoolKind::Lan => memberlist::Timings::lan(),
            PoolKind::Wan => memberlist::Timings::wan(),
        };
        let defaults = serf::Timings::default();
        Self {
            name: name.to_owned(),
            kind,
            server: false,
            bind,
            advertise: bind,
            allowed_networks: Vec::new(),
            tags: Tags::new(),
            merge: MergeRules::Everybody,
            timings,
            reconnect_timeout: defaults.reconnect_timeout,
            leave_propagate_delay: defaults.leave_propagate_delay,
            encrypt: None,
            verify_incoming: true,
            verify_outgoing: true,
            folder: None,
            keyring_file: true,
            rejoin_after_leave: false,
            resolve_name_conflicts: false,
            seed,
        }
    }

    /// The machine's settings.
    pub(super) fn to_serf(&self, advertise: SocketAddr, kept: Kept) -> serf::Options {
        let mut list = memberlist::Options::new(&self.name, advertise, self.seed);
        list.timings = self.timings.clone();
        let mut options = serf::Options::new(list, self.seed);
        options.tags = self.tags.clone();
        options.merge = self.merge.clone();
        options.allowed_networks = self.allowed_networks.clone();
        options.persist_keyring = kept.persists_keyring;
        options.security.keyring = kept.keyring;
        options.security.verify_incoming = self.verify_incoming;
        options.security.verify_outgoing = self.verify_outgoing;
        options.snapshot = kept.snapshot;
        options.resolve_name_conflicts = self.resolve_name_conflicts;
        options.timings.reconnect_timeout = self.reconnect_timeout;
        options.timings.leave_propagate_delay = self.leave_propagate_delay;
        options
    }
}
