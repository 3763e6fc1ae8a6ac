//! Many nodes in one thread under a seed: packets and streams take their time, get lost, and do
//! not cross what is cut. Each node has a snapshot's file, and with keys a keyring's.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use gossip::memberlist::{self, ExchangeId};
use gossip::serf::{
    Action, Event, Level, OperationId, Options, Outcome, Query, Report, Seed, Serf, Snapshot,
    SnapshotWrite, read_keyring_file,
};
use gossip::wire::{Key, Keyring, Progress, StreamMessage, StreamReader};
use types::member::MemberStatus;

pub(crate) struct Network {
    pub(crate) now: Instant,
    pub(crate) hosts: BTreeMap<u8, Host>,
    /// The share of packets that is lost, of 1.
    pub(crate) loss: f64,
    /// Pairs that do not reach each other.
    pub(crate) cuts: BTreeSet<(u8, u8)>,
    /// Changes the options of nodes that start.
    pub(crate) adjust: fn(u8, &mut Options),
    rng: Rng,
    queue: BinaryHeap<Reverse<(Instant, u64, Arrival)>>,
    sequence: u64,
}

pub(crate) struct Host {
    /// `None` while it is down.
    pub(crate) serf: Option<Serf>,
    pub(crate) events: Vec<Event>,
    pub(crate) outcomes: Vec<(OperationId, Outcome)>,
    pub(crate) reports: Vec<String>,
    /// The last query that it heard.
    pub(crate) asked: Option<Query>,
    /// Whether the machine gave up.
    pub(crate) gave_up: bool,
    pub(crate) snapshot: String,
    pub(crate) keyring: Option<String>,
    /// Whether the disk is full.
    pub(crate) disk_full: bool,
    pub(crate) sent: u64,
    life: u32,
    wakes: Option<Instant>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Arrival {
    Packet { to: u8, from: u8, bytes: Bytes },
    Request { to: u8, from: u8, life: u32, id: ExchangeId, bytes: Bytes, answered: bool },
    Answer { to: u8, life: u32, id: ExchangeId, answer: Result<Option<Bytes>, String> },
    Wake { host: u8, life: u32 },
}

pub(crate) fn addr(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 8301))
}

fn host_of(addr: SocketAddr) -> u8 {
    match addr.ip() {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(_) => 0,
    }
}

pub(crate) fn name(host: u8) -> String {
    format!("n{host}")
}

