//! Clients: what they ask, what they are told, and the history of it.

use std::time::Duration;

use types::Index;

use crate::clock::Time;
use crate::linearizability::{Act, Operation};
use crate::machine::{Command, Key, OperationId, Write};
use crate::scenario::KEYS;
use crate::world::{Event, Node, World};

/// What is asked of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Write(Command),
    /// From the leader under its lease, or else after it confirmed that it leads.
    Default(Key),
    /// From the leader after it confirmed that it leads.
    Consistent(Key),
    /// From any server.
    Stale(Key),
}

impl What {
    pub(crate) fn read_key(&self) -> Option<Key> {
        match self {
            What::Write(_) => None,
            What::Default(key) | What::Consistent(key) | What::Stale(key) => Some(*key),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            What::Write(_) => "write",
            What::Default(_) => "default",
            What::Consistent(_) => "consistent",
            What::Stale(_) => "stale",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) client: usize,
    pub(crate) attempt: u64,
    pub(crate) operation: OperationId,
    /// The last entry acknowledged to anyone before the operation began.
    pub(crate) floor: Index,
    pub(crate) what: What,
}

impl Request {
    pub(crate) fn is_cas(&self) -> bool {
        matches!(&self.what, What::Write(Command { write: Write::Cas(..), .. }))
    }

    pub(crate) fn answered(&self, by: Node, outcome: Outcome) -> Reply {
        Reply { client: self.client, attempt: self.attempt, by, outcome }
    }
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done; whether the comparison held.
    Wrote(bool),
    Read(String),
    /// Not done, and never will be; who leads.
    Refused(Option<Node>),
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) client: usize,
    pub(crate) attempt: u64,
    pub(crate) by: Node,
    pub(crate) outcome: Outcome,
}

/// An operation that was begun.
#[derive(Clone, Debug)]
struct Record {
    id: OperationId,
    what: What,
    called: Time,
    returned: Option<(Time, Outcome)>,
}

/// What a client is at.
struct Current {
    record: usize,
    floor: Index,
    deadline: Time,
}

#[derive(Default)]
struct Client {
    attempt: u64,
    current: Option<Current>,
    leader: Option<Node>,
    /// What it read or wrote last, to compare with.
    last_value: String,
}

/// All clients and their history.
pub(crate) struct Clients {
    clients: Vec<Client>,
    history: Vec<Record>,
    nodes: u8,
    stopped: bool,
}

impl Clients {
    pub(crate) fn new(count: usize, nodes: u8, world: &mut World) -> Self {
        for client in 0..count {
            let wait = world.millis(300, 600);
            world.schedule_in(wait, Event::Client { client, attempt: 0 });
        }
        let clients = (0..count).map(|_| Client::default()).collect();
        Clients { clients, history: Vec::new(), nodes, stopped: false }
    }

    /// No operation begins any more.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// A client begins an operation or tries the current one again.
    pub(crate) fn wake(&mut self, client: usize, attempt: u64, world: &mut World) {
        if self.clients[client].attempt != attempt {
            return;
        }
        if self.clients[client].current.is_none() {
            if self.stopped {
                return;
            }
            self.begin(client, world);
        }
        let nodes = self.nodes;
        let state = &mut self.clients[client];
        let Some(current) = &state.current else { return };
        state.attempt += 1;
        let record = &self.history[current.record];
        let anyone = Node(world.rng.u8(0..nodes));
        let favourite = state.leader.filter(|_| world.rng.u8(0..10) > 0);
        let is_stale = matches!(record.what, What::Stale(_));
        let to = favourite.filter(|_| !is_stale).unwrap_or(anyone);
        let request = Request {
            client,
            attempt: state.attempt,
            operation: record.id,
            floor: current.floor,
            what: record.what.clone(),
        };
        let wait = world.micros(50, 2000);
        world.schedule_in(wait, Event::Request { to, request });
        let (deadline, attempt) = (current.deadline, state.attempt);
        world.schedule(deadline, Event::Deadline { client, attempt });
    }

