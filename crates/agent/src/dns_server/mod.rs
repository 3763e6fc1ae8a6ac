//! The sockets of the DNS interface (`reference/dns.md`).
//!
//! What an answer says is decided by the crate `dns`, which knows no socket. This
//! module receives messages over UDP ([`udp`]) and TCP ([`tcp`]), fetches rows from
//! a [`DnsSource`], asks recursors ([`recursor`]) and sends what comes out
//! ([`answerer`]).
//!
//! The way of a common question: one of a few tasks that share a UDP socket reads
//! it, takes the rows that the source has at hand, writes the answer into a buffer
//! that is used again and again, and sends it. Only a question that must wait (rows
//! from elsewhere, recursors, host names to follow) becomes a task of its own.
//!
//! Everything from outside has a bound: questions that wait
//! ([`WAITING_QUESTIONS_MAX`]), TCP connections ([`TCP_CONNECTIONS_MAX`]), questions
//! at work in one connection ([`TCP_QUESTIONS_MAX`]), idle and writing time
//! ([`TCP_IDLE_TIMEOUT`], [`TCP_WRITE_TIMEOUT`]), host names followed for one
//! question, and how long a look-up or a recursor is waited for.
//!
//! A socket bound to an any-address (`0.0.0.0`) answers from the address that the
//! kernel chooses for the way to the client. On a machine with several addresses in
//! one network, list the addresses instead.

mod answerer;
mod lines;
mod listen;
mod recursor;
mod settings;
mod source;
mod tcp;
mod udp;

#[cfg(test)]
mod tests;

pub use answerer::{
    Answerer, Client, DnsTimings, LOOKUP_TIMEOUT, QuestionKind, WAITING_QUESTIONS_MAX,
};
pub use listen::{ListenError, Network};
pub use settings::{DnsSettings, Freshness, SettingsError};
pub use source::{
    AddressOwner, DnsSource, Found, FoundQuery, LookupCall, LookupError, LookupFuture, ready_now,
};
pub use tcp::{TCP_CONNECTIONS_MAX, TCP_IDLE_TIMEOUT, TCP_QUESTIONS_MAX, TCP_WRITE_TIMEOUT};

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

/// Most tasks that read one UDP socket; never more than there are processors.
const UDP_WORKERS_MAX: usize = 8;

/// What a server is started with.
pub struct DnsServerOptions {
    /// Each is bound for UDP and TCP. Port 0 takes a free one, the same for both.
    pub listen: Vec<SocketAddr>,
    /// How to answer at first; [`DnsServer::reload`] replaces it.
    pub settings: DnsSettings,
    /// Who is told how long answers took.
    pub timings: Option<Arc<dyn DnsTimings>>,
}

/// A running DNS server. Dropping it stops it at once; [`Self::shutdown`] does it
/// in an orderly way.
#[derive(Debug)]
pub struct DnsServer {
    answerer: Arc<Answerer>,
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl DnsServer {
    /// Binds all addresses, or none, and starts to answer. Logs `Started DNS server`
    /// for each socket.
    pub async fn start(
        options: DnsServerOptions,
        source: Arc<dyn DnsSource>,
    ) -> Result<Self, ListenError> {
        let sockets = listen::bind_all(&options.listen)?;
        let answerer = Arc::new(Answerer::new(options.settings, source, options.timings));
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut addresses = Vec::new();
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        for listen::Bound { address, udp, tcp } in sockets {
            let socket = Arc::new(udp);
            for _ in 0..workers.min(UDP_WORKERS_MAX) {
                let (socket, answerer) = (Arc::clone(&socket), Arc::clone(&answerer));
                tasks.spawn(udp::serve(socket, answerer, stopped.clone()));
            }
            tasks.spawn(tcp::serve(tcp, Arc::clone(&answerer), stopped.clone()));
            lines::started(address, Network::Udp);
            lines::started(address, Network::Tcp);
            addresses.push(address);
        }
        Ok(Self { answerer, addresses, stop, tasks })
    }

    /// The bound addresses, in the order of the options.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What answers: for other doors to the same answers (gRPC's `DNSService`).
    pub fn answerer(&self) -> &Arc<Answerer> {
        &self.answerer
    }

    /// Answers by other settings from the next question on. Domains and addresses
    /// stay as they were (`reference/dns.md` section 12): give the same domains.
    pub fn reload(&self, settings: DnsSettings) {
        self.answerer.reload(settings);
    }

    /// Stops to receive and waits until every task is gone. Questions that still
    /// wait for somebody get no answer.
    pub async fn shutdown(mut self) {
        for address in &self.addresses {
            lines::stopping(*address, Network::Tcp);
            lines::stopping(*address, Network::Udp);
        }
        // Nobody listening any more is what is wanted.
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Returns when the server stops, or its owner is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
