//! Thousands of connections that wait: blocked queries of Consul, watches of etcd.
//!
//! A connection is a socket and two words, nothing more. While a wave of answers comes in, nothing is read: the thread
//! only asks the kernel now and then (every half millisecond) which sockets have become readable, and notes the time.
//! So the generator takes next to nothing from the server it measures; the answers are read and checked afterwards.

use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::event::{Timespec, epoll};

use crate::load::send;
use crate::machine::pause;
use crate::samples::Samples;
use crate::wire::grpc;
use crate::wire::http::{self, Parser};

/// How exact an arrival is known.
const TICK: Duration = Duration::from_micros(500);
/// A wave is over when so long nothing more came after all have something.
const QUIET: Duration = Duration::from_millis(20);
/// From one local address so many connections are made; the next ones come from the next address.
const PER_SOURCE: usize = 20_000;

/// How the connections of a herd wait.
#[derive(Debug, Clone)]
pub(crate) enum Waiting {
    /// Consul: blocked queries. Connection `i` asks path `i % paths.len()`, each path with a query that `&index=` can
    /// be added to, from the index its first answer names.
    Queries(Vec<String>),
    /// etcd: watches of this key.
    Watches(Vec<u8>),
}

#[derive(Debug)]
struct Member {
    stream: TcpStream,
    /// When it last became readable in this wave.
    arrived: Option<Instant>,
}

/// The connections of one server.
#[derive(Debug)]
pub(crate) struct Herd {
    members: Vec<Member>,
    waiting: Waiting,
    /// The index the next query of each path waits from.
    indexes: Vec<u64>,
    epoll: std::os::fd::OwnedFd,
    parser: Parser,
    buffer: Vec<u8>,
}

/// What came of one change.
#[derive(Debug)]
pub(crate) struct Wave {
    /// From the first byte of the change until each answer.
    pub(crate) latency: Samples,
    /// Connections that got nothing.
    pub(crate) missing: usize,
}

impl Herd {
    /// Connects `count` times and leaves each connection waiting.
    ///
    /// # Errors
    /// A connection is refused, or an answer is not what was asked for.
    pub(crate) fn gather(
        address: SocketAddr,
        count: usize,
        waiting: Waiting,
    ) -> anyhow::Result<Self> {
        let mut indexes = Vec::new();
        if let Waiting::Queries(paths) = &waiting {
            for path in paths {
                indexes.push(http::expect(address, "GET", path, b"")?.index);
            }
        }
        let mut herd = Self {
            members: Vec::with_capacity(count),
            waiting,
            indexes,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            parser: Parser::new(false),
            buffer: vec![0; 64 * 1024],
        };
        for index in 0..count {
            let stream = connect(address, index).with_context(|| format!("connection {index}"))?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET | epoll::EventFlags::RDHUP;
            epoll::add(&herd.epoll, &stream, epoll::EventData::new_u64(index as u64), flags)?;
            herd.members.push(Member { stream, arrived: None });
            herd.ask(index)?;
        }
        // A watch is confirmed, and HTTP/2 settings are exchanged; a blocked query says nothing.
        if matches!(herd.waiting, Waiting::Watches(_)) {
            let deadline = Instant::now() + Duration::from_secs(30);
            herd.collect(count, deadline)?;
            for index in 0..count {
                herd.read_watch(index).context("a watch was not confirmed")?;
            }
            herd.collect(0, Instant::now() + QUIET)?;
        }
        herd.forget();
        Ok(herd)
    }

