//! The disk's part: the log as the core reads it, and writes in their order.
//!
//! A write that finds the disk full is kept and tried again, and all that come after
//! it wait behind it. The core knows nothing of it but that the writes take long.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use raft::{Action, Core, Entry, HardState, LogReader, Term, WriteNumber};
use telemetry::names;
use telemetry::series::{CounterHandle, TimerHandle};
use types::Index;
use wal::{DiskError, Log, LogError, StableError, StableStore};

use super::error::Fatal;

/// The log, for the core to read.
pub(super) struct StoredLog(pub(super) Log);

impl LogReader for StoredLog {
    fn first_index(&self) -> Result<Index, raft::LogError> {
        Ok(self.0.first_index())
    }

    fn last_index(&self) -> Result<Index, raft::LogError> {
        Ok(self.0.last_index())
    }

    fn term(&self, index: Index) -> Result<Term, raft::LogError> {
        self.0.term(index).ok_or_else(|| raft::LogError(format!("entry {index} is not there")))
    }

    fn entries(
        &self,
        first: Index,
        last: Index,
        max_bytes: usize,
        out: &mut Vec<Entry>,
    ) -> Result<(), raft::LogError> {
        let read = self.0.entries(first, last, max_bytes);
        out.extend(read.map_err(|error| raft::LogError(error.to_string()))?);
        Ok(())
    }
}

/// The core with the log that it reads and the host writes.
pub(super) type HostCore = Core<StoredLog>;

/// A write that the core asked for.
enum Write {
    HardState(HardState),
    Truncate(Index),
    Append(Vec<Entry>),
    Compact(Index),
    Reset(Index),
}

/// Writes on their way to the disk.
pub(super) struct Writes {
    pub(super) stable: StableStore,
    /// Those that found no room, oldest first.
    waiting: VecDeque<(WriteNumber, Write)>,
    /// What the disk said to the oldest of them.
    full: Option<DiskError>,
    /// The last one that was done, synced or not.
    done: WriteNumber,
    sync_delay: Duration,
    /// How long syncs take, averaged over some.
    sync_time: Duration,
    /// The longest one since somebody asked.
    longest_sync: Duration,
    metrics: LogMetrics,
    /// When the first entry was written that is not synced yet.
    unsynced_since: Option<Instant>,
}

impl Writes {
    pub(super) fn new(stable: StableStore, sync_delay: Duration) -> Self {
        let done = WriteNumber(0);
        Self {
            stable,
            waiting: VecDeque::new(),
            full: None,
            done,
            sync_delay,
            sync_time: Duration::ZERO,
            longest_sync: Duration::ZERO,
            metrics: LogMetrics::new(),
            unsynced_since: None,
        }
    }

    /// What the disk says, while it is full.
    pub(super) fn full(&self) -> Option<&DiskError> {
        self.full.as_ref()
    }

    /// How long a sync takes.
    pub(super) fn sync_time(&self) -> Duration {
        self.sync_time
    }

    /// How long the longest sync of the log took since this was last asked.
    pub(super) fn take_longest_sync(&mut self) -> Duration {
        std::mem::take(&mut self.longest_sync)
    }

    /// Does the write of an action, or has it wait; gives back an action without one.
    pub(super) fn perform(
        &mut self,
        action: Action,
        log: &mut Log,
    ) -> Result<Option<Action>, Fatal> {
        let (number, write) = match action {
            Action::SaveHardState { write, state } => (write, Write::HardState(state)),
            Action::TruncateLog { write, from } => (write, Write::Truncate(from)),
            Action::AppendEntries { write, entries } => (write, Write::Append(entries)),
            Action::CompactLog { write, through } => (write, Write::Compact(through)),
            Action::ResetLog { write, last } => (write, Write::Reset(last.index.next())),
            other => return Ok(Some(other)),
        };
        self.waiting.push_back((number, write));
        if self.full.is_none() {
            self.retry(log)?;
        }
        Ok(None)
    }

    /// Does what waits, as far as there is room.
    pub(super) fn retry(&mut self, log: &mut Log) -> Result<(), Fatal> {
        self.full = None;
        while let Some((number, write)) = self.waiting.pop_front() {
            match self.put_down(&write, log) {
                Ok(()) => self.done = number,
                Err(Failure::Full(error)) => {
                    self.full = Some(error);
                    self.waiting.push_front((number, write));
                    return Ok(());
                }
                Err(Failure::Fatal(fatal)) => return Err(fatal),
            }
        }
        Ok(())
    }

    /// Makes all that was done last; the number to tell the core.
    pub(super) fn sync(&mut self, log: &mut Log) -> Result<WriteNumber, Fatal> {
        if log.durable_index() < log.last_index() {
            let start = Instant::now();
            self.delay();
            log.sync().map_err(Fatal::new)?;
            let took = start.elapsed();
            self.sync_time = (self.sync_time * 7 + took) / 8;
            self.longest_sync = self.longest_sync.max(took);
            if let Some(start) = self.unsynced_since.take() {
                self.metrics.stored.record_since(start);
            }
        }
        Ok(self.done)
    }

    fn put_down(&mut self, write: &Write, log: &mut Log) -> Result<(), Failure> {
        self.metrics.note(write);
        match write {
            Write::HardState(state) => {
                self.delay();
                self.stable.set_hard_state(state.clone())?;
            }
            Write::Truncate(from) => log.truncate_from(*from)?,
            Write::Append(entries) => {
                self.unsynced_since.get_or_insert_with(Instant::now);
                log.append(entries)?;
            }
            Write::Compact(through) => log.truncate_prefix(*through)?,
            Write::Reset(next) => log.reset(*next)?,
        }
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "the Raft thread is no runtime thread")]
    fn delay(&self) {
        if !self.sync_delay.is_zero() {
            std::thread::sleep(self.sync_delay);
        }
    }
}

/// What is written to the log and beside it (`reference/telemetry.md`, log store).
struct LogMetrics {
    stored: TimerHandle,
    bytes: CounterHandle,
    entries: CounterHandle,
    appends: CounterHandle,
}

impl LogMetrics {
    fn new() -> Self {
        Self {
            stored: names::RAFT_LEADER_DISPATCH_LOG.handle([]),
            bytes: names::RAFT_WAL_LOG_ENTRY_BYTES_WRITTEN.handle([]),
            entries: names::RAFT_WAL_LOG_ENTRIES_WRITTEN.handle([]),
            appends: names::RAFT_WAL_LOG_APPENDS.handle([]),
        }
    }

    fn note(&self, write: &Write) {
        match write {
            Write::HardState(_) => names::RAFT_WAL_STABLE_SETS.increment([], 1),
            Write::Truncate(_) => names::RAFT_WAL_TAIL_TRUNCATIONS.increment([], 1),
            Write::Append(entries) => {
                let bytes = entries.iter().map(|entry| entry.data.len() + entry.extensions.len());
                self.bytes.increment(bytes.sum::<usize>() as u64);
                self.entries.increment(entries.len() as u64);
                self.appends.increment(1);
            }
            Write::Compact(_) | Write::Reset(_) => {
                names::RAFT_WAL_HEAD_TRUNCATIONS.increment([], 1);
            }
        }
    }
}

enum Failure {
    Full(DiskError),
    Fatal(Fatal),
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Disk(error) if error.is_full() => Self::Full(error),
            other => Self::Fatal(Fatal::new(other)),
        }
    }
}

impl From<StableError> for Failure {
    fn from(error: StableError) -> Self {
        match error {
            StableError::Disk(error) if error.is_full() => Self::Full(error),
            other => Self::Fatal(Fatal::new(other)),
        }
    }
}
