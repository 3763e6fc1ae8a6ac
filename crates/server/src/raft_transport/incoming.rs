//! What other servers ask.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use raft::wire::{self, Request, Splitter};
use raft::{Body, InstallSnapshot, Message, ServerId};
use telemetry::names;
use telemetry::series::TimerHandle;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::calls::Call;
use super::lane::{LaneError, read_some};
use super::snapshot_in::{Received, Receiver};
use super::{Shared, snapshot_out};

/// Requests that are read before the first of them is answered: one that is awaited, one that
/// waits for that, and one for which there is no room.
const READ_AHEAD: usize = 1;

/// The receiving half of a host's way to others.
#[derive(Clone)]
pub struct Incoming {
    shared: Arc<Shared>,
    receiver: Arc<Receiver>,
    metrics: Arc<Metrics>,
}

/// Why a connection is closed that did not end by itself.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Stream(#[from] LaneError),
    #[error(
        "it has this server's own id, {0:?}: a copied data directory? Give one of them another node-id"
    )]
    OwnId(ServerId),
    #[error(
        "it does not say who it is, and nothing is known of a server at {0:?}: it is obeyed once gossip knows it"
    )]
    Unknown(String),
    #[error("this server's Raft is too busy, or has ended")]
    Busy,
}

/// What is written next.
enum Answer {
    /// What the core says.
    Awaited(Call, Asked),
    /// The same, of a snapshot; a useless one is removed.
    Snapshot(Result<Received, String>, ServerId, Asked),
    /// An error.
    Refused(String),
}

struct Asked {
    at: Instant,
    patience: Duration,
    timer: Option<TimerHandle>,
}

struct Metrics {
    append: TimerHandle,
    heartbeat: TimerHandle,
    vote: TimerHandle,
    install: TimerHandle,
}

