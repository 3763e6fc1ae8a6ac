//! What those may call who have no certificate yet.

use std::sync::Arc;

use bytes::Bytes;

use crate::net_rpc::server::unknown_method;
use crate::service::{Peer, Service};
use crate::stream::{BoxFuture, BoxedStream};

/// How one comes to a certificate.
const METHODS: [&str; 2] = ["AutoConfig.InitialConfiguration", "AutoEncrypt.Sign"];

/// A service of which nothing but that can be called.
pub(super) struct Insecure(pub(super) Arc<dyn Service>);

impl Service for Insecure {
    fn admit(&self, from: &Peer, method: &str) -> Result<(), String> {
        if METHODS.contains(&method) { self.0.admit(from, method) } else { Ok(()) }
    }

    fn call<'a>(
        &'a self,
        from: &'a Peer,
        method: &'a str,
        args: Bytes,
    ) -> BoxFuture<'a, Result<Bytes, String>> {
        if METHODS.contains(&method) {
            self.0.call(from, method, args)
        } else {
            Box::pin(async move { Err(unknown_method(method, METHODS)) })
        }
    }

    fn raft(&self, _from: Peer, _stream: BoxedStream) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn snapshot(&self, _from: Peer, _stream: BoxedStream) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn grpc(&self, _from: Peer, _stream: BoxedStream) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
