//! A client agent: everything is asked of the servers of its datacenter
//! (`reference/rpc-wire.md` section 6).
//!
//! One server answers all calls until one of them shows that it cannot: then it is the
//! next one's turn.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use contract::{AnyAction, AnyCommand, AnyQuery, CallError, ErrorKind, ReadFacts, ReadOptions};
use grpc::{Connections, KeepAlive};
use rpc::retry::{Caller, Purpose};
use rpc::{BoxedStream, Limiter, Pool, Protocol, Retry, Router, RpcError, ServerAddr};
use server::Answer;
use telemetry::names;
use types::{Datacenter, Index, SecretId};

use crate::advice;

/// How a client agent asks. Durations of zero are no limit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClientOptions {
    /// `performance.rpc_hold_timeout`: how long a call is tried.
    pub(crate) hold_timeout: Duration,
    /// `default_query_time` and `max_query_time`: how long a blocking query takes.
    pub(crate) default_query_time: Duration,
    pub(crate) max_query_time: Duration,
    /// `limits.rpc_client_timeout`: how long any other call may take.
    pub(crate) timeout: Duration,
    /// `limits.rpc_rate`: calls a second; infinite for no limit.
    pub(crate) rate: f64,
    /// `limits.rpc_max_burst`: calls at once.
    pub(crate) burst: u32,
}

/// A client agent's way to its servers. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    grpc: Connections,
    router: Router,
    options: ArcSwap<ClientOptions>,
    limiter: Mutex<Limiter>,
}

impl Client {
    /// Asks the servers that the router knows, through this pool.
    pub(crate) fn new(
        pool: Pool,
        router: Router,
        options: ClientOptions,
        keep_alive: KeepAlive,
    ) -> Self {
        let grpc = Connections::new(pool.clone(), keep_alive);
        let limiter = Mutex::new(Limiter::new(options.rate, options.burst));
        let options = ArcSwap::from_pointee(options);
        Self { shared: Arc::new(Shared { pool, grpc, router, options, limiter }) }
    }

    /// Asks like this from now on.
    pub(crate) fn set_options(&self, options: ClientOptions) {
        self.limiter().set(options.rate, options.burst);
        self.shared.options.store(Arc::new(options));
    }

    /// How many servers are known.
    pub(crate) fn known_servers(&self) -> usize {
        let routes = self.shared.router.routes();
        routes.servers(routes.local()).len()
    }

    /// See [`super::Delegate::read`].
    pub(crate) async fn read(
        &self,
        query: Arc<dyn AnyQuery>,
        options: &ReadOptions,
    ) -> Result<Answer, CallError> {
        let outgoing = query.to_request(options).ok_or_else(|| here_only(query.name()))?;
        let purpose = Purpose::Read(self.blocks(options));
        let reply = self.call(outgoing.method, outgoing.args.0, purpose).await?;
        let (reply, facts) = query.decode_reply(&reply)?;
        Ok(Answer::remote(reply, facts))
    }

    /// See [`super::Delegate::write`].
    pub(crate) async fn write(
        &self,
        command: Box<dyn AnyCommand>,
        token: &SecretId,
    ) -> Result<Box<dyn Any + Send>, CallError> {
        let outgoing = command.to_request(token).ok_or_else(|| here_only(command.name()))?;
        let decode = command.reply_decoder();
        let reply = self.call(outgoing.method, outgoing.args.0, Purpose::Write).await?;
        decode(&reply)
    }

    /// See [`super::Delegate::act`]. Servers take an action as a whole.
    pub(crate) async fn act(
        &self,
        action: &mut dyn AnyAction,
    ) -> Result<(Box<dyn Any + Send + Sync>, ReadFacts), CallError> {
        let outgoing = action.to_request().ok_or_else(|| here_only(action.name()))?;
        let purpose = Purpose::Read(self.blocks(action.options()));
        let reply = self.call(outgoing.method, outgoing.args.0, purpose).await?;
        action.decode_reply(&reply)
    }

    /// Asks for something that does not change the state and does not wait.
    pub(crate) async fn ask(&self, method: &str, args: Bytes) -> Result<Bytes, CallError> {
        self.call(method, args, Purpose::Read(Duration::ZERO)).await
    }