    fn begin(&mut self, client: usize, world: &mut World) {
        let id = OperationId(self.history.len() as u64 + 1);
        let key = world.rng.u8(0..KEYS);
        let state = &mut self.clients[client];
        let value = format!("{}.", id.0);
        let write = match world.rng.u8(0..20) {
            0..4 => Some(Write::Put(value)),
            4..8 => Some(Write::Append(value)),
            8..10 => Some(Write::Cas(state.last_value.clone(), value)),
            _ => None,
        };
        let what = match (write, world.rng.u8(0..8)) {
            (Some(write), _) => What::Write(Command { id, key, write }),
            (None, 0) => What::Stale(key),
            (None, 1..3) => What::Consistent(key),
            (None, _) => What::Default(key),
        };
        let (called, floor) = (world.now, world.observer.acknowledged);
        let deadline = called.after(Duration::from_millis(world.rng.u64(200..1200)));
        let record = self.history.len();
        state.current = Some(Current { record, floor, deadline });
        self.history.push(Record { id, what, called, returned: None });
    }

    pub(crate) fn answered(&mut self, reply: Reply, world: &mut World) {
        let Reply { client, attempt, by, outcome } = reply;
        let state = &mut self.clients[client];
        if state.attempt != attempt {
            return;
        }
        let Some(current) = &state.current else { return };
        if let Outcome::Refused(leader) = outcome {
            state.leader = leader;
            let wait = world.millis(2, 30);
            world.schedule_in(wait, Event::Client { client, attempt });
            return;
        }
        let record = &mut self.history[current.record];
        let counts = &mut world.observer.counts;
        match &record.what {
            What::Write(_) => counts.writes += 1,
            What::Default(_) => counts.default_reads += 1,
            What::Consistent(_) => counts.consistent_reads += 1,
            What::Stale(_) => counts.stale_reads += 1,
        }
        if let Outcome::Read(value) = &outcome {
            state.last_value.clone_from(value);
        }
        if !matches!(record.what, What::Stale(_)) {
            state.leader = Some(by);
        }
        let (id, what) = (record.id.0, record.what.name());
        world.say(format_args!("client {client} {what} {id} at {by}: {outcome:?}"));
        record.returned = Some((world.now, outcome));
        self.finish(client, world);
    }

    /// The outcome stays unknown.
    pub(crate) fn gives_up(&mut self, client: usize, attempt: u64, world: &mut World) {
        let state = &mut self.clients[client];
        let Some(current) = state.current.as_ref().filter(|_| state.attempt == attempt) else {
            return;
        };
        let id = self.history[current.record].id.0;
        world.observer.counts.unknown += 1;
        world.say(format_args!("client {client} gives up {id}"));
        state.leader = None;
        self.finish(client, world);
    }

    fn finish(&mut self, client: usize, world: &mut World) {
        let state = &mut self.clients[client];
        state.current = None;
        state.attempt += 1;
        let attempt = state.attempt;
        let wait = world.millis(5, 80);
        world.schedule_in(wait, Event::Client { client, attempt });
    }

    /// Whether a write that began at `since` or later was acknowledged.
    pub(crate) fn has_written_since(&self, since: Time) -> bool {
        self.history.iter().rev().any(|record| {
            let wrote = matches!(record.returned, Some((_, Outcome::Wrote(_))));
            wrote && record.called >= since
        })
    }

    /// What was done to a register and seen of it. Writes that no server ever applied had no
    /// effect and are left out, as are reads without an answer and those that promise nothing.
    pub(crate) fn history_of(&self, key: Key, world: &World) -> Vec<Operation> {
        let mut history = Vec::new();
        for record in &self.history {
            let called = record.called.0;
            let returned = record.returned.as_ref().map(|(at, _)| at.0);
            let act = match (&record.what, record.returned.as_ref().map(|(_, outcome)| outcome)) {
                (What::Write(command), outcome) if command.key == key => {
                    if outcome.is_none() && !world.observer.was_applied(record.id) {
                        continue;
                    }
                    let held = matches!(outcome, None | Some(Outcome::Wrote(true)));
                    Act::Write(command.write.clone(), held)
                }
                (What::Default(_), _) if !world.default_reads_promised => continue,
                (What::Default(of) | What::Consistent(of), Some(Outcome::Read(value)))
                    if *of == key =>
                {
                    Act::Read(value.clone())
                }
                _ => continue,
            };
            history.push(Operation { called, returned, act });
        }
        history
    }
}
