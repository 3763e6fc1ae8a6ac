//! Gossip on the network: a pool of agents, as the rest of the agent sees it.
//!
//! [`gossip::serf`] knows what to do; here it is done. One task owns that machine, the
//! sockets and the files (`driver`); [`Pool`] is the handle to it. Streams have tasks of their
//! own (`stream`), bounded in number, size and time. `seeds` reads what an operator calls the
//! others, `files` keeps what survives a restart, `telemetry` tells what happens.

mod driver;
mod error;
mod files;
mod options;
mod seeds;
mod stream;
mod telemetry;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gossip::consul::Tags;
use gossip::serf::{Event, Joined, KeyAnswers, KeyOperation, Serf, Stats};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use types::coordinate::Coordinate;
use types::member::Member;

use self::driver::{Command, Driver};
use self::files::Files;
use self::telemetry::Telemetry;

pub use self::error::{PoolError, StartError};
pub use self::options::{PoolKind, PoolOptions};

/// Orders to the task that may wait.
const COMMANDS_MAX: usize = 256;

/// Events that a listener may be behind before it misses some.
const EVENTS_MAX: usize = 2048;

/// One pool that this agent is in. Cloning gives another handle to it; when the last one is
/// gone, the pool is left without a word.
#[derive(Clone, Debug)]
pub struct Pool {
    commands: mpsc::Sender<Command>,
    members: watch::Receiver<Vec<Member>>,
    events: broadcast::Sender<Event>,
    stopped: watch::Receiver<bool>,
    address: SocketAddr,
    default_port: u16,
}

impl Pool {
    /// Listens, reads what an earlier life left behind, and is a pool of one, unless that
    /// earlier life knew others: then these are tried at once.
    ///
    /// # Errors
    /// An address cannot be had, a file cannot be read, or an option is wrong.
    pub async fn start(options: PoolOptions) -> Result<Self, StartError> {
        let telemetry = Telemetry::new(options.kind, options.server);
        let (sockets, bound) = driver::bind(&options)?;
        let mut advertise = options.advertise;
        if advertise.port() == 0 {
            advertise.set_port(bound.port());
        }
        let (files, kept) = Files::open(&options, &telemetry)?;
        let serf = Serf::new(options.to_serf(advertise, kept), now())?;
        let (commands, orders) = mpsc::channel(COMMANDS_MAX);
        let (members, member_watch) = watch::channel(serf.members().cloned().collect());
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let (stop, stopped) = watch::channel(false);
        let driver = Driver::new(serf, sockets, files, &options, telemetry);
        tokio::spawn(driver.run(orders, members, events.clone(), stop));
        let default_port = bound.port();
        Ok(Self {
            commands,
            members: member_watch,
            events,
            stopped,
            address: advertise,
            default_port,
        })
    }

    /// Where others reach this agent.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the member is this agent.
    pub fn is_own(&self, member: &Member) -> bool {
        self.address.port() == member.port && self.address.ip().to_string() == member.addr
    }

    /// Joins others: `host`, `host:port`, `[v6]:port`, with `name/` in front if only a node of
    /// that name will do. Events from before are not delivered. Each that is not reached has
    /// its reason among the errors; to have reached one is a success.
    pub async fn join(&self, seeds: Vec<String>) -> Joined {
        let mut joined = Joined::default();
        let mut found = Vec::new();
        for seed in seeds {
            match seeds::resolve(&seed, self.default_port).await {
                Ok(seeds) => found.extend(seeds),
                Err(error) => joined.errors.push(error),
            }
        }
        match self.ask(|reply| Command::Join(found, reply)).await {
            Ok(Ok(others)) => {
                joined.contacted = others.contacted;
                joined.errors.extend(others.errors);
            }
            Ok(Err(error)) => joined.errors.push(error.to_string()),
            Err(error) => joined.errors.push(error.to_string()),
        }
        joined
    }

    /// Leaves the pool, and returns when the others know. The pool goes on to answer until
    /// [`Self::shutdown`].
    ///
    /// # Errors
    /// The pool has stopped.
    pub async fn leave(&self) -> Result<(), PoolError> {
        self.ask(Command::Leave).await
    }

