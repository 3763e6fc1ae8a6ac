//! The pools as the server in this process sees them.

use std::collections::BTreeMap;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use gossip::consul;
use rpc::{BoxFuture, ServerAddr};
use server::gossip::{Gossip, PoolKind};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use types::coordinate::DatacenterMap;
use types::keyring::{KeyringOperation, KeyringRequest, KeyringResponse};
use types::member::{Member, MemberStatus};

use super::{Pools, keys};

/// How often distances to other datacenters are taken over.
const MEASURE_INTERVAL: Duration = Duration::from_secs(10);

/// The same, while there are servers of which no distance is known.
const FIRST_MEASURE_INTERVAL: Duration = Duration::from_millis(250);

/// See [`Gossip`].
pub(crate) struct ServerGossip {
    pools: Pools,
    /// Seconds to the servers of the WAN pool, by their names there.
    distances: ArcSwap<BTreeMap<String, f64>>,
}

impl ServerGossip {
    /// The pools of this agent.
    pub(crate) fn new(pools: Pools) -> Self {
        Self { pools, distances: ArcSwap::default() }
    }

    /// Keeps distances up to date, until `stop`. Servers that are new are measured at once:
    /// their turn among the probes may be minutes away, and what is asked of the nearest
    /// datacenter should not wait for it.
    pub(crate) async fn measure(&self, mut stop: watch::Receiver<bool>) {
        let Some(wan) = self.pools.wan() else { return };
        let mut members = wan.members();
        let mut looks = tokio::time::interval(MEASURE_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                Ok(()) = members.changed() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let Some(own) = wan.coordinate().await else { continue };
            let others = wan.coordinates().await;
            let away = others.iter().filter_map(|(name, at)| {
                let distance = own.distance_to(at)?;
                Some((name.clone(), distance))
            });
            self.distances.store(away.collect::<BTreeMap<String, f64>>().into());
            let unknown: Vec<String> = members
                .borrow_and_update()
                .iter()
                .filter(|m| m.status == MemberStatus::ALIVE && !wan.is_own(m))
                .filter(|member| !others.contains_key(&member.name))
                .map(|member| member.name.clone())
                .collect();
            if !unknown.is_empty() {
                wan.measure(unknown).await;
                looks.reset_after(FIRST_MEASURE_INTERVAL);
            }
        }
    }
}

impl Gossip for ServerGossip {
    fn members(&self) -> Vec<Member> {
        self.pools.lan_members()
    }

    fn distance(&self, server: &ServerAddr) -> Option<f64> {
        let name = consul::wan_name(&server.name, server.datacenter.as_str());
        self.distances.load().get(&name).copied()
    }

    fn datacenter_maps(&self) -> BoxFuture<'_, Vec<DatacenterMap>> {
        Box::pin(self.pools.datacenter_maps())
    }

    fn operate_keys<'g>(
        &'g self,
        pool: PoolKind,
        operation: KeyringOperation,
        request: &'g KeyringRequest,
    ) -> BoxFuture<'g, Option<KeyringResponse>> {
        Box::pin(async move {
            let (pool, is_wan) = match pool {
                PoolKind::Lan => (self.pools.lan(), false),
                PoolKind::Wan => (self.pools.wan()?, true),
            };
            let told = keys::told(is_wan, &self.pools.datacenter);
            Some(keys::operate(pool, operation, request, told).await)
        })
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.pools.leave())
    }

    fn force_leave<'g>(&'g self, node: &'g str) -> BoxFuture<'g, Result<(), String>> {
        Box::pin(self.pools.force_leave(node, false, false))
    }

    fn user_event<'g>(
        &'g self,
        name: &'g str,
        payload: Bytes,
        coalesce: bool,
    ) -> BoxFuture<'g, Result<(), String>> {
        Box::pin(async move {
            let sent = self.pools.lan().user_event(name.to_owned(), payload, coalesce).await;
            sent.map_err(|error| error.to_string())
        })
    }
}
