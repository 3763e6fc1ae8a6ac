//! Which servers there are, in every datacenter (`reference/rpc-wire.md` 6 and 7).

use std::collections::BTreeMap;
use std::time::Instant;

use fastrand::Rng;
use types::Datacenter;

use crate::error::RpcError;
use crate::manager::{Manager, Rebalance};
use crate::server_addr::ServerAddr;

/// The servers of every datacenter that is known. Time and randomness come from outside.
#[derive(Debug)]
pub struct Routes {
    local: Datacenter,
    managers: BTreeMap<Datacenter, Manager>,
    rng: Rng,
}

impl Routes {
    /// Nobody yet. `local` is the datacenter of this agent.
    pub fn new(local: Datacenter, seed: u64) -> Self {
        Self { local, managers: BTreeMap::new(), rng: Rng::with_seed(seed) }
    }

    /// The datacenter of this agent.
    pub fn local(&self) -> &Datacenter {
        &self.local
    }

    /// A server joined, or says something new of itself.
    pub fn add_server(&mut self, server: ServerAddr, now: Instant) {
        let seed = self.rng.u64(..);
        let datacenter = server.datacenter.clone();
        let manager = self.managers.entry(datacenter).or_insert_with(|| Manager::new(seed, now));
        manager.add(server);
    }

    /// A server left. A datacenter without servers is not known any more.
    pub fn remove_server(&mut self, server: &ServerAddr) {
        if let Some(manager) = self.managers.get_mut(&server.datacenter) {
            manager.remove(server);
            if manager.servers().is_empty() {
                self.managers.remove(&server.datacenter);
            }
        }
    }

    /// A call to a server failed, or its pool says so: others are asked first.
    pub fn fail_server(&mut self, server: &ServerAddr) {
        if let Some(manager) = self.managers.get_mut(&server.datacenter) {
            manager.fail(server);
        }
    }

    /// Whom to ask in the agent's own datacenter.
    ///
    /// # Errors
    /// [`RpcError::NoServers`].
    pub fn find_local(&self) -> Result<&ServerAddr, RpcError> {
        self.managers.get(&self.local).and_then(Manager::find).ok_or(RpcError::NoServers)
    }

    /// Whom to ask in a datacenter.
    ///
    /// # Errors
    /// [`RpcError::NoPath`] where the datacenter is not known,
    /// [`RpcError::NoneReachable`] where none of its servers answered.
    pub fn find(&self, datacenter: &Datacenter) -> Result<&ServerAddr, RpcError> {
        let manager = self.managers.get(datacenter).ok_or(RpcError::NoPath)?;
        manager.find().filter(|_| !manager.is_offline()).ok_or(RpcError::NoneReachable)
    }

    /// The servers of a datacenter, in the order in which they are asked.
    pub fn servers(&self, datacenter: &Datacenter) -> &[ServerAddr] {
        self.managers.get(datacenter).map_or(&[], Manager::servers)
    }

    /// A server by its node name.
    pub fn server(&self, datacenter: &Datacenter, name: &str) -> Option<&ServerAddr> {
        self.servers(datacenter).iter().find(|server| server.name == name)
    }

    /// All datacenters, by name.
    pub fn datacenters(&self) -> impl Iterator<Item = &Datacenter> {
        self.managers.keys()
    }

    /// All datacenters, the nearest first: by the median of what `distance` (seconds) says
    /// of their servers. Where it says nothing, a server is infinitely far away; equals
    /// stand by name.
    pub fn datacenters_by_distance(
        &self,
        distance: impl Fn(&ServerAddr) -> Option<f64>,
    ) -> Vec<Datacenter> {
        let median = |manager: &Manager| {
            let mut distances: Vec<f64> = manager
                .servers()
                .iter()
                .map(|server| distance(server).unwrap_or(f64::INFINITY))
                .collect();
            distances.sort_by(f64::total_cmp);
            distances.get(distances.len() / 2).copied().unwrap_or(f64::INFINITY)
        };
        let mut near: Vec<(f64, &Datacenter)> =
            self.managers.iter().map(|(name, manager)| (median(manager), name)).collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        near.into_iter().map(|(_, name)| name.clone()).collect()
    }

