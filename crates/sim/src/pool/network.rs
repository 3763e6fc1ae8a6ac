//! The outside of the agents: time, packets, streams and disks.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use gossip::memberlist::ExchangeId;
use gossip::serf::{Action, Event, Outcome, Query, Seed, Serf};
use gossip::wire::{Progress, Security, StreamMessage, StreamReader};

use super::agent::{Agent, Fate};
use super::bug::{self, Bug};
use super::checker::Sent;
use super::keys::{self, Rotation};
use super::queries::{self, Asked};
use super::weather::{Kind, Weather};
use super::{Counts, Scenario, names, nemesis};
use crate::clock::{Time, nanoseconds};
use crate::world::Trace;

/// How long after a failed join it is tried again.
const JOIN_AGAIN: Duration = Duration::from_secs(5);

pub(super) struct Network {
    pub(super) now: Instant,
    pub(super) rng: Rng,
    pub(super) scenario: Scenario,
    pub(super) weather: Weather,
    pub(super) agents: Vec<Agent>,
    /// Who is at which address.
    pub(super) places: BTreeMap<SocketAddr, usize>,
    /// Who does not reach whom, beside the sides of a partition.
    pub(super) cuts: BTreeSet<(usize, usize)>,
    /// When a pair was cut, or a cut ended.
    pub(super) pair_changed: Instant,
    pub(super) sent: Vec<Sent>,
    pub(super) asked: Vec<Asked>,
    /// Queries that are answered later: which one, and as it came.
    pub(super) unanswered: Vec<(usize, Query)>,
    pub(super) rotation: Rotation,
    pub(super) trace: Trace,
    pub(super) counts: Counts,
    pub(super) violations: Vec<String>,
    pub(super) events: u64,
    /// Whether the network is as bad as the weather says.
    pub(super) rough: bool,
    start: Instant,
    queue: BinaryHeap<Reverse<(Instant, u64, Arrival)>>,
    sequence: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Arrival {
    Packet {
        to: usize,
        from: SocketAddr,
        sealed: Bytes,
    },
    Request {
        to: usize,
        from: usize,
        life: u32,
        id: ExchangeId,
        message: Bytes,
        answered: bool,
    },
    Answer {
        to: usize,
        life: u32,
        id: ExchangeId,
        answer: Result<Option<Bytes>, String>,
    },
    Wake {
        agent: usize,
        life: u32,
    },
    Join {
        agent: usize,
        life: u32,
    },
    Start {
        agent: usize,
    },
    Respond {
        agent: usize,
        life: u32,
        query: usize,
    },
    /// A starved agent stands still again.
    Stop {
        agent: usize,
    },
}

impl Arrival {
    fn to(&self) -> usize {
        match self {
            Self::Packet { to, .. } | Self::Request { to, .. } | Self::Answer { to, .. } => *to,
            Self::Wake { agent, .. }
            | Self::Join { agent, .. }
            | Self::Start { agent }
            | Self::Respond { agent, .. }
            | Self::Stop { agent } => *agent,
        }
    }
}

impl Network {
    pub(super) fn new(seed: u64, scenario: Scenario, start: Instant, keep_text: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let weather = Weather::draw(&mut rng, scenario.bug);
        let counts = Counts { calm: weather.calm().into(), ..Counts::default() };
        let agents = usize::from(scenario.agents.clamp(3, 200));
        let agents = (0..agents).map(|number| Agent::unborn(number, start));
        Self {
            agents: agents.collect(),
            now: start,
            rng,
            scenario,
            weather,
            places: BTreeMap::new(),
            cuts: BTreeSet::new(),
            pair_changed: start,
            sent: Vec::new(),
            asked: Vec::new(),
            unanswered: Vec::new(),
            rotation: Rotation::new(),
            trace: Trace::new(keep_text),
            counts,
            violations: Vec::new(),
            events: 0,
            rough: false,
            start,
            queue: BinaryHeap::new(),
            sequence: 0,
        }
    }

    pub(super) fn say(&mut self, line: fmt::Arguments<'_>) {
        let time = Time(nanoseconds(self.now.saturating_duration_since(self.start)));
        self.trace.write(time, line);
    }

    pub(super) fn violation(&mut self, what: String) {
        self.say(format_args!("VIOLATION {what}"));
        self.violations.push(what);
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.scenario.bug == Some(bug)
    }

    pub(super) fn add(&mut self, wait: Duration, arrival: Arrival) {
        self.add_at(self.now + wait, arrival);
    }

