//! The running parts of an agent, and the order in which they start and stop.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use config::RuntimeConfig;
use config::runtime::{ListenAddr, SnapshotSchedule};
use http_server::{HttpService, HttpSettings, Router, ServeOptions};
use server::Server;
use server::fsm::Fsm;
use server::raft_host::{Disk, FileDisk, HostOptions, HostSettings, MemDisk, RaftHost, ServerId};
use server::rate_limit::Caller;
use store::Store;
use telemetry::Metrics;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use types::NodeId;

use crate::backend::DelegateBackend;
use crate::cache::AgentCache;
use crate::delegate::{Client, Delegate};
use crate::dns_metrics::DnsMetrics;
use crate::dns_server::{DnsServer, DnsServerOptions, DnsSettings};
use crate::dns_source::CatalogSource;
use crate::endpoint;
use crate::explain::Explainer;
use crate::listeners::{self, SharedTls};
use crate::local::{self, Local, LocalOptions};
use crate::local_catalog::DelegateCatalog;
use crate::logging::Logging;
use crate::process::AgentHandle;
use crate::remote_exec::{KvJobStore, RemoteExec};
use crate::server_port::ServerPort;
use crate::user_event::UserEvents;
use crate::user_event::broadcast::{Broadcast, PoolBroadcast};
use crate::watches::{WatchSettings, Watches};
use crate::{acl_safety, certificate_expiry, coordinate, remote_exec, settings, snapshot_schedule};

/// How long requests that are being answered may take when the agent stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Everything that runs.
pub(crate) struct Parts {
    http_settings: Arc<ArcSwap<HttpSettings>>,
    cache: Arc<AgentCache>,
    tls: Option<SharedTls>,
    connections: Arc<http_server::listener::ConnectionLimit>,
    /// Told to HTTP listeners and duties, each at its time.
    stop_http: watch::Sender<bool>,
    stop_duties: watch::Sender<bool>,
    listeners: JoinSet<()>,
    bound: Vec<(String, &'static str, &'static str)>,
    dns: Option<DnsServer>,
    local: Local,
    metrics: Metrics,
    handle: AgentHandle,
    /// What this agent does by itself beside answering.
    duties: JoinSet<()>,
    watches: Watches,
    snapshot_schedule: watch::Sender<Option<SnapshotSchedule>>,
    /// Why nobody could be joined, once there will be no more attempts.
    join_failed: watch::Receiver<Option<String>>,
}

