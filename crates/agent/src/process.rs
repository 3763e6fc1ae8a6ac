//! The life of an agent: start, signals, reload, leaving, the end.
//!
//! Lines and exit codes: `reference/cli.md` 3.1 and 3.2, `reference/telemetry.md` 4.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use config::{Environment, Loaded, RuntimeConfig, Sources};
use contract::CallError;
use telemetry::Metrics;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use types::NodeId;
use types::catalog::Node;
use types::member::Member;
use types::version::CONSUL_VERSION;

use crate::acl_safety;
use crate::banner::banner;
use crate::data_dir::{self, PidFile};
use crate::delegate::Delegate;
use crate::endpoint::AuthorizerHook;
use crate::environment::read_environment;
use crate::file_watch::FileWatch;
use crate::local::Local;
use crate::logging::{Level, LogFile, Logging, Rotation, Syslog};
use crate::parts::{self, Parts};
use crate::pools::Pools;
use crate::reload::Reason;
use crate::server_port::ServerPort;
use crate::service_manager;
use crate::settings;
use crate::snapshot_schedule::SharedStatus;
use crate::watches::WatchSettings;

/// How long leaving may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(15);

/// What `log_rotate_duration` is when it is zero.
const LOG_ROTATE_DURATION: Duration = Duration::from_secs(24 * 3600);

/// How often a server notes that it is alive.
const NOTE_SEEN_INTERVAL: Duration = Duration::from_secs(3600);

/// What `consul agent` was started with.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Where the configuration comes from.
    pub sources: Sources,
    /// Flags and spellings that work and have a newer name: one warning each.
    pub warnings: Vec<String>,
}

/// Something that a client of the HTTP API orders the agent to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Read the configuration again.
    Reload,
    /// Leave and stop.
    Leave,
}

type OrderSender = mpsc::Sender<(Order, oneshot::Sender<Result<(), String>>)>;

/// The agent as its endpoints see it. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct AgentHandle {
    shared: Arc<Shared>,
}

struct Shared {
    config: Arc<ArcSwap<RuntimeConfig>>,
    node_id: NodeId,
    orders: OrderSender,
    authorizer: AuthorizerHook,
    delegate: Delegate,
    pools: Pools,
    rpc_pool: rpc::Pool,
    rpc_tls: rpc::Tls,
    local: OnceLock<Local>,
    snapshots: SharedStatus,
}

impl AgentHandle {
    /// The running configuration.
    pub(crate) fn config(&self) -> Arc<RuntimeConfig> {
        self.shared.config.load_full()
    }

    /// The node id.
    pub(crate) fn node_id(&self) -> &NodeId {
        &self.shared.node_id
    }

    /// Tells what a token may do.
    pub(crate) fn authorizer(&self) -> &AuthorizerHook {
        &self.shared.authorizer
    }

    /// The gossip pools.
    pub(crate) fn pools(&self) -> &Pools {
        &self.shared.pools
    }

    /// The connections to servers.
    pub(crate) fn rpc_pool(&self) -> &rpc::Pool {
        &self.shared.rpc_pool
    }

    /// How TLS is spoken on the server port and on the way to it.
    pub(crate) fn rpc_tls(&self) -> &rpc::Tls {
        &self.shared.rpc_tls
    }

    /// This agent in the LAN pool.
    pub(crate) fn lan_member(&self) -> Member {
        let name = self.config().identity.node_name.clone();
        let members = self.lan_members();
        members.into_iter().find(|member| member.name == name.as_str()).unwrap_or_default()
    }

    /// The members of the LAN pool, this agent included.
    pub(crate) fn lan_members(&self) -> Vec<Member> {
        self.pools().lan_members()
    }

    /// The metadata of this node, as it stands in the catalog.
    pub(crate) fn node_meta(&self) -> BTreeMap<String, String> {
        node_meta(&self.config())
    }

    /// The services and checks of this agent, once they are loaded.
    pub(crate) fn local(&self) -> Option<&Local> {
        self.shared.local.get()
    }

    /// What became of the scheduled snapshots.
    pub(crate) fn snapshots(&self) -> &SharedStatus {
        &self.shared.snapshots
    }

    /// Sets [`Self::local`], once.
    pub(crate) fn set_local(&self, local: Local) {
        // Only the start sets it.
        let _ = self.shared.local.set(local);
    }

    /// What the catalog is told of this node.
    pub(crate) fn node(&self) -> Node {
        node(&self.config(), self.node_id())
    }

    /// The way into the cluster.
    pub(crate) fn delegate(&self) -> &Delegate {
        &self.shared.delegate
    }

