//! The services and checks of this agent: what they are, how they are, and how the
//! catalog learns of it.
//!
//! - [`state`] holds them, [`register`] and [`sidecar`] make them from definitions,
//!   [`view`] shows them: pure.
//! - [`sync`] decides what the catalog is told and when: pure, driven by [`driver`].
//! - [`trouble`] keeps why the catalog does not know something; [`report`] tells it.
//! - [`persist`] keeps what came through the API over a restart.
//! - [`operations`] are what the endpoints ask for.
//!
//! [`Local`] ties them together. Everything that changes is behind one lock, which is
//! held for the time of a few map operations and never while waiting.

pub(crate) mod catalog;
mod content_hash;
mod difference;
mod driver;
mod hook;
mod load;
pub(crate) mod operations;
pub(crate) mod persist;
pub(crate) mod register;
pub(crate) mod report;
pub(crate) mod sidecar;
pub(crate) mod state;
pub(crate) mod sync;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod trouble;
pub(crate) mod view;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use checks::{CheckHandle, Deregistrations, Runner};
use config::RuntimeConfig;
use config::runtime::{AclTokens, DefinitionSource};
use contract::CallError;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use types::catalog::{Node, NodeService};
use types::check::{HealthCheck, Status};
use types::{CheckId, NodeName};

use crate::endpoint::AuthorizerHook;
use catalog::Catalog;
use hook::Hook;
pub(crate) use load::LoadError;
use persist::{Change, Disk};
use register::{Plan, Rules};
use state::{LocalCheck, State};
use sync::Syncer;

/// How long a change waits for the catalog to be told of it.
const TELLING_TIME: Duration = Duration::from_secs(1);

/// What the local part needs to start.
pub(crate) struct LocalOptions {
    /// What the catalog is told of the node.
    pub(crate) node: Node,
    /// Whether this agent is a server.
    pub(crate) is_server: bool,
    /// Where registrations are kept; `None` keeps them in memory alone, as `-dev` does.
    pub(crate) data_dir: Option<PathBuf>,
    /// What registrations depend on.
    pub(crate) rules: Rules,
    /// How checks run.
    pub(crate) runner: checks::Settings,
    /// Whether the output of checks is thrown away.
    pub(crate) discard_output: bool,
    /// How long a change of the output alone may wait (`check_update_interval`).
    pub(crate) output_delay: Duration,
    /// The agent's own tokens.
    pub(crate) tokens: AclTokens,
    /// What a token may do.
    pub(crate) authorizer: AuthorizerHook,
    /// The services and checks of the configuration files.
    pub(crate) definitions: DefinitionSource,
}

impl LocalOptions {
    /// The options that a configuration gives. Proxies, Docker and the shell of
    /// checks come from the environment.
    ///
    /// # Errors
    /// Certificates that checks are to use and that cannot be used.
    pub(crate) fn new(
        config: &RuntimeConfig,
        node: Node,
        authorizer: AuthorizerHook,
    ) -> Result<Self, String> {
        let mut runner = checks::Settings::from_variables(|name| std::env::var(name).ok());
        runner.output_max_size =
            usize::try_from(config.checks.output_max_size).unwrap_or(usize::MAX);
        if let Some(tls) = check_tls(config)? {
            runner.tls.store(Arc::new(tls));
        }
        Ok(Self {
            rules: rules(config, node.node.clone()),
            node,
            is_server: config.server,
            data_dir: config.data_dir.clone().filter(|_| !config.dev),
            runner,
            discard_output: config.checks.discard_output,
            output_delay: config.checks.update_interval.to_std(),
            tokens: config.acl.tokens.clone(),
            authorizer,
            definitions: config.definitions.clone(),
        })
    }
}

/// How checks verify servers and show themselves, if they do as the agent does
/// (`enable_agent_tls_for_checks`).
///
/// # Errors
/// Certificates that cannot be used.
pub(crate) fn check_tls(config: &RuntimeConfig) -> Result<Option<checks::Tls>, String> {
    if !config.checks.agent_tls {
        return Ok(None);
    }
    let name = match config.tls.server_name.as_str() {
        "" => config.identity.node_name.as_str(),
        name => name,
    };
    let identity = crate::listeners::check_identity(&config.tls.internal_rpc, name)
        .map_err(|error| error.to_string())?;
    checks::Tls::with_identity(identity).map(Some).map_err(|error| error.to_string())
}

