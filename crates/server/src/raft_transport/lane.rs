//! One connection to another server, and the requests that go over it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use raft::wire::{self, Rpc, Splitter, WireError};
use raft::{AppendEntries, Body, LogPosition, RequestId, ServerId, Term, VoteResponse};
use telemetry::names;
use telemetry::series::{CounterHandle, TimerHandle};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{timeout, timeout_at};
use types::Index;

use super::{BoxedStream, Shared};

/// Most unanswered heartbeats, and most unanswered requests with entries, as the core has them.
const HEARTBEATS_MAX: usize = 4;
const ENTRIES_MAX: usize = 2;

/// A request on its way.
pub(super) struct Outgoing {
    pub(super) request: RequestId,
    pub(super) body: Body,
    /// Where the configuration says that the receiver is.
    pub(super) address: Arc<str>,
    /// When the core sent it.
    pub(super) at: Instant,
}

pub(super) struct Lane {
    /// What it carries.
    pub(super) kind: LaneKind,
    /// Most unanswered requests.
    depth: usize,
    pub(super) peer: ServerId,
    pub(super) shared: Arc<Shared>,
    timer: Option<TimerHandle>,
    entries: Option<CounterHandle>,
}

/// What a lane carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneKind {
    Heartbeats,
    Entries,
    Elections,
}

/// A request that waits for its answer.
struct Sent {
    request: RequestId,
    rpc: Rpc,
    /// Of a pre-vote: the term that it is about.
    pre_vote: Option<Term>,
    at: Instant,
}

/// Why a connection is given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaneError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("no answer in time")]
    Timeout,
    #[error("the connection was closed")]
    Closed,
    #[error("it is not at {0} any more")]
    Moved(SocketAddr),
    #[error("the address belongs to another server now, {0:?}")]
    Stranger(ServerId),
}

impl LaneError {
    /// Whether the other side went away by itself.
    fn is_closed(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Io(error) => matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof
            ),
            _ => false,
        }
    }
}

impl Lane {
    /// A lane on which nothing has been sent yet.
    pub(super) fn new(kind: LaneKind, peer: ServerId, shared: Arc<Shared>) -> Self {
        let label = || [peer.0.to_string().into()];
        let (depth, timer, entries) = match kind {
            LaneKind::Heartbeats => {
                (HEARTBEATS_MAX, Some(names::RAFT_REPLICATION_HEARTBEAT.handle(label())), None)
            }
            LaneKind::Entries => (
                ENTRIES_MAX,
                Some(names::RAFT_REPLICATION_APPEND_ENTRIES_RPC.handle(label())),
                Some(names::RAFT_REPLICATION_APPEND_ENTRIES_LOGS.handle(label())),
            ),
            LaneKind::Elections => (1, None, None),
        };
        Self { kind, depth, peer, shared, timer, entries }
    }

    /// Sends what comes until nobody can ask for more.
    pub(super) async fn run(self, mut requests: mpsc::Receiver<Outgoing>) {
        let mut is_failing = false;
        while let Some(first) = requests.recv().await {
            let patience = self.shared.options.timeout;
            if first.at.elapsed() > patience {
                self.shared.fail(&self.peer, first.request);
                continue;
            }
            let address = first.address.clone();
            let (mut sent, mut answered) = (VecDeque::new(), false);
            let outcome = match self.shared.connect(&self.peer, &address).await {
                Ok((stream, at)) => {
                    let whereabouts = &self.shared.whereabouts;
                    let ended = tokio::select! {
                        ended =
                            self.converse(stream, first, &mut requests, &mut sent, &mut answered) => ended,
                        () = whereabouts.moved(&self.peer, &address, at) => Err(LaneError::Moved(at)),
                    };
                    if let Err(LaneError::Stranger(_) | LaneError::Timeout) = &ended {
                        whereabouts.is_not_at(&self.peer, at);
                    }
                    ended
                }
                Err(error) => {
                    self.shared.fail(&self.peer, first.request);
                    Err(error.into())
                }
            };
            let Err(error) = outcome else { return };
            is_failing &= !answered;
            self.tell(&error, &address, is_failing);
            is_failing = true;
            for sent in sent {
                self.give_up(&sent, &address, &error).await;
            }
        }
    }

    /// Requests out and answers in, over one connection. Ends well when nobody asks any more;
    /// what is left in `sent` has no answer.
    async fn converse(
        &self,
        stream: BoxedStream,
        first: Outgoing,
        requests: &mut mpsc::Receiver<Outgoing>,
        sent: &mut VecDeque<Sent>,
        answered: &mut bool,
    ) -> Result<(), LaneError> {
        let (mut read, mut write) = tokio::io::split(stream);
        let (mut splitter, mut buffer) = (Splitter::responses(), BytesMut::new());
        let mut next = Some(first);
        loop {
            if let Some(outgoing) = next.take() {
                self.send(&mut write, outgoing, sent).await?;
            }
            while let Some(answer) = splitter.next(&mut buffer)? {
                // An answer to nothing is none.
                let sent = sent.pop_front().ok_or(LaneError::Closed)?;
                self.take_answer(&sent, &answer)?;
                *answered = true;
            }
            let deadline = sent.front().map(|sent| sent.at + self.shared.options.timeout);
            tokio::select! {
                outgoing = requests.recv(), if sent.len() < self.depth => match outgoing {
                    Some(outgoing) => next = Some(outgoing),
                    None => return Ok(()),
                },
                count = read_some(&mut read, &mut buffer, deadline) => {
                    if count? == 0 {
                        return Err(LaneError::Closed);
                    }
                }
            }
        }
    }

