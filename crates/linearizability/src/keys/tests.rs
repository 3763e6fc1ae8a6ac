//! The checkers bite: each fault of a server that is wrong on purpose is found, and one
//! that is right is not accused.

use std::collections::BTreeSet;

use super::workload::{Client, Plan};
use super::{Act, Ending, Fault, KEYS, Outcome, Row, Session, Step, Told, exclusion};
use crate::Operation;

/// Groups of keys.
const GROUPS: usize = 12;

/// Steps that are far more than these searches take.
const STEPS_MAX: usize = 3_000_000;

fn find_fault(history: &[Operation<Act>]) -> Option<Fault> {
    super::find_fault(history, STEPS_MAX)
}

/// What is wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// A write that was acknowledged is not there.
    LostWrite,
    /// A read tells what was there before the last write.
    StaleRead,
    /// Of a transaction that is refused, some is done.
    HalfRefused,
    /// Of a transaction that is accepted, the last step is not done.
    HalfDone,
    /// A lock that is held is given to another.
    TwoHolders,
    /// A comparison holds whatever the index is.
    IgnoresIndex,
    /// The end of a session leaves its locks behind.
    LocksOutlive,
    /// The end of a session leaves keys behind that should end with it.
    KeysOutlive,
}

const BUGS: [Bug; 8] = [
    Bug::LostWrite,
    Bug::StaleRead,
    Bug::HalfRefused,
    Bug::HalfDone,
    Bug::TwoHolders,
    Bug::IgnoresIndex,
    Bug::LocksOutlive,
    Bug::KeysOutlive,
];

#[derive(Clone, Debug)]
struct Cell {
    value: u64,
    index: u64,
    holder: Session,
}

type Cells = [Option<Cell>; KEYS];

/// A server in memory.
struct Server {
    bug: Bug,
    random: fastrand::Rng,
    index: u64,
    groups: Vec<Cells>,
    /// As they were before their last change.
    before: Vec<Cells>,
    over: BTreeSet<Session>,
}

impl Server {
    fn new(bug: Bug, seed: u64) -> Self {
        let groups = vec![Cells::default(); GROUPS];
        let before = groups.clone();
        let random = fastrand::Rng::with_seed(seed);
        Self { bug, random, index: 10, groups, before, over: BTreeSet::new() }
    }

    /// Whether the bug shows this time.
    fn strikes(&mut self, bug: Bug, one_in: u32) -> bool {
        self.bug == bug && self.random.u32(..one_in) == 0
    }

    fn run(&mut self, plan: &Plan) -> Outcome {
        self.index += 1;
        let start = self.groups[plan.group].clone();
        let reads = plan.steps.iter().all(|step| matches!(step, Step::Get(_)));
        if reads && self.strikes(Bug::StaleRead, 30) {
            let cells = self.before[plan.group].clone();
            return Outcome::Done(
                plan.steps.iter().map(|step| row(&cells, step.key().unwrap(), true)).collect(),
            );
        }
        let half = plan.steps.len() > 1 && self.strikes(Bug::HalfDone, 30);
        let (mut told, mut refused) = (Vec::new(), Vec::new());
        for (at, step) in plan.steps.iter().enumerate() {
            let undone = self.groups[plan.group].clone();
            match self.step(plan.group, step) {
                Some(row) => told.push(if plan.is_txn || reads { row } else { Told::Done }),
                None => refused.push(at),
            }
            if half && at + 1 == plan.steps.len() {
                self.groups[plan.group] = undone;
            }
        }
        if !refused.is_empty() {
            if !self.strikes(Bug::HalfRefused, 10) {
                self.groups[plan.group] = start;
            }
            return Outcome::Refused(refused);
        }
        if !reads && self.strikes(Bug::LostWrite, 40) {
            self.groups[plan.group] = start.clone();
        }
        if !reads {
            self.before[plan.group] = start;
        }
        Outcome::Done(told)
    }

