//! What the parts of an agent ask of their cluster: reads, writes, the quorum, snapshots.
//!
//! The HTTP and DNS interfaces, anti-entropy, coordinates and everything else that wants
//! to know or to change what is replicated goes through here, and so does not know
//! whether the answer comes from a server in this process.

mod client;
mod methods;
mod snapshot;

use std::any::Any;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use contract::{
    Action, AnyAction, AnyCommand, AnyQuery, CallError, Command, Consistency, Query, ReadFacts,
    ReadOptions,
};
use server::rate_limit::Caller;
use server::{Answer, Server};
use types::autopilot::{AutopilotState, OperatorHealth};
use types::coordinate::DatacenterMap;
use types::member::Member;
use types::operator::{RaftConfiguration, RaftPeer};
use types::{Datacenter, SecretId};

pub(crate) use self::client::{Client, ClientOptions};
pub(crate) use self::methods::is_unknown_method;
pub(crate) use self::snapshot::{ArchiveSource, ArchiveStream, SavedArchive};
use self::snapshot::{restore_over, save_over};

/// The way of this agent into its cluster. Cloning gives another handle to the same.
#[derive(Clone)]
pub(crate) enum Delegate {
    /// The server in this process.
    Server(Server),
    /// The servers of the datacenter, over their ports.
    Client(Client),
}

impl Delegate {
    /// A handle that works on behalf of somebody, who may be limited.
    pub(crate) fn called_by(&self, caller: Caller) -> Self {
        match self {
            Delegate::Server(server) => Delegate::Server(server.called_by(caller)),
            // Servers limit by the address of whoever calls them.
            Delegate::Client(client) => Delegate::Client(client.clone()),
        }
    }

    /// The server in this process, if there is one: for what only servers do.
    pub(crate) fn server(&self) -> Option<&Server> {
        match self {
            Delegate::Server(server) => Some(server),
            Delegate::Client(_) => None,
        }
    }

    /// Answers a query, waiting for a newer answer if the options say so. A stale answer
    /// that is older than the options bear is asked again of the leader.
    pub(crate) async fn read(
        &self,
        query: Arc<dyn AnyQuery>,
        options: &ReadOptions,
    ) -> Result<Answer, CallError> {
        if options.consistency != Consistency::Stale || options.max_stale.is_zero() {
            return self.read_once(query, options).await;
        }
        let answer = self.read_once(Arc::clone(&query), options).await?;
        if answer.facts.last_contact <= options.max_stale {
            return Ok(answer);
        }
        let fresh = ReadOptions { consistency: Consistency::Default, ..options.clone() };
        self.read_once(query, &fresh).await
    }

    async fn read_once(
        &self,
        query: Arc<dyn AnyQuery>,
        options: &ReadOptions,
    ) -> Result<Answer, CallError> {
        match self {
            Delegate::Server(server) => server.read(query, options).await,
            Delegate::Client(client) => client.read(query, options).await,
        }
    }

    /// As [`Self::read`], typed.
    pub(crate) async fn read_typed<Q: Query>(
        &self,
        query: Q,
        options: &ReadOptions,
    ) -> Result<(Arc<Q::Reply>, ReadFacts), CallError> {
        let answer = self.read(Arc::new(query), options).await?;
        let reply = answer.shared_reply().downcast::<Q::Reply>();
        Ok((reply.expect("a query's reply has the query's reply type"), answer.facts))
    }

    /// Runs a command to its end.
    pub(crate) async fn write(
        &self,
        command: Box<dyn AnyCommand>,
        token: &SecretId,
    ) -> Result<Box<dyn Any + Send>, CallError> {
        match self {
            Delegate::Server(server) => server.write(command, token).await,
            Delegate::Client(client) => client.write(command, token).await,
        }
    }

    /// As [`Self::write`], typed.
    pub(crate) async fn write_typed<C: Command>(
        &self,
        command: C,
        token: &SecretId,
    ) -> Result<C::Reply, CallError> {
        let reply = self.write(Box::new(command), token).await?.downcast::<C::Reply>();
        Ok(*reply.expect("a command's reply has the command's reply type"))
    }

    /// Runs an action to its end.
    pub(crate) async fn act(
        &self,
        action: &mut dyn AnyAction,
    ) -> Result<(Box<dyn Any + Send + Sync>, ReadFacts), CallError> {
        match self {
            Delegate::Server(server) => server.act(action).await,
            Delegate::Client(client) => client.act(action).await,
        }
    }

    /// As [`Self::act`], typed.
    pub(crate) async fn act_typed<A: Action>(
        &self,
        mut action: A,
    ) -> Result<(A::Reply, ReadFacts), CallError> {
        let (reply, facts) = self.act(&mut action).await?;
        let reply = reply.downcast::<A::Reply>();
        Ok((*reply.expect("an action's reply has the action's reply type"), facts))
    }

    /// All datacenters that are known, the nearest first.
    pub(crate) async fn datacenters(&self) -> Result<Vec<Datacenter>, CallError> {
        match self {
            Delegate::Server(server) => Ok(server.datacenters()),
            Delegate::Client(client) => client.datacenters().await,
        }
    }

