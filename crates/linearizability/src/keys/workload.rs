//! What clients ask, each with what it remembers.

use super::{Act, Ending, KEYS, Outcome, Row, Session, Step, Told};

/// What a client asks next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The group of keys. Acts on different groups have nothing to do with each other.
    pub group: usize,
    /// What to do.
    pub steps: Vec<Step>,
    /// Whether it is asked as a transaction, which one with several steps must be.
    pub is_txn: bool,
}

/// One client: it compares with what it saw last, and gives back what it locked.
#[derive(Debug)]
pub struct Client {
    random: fastrand::Rng,
    /// Numbers of values, so that each is written once.
    next_value: u64,
    groups: Vec<Memory>,
}

/// What a client remembers of a group.
#[derive(Clone, Debug, Default)]
struct Memory {
    indexes: [u64; KEYS],
    /// A session of its own, if there is one.
    session: Session,
    ending: Ending,
    locked: Option<usize>,
}

impl Client {
    /// A client that acts on so many groups.
    pub fn new(number: usize, groups: usize, random: fastrand::Rng) -> Self {
        let next_value = 1 + ((number as u64) << 32);
        Self { random, next_value, groups: vec![Memory::default(); groups] }
    }

    /// The group that it is about to act on.
    pub fn pick_group(&mut self) -> usize {
        self.random.usize(..self.groups.len())
    }

    /// Whether it has no session for the group.
    pub fn lacks_session(&self, group: usize) -> bool {
        self.groups[group].session == 0
    }

    /// Has this session from now on, which ends like this.
    pub fn take_session(&mut self, group: usize, session: Session, ending: Ending) {
        let memory = &mut self.groups[group];
        (memory.session, memory.ending, memory.locked) = (session, ending, None);
    }

    /// Has no sessions from now on. The group of each, and what its end is.
    pub fn drop_sessions(&mut self) -> Vec<(usize, Step)> {
        let mut ends = Vec::new();
        for (group, memory) in self.groups.iter_mut().enumerate() {
            if memory.session != 0 {
                ends.push((group, Step::Destroy(memory.session, memory.ending)));
            }
            memory.session = 0;
        }
        ends
    }

    /// What to ask of the group.
    pub fn plan(&mut self, group: usize) -> Plan {
        let first = self.step(group);
        let alone = matches!(first, Step::Destroy(..));
        let plain = !matches!(first, Step::CheckIndex(..) | Step::CheckNotExists(_));
        if alone || (plain && self.random.u8(..10) < 6) {
            return Plan { group, steps: vec![first], is_txn: !alone && self.random.u8(..4) == 0 };
        }
        let more = self.random.usize(1..4);
        let mut steps = vec![first];
        while steps.len() <= more {
            let step = self.step(group);
            if !matches!(step, Step::Destroy(..)) {
                steps.push(step);
            }
        }
        Plan { group, steps, is_txn: true }
    }

    fn step(&mut self, group: usize) -> Step {
        let key = self.random.usize(..KEYS);
        let value = self.next_value;
        self.next_value += 1;
        let Memory { indexes, session, ending, locked } = self.groups[group];
        // Now and then as if the key had never been seen.
        let index = if self.random.u8(..8) == 0 { 0 } else { indexes[key] };
        match self.random.u8(..100) {
            0..30 => Step::Get(key),
            30..40 => Step::Set(key, value),
            40..60 => Step::Cas(key, value, index),
            60..64 => Step::Delete(key),
            64..70 => Step::DeleteCas(key, indexes[key].max(1)),
            70..76 if indexes[key] != 0 => Step::CheckIndex(key, indexes[key]),
            76..80 => Step::CheckNotExists(key),
            80..96 if session != 0 => match locked {
                Some(key) => Step::Unlock(key, value, session),
                None => Step::Lock(key, value, session),
            },
            96.. if session != 0 => Step::Destroy(session, ending),
            _ => Step::Get(key),
        }
    }

    /// Learns from what it was told.
    pub fn learn(&mut self, group: usize, act: &Act) {
        let memory = &mut self.groups[group];
        for (at, step) in act.steps.iter().enumerate() {
            match (step, &act.outcome) {
                // Until it is known to be over it is kept, so that no lock stays behind.
                (Step::Destroy(..), Outcome::Done(_)) => memory.session = 0,
                (Step::Lock(key, ..), Outcome::Done(_)) => memory.locked = Some(*key),
                (Step::Unlock(..), _) => memory.locked = None,
                _ => {}
            }
            if let Outcome::Done(told) = &act.outcome {
                match (&told[at], step.key()) {
                    (Told::Row(Row { index, .. }), Some(key)) => memory.indexes[key] = *index,
                    (Told::Absent, Some(key)) => memory.indexes[key] = 0,
                    _ => {}
                }
            }
        }
    }
}

impl Step {
    /// The key that it is about.
    pub fn key(&self) -> Option<usize> {
        match *self {
            Step::Get(key)
            | Step::Set(key, _)
            | Step::Cas(key, ..)
            | Step::Delete(key)
            | Step::DeleteCas(key, _)
            | Step::Lock(key, ..)
            | Step::Unlock(key, ..)
            | Step::CheckIndex(key, _)
            | Step::CheckNotExists(key) => Some(key),
            Step::Destroy(..) => None,
        }
    }

    /// Whether a transaction tells a row of it.
    pub fn tells_row(&self) -> bool {
        !matches!(
            self,
            Step::Delete(_) | Step::DeleteCas(..) | Step::CheckNotExists(_) | Step::Destroy(..)
        )
    }
}