    /// When a new order is due in some datacenter.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.managers.values().map(Manager::poll_timeout).min()
    }

    /// Begins the new orders that are due. `members` are all agents of the pool.
    pub fn handle_timeout(&mut self, now: Instant, members: usize) -> Vec<(Datacenter, Rebalance)> {
        let due = self.managers.iter_mut();
        due.filter_map(|(name, manager)| {
            Some((name.clone(), manager.handle_timeout(now, members)?))
        })
        .collect()
    }

    /// Ends a new order, see [`Manager::adopt`].
    pub fn adopt(&mut self, datacenter: &Datacenter, rebalance: Rebalance) {
        if let Some(manager) = self.managers.get_mut(datacenter) {
            manager.adopt(rebalance);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(datacenter: &str, name: &str) -> ServerAddr {
        ServerAddr {
            datacenter: datacenter.into(),
            id: String::new(),
            name: name.to_owned(),
            address: "127.0.0.1:8300".parse().unwrap(),
        }
    }

    fn routes(servers: &[(&str, &str)]) -> Routes {
        let mut routes = Routes::new("dc1".into(), 1);
        for (datacenter, name) in servers {
            routes.add_server(server(datacenter, name), Instant::now());
        }
        routes
    }

    #[test]
    fn datacenters_come_and_go_with_their_servers() {
        let mut routes = routes(&[("dc1", "a"), ("dc2", "a"), ("dc2", "b")]);
        let dc2 = "dc2".into();
        assert_eq!(routes.find_local(), Ok(&server("dc1", "a")));
        assert_eq!(routes.find(&dc2), Ok(&server("dc2", "a")));
        routes.fail_server(&server("dc2", "a"));
        assert_eq!(routes.find(&dc2), Ok(&server("dc2", "b")));
        assert_eq!(routes.server(&dc2, "a"), Some(&server("dc2", "a")));
        routes.remove_server(&server("dc2", "a"));
        routes.remove_server(&server("dc2", "b"));
        assert_eq!(routes.find(&dc2), Err(RpcError::NoPath));
        routes.remove_server(&server("dc1", "a"));
        assert_eq!(routes.find_local(), Err(RpcError::NoServers));
        assert_eq!(routes.datacenters().count(), 0);
    }

    #[test]
    fn a_datacenter_where_nobody_answers_has_no_server_reachable() {
        let mut routes = routes(&[("dc2", "a"), ("dc2", "b")]);
        let dc2 = "dc2".into();
        let due = routes.poll_timeout().unwrap();
        let mut rebalances = routes.handle_timeout(due, 2);
        let (datacenter, mut rebalance) = rebalances.pop().unwrap();
        while rebalance.first().is_some() {
            rebalance.skip();
        }
        routes.adopt(&datacenter, rebalance);
        assert_eq!(routes.find(&dc2), Err(RpcError::NoneReachable));
        routes.add_server(server("dc2", "c"), due);
        assert!(routes.find(&dc2).is_ok());
    }

    #[test]
    fn the_nearest_datacenter_is_that_whose_middle_server_is_nearest() {
        let routes = routes(&[
            ("near", "1"),
            ("near", "2"),
            ("near", "9"),
            ("far", "1"),
            ("far", "7"),
            ("far", "8"),
            ("silent-b", "x"),
            ("silent-a", "x"),
        ]);
        let order = routes.datacenters_by_distance(|server| server.name.parse().ok());
        let order: Vec<_> = order.iter().map(Datacenter::as_str).collect();
        assert_eq!(order, ["near", "far", "silent-a", "silent-b"]);
    }
}
