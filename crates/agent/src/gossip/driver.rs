//! The task that owns a pool's machine: whatever happens goes into it, whatever it wants is
//! done.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gossip::consul::Tags;
use gossip::memberlist::{Counts, ExchangeId};
use gossip::serf::{
    Action, Event, HasLeft, Joined, KeyAnswers, KeyOperation, Level, NotBroadcast, OperationId,
    Outcome, QueryTooLarge, Seed, Serf, SnapshotWrite, Stats, TagsTooLong, UserEventError,
};
use gossip::wire::StreamMessage;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use types::coordinate::Coordinate;
use types::member::Member;

use super::error::StartError;
use super::files::Files;
use super::options::PoolOptions;
use super::stream::{Accepted, Exchange};
use super::telemetry::{Complaints, Telemetry};
use super::{nonce, now};

/// Streams from others at a time. More are closed without an answer, as by memberlist.
const ACCEPTED_MAX: usize = 128;
/// What streams brought and the task has not looked at.
const STREAM_EVENTS_MAX: usize = 128;
/// Packets that are taken in before anything else gets its turn.
const PACKETS_AT_ONCE: usize = 64;
/// The largest packet there is.
const PACKET_BYTES_MAX: usize = 65_536;
/// What the system is asked to hold of packets that come while others are worked on.
const RECEIVE_BUFFER_BYTES: usize = 2 << 20;
/// Tries to find a port that is free for packets and for streams.
const BIND_TRIES: usize = 16;
/// How long it takes at least, for each member, until the list of members is shown again: to
/// copy it costs more the longer it is.
const SHOW_INTERVAL_PER_MEMBER: Duration = Duration::from_micros(20);
/// Between tries to write a snapshot anew that could not be appended to.
const HEAL_INTERVAL: Duration = Duration::from_secs(30);

/// How long a member may take to answer a ping that is to show how far it is.
const MEASURE_TIMEOUT: Duration = Duration::from_secs(3);

/// An order, and where its answer goes.
#[derive(Debug)]
pub(super) enum Command {
    Join(Vec<Seed>, oneshot::Sender<Result<Joined, HasLeft>>),
    Leave(oneshot::Sender<()>),
    ForceLeave {
        name: String,
        prune: bool,
        reply: oneshot::Sender<Result<(), NotBroadcast>>,
    },
    UserEvent {
        name: String,
        payload: Bytes,
        coalesce: bool,
        reply: oneshot::Sender<Result<(), UserEventError>>,
    },
    Keys {
        operation: KeyOperation,
        relay_factor: u8,
        reply: oneshot::Sender<Result<KeyAnswers, QueryTooLarge>>,
    },
    SetTags(Tags, oneshot::Sender<Result<(), TagsTooLong>>),
    Measure(Vec<String>, oneshot::Sender<()>),
    Coordinate(oneshot::Sender<Coordinate>),
    Coordinates(oneshot::Sender<BTreeMap<String, Coordinate>>),
    Stats(oneshot::Sender<Stats>),
    Shutdown(oneshot::Sender<()>),
}

/// What a stream brought.
#[derive(Debug)]
pub(super) enum StreamEvent {
    /// Somebody wants an answer.
    Request { from: SocketAddr, message: StreamMessage, reply: oneshot::Sender<Option<Bytes>> },
    /// The answer to an exchange.
    Answer { id: ExchangeId, answer: Result<Option<StreamMessage>, String> },
}

/// Who waits for an operation.
#[derive(Debug)]
enum Waiter {
    Join(oneshot::Sender<Result<Joined, HasLeft>>),
    Leave(oneshot::Sender<()>),
    ForceLeave(oneshot::Sender<Result<(), NotBroadcast>>),
    Keys(oneshot::Sender<Result<KeyAnswers, QueryTooLarge>>),
}

/// Whether there is anything to go on for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    On,
    End,
}

/// Where a pool is reached.
#[derive(Debug)]
pub(super) struct Sockets {
    udp: UdpSocket,
    udp_now: std::net::UdpSocket,
    listener: TcpListener,
}

