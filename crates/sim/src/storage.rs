//! A process and its disk: groups of writes, applying, snapshots.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use raft::{Action, Entry, EntryKind, HardState, RequestId, SnapshotMeta};
use wal::snapshot::SnapshotWriter;
use wal::{DiskError, DiskErrorKind, LogError, StableError};

use crate::bug::Bug;
use crate::client::Outcome;
use crate::machine::{Command, Machine};
use crate::process::{Process, Receiving, Stop};
use crate::world::{Inner, World};

/// How long a full disk is left alone.
const FULL_PAUSE: Duration = Duration::from_millis(40);

/// How many times slower a snapshot may be, so that it is finished once the disk is well.
const SLOW_MAX: u32 = 20;

/// Why a write was not done.
enum WriteFailure {
    /// Later it may be.
    Full,
    /// The process must stop.
    Fatal(String),
}

impl From<LogError> for WriteFailure {
    fn from(error: LogError) -> Self {
        if error.is_full() { WriteFailure::Full } else { WriteFailure::Fatal(error.to_string()) }
    }
}

impl From<StableError> for WriteFailure {
    fn from(error: StableError) -> Self {
        match &error {
            StableError::Disk(disk) if disk.is_full() => WriteFailure::Full,
            _ => WriteFailure::Fatal(error.to_string()),
        }
    }
}

impl Process {
    /// Takes a write that the core asks for into the next group.
    pub(crate) fn queue_write(&mut self, write: Action, world: &mut World) {
        match &write {
            Action::AppendEntries { entries, .. } => {
                for entry in entries {
                    let before = self.shadow.term(self.shadow.last());
                    world.observer.has_entry(self.node, entry, before);
                    self.shadow.append(entry);
                }
            }
            Action::TruncateLog { from, .. } => {
                world.observer.counts.truncations += 1;
                world.say(format_args!("{} truncates from {from}", self.node));
                self.shadow.truncate(*from);
            }
            Action::CompactLog { through, .. } => self.shadow.compact(*through),
            Action::ResetLog { last, .. } => {
                world.say(format_args!("{} resets its log to {}", self.node, last.index));
                self.shadow.reset(*last);
            }
            _ => {}
        }
        self.pending.push(write);
    }

    /// Begins a group if the disk is free. Says whether the core has more to do thereby.
    pub(crate) fn begin_write(&mut self, world: &mut World) -> bool {
        if self.writing.is_some() || self.pending.is_empty() {
            return false;
        }
        let group = std::mem::take(&mut self.pending);
        let last = group.last().and_then(write_number);
        self.writing = Some(group.into());
        let wait = world.micros(100, 1500) * self.slow;
        self.schedule(wait, Inner::Written, world);
        match last {
            Some(last) if world.has(Bug::ReplyBeforePersist) => {
                self.core.handle_persisted(last, self.local);
                true
            }
            _ => false,
        }
    }

    /// The disk is through with the group.
    pub(crate) fn written(&mut self, world: &mut World) -> Result<(), Stop> {
        let Some(mut group) = self.writing.take() else { return Ok(()) };
        let mut last = None;
        while let Some(write) = group.front() {
            match self.write(write, world) {
                Ok(()) => {}
                Err(WriteFailure::Full) if world.has(Bug::FullDiskIgnored) => {}
                Err(WriteFailure::Full) => {
                    world.say(format_args!("{} finds its disk full", self.node));
                    self.core.step_down(self.local);
                    break;
                }
                Err(WriteFailure::Fatal(why)) => return Err(self.stop(why, world)),
            }
            last = group.pop_front().as_ref().and_then(write_number);
        }
        let synced = self.log.borrow_mut().sync();
        if let Err(error) = synced {
            return Err(self.stop(error.to_string(), world));
        }
        if let Some(last) = last.filter(|_| !world.has(Bug::ReplyBeforePersist)) {
            self.core.handle_persisted(last, self.local);
        }
        if !group.is_empty() {
            self.writing = Some(group);
            self.schedule(FULL_PAUSE, Inner::Written, world);
        } else if let Some(preparation) = self.log.borrow_mut().preparation() {
            self.preparing = Some(preparation);
            let wait = world.micros(200, 20_000) * self.slow;
            self.schedule(wait, Inner::SegmentPrepared, world);
        }
        Ok(())
    }

