//! The one write path.

use std::any::Any;
use std::sync::atomic::Ordering;
use std::time::Instant;

use contract::{AnyCommand, Authorized, CallError, Command, LeaderView, Refusal};
use tokio::time::timeout;
use types::SecretId;

use crate::Server;
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
        let (start, operation) = (Instant::now(), (command.name(), command.op()));
        let outcome = self.run(command, token).await;
        let call = Call { errored: outcome.is_err(), leads: self.raft().is_leader() };
        self.shared.metrics.wrote(operation, call, start);
        outcome
    }

    async fn run(&self, command: Box<dyn AnyCommand>, token: &SecretId) -> FsmReply {
        self.check_datacenter(command.datacenter())?;
        self.admit(Class::Write, command.name(), false)?;
        self.wait_for_leadership().await?;
        let who = self.authorizer(token);
        let checked = Authorized::command(command, &who, self.store(), &self.shared.memory);
        let mut authorized = match checked {
            Ok(authorized) => authorized,
            Err(Refusal::Error(error)) => return Err(error),
            Err(Refusal::Reply(reply)) => {
                self.make_sure_of_memory().await?;
                return Ok(reply);
            }
        };
        let prune = authorized.get_mut().pruner();
        if let Some(answer) = self.prepare(&mut **authorized.get_mut())? {
            self.make_sure_of_memory().await?;
            return Ok(answer);
        }
        Ok(prune(&who, self.propose(authorized).await?))
    }

    /// An answer from this server's memory counts while nobody else leads.
    async fn make_sure_of_memory(&self) -> Result<(), CallError> {
        if self.raft().has_lease() {
            return Ok(());
        }
        self.raft().verify_leader().await.map_err(|_| CallError::no_leader())
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

    /// Prepares a command for the log, unless it is answered without.
    fn prepare(&self, command: &mut dyn AnyCommand) -> Result<Option<Reply>, CallError> {
        let mut leader = LeaderView {
            store: self.store(),
            now_unix_nanos: now_unix_nanos(),
            random: &mut || fastrand::u128(..),
            datacenter: &self.shared.options.datacenter,
            session_ttl_min: self.shared.options.session_ttl_min,
            memory: &self.shared.memory,
        };
        command.prepare(&mut leader)?;
        command.answer(&mut leader)
    }

    async fn propose(&self, command: Authorized<Box<dyn AnyCommand>>) -> FsmReply {
        let command = command.into_inner();
        let bytes = command.encode();
        self.raft().propose(bytes, command).await.map_err(|error| error.to_call_error())?
    }

    /// Waits for this server to lead, as long as a request may be held.
    pub(crate) async fn wait_for_leadership(&self) -> Result<(), CallError> {
        if self.shared.leaving.load(Ordering::Acquire) {
            return Err(CallError::no_leader());
        }
        if self.raft().is_leader() {
            return Ok(());
        }
        let hold = self.shared.options.hold_timeout;
        match timeout(hold, self.raft().until_leader()).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(CallError::no_leader()),
        }
    }
}

pub(crate) fn now_unix_nanos() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
