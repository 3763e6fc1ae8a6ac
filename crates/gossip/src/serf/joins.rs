//! Ways into a pool: seeds that somebody named, members of an earlier life, and members that
//! failed.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use super::action::{Action, Joined, OperationId, Outcome};
use super::core::Phase;
use super::report::Report;
use super::snapshot::Snapshot;
use super::{HasLeft, Serf};
use crate::memberlist::ExchangeId;

/// Seeds of one join that are asked at a time.
const AT_ONCE: usize = 4;

/// Somebody who may be in the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Where.
    pub address: SocketAddr,
    /// Who is expected there, if anybody in particular.
    pub name: Option<String>,
}

/// What is being tried.
#[derive(Debug, Default)]
pub(super) struct Joins {
    joins: BTreeMap<u64, Join>,
    exchanges: BTreeMap<ExchangeId, (u64, Seed)>,
    last: u64,
}

#[derive(Debug)]
struct Join {
    purpose: Purpose,
    waiting: VecDeque<Seed>,
    running: usize,
    joined: Joined,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Somebody waits for it.
    Asked { id: OperationId, ignore_old_events: bool },
    /// One of the members of an earlier life is enough.
    Rejoin,
    /// Perhaps the member is back.
    Reconnect,
}

impl Joins {
    /// Whether events from before do not count once this exchange succeeds.
    pub(super) fn ignores_old_events(&self, id: ExchangeId) -> bool {
        let join = self.exchanges.get(&id).and_then(|(join, _)| self.joins.get(join));
        join.is_some_and(|join| {
            matches!(join.purpose, Purpose::Asked { ignore_old_events: true, .. })
        })
    }
}

impl Serf {
    /// Joins the pools of these seeds; ends with [`Outcome::Joined`]. With
    /// `ignore_old_events`, events from before are not delivered.
    ///
    /// # Errors
    /// This node has left.
    pub fn join(
        &mut self,
        seeds: Vec<Seed>,
        ignore_old_events: bool,
        now: Instant,
    ) -> Result<OperationId, HasLeft> {
        if self.core.phase != Phase::Alive {
            return Err(HasLeft);
        }
        self.core.now = now;
        let id = self.new_operation();
        self.start_join(Purpose::Asked { id, ignore_old_events }, seeds.into());
        self.settle();
        Ok(id)
    }

    /// Tries the members that were alive in an earlier life, one after the other.
    pub(super) fn rejoin(&mut self) {
        let alive = self.core.snapshot.iter().flat_map(Snapshot::alive);
        let seeds = alive.filter(|(name, _)| *name != self.core.name);
        let mut seeds: Vec<Seed> =
            seeds.map(|(name, address)| Seed { address, name: Some(name.to_owned()) }).collect();
        if !seeds.is_empty() {
            self.core.rng.shuffle(&mut seeds);
            self.start_join(Purpose::Rejoin, seeds.into());
        }
    }

    /// Tries these, for a reason that tells what an answer means.
    pub(super) fn start_join(&mut self, purpose: Purpose, waiting: VecDeque<Seed>) {
        self.joins.last += 1;
        let number = self.joins.last;
        let join = Join { purpose, waiting, running: 0, joined: Joined::default() };
        self.joins.joins.insert(number, join);
        self.advance_join(number);
    }

    /// Asks the next seeds, or ends the join if there are none.
    fn advance_join(&mut self, number: u64) {
        let at_once = |purpose| if purpose == Purpose::Rejoin { 1 } else { AT_ONCE };
        while let Some(join) = self.joins.joins.get_mut(&number) {
            if join.running >= at_once(join.purpose) {
                return;
            }
            let Some(seed) = join.waiting.pop_front() else { break };
            join.running += 1;
            let known = seed.name.clone().unwrap_or_default();
            match join.purpose {
                Purpose::Asked { .. } => {}
                Purpose::Rejoin => self.core.report(Report::Rejoining(known, seed.address)),
                Purpose::Reconnect => self.core.report(Report::Reconnecting(known, seed.address)),
            }
            let now = self.core.now;
            let name = seed.name.as_deref();
            let id = self.list.join(seed.address, name, now, &mut self.core);
            self.joins.exchanges.insert(id, (number, seed));
        }
        let done = self.joins.joins.get(&number).is_some_and(|join| join.running == 0);
        if done && let Some(join) = self.joins.joins.remove(&number) {
            self.end_join(join);
        }
    }

    /// An exchange with a seed, or with a member now and then, is over.
    pub(super) fn join_on(&mut self, id: ExchangeId, outcome: Result<(), String>) {
        let Some((number, seed)) = self.joins.exchanges.remove(&id) else { return };
        let Some(join) = self.joins.joins.get_mut(&number) else { return };
        join.running -= 1;
        match outcome {
            Ok(()) => {
                join.joined.contacted += 1;
                if join.purpose == Purpose::Rejoin {
                    join.waiting.clear();
                    let name = seed.name.unwrap_or_default();
                    self.core.report(Report::Rejoined(name, seed.address));
                }
            }
            Err(error) => {
                join.joined.errors.push(format!("Failed to join {}: {error}", seed.address));
            }
        }
        self.advance_join(number);
    }

    fn end_join(&mut self, join: Join) {
        match join.purpose {
            Purpose::Asked { id, .. } => {
                if join.joined.contacted > 0 {
                    self.core.announce_join();
                }
                let outcome = Outcome::Joined(join.joined);
                self.core.out.push_back(Action::Completed(id, outcome));
            }
            Purpose::Rejoin if join.joined.contacted == 0 => {
                self.core.report(Report::NotRejoined);
            }
            Purpose::Rejoin | Purpose::Reconnect => {}
        }
    }
}
