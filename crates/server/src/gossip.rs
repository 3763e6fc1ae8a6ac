//! What a server asks of the gossip pools, whoever keeps them.

use bytes::Bytes;
use rpc::{BoxFuture, ServerAddr};
use types::coordinate::DatacenterMap;
use types::keyring::{KeyringOperation, KeyringRequest, KeyringResponse};
use types::member::Member;

/// Which pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// All agents of the datacenter.
    Lan,
    /// The servers of all datacenters.
    Wan,
}

/// The pools of the agent in this process. Errors are texts for operators.
pub trait Gossip: Send + Sync + 'static {
    /// The members of the LAN pool, this one included.
    fn members(&self) -> Vec<Member>;

    /// How far a server of another datacenter is, in seconds, if that was measured.
    fn distance(&self, server: &ServerAddr) -> Option<f64>;

    /// Where the servers of each datacenter are, as far as that was measured.
    fn datacenter_maps(&self) -> BoxFuture<'_, Vec<DatacenterMap>>;

    /// Has the members of a pool do something with their keys; `None` where this server is in
    /// no such pool. Of the request, only the key and the relay factor count.
    fn operate_keys<'g>(
        &'g self,
        pool: PoolKind,
        operation: KeyringOperation,
        request: &'g KeyringRequest,
    ) -> BoxFuture<'g, Option<KeyringResponse>>;

    /// Leaves the WAN pool, and then the LAN pool; done when the others know.
    fn leave(&self) -> BoxFuture<'_, Result<(), String>>;

    /// Has the LAN pool, and with it the WAN pool, take a failed member for one that left.
    fn force_leave<'g>(&'g self, node: &'g str) -> BoxFuture<'g, Result<(), String>>;

    /// Sends an event to all members of the LAN pool. The name is sent as it is.
    fn user_event<'g>(
        &'g self,
        name: &'g str,
        payload: Bytes,
        coalesce: bool,
    ) -> BoxFuture<'g, Result<(), String>>;
}

/// No pool: for a server that is alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGossip;

impl Gossip for NoGossip {
    fn members(&self) -> Vec<Member> {
        Vec::new()
    }

    fn distance(&self, _server: &ServerAddr) -> Option<f64> {
        None
    }

    fn datacenter_maps(&self) -> BoxFuture<'_, Vec<DatacenterMap>> {
        Box::pin(async { Vec::new() })
    }

    fn operate_keys<'g>(
        &'g self,
        _pool: PoolKind,
        _operation: KeyringOperation,
        _request: &'g KeyringRequest,
    ) -> BoxFuture<'g, Option<KeyringResponse>> {
        Box::pin(async { None })
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn force_leave<'g>(&'g self, node: &'g str) -> BoxFuture<'g, Result<(), String>> {
        Box::pin(async move { Err(format!("No node found with name '{node}'")) })
    }

    fn user_event<'g>(
        &'g self,
        _name: &'g str,
        _payload: Bytes,
        _coalesce: bool,
    ) -> BoxFuture<'g, Result<(), String>> {
        // There is nobody who does not know already.
        Box::pin(async { Ok(()) })
    }
}
