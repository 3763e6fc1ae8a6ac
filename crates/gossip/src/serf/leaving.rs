//! Ways out of a pool: this node's own will, and an operator's word on another one.
//!
//! A leave is a sequence: announce it, and when that was passed on, have the machine
//! underneath leave; when that was passed on, stay a little so that everybody hears of it and
//! nobody takes it for a failure. No step waits for ever.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Serf;
use super::action::{Action, NotBroadcast, OperationId, Outcome};
use super::core::Phase;
use super::report::Report;
use crate::wire::serf::{Leave, SerfMessage};

/// The ticket of this node's own leave intent.
const OWN_TICKET: u64 = 0;

#[derive(Debug, Default)]
pub(super) struct Leaving {
    step: Option<Step>,
    /// Who waits for it.
    waiting: Vec<OperationId>,
    /// Forced leaves of others that wait to be passed on, by ticket.
    forced: BTreeMap<u64, (OperationId, Instant)>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The intent is passed on.
    Intent { until: Instant },
    /// So is word of the end, or the machine underneath gives up.
    List,
    /// The others hear of it.
    Propagation { until: Instant },
}

impl Leaving {
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let own = self.step.and_then(|step| match step {
            Step::Intent { until } | Step::Propagation { until } => Some(until),
            Step::List => None,
        });
        own.into_iter().chain(self.forced.values().map(|(_, until)| *until)).min()
    }
}

impl Serf {
    /// Leaves the pool; ends with [`Outcome::Left`]. May be asked for again.
    pub fn leave(&mut self, now: Instant) -> OperationId {
        self.core.now = now;
        let id = self.new_operation();
        match self.core.phase {
            Phase::Left => self.core.out.push_back(Action::Completed(id, Outcome::Left)),
            Phase::Leaving => self.leaving.waiting.push(id),
            Phase::Alive => {
                self.leaving.waiting.push(id);
                self.start_leave();
            }
        }
        self.settle();
        id
    }

    fn start_leave(&mut self) {
        let core = &mut self.core;
        core.phase = Phase::Leaving;
        if let Some(snapshot) = &mut core.snapshot {
            snapshot.leave(core.now);
        }
        let intent = Leave { time: core.clock.time(), node: core.name.clone(), prune: false };
        core.clock.increment();
        core.leave_intent(&intent);
        if core.members.others_alive(&core.name) {
            core.intent_queue.push(None, SerfMessage::Leave(intent).encode(), Some(OWN_TICKET));
            let until = core.now + core.options.timings.broadcast_timeout;
            self.leaving.step = Some(Step::Intent { until });
        } else {
            self.leave_list();
        }
    }

    fn leave_list(&mut self) {
        let timeout = self.core.options.timings.broadcast_timeout;
        self.leaving.step = Some(Step::List);
        let now = self.core.now;
        self.list.leave(timeout, now, &mut self.core);
    }

    /// The machine underneath has left; whether word of it was passed on.
    pub(super) fn list_left(&mut self, sent: bool) {
        if !sent {
            self.core.report(Report::LeaveTimeout);
        }
        if !matches!(self.leaving.step, Some(Step::List)) {
            return;
        }
        if !self.core.members.others_alive(&self.core.name) {
            return self.end_leave();
        }
        let until = self.core.now + self.core.options.timings.leave_propagate_delay;
        self.leaving.step = Some(Step::Propagation { until });
    }

    fn end_leave(&mut self) {
        self.leaving.step = None;
        self.core.phase = Phase::Left;
        let waiting = std::mem::take(&mut self.leaving.waiting).into_iter();
        self.core.out.extend(waiting.map(|id| Action::Completed(id, Outcome::Left)));
    }

    /// Counts a member that failed as one that left; with `prune`, forgets it, whatever its
    /// status. Ends with [`Outcome::ForcedLeave`].
    pub fn force_leave(&mut self, name: &str, prune: bool, now: Instant) -> OperationId {
        self.core.now = now;
        let id = self.new_operation();
        let core = &mut self.core;
        let intent = Leave { time: core.clock.time(), node: name.to_owned(), prune };
        core.clock.increment();
        core.leave_intent(&intent);
        // Also if the only other one is the one in question: it may have something to say.
        if core.members.others_present(&core.name) {
            let until = now + core.options.timings.broadcast_timeout;
            core.intent_queue.push(None, SerfMessage::Leave(intent).encode(), Some(id.0));
            self.leaving.forced.insert(id.0, (id, until));
        } else {
            core.out.push_back(Action::Completed(id, Outcome::ForcedLeave(Ok(()))));
        }
        self.settle();
        id
    }

    /// A message of ours was passed on often enough.
    pub(super) fn broadcast_done(&mut self, ticket: u64) {
        if ticket == OWN_TICKET {
            if matches!(self.leaving.step, Some(Step::Intent { .. })) {
                self.leave_list();
            }
        } else if let Some((id, _)) = self.leaving.forced.remove(&ticket) {
            self.core.out.push_back(Action::Completed(id, Outcome::ForcedLeave(Ok(()))));
        }
    }

    /// Goes on where waiting is over.
    pub(super) fn leave_on(&mut self) {
        let now = self.core.now;
        match self.leaving.step {
            Some(Step::Intent { until }) if until <= now => {
                self.core.report(Report::LeaveTimeout);
                self.leave_list();
            }
            Some(Step::Propagation { until }) if until <= now => self.end_leave(),
            _ => {}
        }
        let late = self.leaving.forced.iter().filter(|(_, (_, until))| *until <= now);
        let late: Vec<u64> = late.map(|(ticket, _)| *ticket).collect();
        for (id, _) in late.iter().filter_map(|ticket| self.leaving.forced.remove(ticket)) {
            let outcome = Outcome::ForcedLeave(Err(NotBroadcast));
            self.core.out.push_back(Action::Completed(id, outcome));
        }
    }
}
