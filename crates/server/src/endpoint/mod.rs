//! What is behind the server port (`reference/rpc-wire.md` sections 7, 8 and 12).
//!
//! A call is found by its name: a method of a domain, or one of [`methods`], which belong to
//! no domain. Whether it is answered here is told by what all requests have in common; a call
//! that is sent on is not decoded. The way of an answer is that of [`Server::read`] and its
//! like: this is another door to the same calls.

mod grpc;
mod methods;
mod operator;
mod snapshot;
#[cfg(test)]
mod tests;

pub use self::operator::HealthReply;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use contract::CallError;
use contract::remote::{self, MethodClass, MethodDef, RemoteCall};
use rpc::retry::Purpose;
use rpc::{BoxFuture, BoxedStream, Peer, Service, unknown_method};
use telemetry::names;

use self::methods::{METHODS, Method};
use crate::Server;
use crate::forward::{
    Attempts, Failure, Place, ask_leader, deadline_of, is_elsewhere, is_marked, place, purpose_of,
};
use crate::raft_transport::Incoming;
use crate::rate_limit::{Asked, Caller, Class};
use crate::read::wait_of;
use crate::write::measured;

/// The methods of the mesh, which is off where it is not wanted.
const MESH: &str = "ConnectCA.";

/// The server as others see it.
pub struct Endpoint {
    server: Server,
    /// What takes the requests of other servers' Raft.
    raft: Incoming,
    /// What is reached over gRPC.
    services: Arc<grpc::Services>,
    known: HashMap<&'static str, Known, foldhash::fast::RandomState>,
}

/// A method that there is.
#[derive(Clone, Copy)]
enum Known {
    Domain(&'static MethodDef),
    Other(&'static Method),
}

impl Known {
    fn name(self) -> &'static str {
        match self {
            Self::Domain(method) => method.name,
            Self::Other(method) => method.name,
        }
    }

    fn class(self) -> MethodClass {
        match self {
            Self::Domain(method) => method.class,
            Self::Other(method) => method.class,
        }
    }
}

impl Endpoint {
    /// The door to this server and to its Raft.
    pub fn new(server: Server, raft: Incoming) -> Self {
        let domains = domains::ALL.iter().flat_map(|domain| domain.methods);
        let domains = domains.map(|method| (method.name, Known::Domain(method)));
        let others = METHODS.iter().map(|method| (method.name, Known::Other(method)));
        let services = Arc::new(grpc::Services { server: server.clone() });
        Self { server, raft, services, known: domains.chain(others).collect() }
    }

    /// Answers a call, or has it answered.
    async fn answer(&self, method: &str, args: Bytes) -> Result<Bytes, CallError> {
        match self.known.get(method) {
            Some(Known::Domain(method)) => self.answer_domain(method, args).await,
            Some(Known::Other(method)) => {
                // It was meant for the leader. Sent on, it might come back.
                if is_marked(&args) && !self.server.raft().is_leader() {
                    return Err(CallError::no_leader());
                }
                (method.answer)(self.server.clone(), args).await
            }
            None => Err(CallError::failed(unknown_method(method, self.known.keys().copied()))),
        }
    }

    async fn answer_domain(
        &self,
        method: &'static MethodDef,
        args: Bytes,
    ) -> Result<Bytes, CallError> {
        let server = &self.server;
        let header = remote::header(&args)?;
        let options = header.to_read_options();
        let changes = method.class == MethodClass::Write;
        let deadline = match changes {
            true => server.shared.options.client_timeout,
            false => deadline_of(server, &options),
        };
        if is_elsewhere(server, &header.datacenter) {
            let call = (method.name, args);
            let peers = server.peers();
            let reply = peers.call_in(&header.datacenter, call, deadline, changes).await;
            return Ok(reply.map_err(Failure::There)?);
        }
        let purpose = if changes { Purpose::Write } else { purpose_of(&options) };
        let mut attempts = Attempts::new(purpose);
        loop {
            let failure = match place(server, header.allow_stale && !changes) {
                Ok(Place::Here) => match self.answer_here(method, &args).await {
                    Ok(reply) => return Ok(reply),
                    Err(error) => Failure::Here(error),
                },
                Ok(Place::At(_)) if is_marked(&args) => return Err(CallError::no_leader()),
                Ok(Place::At(leader)) => {
                    match ask_leader(server, &leader, (method.name, &args), deadline).await {
                        Ok(reply) => return Ok(reply),
                        Err(error) => Failure::There(error),
                    }
                }
                Err(error) => Failure::Here(error),
            };
            attempts.pause(server, failure).await?;
        }
    }

    async fn answer_here(
        &self,
        method: &'static MethodDef,
        args: &[u8],
    ) -> Result<Bytes, CallError> {
        let server = &self.server;
        if method.name.starts_with(MESH) && !server.shared.options.connect_enabled {
            let text = "Connect must be enabled in order to use this endpoint";
            return Err(CallError::failed(text));
        }
        match (method.decode)(args)? {
            RemoteCall::Read { query, options, encode } => {
                let until = tokio::time::Instant::now() + wait_of(server, &options);
                let answer = server.read_here(&query, &options, until).await?;
                Ok(encode.encode(answer.reply(), &answer.facts))
            }
            RemoteCall::Write { command, token, encode } => {
                let operation = (command.name(), command.op());
                let run = server.write_here(command, &token);
                Ok(encode(&*measured(server, operation, run).await?))
            }
            RemoteCall::Act { mut action, encode } => {
                let (reply, facts) = server.act_here(&mut *action).await?;
                Ok(encode.encode(&*reply, &facts))
            }
        }
    }
}

impl Service for Endpoint {
    fn admit(&self, from: &Peer, method: &str) -> Result<(), String> {
        // An unknown method is told so, whoever asks how often.
        let Some(known) = self.known.get(method) else { return Ok(()) };
        let class = match known.class() {
            MethodClass::Read => Class::Read,
            MethodClass::Write => Class::Write,
            MethodClass::Exempt => return Ok(()),
        };
        let here_only = class == Class::Write && self.server.raft().is_leader();
        let caller = Caller::Client(Some(from.address.ip()));
        let asked = Asked { class, name: known.name(), caller, here_only };
        let admitted = self.server.shared.limiter.admit(asked, Instant::now());
        admitted.map_err(|error| error.text().to_owned())
    }

    fn call<'a>(
        &'a self,
        _from: &'a Peer,
        method: &'a str,
        args: Bytes,
    ) -> BoxFuture<'a, Result<Bytes, String>> {
        Box::pin(async move {
            names::RPC_REQUEST.increment([], 1);
            let answer = self.answer(method, args).await;
            answer.map_err(|error| {
                names::RPC_REQUEST_ERROR.increment([], 1);
                error.text().to_owned()
            })
        })
    }

    fn raft(&self, from: Peer, stream: BoxedStream) -> BoxFuture<'_, ()> {
        names::RPC_RAFT_HANDOFF.increment([], 1);
        Box::pin(async move { self.raft.accept(stream, from.address).await })
    }

    fn snapshot(&self, from: Peer, stream: BoxedStream) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(error) = snapshot::answer(&self.server, stream).await {
                tracing::error!(target: "agent.server.rpc", conn = %from.address, error = %error, "Snapshot RPC error");
            }
        })
    }

    fn grpc(&self, from: Peer, stream: BoxedStream) -> BoxFuture<'_, ()> {
        Box::pin(::grpc::serve(stream, from, self.services.clone()))
    }
}