impl Network {
    /// Nobody, so far.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: crate::start(),
            hosts: BTreeMap::new(),
            loss: 0.0,
            cuts: BTreeSet::new(),
            adjust: |_, _| {},
            rng: Rng::with_seed(seed),
            queue: BinaryHeap::new(),
            sequence: 0,
        }
    }

    /// Nodes 1 to `count` of one pool that has settled.
    pub(crate) fn joined(count: u8, seed: u64) -> Self {
        Self::joined_with(count, seed, |_, _| {})
    }

    pub(crate) fn joined_with(count: u8, seed: u64, adjust: fn(u8, &mut Options)) -> Self {
        let mut network = Self::new(seed);
        network.adjust = adjust;
        (1..=count).for_each(|host| network.start(host));
        for host in 2..=count {
            network.join(host, 1);
        }
        network.run(10_000);
        // News may miss a node; then it comes with the next exchange of all.
        network.until(120_000, |network| (1..=count).all(|host| network.all_see(host, "alive")));
        network.hosts.values_mut().for_each(Host::forget);
        network
    }

    /// Starts a node with what it kept of an earlier life.
    pub(crate) fn start(&mut self, host: u8) {
        let list = memberlist::Options::new(&name(host), addr(host), self.rng.u64(..));
        let mut options = Options::new(list, self.rng.u64(..));
        options.memberlist.compress = false;
        (self.adjust)(host, &mut options);
        let before = self.hosts.remove(&host);
        let (life, file, keyring) = before.map_or_else(Default::default, |before| {
            (before.life + 1, before.snapshot, before.keyring)
        });
        let (snapshot, unread) = Snapshot::read(file.as_bytes(), false);
        assert_eq!(unread.count, 0, "{file}");
        options.snapshot = Some(snapshot);
        if let Some(file) = &keyring {
            options.security.keyring = Some(read_keyring_file(file.as_bytes()).unwrap());
        }
        let serf = Serf::new(options, self.now).expect("the tags are short");
        let new = Host {
            serf: Some(serf),
            events: Vec::new(),
            outcomes: Vec::new(),
            reports: Vec::new(),
            asked: None,
            gave_up: false,
            snapshot: file,
            keyring,
            disk_full: false,
            sent: 0,
            life,
            wakes: None,
        };
        self.hosts.insert(host, new);
        self.settle(host);
    }

    pub(crate) fn crash(&mut self, host: u8) {
        if let Some(host) = self.hosts.get_mut(&host) {
            host.serf = None;
            host.life += 1;
        }
    }

    pub(crate) fn join(&mut self, host: u8, to: u8) -> OperationId {
        let seed = Seed { address: addr(to), name: None };
        self.with(host, |serf, now| serf.join(vec![seed], true, now)).expect("it has not left")
    }

    /// An input to a node.
    pub(crate) fn with<T>(&mut self, host: u8, input: impl FnOnce(&mut Serf, Instant) -> T) -> T {
        let now = self.now;
        let at = self.hosts.get_mut(&host).expect("there is such a host");
        let result = input(at.serf.as_mut().expect("the host is up"), now);
        self.settle(host);
        result
    }

    pub(crate) fn run(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        while let Some(Reverse((at, ..))) = self.queue.peek()
            && *at <= until
        {
            let Some(Reverse((at, _, arrival))) = self.queue.pop() else { break };
            self.now = self.now.max(at);
            self.arrive(arrival);
        }
        self.now = until;
    }

    /// Runs until `done`, which must not take longer than this.
    pub(crate) fn until(&mut self, millis: u64, done: impl Fn(&Self) -> bool) {
        let deadline = self.now + Duration::from_millis(millis);
        while !done(self) {
            assert!(self.now < deadline, "not within {millis} ms; {}", self.shown());
            self.run(50);
        }
    }

    fn up(&mut self, host: u8, life: Option<u32>) -> Option<&mut Serf> {
        let host = self.hosts.get_mut(&host)?;
        host.serf.as_mut().filter(|_| life.is_none_or(|life| life == host.life))
    }

    fn arrive(&mut self, arrival: Arrival) {
        let now = self.now;
        match arrival {
            Arrival::Packet { to, from, bytes } => {
                let Some(serf) = self.up(to, None) else { return };
                // What cannot be opened is lost.
                if let Ok(plain) = serf.security().open_packet(&bytes) {
                    let plain = plain.into_owned();
                    serf.handle_packet(addr(from), &plain, now);
                    self.settle(to);
                }
            }
            Arrival::Request { to, from, life, id, bytes, answered } => {
                let answer = match self.up(to, None) {
                    None => Err("connection refused".to_owned()),
                    Some(serf) => match read(serf, &bytes) {
                        Err(error) => Err(format!("remote error: {error}")),
                        Ok(message) => {
                            let answer = serf.handle_stream_request(addr(from), message, now);
                            let sealed = answer.map(|answer| seal_stream(serf, &answer));
                            self.settle(to);
                            match sealed {
                                None if answered => Err("EOF".to_owned()),
                                sealed => Ok(sealed),
                            }
                        }
                    },
                };
                let at = now + self.takes();
                self.add(at, Arrival::Answer { to: from, life, id, answer });
            }
            Arrival::Answer { to, life, id, answer } => {
                let Some(serf) = self.up(to, Some(life)) else { return };
                let answer =
                    answer.and_then(|bytes| bytes.map(|bytes| read(serf, &bytes)).transpose());
                serf.handle_stream_answer(id, answer, now);
                self.settle(to);
            }
            Arrival::Wake { host, life } => {
                let Some(serf) = self.up(host, Some(life)) else { return };
                serf.handle_timeout(now);
                self.hosts.get_mut(&host).unwrap().wakes = None;
                self.settle(host);
            }
        }
    }

    /// Takes a node's actions, and sees to it that it is woken.
    fn settle(&mut self, from: u8) {
        while let Some(action) = self.up(from, None).and_then(Serf::poll_action) {
            let host = self.hosts.get_mut(&from).unwrap();
            let serf = host.serf.as_mut().unwrap();
            match action {
                Action::Packet { to, plain } => {
                    let sealed = serf.security().seal_packet(nonce(&mut self.rng), &plain);
                    let bytes = Bytes::from(sealed.into_owned());
                    host.sent += 1;
                    let to = host_of(to);
                    if !self.cuts.contains(&(from, to)) && self.rng.f64() >= self.loss {
                        let at = self.now + self.takes();
                        self.add(at, Arrival::Packet { to, from, bytes });
                    }
                }
                Action::Exchange { id, to, message, answered, deadline } => {
                    let (to, life) = (host_of(to), host.life);
                    let bytes = seal_stream(serf, &message);
                    if self.cuts.contains(&(from, to)) {
                        let answer = Err("i/o timeout".to_owned());
                        self.add(deadline, Arrival::Answer { to: from, life, id, answer });
                    } else {
                        let at = self.now + self.takes();
                        self.add(at, Arrival::Request { to, from, life, id, bytes, answered });
                    }
                }
                Action::Event(event) => {
                    if let Event::Query(query) = &event {
                        host.asked = Some(query.clone());
                    }
                    host.events.push(event);
                }
                Action::Completed(id, outcome) => host.outcomes.push((id, outcome)),
                Action::Snapshot(SnapshotWrite::Replace(file)) => host.snapshot = file,
                Action::Snapshot(
                    SnapshotWrite::Append(lines) | SnapshotWrite::AppendAndSync(lines),
                ) => host.snapshot.push_str(&lines),
                Action::PersistKeyring(change, file) => {
                    let full = host.disk_full.then(|| "no space left on device".to_owned());
                    if full.is_none() {
                        host.keyring = Some(file.0);
                    }
                    let written = full.map_or(Ok(()), Err);
                    serf.handle_persisted(change, written, self.now);
                }
                // What the machine underneath complains of is its own matter.
                Action::Report(Report::Memberlist(_)) => {}
                Action::Report(report) => {
                    if report.level() >= Level::Warn {
                        host.reports.push(report.to_string());
                    }
                }
                Action::Measure(_) => {}
                Action::Shutdown => host.gave_up = true,
            }
        }
        let Some(host) = self.hosts.get_mut(&from).filter(|host| host.serf.is_some()) else {
            return;
        };
        let wakes = host.serf.as_ref().and_then(Serf::next_timeout);
        if let Some(at) = wakes
            && host.wakes.is_none_or(|before| at < before)
        {
            host.wakes = wakes;
            let life = host.life;
            self.add(at.max(self.now), Arrival::Wake { host: from, life });
        }
    }

    fn takes(&mut self) -> Duration {
        Duration::from_micros(self.rng.u64(1_000..20_000))
    }

    fn add(&mut self, at: Instant, arrival: Arrival) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, arrival)));
    }

    /// How `host` sees `other`; `none` if it does not know it.
    pub(crate) fn status(&self, host: u8, other: u8) -> &'static str {
        let serf = self.hosts[&host].serf.as_ref().expect("the host is up");
        let other = name(other);
        let status = serf.members().find(|member| member.name == other);
        status.map_or(MemberStatus::NONE, |member| member.status).as_str()
    }

    /// Whether all that are up see `other` so.
    pub(crate) fn all_see(&self, other: u8, status: &str) -> bool {
        let mut up = self.hosts.iter().filter(|(_, host)| host.serf.is_some());
        up.all(|(host, _)| self.status(*host, other) == status)
    }

    /// Every node that is up, and how it sees the others.
    pub(crate) fn shown(&self) -> String {
        let mut text = String::new();
        for (number, host) in &self.hosts {
            let Some(serf) = &host.serf else { continue };
            let members: Vec<String> = serf
                .members()
                .map(|member| format!("{}={}", member.name, member.status.as_str()))
                .collect();
            text.push_str(&format!("{}: {}\n", name(*number), members.join(" ")));
        }
        text
    }

    /// Everything that anybody was told, for a comparison of two runs.
    pub(crate) fn trace(&self) -> String {
        let hosts = self.hosts.iter().map(|(number, host)| {
            format!(
                "{} {:?} {:?} {:?} {}\n{}",
                name(*number),
                host.events,
                host.outcomes.iter().map(|(_, outcome)| outcome).collect::<Vec<_>>(),
                host.reports,
                host.sent,
                host.snapshot
            )
        });
        hosts.collect()
    }
}

