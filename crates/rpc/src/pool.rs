//! Connections to servers: one to each, with yamux, opened when it is needed and closed when
//! it is not (`reference/rpc-wire.md` 6).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::connect::{self, Dial};
use crate::error::RpcError;
use crate::net_rpc::client::{Caller, Failure};
use crate::protocol::Protocol;
use crate::rpc_tls::Tls;
use crate::server_addr::ServerAddr;
use crate::stream::BoxedStream;
use crate::yamux;

/// How often a stream is asked of a new connection because the kept one turned out to be dead.
const REDIALS_MAX: usize = 3;

/// Settings of a pool.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// How connections are made.
    pub dial: Dial,
    /// How long a connection that nobody uses is kept: 127 s in client agents, 2 min in servers.
    pub idle_timeout: Duration,
    /// Most streams that are kept for calls to come, in each connection: 32 in client
    /// agents, 64 in servers.
    pub idle_streams_max: usize,
    /// Limits of the multiplexer.
    pub yamux: yamux::Options,
}

impl Default for PoolOptions {
    /// Those of a client agent.
    fn default() -> Self {
        Self {
            dial: Dial::default(),
            idle_timeout: Duration::from_secs(127),
            idle_streams_max: 32,
            yamux: yamux::Options::default(),
        }
    }
}

impl PoolOptions {
    /// Those of a server.
    pub fn server() -> Self {
        let idle_timeout = Duration::from_secs(120);
        Self { idle_timeout, idle_streams_max: 64, ..Self::default() }
    }
}

/// Connections to servers. Cloning gives another handle; all close with the last one.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    options: PoolOptions,
    places: Mutex<HashMap<ServerAddr, Place>>,
}

/// What the pool has of one server.
enum Place {
    /// Somebody dials; all who want a connection wait for the same outcome.
    Dialling(watch::Receiver<Option<Dialled>>),
    Linked(Arc<Link>),
}

type Dialled = Result<Arc<Link>, String>;

impl Shared {
    fn places(&self) -> MutexGuard<'_, HashMap<ServerAddr, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the outcome of dialling in its place; false where nobody waits for it any more.
    fn settle(
        &self,
        server: &ServerAddr,
        waiting: &watch::Receiver<Option<Dialled>>,
        link: Option<&Arc<Link>>,
    ) -> bool {
        let mut places = self.places();
        let waits = matches!(
            places.get(server),
            Some(Place::Dialling(current)) if current.same_channel(waiting)
        );
        match link.filter(|_| waits) {
            Some(link) => {
                places.insert(server.clone(), Place::Linked(Arc::clone(link)));
            }
            None if waits => {
                places.remove(server);
            }
            None => {}
        }
        waits
    }

    /// Takes no more calls for this link. It closes when its last call ended.
    fn retire(&self, server: &ServerAddr, link: &Arc<Link>) {
        let mut places = self.places();
        if matches!(places.get(server), Some(Place::Linked(current)) if Arc::ptr_eq(current, link))
        {
            places.remove(server);
        }
        drop(places);
        link.retired.store(true, Ordering::Relaxed);
        link.close_if_done();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let places = self.places.get_mut().unwrap_or_else(PoisonError::into_inner);
        places.values().for_each(Place::close);
    }
}

impl Pool {
    /// An empty pool.
    pub fn new(options: PoolOptions) -> Self {
        Self { shared: Arc::new(Shared { options, places: Mutex::default() }) }
    }

    /// Whether servers are reached over TLS.
    pub fn uses_tls(&self) -> bool {
        self.shared.options.dial.tls.as_ref().is_some_and(Tls::is_outgoing)
    }

