//! Keepers: clients whose sessions live by being renewed, and who want the same lock.

use std::time::Duration;

use domains::kv::{KvCommand, KvOp};
use domains::session::{SessionCommand, SessionOp};
use types::kv::KvEntry;
use types::session::{Behavior, Session};
use types::{NodeName, SessionId};

use crate::call::{Change, Told, What};
use crate::client::{Outcome, Reply, Request};
use crate::clock::Time;
use crate::plan;
use crate::world::{Event, Node, World};

/// How long their sessions live.
const TTL: Duration = Duration::from_millis(600);

/// That, by the fastest of steady clocks.
const TTL_LEAST: Duration = Duration::from_millis(570);

/// The shortest TTL that simulated leaders allow.
pub(crate) const TTL_MIN_MS: i64 = 100;

/// What they lock.
const LOCK: &str = "keep/lock";

/// What a keeper does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Register,
    Create,
    Acquire,
    Renew,
}

struct Keeper {
    node: NodeName,
    step: Step,
    session: SessionId,
    attempt: u64,
    leader: Option<Node>,
    /// When the step was first asked for.
    called: Option<Time>,
    /// When the last step was asked for from which the session has its time.
    renewed: Time,
    holds: bool,
}

/// From when to when a keeper surely held the lock.
struct Hold {
    keeper: usize,
    from: Time,
    to: Time,
}

/// All keepers. Their numbers follow those of the watchers.
pub(crate) struct Keepers {
    keepers: Vec<Keeper>,
    holds: Vec<Hold>,
    first: usize,
    nodes: u8,
    stopped: bool,
}

impl Keepers {
    pub(crate) fn new(first: usize, count: usize, nodes: u8, world: &mut World) -> Self {
        let mut keepers = Vec::new();
        for number in 0..count {
            let wait = world.millis(300, 600);
            world.schedule_in(wait, Event::Client { client: first + number, attempt: 0 });
            keepers.push(Keeper {
                node: format!("keeper-{number}").as_str().into(),
                step: Step::Register,
                session: SessionId::default(),
                attempt: 0,
                leader: None,
                called: None,
                renewed: Time(0),
                holds: false,
            });
        }
        Keepers { keepers, holds: Vec::new(), first, nodes, stopped: false }
    }