    fn step(&mut self, group: usize, step: &Step) -> Option<Told> {
        let index_of = |cells: &Cells, key: usize| cells[key].as_ref().map_or(0, |cell| cell.index);
        let holder_of =
            |cells: &Cells, key: usize| cells[key].as_ref().map_or(0, |cell| cell.holder);
        let cells = &self.groups[group];
        let write = match *step {
            Step::Get(key) => return Some(row(cells, key, true)),
            Step::CheckIndex(key, index) => {
                return (index_of(cells, key) == index && index != 0)
                    .then(|| row(cells, key, false));
            }
            Step::CheckNotExists(key) => return cells[key].is_none().then_some(Told::Done),
            Step::Delete(key) => {
                self.groups[group][key] = None;
                return Some(Told::Done);
            }
            Step::DeleteCas(key, index) => {
                if cells[key].is_some() && index_of(cells, key) != index {
                    return None;
                }
                self.groups[group][key] = None;
                return Some(Told::Done);
            }
            Step::Destroy(session, ending) => {
                self.over.insert(session);
                if self.strikes(Bug::LocksOutlive, 2) {
                    return Some(Told::Done);
                }
                let ending = match ending {
                    Ending::Delete if self.strikes(Bug::KeysOutlive, 2) => Ending::Release,
                    ending => ending,
                };
                let holds = |cell: &&mut Cell| cell.holder == session;
                for place in &mut self.groups[group] {
                    match (place.as_mut().filter(holds), ending) {
                        (None, _) => {}
                        (Some(cell), Ending::Release) => {
                            (cell.holder, cell.index) = (0, self.index);
                        }
                        (Some(_), Ending::Delete) => *place = None,
                    }
                }
                return Some(Told::Done);
            }
            Step::Set(key, value) => Some((key, value, holder_of(cells, key))),
            Step::Cas(key, value, index) => {
                let (matches, holder) = (index_of(cells, key) == index, holder_of(cells, key));
                (matches || self.strikes(Bug::IgnoresIndex, 20)).then_some((key, value, holder))
            }
            Step::Lock(key, value, session) => {
                let holder = holder_of(cells, key);
                let is_free = holder == 0 || holder == session || self.strikes(Bug::TwoHolders, 4);
                (is_free && !self.over.contains(&session)).then_some((key, value, session))
            }
            Step::Unlock(key, value, session) => {
                (holder_of(cells, key) == session).then_some((key, value, 0))
            }
        };
        let (key, value, holder) = write?;
        self.groups[group][key] = Some(Cell { value, index: self.index, holder });
        Some(row(&self.groups[group], key, false))
    }
}

fn row(cells: &Cells, key: usize, tells_value: bool) -> Told {
    match &cells[key] {
        None => Told::Absent,
        Some(cell) => Told::Row(Row {
            value: tells_value.then_some(cell.value),
            index: cell.index,
            holder: cell.holder,
        }),
    }
}

/// What a client is at.
enum Stage {
    Idle,
    /// Its request is under way.
    Asked {
        called: u64,
        plan: Plan,
    },
    /// Its answer is.
    Answered {
        called: u64,
        plan: Plan,
        outcome: Outcome,
    },
}

/// Events of one run; three make an act.
const EVENTS: usize = 9_000;

/// Concurrent clients of a server, one event after the other under a seed.
fn simulate(bug: Bug, seed: u64) -> Vec<Vec<Operation<Act>>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut server = Server::new(bug, seed);
    let mut clients: Vec<(u64, Stage, Client)> = (0..6)
        .map(|number| (number, Stage::Idle, Client::new(number as usize, GROUPS, random.fork())))
        .collect();
    let mut histories = vec![Vec::new(); GROUPS];
    let mut sessions = 0;
    for _ in 0..EVENTS {
        let next = (0..clients.len()).min_by_key(|at| clients[*at].0).expect("there are some");
        let (time, stage, client) = &mut clients[next];
        let now = *time;
        // Never two events at one time: what is at the same time is not in any order.
        *time += 1 + 6 * random.u64(1..40) + next as u64;
        *stage = match std::mem::replace(stage, Stage::Idle) {
            Stage::Idle => {
                let group = client.pick_group();
                if client.lacks_session(group) {
                    sessions += 1;
                    let ending = [Ending::Release, Ending::Delete][random.usize(..2)];
                    client.take_session(group, sessions, ending);
                }
                Stage::Asked { called: now, plan: client.plan(group) }
            }
            Stage::Asked { called, plan } => {
                // One request in a hundred is lost on its way, one answer too.
                let outcome = match random.u8(..100) {
                    0 => Outcome::Unknown,
                    1 => {
                        server.run(&plan);
                        Outcome::Unknown
                    }
                    _ => server.run(&plan),
                };
                Stage::Answered { called, plan, outcome }
            }
            Stage::Answered { called, plan, outcome } => {
                let act = Act { steps: plan.steps, outcome };
                client.learn(plan.group, &act);
                let returned = (act.outcome != Outcome::Unknown).then_some(now);
                histories[plan.group].push(Operation { called, returned, act });
                Stage::Idle
            }
        };
    }
    histories
}

