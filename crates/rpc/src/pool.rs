//! Connections to servers: one to each, with yamux, opened when it is needed and closed when
//! it is not (`reference/rpc-wire.md` 6).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use crate::connect::{self, Dial};
use crate::error::RpcError;
use crate::net_rpc::client::{Caller, Failure};
use crate::protocol::Protocol;
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
#[derive(Default)]
struct Place {
    link: Option<Arc<Link>>,
    /// Held by the one who dials, so that nobody else does.
    dialling: Arc<tokio::sync::Mutex<()>>,
}

impl Shared {
    fn places(&self) -> MutexGuard<'_, HashMap<ServerAddr, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes no more calls for this link. It closes when its last call ended.
    fn retire(&self, server: &ServerAddr, link: &Arc<Link>) {
        let mut places = self.places();
        if let Some(place) = places.get_mut(server)
            && place.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, link))
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
        for link in places.values().filter_map(|place| place.link.as_ref()) {
            link.connection.close();
        }
    }
}

impl Pool {
    /// An empty pool.
    pub fn new(options: PoolOptions) -> Self {
        Self { shared: Arc::new(Shared { options, places: Mutex::default() }) }
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
        for (_, place) in self.shared.places().drain() {
            if let Some(link) = place.link {
                link.connection.close();
            }
        }
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.shared.places().values().filter(|place| place.link.is_some()).count()
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
        let dialling = match self.existing(server) {
            Ok(lease) => return Ok(lease),
            Err(dialling) => dialling,
        };
        let _dialling = dialling.lock().await;
        if let Ok(lease) = self.existing(server) {
            return Ok(lease);
        }
        let options = &self.shared.options;
        let stream = self.dial(server).await?;
        let (connection, _, driver) =
            yamux::connect(stream, yamux::Role::Client, options.yamux.clone());
        let link = Arc::new(Link {
            connection,
            idle: Mutex::new(Idle { callers: Vec::new(), since: Instant::now(), used: 0 }),
            retired: AtomicBool::new(false),
        });
        let lease = Lease::new(&link);
        self.shared.places().entry(server.clone()).or_default().link = Some(Arc::clone(&link));
        let (pool, server) = (Arc::downgrade(&self.shared), server.clone());
        let idle_timeout = options.idle_timeout;
        tokio::spawn(async move {
            tokio::select! {
                reason = driver => {
                    tracing::debug!(target: "agent.pool", %server, reason, "Connection ended");
                }
                () = reap(&pool, &server, &link, idle_timeout) => {}
            }
            if let Some(pool) = pool.upgrade() {
                pool.retire(&server, &link);
            }
        });
        Ok(lease)
    }

    async fn dial(&self, server: &ServerAddr) -> Result<BoxedStream, RpcError> {
        let dialled =
            connect::connect(&self.shared.options.dial, server, Protocol::MultiplexV2).await;
        if dialled.is_err() {
            let mut places = self.shared.places();
            // The map, the caller and nobody else: the next one may begin anew.
            let alone = |place: &Place| Arc::strong_count(&place.dialling) == 2;
            if places.get(server).is_some_and(|place| place.link.is_none() && alone(place)) {
                places.remove(server);
            }
        }
        dialled.map_err(RpcError::Connect)
    }

    fn existing(&self, server: &ServerAddr) -> Result<Lease, Arc<tokio::sync::Mutex<()>>> {
        let mut places = self.shared.places();
        let Some(place) = places.get(server) else {
            let place = places.entry(server.clone()).or_default();
            return Err(Arc::clone(&place.dialling));
        };
        match place.link.as_ref().filter(|link| link.connection.ended().is_none()) {
            Some(link) => Ok(Lease::new(link)),
            None => Err(Arc::clone(&place.dialling)),
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
