//! Watchers: clients that always wait for the next change of what they look at.

use std::time::Duration;

use contract::Consistency;
use types::Index;

use crate::call::{Answer, Question, Told, What};
use crate::client::{Outcome, Reply, Request};
use crate::plan::{self, SERVICE};
use crate::scenario::GROUPS;
use crate::world::{Event, Node, OperationId, World};

struct Watcher {
    question: Question,
    consistency: Consistency,
    attempt: u64,
    leader: Option<Node>,
    known: Option<Answer>,
    /// The index to wait beyond.
    min_index: Index,
}

/// All watchers. Their numbers follow those of the clients.
pub(crate) struct Watchers {
    watchers: Vec<Watcher>,
    first: usize,
    nodes: u8,
}

impl Watchers {
    pub(crate) fn new(first: usize, count: usize, nodes: u8, world: &mut World) -> Self {
        let mut watchers = Vec::new();
        for number in 0..count {
            let wait = world.millis(300, 600);
            let client = first + number;
            world.schedule_in(wait, Event::Client { client, attempt: 0 });
            let (group, key) = (world.rng.usize(0..GROUPS), world.rng.usize(0..3));
            let question = match world.rng.u8(0..6) {
                0 | 1 => Question::Key(plan::key(group, key).into()),
                2 => Question::Keys(format!("lin/{group}/").into()),
                3 => Question::NodeSessions("client-0-0".into()),
                4 => Question::Instances(SERVICE.to_owned()),
                _ => Question::Nodes,
            };
            let consistency = match world.rng.bool() {
                true => Consistency::Stale,
                false => Consistency::Default,
            };
            let (attempt, leader, known) = (0, None, None);
            let min_index = Index::ZERO;
            watchers.push(Watcher { question, consistency, attempt, leader, known, min_index });
        }
        Watchers { watchers, first, nodes }
    }

    /// From now on only the leader is asked: another server may be none of the cluster any more.
    pub(crate) fn ask_the_leader(&mut self) {
        for watcher in &mut self.watchers {
            watcher.consistency = Consistency::Default;
        }
    }

    fn get(&mut self, client: usize, attempt: u64) -> Option<&mut Watcher> {
        let place = client.checked_sub(self.first)?;
        self.watchers.get_mut(place).filter(|watcher| watcher.attempt == attempt)
    }

    /// Asks, or asks again.
    pub(crate) fn wake(&mut self, client: usize, attempt: u64, world: &mut World) {
        let nodes = self.nodes;
        let Some(watcher) = self.get(client, attempt) else { return };
        watcher.attempt += 1;
        let attempt = watcher.attempt;
        let anyone = Node(world.rng.u8(0..nodes));
        let is_stale = watcher.consistency == Consistency::Stale;
        let favourite = watcher.leader.filter(|_| !is_stale && world.rng.u8(0..10) > 0);
        let what = What::Ask {
            question: watcher.question.clone(),
            consistency: watcher.consistency,
            min_index: watcher.min_index,
        };
        let (operation, floor) = (OperationId(0), world.observer.acknowledged);
        let request = Request { client, attempt, operation, floor, what };
        let wait = world.micros(50, 2000);
        world.schedule_in(wait, Event::Request { to: favourite.unwrap_or(anyone), request });
        let patience = Duration::from_millis(world.rng.u64(300..1800));
        world.schedule_in(patience, Event::Deadline { client, attempt });
    }

    pub(crate) fn answered(&mut self, reply: Reply, world: &mut World) {
        let Reply { client, attempt, by, outcome } = reply;
        let Some(watcher) = self.get(client, attempt) else { return };
        let wait = match outcome {
            Outcome::Told(Told::Rows(answer)) => {
                if watcher.consistency != Consistency::Stale {
                    watcher.leader = Some(by);
                }
                // An index that goes back says that it begins anew (`reference/http-api.md` 1.8).
                let goes_back = answer.index < watcher.min_index;
                watcher.min_index = if goes_back { Index::ZERO } else { answer.index };
                let index = answer.index;
                world.say(format_args!("watcher {client} at {by}: {index}"));
                watcher.known = Some(answer);
                world.millis(1, 20)
            }
            Outcome::Told(told) => {
                world.violation(format!("watches: a query is answered with {told:?}"));
                return;
            }
            Outcome::Refused(leader) => {
                watcher.leader = leader;
                world.millis(5, 40)
            }
        };
        world.schedule_in(wait, Event::Client { client, attempt });
    }

    /// Asks elsewhere.
    pub(crate) fn gives_up(&mut self, client: usize, attempt: u64, world: &mut World) {
        if let Some(watcher) = self.get(client, attempt) {
            watcher.leader = None;
            self.wake(client, attempt, world);
        }
    }

    /// Of watchers that do not know what there is to know in the end.
    pub(crate) fn behind(&self, state: &store::State) -> Vec<String> {
        let mut wrong = Vec::new();
        for Watcher { question, known, .. } in &self.watchers {
            let last = question.answer(state);
            if known.as_ref().is_none_or(|known| known.rows != last.rows) {
                let known = known.as_ref().map(|known| known.index);
                wrong.push(format!(
                    "watches: who waits for {question:?} has seen {known:?}, not {}",
                    last.index
                ));
            }
        }
        wrong
    }
}
