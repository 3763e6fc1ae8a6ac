//! How many connections each client address may have.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts the connections of each client address (`limits.rpc_max_conns_per_client`).
#[derive(Debug, Default)]
pub struct ConnectionLimit {
    limit: AtomicUsize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl ConnectionLimit {
    /// At most this many connections for each address; zero for no limit.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.into(), open: Mutex::default() }
    }

    /// Changes the limit for connections to come.
    pub fn set(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// A place for one more connection, if there is one. It is free again when dropped.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let limit = self.limit.load(Ordering::Relaxed);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.get(&address).copied().unwrap_or(0);
        if limit > 0 && count >= limit {
            return None;
        }
        open.insert(address, count + 1);
        Some(Place { limit: Arc::clone(self), address })
    }
}

/// A counted connection.
#[derive(Debug)]
pub(super) struct Place {
    limit: Arc<ConnectionLimit>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.limit.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_places() {
        let limit = Arc::new(ConnectionLimit::new(2));
        let [a, b] = ["127.0.0.1", "::1"].map(|address| address.parse::<IpAddr>().unwrap());
        let places = [limit.enter(a), limit.enter(a)];
        assert!(limit.enter(a).is_none() && limit.enter(b).is_some());
        limit.set(3);
        assert!(limit.enter(a).is_some());
        drop(places);
        assert!(limit.open.lock().unwrap().is_empty());
        limit.set(0);
        let many: Vec<_> = (0..100).filter_map(|_| limit.enter(a)).collect();
        assert_eq!(many.len(), 100);
    }
}