    /// Orders something and waits until it is done.
    pub(crate) async fn order(&self, order: Order) -> Result<(), CallError> {
        let (done, outcome) = oneshot::channel();
        let stopping = || CallError::failed("the agent is shutting down");
        self.shared.orders.send((order, done)).await.map_err(|_| stopping())?;
        outcome.await.map_err(|_| stopping())?.map_err(CallError::failed)
    }
}

/// What the catalog is told of a node with this configuration.
pub(crate) fn node(config: &RuntimeConfig, id: &NodeId) -> Node {
    Node {
        id: id.clone(),
        node: config.identity.node_name.clone(),
        address: config.network.advertise_lan.to_string(),
        datacenter: config.identity.datacenter.clone(),
        tagged_addresses: Some(config.identity.tagged_addresses.clone()),
        meta: Some(node_meta(config)),
        locality: config.identity.locality.clone(),
        ..Node::default()
    }
}

/// The configured metadata and what every agent adds.
pub(crate) fn node_meta(config: &RuntimeConfig) -> BTreeMap<String, String> {
    let mut meta = config.identity.node_meta.clone();
    meta.insert("consul-network-segment".to_owned(), String::new());
    meta.insert("consul-version".to_owned(), CONSUL_VERSION.to_owned());
    meta
}

/// Runs an agent until it stops, and returns the exit code of the process.
pub fn run(options: &RunOptions) -> u8 {
    let environment = read_environment();
    let loaded = match load(&options.sources, &environment) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error),
    };
    if let Err(error) = check_before_start(&loaded.config) {
        return refuse(&error);
    }
    let logging = match start_logging(&loaded.config) {
        Ok(logging) => logging,
        Err(error) => return refuse(&error),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(run_loaded(options, environment, loaded, &logging)),
        Err(error) => refuse(&format!("cannot start the runtime: {error}")),
    }
}

/// What is refused before there is a log.
pub(crate) fn check_before_start(config: &RuntimeConfig) -> Result<(), String> {
    config.tls.check()?;
    let tls = &config.tls;
    for file in
        [&tls.internal_rpc, &tls.https, &tls.grpc].into_iter().filter_map(|t| t.ca_file.as_ref())
    {
        if !file.exists() {
            let file = file.display();
            return Err(format!(
                "Error loading from {file}: open {file}: no such file or directory"
            ));
        }
    }
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    config.limits.check_open_files(descriptors.current.unwrap_or(u64::MAX))
}

/// What is refused once there is a log.
fn check_at_start(config: &RuntimeConfig) -> Result<(), String> {
    let policy = config.acl.default_policy.as_str();
    if config.acl.enabled && !matches!(policy, "" | "allow" | "deny") {
        return Err(format!(
            "Failed to start Consul server: Unsupported default ACL policy: {policy}"
        ));
    }
    acl_safety::refuse_configured(config)?;
    WatchSettings::read(config).map(drop)
}

/// Errors from before the log: one line on standard error.
fn refuse(error: &str) -> u8 {
    // If standard error is gone there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "==> {error}");
    1
}

fn load(sources: &Sources, environment: &Environment) -> Result<Loaded, String> {
    let loaded = config::load(sources, &config::Disk, environment);
    loaded.map_err(|error| error.to_string())
}

fn start_logging(config: &RuntimeConfig) -> Result<Logging, String> {
    use tracing_subscriber::layer::SubscriberExt as _;

    config.log.level()?;
    let level = Level::parse(&config.log.level_text).unwrap_or(Level::Info);
    let file = config.log.file.as_deref().map(|path| open_log(config, path)).transpose()?;
    let syslog = match config.log.syslog {
        true => Some(Syslog::open(&config.log.syslog_facility)?),
        false => None,
    };
    let logging = Logging::new(level, config.log.json, file, syslog);
    let subscriber = tracing_subscriber::registry().with(logging.layer());
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| format!("Failed to setup logging: {error}"))?;
    Ok(logging)
}

fn open_log(config: &RuntimeConfig, path: &Path) -> Result<LogFile, String> {
    let rotation = Rotation {
        bytes: u64::try_from(config.log.rotate_bytes).unwrap_or(0),
        age: match config.log.rotate_duration {
            unset if unset.is_zero() => LOG_ROTATE_DURATION,
            set => set.to_std(),
        },
        files_max: config.log.rotate_max_files,
    };
    let file = LogFile::open(path, rotation)
        .map_err(|error| format!("Failed to setup logging: {error}"))?;
    file.prune().map_err(|error| format!("Failed to prune log files: {error}"))?;
    Ok(file)
}

/// How a run ends.
enum Ending {
    /// After leaving; exit code 0.
    Graceful,
    /// Without leaving; exit code 1.
    Abrupt,
    /// Leaving was ordered over HTTP, and whoever did waits for the outcome.
    Ordered(oneshot::Sender<Result<(), String>>),
}