/// See the module.
pub(super) struct Driver {
    serf: Serf,
    udp: UdpSocket,
    /// The same socket, without asking the runtime first whether there is something to read.
    udp_now: std::net::UdpSocket,
    listener: TcpListener,
    files: Option<Files>,
    healed_at: Option<Instant>,
    allowed_networks: Vec<IpNet>,
    stream_timeout: Duration,
    telemetry: Telemetry,
    complaints: Complaints,
    /// What was told of the counts of the machine.
    counted: Counts,
    streams: JoinSet<()>,
    accepting: Arc<Semaphore>,
    stream_events: (mpsc::Sender<StreamEvent>, mpsc::Receiver<StreamEvent>),
    waiting: BTreeMap<OperationId, Waiter>,
    /// Which change of the members was shown last, and when the next may be.
    shown: u64,
    show_at: Instant,
}

/// Sockets for packets and streams on one port, and its address.
pub(super) fn bind(options: &PoolOptions) -> Result<(Sockets, SocketAddr), StartError> {
    let failed = |protocol, address| move |source| StartError::Bind { protocol, address, source };
    let mut tries = BIND_TRIES;
    loop {
        tries -= 1;
        let listener = std::net::TcpListener::bind(options.bind);
        let listener = listener.map_err(failed("TCP", options.bind))?;
        let bound = listener.local_addr().map_err(failed("TCP", options.bind))?;
        let udp = match std::net::UdpSocket::bind(bound) {
            // Another program has this port for packets: another one, if any will do.
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && options.bind.port() == 0
                    && tries > 0 =>
            {
                continue;
            }
            udp => udp.map_err(failed("UDP", bound))?,
        };
        // The system gives what it may; less loses packets only under load.
        let _ = socket2::SockRef::from(&udp).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        udp.set_nonblocking(true).map_err(failed("UDP", bound))?;
        listener.set_nonblocking(true).map_err(failed("TCP", bound))?;
        let udp_now = udp.try_clone().map_err(failed("UDP", bound))?;
        let udp = UdpSocket::from_std(udp).map_err(failed("UDP", bound))?;
        let listener = TcpListener::from_std(listener).map_err(failed("TCP", bound))?;
        return Ok((Sockets { udp, udp_now, listener }, bound));
    }
}

impl Driver {
    pub(super) fn new(
        serf: Serf,
        Sockets { udp, udp_now, listener }: Sockets,
        files: Option<Files>,
        options: &PoolOptions,
        telemetry: Telemetry,
    ) -> Self {
        Self {
            serf,
            udp,
            udp_now,
            listener,
            files,
            healed_at: None,
            allowed_networks: options.allowed_networks.clone(),
            stream_timeout: options.timings.stream_timeout,
            telemetry,
            complaints: Complaints::new(),
            counted: Counts::default(),
            streams: JoinSet::new(),
            accepting: Arc::new(Semaphore::new(ACCEPTED_MAX)),
            stream_events: mpsc::channel(STREAM_EVENTS_MAX),
            waiting: BTreeMap::new(),
            shown: 0,
            show_at: Instant::now(),
        }
    }