    fn write(&mut self, write: &Action, world: &World) -> Result<(), WriteFailure> {
        let mut log = self.log.borrow_mut();
        match write {
            Action::SaveHardState { .. } if world.has(Bug::TermNotPersisted) => {}
            Action::SaveHardState { state, .. } => {
                let mut state: HardState = state.clone();
                if world.has(Bug::VoteNotPersisted) {
                    state.vote = None;
                }
                self.stable.set_hard_state(state)?;
            }
            Action::AppendEntries { entries, .. } => log.append(entries)?,
            Action::TruncateLog { from, .. } => log.truncate_from(*from)?,
            Action::CompactLog { through, .. } => log.truncate_prefix(*through)?,
            Action::ResetLog { last, .. } => log.reset(last.index.next())?,
            _ => {}
        }
        Ok(())
    }

    /// The process ends amid a group: some of its writes were begun, none is synced.
    pub(crate) fn abandon_group(&mut self, world: &mut World) {
        let Some(group) = self.writing.take() else { return };
        let begun = world.rng.usize(0..=group.len());
        for write in group.iter().take(begun) {
            if self.write(write, world).is_err() {
                return;
            }
        }
    }

    /// After a failed sync the process stops; half the time because the machine does.
    fn stop(&self, why: String, world: &mut World) -> Stop {
        Stop { why, power: world.rng.bool() }
    }

    fn disk_failed(&self, error: &DiskError, world: &mut World) -> Result<(), Stop> {
        world.say(format_args!("{} snapshot: {error}", self.node));
        match error.kind {
            DiskErrorKind::SyncFailed => Err(self.stop(error.to_string(), world)),
            _ => Ok(()),
        }
    }

    pub(crate) fn prepare_segment(&mut self, world: &mut World) -> Result<(), Stop> {
        let Some(preparation) = self.preparing.take() else { return Ok(()) };
        let prepared = preparation.run();
        let accepted = self.log.borrow_mut().accept(prepared);
        accepted.map_err(|error| self.stop(error.to_string(), world))
    }

    pub(crate) fn queue_apply(&mut self, entries: Vec<Entry>, world: &mut World) {
        if self.to_apply.is_empty() {
            let wait = world.micros(10, 400);
            self.schedule(wait, Inner::Apply, world);
        }
        self.to_apply.push_back(entries);
    }

    /// Applies what was given out at once.
    pub(crate) fn apply(&mut self, world: &mut World) {
        let Some(entries) = self.to_apply.pop_front() else { return };
        for entry in entries {
            // A received snapshot may have overtaken it.
            if entry.index > self.applied {
                self.apply_entry(&entry, world);
            }
        }
        if !self.to_apply.is_empty() {
            let wait = world.micros(10, 400);
            self.schedule(wait, Inner::Apply, world);
        }
    }

    fn apply_entry(&mut self, entry: &Entry, world: &mut World) {
        if entry.index != self.applied.next() {
            let (node, index, applied) = (self.node, entry.index, self.applied);
            world.violation(format!("no gaps: {node} is given {index} after {applied}"));
        }
        if world.has(Bug::SnapshotMissingLast) {
            self.previous = Some(self.machine.clone());
        }
        let mut outcome = true;
        if entry.kind == EntryKind::Command
            && let Some(mut command) = Command::decode(&entry.data)
        {
            if world.has(Bug::UnequalApply) && command.id.0 % 50 == 0 {
                command.key = self.node.0;
            }
            outcome = self.machine.apply(&command);
            if self.twice > 0 {
                self.twice -= 1;
                self.machine.apply(&command);
            }
        }
        self.applied = entry.index;
        world.observer.applies(self.node, entry, self.machine.digest());
        let Some(waiting) = self.waiting.remove(&entry.index) else { return };
        if waiting.term == entry.term {
            let operation = waiting.request.operation;
            world.observer.acknowledges(self.node, operation, entry.index);
            self.reply(&waiting.request, Outcome::Wrote(outcome), world);
        } else {
            // Another entry took its place, so that it never had an effect.
            self.reply(&waiting.request, Outcome::Refused(None), world);
        }
    }