fn rules(config: &RuntimeConfig, node: NodeName) -> Rules {
    Rules { node, scripts: config.checks.scripts, sidecar_ports: config.ports.sidecar }
}

/// How much there is, for `consul info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Checks that run commands.
    pub(crate) check_monitors: usize,
    /// TTL checks.
    pub(crate) check_ttls: usize,
    /// All checks.
    pub(crate) checks: usize,
    /// All services.
    pub(crate) services: usize,
}

/// The services and checks of this agent. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Local {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Mutex<Inner>,
    /// The generation of the state, sent at every change and whenever the catalog has
    /// to be told something.
    changes: watch::Sender<u64>,
    /// Sent whenever the catalog was told of something.
    progress: watch::Sender<()>,
    stop: watch::Sender<bool>,
    driver: Mutex<Option<JoinHandle<()>>>,
    runner: Runner,
    catalog: Arc<dyn Catalog>,
    disk: Option<Arc<Disk>>,
    authorizer: AuthorizerHook,
}

struct Inner {
    state: State,
    syncer: Syncer,
    troubles: trouble::Troubles,
    running: BTreeMap<CheckId, CheckHandle>,
    deregistrations: Deregistrations,
    rules: Rules,
    discard_output: bool,
    output_delay: Duration,
    rng: fastrand::Rng,
}

impl Local {
    /// Loads what files define and what was kept, starts the checks, and begins to
    /// tell the catalog. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The first definition that cannot be registered; the text is what Consul puts
    /// behind `Error starting agent: error=`.
    pub(crate) fn start(
        options: LocalOptions,
        catalog: Arc<dyn Catalog>,
    ) -> Result<Self, LoadError> {
        let inner = Inner {
            state: State::new(options.node),
            syncer: Syncer::new(options.is_server, options.tokens, now()),
            troubles: trouble::Troubles::default(),
            running: BTreeMap::new(),
            deregistrations: Deregistrations::default(),
            rules: options.rules,
            discard_output: options.discard_output,
            output_delay: options.output_delay,
            rng: fastrand::Rng::new(),
        };
        let shared = Arc::new_cyclic(|weak: &Weak<Shared>| {
            let hook = Arc::new(Hook(weak.clone()));
            Shared {
                inner: Mutex::new(inner),
                changes: watch::Sender::new(0),
                progress: watch::Sender::new(()),
                stop: watch::Sender::new(false),
                driver: Mutex::new(None),
                runner: Runner::new(options.runner, hook.clone(), hook),
                catalog,
                disk: options.data_dir.map(|root| Arc::new(Disk::new(root))),
                authorizer: options.authorizer,
            }
        });
        let saved = shared.disk.as_ref().map(|disk| disk.load()).unwrap_or_default();
        let now_unix = unix_now();
        shared.change(|inner| {
            let changes = shared.load(inner, &options.definitions, saved, Some(now_unix))?;
            if let Some(disk) = &shared.disk {
                let ticket = disk.enqueue(changes);
                drop(ticket);
            }
            Ok(())
        })?;
        if let Some(disk) = &shared.disk {
            disk.write_queued();
        }
        let driver = tokio::spawn(driver::drive(shared.clone()));
        *shared.driver.lock().unwrap_or_else(PoisonError::into_inner) = Some(driver);
        tracing::info!(target: "agent", "started state syncer");
        Ok(Self { shared })
    }

    /// From their next run on, checks verify servers and show themselves so.
    pub(crate) fn set_check_tls(&self, tls: checks::Tls) {
        self.shared.runner.set_tls(tls);
    }

    /// Takes over a new configuration: definitions, tokens, `discard_check_output`.
    /// Checks that are still defined keep their status; unchanged ones go on running.
    ///
    /// # Errors
    /// As [`Local::start`], and then nothing has changed.
    pub(crate) async fn reload(&self, config: &RuntimeConfig) -> Result<(), LoadError> {
        let (definitions, tokens) = (&config.definitions, &config.acl.tokens);
        self.reload_definitions(definitions, config.checks.discard_output, tokens).await
    }

