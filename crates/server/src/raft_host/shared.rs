//! What the thread tells everybody, without being asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use raft::{Configuration, Server, ServerId};
use tokio::sync::{Semaphore, watch};
use types::Index;

use super::error::Fatal;

/// Bytes of a command that take one unit of room.
const UNIT_BYTES: usize = 4 << 10;

/// Units of room for proposals that are under way: 64 MiB, or 16,384 small ones.
pub(super) const UNITS_MAX: u32 = 1 << 14;

/// Units that a command of this size takes.
pub(super) fn units_of(bytes: usize) -> u32 {
    u32::try_from(bytes / UNIT_BYTES + 1).unwrap_or(UNITS_MAX)
}

/// A lease without end: that of a sole voter.
const FOREVER: u64 = u64::MAX;

/// The state that handles see. Times are nanoseconds since `start`.
pub(super) struct Shared {
    start: Instant,
    /// This server.
    pub(super) id: ServerId,
    is_leader: AtomicBool,
    /// Whether a leader was known at any time.
    had_leader: AtomicBool,
    /// Until when the lease holds; zero for none.
    lease_until: AtomicU64,
    last_contact: AtomicU64,
    applied: AtomicU64,
    pub(super) leadership: watch::Sender<bool>,
    pub(super) leader: watch::Sender<Option<Server>>,
    /// The latest members.
    pub(super) configuration: watch::Sender<Arc<Configuration>>,
    pub(super) disk_full: watch::Sender<bool>,
    /// How the thread ended, once it has.
    pub(super) end: watch::Sender<Option<Result<(), Fatal>>>,
    /// Room for proposals.
    pub(super) room: Arc<Semaphore>,
}

/// Until when a leader's lease holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lease {
    None,
    Until(Instant),
    Forever,
}

impl Shared {
    pub(super) fn new(start: Instant, id: ServerId) -> Self {
        Self {
            start,
            id,
            is_leader: AtomicBool::new(false),
            had_leader: AtomicBool::new(false),
            lease_until: AtomicU64::new(0),
            last_contact: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            leadership: watch::Sender::new(false),
            leader: watch::Sender::new(None),
            configuration: watch::Sender::default(),
            disk_full: watch::Sender::new(false),
            end: watch::Sender::new(None),
            room: Arc::new(Semaphore::new(UNITS_MAX as usize)),
        }
    }

    pub(super) fn is_leader(&self) -> bool {
        self.is_leader.load(Ordering::Acquire)
    }

    pub(super) fn had_leader(&self) -> bool {
        self.had_leader.load(Ordering::Acquire)
    }

    pub(super) fn set_leader(&self, leader: Option<Server>) {
        self.had_leader.fetch_or(leader.is_some(), Ordering::AcqRel);
        self.leader.send_replace(leader);
    }

    pub(super) fn has_lease(&self, now: Instant) -> bool {
        self.nanos(now) < self.lease_until.load(Ordering::Acquire)
    }

    pub(super) fn leads_alone(&self) -> bool {
        self.lease_until.load(Ordering::Acquire) == FOREVER
    }

    pub(super) fn last_contact(&self, now: Instant) -> Duration {
        if self.is_leader() {
            return Duration::ZERO;
        }
        let contact = self.last_contact.load(Ordering::Relaxed);
        Duration::from_nanos(self.nanos(now).saturating_sub(contact))
    }

    pub(super) fn applied_index(&self) -> Index {
        Index(self.applied.load(Ordering::Acquire))
    }

    pub(super) fn set_applied(&self, index: Index) {
        self.applied.store(index.0, Ordering::Release);
    }

    pub(super) fn set_last_contact(&self, contact: Instant) {
        self.last_contact.store(self.nanos(contact), Ordering::Relaxed);
    }

    pub(super) fn set_lease(&self, lease: Lease) {
        let until = match lease {
            Lease::None => 0,
            Lease::Until(until) => self.nanos(until),
            Lease::Forever => FOREVER,
        };
        self.lease_until.store(until, Ordering::Release);
    }

    pub(super) fn set_leadership(&self, leads: bool) {
        if self.is_leader.swap(leads, Ordering::AcqRel) != leads {
            self.leadership.send_replace(leads);
        }
    }

    pub(super) fn set_configuration(&self, latest: &Configuration) {
        self.configuration.send_if_modified(|known| {
            let is_new = **known != *latest;
            if is_new {
                *known = Arc::new(latest.clone());
            }
            is_new
        });
    }

    /// Whether that is news.
    pub(super) fn set_disk_full(&self, is_full: bool) -> bool {
        self.disk_full.send_if_modified(|was_full| std::mem::replace(was_full, is_full) != is_full)
    }

    fn nanos(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start);
        u64::try_from(since.as_nanos()).unwrap_or(FOREVER - 1)
    }
}
