//! The one write path.

use std::any::Any;
use std::time::Instant;

use acl::Authorizer;
use contract::remote::Outgoing;
use contract::{AnyCommand, Authorized, CallError, Command, LeaderView};
use replica::admission::{Admitted, admit};
use rpc::ServerAddr;
use rpc::retry::Purpose;
use types::SecretId;

use crate::Server;
use crate::forward::{Attempts, Failure, Place, ask_leader, is_elsewhere, place};
use crate::fsm::FsmReply;
use crate::metrics::Call;
use crate::rate_limit::Class;

/// A command's reply, of a type that only the command knows.
type Reply = Box<dyn Any + Send>;

impl Server {
    /// Runs a command to its end: when this returns, the change is durable on a quorum
    /// and applied here.
    pub async fn write(
        &self,
        command: Box<dyn AnyCommand>,
        token: &SecretId,
    ) -> Result<Box<dyn Any + Send>, CallError> {
        let operation = (command.name(), command.op());
        measured(self, operation, self.run(command, token)).await
    }

    async fn run(&self, command: Box<dyn AnyCommand>, token: &SecretId) -> FsmReply {
        if is_elsewhere(self, command.datacenter()) {
            let call = request_of(&*command, token)?;
            let (peers, deadline) = (self.peers(), self.shared.options.client_timeout);
            let call = (call.method, call.args.0);
            let reply = peers.call_in(command.datacenter(), call, deadline, true).await;
            return command.reply_decoder()(&reply.map_err(Failure::There)?);
        }
        self.admit(Class::Write, command.name(), false)?;
        let mut attempts = Attempts::new(Purpose::Write);
        loop {
            let failure = match place(self, false) {
                Ok(Place::Here) => return self.write_here(command, token).await,
                Ok(Place::At(leader)) => match write_at(self, &leader, &*command, token).await {
                    Ok(reply) => return Ok(reply),
                    Err(failure) => failure,
                },
                Err(error) => Failure::Here(error),
            };
            attempts.pause(self, failure).await?;
        }
    }

    /// Runs a command on this server, which leads.
    pub(crate) async fn write_here(
        &self,
        command: Box<dyn AnyCommand>,
        token: &SecretId,
    ) -> FsmReply {
        let who = self.authorizer(token);
        let prune = command.pruner();
        match self.admit_command(command, &who)? {
            Admitted::Answered(reply) => {
                make_sure_of_memory(self).await?;
                Ok(reply)
            }
            Admitted::Ready(command) => Ok(prune(&who, self.propose(command).await?)),
        }
    }

    /// As [`Self::write`], typed.
    pub async fn write_typed<C: Command>(
        &self,
        command: C,
        token: &SecretId,
    ) -> Result<C::Reply, CallError> {
        let reply = self.write(Box::new(command), token).await?.downcast::<C::Reply>();
        Ok(*reply.expect("a command's reply has the command's reply type"))
    }

    fn admit_command(
        &self,
        command: Box<dyn AnyCommand>,
        who: &Authorizer,
    ) -> Result<Admitted, CallError> {
        let mut leader = LeaderView {
            store: self.store(),
            now_unix_nanos: now_unix_nanos(),
            random: &mut || fastrand::u128(..),
            datacenter: &self.shared.options.datacenter,
            session_ttl_min: self.shared.options.session_ttl_min,
            memory: &self.shared.memory,
        };
        admit(command, who, &mut leader)
    }

    async fn propose(&self, command: Authorized<Box<dyn AnyCommand>>) -> FsmReply {
        let command = command.into_inner();
        let bytes = command.encode();
        self.raft().propose(bytes, command).await.map_err(|error| error.to_call_error())?
    }
}

/// Asks the leader.
async fn write_at(
    server: &Server,
    leader: &ServerAddr,
    command: &dyn AnyCommand,
    token: &SecretId,
) -> Result<Reply, Failure> {
    let call = request_of(command, token)?;
    let deadline = server.shared.options.client_timeout;
    let reply = ask_leader(server, leader, (call.method, &call.args.0), deadline).await?;
    Ok(command.reply_decoder()(&reply)?)
}

/// An answer from this server's memory counts while nobody else leads.
async fn make_sure_of_memory(server: &Server) -> Result<(), CallError> {
    if server.raft().has_lease() {
        return Ok(());
    }
    server.raft().verify_leader().await.map_err(|_| CallError::no_leader())
}

/// Runs what carries out a command, and measures it.
pub(crate) async fn measured(
    server: &Server,
    operation: (&'static str, &'static str),
    run: impl Future<Output = FsmReply>,
) -> FsmReply {
    let start = Instant::now();
    let outcome = run.await;
    let call = Call { errored: outcome.is_err(), leads: server.raft().is_leader() };
    server.shared.metrics.wrote(operation, call, start);
    outcome
}

/// How a command is sent to another server.
fn request_of(command: &dyn AnyCommand, token: &SecretId) -> Result<Outgoing, CallError> {
    command.to_request(token).ok_or_else(|| {
        CallError::failed(format!("{} cannot be asked of another server", command.name()))
    })
}

pub(crate) fn now_unix_nanos() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
