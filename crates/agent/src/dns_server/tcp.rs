//! Connections: messages with a length of two octets in front (RFC 7766).
//!
//! A connection may carry many questions, and they need not wait for each other:
//! what is answered first is sent first.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dns::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::answerer::{Answerer, Client, Scratch, Step};
use super::stopped;

/// Connections to one address at the same time. Further ones wait to be accepted.
pub const TCP_CONNECTIONS_MAX: usize = 1024;
/// Questions of one connection that wait for an answer at the same time; what comes
/// after them is read when one is answered.
pub const TCP_QUESTIONS_MAX: usize = 16;
/// A connection without a whole question for so long is closed; the time of Go's
/// common DNS library.
pub const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(8);
/// A client that takes no answer for so long is left.
pub const TCP_WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Octets of the length in front of a message.
const LENGTH_OCTETS: usize = 2;
/// Room for questions that a connection starts with; it grows as needed.
const INPUT_OCTETS: usize = 1024;
/// Answers are sent when there are so many octets of them.
const FLUSH_OCTETS: usize = 64 << 10;
/// Pause after an error of accept: others have to end before it gets better.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves one socket until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    answerer: Arc<Answerer>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(TCP_CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            // The semaphore is never closed: without a place nobody is accepted.
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((place, listener.accept().await))
        };
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = next => match accepted {
                Some((place, Ok((stream, client)))) => {
                    let answerer = Arc::clone(&answerer);
                    connections.spawn(async move {
                        let _place = place;
                        Conversation::new(stream, client, answerer).run().await;
                    });
                }
                Some((_, Err(error))) => {
                    tracing::warn!(target: "agent.dns", %error, "Cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                None => break,
            },
        }
    }
    connections.shutdown().await;
}

/// One connection.
struct Conversation {
    stream: TcpStream,
    client: Client,
    answerer: Arc<Answerer>,
    /// What was read and not yet answered.
    input: Vec<u8>,
    /// What is to be sent.
    output: Vec<u8>,
    /// Answers that have to wait for somebody.
    waiting: JoinSet<Option<Vec<u8>>>,
    scratch: Scratch,
}

/// What the connection waited for.
enum Event {
    Read(usize),
    Answered(Option<Vec<u8>>),
    Closed,
}

impl Conversation {
    fn new(stream: TcpStream, client: SocketAddr, answerer: Arc<Answerer>) -> Self {
        // Answers are written whole: waiting for more of them helps nobody.
        let _ = stream.set_nodelay(true);
        let client = Client { address: client, transport: Transport::Tcp };
        Self {
            stream,
            client,
            answerer,
            input: Vec::with_capacity(INPUT_OCTETS),
            output: Vec::new(),
            waiting: JoinSet::new(),
            scratch: Scratch::new(),
        }
    }

    /// Talks until the client is done, silent or unable to listen. A client that
    /// closes its half still gets what it asked for.
    async fn run(mut self) {
        let mut deadline = tokio::time::Instant::now() + TCP_IDLE_TIMEOUT;
        let mut open = true;
        while open || !self.waiting.is_empty() {
            let mut active = false;
            match self.next(open, deadline).await {
                Event::Closed => return,
                Event::Read(0) => open = false,
                Event::Read(_) => {}
                Event::Answered(reply) => {
                    active = true;
                    if let Some(reply) = reply {
                        push_message(&mut self.output, &reply);
                    }
                }
            }
            let Some(asked) = self.answer_input().await else { return };
            if self.flush().await.is_none() {
                return;
            }
            // Single octets of a question do not keep a connection open.
            if active || asked {
                deadline = tokio::time::Instant::now() + TCP_IDLE_TIMEOUT;
            }
        }
    }

    async fn next(&mut self, open: bool, deadline: tokio::time::Instant) -> Event {
        let read = open && self.waiting.len() < TCP_QUESTIONS_MAX;
        tokio::select! {
            got = self.stream.read_buf(&mut self.input), if read => {
                got.map_or(Event::Closed, Event::Read)
            }
            Some(answered) = self.waiting.join_next(), if !self.waiting.is_empty() => {
                Event::Answered(answered.ok().flatten())
            }
            () = tokio::time::sleep_until(deadline), if self.waiting.is_empty() => Event::Closed,
        }
    }

    /// Answers the whole messages in `input`. Returns whether there were any;
    /// `None` when the client does not take answers.
    async fn answer_input(&mut self) -> Option<bool> {
        let mut start = 0;
        while self.waiting.len() < TCP_QUESTIONS_MAX {
            let Some(message) = whole_message(&self.input[start..]) else { break };
            start += LENGTH_OCTETS + message.len();
            match self.answerer.answer_now(message, self.client, &mut self.scratch) {
                Step::Reply => push_message(&mut self.output, self.scratch.reply()),
                Step::Nothing => {}
                Step::Later => {
                    let (answerer, client) = (Arc::clone(&self.answerer), self.client);
                    let message = message.to_vec();
                    self.waiting.spawn(async move {
                        let _place = answerer.place().await;
                        answerer.answer(&message, client).await
                    });
                }
            }
            if self.output.len() >= FLUSH_OCTETS {
                self.flush().await?;
            }
        }
        self.input.drain(..start);
        Some(start > 0)
    }

    async fn flush(&mut self) -> Option<()> {
        if self.output.is_empty() {
            return Some(());
        }
        let written = self.stream.write_all(&self.output);
        let written = tokio::time::timeout(TCP_WRITE_TIMEOUT, written).await;
        self.output.clear();
        written.ok()?.ok()
    }
}

fn whole_message(input: &[u8]) -> Option<&[u8]> {
    let length = usize::from(u16::from_be_bytes(*input.first_chunk()?));
    input.get(LENGTH_OCTETS..LENGTH_OCTETS + length)
}

/// Adds a message with its length. The answer machine and recursors make none that
/// is too long for it.
fn push_message(output: &mut Vec<u8>, message: &[u8]) {
    if let Ok(length) = u16::try_from(message.len()) {
        output.extend_from_slice(&length.to_be_bytes());
        output.extend_from_slice(message);
    }
}