    fn add_at(&mut self, at: Instant, arrival: Arrival) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, arrival)));
    }

    /// What comes to an agent that stands still comes when it goes on. It may look at the clock
    /// first, or read what waits.
    fn defer(&mut self, thaws: Instant, arrival: Arrival) {
        const LAST: u64 = 1 << 63;
        self.sequence += 1;
        let order = match (&arrival, self.weather.timers_first) {
            (Arrival::Wake { .. }, true) => 0,
            (Arrival::Wake { .. }, false) => LAST + self.sequence,
            _ => self.sequence,
        };
        self.queue.push(Reverse((thaws, order, arrival)));
    }

    /// Lets all happen until then.
    pub(super) fn run_until(&mut self, until: Instant) {
        while let Some(Reverse((at, ..))) = self.queue.peek()
            && *at <= until
        {
            let Some(Reverse((at, _, arrival))) = self.queue.pop() else { break };
            self.now = self.now.max(at);
            let frozen = self.agents[arrival.to()].frozen_until;
            if let Arrival::Stop { agent } = arrival {
                nemesis::starve(self, agent);
            } else if let Some(thaws) = frozen.filter(|thaws| *thaws > self.now) {
                self.defer(thaws, arrival);
            } else {
                self.events += 1;
                self.arrive(arrival);
            }
        }
        self.now = until;
    }

    fn arrive(&mut self, arrival: Arrival) {
        let now = self.now;
        match arrival {
            Arrival::Packet { to, from, sealed } => {
                let Some(serf) = &self.agents[to].serf else { return };
                // What cannot be opened is lost.
                let opened = serf.security().open_packet(&sealed);
                if let Ok(plain) = opened.map(|plain| Bytes::copy_from_slice(&plain)) {
                    self.packet_came(to, from, &plain);
                }
            }
            Arrival::Request { to, from, life, id, message, answered } => {
                let source = self.agents[from].address;
                let answer = match self.agents[to].serf {
                    None => Err("connection refused".to_owned()),
                    Some(_) => self.request_came(to, source, &message),
                };
                let answer = match answer {
                    Ok(None) if answered => Err("EOF".to_owned()),
                    answer => answer,
                };
                let takes = self.takes();
                self.add(takes, Arrival::Answer { to: from, life, id, answer });
            }
            Arrival::Answer { to, life, id, answer } => {
                if self.is_life(to, life) {
                    let bytes = answer.map(|bytes| bytes.map(|bytes| self.incoming(to, &bytes)));
                    let answer = bytes.and_then(Option::transpose);
                    let told = answer.as_ref().ok().and_then(Option::as_ref).cloned();
                    self.input(to, |serf, now| serf.handle_stream_answer(id, answer, now));
                    self.settle(to, told.as_ref().map_or(Heard::Nothing, Heard::Stream));
                }
            }
            Arrival::Wake { agent, life } => {
                if self.is_life(agent, life) {
                    self.agents[agent].wakes = None;
                    self.input(agent, Serf::handle_timeout);
                    self.settle(agent, Heard::Nothing);
                }
            }
            Arrival::Join { agent, life } => {
                if self.is_life(agent, life) && self.agents[agent].fate == Fate::Up {
                    // The first agent neither crashes nor moves: who reaches it has joined.
                    let seed = Seed { address: self.agents[0].address, name: None };
                    // It has not left; it is up.
                    let _ = self.input(agent, |serf, now| serf.join(vec![seed], false, now));
                    self.settle(agent, Heard::Nothing);
                }
            }
            Arrival::Start { agent } => self.begin(agent, now),
            Arrival::Respond { agent, life, query } => {
                if self.is_life(agent, life) {
                    let (place, query) = self.unanswered[query].clone();
                    queries::answer(self, agent, place, &query);
                    self.settle(agent, Heard::Nothing);
                }
            }
            Arrival::Stop { .. } => {}
        }
    }

    fn begin(&mut self, number: usize, now: Instant) {
        let (bug, seed) = (self.scenario.bug, self.rng.u64(..));
        if self.agents[number].is_up() {
            return;
        }
        let keyring = keys::keys_for(self, number);
        let agent = &mut self.agents[number];
        // Elsewhere who comes back at another address would give up for its own former life.
        let resolves = self.weather.kind == Kind::Twins;
        agent.start(bug, keyring, resolves, now, seed);
        self.places.insert(agent.address, number);
        let (name, address, life) = (agent.name.clone(), agent.address, agent.life);
        self.say(format_args!("{name} starts at {address}, life {life}"));
        self.settle(number, Heard::Nothing);
        if number > 0 {
            self.add(Duration::ZERO, Arrival::Join { agent: number, life });
        }
    }

    fn is_life(&self, agent: usize, life: u32) -> bool {
        self.agents[agent].serf.is_some() && self.agents[agent].life == life
    }

    /// An input to an agent that is up.
    pub(super) fn input<T>(
        &mut self,
        agent: usize,
        input: impl FnOnce(&mut Serf, Instant) -> T,
    ) -> Option<T> {
        let now = self.now;
        self.agents[agent].serf.as_mut().map(|serf| input(serf, now))
    }

    fn packet_came(&mut self, to: usize, from: SocketAddr, plain: &Bytes) {
        let known = &self.agents[to].known;
        let name = &self.agents[to].name;
        let given = match self.scenario.bug {
            Some(Bug::OldDeathCounts) => {
                bug::deaths_renewed(plain, |name| known.get(name).copied().unwrap_or_default())
            }
            Some(Bug::LeaveUnheard) => bug::own_leave_left_out(plain, name),
            Some(Bug::RelayLost) => bug::relays_left_out(plain),
            Some(Bug::RelayAnswers) => bug::relays_as_own(plain, name),
            Some(Bug::IndirectLost) => bug::indirect_left_out(plain),
            _ => plain.clone(),
        };
        self.input(to, |serf, now| serf.handle_packet(from, &given, now));
        self.settle(to, Heard::Packet(plain));
    }

    fn request_came(
        &mut self,
        to: usize,
        from: SocketAddr,
        message: &Bytes,
    ) -> Result<Option<Bytes>, String> {
        let told = self.read(to, message)?;
        let given = self.incoming(to, message)?;
        let answer = self.input(to, |serf, now| serf.handle_stream_request(from, given, now));
        self.settle(to, Heard::Stream(&told));
        Ok(answer.flatten().map(|answer| self.outgoing(to, answer)))
    }

    /// What a stream's message is taken for.
    fn incoming(&self, to: usize, message: &Bytes) -> Result<StreamMessage, String> {
        match self.read(to, message)? {
            StreamMessage::PushPull(all) if self.has(Bug::LeftIgnored) => {
                let told = bug::nobody_left(&all);
                told.map_or(Ok(StreamMessage::PushPull(all)), |it| read(&it, &Security::default()))
            }
            message => Ok(message),
        }
    }

    /// A stream's message, opened with the receiver's keys.
    fn read(&self, to: usize, message: &Bytes) -> Result<StreamMessage, String> {
        let serf = self.agents[to].serf.as_ref();
        serf.map_or(Err("EOF".to_owned()), |serf| read(message, serf.security()))
    }

    /// What an agent says over a stream, sealed.
    fn outgoing(&mut self, from: usize, message: Bytes) -> Bytes {
        let mut message = message;
        if self.has(Bug::RefuteQuietly)
            && let Ok(StreamMessage::PushPull(all)) = read(&message, &Security::default())
            && let Some(quiet) = bug::quiet_push_pull(&all, &self.agents[from].name)
        {
            message = quiet;
        }
        let nonce = self.nonce();
        let Some(serf) = &self.agents[from].serf else { return message };
        match serf.security().seal_stream(nonce, &message) {
            Cow::Borrowed(_) => message,
            Cow::Owned(sealed) => sealed.into(),
        }
    }

    /// A number that comes once.
    fn nonce(&mut self) -> [u8; 12] {
        if self.weather.keys { std::array::from_fn(|_| self.rng.u8(..)) } else { [0; 12] }
    }

    /// Takes an agent's actions after it heard something, and sees to it that it is woken.
    pub(super) fn settle(&mut self, number: usize, heard: Heard<'_>) {
        while let Some(action) = self.agents[number].serf.as_mut().and_then(Serf::poll_action) {
            match action {
                Action::Packet { to, plain } => self.send(number, to, plain),
                Action::Exchange { id, to, message, answered, deadline } => {
                    let message = self.outgoing(number, message);
                    let life = self.agents[number].life;
                    // What is said on a stream has to be heard.
                    let to = self.reachable(number, to).filter(|to| self.is_open(*to, number));
                    let broken = self.rough && self.rng.u32(0..2000) < self.weather.lost;
                    let Some(to) = to.filter(|_| !broken) else {
                        let answer = Err("i/o timeout".to_owned());
                        self.add_at(deadline, Arrival::Answer { to: number, life, id, answer });
                        continue;
                    };
                    let takes = self.takes();
                    let from = number;
                    self.add(takes, Arrival::Request { to, from, life, id, message, answered });
                }
                Action::Event(Event::Query(query)) => queries::query_came(self, number, &query),
                Action::Event(event) => self.check_event(number, &event, heard),
                Action::Completed(id, outcome) => match outcome {
                    Outcome::Joined(joined) if joined.contacted == 0 => {
                        let life = self.agents[number].life;
                        self.add(JOIN_AGAIN, Arrival::Join { agent: number, life });
                    }
                    Outcome::Joined(_) => self.agents[number].joined = true,
                    Outcome::Left if self.agents[number].leave == Some(id) => {
                        self.agents[number].fate = Fate::Left;
                    }
                    outcome => {
                        queries::answer_came(self, number, id, &outcome);
                        keys::keys_done(self, number, id, &outcome);
                    }
                },
                Action::Snapshot(write) => self.agents[number].write(write),
                Action::PersistKeyring(change, file) => {
                    if !self.has(Bug::KeyNotKept) {
                        self.agents[number].keyring_file = Some(file.0);
                    }
                    self.input(number, |serf, now| serf.handle_persisted(change, Ok(()), now));
                }
                Action::Shutdown => names::give_up(self, number),
                Action::Report(_) | Action::Measure(_) => {}
            }
        }
        self.check_clocks(number);
        self.note_heard(number, heard);
        let (now, agent) = (self.now, &mut self.agents[number]);
        if agent.fate == Fate::Left && agent.serf.is_some() {
            agent.stop(now);
            let name = agent.name.clone();
            self.say(format_args!("{name} has left"));
            return;
        }
        let (wakes, life) = (agent.serf.as_ref().and_then(Serf::next_timeout), agent.life);
        if let Some(at) = wakes
            && agent.wakes.is_none_or(|before| at < before)
        {
            agent.wakes = wakes;
            self.add_at(at.max(now), Arrival::Wake { agent: number, life });
        }
    }

    fn send(&mut self, from: usize, to: SocketAddr, plain: Bytes) {
        let name = &self.agents[from].name;
        let quiet = self.has(Bug::RefuteQuietly);
        let plain = if quiet { bug::quiet_packet(&plain, name) } else { plain };
        self.check_own_claims(from, &plain);
        let Some(to) = self.reachable(from, to) else { return };
        let nonce = self.nonce();
        let sealed = self.agents[from].serf.as_ref().map(|serf| serf.security());
        let sealed = match sealed.map(|security| security.seal_packet(nonce, &plain)) {
            Some(Cow::Owned(sealed)) => Bytes::from(sealed),
            _ => plain,
        };
        let weather = &self.weather;
        let (lost, doubled, stuck) = (weather.lost, weather.doubled, weather.stuck);
        let source = self.agents[from].address;
        let mut chance = |of_a_thousand| self.rough && self.rng.u32(0..1000) < of_a_thousand;
        if chance(lost) {
            return;
        }
        let copies = 1 + usize::from(chance(doubled));
        for _ in 0..copies {
            let mut takes = self.takes();
            if self.rough && self.rng.u32(0..1000) < stuck {
                takes += Duration::from_millis(self.rng.u64(0..5_000));
            }
            self.add(takes, Arrival::Packet { to, from: source, sealed: sealed.clone() });
        }
    }

    /// Who is at an address, if packets get there.
    fn reachable(&self, from: usize, to: SocketAddr) -> Option<usize> {
        let to = self.places.get(&to).copied()?;
        self.is_open(from, to).then_some(to)
    }

    pub(super) fn is_open(&self, from: usize, to: usize) -> bool {
        self.agents[from].side == self.agents[to].side && !self.cuts.contains(&(from, to))
    }

    fn takes(&mut self) -> Duration {
        Duration::from_micros(self.rng.u64(500..20_000))
    }
}

/// What an agent acts upon.
#[derive(Clone, Copy)]
pub(super) enum Heard<'a> {
    Nothing,
    Packet(&'a Bytes),
    Stream(&'a StreamMessage),
}

fn read(bytes: &Bytes, security: &Security) -> Result<StreamMessage, String> {
    let mut reader = StreamReader::new();
    reader.buffer().extend(bytes);
    match reader.next(security) {
        Ok(Progress::Message(message)) => Ok(message),
        Ok(Progress::More(missing)) => Err(format!("{missing} bytes are missing")),
        Err(error) => Err(error.to_string()),
    }
}
