//! Streams of a pool: one message each way, each with a time by which it is over
//! (`reference/gossip-wire.md` section 4).

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use gossip::serf::Level;
use gossip::wire::stream::{StreamError, encode_error};
use gossip::wire::{Progress, StreamMessage, StreamReader};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::driver::StreamEvent;
use super::telemetry::Telemetry;
use super::{SharedSecurity, nonce};
use crate::advice;

/// Bytes that are read at a time.
const READ_BYTES: usize = 16 * 1024;

/// Why a stream did not bring its message. The texts are Go's.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("dial tcp {to}: connect: {}", words(.error))]
    Connect { to: SocketAddr, error: io::Error },
    #[error("dial tcp {to}: i/o timeout")]
    ConnectTimeout { to: SocketAddr },
    #[error("i/o timeout")]
    Timeout,
    #[error("EOF")]
    End,
    #[error("{}", words(.0))]
    Io(#[from] io::Error),
    #[error(transparent)]
    Message(#[from] StreamError),
}

/// What a system's error says, as Go writes it.
fn words(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_owned())
}

/// A stream to another member.
pub(super) struct Exchange {
    pub(super) to: SocketAddr,
    pub(super) message: Bytes,
    /// Whether to read an answer.
    pub(super) answered: bool,
    pub(super) deadline: Instant,
    pub(super) security: SharedSecurity,
    pub(super) telemetry: Telemetry,
}

impl Exchange {
    /// Sends the message and reads the answer.
    pub(super) async fn run(self) -> Result<Option<StreamMessage>, String> {
        let started = Instant::now();
        let answer = self.talk().await.map_err(|failure| failure.to_string());
        self.telemetry.exchanged(started.elapsed());
        answer
    }

    async fn talk(&self) -> Result<Option<StreamMessage>, Failure> {
        let to = self.to;
        let stream = match timeout_at(self.deadline, TcpStream::connect(to)).await {
            Err(_) => return Err(Failure::ConnectTimeout { to }),
            Ok(Err(error)) => return Err(Failure::Connect { to, error }),
            Ok(Ok(stream)) => stream,
        };
        self.telemetry.stream_dialled();
        timeout_at(self.deadline, self.talk_on(stream)).await.map_err(|_| Failure::Timeout)?
    }

    async fn talk_on(&self, mut stream: TcpStream) -> Result<Option<StreamMessage>, Failure> {
        let sealed = self.security.seal_stream(nonce(), &self.message);
        stream.write_all(&sealed).await?;
        self.telemetry.stream_sent(sealed.len());
        if !self.answered {
            stream.shutdown().await?;
            return Ok(None);
        }
        read_message(&mut stream, &self.security).await.map(Some)
    }
}

/// A stream from somebody.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) from: SocketAddr,
    pub(super) deadline: Instant,
    pub(super) security: SharedSecurity,
    pub(super) telemetry: Telemetry,
    pub(super) requests: mpsc::Sender<StreamEvent>,
    /// Given back when the stream is over.
    pub(super) permit: OwnedSemaphorePermit,
}

impl Accepted {
    /// Reads a message and answers it.
    pub(super) async fn run(mut self) {
        let answered = timeout_at(self.deadline, self.answer()).await;
        let failure = match answered.unwrap_or(Err(Failure::Timeout)) {
            // Whoever says nothing only looked whether somebody listens.
            Ok(()) | Err(Failure::End) => None,
            Err(failure) => Some(failure),
        };
        if let Some(failure) = failure {
            let mut text = format!("failed to receive: {failure} from={}", self.from);
            if let Some(hint) = advice::on_gossip(&text) {
                let _ = write!(text, " hint={hint:?}");
            }
            self.telemetry.log_network(Level::Error, &text);
        }
        drop(self.permit);
    }

    async fn answer(&mut self) -> Result<(), Failure> {
        let message = match read_message(&mut self.stream, &self.security).await {
            Ok(message) => message,
            Err(Failure::Message(error)) => {
                let said = encode_error(&error.to_string());
                self.write(&said).await?;
                return Err(error.into());
            }
            Err(failure) => return Err(failure),
        };
        let (reply, answer) = oneshot::channel();
        let request = StreamEvent::Request { from: self.from, message, reply };
        // A pool that has stopped answers nobody.
        if self.requests.send(request).await.is_ok()
            && let Ok(Some(answer)) = answer.await
        {
            self.write(&answer).await?;
        }
        Ok(())
    }

    async fn write(&mut self, message: &[u8]) -> Result<(), Failure> {
        let sealed = self.security.seal_stream(nonce(), message);
        self.stream.write_all(&sealed).await?;
        self.telemetry.stream_sent(sealed.len());
        Ok(self.stream.shutdown().await?)
    }
}

async fn read_message(
    stream: &mut TcpStream,
    security: &SharedSecurity,
) -> Result<StreamMessage, Failure> {
    let mut reader = StreamReader::new();
    let mut chunk = vec![0; READ_BYTES];
    loop {
        match reader.next(security)? {
            Progress::Message(message) => return Ok(message),
            Progress::More(_) => match stream.read(&mut chunk).await? {
                0 => return Err(Failure::End),
                read => reader.buffer().extend_from_slice(&chunk[..read]),
            },
        }
    }
}
