//! Clients: what they ask, what they are told, and the history of it.
//!
//! Each has a node of its own in the catalog, with a check, and sessions on it. When it gives
//! the node or the check up, which ends its sessions, it goes on with a node of another name:
//! whether the old one goes now or later, nobody asks for it any more.

use std::collections::BTreeMap;
use std::time::Duration;

use contract::Consistency;
use linearizability::Operation;
use linearizability::keys::workload::{Client as Workload, Plan};
use linearizability::keys::{Act, Ending, Outcome as Ended, Session, Step};
use types::session::{Behavior, Session as SessionRow};
use types::{Index, NodeName, SessionId};

use crate::call::{Told, What};
use crate::clock::Time;
use crate::plan;
use crate::scenario::GROUPS;
use crate::world::{Event, Node, OperationId, World};

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
    pub(crate) fn answered(&self, by: Node, outcome: Outcome) -> Reply {
        Reply { client: self.client, attempt: self.attempt, by, outcome }
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Told(Told),
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

/// Why something is asked.
#[derive(Clone, Debug)]
enum Purpose {
    /// The client's node is to be there.
    Node,
    /// A session for a group.
    Session { group: usize, ending: Ending },
    /// All its sessions are to end.
    Loss { ends: Vec<(usize, Step)> },
    /// Something of the workload.
    Plan(Plan),
    /// That something happens in the catalog.
    Churn,
}

/// An operation that was begun.
#[derive(Clone, Debug)]
struct Record {
    id: OperationId,
    purpose: Purpose,
    what: What,
    called: Time,
    returned: Option<(Time, Told)>,
}

/// What a client is at.
struct Current {
    record: usize,
    floor: Index,
    deadline: Time,
}

struct Client {
    attempt: u64,
    current: Option<Current>,
    leader: Option<Node>,
    workload: Workload,
    /// How many nodes it has given up.
    lost: u64,
    has_node: bool,
}

/// The sessions that clients were told of, by number.
#[derive(Default)]
pub(crate) struct SessionNumbers {
    ids: Vec<SessionId>,
    numbers: BTreeMap<SessionId, Session>,
}

impl SessionNumbers {
    fn add(&mut self, id: SessionId) -> Session {
        self.ids.push(id.clone());
        let number = self.ids.len() as Session;
        self.numbers.insert(id, number);
        number
    }

    pub(crate) fn id(&self, session: Session) -> SessionId {
        self.ids[session as usize - 1].clone()
    }

    /// Zero for none; one that nobody was told of has the highest number.
    pub(crate) fn number(&self, id: &SessionId) -> Session {
        if id.is_empty() { 0 } else { self.numbers.get(id).copied().unwrap_or(Session::MAX) }
    }
}

/// All clients and their history.
pub(crate) struct Clients {
    clients: Vec<Client>,
    history: Vec<Record>,
    sessions: SessionNumbers,
    nodes: u8,
    stopped: bool,
}

impl Clients {
    pub(crate) fn new(count: usize, nodes: u8, world: &mut World) -> Self {
        let mut clients = Vec::new();
        for client in 0..count {
            let wait = world.millis(300, 600);
            world.schedule_in(wait, Event::Client { client, attempt: 0 });
            clients.push(Client {
                attempt: 0,
                current: None,
                leader: None,
                workload: Workload::new(client, GROUPS, world.rng.fork()),
                lost: 0,
                has_node: false,
            });
        }
        let sessions = SessionNumbers::default();
        Clients { clients, history: Vec::new(), sessions, nodes, stopped: false }
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
        let to = favourite.filter(|_| !is_stale(&record.what)).unwrap_or(anyone);
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
        let (purpose, what) = self.choose(client, world);
        let id = world.next_operation();
        let (called, floor) = (world.now, world.observer.acknowledged);
        let deadline = called.after(Duration::from_millis(world.rng.u64(200..1200)));
        let record = self.history.len();
        self.clients[client].current = Some(Current { record, floor, deadline });
        self.history.push(Record { id, purpose, what, called, returned: None });
    }

    fn choose(&mut self, client: usize, world: &mut World) -> (Purpose, What) {
        let state = &mut self.clients[client];
        let node = node_name(client, state.lost);
        if !state.has_node {
            return (Purpose::Node, What::Change(plan::node(&node, client)));
        }
        match world.rng.u8(0..100) {
            0..2 => {
                let ends = state.workload.drop_sessions();
                (state.has_node, state.lost) = (false, state.lost + 1);
                let what = plan::loss(&node, world.rng.u8(0..3));
                return (Purpose::Loss { ends }, What::Change(what));
            }
            2..8 => {
                let what = plan::churn(&node, client, &mut world.rng);
                return (Purpose::Churn, What::Change(what));
            }
            _ => {}
        }
        let group = state.workload.pick_group();
        if state.workload.lacks_session(group) {
            let (ending, behavior) = match world.rng.bool() {
                true => (Ending::Release, Behavior::Release),
                false => (Ending::Delete, Behavior::Delete),
            };
            let session = SessionRow {
                node,
                behavior,
                node_checks: vec![plan::NODE_CHECK.into()],
                ..SessionRow::default()
            };
            let what = What::Change(plan::session(session));
            return (Purpose::Session { group, ending }, what);
        }
        let plan = state.workload.plan(group);
        let what = plan::what(&plan, &self.sessions, draw_consistency(world));
        (Purpose::Plan(plan), what)
    }

    pub(crate) fn answered(&mut self, reply: Reply, world: &mut World) {
        let Reply { client, attempt, by, outcome } = reply;
        let state = &mut self.clients[client];
        if state.attempt != attempt {
            return;
        }
        let Some(current) = &state.current else { return };
        let told = match outcome {
            Outcome::Told(told) => told,
            Outcome::Refused(leader) => {
                state.leader = leader;
                let wait = world.millis(2, 30);
                world.schedule_in(wait, Event::Client { client, attempt });
                return;
            }
        };
        let record = &mut self.history[current.record];
        world.observer.counts.answered(&record.what);
        if !is_stale(&record.what) {
            state.leader = Some(by);
        }
        let (id, what) = (record.id.0, record.what.name());
        world.say(format_args!("client {client} {what} {id} at {by}: {told:?}"));
        match &record.purpose {
            Purpose::Node => state.has_node = true,
            Purpose::Session { group, ending } => match &told {
                Told::Session(id) => {
                    let number = self.sessions.add(id.clone());
                    state.workload.take_session(*group, number, *ending);
                }
                // Its node went away, late.
                _ => (state.has_node, state.lost) = (false, state.lost + 1),
            },
            Purpose::Plan(plan) if is_promised(&record.what, world) => {
                let outcome = plan::ended(plan, &told, &self.sessions);
                let act = Act { steps: plan.steps.clone(), outcome };
                state.workload.learn(plan.group, &act);
            }
            Purpose::Plan(_) | Purpose::Loss { .. } | Purpose::Churn => {}
        }
        record.returned = Some((world.now, told));
        self.finish(client, world);
    }

    /// The outcome stays unknown.
    pub(crate) fn gives_up(&mut self, client: usize, attempt: u64, world: &mut World) {
        let state = &mut self.clients[client];
        let Some(current) = state.current.as_ref().filter(|_| state.attempt == attempt) else {
            return;
        };
        let record = &self.history[current.record];
        match &record.purpose {
            Purpose::Node => state.lost += 1,
            Purpose::Plan(plan) => {
                let act = Act { steps: plan.steps.clone(), outcome: Ended::Unknown };
                state.workload.learn(plan.group, &act);
            }
            _ => {}
        }
        let id = record.id.0;
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
            let is_change = matches!(record.what, What::Change(_));
            is_change && record.returned.is_some() && record.called >= since
        })
    }

    /// Changes whose success was told and that no server has applied.
    pub(crate) fn lost(&self, world: &World) -> Vec<String> {
        let is_lost = |record: &&Record| {
            let told = record.returned.as_ref().map(|(_, told)| told);
            told.is_some_and(Told::is_success)
                && matches!(record.what, What::Change(_))
                && !world.observer.was_applied(record.id)
        };
        let lost = self.history.iter().filter(is_lost);
        lost.map(|record| format!("acknowledged writes: {} was never applied", record.id.0))
            .collect()
    }

    /// What was done to a group of keys and seen of it. Changes that no server ever applied had
    /// no effect and are left out, as are reads without an answer and those that promise
    /// nothing.
    pub(crate) fn history_of(&self, group: usize, world: &World) -> Vec<Operation<Act>> {
        self.history.iter().filter_map(|record| self.operation(record, group, world)).collect()
    }

    fn operation(&self, record: &Record, group: usize, world: &World) -> Option<Operation<Act>> {
        let is_change = matches!(record.what, What::Change(_));
        let had_effect = is_change && world.observer.was_applied(record.id);
        if record.returned.is_none() && !had_effect {
            return None;
        }
        let told = record.returned.as_ref().map(|(_, told)| told);
        let act = match &record.purpose {
            Purpose::Plan(plan) if plan.group == group && is_promised(&record.what, world) => {
                let outcome =
                    told.map_or(Ended::Unknown, |told| plan::ended(plan, told, &self.sessions));
                Act { steps: plan.steps.clone(), outcome }
            }
            // What is refused has no effect.
            Purpose::Loss { ends } if !matches!(told, Some(Told::Failed(_))) => {
                let ends = ends.iter().filter(|(of, _)| *of == group);
                let steps: Vec<Step> = ends.map(|(_, step)| step.clone()).collect();
                if steps.is_empty() {
                    return None;
                }
                let done = Ended::Done(vec![linearizability::keys::Told::Done; steps.len()]);
                Act { outcome: told.map_or(Ended::Unknown, |_| done), steps }
            }
            _ => return None,
        };
        let returned = record.returned.as_ref().map(|(at, _)| at.0);
        Some(Operation { called: record.called.0, returned, act })
    }
}

/// The node that a client goes by after it lost some.
fn node_name(client: usize, lost: u64) -> NodeName {
    format!("client-{client}-{lost}").as_str().into()
}

fn is_stale(what: &What) -> bool {
    matches!(what, What::Ask { consistency: Consistency::Stale, .. })
}

/// Whether what is told must be the newest.
fn is_promised(what: &What, world: &World) -> bool {
    match what {
        What::Change(_) => true,
        What::Ask { consistency: Consistency::Default, .. } => world.default_reads_promised,
        What::Ask { consistency, .. } => *consistency == Consistency::Consistent,
    }
}

fn draw_consistency(world: &mut World) -> Consistency {
    match world.rng.u8(0..8) {
        0 => Consistency::Stale,
        1..3 => Consistency::Consistent,
        _ => Consistency::Default,
    }
}
