//! What the thread counts and measures (`reference/telemetry.md` section 2, Raft).
//!
//! Commands are applied in batches, with one commit for all. `raft.fsm.apply`, which is
//! per entry, tells each entry's share of its batch.

use std::time::{Duration, Instant};

use telemetry::names;
use telemetry::series::{CounterHandle, GaugeHandle, SampleHandle, TimerHandle};

/// How often the thread tells how busy it is.
const SATURATION_INTERVAL: Duration = Duration::from_secs(1);

/// How often indexes and the age of the log are told.
const POSITION_INTERVAL: Duration = Duration::from_secs(10);

/// Handles for all that happens often.
pub(super) struct RaftMetrics {
    pub(super) proposed: CounterHandle,
    pub(super) barriers: CounterHandle,
    commit_time: TimerHandle,
    commit_entries: GaugeHandle,
    pub(super) dispatched_entries: GaugeHandle,
    fsm_apply: TimerHandle,
    fsm_batch: TimerHandle,
    fsm_batch_entries: SampleHandle,
    fsm_enqueue: TimerHandle,
    main: Saturation,
    fsm: Saturation,
    positions_told: Option<Instant>,
}

impl RaftMetrics {
    /// Those of the recorder that is installed now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            proposed: names::RAFT_APPLY.handle([]),
            barriers: names::RAFT_BARRIER.handle([]),
            commit_time: names::RAFT_COMMIT_TIME.handle([]),
            commit_entries: names::RAFT_COMMIT_NUM_LOGS.handle([]),
            dispatched_entries: names::RAFT_LEADER_DISPATCH_NUM_LOGS.handle([]),
            fsm_apply: names::RAFT_FSM_APPLY.handle([]),
            fsm_batch: names::RAFT_FSM_APPLY_BATCH.handle([]),
            fsm_batch_entries: names::RAFT_FSM_APPLY_BATCH_NUM.handle([]),
            fsm_enqueue: names::RAFT_FSM_ENQUEUE.handle([]),
            main: Saturation::new(names::RAFT_THREAD_MAIN_SATURATION.handle([]), now),
            fsm: Saturation::new(names::RAFT_THREAD_FSM_SATURATION.handle([]), now),
            positions_told: None,
        }
    }

    /// Entries were committed; those that were proposed here, at these times.
    pub(super) fn committed(
        &self,
        entries: usize,
        proposed: impl Iterator<Item = Instant>,
        now: Instant,
    ) {
        self.commit_entries.set(entries as f64);
        for at in proposed {
            self.commit_time.record(now.saturating_duration_since(at));
        }
    }

    /// A batch came to the state machine at `start` and was applied at `end`; handing it
    /// over took `enqueue`.
    pub(super) fn applied(&mut self, commands: usize, enqueue: Duration, took: Duration) {
        self.fsm_enqueue.record(enqueue);
        if let Ok(number @ 1..) = u32::try_from(commands) {
            self.fsm_batch.record(took);
            self.fsm_batch_entries.record(f64::from(number));
            self.fsm_apply.record_many(took / number, commands);
        }
        self.fsm.busy += took;
    }

    /// The thread waited for inputs from `start` to `end`.
    pub(super) fn waited(&mut self, start: Instant, end: Instant) {
        self.main.idle(start, end);
        self.fsm.tell(end);
    }

    /// Whether it is time to tell where the log stands.
    pub(super) fn positions_due(&mut self, now: Instant) -> bool {
        let due = self.positions_told.is_none_or(|told| now - told >= POSITION_INTERVAL);
        if due {
            self.positions_told = Some(now);
        }
        due
    }
}

/// The part of its time in which something works.
struct Saturation {
    share: SampleHandle,
    busy: Duration,
    since: Instant,
    worked_from: Instant,
}

impl Saturation {
    fn new(share: SampleHandle, now: Instant) -> Self {
        Self { share, busy: Duration::ZERO, since: now, worked_from: now }
    }

    /// It worked until `start` and rested until `end`.
    fn idle(&mut self, start: Instant, end: Instant) {
        self.busy += start.saturating_duration_since(self.worked_from);
        self.worked_from = end;
        self.tell(end);
    }

    fn tell(&mut self, now: Instant) {
        let whole = now.saturating_duration_since(self.since);
        if whole >= SATURATION_INTERVAL {
            self.share.record((self.busy.as_secs_f64() / whole.as_secs_f64()).min(1.0));
            (self.busy, self.since) = (Duration::ZERO, now);
        }
    }
}