async fn run_loaded(
    options: &RunOptions,
    environment: Environment,
    loaded: Loaded,
    logging: &Logging,
) -> u8 {
    let signals =
        Signals::new().and_then(|signals| Ok((signals, signal(SignalKind::user_defined1())?)));
    let (mut signals, mut metrics_wanted) = match signals {
        Ok(signals) => signals,
        Err(error) => return refuse(&format!("cannot handle signals: {error}")),
    };
    let files = FileWatch::start(&options.sources, &loaded.config);
    let node_id = match prepare_data_dir(&loaded.config) {
        Ok(node_id) => node_id,
        Err(error) => return refuse(&error),
    };
    if !loaded.config.log.json {
        let text = banner(&loaded.config, node_id.as_str());
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    }
    logging.begin();
    warn_of_settings(options, &loaded);
    let code = match start(options, environment, loaded.config, node_id, logging).await {
        Ok(mut running) => {
            running.files = files;
            tracing::info!(target: "agent", "Consul agent running!");
            let ending = running.supervise(&mut signals, &mut metrics_wanted, logging).await;
            running.finish(ending, &mut signals).await
        }
        Err(error) => {
            tracing::error!(target: "agent", error, "Error starting agent");
            1
        }
    };
    tracing::info!(target: "agent", code, "Exit code");
    logging.finish();
    code
}

fn prepare_data_dir(config: &RuntimeConfig) -> Result<NodeId, String> {
    let text = |error: data_dir::DataDirError| error.to_string();
    if let Some(dir) = config.data_dir.as_deref().filter(|_| !config.dev) {
        if config.server {
            data_dir::check_foreign_log(dir).map_err(text)?;
        }
        data_dir::create(dir).map_err(text)?;
        if config.server {
            data_dir::check_last_seen(dir, config.leave.server_rejoin_age_max).map_err(text)?;
            note_seen(config);
        }
    }
    data_dir::node_id(config).map_err(text)
}

/// Notes that the server is there. Without room on the disk it runs all the same: reads do
/// not need any, and writes say what they need.
fn note_seen(config: &RuntimeConfig) {
    let Some(dir) = config.data_dir.as_deref().filter(|_| config.server && !config.dev) else {
        return;
    };
    if let Err(error) = data_dir::note_seen(dir) {
        tracing::warn!(target: "agent", error = %error, "Cannot note that the server is alive");
    }
}

fn warn_of_settings(options: &RunOptions, loaded: &Loaded) {
    for warning in options.warnings.iter().chain(&loaded.warnings) {
        tracing::warn!(target: "agent", "{warning}");
    }
    for setting in &loaded.without_effect {
        tracing::warn!(target: "agent", "{setting}");
    }
}

async fn start(
    options: &RunOptions,
    environment: Environment,
    config: RuntimeConfig,
    node_id: NodeId,
    logging: &Logging,
) -> Result<Running, String> {
    check_at_start(&config)?;
    let (orders, order_queue) = mpsc::channel(16);
    let pid_file = match &config.pid_file {
        Some(path) => Some(PidFile::write(path).map_err(|error| error.to_string())?),
        None => None,
    };
    // Before anything that counts.
    let metrics = Metrics::install(&settings::telemetry(&config));
    metrics.check_sinks().await.map_err(|error| error.to_string())?;
    let config = Arc::new(ArcSwap::from_pointee(config));
    let authorizer: AuthorizerHook = Arc::new(|_| acl::Authorizer::allow_all());
    let router = rpc::Router::new(config.load().identity.datacenter.clone());
    let rpc_tls = settings::rpc_tls(&config.load())?;
    let rpc_pool = rpc::Pool::new(settings::rpc_pool(&config.load(), &rpc_tls));
    let mut port = match config.load().server {
        true => Some(ServerPort::bind(&config.load(), &node_id, &rpc_pool, rpc_tls.clone())?),
        false => None,
    };
    let ways = (&rpc_pool, &router);
    let delegate = parts::start_delegate(&config.load(), &node_id, ways, port.as_mut())?;
    let pools = Pools::start(&config.load_full(), &node_id, router).await?;
    let handle = AgentHandle {
        shared: Arc::new(Shared {
            config: Arc::clone(&config),
            node_id: node_id.clone(),
            orders,
            authorizer,
            delegate,
            pools,
            rpc_pool,
            rpc_tls,
            local: OnceLock::new(),
            snapshots: SharedStatus::default(),
        }),
    };
    let parts = Parts::start(&handle, port, logging, &metrics).await?;
    Ok(Running {
        sources: options.sources.clone(),
        environment,
        config,
        files: None,
        is_ready: false,
        parts,
        metrics,
        order_queue,
        _pid_file: pid_file,
    })
}