    /// Calls a method of a server: `args` and the reply are msgpack values. `deadline` is
    /// how long the answer may take once there is a connection; zero for no limit. See
    /// [`crate::blocking_deadline`] for queries that wait.
    ///
    /// # Errors
    /// See [`RpcError`]. After one that is like an end of file the connection is not used
    /// again.
    pub async fn call(
        &self,
        server: &ServerAddr,
        method: &str,
        args: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, RpcError> {
        let (link, mut caller) = self.caller(server).await?;
        let answer = caller.call(method, args);
        let outcome = if deadline.is_zero() {
            answer.await
        } else {
            timeout(deadline, answer).await.map_err(|_| RpcError::Timeout)?
        };
        let error = match outcome {
            Ok(reply) => {
                link.link.keep(caller, self.shared.options.idle_streams_max);
                return Ok(reply);
            }
            Err(Failure::Remote(text)) => {
                // Real servers end a stream after some errors, such as an unknown method.
                caller.into_stream().finish();
                RpcError::Remote(text)
            }
            Err(Failure::Broken(text)) => RpcError::Broken(text),
        };
        if error.is_eof_like() {
            self.shared.retire(server, &link.link);
        }
        Err(error)
    }

    /// Opens a connection of its own for a protocol other than calls. What follows its first
    /// byte is up to the caller.
    ///
    /// # Errors
    /// [`RpcError::Connect`].
    pub async fn open(
        &self,
        server: &ServerAddr,
        protocol: Protocol,
    ) -> Result<BoxedStream, RpcError> {
        connect::connect(&self.shared.options.dial, server, protocol)
            .await
            .map_err(RpcError::Connect)
    }

    /// Makes one of the two calls for which no certificate is needed, over a connection of
    /// its own.
    ///
    /// # Errors
    /// [`RpcError::InsecureConnect`], [`RpcError::InsecureCall`], [`RpcError::Timeout`].
    pub async fn call_insecure(
        &self,
        server: &ServerAddr,
        method: &str,
        args: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, RpcError> {
        let stream = connect::connect_insecure(&self.shared.options.dial, server)
            .await
            .map_err(RpcError::InsecureConnect)?;
        let mut caller = Caller::new(stream);
        let answer = timeout(deadline, caller.call(method, args));
        let outcome = answer.await.map_err(|_| RpcError::Timeout)?;
        outcome.map_err(|failure| match failure {
            Failure::Remote(text) | Failure::Broken(text) => RpcError::InsecureCall(text),
        })
    }

    /// Closes all connections. Calls that run end with an error.
    pub fn close(&self) {
        self.shared.places().drain().for_each(|(_, place)| place.close());
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.shared.places().values().filter(|place| matches!(place, Place::Linked(_))).count()
    }

    /// A stream for one call.
    async fn caller(
        &self,
        server: &ServerAddr,
    ) -> Result<(Lease, Caller<yamux::Stream>), RpcError> {
        let mut redials = 0;
        loop {
            let link = self.link(server).await?;
            if let Some(caller) = link.link.take_idle() {
                return Ok((link, caller));
            }
            match link.link.connection.open().await {
                Ok(stream) => return Ok((link, Caller::new(stream))),
                Err(error) => {
                    self.shared.retire(server, &link.link);
                    if redials == REDIALS_MAX {
                        return Err(RpcError::Stream(error.to_string()));
                    }
                    redials += 1;
                }
            }
        }
    }

    /// The connection to a server.
    async fn link(&self, server: &ServerAddr) -> Result<Lease, RpcError> {
        let mut dialled = match self.shared.places().get(server) {
            Some(Place::Linked(link)) if link.connection.ended().is_none() => {
                return Ok(Lease::new(link));
            }
            Some(Place::Dialling(dialled)) => Some(dialled.clone()),
            _ => None,
        };
        let dialled = dialled.get_or_insert_with(|| self.dial(server));
        match dialled.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(link))) => Ok(Lease::new(link)),
            Ok(Some(Err(text))) => Err(RpcError::Connect(text.clone())),
            Ok(None) | Err(_) => Err(RpcError::Connect("the pool was closed".to_owned())),
        }
    }

    /// Dials in a task of its own: who asked for the connection may go away, and others wait
    /// for it too.
    fn dial(&self, server: &ServerAddr) -> watch::Receiver<Option<Dialled>> {
        let mut places = self.shared.places();
        // Somebody else may have begun since.
        if let Some(Place::Dialling(dialled)) = places.get(server) {
            return dialled.clone();
        }
        let (outcome, dialled) = watch::channel(None);
        places.insert(server.clone(), Place::Dialling(dialled.clone()));
        drop(places);
        let (pool, server) = (Arc::downgrade(&self.shared), server.clone());
        let (options, waiting) = (self.shared.options.clone(), dialled.clone());
        tokio::spawn(async move {
            let connected = connect::connect(&options.dial, &server, Protocol::MultiplexV2).await;
            let linked = connected.map(|stream| Link::new(stream, &options.yamux));
            let settled = pool.upgrade().is_some_and(|pool| {
                pool.settle(&server, &waiting, linked.as_ref().ok().map(|(link, _)| link))
            });
            // A pool that was closed meanwhile does not wait for it any more.
            if !settled {
                return;
            }
            let (link, driver) = match linked {
                Ok((link, driver)) => (link, driver),
                Err(text) => {
                    outcome.send_replace(Some(Err(text)));
                    return;
                }
            };
            outcome.send_replace(Some(Ok(Arc::clone(&link))));
            tokio::select! {
                reason = driver => {
                    tracing::debug!(target: "agent.pool", %server, reason, "Connection ended");
                }
                () = reap(&pool, &server, &link, options.idle_timeout) => {}
            }
            if let Some(pool) = pool.upgrade() {
                pool.retire(&server, &link);
            }
        });
        dialled
    }
}