    /// Nothing is renewed any more.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    fn place(&self, client: usize, attempt: u64) -> Option<usize> {
        let place = client.checked_sub(self.first)?;
        let keeper = self.keepers.get(place)?;
        (keeper.attempt == attempt).then_some(place)
    }

    /// Asks, or asks again.
    pub(crate) fn wake(&mut self, client: usize, attempt: u64, world: &mut World) {
        let Some(place) = self.place(client, attempt).filter(|_| !self.stopped) else { return };
        let keeper = &mut self.keepers[place];
        keeper.attempt += 1;
        keeper.called.get_or_insert(world.now);
        let attempt = keeper.attempt;
        let anyone = Node(world.rng.u8(0..self.nodes));
        let to = keeper.leader.filter(|_| world.rng.u8(0..10) > 0).unwrap_or(anyone);
        // One that is tried again may be in the log already, which is why none of them may do
        // harm the second time.
        let operation = world.next_operation();
        let (floor, what) = (world.observer.acknowledged, What::Change(keeper.change(place)));
        let request = Request { client, attempt, operation, floor, what };
        let wait = world.micros(50, 2000);
        world.schedule_in(wait, Event::Request { to, request });
        let patience = world.millis(60, 400);
        world.schedule_in(patience, Event::Deadline { client, attempt });
    }

    /// Nobody knows what became of it.
    pub(crate) fn gives_up(&mut self, client: usize, attempt: u64, world: &mut World) {
        let Some(place) = self.place(client, attempt) else { return };
        let keeper = &mut self.keepers[place];
        // A renewal that is tried again counts from when it is.
        (keeper.leader, keeper.called) = (None, None);
        self.wake(client, attempt, world);
    }

    pub(crate) fn answered(&mut self, reply: Reply, world: &mut World) {
        let Reply { client, attempt, by, outcome } = reply;
        let Some(place) = self.place(client, attempt) else { return };
        let keeper = &mut self.keepers[place];
        let wait = match outcome {
            Outcome::Refused(leader) => {
                keeper.leader = leader;
                world.millis(2, 30)
            }
            Outcome::Told(told) => {
                keeper.leader = Some(by);
                world.say(format_args!("keeper {place} {:?} at {by}: {told:?}", keeper.step));
                let called = keeper.called.take().unwrap_or(world.now);
                self.told(place, called, &told, world);
                match world.rng.u8(0..16) {
                    // So long that the session ends.
                    0 => TTL + world.millis(100, 2000),
                    _ => world.millis(30, 200),
                }
            }
        };
        world.schedule_in(wait, Event::Client { client, attempt });
    }

    fn told(&mut self, place: usize, called: Time, told: &Told, world: &mut World) {
        let keeper = &mut self.keepers[place];
        match (keeper.step, told) {
            (Step::Register, _) => keeper.step = Step::Create,
            (Step::Create, Told::Session(id)) => {
                (keeper.session, keeper.renewed) = (id.clone(), called);
                keeper.step = Step::Acquire;
            }
            (Step::Acquire, Told::Held(held)) => {
                keeper.holds = *held;
                keeper.step = Step::Renew;
                let (from, to) = (world.now, keeper.renewed.after(TTL_LEAST));
                if *held && from < to {
                    self.holds.push(Hold { keeper: place, from, to });
                }
            }
            (Step::Renew, Told::Done) => {
                keeper.renewed = called;
                let to = called.after(TTL_LEAST);
                let last = self.holds.iter_mut().rev().find(|hold| hold.keeper == place);
                match last.filter(|_| keeper.holds) {
                    Some(hold) => hold.to = hold.to.max(to),
                    None => keeper.step = Step::Acquire,
                }
            }
            (Step::Create, _) => keeper.step = Step::Register,
            (Step::Acquire | Step::Renew, told) => {
                let end = keeper.renewed.after(TTL_LEAST);
                if world.now < end && world.default_reads_promised {
                    let (step, id) = (keeper.step, keeper.session.as_str());
                    let what = format!(
                        "session time: {step:?} of {id} is told {told:?} before its time is over"
                    );
                    world.violation(what);
                }
                (keeper.step, keeper.holds) = (Step::Create, false);
            }
        }
    }

    /// Two that held the lock at one time.
    pub(crate) fn overlap(&self) -> Option<String> {
        self.holds.iter().enumerate().find_map(|(number, one)| {
            let overlaps = |other: &&Hold| {
                other.keeper != one.keeper && other.from < one.to && one.from < other.to
            };
            let other = self.holds[number + 1..].iter().find(overlaps)?;
            let ((a, b), (from, to)) = ((one.keeper, other.keeper), (other.from.0, one.to.0));
            Some(format!(
                "lock exclusion: keepers {a} and {b} hold one lock from {from} to {to} ns"
            ))
        })
    }
}

impl Keeper {
    fn change(&self, place: usize) -> Change {
        let session = |op, session| {
            Change::Session(SessionCommand { op, session, ..SessionCommand::default() })
        };
        match self.step {
            Step::Register => plan::node(&self.node, 100 + place),
            Step::Create => session(
                SessionOp::Create,
                Session {
                    node: self.node.clone(),
                    ttl: format!("{}ms", TTL.as_millis()),
                    behavior: Behavior::Release,
                    ..Session::default()
                },
            ),
            Step::Acquire => {
                let (key, session) = (LOCK.into(), self.session.clone());
                let entry = KvEntry { key, session, ..KvEntry::default() };
                Change::Key(KvCommand { op: KvOp::Lock, entry, ..KvCommand::default() })
            }
            Step::Renew => session(
                SessionOp::Renew,
                Session { id: self.session.clone(), ..Session::default() },
            ),
        }
    }
}
