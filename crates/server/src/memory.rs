//! What a leader remembers beside the state.

use std::time::Duration;

use contract::LeaderMemory;
use types::SessionId;
use types::coordinate::NodeCoordinate;

use crate::autopilot::AutopilotMemory;
use crate::coordinates::CoordinateMemory;
use crate::lock_delay::LockDelays;
use crate::session_expiry::SessionMemory;

/// The memory. Each duty of the leader has its part and looks after it.
pub(crate) struct Memory {
    pub(crate) sessions: SessionMemory,
    pub(crate) coordinates: CoordinateMemory,
    pub(crate) autopilot: AutopilotMemory,
}

impl Memory {
    /// Delays of locks that are noted elsewhere, and nothing else.
    pub(crate) fn new(lock_delays: LockDelays) -> Self {
        Self {
            sessions: SessionMemory::new(lock_delays),
            coordinates: CoordinateMemory::default(),
            autopilot: AutopilotMemory::default(),
        }
    }
}

impl LeaderMemory for Memory {
    fn is_lock_delayed(&self, key: &str) -> bool {
        self.sessions.is_lock_delayed(key)
    }

    fn renew_session(&self, session: &SessionId, ttl: Duration) -> bool {
        self.sessions.renew(session, ttl)
    }

    fn note_coordinate(&self, row: NodeCoordinate) {
        self.coordinates.note(row);
    }
}