    /// Counts a member that failed as one that left; with `prune`, forgets it.
    ///
    /// # Errors
    /// The pool has stopped, or word of it was not passed on in time.
    pub async fn force_leave(&self, name: &str, prune: bool) -> Result<(), PoolError> {
        let name = name.to_owned();
        Ok(self.ask(|reply| Command::ForceLeave { name, prune, reply }).await??)
    }

    /// Sends an event to all members, this agent among them.
    ///
    /// # Errors
    /// The pool has stopped, or the event is too large.
    pub async fn user_event(
        &self,
        name: String,
        payload: Bytes,
        coalesce: bool,
    ) -> Result<(), PoolError> {
        Ok(self.ask(|reply| Command::UserEvent { name, payload, coalesce, reply }).await??)
    }

    /// Has all members do something with their keys. What they say is not an error here: see
    /// [`KeyAnswers::error`].
    ///
    /// # Errors
    /// The pool has stopped.
    pub async fn key_operation(
        &self,
        operation: KeyOperation,
        relay_factor: u8,
    ) -> Result<KeyAnswers, PoolError> {
        Ok(self.ask(|reply| Command::Keys { operation, relay_factor, reply }).await??)
    }

    /// All members, whatever their status, sorted by name; this agent among them.
    pub fn members(&self) -> watch::Receiver<Vec<Member>> {
        self.members.clone()
    }

    /// What happens from here on. A listener that is more than 2048 events behind misses some,
    /// and is told so.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Where this agent is in the space of round trips; `None` when the pool has stopped.
    pub async fn coordinate(&self) -> Option<Coordinate> {
        self.ask(Command::Coordinate).await.ok()
    }

    /// Where the members said they are when they were last measured, by name; this agent too,
    /// once it has measured one.
    pub async fn coordinates(&self) -> BTreeMap<String, Coordinate> {
        self.ask(Command::Coordinates).await.unwrap_or_default()
    }

    /// Pings these members now, so that [`Self::coordinates`] has them as soon as they answer
    /// and not only when it is their turn.
    pub async fn measure(&self, names: Vec<String>) {
        // A pool that has stopped measures nobody.
        let _ = self.ask(|reply| Command::Measure(names, reply)).await;
    }

    /// Says something else of this agent.
    ///
    /// # Errors
    /// The pool has stopped, or the tags are too long.
    pub async fn set_tags(&self, tags: Tags) -> Result<(), PoolError> {
        Ok(self.ask(|reply| Command::SetTags(tags, reply)).await??)
    }

    /// What `consul info` shows; nothing when the pool has stopped.
    pub async fn stats(&self) -> BTreeMap<&'static str, String> {
        self.ask(Command::Stats).await.map(|stats| shown(&stats)).unwrap_or_default()
    }

    /// Completes when the pool has stopped: by [`Self::shutdown`], or because another agent
    /// has this one's name and the members know that one.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopped = self.stopped.clone();
        async move {
            // A sender that is gone has stopped too.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        }
    }

    /// Stops. Without [`Self::leave`] before it, the others take it for a failure.
    pub async fn shutdown(&self) {
        // A pool that has stopped needs nothing more.
        let _ = self.ask(Command::Shutdown).await;
        self.stopped().await;
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, PoolError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| PoolError::Stopped)?;
        answer.await.map_err(|_| PoolError::Stopped)
    }
}

fn shown(stats: &Stats) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("coordinate_resets", stats.coordinate_resets.to_string()),
        ("encrypted", stats.encrypted.to_string()),
        ("event_queue", stats.event_queue.to_string()),
        ("event_time", stats.event_time.to_string()),
        ("failed", stats.failed.to_string()),
        ("health_score", stats.health_score.to_string()),
        ("intent_queue", stats.intent_queue.to_string()),
        ("left", stats.left.to_string()),
        ("member_time", stats.member_time.to_string()),
        ("members", stats.members.to_string()),
        ("query_queue", stats.query_queue.to_string()),
        ("query_time", stats.query_time.to_string()),
    ])
}

/// The clock of the machine: that of the runtime, so that tests may pause it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A secret that is used once: what makes an encrypted message its own.
fn nonce() -> gossip::wire::Nonce {
    let mut nonce = gossip::wire::Nonce::default();
    aws_lc_rs::rand::fill(&mut nonce).expect("the system has randomness, or no key is safe");
    nonce
}

/// Shared by all streams of a pool.
type SharedSecurity = Arc<gossip::wire::Security>;