    async fn send(
        &self,
        write: &mut (impl AsyncWrite + Unpin),
        outgoing: Outgoing,
        sent: &mut VecDeque<Sent>,
    ) -> Result<(), LaneError> {
        let Outgoing { request, body, at, .. } = outgoing;
        let patience = self.shared.options.timeout;
        let Some(rpc) = Rpc::of(&body).filter(|_| at.elapsed() <= patience) else {
            // It is too old to be of use.
            self.shared.fail(&self.peer, request);
            return Ok(());
        };
        let mut pre_vote = None;
        match &body {
            Body::AppendEntries(body) => {
                if let Some(entries) = &self.entries {
                    entries.increment(body.entries.len() as u64);
                }
            }
            Body::RequestPreVote(body) => pre_vote = Some(body.term),
            _ => {}
        }
        sent.push_back(Sent { request, rpc, pre_vote, at: Instant::now() });
        let mut bytes = Vec::with_capacity(256);
        wire::encode_request(&mut bytes, &self.shared.options.sender, &body);
        match timeout(patience, write.write_all(&bytes)).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(LaneError::Timeout),
        }
    }

    fn take_answer(&self, sent: &Sent, answer: &[u8]) -> Result<(), LaneError> {
        let response = wire::decode_response(sent.rpc, answer);
        let response = response.map_err(LaneError::from).and_then(|response| match response.id {
            Some(id) if id != self.peer => Err(LaneError::Stranger(id)),
            _ => Ok(response.body),
        });
        let body = match response {
            Ok(body) => body,
            Err(error) => {
                self.shared.fail(&self.peer, sent.request);
                return Err(error);
            }
        };
        match (body, sent.pre_vote) {
            (Ok(body), _) => {
                if let Some(timer) = &self.timer {
                    timer.record_since(sent.at);
                }
                self.shared.deliver(&self.peer, sent.request, body);
            }
            (Err(text), Some(term)) if text.contains(wire::UNEXPECTED_COMMAND) => {
                self.grant_pre_vote(sent.request, term);
            }
            (Err(text), _) => {
                tracing::warn!(target: "agent.server.raft", peer = %self.peer.0, lane = ?self.kind, error = %text, "another server refused a request");
                self.shared.fail(&self.peer, sent.request);
            }
        }
        Ok(())
    }

    /// There is no answer to it, and why.
    async fn give_up(&self, sent: &Sent, address: &str, error: &LaneError) {
        match sent.pre_vote {
            Some(term) if error.is_closed() && self.answers_others(address).await => {
                self.grant_pre_vote(sent.request, term);
            }
            _ => self.shared.fail(&self.peer, sent.request),
        }
    }

    fn grant_pre_vote(&self, request: RequestId, term: Term) {
        tracing::debug!(target: "agent.server.raft", peer = %self.peer.0, "another server knows no pre-votes: it is taken to agree");
        let body = Body::RequestPreVoteResponse(VoteResponse { term, granted: true });
        self.shared.deliver(&self.peer, request, body);
    }

    /// Whether the server, which closed the connection at a pre-vote, answers what all
    /// versions know: then it is alive and knows no pre-votes. Entries of term zero are refused
    /// by whoever has a term, and change nothing.
    async fn answers_others(&self, address: &str) -> bool {
        let previous = LogPosition::default();
        let (term, leader_commit, entries) = (Term(0), Index::ZERO, Vec::new());
        let body = Body::AppendEntries(AppendEntries { term, previous, entries, leader_commit });
        let mut bytes = Vec::new();
        wire::encode_request(&mut bytes, &self.shared.options.sender, &body);
        let asked = async {
            let (mut stream, _) = self.shared.connect(&self.peer, address).await?;
            stream.write_all(&bytes).await?;
            let (mut splitter, mut buffer) = (Splitter::responses(), BytesMut::new());
            loop {
                if let Some(answer) = splitter.next(&mut buffer)? {
                    return Ok(wire::decode_response(Rpc::AppendEntries, &answer)?.body.is_ok());
                }
                if stream.read_buf(&mut buffer).await? == 0 {
                    return Err(LaneError::Closed);
                }
            }
        };
        matches!(timeout(self.shared.options.timeout, asked).await, Ok(Ok(true)))
    }

    /// Says once that requests fail, until one is answered again.
    fn tell(&self, error: &LaneError, address: &str, is_failing: bool) {
        let (peer, lane) = (&self.peer.0, self.kind);
        if is_failing && !matches!(error, LaneError::Stranger(_)) {
            tracing::debug!(target: "agent.server.raft", %peer, address, ?lane, %error, "still failing to reach another server");
        } else if lane == LaneKind::Heartbeats {
            tracing::error!(target: "agent.server.raft", %peer, address, %error, "failed to heartbeat to");
        } else {
            tracing::warn!(target: "agent.server.raft", %peer, address, ?lane, %error, "failed to reach another server");
        }
    }
}

/// Reads what there is; with a deadline, an error when it has passed.
pub(super) async fn read_some(
    read: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    deadline: Option<Instant>,
) -> Result<usize, LaneError> {
    buffer.reserve(4096);
    let Some(deadline) = deadline else { return Ok(read.read_buf(buffer).await?) };
    match timeout_at(deadline.into(), read.read_buf(buffer)).await {
        Ok(count) => Ok(count?),
        Err(_) => Err(LaneError::Timeout),
    }
}