    /// Begins a snapshot of the own state if one is due.
    pub(crate) fn look(&mut self, world: &mut World) {
        let wait = world.millis(50, 200);
        self.schedule(wait, Inner::Look, world);
        if self.making.is_some() || self.receiving.is_some() || !self.core.snapshot_due() {
            return;
        }
        if let Some((last, configurations)) = self.core.snapshot_meta(self.applied) {
            let machine = self.previous.as_ref().unwrap_or(&self.machine);
            self.making = Some((last, configurations, machine.snapshot()));
            let wait = world.micros(200, 30_000) * self.slow.min(SLOW_MAX);
            self.schedule(wait, Inner::SnapshotMade, world);
        }
    }

    pub(crate) fn finish_own_snapshot(&mut self, world: &mut World) -> Result<(), Stop> {
        let Some((last, configurations, state)) = self.making.take() else { return Ok(()) };
        let now = world.now.0 / 1_000_000;
        let (members, index) = (configurations.committed, configurations.committed_index);
        let made = self
            .snapshots
            .create(last, members, index, now)
            .and_then(|writer| write_all(writer, &state)?.finish());
        match made {
            Ok(meta) => {
                world.observer.counts.snapshots += 1;
                world.say(format_args!("{} made snapshot {}", self.node, meta.id));
                self.core.handle_snapshot_created(meta, self.local);
                Ok(())
            }
            Err(error) => self.disk_failed(&error, world),
        }
    }

    /// Writes a received snapshot, not yet to count, and gives it this server's name.
    pub(crate) fn store_incoming(
        &mut self,
        meta: &mut SnapshotMeta,
        state: &Bytes,
        world: &World,
    ) -> Result<SnapshotWriter, DiskError> {
        let (members, index) = (meta.configuration.clone(), meta.configuration_index);
        let now = world.now.0 / 1_000_000;
        let writer = self.snapshots.create(meta.last, members, index, now)?;
        meta.id = writer.id().to_owned();
        write_all(writer, state)
    }

    pub(crate) fn begin_install(&mut self, request: RequestId, world: &mut World) {
        let Some((writer, state)) = self.incoming.take() else {
            world.violation(format!("{} installs a snapshot that did not come", self.node));
            return;
        };
        self.receiving = Some(Receiving { request, writer, state });
        let wait = world.micros(200, 30_000) * self.slow.min(SLOW_MAX);
        self.schedule(wait, Inner::SnapshotReceived, world);
    }

    pub(crate) fn finish_install(&mut self, world: &mut World) -> Result<(), Stop> {
        let Some(Receiving { request, writer, state }) = self.receiving.take() else {
            return Ok(());
        };
        let meta = match writer.finish() {
            Ok(meta) => meta,
            Err(error) => {
                self.core.handle_snapshot_installed(request, false, self.local);
                return self.disk_failed(&error, world);
            }
        };
        let Some(machine) = Machine::restore(&state) else {
            world.violation(format!("{} got a snapshot that is none", self.node));
            return Ok(());
        };
        world.observer.counts.installs += 1;
        world.say(format_args!("{} installed snapshot {}", self.node, meta.id));
        if !world.has(Bug::SnapshotNotRestored) {
            self.machine = machine;
        }
        self.applied = meta.last.index;
        world.observer.restores(self.node, meta.last, self.machine.digest());
        // What became of these is in the snapshot, and no one can say what.
        self.waiting = self.waiting.split_off(&self.applied.next());
        self.core.handle_snapshot_installed(request, true, self.local);
        Ok(())
    }
}

fn write_all(mut writer: SnapshotWriter, state: &[u8]) -> Result<SnapshotWriter, DiskError> {
    let lift = |error: std::io::Error| match error.downcast::<DiskError>() {
        Ok(error) => error,
        Err(error) => DiskError {
            kind: DiskErrorKind::Other,
            operation: "write",
            path: String::new(),
            detail: error.to_string(),
        },
    };
    writer.write_all(state).map_err(lift)?;
    Ok(writer)
}

fn write_number(action: &Action) -> Option<raft::WriteNumber> {
    match action {
        Action::SaveHardState { write, .. }
        | Action::TruncateLog { write, .. }
        | Action::AppendEntries { write, .. }
        | Action::CompactLog { write, .. }
        | Action::ResetLog { write, .. } => Some(*write),
        _ => None,
    }
}
