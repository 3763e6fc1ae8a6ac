//! Closed-loop load: some connections, each with one request under way, all served by one thread around epoll.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

use crate::machine;
use crate::samples::Samples;
use crate::wire::Dialogue;

/// The most failed requests of one run before it is given up.
const FAILURES: u64 = 1000;
/// A run in which nothing arrives for so long is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// When a load ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// After a warm-up that is not counted and a time that is.
    Time {
        /// Not counted.
        warm_up: Duration,
        /// Counted.
        run: Duration,
    },
    /// When every dialogue has nothing left to ask.
    Done,
}

/// What a load measured.
#[derive(Debug)]
pub(crate) struct Load {
    /// Answers in a second.
    pub(crate) rate: f64,
    /// From the first byte of a request to the last of its answer.
    pub(crate) latency: Samples,
    /// Answers that were no success.
    pub(crate) failures: u64,
    /// Cores the server used, 1.0 for one whole core.
    pub(crate) server_cores: f64,
    /// Cores the generator used.
    pub(crate) generator_cores: f64,
}

struct Connection<D> {
    stream: TcpStream,
    dialogue: D,
    asked: Instant,
    done: bool,
}

struct Loop<D> {
    connections: Vec<Connection<D>>,
    out: Vec<u8>,
    latency: Samples,
    failures: u64,
    /// What is measured starts here.
    from: Instant,
}

/// Runs one load against the server with process `pid` at `address`.
///
/// # Errors
/// No connection, a broken conversation, too many failures, or silence.
pub(crate) fn drive<D: Dialogue>(
    address: SocketAddr,
    pid: u32,
    dialogues: Vec<D>,
    until: Until,
) -> anyhow::Result<Load> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut state = Loop::start(address, dialogues, &epoll)?;
    let (warm_up, deadline) = match until {
        Until::Time { warm_up, run } => (warm_up, Some(Instant::now() + warm_up + run)),
        Until::Done => (Duration::ZERO, None),
    };
    state.from = Instant::now() + warm_up;
    let mut before = None;
    let mut events = Vec::with_capacity(1024);
    let mut buffer = vec![0; 256 * 1024];
    let mut last_sign = Instant::now();
    let end = loop {
        let now = Instant::now();
        if before.is_none() && now >= state.from {
            before = Some(times(pid)?);
        }
        if deadline.is_some_and(|deadline| now >= deadline)
            || state.connections.iter().all(|one| one.done)
        {
            break now;
        }
        events.clear();
        let timeout = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout))?;
        if events.is_empty() {
            anyhow::ensure!(now - last_sign < SILENCE, "the server says nothing any more");
            continue;
        }
        last_sign = now;
        for event in &events {
            let index = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            state.receive(index, &mut buffer)?;
        }
    };
    let before = before.context("the load ended before its warm-up")?;
    let after = times(pid)?;
    let seconds = (end - state.from).as_secs_f64().max(1e-9);
    #[expect(clippy::cast_precision_loss, reason = "a count of answers is far below 2^52")]
    let rate = state.latency.count() as f64 / seconds;
    Ok(Load {
        rate,
        latency: state.latency,
        failures: state.failures,
        server_cores: (after.0.saturating_sub(before.0)).as_secs_f64() / seconds,
        generator_cores: (after.1.saturating_sub(before.1)).as_secs_f64() / seconds,
    })
}

/// Processor time of the server and of this process.
fn times(pid: u32) -> anyhow::Result<(Duration, Duration)> {
    Ok((machine::processor_time(pid)?, machine::processor_time(std::process::id())?))
}

impl<D: Dialogue> Loop<D> {
    fn start(
        address: SocketAddr,
        dialogues: Vec<D>,
        epoll: &impl std::os::fd::AsFd,
    ) -> anyhow::Result<Self> {
        let mut connections = Vec::with_capacity(dialogues.len());
        let mut out = Vec::new();
        for (index, mut dialogue) in dialogues.into_iter().enumerate() {
            let mut stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(
                epoll,
                &stream,
                epoll::EventData::new_u64(index as u64),
                epoll::EventFlags::IN,
            )?;
            out.clear();
            dialogue.open(&mut out);
            let done = !dialogue.ask(&mut out);
            let asked = Instant::now();
            send(&mut stream, &out)?;
            connections.push(Connection { stream, dialogue, asked, done });
        }
        Ok(Self {
            connections,
            out,
            latency: Samples::default(),
            failures: 0,
            from: Instant::now(),
        })
    }

    fn receive(&mut self, index: usize, buffer: &mut [u8]) -> anyhow::Result<()> {
        let Some(connection) = self.connections.get_mut(index) else { return Ok(()) };
        let length = match connection.stream.read(buffer) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(length) => length,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error).context("reading"),
        };
        self.out.clear();
        if let Some(success) = connection.dialogue.hear(&buffer[..length], &mut self.out)? {
            let now = Instant::now();
            if !success {
                self.failures += 1;
                if self.failures >= FAILURES {
                    bail!("too many requests fail: {}", connection.dialogue.excuse());
                }
            } else if now >= self.from {
                self.latency.add(now - connection.asked);
            }
            connection.asked = now;
            connection.done = !connection.dialogue.ask(&mut self.out);
        }
        send(&mut connection.stream, &self.out)
    }
}

/// Writes everything, waiting if the socket is full.
pub(crate) fn send(stream: &mut TcpStream, mut bytes: &[u8]) -> anyhow::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let timeout = Timespec { tv_sec: 30, tv_nsec: 0 };
                let ready = poll(&mut [PollFd::new(stream, PollFlags::OUT)], Some(&timeout))?;
                anyhow::ensure!(ready > 0, "the server takes nothing any more");
            }
            Err(error) => return Err(error).context("writing"),
        }
    }
    Ok(())
}
