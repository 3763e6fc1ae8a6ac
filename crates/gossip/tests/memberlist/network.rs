//! Many machines in one thread under a seed: packets and streams take their time, get lost,
//! overtake each other, and do not cross what is cut.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use gossip::memberlist::{
    Action, Delegate, ExchangeId, Memberlist, Node, NodeState, Options, Timings,
};
use gossip::wire::{Key, Keyring, Progress, Security, StreamMessage, StreamReader};

pub(crate) struct Network {
    pub(crate) now: Instant,
    pub(crate) hosts: BTreeMap<u16, Host>,
    /// The share of packets and streams that is lost, of 1.
    pub(crate) loss: f64,
    /// How long anything takes, in milliseconds.
    pub(crate) delay: std::ops::Range<u64>,
    /// Pairs that do not reach each other.
    pub(crate) cuts: BTreeSet<(u16, u16)>,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Every packet that has arrived, if they are kept.
    pub(crate) kept: Option<Vec<(u16, SocketAddr, Bytes)>>,
    timings: Timings,
    security: Security,
    rng: Rng,
    queue: BinaryHeap<Reverse<(Instant, u64, Arrival)>>,
    sequence: u64,
}

pub(crate) struct Host {
    pub(crate) machine: Memberlist,
    pub(crate) heard: Heard,
    /// What the machine has told about joins and broadcasts.
    pub(crate) told: Vec<Action>,
    /// Counts restarts: what is for a former life is lost.
    life: u32,
    wakes: Option<Instant>,
}

/// What a delegate hears.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) events: Vec<String>,
    pub(crate) users: Vec<Bytes>,
    pub(crate) to_say: Vec<Bytes>,
    pub(crate) rtts: Vec<Duration>,
}

impl Delegate for Heard {
    fn handle_user(&mut self, _from: SocketAddr, message: &[u8]) {
        self.users.push(Bytes::copy_from_slice(message));
    }

    fn broadcasts(&mut self, overhead: usize, limit: usize) -> Vec<Bytes> {
        let mut room = limit;
        let mut fits = |message: &Bytes| {
            let left = room.checked_sub(overhead + message.len());
            room = left.unwrap_or(room);
            left.is_some()
        };
        self.to_say.extract_if(.., |message| fits(message)).collect()
    }

    fn joined(&mut self, node: &Node) {
        self.events.push(format!("joined {}", node.name));
    }

    fn left(&mut self, node: &Node) {
        let how = if node.state == NodeState::Left { "left" } else { "failed" };
        self.events.push(format!("{how} {}", node.name));
    }

    fn updated(&mut self, node: &Node) {
        self.events.push(format!("updated {}", node.name));
    }

    fn conflict(&mut self, existing: &Node, other: &Node) {
        self.events.push(format!("conflict {} {} {}", existing.name, existing.addr, other.addr));
    }

    fn ping_complete(&mut self, _node: &Node, rtt: Duration, _payload: &[u8]) {
        self.rtts.push(rtt);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Arrival {
    Packet { to: u16, from: u16, bytes: Bytes },
    Request { to: u16, from: u16, life: u32, id: ExchangeId, bytes: Bytes, answered: bool },
    Answer { to: u16, life: u32, id: ExchangeId, answer: Result<Option<Bytes>, String> },
    Wake { host: u16, life: u32 },
}

pub(crate) fn addr(host: u16) -> SocketAddr {
    let [high, low] = host.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 8301))
}

fn host_of(addr: SocketAddr) -> u16 {
    match addr.ip() {
        std::net::IpAddr::V4(ip) => u16::from_be_bytes([ip.octets()[2], ip.octets()[3]]),
        std::net::IpAddr::V6(_) => 0,
    }
}

pub(crate) fn name(host: u16) -> String {
    format!("n{host}")
}

impl Network {
    /// Machines 1 to `count`, which know only themselves.
    pub(crate) fn new(count: u16, timings: Timings, seed: u64) -> Self {
        let key = Key::new(&[7; 24]).unwrap();
        let now = crate::start();
        let mut network = Self {
            now,
            hosts: BTreeMap::new(),
            loss: 0.0,
            delay: 1..40,
            cuts: BTreeSet::new(),
            packets: 0,
            bytes: 0,
            kept: None,
            timings,
            security: Security { keyring: Some(Keyring::new(key)), ..Security::default() },
            rng: Rng::with_seed(seed),
            queue: BinaryHeap::new(),
            sequence: 0,
        };
        (1..=count).for_each(|host| network.start(host));
        network
    }