impl Host {
    /// Forgets what happened so far.
    pub(crate) fn forget(&mut self) {
        self.events.clear();
        self.outcomes.clear();
        self.reports.clear();
    }

    pub(crate) fn outcome(&self, id: OperationId) -> Option<&Outcome> {
        self.outcomes.iter().find(|(of, _)| *of == id).map(|(_, outcome)| outcome)
    }

    /// The payloads of the user events of one name.
    pub(crate) fn heard(&self, name: &str) -> Vec<String> {
        let users = self.events.iter().filter_map(|event| match event {
            Event::User(user) if user.name == name => Some(user),
            _ => None,
        });
        users.map(|user| String::from_utf8_lossy(&user.payload).into_owned()).collect()
    }
}

/// A key whose bytes are all the same.
pub(crate) fn key(byte: u8) -> Key {
    Key::new(&[byte; 16]).unwrap()
}

/// Options of a pool with a key, which is kept.
pub(crate) fn encrypted(_: u8, options: &mut Options) {
    options.security.keyring = Some(Keyring::new(key(1)));
    options.persist_keyring = true;
}

fn nonce(rng: &mut Rng) -> [u8; 12] {
    std::array::from_fn(|_| rng.u8(..))
}

fn seal_stream(serf: &Serf, plain: &[u8]) -> Bytes {
    Bytes::from(serf.security().seal_stream([7; 12], plain).into_owned())
}

fn read(serf: &Serf, bytes: &[u8]) -> Result<StreamMessage, String> {
    let mut reader = StreamReader::new();
    reader.buffer().extend(bytes);
    match reader.next(serf.security()) {
        Ok(Progress::Message(message)) => Ok(message),
        Ok(Progress::More(missing)) => Err(format!("{missing} bytes are missing")),
        Err(error) => Err(error.to_string()),
    }
}
