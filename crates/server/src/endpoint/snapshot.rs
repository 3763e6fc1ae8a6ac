//! Snapshot connections: an archive is saved or restored over one
//! (`reference/rpc-wire.md` section 11).
//!
//! First comes a [`SnapshotRequest`], for a restore followed by the archive, and then the end
//! of that side. The answer is a map with an error, empty if all is well, and of a save the
//! archive. What another server has to do is passed on to it as it comes.

use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use contract::remote::decode_args;
use contract::{CallError, Consistency, ReadFacts};
use rpc::BoxedStream;
use rpc::net_rpc::value::{Limits, ValueReader};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use types::msgpack;
use types::operator::SnapshotRequest;

use crate::forward::{is_marked, mark};
use crate::{SavedSnapshot, Server};

/// Most bytes of a request.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// How long the other side may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How much of an archive is taken at once, and how many such pieces wait.
const PIECE_BYTES: usize = 64 << 10;
const PIECES_MAX: usize = 4;

/// Has such a connection.
pub(super) async fn answer(server: &Server, mut stream: BoxedStream) -> io::Result<()> {
    let mut reader = ValueReader::default();
    let read = reader.next(&mut stream, Limits::bytes(REQUEST_BYTES_MAX));
    let args = match timeout(SILENCE_MAX, read).await {
        Ok(Ok(Some(args))) => args,
        Ok(Ok(None)) => return Ok(()),
        Ok(Err(error)) => return Err(io::Error::other(error)),
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    let rest = reader.into_rest();
    match serve(server, &mut stream, &args, rest).await? {
        Ok(()) => {}
        Err(error) => stream.write_all(&refusal(server, &error)).await?,
    }
    stream.shutdown().await
}

/// The outer error is the connection's, the inner one is told to the other side.
async fn serve(
    server: &Server,
    stream: &mut BoxedStream,
    args: &Bytes,
    rest: Bytes,
) -> io::Result<Result<(), CallError>> {
    let request: SnapshotRequest = match decode_args(args) {
        Ok(request) => request,
        Err(error) => return Ok(Err(error)),
    };
    let restores = match request.op {
        SnapshotRequest::SAVE => false,
        SnapshotRequest::RESTORE => true,
        other => return Ok(Err(CallError::failed(format!("unrecognized snapshot op {other}")))),
    };
    if restores && request.allow_stale {
        return Ok(Err(CallError::failed("stale not allowed for restore")));
    }
    let consistency = if request.allow_stale { Consistency::Stale } else { Consistency::Default };
    let is_leader = server.raft().is_leader();
    if is_marked(args) && !is_leader {
        return Ok(Err(CallError::no_leader()));
    }
    match server.snapshot_elsewhere(&request.datacenter, consistency).await {
        Ok(None) => {}
        Ok(Some(mut other)) => {
            other.write_all(&mark(args)).await?;
            other.write_all(&rest).await?;
            tokio::io::copy_bidirectional(stream, &mut other).await?;
            return Ok(Ok(()));
        }
        Err(error) => return Ok(Err(error)),
    }
    let (datacenter, token) = (&request.datacenter, &request.token);
    if !restores {
        return match server.save_snapshot(datacenter, token, consistency).await {
            Ok(saved) => send(stream, saved).await.map(Ok),
            Err(error) => Ok(Err(error)),
        };
    }
    if let Err(error) = server.may_restore(datacenter, token) {
        return Ok(Err(error));
    }
    let archive = keep(stream, rest).await?;
    match server.restore_snapshot(archive, datacenter, token).await {
        Ok(restored) => {
            let facts = ReadFacts {
                index: restored.index,
                known_leader: true,
                last_contact: Duration::ZERO,
                removed: false,
            };
            stream.write_all(&reply("", facts)).await?;
            Ok(Ok(()))
        }
        Err(error) => Ok(Err(error)),
    }
}

/// What stands before an archive, beside the facts.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Told<'e> {
    error: &'e str,
}

fn reply(error: &str, facts: ReadFacts) -> Bytes {
    let mut out = Vec::new();
    msgpack::write_joined(&mut out, &Told { error }, &facts.to_meta(""));
    out.into()
}

fn refusal(server: &Server, error: &CallError) -> Bytes {
    let raft = server.raft();
    let facts = ReadFacts {
        index: types::Index::ZERO,
        known_leader: raft.leader().is_some(),
        last_contact: raft.last_contact(),
        removed: false,
    };
    reply(error.text(), facts)
}

/// Sends an archive while it is written.
async fn send(stream: &mut BoxedStream, saved: SavedSnapshot) -> io::Result<()> {
    stream.write_all(&reply("", saved.facts)).await?;
    let (sender, mut pieces) = mpsc::channel(PIECES_MAX);
    let written = tokio::task::spawn_blocking(move || saved.write(Pieces(sender)));
    while let Some(piece) = pieces.recv().await {
        timeout(SILENCE_MAX, stream.write_all(&piece)).await??;
    }
    // An archive that broke off is found out by its checksums.
    written.await.map_err(io::Error::other)??;
    Ok(())
}

/// Brings what is written to those who wait for it.
struct Pieces(mpsc::Sender<Bytes>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = &bytes[..bytes.len().min(PIECE_BYTES)];
        let sent = self.0.blocking_send(Bytes::copy_from_slice(taken));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes an archive to its end into a file that has no name.
async fn keep(stream: &mut BoxedStream, rest: Bytes) -> io::Result<File> {
    let (sender, mut pieces) = mpsc::channel::<Bytes>(PIECES_MAX);
    let kept = tokio::task::spawn_blocking(move || {
        let mut file = tempfile::tempfile()?;
        while let Some(piece) = pieces.blocking_recv() {
            file.write_all(&piece)?;
        }
        io::Seek::rewind(&mut file)?;
        Ok::<_, io::Error>(file)
    });
    let mut piece = rest;
    loop {
        // Without room on the disk the other end is gone, and tells so below.
        if !piece.is_empty() && sender.send(piece).await.is_err() {
            break;
        }
        let mut next = bytes::BytesMut::with_capacity(PIECE_BYTES);
        if timeout(SILENCE_MAX, stream.read_buf(&mut next)).await?? == 0 {
            break;
        }
        piece = next.freeze();
    }
    drop(sender);
    kept.await.map_err(io::Error::other)?
}
