//! Whether what clients saw could have come from one machine that does one thing at a time.
//!
//! The search of Wing and Gong with the memory of Lowe: operations are put in an order that
//! respects real time, one after the other; what was tried from a state with the same
//! operations done is not tried again. What the machine does is a [`Model`]. Objects that no
//! operation touches together are best checked each by itself, as linearizability is local
//! (Herlihy and Wing).
//!
//! [`keys`] is such a machine, and what clients ask of it.
//!
//! Never shipped.

pub mod keys;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

/// What the machine does.
pub trait Model {
    /// What it remembers.
    type State: Clone + Ord;
    /// What was asked of it, with the outcome.
    type Act;

    /// What it remembers at first.
    fn initial(&self) -> Self::State;

    /// Does the act and says whether the outcome is right. Where it is not known
    /// (`is_known` is false) every outcome is, and the act has the effect that it has
    /// in this state. After a wrong outcome the state does not matter.
    fn apply(&self, act: &Self::Act, is_known: bool, state: &mut Self::State) -> bool;
}

/// What a client did and saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<A> {
    /// When it began.
    pub called: u64,
    /// When its outcome was known; `None` if it never was. Such an operation may have had its
    /// effect at any time after `called`, or never.
    pub returned: Option<u64>,
    /// What it was.
    pub act: A,
}

/// What the checker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order that explains all.
    Linearizable,
    /// There is none.
    Impossible,
    /// The search was ended before it was over.
    Undecided,
}

/// Checks a history from the model's initial state on, in at most `steps_max` steps.
pub fn check<M: Model>(model: &M, history: &[Operation<M::Act>], steps_max: usize) -> Verdict {
    Search::new(model, history).run(steps_max)
}

/// Marks the end of the list of events.
const NONE: usize = usize::MAX;

/// A call or a return, in a list from which those that are done are taken out.
struct Event {
    operation: usize,
    is_call: bool,
    before: usize,
    after: usize,
}

struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a [Operation<M::Act>],
    events: Vec<Event>,
    /// By operation: its call, and its return if there is one.
    places: Vec<(usize, usize)>,
    /// Returns that are still in the list.
    returns_left: usize,
    done: Vec<u64>,
    state: M::State,
    /// The calls that are done and the state before each.
    stack: Vec<(usize, M::State)>,
    seen: BTreeSet<(Vec<u64>, M::State)>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, history: &'a [Operation<M::Act>]) -> Self {
        let mut order: Vec<(u64, bool, usize)> = Vec::new();
        for (operation, what) in history.iter().enumerate() {
            order.push((what.called, false, operation));
            order.extend(what.returned.map(|returned| (returned, true, operation)));
        }
        // At one time calls come first: they may overlap what returns then.
        order.sort_unstable();
        let mut places = vec![(NONE, NONE); history.len()];
        // A place before the first event, so that each has one before it.
        let mut events = vec![Event { operation: NONE, is_call: false, before: NONE, after: NONE }];
        for (_, is_return, operation) in order {
            let place = events.len();
            events[place - 1].after = place;
            let before = place - 1;
            events.push(Event { operation, is_call: !is_return, before, after: NONE });
            match is_return {
                false => places[operation].0 = place,
                true => places[operation].1 = place,
            }
        }
        Search {
            model,
            history,
            events,
            places,
            returns_left: history.iter().filter(|what| what.returned.is_some()).count(),
            done: vec![0; history.len().div_ceil(64)],
            state: model.initial(),
            stack: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    fn run(mut self, steps_max: usize) -> Verdict {
        let mut place = self.events[0].after;
        for _ in 0..steps_max {
            if self.returns_left == 0 {
                return Verdict::Linearizable;
            }
            let is_call = place != NONE && self.events[place].is_call;
            if is_call && self.try_call(place) {
                place = self.events[0].after;
            } else if is_call {
                place = self.events[place].after;
            } else if let Some(call) = self.undo() {
                place = self.events[call].after;
            } else {
                return Verdict::Impossible;
            }
        }
        Verdict::Undecided
    }

    /// Does the operation next, if its outcome is right and this was not tried before.
    fn try_call(&mut self, call: usize) -> bool {
        let operation = self.events[call].operation;
        let before = self.state.clone();
        let Operation { act, returned, .. } = &self.history[operation];
        let is_known = returned.is_some();
        let is_right = self.model.apply(act, is_known, &mut self.state);
        // Nobody waits for one whose outcome is not known: without an effect it may stay undone.
        let is_right = is_right && (is_known || self.state != before);
        self.done[operation / 64] |= 1 << (operation % 64);
        if !is_right || !self.seen.insert((self.done.clone(), self.state.clone())) {
            self.done[operation / 64] &= !(1 << (operation % 64));
            self.state = before;
            return false;
        }
        let (call, end) = self.places[operation];
        self.take_out(call);
        if end != NONE {
            self.take_out(end);
            self.returns_left -= 1;
        }
        self.stack.push((call, before));
        true
    }

    fn undo(&mut self) -> Option<usize> {
        let (call, before) = self.stack.pop()?;
        let operation = self.events[call].operation;
        self.state = before;
        self.done[operation / 64] &= !(1 << (operation % 64));
        let end = self.places[operation].1;
        if end != NONE {
            self.put_back(end);
            self.returns_left += 1;
        }
        self.put_back(call);
        Some(call)
    }

    fn take_out(&mut self, place: usize) {
        let Event { before, after, .. } = self.events[place];
        self.events[before].after = after;
        if after != NONE {
            self.events[after].before = before;
        }
    }

    fn put_back(&mut self, place: usize) {
        let Event { before, after, .. } = self.events[place];
        self.events[before].after = place;
        if after != NONE {
            self.events[after].before = place;
        }
    }
}