    /// Where the servers of each datacenter are, as far as that was measured.
    pub(crate) async fn datacenter_maps(&self) -> Result<Vec<DatacenterMap>, CallError> {
        match self {
            Delegate::Server(server) => Ok(server::datacenter_maps(server).await),
            Delegate::Client(client) => client.datacenter_maps().await,
        }
    }

    /// See [`Server::leader_address`].
    pub(crate) async fn leader_address(&self, dc: &Datacenter) -> Result<String, CallError> {
        match self {
            Delegate::Server(server) => server.leader_address(dc).await,
            Delegate::Client(client) => client.leader_address(dc).await,
        }
    }

    /// See [`Server::peer_addresses`].
    pub(crate) async fn peer_addresses(&self, dc: &Datacenter) -> Result<Vec<String>, CallError> {
        match self {
            Delegate::Server(server) => server.peer_addresses(dc).await,
            Delegate::Client(client) => client.peer_addresses(dc).await,
        }
    }

    /// See [`Server::raft_configuration`]; the members are those that this agent knows.
    pub(crate) async fn raft_configuration(
        &self,
        options: &ReadOptions,
        members: &[Member],
    ) -> Result<RaftConfiguration, CallError> {
        match self {
            Delegate::Server(server) => server.raft_configuration(options, members).await,
            Delegate::Client(client) => client.raft_configuration(options).await,
        }
    }

    /// See [`Server::remove_peer`].
    pub(crate) async fn remove_peer(
        &self,
        dc: &Datacenter,
        peer: &RaftPeer,
        token: &SecretId,
    ) -> Result<(), CallError> {
        match self {
            Delegate::Server(server) => server.remove_peer(dc, peer, token).await,
            Delegate::Client(client) => client.remove_peer(dc, peer, token).await,
        }
    }

    /// See [`Server::transfer_leadership`].
    pub(crate) async fn transfer_leadership(
        &self,
        dc: &Datacenter,
        id: Option<&str>,
        token: &SecretId,
    ) -> Result<(), CallError> {
        match self {
            Delegate::Server(server) => server.transfer_leadership(dc, id, token).await,
            Delegate::Client(client) => client.transfer_leadership(dc, id, token).await,
        }
    }

    /// See [`Server::autopilot_state`]; the members are those that this agent knows.
    pub(crate) async fn autopilot_state(
        &self,
        options: &ReadOptions,
        members: &[Member],
    ) -> Result<AutopilotState, CallError> {
        match self {
            Delegate::Server(server) => server.autopilot_state(options, members).await,
            Delegate::Client(client) => client.autopilot_state(options).await,
        }
    }

    /// See [`Server::operator_health`]; the members are those that this agent knows.
    pub(crate) async fn operator_health(
        &self,
        options: &ReadOptions,
        members: &[Member],
    ) -> Result<OperatorHealth, CallError> {
        match self {
            Delegate::Server(server) => server.operator_health(options, members).await,
            Delegate::Client(client) => client.operator_health(options).await,
        }
    }

    /// See [`Server::save_snapshot`].
    pub(crate) async fn save_snapshot(
        &self,
        dc: &Datacenter,
        token: &SecretId,
        consistency: Consistency,
    ) -> Result<SavedArchive, CallError> {
        match self {
            Delegate::Server(server) => {
                if let Some(stream) = server.snapshot_elsewhere(dc, consistency).await? {
                    return save_over(stream, dc, token, consistency).await;
                }
                let saved = server.save_snapshot(dc, token, consistency).await?;
                Ok(SavedArchive { facts: saved.facts, source: ArchiveSource::Here(saved) })
            }
            Delegate::Client(client) => client.save_snapshot(dc, token, consistency).await,
        }
    }

    /// Whether it is worth taking an archive for a restore.
    pub(crate) fn may_restore(&self, dc: &Datacenter, token: &SecretId) -> Result<(), CallError> {
        match self {
            Delegate::Server(server) => server.may_restore(dc, token),
            // The server says so before it takes the archive.
            Delegate::Client(_) => Ok(()),
        }
    }

    /// See [`Server::restore_snapshot`]. Gives what was kept although nobody here
    /// understands it, where that is known.
    pub(crate) async fn restore_snapshot(
        &self,
        archive: File,
        dc: &Datacenter,
        token: &SecretId,
    ) -> Result<Option<String>, CallError> {
        match self {
            Delegate::Server(server) => {
                let leader = Consistency::Default;
                if let Some(stream) = server.snapshot_elsewhere(dc, leader).await? {
                    return restore_over(stream, archive, dc, token).await.map(|()| None);
                }
                let restored = server.restore_snapshot(archive, dc, token).await?;
                Ok(restored.contents.carried_text())
            }
            Delegate::Client(client) => {
                client.restore_snapshot(archive, dc, token).await.map(|()| None)
            }
        }
    }

    /// See [`Server::lock_delay_left`]. Nobody but a leader knows.
    pub(crate) fn lock_delay_left(&self, key: &str) -> Option<Duration> {
        match self {
            Delegate::Server(server) => server.lock_delay_left(key),
            Delegate::Client(_) => None,
        }
    }
}