    /// Goes on until it is told to stop, nobody has a handle any more, or the machine gives up.
    pub(super) async fn run(
        mut self,
        mut orders: mpsc::Receiver<Command>,
        members: watch::Sender<Vec<Member>>,
        events: broadcast::Sender<Event>,
        stop: watch::Sender<bool>,
    ) {
        let mut packet = vec![0; PACKET_BYTES_MAX];
        let mut course = self.act(&events).await;
        let mut stopper = None;
        while course == Course::On {
            self.show(&members);
            let wake_at = self.wake_at();
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    None => course = Course::End,
                    Some(Command::Shutdown(reply)) => {
                        stopper = Some(reply);
                        course = Course::End;
                    }
                    Some(command) => self.obey(command),
                },
                () = sleep_until(wake_at) => {
                    self.receive_waiting(&mut packet);
                    self.handle_timeout();
                }
                Some(event) = self.stream_events.1.recv() => self.take_in(event),
                Some(_) = self.streams.join_next() => {}
                accepted = self.listener.accept() => self.accept(accepted),
                received = self.udp.recv_from(&mut packet) => self.receive(received, &mut packet),
            }
            if course == Course::On {
                course = self.act(&events).await;
            }
        }
        self.serf.shutdown();
        self.act(&events).await;
        self.streams.shutdown().await;
        // The address is free before anybody hears of the end.
        drop(self);
        // Whoever listens has a handle or is gone.
        let _ = stop.send(true);
        if let Some(stopper) = stopper {
            tell(stopper, ());
        }
    }

    fn wake_at(&self) -> Instant {
        let machine = self.serf.next_timeout().map(Instant::from_std);
        let show = (self.serf.members_changes() != self.shown).then_some(self.show_at);
        let far = || Instant::now() + Duration::from_secs(3600);
        machine.into_iter().chain(show).min().unwrap_or_else(far)
    }

    fn handle_timeout(&mut self) {
        let now = now();
        if self.serf.next_timeout().is_some_and(|at| at <= now) {
            self.serf.handle_timeout(now);
        }
    }

    /// Shows the members to all who look, unless nothing changed or it is too soon.
    fn show(&mut self, members: &watch::Sender<Vec<Member>>) {
        let changes = self.serf.members_changes();
        if changes == self.shown || Instant::now() < self.show_at {
            return;
        }
        let all: Vec<Member> = self.serf.members().cloned().collect();
        self.telemetry.members(&all);
        self.shown = changes;
        self.show_at = Instant::now() + SHOW_INTERVAL_PER_MEMBER * all.len() as u32;
        members.send_replace(all);
    }

    fn obey(&mut self, command: Command) {
        let now = now();
        match command {
            Command::Join(seeds, reply) => match self.serf.join(seeds, true, now) {
                Ok(id) => self.wait(id, Waiter::Join(reply)),
                Err(error) => tell(reply, Err(error)),
            },
            Command::Leave(reply) => {
                let id = self.serf.leave(now);
                self.wait(id, Waiter::Leave(reply));
            }
            Command::ForceLeave { name, prune, reply } => {
                let id = self.serf.force_leave(&name, prune, now);
                self.wait(id, Waiter::ForceLeave(reply));
            }
            Command::UserEvent { name, payload, coalesce, reply } => {
                tell(reply, self.serf.user_event(&name, payload, coalesce, now));
            }
            Command::Keys { operation, relay_factor, reply } => {
                match self.serf.operate_keys(&operation, relay_factor, now) {
                    Ok(id) => self.wait(id, Waiter::Keys(reply)),
                    Err(error) => tell(reply, Err(error)),
                }
            }
            Command::SetTags(tags, reply) => tell(reply, self.serf.set_tags(tags, now)),
            Command::Measure(names, reply) => {
                names.iter().for_each(|name| self.serf.measure(name, MEASURE_TIMEOUT, now));
                tell(reply, ());
            }
            Command::Coordinate(reply) => tell(reply, self.serf.coordinate().clone()),
            Command::Coordinates(reply) => tell(reply, self.serf.coordinates().clone()),
            Command::Stats(reply) => tell(reply, self.serf.stats()),
            Command::Shutdown(reply) => drop(reply),
        }
    }

    fn wait(&mut self, id: OperationId, waiter: Waiter) {
        self.waiting.insert(id, waiter);
    }

    fn completed(&mut self, id: OperationId, outcome: Outcome) {
        let Some(waiter) = self.waiting.remove(&id) else { return };
        match (waiter, outcome) {
            (Waiter::Join(reply), Outcome::Joined(joined)) => tell(reply, Ok(joined)),
            (Waiter::Leave(reply), Outcome::Left) => tell(reply, ()),
            (Waiter::ForceLeave(reply), Outcome::ForcedLeave(result)) => {
                tell(reply, result);
            }
            (Waiter::Keys(reply), Outcome::Keys(answers)) => tell(reply, Ok(answers)),
            // An answer of another kind is not the end.
            (waiter, _) => self.wait(id, waiter),
        }
    }

    fn take_in(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Request { from, message, reply } => {
                tell(reply, self.serf.handle_stream_request(from, message, now()));
            }
            StreamEvent::Answer { id, answer } => {
                self.serf.handle_stream_answer(id, answer, now());
            }
        }
    }

    fn is_allowed(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.allowed_networks.is_empty()
            || self.allowed_networks.iter().any(|net| net.contains(&ip))
    }

    fn accept(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                let text = format!("Error accepting TCP connection: {error}");
                return self.telemetry.log_network(Level::Error, &text);
            }
        };
        self.telemetry.stream_accepted();
        self.telemetry.log_network(Level::Debug, &format!("Stream connection from={from}"));
        if !self.is_allowed(from.ip()) {
            return self.complain(|| {
                format!("Refusing connection from={from}: not in an allowed network")
            });
        }
        let Ok(permit) = Arc::clone(&self.accepting).try_acquire_owned() else {
            return self
                .complain(|| format!("Too many streams at a time: closing the one from={from}"));
        };
        let accepted = Accepted {
            stream,
            from,
            deadline: Instant::now() + self.stream_timeout,
            security: Arc::new(self.serf.security().clone()),
            telemetry: self.telemetry,
            requests: self.stream_events.0.clone(),
            permit,
        };
        self.streams.spawn(accepted.run());
    }

    /// Takes in a packet, and those that wait behind it.
    fn receive(&mut self, received: io::Result<(usize, SocketAddr)>, packet: &mut [u8]) {
        let mut next = Some(received);
        let mut left = PACKETS_AT_ONCE;
        while let Some(received) = next.take() {
            match received {
                Ok((length, from)) => self.receive_one(from, &packet[..length]),
                Err(error) => {
                    let text = format!("Error reading UDP packet: {error}");
                    self.telemetry.log_network(Level::Error, &text);
                }
            }
            left -= 1;
            if left > 0 {
                next = match self.udp.try_recv_from(packet) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                    received => Some(received),
                };
            }
        }
    }

    /// Takes in packets that came before a timer ends by which they are missed. An agent that did
    /// not get the processor finds both at once; it is not the others who were late.
    fn receive_waiting(&mut self, packet: &mut [u8]) {
        for _ in 0..PACKETS_AT_ONCE {
            match self.udp_now.recv_from(packet) {
                Ok((length, from)) => self.receive_one(from, &packet[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    return self.complain(|| format!("Error reading UDP packet: {error}"));
                }
            }
        }
    }

    fn receive_one(&mut self, from: SocketAddr, packet: &[u8]) {
        self.telemetry.packet_received(packet.len());
        if packet.is_empty() || !self.is_allowed(from.ip()) {
            return;
        }
        match self.serf.security().open_packet(packet) {
            Ok(plain) => {
                let plain = plain.into_owned();
                self.serf.handle_packet(from, &plain, now());
            }
            Err(error) => self.complain(|| format!("Decrypt packet failed: {error} from={from}")),
        }
    }

    /// Does all that the machine wants.
    async fn act(&mut self, events: &broadcast::Sender<Event>) -> Course {
        let mut course = Course::On;
        while let Some(action) = self.serf.poll_action() {
            match action {
                Action::Packet { to, plain } => self.send(to, &plain).await,
                Action::Exchange { id, to, message, answered, deadline } => {
                    let exchange = Exchange {
                        to,
                        message,
                        answered,
                        deadline: Instant::from_std(deadline),
                        security: Arc::new(self.serf.security().clone()),
                        telemetry: self.telemetry,
                    };
                    self.exchange(id, exchange);
                }
                Action::Event(event) => {
                    self.telemetry.event(&event);
                    // Nobody need listen.
                    let _ = events.send(event);
                }
                Action::Completed(id, outcome) => self.completed(id, outcome),
                Action::Snapshot(write) => self.write_snapshot(write).await,
                Action::PersistKeyring(change, file) => {
                    let written = match self.files.take() {
                        None => Err("no keyring is kept".to_owned()),
                        Some(files) => {
                            let (files, written) =
                                blocking(files, move |files| files.write_keyring(&file)).await;
                            self.files = files;
                            written.map_err(|error| error.to_string())
                        }
                    };
                    self.serf.handle_persisted(change, written, now());
                }
                Action::Report(report) if report.level() >= Level::Warn => {
                    self.complaints.say(self.telemetry, |telemetry| telemetry.report(&report));
                }
                Action::Report(report) => self.telemetry.report(&report),
                Action::Measure(measure) => self.telemetry.measure(&measure),
                Action::Shutdown => course = Course::End,
            }
        }
        let counts = self.serf.counts();
        if counts != self.counted {
            self.telemetry.counts(&self.counted, &counts);
            self.counted = counts;
        }
        self.telemetry.health(self.serf.health_score());
        course
    }

    fn complain(&mut self, text: impl FnOnce() -> String) {
        self.complaints.say(self.telemetry, |telemetry| {
            telemetry.log_network(Level::Error, &text());
        });
    }

    async fn send(&mut self, to: SocketAddr, plain: &[u8]) {
        let sealed = self.serf.security().seal_packet(nonce(), plain);
        match self.udp.send_to(&sealed, to).await {
            Ok(sent) => self.telemetry.packet_sent(sent),
            Err(error) => {
                let text = format!("Failed to send to {to}: {error}");
                self.telemetry.log_network(Level::Error, &text);
            }
        }
    }

    fn exchange(&mut self, id: ExchangeId, exchange: Exchange) {
        let answers = self.stream_events.0.clone();
        self.streams.spawn(async move {
            let answer = exchange.run().await;
            // A pool that has stopped wants no answer.
            let _ = answers.send(StreamEvent::Answer { id, answer }).await;
        });
    }

    async fn write_snapshot(&mut self, write: SnapshotWrite) {
        let Err(error) = self.try_write(write).await else { return };
        self.telemetry.log(Level::Error, &format!("Failed to update snapshot: {error}"));
        let now = Instant::now();
        if self.healed_at.is_some_and(|at| now - at < HEAL_INTERVAL) {
            return;
        }
        self.healed_at = Some(now);
        let Some(file) = self.serf.rewrite_snapshot() else { return };
        let text = match self.try_write(SnapshotWrite::Replace(file)).await {
            Ok(()) => "The snapshot was written anew, and is whole again".to_owned(),
            Err(error) => format!(
                "The snapshot cannot be written anew either, next try in {HEAL_INTERVAL:?}: {error}"
            ),
        };
        self.telemetry.log(Level::Warn, &text);
    }

    async fn try_write(&mut self, write: SnapshotWrite) -> io::Result<()> {
        let Some(mut files) = self.files.take() else { return Ok(()) };
        let (started, anew) = (Instant::now(), matches!(write, SnapshotWrite::Replace(_)));
        let (files, written) = match write {
            // A few lines into the system's memory.
            SnapshotWrite::Append(_) => {
                let written = files.write_snapshot(&write);
                (Some(files), written)
            }
            write => blocking(files, move |files| files.write_snapshot(&write)).await,
        };
        self.files = files;
        self.telemetry.snapshot_written(anew, started.elapsed());
        written
    }
}

/// Answers somebody, who may have gone away meanwhile.
fn tell<T>(reply: oneshot::Sender<T>, answer: T) {
    let _ = reply.send(answer);
}

/// Does what waits for a disk where that holds up nobody else.
async fn blocking(
    mut files: Files,
    work: impl FnOnce(&mut Files) -> io::Result<()> + Send + 'static,
) -> (Option<Files>, io::Result<()>) {
    let done = tokio::task::spawn_blocking(move || {
        let result = work(&mut files);
        (files, result)
    });
    match done.await {
        Ok((files, result)) => (Some(files), result),
        Err(error) => (None, Err(io::Error::other(error))),
    }
}
