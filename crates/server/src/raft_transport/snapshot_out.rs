//! A snapshot goes out, over a connection of its own.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use raft::wire::{self, Rpc, Splitter};
use raft::{Body, Destination, Message, RequestId, ServerId};
use telemetry::names;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use wal::{SnapshotReader, SnapshotStore};

use super::Shared;
use super::lane::{LaneError, read_some};

/// Bytes of a snapshot for which the timeout of a request is meant, as in Consul.
const TIMEOUT_UNIT: u64 = 256 << 10;

/// Bytes that are read from the disk and written at a time, and how many of these wait.
const PIECE_BYTES: usize = 256 << 10;
const QUEUE: usize = 2;

/// How long a snapshot of this size may take.
pub(super) fn patience(timeout: Duration, size: u64) -> Duration {
    let units = u32::try_from((size / TIMEOUT_UNIT).max(1)).unwrap_or(u32::MAX);
    timeout.saturating_mul(units)
}

/// Sends a snapshot and brings the answer back.
pub(super) async fn send(
    shared: Arc<Shared>,
    to: Destination,
    message: Message,
    snapshots: SnapshotStore,
) {
    let Message { request, body } = message;
    // A sending that is given up leaves the core to find out by itself.
    let failing = Failing { shared: &shared, to: &to.id, request, armed: true };
    let Body::InstallSnapshot(announced) = &body else { return };
    let (id, size) = (announced.snapshot.id.clone(), announced.snapshot.size);
    tracing::info!(target: "agent.server.raft", peer = %to.id.0, snapshot = %id, bytes = size, "sending a snapshot");
    let start = Instant::now();
    let patience = patience(shared.options.timeout, size);
    let sent = timeout(patience, exchange(&shared, &to, &body, snapshots)).await;
    match sent.unwrap_or(Err(LaneError::Timeout)) {
        Ok(answer) => {
            names::RAFT_REPLICATION_INSTALL_SNAPSHOT
                .record([to.id.0.clone().into()], start.elapsed());
            failing.disarm();
            shared.deliver(&to.id, request, answer);
        }
        Err(error) => {
            tracing::error!(target: "agent.server.raft", peer = %to.id.0, snapshot = %id, %error, "failed to install snapshot");
        }
    }
}

async fn exchange(
    shared: &Shared,
    to: &Destination,
    body: &Body,
    snapshots: SnapshotStore,
) -> Result<Body, LaneError> {
    let Body::InstallSnapshot(announced) = body else { return Err(LaneError::Closed) };
    let (id, size) = (announced.snapshot.id.clone(), announced.snapshot.size);
    let opened = spawn_blocking(move || snapshots.open_snapshot(&id));
    let opened = opened.await.map_err(|_| LaneError::Closed)?;
    let (meta, reader) = opened.map_err(io::Error::other)?;
    if meta.size != size {
        let what = format!("snapshot {} has {} bytes, not {size}", meta.id, meta.size);
        return Err(io::Error::other(what).into());
    }
    let (mut stream, _) = shared.connect(&to.id, &to.address).await?;
    let mut bytes = Vec::with_capacity(1024);
    wire::encode_request(&mut bytes, &shared.options.sender, body);
    stream.write_all(&bytes).await?;
    let mut pieces = read_pieces(reader, size);
    while let Some(piece) = pieces.recv().await {
        let written = timeout(shared.options.timeout, stream.write_all(&piece?)).await;
        written.map_err(|_| LaneError::Timeout)??;
    }
    stream.flush().await?;
    let (mut splitter, mut buffer) = (Splitter::responses(), BytesMut::new());
    loop {
        if let Some(answer) = splitter.next(&mut buffer)? {
            let response = wire::decode_response(Rpc::InstallSnapshot, &answer)?;
            return match (response.id, response.body) {
                (Some(id), _) if id != to.id => Err(LaneError::Stranger(id)),
                (_, Ok(body)) => Ok(body),
                (_, Err(text)) => Err(io::Error::other(text).into()),
            };
        }
        if read_some(&mut stream, &mut buffer, None).await? == 0 {
            return Err(LaneError::Closed);
        }
    }
}

/// Reads the state on a thread that may wait for the disk.
fn read_pieces(reader: SnapshotReader, size: u64) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, pieces) = mpsc::channel(QUEUE);
    spawn_blocking(move || {
        let mut at = 0;
        while at < size {
            let mut piece =
                vec![0; PIECE_BYTES.min(usize::try_from(size - at).unwrap_or(PIECE_BYTES))];
            let read = match reader.read_at(at, &mut piece) {
                Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Ok(count) => {
                    piece.truncate(count);
                    at += count as u64;
                    Ok(Bytes::from(piece))
                }
                Err(error) => Err(io::Error::other(error)),
            };
            let is_last = read.is_err();
            // Who asked may have given up.
            if sender.blocking_send(read).is_err() || is_last {
                return;
            }
        }
    });
    pieces
}

/// Tells the core that there is no answer, unless there is one; also when the sending is
/// given up from outside.
struct Failing<'s> {
    shared: &'s Shared,
    to: &'s ServerId,
    request: RequestId,
    armed: bool,
}

impl Failing<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.shared.fail(self.to, self.request);
        }
    }
}
