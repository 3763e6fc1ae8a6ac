//! A few keys with their locks as one machine: what a server must look like.
//!
//! Every value is written once, so that a value names the write it came from. The index
//! that a write got is known only when somebody was told it.
//!
//! - [`workload`]: what clients ask.
//! - [`exclusion`]: two sessions never hold one lock.
//! - [`find_fault`]: what is wrong with what clients saw.

pub mod exclusion;
#[cfg(test)]
mod tests;
pub mod workload;

use std::collections::BTreeSet;

use self::exclusion::Hold;
use crate::{Model, Operation, Verdict, check};

/// Keys that transactions touch together, and that are checked together.
pub const KEYS: usize = 3;

/// A session; zero is none.
pub type Session = u32;

/// What the end of a session does to the keys that it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// They stay, unlocked.
    #[default]
    Release,
    /// They are deleted.
    Delete,
}

/// One step of an act. An act with one step is a plain call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads the key.
    Get(usize),
    /// Writes this value.
    Set(usize, u64),
    /// Writes this value if the key has this index; zero: if it is not there.
    Cas(usize, u64, u64),
    /// Deletes the key.
    Delete(usize),
    /// Deletes the key if it has this index or is not there.
    DeleteCas(usize, u64),
    /// Writes this value and takes the lock.
    Lock(usize, u64, Session),
    /// Writes this value and gives the lock back.
    Unlock(usize, u64, Session),
    /// Goes on if the key has this index.
    CheckIndex(usize, u64),
    /// Goes on if the key is not there.
    CheckNotExists(usize),
    /// Ends a session and with it its locks, in the way it was made with.
    Destroy(Session, Ending),
}

/// What was told of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// `None` where values are not told.
    pub value: Option<u64>,
    /// Its `ModifyIndex`.
    pub index: u64,
    /// The session that has its lock.
    pub holder: Session,
}

/// What was told of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing but that it was done.
    Done,
    /// The key is not there.
    Absent,
    /// The key is there.
    Row(Row),
}

/// How an act ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps were done.
    Done(Vec<Told>),
    /// These steps were refused, and none was done.
    Refused(Vec<usize>),
    /// Nobody knows.
    Unknown,
}

/// An act with its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// What was asked, all of it or nothing to be done.
    pub steps: Vec<Step>,
    /// How it ended.
    pub outcome: Outcome,
}

/// A key that is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    value: u64,
    /// `None` until somebody is told it.
    index: Option<u64>,
    holder: Session,
}

/// The keys, and the sessions that are over.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct State {
    cells: [Option<Cell>; KEYS],
    over: BTreeSet<Session>,
}

/// The machine. All sessions of an act were made before it began.
#[derive(Debug)]
pub struct Keys;

impl Model for Keys {
    type State = State;
    type Act = Act;

    fn initial(&self) -> State {
        State::default()
    }

    fn apply(&self, act: &Act, is_known: bool, state: &mut State) -> bool {
        let mut next = state.clone();
        let told = match &act.outcome {
            Outcome::Done(told) if is_known => told.as_slice(),
            _ => &[],
        };
        let mut refused = Vec::new();
        for (at, step) in act.steps.iter().enumerate() {
            match next.step(step, told.get(at).unwrap_or(&Told::Done)) {
                Ended::Done => {}
                Ended::Refused => refused.push(at),
                Ended::Otherwise => return false,
            }
        }
        let is_right = match &act.outcome {
            Outcome::Done(_) => refused.is_empty(),
            Outcome::Refused(told) => refused == *told,
            Outcome::Unknown => true,
        };
        if refused.is_empty() {
            *state = next;
        }
        is_right || !is_known
    }
}

/// How a step ended.
enum Ended {
    Done,
    Refused,
    /// With something else than what was told.
    Otherwise,
}