    /// How many connections it has.
    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }

    /// Makes one change and waits until every connection has heard of it, then reads the answers and waits again.
    ///
    /// # Errors
    /// The change fails, or an answer is not one.
    pub(crate) fn wave(
        &mut self,
        address: SocketAddr,
        change: &[u8],
        patience: Duration,
    ) -> anyhow::Result<Wave> {
        self.forget();
        let mut writer = TcpStream::connect(address)?;
        writer.set_nodelay(true)?;
        writer.set_read_timeout(Some(Duration::from_secs(30)))?;
        let fired = Instant::now();
        send(&mut writer, change)?;
        self.collect(self.members.len(), fired + patience)?;
        let mut latency = Samples::default();
        let mut missing = 0;
        for member in &self.members {
            match member.arrived {
                Some(arrived) => latency.add(arrived - fired),
                None => missing += 1,
            }
        }
        let length = writer.read(&mut self.buffer)?;
        ensure!(length > 0, "the change was not answered");
        self.settle()?;
        Ok(Wave { latency, missing })
    }

    /// How many connections hear something during `time`.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn listen(&mut self, time: Duration) -> anyhow::Result<usize> {
        self.collect(usize::MAX, Instant::now() + time)?;
        Ok(self.members.iter().filter(|member| member.arrived.is_some()).count())
    }

    /// Nothing has been heard so far.
    pub(crate) fn forget(&mut self) {
        for member in &mut self.members {
            member.arrived = None;
        }
    }

    /// Notes arrivals until `enough` connections have heard something and it is quiet, or until the deadline.
    fn collect(&mut self, enough: usize, deadline: Instant) -> anyhow::Result<()> {
        let mut events = Vec::with_capacity(4096);
        let mut heard = 0;
        let mut last = Instant::now();
        loop {
            events.clear();
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&at_once))?;
            let now = Instant::now();
            for event in &events {
                let index = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                if let Some(member) = self.members.get_mut(index) {
                    heard += usize::from(member.arrived.is_none());
                    member.arrived = Some(now);
                    last = now;
                }
            }
            if now >= deadline || (heard >= enough && now - last >= QUIET) {
                return Ok(());
            }
            if events.len() < events.capacity() {
                pause(TICK);
            }
        }
    }

    /// Reads what came and leaves each connection waiting again.
    fn settle(&mut self) -> anyhow::Result<()> {
        for index in 0..self.members.len() {
            if self.members[index].arrived.is_none() {
                continue;
            }
            match &self.waiting {
                Waiting::Watches(_) => {
                    let messages = self.read_watch(index)?;
                    ensure!(messages > 0, "a watch heard something, but no event");
                }
                Waiting::Queries(paths) => {
                    let path = index % paths.len();
                    self.indexes[path] = self.read_answer(index)?;
                    self.ask(index)?;
                }
            }
        }
        Ok(())
    }

    fn ask(&mut self, index: usize) -> anyhow::Result<()> {
        let request = match &self.waiting {
            Waiting::Queries(paths) => {
                let which = index % paths.len();
                let path = format!("{}&wait=10m&index={}", paths[which], self.indexes[which]);
                http::request("GET", &path, b"")
            }
            Waiting::Watches(key) => [grpc::preface(), grpc::watch(key)].concat(),
        };
        send(&mut self.members[index].stream, &request)
    }

    /// Reads one whole answer, waiting for its rest; returns its index.
    fn read_answer(&mut self, index: usize) -> anyhow::Result<u64> {
        self.parser = Parser::new(false);
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let Some(length) = read(&mut self.members[index].stream, &mut self.buffer)? else {
                ensure!(Instant::now() < deadline, "an answer stays incomplete");
                pause(TICK);
                continue;
            };
            if self.parser.feed(&self.buffer[..length])?.is_some() {
                ensure!(
                    self.parser.status == 200,
                    "a blocked query got status {}",
                    self.parser.status
                );
                return Ok(self.parser.index);
            }
        }
    }

    /// Reads what is there of a watch, and answers what HTTP/2 wants answered; returns the number of messages.
    fn read_watch(&mut self, index: usize) -> anyhow::Result<usize> {
        let (mut frames, mut out, mut messages) = (grpc::Frames::default(), Vec::new(), 0);
        let stream = &mut self.members[index].stream;
        while let Some(length) = read(stream, &mut self.buffer)? {
            messages += frames.feed(&self.buffer[..length], &mut out)?.messages;
        }
        send(stream, &out)?;
        Ok(messages)
    }
}

/// Reads once; `None` if there is nothing now.
fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<Option<usize>> {
    match stream.read(buffer) {
        Ok(0) => bail!("the server closed a waiting connection"),
        Ok(length) => Ok(Some(length)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error).context("reading"),
    }
}

/// Connects from one of several local addresses: between two addresses there are only some ten thousand ports.
fn connect(address: SocketAddr, index: usize) -> anyhow::Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    let source = index / PER_SOURCE;
    if source > 0 {
        let last = u8::try_from(source + 1).context("too many connections")?;
        let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0);
        socket.bind(&local.into())?;
    }
    socket.connect(&address.into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