/// A started agent.
pub(crate) struct Running {
    pub(crate) sources: Sources,
    /// What the machine said of itself at the start.
    pub(crate) environment: Environment,
    pub(crate) config: Arc<ArcSwap<RuntimeConfig>>,
    /// With `auto_reload_config`.
    pub(crate) files: Option<FileWatch>,
    /// Whether the service manager was told that the agent serves.
    pub(crate) is_ready: bool,
    pub(crate) parts: Parts,
    pub(crate) metrics: Metrics,
    order_queue: mpsc::Receiver<(Order, oneshot::Sender<Result<(), String>>)>,
    _pid_file: Option<PidFile>,
}

impl Running {
    /// Serves until something ends the run.
    async fn supervise(
        &mut self,
        signals: &mut Signals,
        metrics_wanted: &mut Signal,
        logging: &Logging,
    ) -> Ending {
        let mut seen = tokio::time::interval(NOTE_SEEN_INTERVAL);
        let mut leader = Box::pin(self.parts.leader_known());
        loop {
            tokio::select! {
                _ = metrics_wanted.recv() => {
                    // If standard error is gone there is nobody to show it to.
                    let _ = std::io::stderr().lock().write_all(self.metrics.lines().as_bytes());
                }
                caught = signals.next() => {
                    tracing::info!(target: "agent", signal = caught.name(), "Caught");
                    if caught == Caught::Hangup {
                        // The outcome is in the log; nobody waits for it.
                        let _ = self.reload(Reason::Order, logging).await;
                        continue;
                    }
                    return self.ending_of(caught);
                }
                Some((order, done)) = self.order_queue.recv() => match order {
                    Order::Reload => {
                        let outcome = self.reload(Reason::Order, logging).await;
                        let _ = done.send(outcome);
                    }
                    Order::Leave => return Ending::Ordered(done),
                },
                error = self.parts.fatal() => {
                    tracing::error!(target: "agent", error, "The agent cannot go on");
                    return Ending::Abrupt;
                }
                error = self.parts.join_failed() => {
                    tracing::error!(target: "agent", error, "Retry join failed");
                    return Ending::Abrupt;
                }
                changed = changed_files(&mut self.files) => {
                    let _ = self.reload(Reason::Files(changed), logging).await;
                }
                () = &mut leader, if !self.is_ready => {
                    self.is_ready = true;
                    service_manager::ready();
                }
                _ = seen.tick() => note_seen(&self.config.load()),
            }
        }
    }

    fn ending_of(&self, caught: Caught) -> Ending {
        let leave = &self.config.load().leave;
        let graceful = match caught {
            Caught::Interrupt => !leave.skip_on_interrupt,
            Caught::Terminate => leave.on_terminate,
            Caught::Hangup => false,
        };
        if graceful {
            tracing::info!(target: "agent", "Gracefully shutting down agent...");
            return Ending::Graceful;
        }
        tracing::info!(target: "agent", "Graceful shutdown disabled. Exiting");
        Ending::Abrupt
    }

    /// Leaves if that is how the run ends, stops everything, and gives the exit code.
    async fn finish(mut self, ending: Ending, signals: &mut Signals) -> u8 {
        let (leaves, waiting) = match ending {
            Ending::Graceful => (true, None),
            Ending::Ordered(done) => (true, Some(done)),
            Ending::Abrupt => (false, None),
        };
        service_manager::stopping();
        let mut code = u8::from(!leaves);
        if leaves {
            let ordered = waiting.is_some();
            tokio::select! {
                left = tokio::time::timeout(LEAVE_TIMEOUT, self.parts.leave()) => match left {
                    Ok(()) if !ordered => {
                        tracing::info!(target: "agent", "Graceful exit completed");
                    }
                    Ok(()) => {}
                    Err(_) => {
                        tracing::info!(target: "agent", "Timeout on graceful leave. Exiting");
                        code = 1;
                    }
                },
                caught = signals.next() => {
                    tracing::info!(target: "agent", signal = caught.name(), "Caught second signal, Exiting");
                    code = 1;
                }
            }
        }
        if let Some(done) = waiting {
            let _ = done.send(Ok(()));
        }
        self.parts.shutdown().await;
        code
    }
}

/// Completes with the files that changed; never where none are watched.
async fn changed_files(files: &mut Option<FileWatch>) -> Vec<PathBuf> {
    match files {
        Some(files) => files.changed().await,
        None => std::future::pending().await,
    }
}

/// A signal that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caught {
    Hangup,
    Interrupt,
    Terminate,
}

impl Caught {
    fn name(self) -> &'static str {
        match self {
            Caught::Hangup => "hangup",
            Caught::Interrupt => "interrupt",
            Caught::Terminate => "terminated",
        }
    }
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Caught {
        tokio::select! {
            _ = self.hangup.recv() => Caught::Hangup,
            _ = self.interrupt.recv() => Caught::Interrupt,
            _ = self.terminate.recv() => Caught::Terminate,
        }
    }
}