impl State {
    fn step(&mut self, step: &Step, told: &Told) -> Ended {
        match *step {
            Step::Get(key) => return self.meet(key, told),
            Step::Set(key, value) => {
                let holder = self.holder(key);
                return self.write(key, value, holder, told);
            }
            Step::Cas(key, value, index) if self.has_index(key, index) => {
                let holder = self.holder(key);
                return self.write(key, value, holder, told);
            }
            Step::Lock(key, value, session) => {
                let holder = self.holder(key);
                if (holder == 0 || holder == session) && !self.over.contains(&session) {
                    return self.write(key, value, session, told);
                }
            }
            Step::Unlock(key, value, session) if self.holder(key) == session => {
                return self.write(key, value, 0, told);
            }
            Step::Delete(key) => {
                self.cells[key] = None;
                return Ended::Done;
            }
            Step::DeleteCas(key, index)
                if self.cells[key].is_none() || self.has_index(key, index) =>
            {
                self.cells[key] = None;
                return Ended::Done;
            }
            Step::CheckIndex(key, index)
                if self.cells[key].is_some() && self.has_index(key, index) =>
            {
                return self.meet(key, told);
            }
            Step::CheckNotExists(key) if self.cells[key].is_none() => return Ended::Done,
            Step::Destroy(session, ending) => {
                self.over.insert(session);
                for place in &mut self.cells {
                    let Some(cell) = place.as_mut().filter(|cell| cell.holder == session) else {
                        continue;
                    };
                    match ending {
                        Ending::Release => (cell.holder, cell.index) = (0, None),
                        Ending::Delete => *place = None,
                    }
                }
                return Ended::Done;
            }
            Step::Cas(..)
            | Step::Unlock(..)
            | Step::DeleteCas(..)
            | Step::CheckIndex(..)
            | Step::CheckNotExists(_) => {}
        }
        Ended::Refused
    }

    fn holder(&self, key: usize) -> Session {
        self.cells[key].as_ref().map_or(0, |cell| cell.holder)
    }

    /// An index is used by those only who were told it, at a moment when it was the
    /// key's: one that nobody was told is none that is asked for.
    fn has_index(&self, key: usize, index: u64) -> bool {
        match &self.cells[key] {
            None => index == 0,
            Some(cell) => cell.index == Some(index),
        }
    }

    fn write(&mut self, key: usize, value: u64, holder: Session, told: &Told) -> Ended {
        self.cells[key] = Some(Cell { value, index: None, holder });
        self.meet(key, told)
    }

    /// Compares with what was told, and learns the index from it.
    fn meet(&mut self, key: usize, told: &Told) -> Ended {
        let is_right = match (told, &mut self.cells[key]) {
            (Told::Done, _) | (Told::Absent, None) => true,
            (Told::Absent, Some(_)) | (Told::Row(_), None) => false,
            (Told::Row(row), Some(cell)) => {
                let index = *cell.index.get_or_insert(row.index);
                row.value.is_none_or(|value| value == cell.value)
                    && row.holder == cell.holder
                    && row.index == index
            }
        };
        if is_right { Ended::Done } else { Ended::Otherwise }
    }
}

/// What is wrong with a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A lock was held twice at one time.
    TwoHolders(Hold, Hold),
    /// No order explains what was seen.
    NoOrder,
    /// It could not be found out.
    Undecided,
}

/// What is wrong with a history, looked for in at most `steps_max` steps.
pub fn find_fault(history: &[Operation<Act>], steps_max: usize) -> Option<Fault> {
    if let Some((one, other)) = exclusion::check(history) {
        return Some(Fault::TwoHolders(one, other));
    }
    match check(&Keys, history, steps_max) {
        Verdict::Linearizable => None,
        Verdict::Undecided => Some(Fault::Undecided),
        Verdict::Impossible => Some(Fault::NoOrder),
    }
}

/// The shortest beginning of a history that has no order, in the order of its ends, and the
/// last `shown` acts of it that ended.
pub fn shortest_fault(
    history: &[Operation<Act>],
    shown: usize,
    steps_max: usize,
) -> Vec<Operation<Act>> {
    let mut ends: Vec<u64> = history.iter().filter_map(|operation| operation.returned).collect();
    ends.sort_unstable();
    let at = ends.partition_point(|end| {
        check(&Keys, &until(history, *end), steps_max) != Verdict::Impossible
    });
    let Some(end) = ends.get(at).or(ends.last()) else { return Vec::new() };
    let mut begun = until(history, *end);
    begun.sort_by_key(|operation| operation.returned.unwrap_or(u64::MAX));
    let known = begun.iter().rposition(|operation| operation.returned.is_some()).unwrap_or(0);
    begun[known.saturating_sub(shown)..=known].to_vec()
}

/// What was known at this time.
fn until(history: &[Operation<Act>], time: u64) -> Vec<Operation<Act>> {
    let begun = history.iter().filter(|operation| operation.called <= time);
    begun
        .map(|operation| Operation {
            returned: operation.returned.filter(|returned| *returned <= time),
            ..operation.clone()
        })
        .collect()
}
