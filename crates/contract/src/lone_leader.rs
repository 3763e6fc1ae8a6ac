//! A leader without a server, for those who prepare commands outside of one.

use store::Store;
use types::{Datacenter, GoDuration};

use crate::call::{LeaderMemory, LeaderView, NoMemory};

/// What stands for a leader where there is no server, in tests and fuzzing. Its choices are
/// the same each time.
#[derive(Clone)]
pub struct LoneLeader<'l> {
    /// The state.
    pub store: &'l Store,
    /// Its datacenter.
    pub datacenter: Datacenter,
    /// Its clock, nanoseconds since the Unix epoch.
    pub now_unix_nanos: u64,
    /// The random number that it gave last; the next is one above.
    pub last_random: u128,
    /// What it remembers.
    pub memory: &'l dyn LeaderMemory,
}

impl<'l> LoneLeader<'l> {
    /// A leader of `dc1` at the beginning of time, which remembers nothing.
    pub fn new(store: &'l Store) -> Self {
        let datacenter = Datacenter::from("dc1");
        Self { store, datacenter, now_unix_nanos: 0, last_random: 0, memory: &NoMemory }
    }

    /// Does what a leader is needed for.
    pub fn lead<R>(&mut self, task: impl FnOnce(&mut LeaderView<'_>) -> R) -> R {
        let mut random = || {
            self.last_random += 1;
            self.last_random
        };
        task(&mut LeaderView {
            store: self.store,
            now_unix_nanos: self.now_unix_nanos,
            random: &mut random,
            datacenter: &self.datacenter,
            session_ttl_min: GoDuration::from_secs(10),
            memory: self.memory,
        })
    }
}
