//! The state machine behind the log, with what it needs beside the state: measures, log
//! lines, and delays of locks by this server's clock.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domains::session::LockDelay;
use replica::fsm::Witness;
pub use replica::fsm::{FsmCommand, FsmError, FsmReply};
use replica::state_file::{Contents, RestoreError};
use snapshot::RecordType;
use store::Store;
use types::Index;

use crate::lock_delay::LockDelays;
use crate::metrics::ApplyMetrics;

/// Applies commands to a store.
pub struct Fsm {
    machine: replica::fsm::Fsm,
    lock_delays: LockDelays,
    metrics: ApplyMetrics,
    /// The kinds of carried records that were told of, a bit each.
    told: AtomicU64,
}

impl Fsm {
    /// The state machine of all domains over this store.
    pub fn new(store: Store) -> Self {
        let machine = replica::fsm::Fsm::new(store);
        let (lock_delays, metrics) = (LockDelays::default(), ApplyMetrics::new());
        Self { machine, lock_delays, metrics, told: AtomicU64::new(0) }
    }

    /// The same, which keeps access control that is in force in the log or in a snapshot
    /// without obeying it, as an operator has ordered it to.
    #[must_use]
    pub fn keeping_acls(self) -> Self {
        Self { machine: self.machine.keeping_acls(), ..self }
    }

    /// Puts a snapshot's state in place of the present one.
    ///
    /// # Errors
    /// If it cannot be read or must not be served; nothing has changed then.
    pub fn restore(&self, input: &mut dyn Read) -> Result<Contents, RestoreError> {
        self.machine.restore(input)
    }

    /// The store.
    pub fn store(&self) -> &Store {
        self.machine.store()
    }

    /// Where it notes the keys that sessions leave behind that end by a command which
    /// was proposed here: while this server leads, all of them.
    pub fn lock_delays(&self) -> LockDelays {
        self.lock_delays.clone()
    }

    /// Applies commands in order, as one commit for all who read and wait.
    pub fn apply<'c>(
        &self,
        commands: impl Iterator<Item = (Index, FsmCommand<'c>)>,
    ) -> Result<Vec<FsmReply>, FsmError> {
        let mut run = Run { fsm: self, start: Instant::now(), before: Duration::ZERO };
        self.machine.apply(commands, &mut run)
    }
}

/// One run over commands.
struct Run<'f> {
    fsm: &'f Fsm,
    start: Instant,
    /// How long it took up to the command that is being applied.
    before: Duration,
}

impl Witness for Run<'_> {
    fn applied(&mut self, name: &'static str, op: &'static str) {
        let took = self.start.elapsed();
        self.fsm.metrics.applied((name, op), took - self.before);
        self.before = took;
    }

    /// Says once for each kind that its records are kept and not obeyed.
    fn carried(&mut self, kind: RecordType) {
        let bit = 1 << (kind.0 & 63);
        if self.fsm.told.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            tracing::warn!(target: "agent.server.fsm", %kind, "The leader writes records of a feature that this version does not have: they are kept and saved with each snapshot, but are not in force on this server");
        }
    }

    fn skipped(&mut self, index: Index, tag: u8) {
        tracing::debug!(target: "agent.server.fsm", tag, index = index.0, "Skipping a command that may be skipped");
    }

    fn lock_delays(&mut self, delays: Vec<LockDelay>, proposed_here: bool) {
        if proposed_here {
            self.fsm.lock_delays.note(delays);
        }
    }
}
