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
            tokio::select! {
                () = self.rebalance(pool, Instant::now(), members()) => {}
                () = stopped(&mut stop) => return,
            }
        }
    }

    /// Makes the orders anew that are due at `now`: the first server that answers is asked
    /// for everything from now on.
    async fn rebalance(&self, pool: &Pool, now: Instant, members: usize) {
        let due = self.routes().handle_timeout(now, members);
        for (datacenter, mut rebalance) in due {
            while let Some(server) = rebalance.first() {
                if pool.call(server, "Status.Ping", EMPTY, PING_TIMEOUT).await.is_ok() {
                    break;
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::pool::PoolOptions;

    fn server(name: &str, address: SocketAddr) -> ServerAddr {
        ServerAddr { datacenter: "dc1".into(), id: String::new(), name: name.to_owned(), address }
    }

    /// Answers every connection to its first call as a server answers a ping over yamux.
    async fn answer_pings(listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1 + 12 + 12 + 33];
            stream.read_exact(&mut request).await.unwrap();
            let mut answer = b"\0\x01\0\x02\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x28".to_vec();
            answer.extend_from_slice(
                b"\x83\xa5Error\xa0\xa3Seq\x01\xadServiceMethod\xabStatus.Ping\x80",
            );
            stream.write_all(&answer).await.unwrap();
            tokio::spawn(async move { stream.read_u8().await });
        }
    }

    #[tokio::test]
    async fn a_new_order_begins_with_a_server_that_answers_a_ping() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answering = listener.local_addr().unwrap();
        tokio::spawn(answer_pings(listener));
        let (router, pool) = (Router::new("dc1".into()), Pool::new(PoolOptions::default()));
        for name in ["a", "b", "c"] {
            router.add_server(server(name, silent));
        }
        router.add_server(server("d", answering));
        let due = router.routes().poll_timeout().unwrap();
        router.rebalance(&pool, due - Duration::from_secs(1), 4).await;
        assert_eq!(router.find_local(), Ok(server("a", silent)));
        router.rebalance(&pool, due, 4).await;
        assert_eq!(router.find_local(), Ok(server("d", answering)));

        router.remove_server(&server("d", answering));
        let due = router.routes().poll_timeout().unwrap();
        router.rebalance(&pool, due, 4).await;
        assert_eq!(router.find(&"dc1".into()), Err(RpcError::NoneReachable));
        assert!(router.find_local().is_ok(), "at home one is asked all the same");
    }
}
