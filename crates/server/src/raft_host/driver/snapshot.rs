//! Snapshots: taken here, sent by the leader, restored by an operator.
//!
//! Writing takes place on a thread of its own, from a state that does not change; what
//! comes of it returns through the inbox.

use std::io;
use std::time::Instant;

use raft::{RequestId, SnapshotMeta};
use telemetry::names;
use types::Index;

use super::{Driver, unix_nanos};
use crate::raft_host::error::{Fatal, ProposeError};
use crate::raft_host::inbox::{Archive, Capture, Input, Restored, SnapshotFailed};

impl Driver {
    /// A snapshot that another server sent is in the store.
    pub(super) fn install_snapshot(
        &mut self,
        request: RequestId,
        snapshot: &SnapshotMeta,
    ) -> Result<(), Fatal> {
        let outcome = match self.snapshots.open_snapshot(&snapshot.id) {
            Ok((_, mut state)) => self.applier.restore(&mut state).map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = &outcome {
            tracing::error!(target: "agent.server.raft", id = %snapshot.id, error = %error, "failed to restore the leader's snapshot");
        } else {
            self.applied = snapshot.last.index;
            self.shared.set_applied(self.applied);
        }
        self.core.handle_snapshot_installed(request, outcome.is_ok(), Instant::now());
        Ok(())
    }

    /// Starts to write the state as it is now, unless a snapshot is being written.
    pub(super) fn begin_snapshot(&mut self) {
        if self.snapshot_running {
            return;
        }
        let Some((last, configurations)) = self.core.snapshot_meta(self.applied) else {
            for asked in self.snapshot_asked.drain(..) {
                let _ = asked.send(Ok(None));
            }
            return;
        };
        let taken_from = Instant::now();
        let job = self.applier.snapshot();
        names::RAFT_FSM_SNAPSHOT.record([], taken_from.elapsed());
        let (store, inbox) = (self.snapshots.clone(), self.inbox.clone());
        let write = move || {
            let (members, set_at) = (configurations.committed, configurations.committed_index);
            let start = Instant::now();
            let mut writer =
                store.create(last, members, set_at, unix_nanos() / 1_000_000).map_err(failed)?;
            names::RAFT_SNAPSHOT_CREATE.record([], start.elapsed());
            let start = Instant::now();
            job(&mut writer).map_err(|error| failed_io(&error))?;
            names::FSM_PERSIST.record([], start.elapsed());
            let meta = writer.finish().map_err(failed)?;
            names::RAFT_SNAPSHOT_PERSIST.record([], start.elapsed());
            names::RAFT_SNAPSHOT_TAKE_SNAPSHOT.record([], taken_from.elapsed());
            Ok(meta)
        };
        self.snapshot_running = self.spawn("raft-snapshot", move || {
            // When the host has ended, the next start finds the snapshot.
            let _ = inbox.push(Input::SnapshotWritten(write()));
        });
    }

    /// The state as it is now, with what an archive says of it.
    pub(super) fn capture(&mut self) -> Result<Capture, ProposeError> {
        let Some((last, configurations)) = self.core.state_meta(self.applied) else {
            // Before a first leader, or while members change.
            return Err(ProposeError::Snapshot("nothing new to snapshot".to_owned()));
        };
        let id = format!("{}-{}-{}", last.term.0, last.index.0, unix_nanos() / 1_000_000);
        let meta = SnapshotMeta {
            id,
            last,
            configuration: configurations.committed,
            configuration_index: configurations.committed_index,
            size: 0,
        };
        Ok(Capture { meta, state: self.applier.snapshot() })
    }

    pub(super) fn snapshot_written(
        &mut self,
        outcome: Result<SnapshotMeta, SnapshotFailed>,
        now: Instant,
    ) -> Result<(), Fatal> {
        self.snapshot_running = false;
        let answer = match outcome {
            Ok(meta) => {
                tracing::info!(target: "agent.server.raft", id = %meta.id, bytes = meta.size, "snapshot complete");
                self.core.handle_snapshot_created(meta.clone(), now);
                names::RAFT_COMPACT_LOGS.record([], now.elapsed());
                Ok(Some(meta))
            }
            Err(failed) if failed.is_fatal => return Err(Fatal::new(failed.text)),
            Err(failed) => {
                tracing::error!(target: "agent.server.raft", error = %failed.text, "failed to take snapshot");
                Err(ProposeError::Snapshot(failed.text))
            }
        };
        self.settle()?;
        for asked in self.snapshot_asked.drain(..) {
            let _ = asked.send(answer.clone());
        }
        Ok(())
    }

    /// An operator's restore: the state is first written down as a snapshot.
    pub(super) fn begin_restore(
        &mut self,
        archived: Index,
        state: Archive,
        done: Restored,
        now: Instant,
    ) {
        let (last, configurations) = match self.core.begin_restore(archived, now) {
            Ok(begun) => begun,
            Err(error) => return drop(done.send(Err(error.into()))),
        };
        let (store, inbox) = (self.snapshots.clone(), self.inbox.clone());
        let write = move || {
            let (members, set_at) = (configurations.latest, configurations.latest_index);
            let mut writer =
                store.create(last, members, set_at, unix_nanos() / 1_000_000).map_err(failed)?;
            state(&mut writer).map_err(|error| failed_io(&error))?;
            writer.finish().map_err(failed)
        };
        let started = self.spawn("raft-restore", move || {
            // A host that has ended takes up the snapshot when it starts again.
            let _ = inbox.push(Input::RestoreWritten(write(), done));
        });
        if !started {
            self.core.abort_restore();
        }
    }

    /// The state machine takes the snapshot, and the log begins anew behind it.
    pub(super) fn restore_written(
        &mut self,
        outcome: Result<SnapshotMeta, SnapshotFailed>,
        now: Instant,
    ) -> Result<Result<SnapshotMeta, ProposeError>, Fatal> {
        let meta = match outcome {
            Ok(meta) => meta,
            Err(failed) if failed.is_fatal => return Err(Fatal::new(failed.text)),
            Err(failed) => {
                self.core.abort_restore();
                return Ok(Err(ProposeError::Snapshot(failed.text)));
            }
        };
        // Leadership of a term that was lost does not come back.
        let still_leads = self.core.is_leader() && self.core.term() == meta.last.term;
        let start = Instant::now();
        let restored = match self.snapshots.open_snapshot(&meta.id) {
            _ if !still_leads => Err(ProposeError::LeadershipLost),
            Ok((_, mut state)) => self
                .applier
                .restore(&mut state)
                .map_err(|error| ProposeError::Snapshot(error.to_string())),
            Err(error) => Err(ProposeError::Snapshot(error.to_string())),
        };
        if let Err(error) = restored {
            // It must not be the state of the next start.
            self.snapshots.remove(&meta.id).map_err(Fatal::new)?;
            self.core.abort_restore();
            return Ok(Err(error));
        }
        names::RAFT_FSM_RESTORE.record([], start.elapsed());
        names::RAFT_RESTORE_USER_SNAPSHOT.record([], start.elapsed());
        self.core.handle_restored(meta.clone(), now).map_err(Fatal::new)?;
        self.applied = meta.last.index;
        self.shared.set_applied(self.applied);
        for pending in self.pending.drain(..) {
            let _ = pending.done.send(Err(ProposeError::SnapshotRestored));
        }
        Ok(Ok(meta))
    }
}

fn failed(error: wal::DiskError) -> SnapshotFailed {
    SnapshotFailed { text: error.to_string(), is_fatal: is_failed_sync(&error) }
}

fn failed_io(error: &io::Error) -> SnapshotFailed {
    let is_fatal = error.get_ref().is_some_and(is_failed_sync);
    SnapshotFailed { text: error.to_string(), is_fatal }
}

fn is_failed_sync(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let error = error.downcast_ref::<wal::DiskError>();
    error.is_some_and(|error| error.kind == wal::DiskErrorKind::SyncFailed)
}