    async fn reload_definitions(
        &self,
        definitions: &DefinitionSource,
        discard_output: bool,
        tokens: &AclTokens,
    ) -> Result<(), LoadError> {
        let shared = &self.shared;
        let saved = match shared.disk.clone() {
            None => persist::Saved::default(),
            Some(disk) => {
                let read = move || {
                    disk.write_queued();
                    disk.load()
                };
                tokio::task::spawn_blocking(read).await.unwrap_or_default()
            }
        };
        let ticket = shared.change(|inner| {
            let changes = shared.load(inner, definitions, saved, None)?;
            inner.discard_output = discard_output;
            inner.syncer.set_tokens(tokens.clone());
            Ok(shared.disk.as_ref().map(|disk| disk.enqueue(changes)))
        })?;
        if let Err(error) = shared.settle(ticket).await {
            tracing::error!(target: "agent", error = %error, "Failed removing files of services and checks");
        }
        Ok(())
    }

    /// Uses other tokens for telling the catalog.
    #[allow(dead_code, reason = "for tokens set through the API; not called yet")]
    pub(crate) fn set_tokens(&self, tokens: AclTokens) {
        self.shared.change(|inner| inner.syncer.set_tokens(tokens));
    }

    /// Tells the catalog something else of the node, such as new metadata.
    pub(crate) fn set_node(&self, node: Node) {
        self.shared.change(|inner| {
            inner.state.node = node;
            inner.state.dirty.insert(state::Target::Node);
        });
    }

    /// Takes the number of members of the pool, which stretches the times of syncing.
    pub(crate) fn set_members(&self, members: u64) {
        self.shared.change(|inner| inner.syncer.handle_members(members));
    }

    /// A server became reachable, or leads now: what failed is tried again soon.
    pub(crate) fn server_found(&self) {
        self.shared.change(|inner| inner.syncer.handle_server_found(now(), &mut inner.rng));
    }

    /// Tells the catalog nothing until [`Local::resume`].
    #[allow(dead_code, reason = "for operations that must see no half-told state; not called yet")]
    pub(crate) fn pause(&self) {
        self.shared.change(|inner| inner.syncer.pause());
    }

    /// Tells the catalog again.
    #[allow(dead_code, reason = "goes with `pause`; not called yet")]
    pub(crate) fn resume(&self) {
        self.shared.change(|inner| inner.syncer.resume());
    }

    /// Stops telling the catalog, then all checks, and waits for them.
    pub(crate) async fn shutdown(&self) {
        self.shared.stop.send_replace(true);
        let driver = self.shared.driver.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(driver) = driver {
            // An error is a panic, which the panic hook has told.
            let _ = driver.await;
        }
        let running = std::mem::take(&mut self.shared.lock().running);
        for (_, check) in running {
            check.stop().await;
        }
        if let Some(disk) = self.shared.disk.clone() {
            let _ = tokio::task::spawn_blocking(move || disk.write_queued()).await;
        }
    }

    /// All services, by id.
    pub(crate) fn services(&self) -> Vec<Arc<NodeService>> {
        self.shared.lock().state.services().map(|local| local.service.clone()).collect()
    }

    /// All checks, by id.
    pub(crate) fn checks(&self) -> Vec<Arc<HealthCheck>> {
        self.shared.lock().state.checks().map(|local| local.check.clone()).collect()
    }

    /// How much there is.
    pub(crate) fn counts(&self) -> Counts {
        let inner = self.shared.lock();
        let count = |test: fn(&types::check::CheckDefinition) -> bool| {
            inner.state.checks().filter_map(|l| l.definition.as_deref()).filter(|d| test(d)).count()
        };
        Counts {
            check_monitors: count(|d| d.kind() == "script"),
            check_ttls: count(|d| d.ttl.is_positive()),
            checks: inner.state.checks().count(),
            services: inner.state.services().count(),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something under the lock and wakes whoever waits for changes.
    fn change<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let result = work(&mut inner);
        let generation = inner.state.generation();
        drop(inner);
        self.changes.send_replace(generation);
        result
    }

    /// Puts a plan in place: all of it, or on an error nothing.
    ///
    /// Checks are started first. What one reports at once waits for the lock, and so
    /// finds the check in place.
    fn put(&self, inner: &mut Inner, plan: Plan) -> Result<Vec<Change>, CallError> {
        let started = self.start_checks(inner, plan.checks.iter())?;
        let mut changes = Vec::new();
        for service in plan.services {
            if let Some(disk) = &self.disk {
                changes.push(disk.save_service(&service));
            }
            inner.state.put_service(service);
        }
        for check in plan.checks {
            if let Some(disk) = &self.disk {
                changes.push(disk.save_check(&check));
            }
            inner.put_check(check);
        }
        inner.running.extend(started);
        Ok(changes)
    }

    fn start_checks<'c>(
        &self,
        inner: &mut Inner,
        checks: impl Iterator<Item = &'c LocalCheck>,
    ) -> Result<Vec<(CheckId, CheckHandle)>, CallError> {
        let mut started = Vec::new();
        for local in checks {
            let Some(definition) = &local.definition else { continue };
            let id = &local.check.check_id;
            let known = inner.state.check(id).map(|known| known.check.output.as_str());
            let output = known.unwrap_or(&local.check.output);
            let handle = self.runner.start(definition, output, &mut inner.rng);
            let handle = handle.map_err(|error| CallError::failed(error.to_string()))?;
            started.push((id.clone(), handle));
        }
        Ok(started)
    }

