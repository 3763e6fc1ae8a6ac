//! The outside of the agents: time, packets, streams and disks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use gossip::memberlist::ExchangeId;
use gossip::serf::{Action, Outcome, Seed, Serf};
use gossip::wire::{Progress, Security, StreamMessage, StreamReader};

use super::agent::{Agent, Fate};
use super::bug::{self, Bug};
use super::checker::Sent;
use super::weather::Weather;
use super::{Counts, Scenario};
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
    pub(super) sent: Vec<Sent>,
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
    Packet { to: usize, from: SocketAddr, plain: Bytes },
    Request { to: usize, from: usize, life: u32, id: ExchangeId, message: Bytes, answered: bool },
    Answer { to: usize, life: u32, id: ExchangeId, answer: Result<Option<Bytes>, String> },
    Wake { agent: usize, life: u32 },
    Join { agent: usize, life: u32 },
    Start { agent: usize },
}

impl Arrival {
    fn to(&self) -> usize {
        match self {
            Self::Packet { to, .. } | Self::Request { to, .. } | Self::Answer { to, .. } => *to,
            Self::Wake { agent, .. } | Self::Join { agent, .. } | Self::Start { agent } => *agent,
        }
    }
}

impl Network {
    pub(super) fn new(seed: u64, scenario: Scenario, start: Instant, keep_text: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let weather = Weather::draw(&mut rng, scenario.bug);
        let counts = Counts { calm: weather.calm.into(), ..Counts::default() };
        let agents = (0..scenario.agents.clamp(3, 60)).map(|number| Agent::unborn(number, start));
        Self {
            agents: agents.collect(),
            now: start,
            rng,
            scenario,
            weather,
            sent: Vec::new(),
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

    /// Lets all happen until then.
    pub(super) fn run_until(&mut self, until: Instant) {
        while let Some(Reverse((at, ..))) = self.queue.peek()
            && *at <= until
        {
            let Some(Reverse((at, _, arrival))) = self.queue.pop() else { break };
            self.now = self.now.max(at);
            let frozen = self.agents[arrival.to()].frozen_until;
            if let Some(thaws) = frozen.filter(|thaws| *thaws > self.now) {
                self.add_at(thaws, arrival);
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
            Arrival::Packet { to, from, plain } => {
                if self.agents[to].serf.is_some() {
                    self.packet_came(to, from, &plain);
                }
            }
            Arrival::Request { to, from, life, id, message, answered } => {
                let source = self.agents[from].address;
                let answer = match self.agents[to].serf {
                    None => Err("connection refused".to_owned()),
                    Some(_) => self.request_came(to, source, message),
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
                    let bytes = answer.map(|bytes| bytes.map(|bytes| self.incoming(&bytes)));
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
        }
    }

    fn begin(&mut self, number: usize, now: Instant) {
        let (bug, seed) = (self.scenario.bug, self.rng.u64(..));
        let agent = &mut self.agents[number];
        if agent.is_up() {
            return;
        }
        agent.start(bug, now, seed);
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
        let given = if self.has(Bug::OldDeathCounts) {
            bug::deaths_renewed(plain, |name| known.get(name).copied().unwrap_or_default())
        } else {
            plain.clone()
        };
        self.input(to, |serf, now| serf.handle_packet(from, &given, now));
        self.settle(to, Heard::Packet(plain));
    }

    fn request_came(
        &mut self,
        to: usize,
        from: SocketAddr,
        message: Bytes,
    ) -> Result<Option<Bytes>, String> {
        let told = read(&message)?;
        let given = self.incoming(&message)?;
        let answer = self.input(to, |serf, now| serf.handle_stream_request(from, given, now));
        self.settle(to, Heard::Stream(&told));
        Ok(answer.flatten().map(|answer| self.outgoing(to, answer)))
    }

    /// What a stream's message is taken for.
    fn incoming(&self, message: &Bytes) -> Result<StreamMessage, String> {
        match read(message)? {
            StreamMessage::PushPull(all) if self.has(Bug::LeftIgnored) => {
                bug::nobody_left(&all).map_or(Ok(StreamMessage::PushPull(all)), |it| read(&it))
            }
            message => Ok(message),
        }
    }

    /// What an agent says over a stream.
    fn outgoing(&self, from: usize, message: Bytes) -> Bytes {
        if !self.has(Bug::RefuteQuietly) {
            return message;
        }
        match read(&message) {
            Ok(StreamMessage::PushPull(all)) => {
                bug::quiet_push_pull(&all, &self.agents[from].name).unwrap_or(message)
            }
            _ => message,
        }
    }

    /// Takes an agent's actions after it heard something, and sees to it that it is woken.
    pub(super) fn settle(&mut self, number: usize, heard: Heard<'_>) {
        while let Some(action) = self.agents[number].serf.as_mut().and_then(Serf::poll_action) {
            match action {
                Action::Packet { to, plain } => self.send(number, to, plain),
                Action::Exchange { id, to, message, answered, deadline } => {
                    let message = self.outgoing(number, message);
                    let life = self.agents[number].life;
                    let to = self.reachable(number, to);
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
                    _ => {}
                },
                Action::Snapshot(write) => self.agents[number].write(write),
                Action::PersistKeyring(..)
                | Action::Report(_)
                | Action::Measure(_)
                | Action::Shutdown => {}
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
            self.add(takes, Arrival::Packet { to, from: source, plain: plain.clone() });
        }
    }

    /// Who is at an address, if it can be reached.
    fn reachable(&self, from: usize, to: SocketAddr) -> Option<usize> {
        let to = self.agents.iter().position(|agent| agent.address == to)?;
        (self.agents[from].side == self.agents[to].side).then_some(to)
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

fn read(bytes: &Bytes) -> Result<StreamMessage, String> {
    let mut reader = StreamReader::new();
    reader.buffer().extend(bytes);
    match reader.next(&Security::default()) {
        Ok(Progress::Message(message)) => Ok(message),
        Ok(Progress::More(missing)) => Err(format!("{missing} bytes are missing")),
        Err(error) => Err(error.to_string()),
    }
}
