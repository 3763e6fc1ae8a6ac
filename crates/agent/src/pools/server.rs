//! The pools as the server in this process sees them.

use std::collections::BTreeMap;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use gossip::consul;
use rpc::{BoxFuture, ServerAddr};
use server::gossip::Gossip;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use types::member::Member;

use super::Pools;

/// How often distances to other datacenters are taken over.
const MEASURE_INTERVAL: Duration = Duration::from_secs(10);

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

    /// Keeps distances up to date, until `stop`.
    pub(crate) async fn measure(&self, mut stop: watch::Receiver<bool>) {
        let Some(wan) = self.pools.wan() else { return };
        let mut looks = tokio::time::interval(MEASURE_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let Some(own) = wan.coordinate().await else { continue };
            let others = wan.coordinates().await.into_iter();
            let measured = others.filter_map(|(name, at)| Some((name, own.distance_to(&at)?)));
            self.distances.store(measured.collect::<BTreeMap<String, f64>>().into());
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