impl Place {
    fn close(&self) {
        if let Place::Linked(link) = self {
            link.connection.close();
        }
    }
}

/// Takes the connection out of the pool when nobody used it for `idle_timeout`. Completes
/// when the pool is gone.
async fn reap(pool: &Weak<Shared>, server: &ServerAddr, link: &Arc<Link>, idle_timeout: Duration) {
    loop {
        let since = link.idle_since();
        tokio::time::sleep_until(since.unwrap_or_else(Instant::now) + idle_timeout).await;
        let Some(pool) = pool.upgrade() else { return };
        if since.is_some() && link.idle_since() == since {
            pool.retire(server, link);
        }
    }
}

/// A connection to a server.
struct Link {
    connection: yamux::Connection,
    idle: Mutex<Idle>,
    retired: AtomicBool,
}

struct Idle {
    /// Streams for calls to come.
    callers: Vec<Caller<yamux::Stream>>,
    /// When the last call ended.
    since: Instant,
    /// How many calls run.
    used: usize,
}

impl Link {
    fn new(
        stream: BoxedStream,
        options: &yamux::Options,
    ) -> (Arc<Self>, yamux::Driver<BoxedStream>) {
        let (connection, _, driver) = yamux::connect(stream, yamux::Role::Client, options.clone());
        let idle = Mutex::new(Idle { callers: Vec::new(), since: Instant::now(), used: 0 });
        (Arc::new(Self { connection, idle, retired: AtomicBool::new(false) }), driver)
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when nobody uses it.
    fn idle_since(&self) -> Option<Instant> {
        let idle = self.lock();
        (idle.used == 0).then_some(idle.since)
    }

    /// A stream of an earlier call that is still good.
    fn take_idle(&self) -> Option<Caller<yamux::Stream>> {
        let mut idle = self.lock();
        while let Some(caller) = idle.callers.pop() {
            if caller.is_quiet() && caller.stream().is_quiet() {
                return Some(caller);
            }
        }
        None
    }

    /// Keeps a stream for calls to come.
    fn keep(&self, caller: Caller<yamux::Stream>, callers_max: usize) {
        let mut idle = self.lock();
        if caller.is_quiet() && idle.callers.len() < callers_max {
            idle.callers.push(caller);
        } else {
            drop(idle);
            caller.into_stream().finish();
        }
    }

    fn close_if_done(&self) {
        let mut idle = self.lock();
        if idle.used == 0 && self.retired.load(Ordering::Relaxed) {
            idle.callers.clear();
            self.connection.close();
        }
    }
}

/// A connection while a call uses it.
struct Lease {
    link: Arc<Link>,
}

impl Lease {
    fn new(link: &Arc<Link>) -> Self {
        link.lock().used += 1;
        Self { link: Arc::clone(link) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut idle = self.link.lock();
        idle.used -= 1;
        idle.since = Instant::now();
        drop(idle);
        self.link.close_if_done();
    }
}