    /// Removes a service, its checks, and the sidecar that was made for it.
    fn remove_service(&self, inner: &mut Inner, id: &types::ServiceId) -> Vec<Change> {
        let mut changes = Vec::new();
        let sidecar = sidecar::sidecar_id(id);
        let has_sidecar = inner.state.service(&sidecar).is_some_and(|local| local.is_sidecar);
        for id in std::iter::once(id).chain(has_sidecar.then_some(&sidecar)) {
            for check in inner.state.remove_service(id) {
                inner.stop_check(&check);
                changes.extend(self.forget_files(&check));
            }
            changes.extend(self.disk.as_ref().map(|disk| disk.remove_service(id)));
        }
        changes
    }

    fn remove_check(&self, inner: &mut Inner, id: &CheckId) -> Vec<Change> {
        inner.state.remove_check(id);
        inner.stop_check(id);
        self.forget_files(id)
    }

    fn forget_files(&self, check: &CheckId) -> Vec<Change> {
        let files = |disk: &Arc<Disk>| [disk.remove_check(check), disk.remove_ttl_state(check)];
        self.disk.as_ref().map(files).into_iter().flatten().collect()
    }

    fn enqueue(&self, changes: Vec<Change>) -> Option<persist::Ticket> {
        self.disk.as_ref().map(|disk| disk.enqueue(changes))
    }

    async fn settle(&self, ticket: Option<persist::Ticket>) -> Result<(), CallError> {
        match (&self.disk, ticket) {
            (Some(disk), Some(ticket)) => disk.settle(ticket).await.map_err(CallError::failed),
            _ => Ok(()),
        }
    }

    /// Waits until the catalog was told of what was changed, so that who changed it finds
    /// that there; not for long, because the catalog may be away.
    async fn until_told(&self, lane: sync::Lane) {
        let mut progress = self.progress.subscribe();
        let told = async {
            loop {
                progress.borrow_and_update();
                let is_told = {
                    let inner = self.lock();
                    inner.syncer.is_told(&lane, &inner.state)
                };
                if is_told || progress.changed().await.is_err() {
                    return;
                }
            }
        };
        // What is not told in time is told later.
        let _ = tokio::time::timeout(TELLING_TIME, told).await;
    }

    /// Takes a result of a check.
    fn report(&self, id: &CheckId, status: Status, output: String) {
        let mut inner = self.lock();
        let output = if inner.discard_output { String::new() } else { output };
        let now = now();
        inner.deregistrations.handle_status(id, &status, now);
        let Inner { state, output_delay, rng, .. } = &mut *inner;
        let changed = state.update_check(id, status, output, *output_delay, now, rng);
        let generation = state.generation();
        drop(inner);
        if changed {
            self.changes.send_replace(generation);
        }
    }
}

impl Inner {
    fn put_check(&mut self, check: LocalCheck) {
        let id = check.check.check_id.clone();
        let definition = check.definition.clone();
        self.state.put_check(check);
        let Some(definition) = definition else { return };
        self.deregistrations.handle_registration(&id, &definition);
        if let Some(local) = self.state.check(&id) {
            self.deregistrations.handle_status(&id, &local.check.status, now());
        }
    }

    fn stop_check(&mut self, id: &CheckId) {
        self.running.remove(id);
        self.deregistrations.handle_removal(id);
    }
}

/// The time as tokio's timers see it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Seconds since 1970.
fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
