//! A Consul server: the replicated state, the one way to change it and the one way
//! to read it.
//!
//! - [`Server::write`]: authorize → prepare → propose → apply → reply. What enters the
//!   log is bytes; what reaches `apply` on this server is the command as it was typed.
//! - [`Server::read`]: authorize → run over a snapshot, or wait → reply. Everybody who
//!   asks the same question shares one evaluation and one encoded body ([`live`]).
//! - [`raft_host`]: the thread that owns the consensus core and the disk.
//! - [`fsm`]: applies committed commands to the store; [`state_file`] writes and reads
//!   the state in Consul's snapshot format.
//! - [`usage`]: how much there is, for the metrics.
//! - [`leader`]: what only a leader does; `memory`: what it remembers beside the state.

mod authority;
mod coordinates;
mod federation;
pub mod fsm;
pub mod leader;
pub mod live;
pub mod lock_delay;
mod memory;
mod metrics;
pub mod raft_host;
mod read;
mod session_expiry;
pub mod state_file;
pub mod usage;
mod write;

use std::sync::Arc;
use std::time::Duration;

use acl::Authorizer;
use contract::CallError;
use store::Store;
use types::{Datacenter, SecretId};

pub use read::Answer;

use crate::live::LiveQueries;
use crate::lock_delay::LockDelays;
use crate::memory::Memory;
use crate::metrics::CallMetrics;
use crate::raft_host::RaftHost;

/// What a server needs to know of its configuration.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Its datacenter.
    pub datacenter: Datacenter,
    /// `default_query_time`: how long a blocking query waits that does not say.
    pub default_query_time: Duration,
    /// `max_query_time`: how long it waits at most.
    pub max_query_time: Duration,
    /// `performance.rpc_hold_timeout`: how long a request waits for a leader to appear.
    pub hold_timeout: Duration,
    /// Whether a leader makes the root of the mesh when there is none.
    pub makes_authority: bool,
    /// How often a leader writes the coordinates that nodes told it.
    pub coordinate_update_period: Duration,
}

/// A server. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    options: ServerOptions,
    store: Store,
    live: LiveQueries,
    raft: RaftHost,
    memory: Memory,
    metrics: CallMetrics,
}

impl Server {
    /// A server over a running Raft host, whose applier fills `store` and notes
    /// `lock_delays`.
    pub fn new(
        options: ServerOptions,
        store: Store,
        raft: RaftHost,
        lock_delays: LockDelays,
    ) -> Self {
        let live = LiveQueries::new(store.clone());
        let memory = Memory::new(lock_delays);
        let metrics = CallMetrics::new();
        Self { shared: Arc::new(Shared { options, store, live, raft, memory, metrics }) }
    }

    /// The state.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The consensus part.
    pub fn raft(&self) -> &RaftHost {
        &self.shared.raft
    }

    /// For how long nobody can lock a key, because a session that held it ended lately.
    /// Known to the leader alone.
    pub fn lock_delay_left(&self, key: &str) -> Option<std::time::Duration> {
        self.shared.memory.sessions.lock_delay_left(key)
    }

    /// What a token may do. While ACLs are off, everything.
    fn authorizer(&self, _token: &SecretId) -> Authorizer {
        Authorizer::allow_all()
    }

    /// There is no way to other datacenters yet.
    fn check_datacenter(&self, wanted: &Datacenter) -> Result<(), CallError> {
        if wanted.is_empty() || *wanted == self.shared.options.datacenter {
            return Ok(());
        }
        Err(CallError::no_path_to_datacenter())
    }
}
