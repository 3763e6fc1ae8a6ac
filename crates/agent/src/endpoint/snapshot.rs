//! `/v1/snapshot`: the state as an archive, and back (`reference/http-api.md` 2.15).
//!
//! Neither direction holds the archive in memory: it is sent as it is made, and kept in
//! a file without a name while it is checked.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use contract::{Body, CallError, Request, Response};
use http::{Method, StatusCode};
use http_server::{Download, LocalRoute, ReadMeta, Reply, Router, Upload};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{handler, route};
use crate::delegate::{ArchiveSource, ArchiveStream};
use crate::process::AgentHandle;

const PATH: &str = "/v1/snapshot";

/// Pieces on their way, of up to 64 KiB each.
const PIECES_MAX: usize = 8;

/// How long a client that saves may take nothing.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Adds the routes.
pub(crate) fn add_routes(router: &mut Router, agent: &AgentHandle) {
    let save = handler(agent, |agent, request| async move { save(&agent, &request).await });
    let routes: Vec<LocalRoute> = vec![route(PATH, Method::GET, save)];
    router.add_local(routes);
    let agent = agent.clone();
    let restore = move |request: Request, upload: Upload| {
        let agent = agent.clone();
        Box::pin(async move { restore(&agent, &request, upload).await })
            as http_server::BoxFuture<_>
    };
    router.add_upload(PATH, Method::PUT, Arc::new(restore));
}

async fn save(agent: &AgentHandle, request: &Request) -> Result<Reply, CallError> {
    let options = request.read_options()?;
    let (datacenter, token) = (&options.datacenter, &options.token);
    let saved = agent.delegate().save_snapshot(datacenter, token, options.consistency).await?;
    let facts = saved.facts;
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    match saved.source {
        ArchiveSource::Here(saved) => {
            let runtime = Handle::current();
            tokio::task::spawn_blocking(move || {
                let out = Pieces { sender: sender.clone(), runtime };
                if let Err(error) = saved.write(out) {
                    tracing::warn!(target: "agent.server", error = %error, "A client did not get all of a snapshot");
                    // The client must not take what it got for all; if it is gone, so be it.
                    let _ = sender.try_send(Err(error));
                }
            });
        }
        ArchiveSource::There(stream) => {
            tokio::spawn(pass_on(stream, sender));
        }
    }
    let meta = ReadMeta {
        index: facts.index,
        known_leader: facts.known_leader,
        last_contact_ms: u64::try_from(facts.last_contact.as_millis()).unwrap_or(u64::MAX),
        ..ReadMeta::unknown()
    };
    let download = Some(Download::new("application/x-gzip", pieces));
    Ok(Reply { meta: Some(meta), download, ..Reply::from(Response::ok()) })
}

/// Passes on an archive as it comes from a server.
async fn pass_on(mut stream: ArchiveStream, sender: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let piece = match stream.next().await {
            Ok(None) => return,
            Ok(Some(piece)) => Ok(piece),
            Err(error) => Err(error),
        };
        let (failed, sent) = (piece.is_err(), timeout(SILENCE_MAX, sender.send(piece)).await);
        if failed || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

async fn restore(
    agent: &AgentHandle,
    request: &Request,
    upload: Upload,
) -> Result<Reply, CallError> {
    let delegate = agent.delegate();
    let (datacenter, token) = (request.datacenter(), &request.token);
    // Asked before the archive is taken, which may be long.
    delegate.may_restore(&datacenter, token)?;
    let archive = keep(upload, spool_dir(agent)).await?;
    let carried = delegate.restore_snapshot(archive, &datacenter, token).await?;
    let body = Body::Bytes { content_type: "application/octet-stream", bytes: Bytes::new() };
    let response = Response { status: StatusCode::OK, headers: Vec::new(), body };
    Ok(match carried {
        Some(carried) => response.with_header("X-Proconsul-Carried", carried).into(),
        None => response.into(),
    })
}

/// Where an archive is kept while it is checked: on the disk that the state goes to.
fn spool_dir(agent: &AgentHandle) -> PathBuf {
    let config = agent.config();
    let dir = config.data_dir.clone().filter(|_| !config.dev);
    dir.unwrap_or_else(std::env::temp_dir)
}

/// Takes a body into a file that has no name, and so ends with its last use.
async fn keep(mut upload: Upload, dir: PathBuf) -> Result<std::fs::File, CallError> {
    let cannot = |error: &io::Error| {
        CallError::failed(format!("cannot keep the snapshot while it is checked: {error}"))
    };
    let (sender, mut pieces) = mpsc::channel::<Bytes>(PIECES_MAX);
    let kept = tokio::task::spawn_blocking(move || -> io::Result<std::fs::File> {
        let mut file = tempfile::tempfile_in(dir)?;
        while let Some(piece) = pieces.blocking_recv() {
            file.write_all(&piece)?;
        }
        io::Seek::rewind(&mut file)?;
        Ok(file)
    });
    let taken = loop {
        match upload.next().await {
            Ok(Some(piece)) => {
                if sender.send(piece).await.is_err() {
                    // The file cannot be written: it says why.
                    break Ok(());
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    drop(sender);
    let kept = kept.await.map_err(|_| CallError::failed("interrupted"))?;
    let file = kept.map_err(|error| cannot(&error))?;
    match taken {
        Ok(()) => Ok(file),
        Err(error) => Err(CallError::bad_request(format!("Cannot read the body: {error}"))),
    }
}

/// Writes to a client, which may be slow, but not for ever.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
}

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Ok(Bytes::copy_from_slice(bytes));
        let sent = self.runtime.block_on(timeout(SILENCE_MAX, self.sender.send(piece)));
        match sent {
            Ok(Ok(())) => Ok(bytes.len()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
