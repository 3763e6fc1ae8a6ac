//! What is done now and then, whatever happens.

use std::time::{Duration, Instant};

use types::member::MemberStatus;

use super::Serf;
use super::core::{Core, Phase};
use super::joins::{Purpose, Seed};
use super::options::Timings;
use super::queries::address_of;
use super::report::{Measure, Report};

#[derive(Debug)]
pub(super) struct Periodic {
    reap: Instant,
    reconnect: Instant,
    queue_check: Instant,
}

impl Periodic {
    pub(super) fn new(timings: &Timings, now: Instant) -> Self {
        Self {
            reap: now + timings.reap_interval,
            reconnect: now + timings.reconnect_interval,
            queue_check: now + timings.queue_check_interval,
        }
    }

    pub(super) fn next(&self) -> Instant {
        self.reap.min(self.reconnect).min(self.queue_check)
    }
}

/// Whether it is time; then the next time is set.
fn is_due(at: &mut Instant, interval: Duration, now: Instant) -> bool {
    let due = *at <= now;
    if due {
        *at = now + interval;
    }
    due
}

impl Serf {
    pub(super) fn do_periodic(&mut self) {
        let now = self.core.now;
        let timings = &self.core.options.timings;
        let reconnect = is_due(&mut self.periodic.reconnect, timings.reconnect_interval, now);
        let check = is_due(&mut self.periodic.queue_check, timings.queue_check_interval, now);
        if is_due(&mut self.periodic.reap, timings.reap_interval, now) {
            self.core.reap();
        }
        if reconnect && self.core.phase == Phase::Alive {
            let core = &mut self.core;
            let timings = &core.options.timings;
            // The intent is passed on, then word of the end, then the member goes.
            let patience = 2 * timings.broadcast_timeout + timings.leave_propagate_delay;
            let asked = core.members.asked_whether_they_leave(&core.name, now, patience);
            core.sends.extend(asked);
            self.reconnect();
        }
        if check {
            check_queues(&mut self.core);
        }
    }

    /// Tries to reach one of the members that failed. The more are there to do so, the more
    /// seldom each does: together they try every failed member about once in an interval.
    fn reconnect(&mut self) {
        let core = &mut self.core;
        let members = core.members.known.values().map(|known| &known.member);
        let failed: Vec<_> = members.filter(|m| m.status == MemberStatus::FAILED).collect();
        if failed.is_empty() {
            return;
        }
        let gone = failed.len() + core.members.count(MemberStatus::LEFT);
        let present = (core.members.known.len() - gone).max(1);
        if core.rng.f64() > failed.len() as f64 / present as f64 {
            return;
        }
        let Some(member) = core.rng.choice(failed) else { return };
        if let Some(address) = address_of(member) {
            let seed = Seed { address, name: Some(member.name.clone()) };
            self.start_join(Purpose::Reconnect, [seed].into());
        }
    }
}

/// Drops messages of queues that are too long, those that were passed on most often first.
fn check_queues(core: &mut Core) {
    let limit = core.options.limits.queue_depth.max(2 * core.members.known.len());
    let queues = [
        ("Intent", &mut core.intent_queue),
        ("Event", &mut core.event_queue),
        ("Query", &mut core.query_queue),
    ];
    let mut depths = Vec::new();
    for (name, queue) in queues {
        depths.push((name, queue.len()));
        queue.prune(limit);
    }
    for (queue, depth) in depths {
        core.measure(Measure::QueueDepth(queue, depth));
        if depth > limit {
            core.report(Report::QueueTooLong { queue, depth, limit });
        }
    }
}