    /// Machines 1 to `count` of one pool, after a minute.
    pub(crate) fn joined(count: u16, timings: Timings, seed: u64) -> Self {
        let mut network = Self::new(count, timings, seed);
        (2..=count).for_each(|host| network.join(host, 1));
        network.run(60_000);
        network
    }

    pub(crate) fn start(&mut self, host: u16) {
        let mut options = Options::new(&name(host), addr(host), self.rng.u64(..));
        options.timings = self.timings.clone();
        options.packet_overhead = self.security.packet_overhead();
        // Compression is proved elsewhere, and slow in bulk.
        options.compress = host.is_multiple_of(7);
        let mut heard = Heard::default();
        let machine = Memberlist::new(options, self.now, &mut heard);
        let life = self.hosts.get(&host).map_or(0, |host| host.life + 1);
        let new = Host { machine, heard, told: Vec::new(), life, wakes: None };
        self.hosts.insert(host, new);
        self.settle(host);
    }

    pub(crate) fn crash(&mut self, host: u16) {
        self.hosts.remove(&host);
    }

    pub(crate) fn join(&mut self, host: u16, to: u16) {
        self.with(host, |machine, heard, now| {
            machine.join(addr(to), None, now, heard);
        });
    }

    /// No way between any of these hosts and the others.
    pub(crate) fn cut_off(&mut self, hosts: &[u16], all: u16) {
        for &inside in hosts {
            for outside in (1..=all).filter(|host| !hosts.contains(host)) {
                self.cuts.extend([(inside, outside), (outside, inside)]);
            }
        }
    }

    /// An input to a machine.
    pub(crate) fn with<T>(
        &mut self,
        host: u16,
        input: impl FnOnce(&mut Memberlist, &mut Heard, Instant) -> T,
    ) -> T {
        let now = self.now;
        let at = self.hosts.get_mut(&host).expect("the host is up");
        let result = input(&mut at.machine, &mut at.heard, now);
        self.settle(host);
        result
    }

    pub(crate) fn run(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        self.run_while(until, |_| true);
    }

    /// Runs until `done`, and says after how many milliseconds; `None` if that takes too long.
    pub(crate) fn until(&mut self, millis: u64, done: impl Fn(&Self) -> bool) -> Option<u64> {
        let began = self.now;
        while !done(self) {
            if self.now - began >= Duration::from_millis(millis) {
                return None;
            }
            self.run(50);
        }
        Some((self.now - began).as_millis() as u64)
    }

    fn run_while(&mut self, until: Instant, goes_on: impl Fn(&Self) -> bool) {
        while goes_on(self) {
            match self.queue.peek() {
                Some(Reverse((at, _, _))) if *at <= until => {}
                _ => break,
            }
            let Some(Reverse((at, _, arrival))) = self.queue.pop() else { break };
            self.now = self.now.max(at);
            self.arrive(arrival);
        }
        self.now = self.now.max(until);
    }

    fn arrive(&mut self, arrival: Arrival) {
        let now = self.now;
        match arrival {
            Arrival::Packet { to, from, bytes } => {
                let plain = self.security.open_packet(&bytes).unwrap().into_owned();
                let Some(host) = self.hosts.get_mut(&to) else { return };
                host.machine.handle_packet(addr(from), &plain, now, &mut host.heard);
                self.kept.iter_mut().for_each(|kept| {
                    kept.push((to, addr(from), plain.clone().into()));
                });
                self.settle(to);
            }
            Arrival::Request { to, from, life, id, bytes, answered } => {
                let message = self.read(&bytes);
                let answer = match self.hosts.get_mut(&to) {
                    None => Err("connection refused".to_owned()),
                    Some(host) => {
                        let (from, heard) = (addr(from), &mut host.heard);
                        let answer = host.machine.handle_stream_request(from, message, now, heard);
                        self.settle(to);
                        match answer {
                            Some(answer) => Ok(Some(self.seal_stream(&answer))),
                            None if answered => Err("EOF".to_owned()),
                            None => Ok(None),
                        }
                    }
                };
                let at = now + self.takes();
                self.add(at, Arrival::Answer { to: from, life, id, answer });
            }
            Arrival::Answer { to, life, id, answer } => {
                let answer = answer.map(|bytes| bytes.map(|bytes| self.read(&bytes)));
                let Some(host) = self.hosts.get_mut(&to).filter(|host| host.life == life) else {
                    return;
                };
                host.machine.handle_stream_answer(id, answer, now, &mut host.heard);
                self.settle(to);
            }
            Arrival::Wake { host, life } => {
                let Some(at) = self.hosts.get_mut(&host).filter(|host| host.life == life) else {
                    return;
                };
                at.wakes = None;
                at.machine.handle_timeout(now, &mut at.heard);
                self.settle(host);
            }
        }
    }

