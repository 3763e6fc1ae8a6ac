//! The HTTP server and the conventions that every route shares.
//!
//! A request takes one way (`reference/http-api.md` part 1):
//!
//! 1. [`listener`]: a connection, within the limits of its client; TLS when asked for.
//! 2. [`path`]: the path is decoded and cleaned, the query string read.
//! 3. [`router`]: the route is found, blocked paths and wrong methods are refused.
//! 4. [`conventions`]: token, body, handler. A route of a domain gives a
//!    [`contract::Call`], which the [`Backend`] runs; a route of the agent's own
//!    answers itself.
//! 5. [`reply`]: headers, error codes, compression.
//!
//! What a route means is not known here.

pub mod conventions;
pub mod listener;
pub mod path;
pub mod reply;
mod route_metrics;
pub mod router;
mod settings;
mod ui;
mod upload;

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use contract::{Call, CallError, Encoding, Response};
use types::Index;

pub use conventions::{HttpService, token_in_headers};
pub use listener::{Listener, ServeOptions, serve};
pub use reply::{Download, Reply};
pub use router::{LocalHandler, LocalRoute, Router, UploadHandler};
pub use settings::HttpSettings;
pub use ui::Ui;
pub use upload::Upload;

/// A future whose type does not matter.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs the calls of the domains.
pub trait Backend: Send + Sync + 'static {
    /// Runs a call of a client to its end, blocking queries included. A client at a unix
    /// socket has no address.
    fn run(
        &self,
        call: Call,
        encoding: Encoding,
        client: Option<IpAddr>,
    ) -> BoxFuture<Result<Outcome, CallError>>;
}

/// What a call gave.
pub struct Outcome {
    /// What to show.
    pub response: Response,
    /// What reads tell beside their rows.
    pub meta: Option<ReadMeta>,
}

/// What reads tell beside their rows (`reference/http-api.md` 1.7).
#[derive(Clone, Debug)]
pub struct ReadMeta {
    /// `X-Consul-Index`; zero is sent as one.
    pub index: Index,
    /// `X-Consul-KnownLeader`.
    pub known_leader: bool,
    /// `X-Consul-LastContact`, milliseconds.
    pub last_contact_ms: u64,
    /// `X-Consul-Effective-Consistency`, where it is sent.
    pub consistency: Option<&'static str>,
    /// `X-Consul-Results-Filtered-By-ACLs`.
    pub removed: bool,
    /// `X-Consul-Query-Backend`: `blocking-query` or `streaming`.
    pub backend: &'static str,
    /// `X-Cache` and `Age` in seconds, for answers from the agent's cache.
    pub cache: Option<(bool, u64)>,
}

impl ReadMeta {
    /// What is told of a read that failed before it ran.
    pub fn unknown() -> Self {
        Self {
            index: Index(1),
            known_leader: false,
            last_contact_ms: 0,
            consistency: None,
            removed: false,
            backend: "blocking-query",
            cache: None,
        }
    }
}
