//! A process and its disk: groups of writes, applying, snapshots.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raft::{Action, Entry, EntryKind, HardState, RequestId, SnapshotMeta};
use replica::fsm::{FsmCommand, FsmReply};
use wal::snapshot::SnapshotWriter;
use wal::{DiskError, DiskErrorKind, LogError, StableError};

use crate::bug::Bug;
use crate::call::What;
use crate::client::Outcome;
use crate::machine;
use crate::process::{Process, Receiving, Stop, Waiting};
use crate::sabotage;
use crate::world::{Inner, World};

/// How long a full disk is left alone.
const FULL_PAUSE: Duration = Duration::from_millis(40);

/// How many times slower a snapshot may be, so that it is finished once the disk is well.
const SLOW_MAX: u32 = 20;

/// Of how many entries one is that behind which the whole state is looked at.
const CHECKED_EVERY: u64 = 32;

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
        let Some(mut entries) = self.to_apply.pop_front() else { return };
        // A received snapshot may have overtaken some.
        entries.retain(|entry| entry.index > self.applied);
        // A bug needs the state before the last.
        let most = if world.has(Bug::SnapshotMissingLast) { 1 } else { entries.len().max(1) };
        for batch in entries.chunks(most) {
            self.apply_batch(batch, world);
        }
        if !self.to_apply.is_empty() {
            let wait = world.micros(10, 400);
            self.schedule(wait, Inner::Apply, world);
        }
    }

    /// Applies entries as one commit.
    fn apply_batch(&mut self, entries: &[Entry], world: &mut World) {
        let Some(last) = entries.last().map(|entry| entry.index) else { return };
        if entries[0].index != self.applied.next() {
            let (node, index, applied) = (self.node, entries[0].index, self.applied);
            world.violation(format!("no gaps: {node} is given {index} after {applied}"));
        }
        if world.has(Bug::SnapshotMissingLast) {
            self.previous = Some(self.machine.state());
        }
        self.apply_again(entries);
        let mut waiting: Vec<Option<Waiting>> =
            entries.iter().map(|entry| self.waiting.remove(&entry.index)).collect();
        let is_command = |entry: &Entry| entry.kind == EntryKind::Command;
        let commands = entries.iter().zip(&mut waiting).filter(|(entry, _)| is_command(entry));
        let commands = commands.map(|(entry, waiting)| {
            let waiting = waiting.as_mut().filter(|waiting| waiting.term == entry.term);
            let command = match waiting.and_then(|waiting| waiting.command.take()) {
                Some(typed) => FsmCommand::Typed(typed),
                None => FsmCommand::of_entry(entry.term.0, &entry.extensions, &entry.data),
            };
            (entry.index, command)
        });
        let mut replies = match self.machine.apply(commands.collect()) {
            Ok(replies) => replies.into_iter(),
            Err(error) => return world.violation(format!("assertion: {}: {error}", self.node)),
        };
        let before = std::mem::replace(&mut self.applied, last);
        if let Some(flags) = sabotage::own_flags(self, world).filter(|_| last.0.is_multiple_of(50))
        {
            sabotage::apply_otherwise(self.machine.store(), last, flags);
        }
        entries.iter().for_each(|entry| world.observer.applies(self.node, entry));
        if before.0 / CHECKED_EVERY != last.0 / CHECKED_EVERY {
            world.observer.reaches(self.node, last, &self.machine.state());
        }
        for (entry, waiting) in entries.iter().zip(waiting) {
            let reply = if is_command(entry) { replies.next() } else { None };
            if let Some(waiting) = waiting {
                self.acknowledge(entry, &waiting, reply, world);
            }
        }
    }

    /// For a bug: the first commands after a restart, once more.
    fn apply_again(&mut self, entries: &[Entry]) {
        let (left, again) = &mut self.twice;
        if *left == 0 && !again.is_empty() {
            let index = entries[0].index;
            let again = std::mem::take(again);
            let commands = again.iter().map(|bytes| (index, FsmCommand::Encoded(bytes)));
            // What cannot be applied was not applied the first time either.
            let _ = self.machine.apply(commands.collect());
        }
        let commands = entries.iter().filter(|entry| entry.kind == EntryKind::Command);
        for entry in commands.take(self.twice.0) {
            self.twice.0 -= 1;
            self.twice.1.push(entry.data.clone());
        }
    }

    /// Tells the client who waits for an entry.
    fn acknowledge(
        &self,
        entry: &Entry,
        waiting: &Waiting,
        reply: Option<FsmReply>,
        world: &mut World,
    ) {
        let request = &waiting.request;
        match (reply, &request.what) {
            (Some(reply), What::Change(change)) if waiting.term == entry.term => {
                world.observer.acknowledges(self.node, request.operation, entry.index);
                self.reply(request, Outcome::Told(change.told(reply)), world);
            }
            // Another entry took its place, so that it never had an effect.
            _ => self.reply(request, Outcome::Refused(None), world),
        }
    }

    /// Looks after sessions, and begins a snapshot of the own state if one is due.
    pub(crate) fn look(&mut self, world: &mut World) {
        let wait = world.millis(50, 200);
        self.schedule(wait, Inner::Look, world);
        self.mind_sessions();
        if self.making.is_some() || self.receiving.is_some() || !self.core.snapshot_due() {
            return;
        }
        if let Some((last, configurations)) = self.core.snapshot_meta(self.applied) {
            let mut state = self.previous.clone().unwrap_or_else(|| self.machine.state());
            if world.has(Bug::SnapshotWithoutSessions) {
                state = Arc::new(sabotage::without_sessions(&state));
            }
            self.making = Some((last, configurations, machine::save(&state)));
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
        if !world.has(Bug::SnapshotNotRestored)
            && let Err(error) = self.machine.restore(&state)
        {
            world.violation(format!("{} got a snapshot that is none: {error}", self.node));
            return Ok(());
        }
        world.observer.counts.installs += 1;
        world.say(format_args!("{} installed snapshot {}", self.node, meta.id));
        self.applied = meta.last.index;
        world.observer.restores(self.node, meta.last, &self.machine.state());
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
