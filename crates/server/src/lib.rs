//! A Consul server: the replicated state, the one way to change it and the one way
//! to read it.
//!
//! - [`Server::write`]: authorize → prepare → propose → apply → reply. What enters the
//!   log is bytes; what reaches `apply` on this server is the command as it was typed.
//! - [`Server::read`]: authorize → run over a snapshot, or wait → reply. Everybody who
//!   asks the same question shares one evaluation and one encoded body ([`replica::live`]).
//! - [`Server::act`]: several reads, of which each depends on the answers before.
//! - [`raft_host`]: the thread that owns the consensus core and the disk.
//! - [`bootstrap`]: how the servers of a new cluster find that they are all there.
//! - [`raft_transport`]: the way to the Raft hosts of other servers.
//! - [`fsm`]: applies committed commands to the store, over `replica`, which holds what is
//!   pure about that.
//! - `subscribe`: what changes, told to whoever subscribed to it.
//! - [`rate_limit`]: how many calls a second are taken on.
//! - `operator`: an operator looks at the quorum and changes it.
//! - [`recovery`]: an operator has those servers go on that are left.
//! - `snapshot_archive`: an operator saves and restores the state.
//! - [`usage`]: how much there is, for the metrics.
//! - [`leader`]: what only a leader does; `memory`: what it remembers beside the state;
//!   `duties`: how that and a restore take turns.

mod act;
mod authority;
pub mod autopilot;
pub mod bootstrap;
mod coordinates;
mod duties;
pub mod endpoint;
mod event;
mod federation;
mod forward;
pub mod fsm;
pub mod gossip;
mod grpc_status;
mod keyring;
pub mod leader;
mod leave;
pub mod lock_delay;
mod memory;
mod metrics;
mod operator;
pub mod peers;
pub mod raft_host;
pub mod raft_transport;
pub mod rate_limit;
mod read;
mod reconcile;
pub mod recovery;
mod server_member;
mod session_expiry;
mod snapshot_archive;
mod subscribe;
mod system_metadata;
#[cfg(test)]
mod testing;
pub mod usage;
mod write;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use acl::Authorizer;
use contract::CallError;
use replica::live::LiveQueries;
use store::Store;
use tokio::sync::watch;
use types::autopilot::AutopilotConfiguration;
use types::{Datacenter, GoDuration, SecretId};

pub use coordinates::datacenter_maps;
pub use event::{EventFireRequest, fire_event};
pub use keyring::operate_keys;
pub use leave::leave;
pub use read::Answer;
pub use snapshot_archive::{Archive, Restored, SavedSnapshot, check_archive};

use crate::duties::Duties;
use crate::gossip::{Gossip, NoGossip};
use crate::lock_delay::LockDelays;
use crate::memory::Memory;
use crate::metrics::CallMetrics;
use crate::peers::Peers;
use crate::raft_host::RaftHost;
use crate::rate_limit::{Asked, Caller, Class, RequestLimiter, RequestLimits};
use crate::subscribe::Feeds;

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
    /// `limits.rpc_client_timeout`: how long another server may take to answer what does not
    /// wait for a change; zero for no limit.
    pub client_timeout: Duration,
    /// `session_ttl_min`: the shortest time that a session may be given to live.
    pub session_ttl_min: GoDuration,
    /// `connect.enabled`: whether there is a mesh.
    pub connect_enabled: bool,
    /// Whether its datacenter is the one that the others follow (`primary_datacenter`).
    pub is_primary: bool,
    /// Whether a leader makes the root of the mesh when there is none.
    pub makes_authority: bool,
    /// How often a leader writes the coordinates that nodes told it.
    pub coordinate_update_period: Duration,
    /// What autopilot goes by in a new cluster.
    pub autopilot: AutopilotConfiguration,
    /// `rpc.enable_streaming`: whether others may subscribe to changes.
    pub enable_streaming: bool,
    /// Whether the state of a cluster with ACLs in force may be restored, which is then kept
    /// without being obeyed.
    pub keeps_acls: bool,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            datacenter: "dc1".into(),
            default_query_time: Duration::from_secs(300),
            max_query_time: Duration::from_secs(600),
            hold_timeout: Duration::from_secs(7),
            client_timeout: Duration::from_secs(60),
            session_ttl_min: GoDuration::from_secs(10),
            connect_enabled: true,
            is_primary: true,
            makes_authority: true,
            coordinate_update_period: Duration::from_secs(5),
            autopilot: AutopilotConfiguration::default(),
            enable_streaming: true,
            keeps_acls: false,
        }
    }
}

