//! Watches of the configuration: a query of the agent's own API, and a handler that runs when
//! its answer changes (`reference/config.md` 7.3).
//!
//! The query is [`client::watch`]'s, over the agent's first HTTP listener, with the watch's
//! token or, without one, the agent's default token, which the listener adds. A watch is one
//! task that waits for a change and then for its handler, so a handler never runs twice at
//! once; changes that come meanwhile are one change afterwards.
//!
//! **A handler runs when something changed.** Consul runs every handler at each start and at
//! each reload. Here a reload leaves a watch alone whose definition is what it was, and
//! [`memory`] keeps the hash of the last state that a handler took without complaint, so that
//! a restart of the agent does not repeat it. A watch that is new, or whose definition
//! changed, runs its handler with the first state, as in Consul; so does every watch after
//! the machine has booted, since what its handler once did may have gone with the old boot,
//! and every watch of an agent without a data directory (`-dev`).

mod definition;
mod handler;
mod memory;

use std::path::Path;
use std::sync::Arc;

use client::watch::{WatchEvent, WatchPlan, Watcher};
use client::{Client, Config};
use config::RuntimeConfig;
use config::runtime::ListenAddr;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use types::GoDuration;

use definition::Definition;
use handler::Handler;
use memory::{Delivered, Memory};

/// What the configuration says about watches, checked.
pub(crate) struct WatchSettings {
    definitions: Vec<Definition>,
    /// How the agent reaches itself; there if there is a watch.
    client: Option<(Config, Client)>,
    /// Whether a handler is a line for a shell, as they were before there was `args`.
    deprecated: bool,
}

impl WatchSettings {
    /// Reads the watches of a configuration.
    ///
    /// # Errors
    /// Consul's complaint about the first that is wrong.
    pub(crate) fn read(config: &RuntimeConfig) -> Result<Self, String> {
        let definitions = config.watches().iter().map(Definition::read);
        let definitions = definitions.collect::<Result<Vec<_>, _>>()?;
        let client = match definitions.is_empty() {
            true => None,
            false => {
                let own = own_address(config)?;
                let client = Client::new(own.clone());
                Some((own, client.map_err(|error| format!("Failed to connect to agent: {error}"))?))
            }
        };
        let deprecated = config.watches().iter().any(|watch| watch.get("handler").is_some());
        Ok(Self { definitions, client, deprecated })
    }
}

/// How the agent reaches its own API.
fn own_address(config: &RuntimeConfig) -> Result<Config, String> {
    let listeners = &config.listeners;
    let mut client = Config::default();
    if let Some(address) = listeners.http.first() {
        client.address = match address {
            ListenAddr::Tcp(socket) => reachable(*socket).to_string(),
            ListenAddr::Unix(path) => format!("unix://{}", path.display()),
        };
        return Ok(client);
    }
    let Some(ListenAddr::Tcp(socket)) = listeners.https.first() else {
        return Err("watch plans require an HTTP or HTTPS endpoint".to_owned());
    };
    let text = |path: &Option<std::path::PathBuf>| {
        path.as_deref().map(|path| path.display().to_string()).unwrap_or_default()
    };
    client.address = format!("https://{}", reachable(*socket));
    // It is this process that listens there, whatever names its certificate has.
    client.tls.skip_verify = true;
    client.tls.certificate_file = text(&config.tls.https.cert_file);
    client.tls.key_file = text(&config.tls.https.key_file);
    Ok(client)
}

/// The address on which this machine reaches a listener.
fn reachable(mut socket: std::net::SocketAddr) -> std::net::SocketAddr {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    if socket.ip().is_unspecified() {
        socket.set_ip(match socket.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    socket
}

/// The watches that run.
pub(crate) struct Watches {
    running: Vec<Running>,
    memory: Option<Arc<Memory>>,
}

impl Watches {
    /// Starts the watches. Without a data directory nothing is remembered.
    pub(crate) fn start(settings: WatchSettings, data_dir: Option<&Path>) -> Self {
        let memory = data_dir.map(|dir| Arc::new(Memory::in_data_dir(dir)));
        let mut watches = Self { running: Vec::new(), memory };
        watches.change_to(settings);
        watches
    }

    /// Leaves running what stays the same, stops what is gone, starts what is new.
    pub(crate) fn change_to(&mut self, settings: WatchSettings) {
        if settings.deprecated {
            tracing::warn!(target: "agent", "The 'handler' field in watches has been deprecated and replaced with the 'args' field. See https://www.consul.io/docs/agent/watches.html");
        }
        let mut before = std::mem::take(&mut self.running);
        let each = settings.client.iter().flat_map(|own| {
            settings.definitions.iter().map(move |definition| (definition.clone(), own))
        });
        for (definition, (config, client)) in each {
            let same = before.iter().position(|running| running.definition == definition);
            let running = match same.map(|position| before.swap_remove(position)) {
                Some(running) if running.config == *config => running,
                // Another way to the same answers: the handler has seen the last one.
                Some(running) => {
                    Running::start(definition, config.clone(), client, running.delivered)
                }
                None => {
                    let delivered = Delivered::recall(self.memory.clone(), &definition);
                    Running::start(definition, config.clone(), client, Arc::new(delivered))
                }
            };
            self.running.push(running);
        }
        if let Some(memory) = &self.memory {
            memory.keep_only(self.running.iter().map(|running| &running.definition));
        }
    }

    /// Stops all watches and their handlers.
    pub(crate) async fn shutdown(self) {
        for running in self.running {
            running.task.abort();
            // That it was aborted is what it should say.
            let _ = running.task.await;
        }
    }
}

/// One watch.
struct Running {
    definition: Definition,
    config: Config,
    delivered: Arc<Delivered>,
    task: JoinHandle<()>,
    /// Dropped to end the task once its handler has ended.
    _keep: watch::Sender<()>,
}

impl Running {
    fn start(
        definition: Definition,
        config: Config,
        client: &Client,
        delivered: Arc<Delivered>,
    ) -> Self {
        let (keep, kept) = watch::channel(());
        let plan = WatchPlan::new(definition.query.clone()).after(delivered.last());
        let watcher = Watcher::new(client.clone(), plan);
        let handler = definition.handler.clone();
        let task = tokio::spawn(follow(watcher, handler, Arc::clone(&delivered), kept));
        Self { definition, config, delivered, task, _keep: keep }
    }
}

async fn follow(
    mut watcher: Watcher,
    handler: Handler,
    delivered: Arc<Delivered>,
    mut kept: watch::Receiver<()>,
) {
    loop {
        let event = tokio::select! {
            event = watcher.next() => event,
            _ = kept.changed() => return,
        };
        match event {
            WatchEvent::Changed(change) => {
                let fingerprint = change.fingerprint;
                if handler.run(change).await {
                    delivered.set(fingerprint).await;
                }
            }
            WatchEvent::Failed { error, retry } => {
                let (r#type, retry) = (watcher.plan().query().kind(), GoDuration::from(retry));
                tracing::error!(
                    target: "agent.watch", r#type, error = %error, retry = %retry, "Watch errored"
                );
            }
        }
    }
}
