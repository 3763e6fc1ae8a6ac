//! The one port of a server and the way to it (`reference/rpc-wire.md`).
//!
//! A connection says with its first byte what it is for; calls are net/rpc with msgpack
//! over yamux streams.
//!
//! - [`serve`] is the port: it finds out what each connection is for and hands calls and
//!   raw streams to a [`Service`].
//! - [`Pool`] is the way to it: one multiplexed connection to each server for calls, and
//!   connections of their own for everything else.
//! - [`Router`] says which server to ask. Behind it are the machines [`routes`] and
//!   [`manager`]; [`retry`] and [`limiter`] are the rules of who asks.
//! - [`yamux`] and [`net_rpc`] are the formats.
//!
//! What the calls mean is not known here: arguments and replies are bytes.

mod connect;
mod error;
pub mod limiter;
pub mod manager;
pub mod net_rpc;
mod pool;
mod protocol;
pub mod retry;
mod router;
pub mod routes;
mod rpc_tls;
mod serve;
mod server_addr;
mod service;
mod stream;
pub mod yamux;

pub use connect::Dial;
pub use error::RpcError;
pub use limiter::Limiter;
pub use manager::Manager;
pub use net_rpc::server::{ServerLimits, unknown_method};
pub use pool::{Pool, PoolOptions};
pub use protocol::Protocol;
pub use retry::{Retry, blocking_deadline};
pub use router::Router;
pub use routes::Routes;
pub use rpc_tls::{IssuedCertificate, Tls, TlsError, TlsSettings};
pub use serve::{ConnectionLimit, ServeOptions, serve};
pub use server_addr::ServerAddr;
pub use service::{Peer, Service};
pub use stream::{BoxFuture, BoxedStream, RawStream};
