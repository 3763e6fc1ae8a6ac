//! A snapshot comes in: written down as it arrives.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use raft::{InstallSnapshot, SnapshotMeta, Term};
use tokio::io::AsyncRead;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::spawn_blocking;
use wal::{DiskError, DiskErrorKind, SnapshotStore};

use super::lane::{LaneError, read_some};
use crate::raft_host::Inlet;

/// Pieces that wait to be written.
const QUEUE: usize = 4;

/// Takes one snapshot at a time.
pub(super) struct Receiver {
    inlet: Inlet,
    turn: Arc<Semaphore>,
}

/// A snapshot that is in the store.
pub(super) struct Received {
    /// Its leader's term.
    pub(super) term: Term,
    /// What it is, under this server's name.
    pub(super) meta: SnapshotMeta,
    /// The next one may come when this is dropped.
    pub(super) turn: OwnedSemaphorePermit,
}

/// What became of writing it.
type Written = Result<SnapshotMeta, DiskError>;

impl Receiver {
    pub(super) fn new(inlet: Inlet) -> Self {
        Self { inlet, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Reads all bytes of a snapshot, first what is in `buffer` already. The inner error is
    /// for the sender; the stream is sound then.
    pub(super) async fn receive(
        &self,
        announced: InstallSnapshot,
        read: &mut (impl AsyncRead + Unpin),
        buffer: &mut BytesMut,
        patience: Duration,
    ) -> Result<Result<Received, String>, LaneError> {
        let InstallSnapshot { term, snapshot } = announced;
        let turn = self.turn.clone().try_acquire_owned();
        let mut left = snapshot.size;
        let (mut pieces, written) = match &turn {
            Ok(_) => {
                tracing::info!(target: "agent.server.raft", index = snapshot.last.index.0, term = snapshot.last.term.0, bytes = left, "receiving a snapshot");
                let (pieces, taken) = mpsc::channel(QUEUE);
                let store = self.inlet.snapshots();
                (Some(pieces), Some(spawn_blocking(move || write(&store, snapshot, taken))))
            }
            Err(_) => (None, None),
        };
        while left > 0 {
            if buffer.is_empty() {
                let deadline = Instant::now() + patience;
                if read_some(read, buffer, Some(deadline)).await? == 0 {
                    // The writer sees too few bytes and leaves nothing behind.
                    return Err(LaneError::Closed);
                }
            }
            let count = left.min(buffer.len() as u64) as usize;
            let piece = buffer.split_to(count).freeze();
            left -= count as u64;
            // A writer that failed takes no more; the rest is read all the same.
            if let Some(sender) = &pieces
                && sender.send(piece).await.is_err()
            {
                pieces = None;
            }
        }
        drop(pieces);
        let (Ok(turn), Some(written)) = (turn, written) else {
            return Ok(Err("another snapshot is being received".to_owned()));
        };
        let written = written.await.map_err(|_| LaneError::Closed)?;
        Ok(match written {
            Ok(meta) => Ok(Received { term, meta, turn }),
            Err(error) => {
                tracing::error!(target: "agent.server.raft", %error, "failed to write the snapshot of the leader");
                if error.kind == DiskErrorKind::SyncFailed {
                    self.inlet.halt(&error);
                }
                Err(format!("failed to write the snapshot: {error}"))
            }
        })
    }

    /// Removes a snapshot that is of no use.
    pub(super) async fn remove(&self, id: String) {
        let store = self.inlet.snapshots();
        let removed = spawn_blocking(move || store.remove(&id)).await;
        if let Ok(Err(error)) = removed {
            tracing::error!(target: "agent.server.raft", %error, "failed to remove a snapshot");
        }
    }
}

fn write(store: &SnapshotStore, of: SnapshotMeta, mut pieces: mpsc::Receiver<Bytes>) -> Written {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let mut writer = store.create(of.last, of.configuration, of.configuration_index, now)?;
    let mut size = 0;
    while let Some(piece) = pieces.blocking_recv() {
        size += piece.len() as u64;
        writer.write_all(&piece).map_err(|error| disk_error(error, writer.id()))?;
    }
    if size != of.size {
        let (kind, path) = (DiskErrorKind::Other, writer.id().to_owned());
        let detail = format!("it ended after {size} of {} bytes", of.size);
        return Err(DiskError { kind, operation: "receive", path, detail });
    }
    writer.finish()
}

/// The store's own error, which came through [`Write`].
fn disk_error(error: std::io::Error, id: &str) -> DiskError {
    let (kind, operation, path) = (DiskErrorKind::Other, "write", id.to_owned());
    let detail = error.to_string();
    let inner = error.into_inner().and_then(|inner| inner.downcast::<DiskError>().ok());
    inner.map_or(DiskError { kind, operation, path, detail }, |inner| *inner)
}
