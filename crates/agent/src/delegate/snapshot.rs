//! Archives of the state over the server port (`reference/rpc-wire.md` section 11).

use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;
use contract::remote::{decode_reply, encode};
use contract::{CallError, Consistency, ReadFacts};
use rpc::net_rpc::value::{Limits, ValueReader};
use rpc::{BoxedStream, Protocol};
use server::SavedSnapshot;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use types::operator::{SnapshotReply, SnapshotRequest};
use types::{Datacenter, SecretId};

use super::client::Client;

/// Most bytes of what stands before an archive.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// How much of an archive is taken at once.
const PIECE_BYTES: usize = 64 << 10;

/// How long a server may take for the next piece, or for a restore.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// The state as an archive, on its way to whoever asked.
pub(crate) struct SavedArchive {
    /// What is told beside it; the index is the archive's.
    pub(crate) facts: ReadFacts,
    /// Where its bytes are.
    pub(crate) source: ArchiveSource,
}

/// Where the bytes of an archive are.
pub(crate) enum ArchiveSource {
    /// In the server of this process, which writes them.
    Here(SavedSnapshot),
    /// On a stream.
    There(ArchiveStream),
}

/// An archive that a server sends.
pub(crate) struct ArchiveStream {
    stream: BoxedStream,
    /// What was read already.
    rest: Bytes,
}

impl ArchiveStream {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The stream broke, or nothing came for a long time.
    pub(crate) async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        if !self.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        let mut piece = bytes::BytesMut::with_capacity(PIECE_BYTES);
        match tokio::time::timeout(SILENCE_MAX, self.stream.read_buf(&mut piece)).await {
            Ok(Ok(0)) => Ok(None),
            Ok(Ok(_)) => Ok(Some(piece.freeze())),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Client {
    /// See [`server::Server::save_snapshot`].
    pub(crate) async fn save_snapshot(
        &self,
        dc: &Datacenter,
        token: &SecretId,
        consistency: Consistency,
    ) -> Result<SavedArchive, CallError> {
        save_over(self.open(Protocol::Snapshot).await?, dc, token, consistency).await
    }

    /// See [`server::Server::restore_snapshot`].
    pub(crate) async fn restore_snapshot(
        &self,
        archive: File,
        dc: &Datacenter,
        token: &SecretId,
    ) -> Result<(), CallError> {
        restore_over(self.open(Protocol::Snapshot).await?, archive, dc, token).await
    }
}

/// Saves over a connection on which nothing was said yet.
pub(super) async fn save_over(
    mut stream: BoxedStream,
    dc: &Datacenter,
    token: &SecretId,
    consistency: Consistency,
) -> Result<SavedArchive, CallError> {
    let request = SnapshotRequest {
        allow_stale: consistency == Consistency::Stale,
        datacenter: dc.clone(),
        op: SnapshotRequest::SAVE,
        token: token.clone(),
    };
    stream.write_all(&encode(&request)).await.map_err(broken)?;
    stream.shutdown().await.map_err(broken)?;
    let (reply, rest) = reply(&mut stream).await?;
    let facts = ReadFacts {
        index: reply.index,
        known_leader: reply.known_leader,
        last_contact: reply.last_contact.to_std(),
        removed: false,
    };
    let source = ArchiveSource::There(ArchiveStream { stream, rest });
    Ok(SavedArchive { facts, source })
}

/// Restores over a connection on which nothing was said yet.
pub(super) async fn restore_over(
    mut stream: BoxedStream,
    archive: File,
    dc: &Datacenter,
    token: &SecretId,
) -> Result<(), CallError> {
    let request = SnapshotRequest {
        allow_stale: false,
        datacenter: dc.clone(),
        op: SnapshotRequest::RESTORE,
        token: token.clone(),
    };
    let sent = async {
        stream.write_all(&encode(&request)).await?;
        send_file(archive, &mut stream).await?;
        stream.shutdown().await
    };
    // A server that refuses says why, and may do so before it has all of the archive.
    let sent = sent.await;
    match reply(&mut stream).await {
        Ok(_) => sent.map_err(broken),
        Err(refusal) => Err(refusal),
    }
}

async fn send_file(mut file: File, stream: &mut BoxedStream) -> std::io::Result<()> {
    loop {
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; PIECE_BYTES];
            let length = file.read(&mut piece)?;
            piece.truncate(length);
            Ok::<_, std::io::Error>((file, piece))
        });
        let (same, piece) = read.await.map_err(std::io::Error::other)??;
        if piece.is_empty() {
            return Ok(());
        }
        stream.write_all(&piece).await?;
        file = same;
    }
}

/// Reads what stands before an archive; its error is the server's.
async fn reply(stream: &mut BoxedStream) -> Result<(SnapshotReply, Bytes), CallError> {
    let mut reader = ValueReader::default();
    let read = reader.next(stream, Limits::bytes(REPLY_BYTES_MAX));
    let read = tokio::time::timeout(SILENCE_MAX, read).await;
    let value = match read {
        Ok(Ok(Some(value))) => value,
        Ok(Ok(None)) => return Err(broken("EOF")),
        Ok(Err(error)) => return Err(broken(error)),
        Err(_) => return Err(broken("i/o timeout")),
    };
    let reply: SnapshotReply = decode_reply("a snapshot", &value)?;
    match reply.error.as_str() {
        "" => Ok((reply, reader.into_rest())),
        error => Err(CallError::from_remote(error)),
    }
}

fn broken(error: impl std::fmt::Display) -> CallError {
    CallError::failed(format!("rpc error making call: {error}"))
}