    /// Orders something.
    pub(crate) async fn order(&self, method: &str, args: Bytes) -> Result<Bytes, CallError> {
        self.call(method, args, Purpose::Write).await
    }

    /// Opens a stream of its own to a server.
    pub(crate) async fn open(&self, protocol: Protocol) -> Result<BoxedStream, CallError> {
        self.admit()?;
        let server = self.find()?;
        self.shared.pool.open(&server, protocol).await.map_err(|error| {
            self.shared.router.fail_server(&server);
            CallError::from_remote(error.to_string())
        })
    }

    /// The connections over which gRPC is spoken.
    pub(crate) fn grpc(&self) -> &Connections {
        &self.shared.grpc
    }

    /// The datacenter of this agent.
    pub(crate) fn datacenter(&self) -> Datacenter {
        self.shared.router.routes().local().clone()
    }

    /// The server that is asked.
    pub(crate) fn server(&self) -> Result<ServerAddr, CallError> {
        self.find()
    }

    /// A server did not answer: the next one is asked from now on.
    pub(crate) fn fail_server(&self, server: &ServerAddr) {
        self.shared.router.fail_server(server);
    }

    /// How long an answer that does not wait for a change may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.shared.options.load().timeout
    }

    /// How long a server may wait before it answers.
    fn blocks(&self, options: &ReadOptions) -> Duration {
        if options.min_index == Index::ZERO {
            return Duration::ZERO;
        }
        let bounds = self.shared.options.load();
        let asked = options.max_wait.filter(|wait| !wait.is_zero());
        asked.unwrap_or(bounds.default_query_time).min(bounds.max_query_time)
    }

    async fn call(&self, method: &str, args: Bytes, purpose: Purpose) -> Result<Bytes, CallError> {
        let options = self.shared.options.load_full();
        let deadline = match purpose {
            Purpose::Read(blocks) if !blocks.is_zero() => {
                rpc::blocking_deadline(blocks, options.hold_timeout)
            }
            Purpose::Read(_) | Purpose::Write => options.timeout,
        };
        let seed = fastrand::u64(..);
        let mut retry = Retry::new(options.hold_timeout, Caller::Client, purpose, seed);
        let start = Instant::now();
        loop {
            self.admit()?;
            let server = self.find()?;
            let called = self.shared.pool.call(&server, method, args.clone(), deadline).await;
            let error = match called {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let text = error.to_string();
            if super::is_unknown_method(&text) {
                // Whoever asks for more than Consul's servers know has another way to ask.
                tracing::debug!(target: "agent.client", method, server = %server.address, "the server does not know the method");
                return Err(CallError::from_remote(text));
            }
            let hint = advice::on_server_port(&text, self.shared.pool.uses_tls());
            tracing::error!(target: "agent.client", method, server = %server.address, error = text, hint, "RPC failed to server");
            names::CLIENT_RPC_FAILED.increment([server.name.clone().into()], 1);
            let wait = retry.next(&error, start.elapsed());
            // What a server says of the call itself, another one would say too.
            if wait.is_some() || !matches!(error, RpcError::Remote(_)) {
                self.shared.router.fail_server(&server);
            }
            let Some(wait) = wait else { return Err(CallError::from_remote(text)) };
            tokio::time::sleep(wait).await;
        }
    }

    fn find(&self) -> Result<ServerAddr, CallError> {
        self.shared.router.find_local().map_err(|error| {
            tracing::warn!(target: "agent.router.manager", "No servers available");
            CallError::failed(error.to_string())
        })
    }

    /// Counts a call against this agent's own limit.
    fn admit(&self) -> Result<(), CallError> {
        if self.limiter().allow(Instant::now()) {
            return Ok(());
        }
        names::CLIENT_RPC_EXCEEDED.increment([], 1);
        Err(CallError::new(ErrorKind::TooMany, RpcError::RateLimited.to_string()))
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.shared.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What only the server that is asked over HTTP can answer.
fn here_only(name: &str) -> CallError {
    CallError::failed(format!("{name} can only be asked of a server: send the request to one"))
}

#[cfg(test)]
mod tests;