impl Incoming {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let metrics = Metrics {
            append: names::RAFT_RPC_APPEND_ENTRIES.handle([]),
            heartbeat: names::RAFT_RPC_PROCESS_HEARTBEAT.handle([]),
            vote: names::RAFT_RPC_REQUEST_VOTE.handle([]),
            install: names::RAFT_RPC_INSTALL_SNAPSHOT.handle([]),
        };
        let receiver = Arc::new(Receiver::new(shared.inlet.clone()));
        Self { shared, receiver, metrics: Arc::new(metrics) }
    }

    /// Takes the requests of a connection, whose first byte has been read, and writes the
    /// answers in their order. Returns when the other side has closed it, or when it sent what
    /// no server sends; the log says that.
    pub async fn accept(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin,
        from: SocketAddr,
    ) {
        let (read, write) = tokio::io::split(stream);
        let (queue, answers) = mpsc::channel(READ_AHEAD);
        let mut sender = None;
        let outcome = tokio::select! {
            outcome = self.read_requests(read, from, queue, &mut sender) => outcome,
            outcome = self.write_answers(write, answers) => outcome,
        };
        match outcome {
            Ok(()) => {}
            Err(Refusal::Stream(error)) => {
                tracing::warn!(target: "agent.server.raft", %from, %error, "closed the connection of another server");
            }
            Err(error @ (Refusal::Unknown(_) | Refusal::Busy)) => {
                tracing::debug!(target: "agent.server.raft", %from, %error, "closed the connection of another server");
            }
            Err(error) => {
                tracing::error!(target: "agent.server.raft", %from, %error, "closed the connection of another server");
            }
        }
        if let Some(sender) = sender {
            self.shared.look_after(sender).await;
        }
    }

    async fn read_requests(
        &self,
        mut read: impl AsyncRead + Unpin,
        from: SocketAddr,
        queue: mpsc::Sender<Answer>,
        sender: &mut Option<ServerId>,
    ) -> Result<(), Refusal> {
        let patience = self.shared.options.timeout;
        let (mut splitter, mut buffer) = (Splitter::requests(), BytesMut::new());
        loop {
            while let Some(request) = splitter.next(&mut buffer).map_err(LaneError::from)? {
                let request = wire::decode_request(&request).map_err(LaneError::from)?;
                let answer = self.take(request, from, &mut read, &mut buffer, sender).await?;
                if queue.send(answer).await.is_err() {
                    return Ok(());
                }
            }
            // Between requests there is all the time of the world.
            let deadline = (!buffer.is_empty()).then(|| Instant::now() + patience);
            match read_some(&mut read, &mut buffer, deadline).await {
                Ok(0) if buffer.is_empty() => return Ok(()),
                Ok(0) => return Err(LaneError::Closed.into()),
                Ok(_) => {}
                // It ended, and not in order: its lane was given up, or the server has died.
                Err(LaneError::Io(_)) if buffer.is_empty() => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Hands a request to the core.
    async fn take(
        &self,
        request: Request,
        from: SocketAddr,
        read: &mut (impl AsyncRead + Unpin),
        buffer: &mut BytesMut,
        last_sender: &mut Option<ServerId>,
    ) -> Result<Answer, Refusal> {
        if !request.is_supported() {
            return Ok(Answer::Refused(wire::UNSUPPORTED_PROTOCOL.to_owned()));
        }
        let sender = self.identify(&request, from)?;
        let members = self.shared.inlet.configuration();
        self.shared.whereabouts.hear(&sender, &request.address, &members);
        if last_sender.as_ref() != Some(&sender) {
            *last_sender = Some(sender.clone());
        }
        let mut asked = Asked {
            at: Instant::now(),
            patience: self.shared.options.timeout,
            timer: self.metrics.of(&request.body),
        };
        if let Body::InstallSnapshot(announced) = request.body {
            asked.patience = snapshot_out::patience(asked.patience, announced.snapshot.size);
            let timeout = self.shared.options.timeout;
            let received = self.receiver.receive(announced, read, buffer, timeout).await?;
            return Ok(Answer::Snapshot(received, sender, asked));
        }
        Ok(Answer::Awaited(self.deliver(sender, request.body)?, asked))
    }

    fn deliver(&self, from: ServerId, body: Body) -> Result<Call, Refusal> {
        let call = self.shared.calls.begin();
        let message = Message { request: call.request, body };
        if self.shared.inlet.deliver(from, message) { Ok(call) } else { Err(Refusal::Busy) }
    }

    /// Who is asking: what the header says, or whoever is at the address that it gives.
    fn identify(&self, request: &Request, from: SocketAddr) -> Result<ServerId, Refusal> {
        let own = &self.shared.options.sender.id;
        if let Some(id) = &request.id {
            return if id == own { Err(Refusal::OwnId(id.clone())) } else { Ok(id.clone()) };
        }
        let unknown = || Refusal::Unknown(request.address.to_string());
        if request.address.is_empty() {
            // An old leader that hands over: it is the one that is obeyed, or not heard.
            let leader = self.shared.inlet.leader();
            let leader = leader.filter(|leader| {
                let address = self.shared.whereabouts.address(&leader.id, &leader.address);
                address.is_some_and(|address| address.ip() == from.ip())
            });
            return leader.map(|leader| leader.id).ok_or_else(unknown);
        }
        let configuration = self.shared.inlet.configuration();
        let known = configuration.servers.iter().find(|server| server.address == request.address);
        let known = known.map(|server| server.id.clone()).or_else(|| {
            let address = request.address.parse().ok()?;
            self.shared.whereabouts.id_at(address)
        });
        known.filter(|id| id != own).ok_or_else(unknown)
    }

    async fn write_answers(
        &self,
        mut write: impl AsyncWrite + Unpin,
        mut answers: mpsc::Receiver<Answer>,
    ) -> Result<(), Refusal> {
        let sender = &self.shared.options.sender;
        while let Some(answer) = answers.recv().await {
            let mut bytes = Vec::with_capacity(256);
            match answer {
                Answer::Refused(text) => {
                    wire::encode_response(&mut bytes, sender, Err(&text));
                }
                Answer::Awaited(call, asked) => {
                    let body = answered(call, asked).await?;
                    wire::encode_response(&mut bytes, sender, Ok(&body));
                }
                Answer::Snapshot(received, from, asked) => {
                    let answer = self.install(received, from, asked).await?;
                    let answer = answer.as_ref().map_err(String::as_str);
                    wire::encode_response(&mut bytes, sender, answer);
                }
            }
            let written = timeout(self.shared.options.timeout, write.write_all(&bytes)).await;
            written.map_err(|_| LaneError::Timeout)?.map_err(LaneError::from)?;
        }
        Ok(())
    }

    /// All bytes of the snapshot have been read: have it installed.
    async fn install(
        &self,
        received: Result<Received, String>,
        from: ServerId,
        asked: Asked,
    ) -> Result<Result<Body, String>, Refusal> {
        let Received { term, meta, turn: _turn } = match received {
            Ok(received) => received,
            Err(text) => return Ok(Err(text)),
        };
        let id = meta.id.clone();
        let announced = Body::InstallSnapshot(InstallSnapshot { term, snapshot: meta });
        let body = answered(self.deliver(from, announced)?, asked).await?;
        if let Body::InstallSnapshotResponse(response) = &body
            && !response.success
        {
            self.receiver.remove(id).await;
        }
        Ok(Ok(body))
    }
}

async fn answered(call: Call, asked: Asked) -> Result<Body, Refusal> {
    let answer = timeout(asked.patience, call.answered()).await;
    let body = answer.ok().flatten().ok_or(Refusal::Busy)?;
    if let Some(timer) = asked.timer {
        timer.record_since(asked.at);
    }
    Ok(body)
}

impl Metrics {
    fn of(&self, body: &Body) -> Option<TimerHandle> {
        Some(match body {
            Body::AppendEntries(body) if body.is_heartbeat() => self.heartbeat.clone(),
            Body::AppendEntries(_) => self.append.clone(),
            Body::RequestVote(_) => self.vote.clone(),
            Body::InstallSnapshot(_) => self.install.clone(),
            _ => return None,
        })
    }
}