impl Parts {
    /// Starts everything, in an order in which nothing is used before it is there.
    pub(crate) async fn start(
        handle: &AgentHandle,
        port: Option<ServerPort>,
        logging: &Logging,
        metrics: &Metrics,
    ) -> Result<Self, String> {
        let running = handle.config();
        let delegate = handle.delegate();
        let (stop_duties, duties_stops) = watch::channel(false);
        let pools = handle.pools();
        let members = pools.lan().members();
        let mut duties = duties_of_all_agents(handle, &duties_stops);
        let (snapshot_schedule, schedules) = watch::channel(running.snapshot_schedule.clone());
        if let Some(server) = delegate.server() {
            duties.spawn(server::usage::run(server.clone(), members.clone(), duties_stops.clone()));
            duties.spawn(snapshot_schedule::run(
                server.clone(),
                running.identity.datacenter.clone(),
                schedules,
                handle.snapshots().clone(),
                duties_stops.clone(),
            ));
            if let Some(port) = port {
                port.serve(server, handle, &mut duties, &duties_stops);
            }
            let own = handle.node().node;
            duties.spawn(server::leader::run(server.clone(), own, members, duties_stops.clone()));
        }

        let own = delegate.called_by(Caller::Agent);
        let catalog = DelegateCatalog::new(own.clone(), running.identity.datacenter.clone());
        let options = LocalOptions::new(&running, handle.node(), handle.authorizer().clone())?;
        let local = Local::start(options, Arc::new(catalog)).map_err(|error| error.to_string())?;
        handle.set_local(local.clone());
        let (join_failure, join_failed) = watch::channel(None);
        let joins = (handle.clone(), local.clone(), duties_stops.clone());
        duties.spawn(async move {
            let (handle, local, stop) = joins;
            if let Err(error) = handle.pools().run(&handle.config(), &local, stop).await {
                join_failure.send_replace(Some(error));
            }
        });
        let cache = start_cache(delegate, &running);
        let dns = start_dns(&running, &own, &cache).await?;
        let (bound, tls) = listeners::bind(&running).map_err(|error| error.to_string())?;
        let http_settings = Arc::new(ArcSwap::from_pointee(settings::http(&running)));
        let (stop_http, http_stops) = watch::channel(false);
        let mut router = routes(handle, &local);
        router.add_local(endpoint::metrics::routes(metrics, handle.authorizer()));
        router.add_local(endpoint::monitor::routes(logging, handle.authorizer(), &http_stops));
        router.add_local(endpoint::host::routes(handle.authorizer()));
        let explainer = Explainer::new(handle.clone(), local.clone(), Arc::clone(dns.answerer()));
        router.add_local(endpoint::explain::routes(&explainer));
        let deliveries = pools.deliveries(&http_stops);
        let events = user_events(handle, &local);
        router.add_local(endpoint::event::routes(&events));
        let (order_execution, executions) = mpsc::channel(remote_exec::WAITING_MAX);
        let backend = Arc::new(DelegateBackend::new(
            delegate.clone(),
            Arc::clone(&cache),
            running.http.use_cache,
        ));
        let service = Arc::new(HttpService::new(Arc::clone(&http_settings), router, backend));
        let limit = running.limits.http_max_conns_per_client;
        let connections = Arc::new(http_server::listener::ConnectionLimit::new(limit));
        let options = ServeOptions {
            connections: Arc::clone(&connections),
            handshake_timeout: running.limits.https_handshake_timeout.to_std(),
            header_bytes_max: running.http.max_header_bytes,
        };
        let mut listeners = JoinSet::new();
        let reporting = metrics.clone();
        let reporting_stops = http_stops.clone();
        listeners.spawn(async move { reporting.run(reporting_stops).await });
        let mut addresses = Vec::new();
        match remote_exec(handle) {
            Some(remote_exec) => {
                listeners.spawn(remote_exec.run(executions, http_stops.clone()));
            }
            None => {
                listeners.spawn(remote_exec::refuse_all(executions));
            }
        }
        listeners.spawn(events.run(deliveries, order_execution, http_stops.clone()));
        for http in bound {
            let (address, network, protocol) = (http.address, http.network, http.protocol);
            tracing::info!(target: "agent", address, network, protocol, "Starting server");
            addresses.push((address, network, protocol));
            listeners.spawn(http_server::serve(
                http.listener,
                Arc::clone(&service),
                options.clone(),
                http_stops.clone(),
                DRAIN_TIMEOUT,
            ));
        }
        // Their first question meets a listener that is there.
        let data_dir = running.data_dir.as_deref().filter(|_| !running.dev);
        let watches = Watches::start(WatchSettings::read(&running)?, data_dir);
        Ok(Self {
            http_settings,
            cache,
            tls,
            connections,
            stop_http,
            stop_duties,
            listeners,
            bound: addresses,
            dns: Some(dns),
            local,
            metrics: metrics.clone(),
            handle: handle.clone(),
            duties,
            watches,
            snapshot_schedule,
            join_failed,
        })
    }

    /// Completes when the server knows a leader.
    pub(crate) fn leader_known(&self) -> impl Future<Output = ()> + use<> {
        let leader = self.handle.delegate().server().map(|server| server.raft().watch_leader());
        async move {
            let Some(mut leader) = leader else { return };
            if leader.wait_for(Option::is_some).await.is_err() {
                // The server has stopped, and the agent is about to.
                std::future::pending().await
            }
        }
    }