    fn seal_stream(&mut self, plain: &[u8]) -> Bytes {
        let nonce = std::array::from_fn(|_| self.rng.u8(..));
        Bytes::from(self.security.seal_stream(nonce, plain).into_owned())
    }

    /// A stream, as it comes in pieces.
    fn read(&mut self, bytes: &[u8]) -> StreamMessage {
        let mut reader = StreamReader::new();
        let mut rest = bytes;
        loop {
            match reader.next(&self.security).unwrap() {
                Progress::Message(message) => return message,
                Progress::More(missing) => {
                    assert!(missing <= rest.len(), "the stream ends {missing} bytes early");
                    let come = self.rng.usize(1..=rest.len());
                    reader.buffer().extend(&rest[..come]);
                    rest = &rest[come..];
                }
            }
        }
    }

    /// Takes a machine's actions, and sees to it that it is woken.
    fn settle(&mut self, from: u16) {
        while let Some(action) = self.hosts.get_mut(&from).and_then(|h| h.machine.poll_action()) {
            match action {
                Action::Packet { to, plain } => self.send(from, host_of(to), &plain),
                Action::Exchange { id, to, message, deadline, answered, .. } => {
                    let (to, life) = (host_of(to), self.hosts[&from].life);
                    let bytes = self.seal_stream(&message);
                    let lost = self.rng.f64() < self.loss;
                    if lost || self.cuts.contains(&(from, to)) {
                        // Nothing comes back: the shell waits until its time is over.
                        let answer = Err("i/o timeout".to_owned());
                        self.add(deadline, Arrival::Answer { to: from, life, id, answer });
                    } else {
                        let at = self.now + self.takes();
                        self.add(at, Arrival::Request { to, from, life, id, bytes, answered });
                    }
                }
                Action::Exchanged { outcome: Ok(()), .. } | Action::Warning(_) => {}
                told => self.hosts.get_mut(&from).unwrap().told.push(told),
            }
        }
        let host = self.hosts.get_mut(&from).unwrap();
        let wakes = host.machine.next_timeout();
        if let Some(at) = wakes
            && host.wakes.is_none_or(|before| at < before)
        {
            host.wakes = wakes;
            let life = host.life;
            self.add(at.max(self.now), Arrival::Wake { host: from, life });
        }
    }

    fn send(&mut self, from: u16, to: u16, plain: &[u8]) {
        let nonce = std::array::from_fn(|_| self.rng.u8(..));
        let bytes: Bytes = self.security.seal_packet(nonce, plain).into_owned().into();
        assert!(bytes.len() <= 1405, "a packet of {} bytes", bytes.len());
        self.packets += 1;
        self.bytes += bytes.len() as u64;
        if !self.cuts.contains(&(from, to)) && self.rng.f64() >= self.loss {
            let at = self.now + self.takes();
            self.add(at, Arrival::Packet { to, from, bytes });
        }
    }

    fn takes(&mut self) -> Duration {
        Duration::from_micros(self.rng.u64(self.delay.start * 1000..self.delay.end * 1000))
    }

    fn add(&mut self, at: Instant, arrival: Arrival) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, arrival)));
    }

    /// How `host` sees `other`.
    pub(crate) fn state(&self, host: u16, other: u16) -> Option<NodeState> {
        self.hosts[&host].machine.node(&name(other)).map(|node| node.state)
    }

    /// Whether every host sees every one that is up as alive, in its latest incarnation.
    pub(crate) fn agrees(&self) -> bool {
        self.hosts.values().all(|host| {
            self.hosts.values().all(|other| {
                let other = other.machine.local_node();
                host.machine.node(&other.name) == Some(other)
            })
        })
    }

    /// Everything that anybody heard of, for a comparison of two runs.
    pub(crate) fn trace(&self) -> String {
        let hosts = self.hosts.values().map(|host| {
            format!("{} {:?} {:?}\n", host.machine.local_node().name, host.heard, host.told)
        });
        format!("{}{} packets", hosts.collect::<String>(), self.packets)
    }
}