/// A server. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
    /// On whose behalf this handle works.
    caller: Caller,
}

struct Shared {
    options: ServerOptions,
    store: Store,
    live: LiveQueries,
    feeds: Feeds,
    raft: RaftHost,
    memory: Memory,
    metrics: CallMetrics,
    limiter: RequestLimiter,
    duties: Duties,
    connected: OnceLock<Surroundings>,
    /// What it has until it is connected.
    alone: Surroundings,
    /// Whether the leader that this server is has taken on its duties.
    established: watch::Sender<bool>,
    /// Whether the leader that this server is has looked at all members once.
    reconciled: watch::Sender<bool>,
    /// Whether this server is about to leave, and takes on no more calls.
    leaving: AtomicBool,
}

/// What a server has around it.
struct Surroundings {
    peers: Peers,
    gossip: Arc<dyn Gossip>,
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
        let (metrics, limiter) = (CallMetrics::new(), RequestLimiter::default());
        let duties = Duties::default();
        let peers = Peers::none(options.datacenter.clone());
        let alone = Surroundings { peers, gossip: Arc::new(NoGossip) };
        let shared = Shared {
            options,
            store,
            live,
            feeds: Feeds::default(),
            raft,
            memory,
            metrics,
            limiter,
            duties,
            connected: OnceLock::new(),
            alone,
            // Until somebody does a leader's duties there are none to wait for.
            established: watch::Sender::new(true),
            reconciled: watch::Sender::new(true),
            leaving: AtomicBool::new(false),
        };
        let shared = Arc::new(shared);
        Self { shared, caller: Caller::Server }
    }

    /// Tells the server how to reach others and the gossip pools, once. Before, it is alone.
    pub fn connect(&self, peers: Peers, gossip: Arc<dyn Gossip>) {
        let connected = self.shared.connected.set(Surroundings { peers, gossip });
        assert!(connected.is_ok(), "a server is connected once");
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.surroundings().peers
    }

    pub(crate) fn gossip(&self) -> &dyn Gossip {
        &*self.surroundings().gossip
    }

    fn surroundings(&self) -> &Surroundings {
        self.shared.connected.get().unwrap_or(&self.shared.alone)
    }

    /// A handle that works on behalf of somebody, who may be limited.
    #[must_use]
    pub fn called_by(&self, caller: Caller) -> Self {
        Self { caller, ..self.clone() }
    }

    /// Sets how many calls a second are taken on, from now on.
    pub fn limit_requests(&self, limits: RequestLimits) {
        self.shared.limiter.set(limits, std::time::Instant::now());
    }

    /// Counts a call against the limits. A leader's calls can be made nowhere else,
    /// except for those that any server may answer.
    fn admit(
        &self,
        class: Class,
        name: &'static str,
        by_any_server: bool,
    ) -> Result<(), CallError> {
        let here_only = !by_any_server && self.raft().is_leader();
        let asked = Asked { class, name, caller: self.caller, here_only };
        self.shared.limiter.admit(asked, std::time::Instant::now())
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

    /// All datacenters that are known, the nearest first, and so its own first of all.
    pub fn datacenters(&self) -> Vec<Datacenter> {
        let own = self.shared.options.datacenter.clone();
        std::iter::once(own).chain(self.other_datacenters()).collect()
    }

    /// The other datacenters that can be asked, the nearest first.
    pub fn other_datacenters(&self) -> Vec<Datacenter> {
        let own = &self.shared.options.datacenter;
        self.peers().others(own, |server| self.gossip().distance(server))
    }
}
