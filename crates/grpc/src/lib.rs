//! gRPC between agents and servers (`reference/grpc-and-xds.md`): the messages, and both
//! ends of a connection that speaks it.
//!
//! - [`messages`]: what is said, generated from `proto/` by `cargo xtask proto`; [`convert`]
//!   makes rows of the catalog of it and back.
//! - [`serve`]: the server's end, which hands each request to a [`Handler`]; [`answer`] reads
//!   its message and writes the reply.
//! - [`Connections`]: the other end. Calls and subscriptions of one agent share few
//!   connections to each server.
//! - [`codec`]: messages that were encoded before, so that a thousand subscribers cost one
//!   encoding.
//!
//! tonic frames messages and speaks of statuses, hyper speaks HTTP/2. Nothing here knows
//! what the methods mean.

pub mod answer;
pub mod codec;
mod connections;
pub mod convert;
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "made by `cargo xtask proto`")]
mod generated;
mod heard;
mod link;
pub mod messages;
mod serve;
mod unfold;

pub use connections::{Connections, EventStream, Failure};
pub use link::KeepAlive;
pub use serve::{Handler, MESSAGE_BYTES_MAX, serve};
pub use tonic::body::Body;
pub use tonic::{Code, Status};
pub use unfold::{Step, Unfold, unfold};

/// A request that was not read yet.
pub type Request = http::Request<hyper::body::Incoming>;

/// An answer as it is sent.
pub type Response = http::Response<Body>;

/// The metadata that carries a token.
pub const TOKEN_METADATA: &str = "x-consul-token";

/// The methods that are served, by their path.
pub mod paths {
    /// [`crate::messages::SubscribeRequest`] to a stream of [`crate::messages::Event`].
    pub const SUBSCRIBE: &str = "/subscribe.StateChangeSubscription/Subscribe";
    /// [`crate::messages::TransferLeaderRequest`] to its response.
    pub const TRANSFER_LEADER: &str =
        "/hashicorp.consul.internal.operator.OperatorService/TransferLeader";

    /// Whether there is a service of this name.
    pub(crate) fn has_service(name: &str) -> bool {
        [SUBSCRIBE, TRANSFER_LEADER]
            .into_iter()
            .filter_map(|path| path.strip_prefix('/')?.rsplit_once('/'))
            .any(|(service, _)| service == name)
    }
}