#[test]
fn a_server_that_is_right_is_not_accused() {
    for seed in 0..4 {
        for history in simulate(Bug::None, seed) {
            assert_eq!(find_fault(&history), None, "seed {seed}");
        }
    }
}

#[test]
fn every_planted_bug_is_found() {
    for bug in BUGS {
        let is_found = |seed| {
            let histories = simulate(bug, seed);
            histories
                .iter()
                .any(|history| find_fault(history).is_some_and(|fault| fault != Fault::Undecided))
        };
        let found: Vec<bool> = (0..3).map(is_found).collect();
        assert!(found.iter().all(|found| *found), "{bug:?} hid: {found:?}");
    }
}

#[test]
fn two_holders_are_found_by_the_plain_question_too() {
    for seed in 0..3 {
        let overlap =
            |bug| simulate(bug, seed).iter().find_map(|history| exclusion::check(history));
        assert!(overlap(Bug::TwoHolders).is_some(), "seed {seed}");
        assert_eq!(overlap(Bug::None), None, "seed {seed}");
    }
}

/// Steps, and how they ended.
type Ended = (Vec<Step>, Outcome);

/// Acts one after the other, each known.
fn one_after_the_other(acts: &[Ended]) -> Vec<Operation<Act>> {
    let operation = |(at, (steps, outcome)): (usize, &Ended)| Operation {
        called: 10 * at as u64,
        returned: Some(10 * at as u64 + 5),
        act: Act { steps: steps.clone(), outcome: outcome.clone() },
    };
    acts.iter().enumerate().map(operation).collect()
}

#[test]
fn histories_that_no_server_may_give_are_refused() {
    let done = || Outcome::Done(vec![Told::Done]);
    let told = |value, index, holder| Told::Row(Row { value, index, holder });
    let get = |row| (vec![Step::Get(0)], Outcome::Done(vec![row]));
    let good = [
        (vec![Step::Set(0, 1)], done()),
        get(told(Some(1), 7, 0)),
        (vec![Step::Cas(0, 2, 7)], done()),
        (vec![Step::Cas(0, 3, 7)], Outcome::Refused(vec![0])),
        (vec![Step::Set(1, 4), Step::CheckNotExists(0)], Outcome::Refused(vec![1])),
        (vec![Step::Lock(0, 5, 1)], done()),
        (vec![Step::Lock(0, 6, 2)], Outcome::Refused(vec![0])),
        (vec![Step::Destroy(1, Ending::Release)], done()),
        get(told(Some(5), 30, 0)),
        (vec![Step::Lock(0, 7, 1)], Outcome::Refused(vec![0])),
    ];
    assert_eq!(find_fault(&one_after_the_other(&good)), None);
    let wrong: [(&str, usize, Ended); 7] = [
        ("lost write", 1, get(Told::Absent)),
        ("value of nobody", 1, get(told(Some(9), 7, 0))),
        ("comparison that ignores the index", 3, (vec![Step::Cas(0, 3, 7)], done())),
        ("half a transaction", 5, (vec![Step::Get(1)], Outcome::Done(vec![told(Some(4), 20, 0)]))),
        ("second holder", 6, (vec![Step::Lock(0, 6, 2)], done())),
        ("lock of a session that is over", 8, get(told(Some(5), 30, 1))),
        ("lock for a session that is over", 9, (vec![Step::Lock(0, 7, 1)], done())),
    ];
    for (what, at, act) in wrong {
        let mut acts = good.to_vec();
        acts[at] = act;
        assert!(find_fault(&one_after_the_other(&acts)).is_some(), "{what}");
    }
    // A stale read is right while the write is under way, and wrong after it.
    let mut history = one_after_the_other(&[
        (vec![Step::Set(0, 1)], done()),
        (vec![Step::Set(0, 2)], done()),
        get(told(Some(1), 7, 0)),
    ]);
    assert!(find_fault(&history).is_some());
    history[1].returned = Some(100);
    assert_eq!(find_fault(&history), None);
    history[1].returned = None;
    assert_eq!(find_fault(&history), None);
}
