//! The servers of one datacenter in the order in which they are asked
//! (`reference/rpc-wire.md` 6).
//!
//! The first one is asked for everything until it fails, and goes to the end then. Now and
//! then the order is made anew, so that agents spread over servers that came later.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::server_addr::ServerAddr;

/// How long an order is kept at least.
const REBALANCE_MIN: Duration = Duration::from_secs(120);

/// How much longer it may be kept, at random.
const REBALANCE_JITTER: Duration = Duration::from_secs(60);

/// How many agents of a pool may look for another server in a second: a large pool takes
/// its time.
const REBALANCES_PER_SECOND: u64 = 64;

/// The servers of one datacenter. Time and randomness come from outside.
#[derive(Debug)]
pub struct Manager {
    servers: Vec<ServerAddr>,
    rng: Rng,
    rebalance_at: Instant,
    offline: bool,
}

/// A new order that is being tried. Ask [`Rebalance::first`]; if it does not answer,
/// [`Rebalance::skip`] it.
#[derive(Clone, Debug)]
pub struct Rebalance {
    order: Vec<ServerAddr>,
    left: usize,
}

impl Rebalance {
    /// Whom to ask; `None` if nobody is left.
    pub fn first(&self) -> Option<&ServerAddr> {
        self.order.first().filter(|_| self.left > 0)
    }

    /// The first one does not answer.
    pub fn skip(&mut self) {
        if self.left > 0 {
            self.order.rotate_left(1);
            self.left -= 1;
        }
    }
}

impl Manager {
    /// Nobody yet.
    pub fn new(seed: u64, now: Instant) -> Self {
        Self {
            servers: Vec::new(),
            rng: Rng::with_seed(seed),
            rebalance_at: now + REBALANCE_MIN,
            offline: true,
        }
    }

    /// Adds a server at the end, or takes over what is new of one that is there.
    pub fn add(&mut self, server: ServerAddr) {
        self.offline = false;
        match self.servers.iter_mut().find(|known| known.is_same(&server)) {
            Some(known) => *known = server,
            None => self.servers.push(server),
        }
    }

    /// Removes a server.
    pub fn remove(&mut self, server: &ServerAddr) {
        self.servers.retain(|known| !known.is_same(server));
    }

    /// Whom to ask.
    pub fn find(&self) -> Option<&ServerAddr> {
        self.servers.first()
    }

    /// A server did not do what it was asked for. It goes to the end if it is still first;
    /// others that saw the same may have put it there.
    pub fn fail(&mut self, server: &ServerAddr) {
        if self.servers.len() > 1 && self.servers[0].is_same(server) {
            self.servers.rotate_left(1);
        }
    }

    /// All, in their order.
    pub fn servers(&self) -> &[ServerAddr] {
        &self.servers
    }

    /// Whether nobody answered when all were asked the last time.
    pub fn is_offline(&self) -> bool {
        self.offline || self.servers.is_empty()
    }

    /// When a new order is due.
    pub fn poll_timeout(&self) -> Instant {
        self.rebalance_at
    }

    /// Begins a new order if one is due. `members` are all agents of the pool.
    pub fn handle_timeout(&mut self, now: Instant, members: usize) -> Option<Rebalance> {
        if now < self.rebalance_at {
            return None;
        }
        self.rebalance_at = now + self.keep_for(members);
        self.rebalance()
    }

    /// Begins a new order; `None` where there is nobody to choose from.
    pub fn rebalance(&mut self) -> Option<Rebalance> {
        let mut order = self.servers.clone();
        self.rng.shuffle(&mut order);
        let left = order.len();
        (left > 0).then_some(Rebalance { order, left })
    }

    /// Ends a new order: it is adopted if its first server answered. Servers that left
    /// meanwhile are not in it, those that came are at its end.
    pub fn adopt(&mut self, rebalance: Rebalance) {
        self.offline = rebalance.first().is_none();
        if self.offline {
            return;
        }
        let known = std::mem::take(&mut self.servers);
        let still = |server: &ServerAddr| known.iter().find(|known| known.is_same(server)).cloned();
        self.servers = rebalance.order.iter().filter_map(still).collect();
        for server in known {
            if !self.servers.iter().any(|placed| placed.is_same(&server)) {
                self.servers.push(server);
            }
        }
    }

    /// How long the next order is kept.
    fn keep_for(&mut self, members: usize) -> Duration {
        let jitter = self.rng.f64();
        let base = REBALANCE_MIN + REBALANCE_JITTER.mul_f64(jitter);
        let servers = self.servers.len().max(1);
        let each = Duration::from_secs(1) / REBALANCES_PER_SECOND as u32;
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        base.max(each.saturating_mul(members) / u32::try_from(servers).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests;