    /// Completes if the server cannot go on, with the reason.
    pub(crate) async fn fatal(&self) -> String {
        let of_server = async {
            let Some(server) = self.handle.delegate().server() else {
                return std::future::pending().await;
            };
            match server.raft().stopped().await {
                Some(fatal) => fatal.to_string(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            error = of_server => error,
            error = self.handle.pools().fatal() => error,
        }
    }

    /// Completes when nobody could be joined in as many attempts as there may be.
    pub(crate) async fn join_failed(&self) -> String {
        let mut failed = self.join_failed.clone();
        match failed.wait_for(Option::is_some).await {
            Ok(error) => error.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Gives each part its new settings; if any is wrong, none gets them.
    pub(crate) async fn reload(&mut self, config: &RuntimeConfig) -> Result<(), String> {
        // All that may fail comes first.
        let watches = WatchSettings::read(config)?;
        let tls = match &self.tls {
            Some(tls) => Some((tls, listeners::server_tls(&config.tls.https).map_err(text)?)),
            None => None,
        };
        settings::rpc_tls(config)?;
        let check_tls = local::check_tls(config)?;
        let new_dns = dns_settings(config).await?;
        self.local.reload(config).await.map_err(|error| error.on_reload())?;

        if let Some((tls, new)) = tls {
            tls.store(new);
        }
        self.handle.rpc_tls().reload(&settings::tls_of_rpc(config)).map_err(text)?;
        if let Some(tls) = check_tls {
            self.local.set_check_tls(tls);
        }
        let node = crate::process::node(config, self.handle.node_id());
        if node != self.handle.node() {
            self.local.set_node(node);
        }
        self.metrics.set_filter(&settings::telemetry(config).filter);
        if let Some(dns) = &self.dns {
            dns.reload(new_dns);
        }
        self.http_settings.store(Arc::new(settings::http(config)));
        if let Some(server) = self.handle.delegate().server() {
            let raft = HostSettings {
                raft: settings::raft(config),
                snapshot_interval: config.raft.snapshot_interval.to_std(),
            };
            // A host that has stopped ends the agent by itself.
            let _ = server.raft().set(raft);
            server.limit_requests(settings::request_limits(config));
        }
        if let Delegate::Client(client) = self.handle.delegate() {
            client.set_options(settings::client(config));
        }
        self.cache.set_fetch_rate(settings::fetch_rate(config));
        self.connections.set(config.limits.http_max_conns_per_client);
        self.watches.change_to(watches);
        self.snapshot_schedule.send_if_modified(|schedule| {
            let differs = *schedule != config.snapshot_schedule;
            schedule.clone_from(&config.snapshot_schedule);
            differs
        });
        Ok(())
    }

    /// Leaves the cluster: done when the others know.
    pub(crate) async fn leave(&mut self) {
        match self.handle.delegate() {
            Delegate::Server(server) => {
                let drain = self.handle.config().leave.drain_time.to_std();
                server::leave(server, drain).await;
            }
            Delegate::Client(_) => {
                tracing::info!(target: "agent.client", "client starting leave");
                if let Err(error) = self.handle.pools().leave().await {
                    tracing::error!(target: "agent", error, "Error on leave");
                }
            }
        }
    }

    /// Stops everything, in the reverse order of the start.
    pub(crate) async fn shutdown(mut self) {
        tracing::info!(target: "agent", "Requesting shutdown");
        match self.handle.delegate() {
            Delegate::Server(_) => tracing::info!(target: "agent.server", "shutting down server"),
            Delegate::Client(_) => tracing::info!(target: "agent.client", "shutting down client"),
        }
        self.watches.shutdown().await;
        self.local.shutdown().await;
        let _ = self.stop_duties.send(true);
        while self.duties.join_next().await.is_some() {}
        self.handle.pools().shutdown().await;
        self.handle.rpc_pool().close();
        match self.handle.delegate() {
            Delegate::Server(_) => tracing::info!(target: "agent", "consul server down"),
            Delegate::Client(_) => tracing::info!(target: "agent", "consul client down"),
        }
        tracing::info!(target: "agent", "shutdown complete");
        if let Some(dns) = self.dns.take() {
            dns.shutdown().await;
        }
        for (address, network, protocol) in &self.bound {
            tracing::info!(target: "agent", address, network, protocol, "Stopping server");
        }
        tracing::info!(target: "agent", "Waiting for endpoints to shut down");
        let _ = self.stop_http.send(true);
        while self.listeners.join_next().await.is_some() {}
        if let Some(server) = self.handle.delegate().server() {
            server.raft().shutdown().await;
        }
        tracing::info!(target: "agent", "Endpoints down");
    }
}

/// What an agent does by itself, server or client.
fn duties_of_all_agents(handle: &AgentHandle, stops: &watch::Receiver<bool>) -> JoinSet<()> {
    let mut duties = JoinSet::new();
    duties.spawn(certificate_expiry::watch(handle.clone(), stops.clone()));
    duties.spawn(acl_safety::watch(handle.pools().lan().members(), stops.clone()));
    if !handle.config().switches.disable_coordinates {
        duties.spawn(coordinate::tell(handle.clone(), stops.clone()));
    }
    duties
}

/// The events of this agent.
fn user_events(handle: &AgentHandle, local: &Local) -> UserEvents {
    let config = handle.config();
    let node = config.identity.node_name.clone();
    let broadcast: Arc<dyn Broadcast> = match handle.delegate() {
        Delegate::Server(server) => {
            let (pool, datacenter) = (handle.pools().lan().clone(), &config.identity.datacenter);
            let (server, datacenter) = (server.clone(), datacenter.clone());
            Arc::new(PoolBroadcast { server, pool, datacenter })
        }
        Delegate::Client(client) => Arc::new(client.clone()),
    };
    UserEvents::new(node, local.clone(), handle.authorizer().clone(), broadcast)
}

/// What carries out orders of `consul exec`, unless that is off.
fn remote_exec(handle: &AgentHandle) -> Option<RemoteExec> {
    let config = handle.config();
    if config.switches.disable_remote_exec {
        return None;
    }
    let tokens = &config.acl.tokens;
    let token = if tokens.agent.is_empty() { &tokens.default } else { &tokens.agent };
    let datacenter = config.identity.datacenter.clone();
    let delegate = handle.delegate().called_by(Caller::Agent);
    let store = KvJobStore::new(delegate, datacenter, token.clone());
    Some(RemoteExec {
        node: config.identity.node_name.clone(),
        shell: std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned()),
        store: Arc::new(store),
    })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Starts the way into the cluster: a server, or calls of the servers that will be known.
pub(crate) fn start_delegate(
    config: &RuntimeConfig,
    node_id: &NodeId,
    (pool, router): (&rpc::Pool, &rpc::Router),
    port: Option<&mut ServerPort>,
) -> Result<Delegate, String> {
    if let Some(port) = port {
        return start_server(config, node_id, port).map(Delegate::Server);
    }
    let options = settings::client(config);
    let keep_alive = settings::keep_alive(config);
    Ok(Delegate::Client(Client::new(pool.clone(), router.clone(), options, keep_alive)))
}

/// Starts the server: its log, its state, its part in the consensus.
fn start_server(
    config: &RuntimeConfig,
    node_id: &NodeId,
    port: &mut ServerPort,
) -> Result<Server, String> {
    let id = ServerId(node_id.as_str().into());
    let address: Arc<str> = config.network.rpc_advertise.to_string().into();
    let seed = fastrand::u64(..);
    let (mut options, disk): (HostOptions, Arc<dyn Disk>) = match &config.data_dir {
        Some(dir) if !config.dev => {
            let mut options = HostOptions::new(id, address, seed);
            options.log.segment_bytes_max =
                u64::from(config.raft.log_store.wal_segment_size_mb) << 20;
            options.log.segment_bytes_first =
                options.log.segment_bytes_first.min(options.log.segment_bytes_max);
            (options, Arc::new(FileDisk::new(dir)))
        }
        _ => (HostOptions::in_memory(id, address, seed), Arc::new(MemDisk::new())),
    };
    options.raft = settings::raft(config);
    options.snapshot_interval = config.raft.snapshot_interval.to_std();
    options.bootstrap = config.dev || config.bootstrap.bootstrap || config.bootstrap.expect == 1;
    if let Some(delay) = std::env::var("PROCONSUL_SYNC_DELAY_MS")
        .ok()
        .and_then(|text| HostOptions::parse_sync_delay(&text))
    {
        tracing::warn!(target: "agent", delay = %types::GoDuration::from(delay), "Each sync of the disk is delayed, for benchmarks");
        options.sync_delay = delay;
    }
    let store = Store::new(&domains::tables());
    let applier = match config.acl.is_ruled_out {
        true => Fsm::new(store.clone()).keeping_acls(),
        false => Fsm::new(store.clone()),
    };
    let lock_delays = applier.lock_delays();
    let raft = RaftHost::start(options, disk, applier, |inlet| port.transport(inlet))
        .map_err(|error| error.to_string())?;
    let server = Server::new(settings::server(config), store, raft, lock_delays);
    server.limit_requests(settings::request_limits(config));
    Ok(server)
}

fn start_cache(delegate: &Delegate, config: &RuntimeConfig) -> Arc<AgentCache> {
    let default_wait = config.http.default_query_time.to_std();
    let streams = config.switches.use_streaming_backend;
    let cache = AgentCache::new(delegate, default_wait, streams);
    cache.set_fetch_rate(settings::fetch_rate(config));
    Arc::new(cache)
}

async fn start_dns(
    config: &RuntimeConfig,
    delegate: &Delegate,
    cache: &Arc<AgentCache>,
) -> Result<DnsServer, String> {
    let token = match &config.acl.tokens {
        tokens if tokens.dns.is_empty() => tokens.default.clone(),
        tokens => tokens.dns.clone(),
    };
    let source = {
        let identity = &config.identity;
        let (datacenter, node) = (identity.datacenter.clone(), identity.node_name.clone());
        CatalogSource::new(delegate.clone(), Arc::clone(cache), datacenter, node, token)
    };
    let listen = config.listeners.dns.iter().filter_map(|address| match address {
        ListenAddr::Tcp(socket) => Some(*socket),
        ListenAddr::Unix(_) => None,
    });
    let options = DnsServerOptions {
        listen: listen.collect(),
        settings: dns_settings(config).await?,
        timings: Some(Arc::new(DnsMetrics::new(config.identity.node_name.as_str()))),
    };
    DnsServer::start(options, Arc::new(source)).await.map_err(|error| error.to_string())
}

async fn dns_settings(config: &RuntimeConfig) -> Result<DnsSettings, String> {
    let datacenter = config.identity.datacenter.as_str();
    DnsSettings::new(&config.dns, datacenter, config.network.translate_wan_addrs)
        .await
        .map_err(|error| error.to_string())
}

fn routes(handle: &AgentHandle, local: &Local) -> Router {
    let mut router = Router::new();
    for domain in domains::ALL {
        router.add_domain(domain.routes);
    }
    router.add_local(endpoint::status::routes(handle.delegate()));
    router.add_local(endpoint::datacenters::routes(
        handle.delegate(),
        handle.config().http.use_cache,
    ));
    router.add_local(endpoint::operator::routes(handle));
    router.add_local(endpoint::pprof::routes(handle));
    router.add_local(endpoint::keyring::routes(handle));
    router.add_local(endpoint::coordinate::routes(handle));
    router.add_local(endpoint::agent::routes(handle));
    router.add_local(endpoint::service::routes(local));
    router.add_local(endpoint::check::routes(local));
    router.add_local(endpoint::health::routes(local));
    router.add_local(endpoint::maintenance::routes(local));
    endpoint::snapshot::add_routes(&mut router, handle);
    router.add_local(endpoint::acl::routes());
    router.add_local(endpoint::metrics_proxy::routes(handle));
    router.add_local(endpoint::not_yet::routes());
    router
}
