//! [`Routes`] for many tasks, and the task that makes their orders anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use types::Datacenter;

use crate::error::RpcError;
use crate::net_rpc::header::EMPTY;
use crate::pool::Pool;
use crate::routes::Routes;
use crate::serve::stopped;
use crate::server_addr::ServerAddr;

/// How long a server may take to show that it is there.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How often it is looked whether a new order is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Which server to ask. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct Router {
    routes: Arc<Mutex<Routes>>,
}

impl Router {
    /// Nobody yet. `local` is the datacenter of this agent.
    pub fn new(local: Datacenter) -> Self {
        Self { routes: Arc::new(Mutex::new(Routes::new(local, fastrand::u64(..)))) }
    }

    /// The table behind it, for questions of other kinds. Do not hold it for long.
    pub fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server joined, or says something new of itself.
    pub fn add_server(&self, server: ServerAddr) {
        self.routes().add_server(server, Instant::now());
    }

    /// A server left.
    pub fn remove_server(&self, server: &ServerAddr) {
        self.routes().remove_server(server);
    }

    /// A call to a server failed: others are asked first.
    pub fn fail_server(&self, server: &ServerAddr) {
        self.routes().fail_server(server);
    }

    /// Whom to ask in the agent's own datacenter.
    ///
    /// # Errors
    /// [`RpcError::NoServers`].
    pub fn find_local(&self) -> Result<ServerAddr, RpcError> {
        self.routes().find_local().cloned()
    }

    /// Whom to ask in a datacenter.
    ///
    /// # Errors
    /// [`RpcError::NoPath`], [`RpcError::NoneReachable`].
    pub fn find(&self, datacenter: &Datacenter) -> Result<ServerAddr, RpcError> {
        self.routes().find(datacenter).cloned()
    }

    /// Makes orders anew when they are due, until `stop` says so or its sender is gone.
    /// `members` says how many agents the pool has.
    pub async fn run(
        &self,
        pool: &Pool,
        members: impl Fn() -> usize,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = stopped(&mut stop) => return,
            }
            let due = self.routes().handle_timeout(Instant::now(), members());
            for (datacenter, mut rebalance) in due {
                while let Some(server) = rebalance.first() {
                    tokio::select! {
                        answer = pool.call(server, "Status.Ping", EMPTY, PING_TIMEOUT) => {
                            if answer.is_ok() {
                                break;
                            }
                        }
                        () = stopped(&mut stop) => return,
                    }
                    rebalance.skip();
                }
                tracing::debug!(
                    target: "agent.router.manager",
                    datacenter = datacenter.as_str(),
                    active_server = rebalance.first().map(ToString::to_string),
                    "Rebalanced servers, new active server"
                );
                self.routes().adopt(&datacenter, rebalance);
            }
        }
    }
}
