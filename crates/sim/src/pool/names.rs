//! Two agents with one name.
//!
//! The one that came later is not known to the pool, and gives up; the other one stays.

use std::time::Duration;

use super::agent::{Agent, Fate};
use super::bug::Bug;
use super::network::{Arrival, Network};

/// An agent whose name is taken has to know that within this: it joins, hears of the other one,
/// and asks.
const KNOWS: Duration = Duration::from_secs(60);

impl Network {
    /// Another agent is started with a name that is taken.
    pub(super) fn add_twin(&mut self) {
        if self.agents.iter().any(|agent| agent.twin_of.is_some() && agent.is_up()) {
            return;
        }
        let Some(of) = self.some(|agent| agent.fate == Fate::Up && agent.joined) else { return };
        let number = self.agents.len();
        let mut twin = Agent::unborn(number, self.now);
        twin.name.clone_from(&self.agents[of].name);
        twin.twin_of = Some(of);
        self.agents.push(twin);
        self.counts.twins += 1;
        self.add(Duration::ZERO, Arrival::Start { agent: number });
    }

    /// An agent gives up, as the pool knows another one under its name.
    pub(super) fn give_up(&mut self, number: usize) {
        let (now, has_bug) = (self.now, self.has(Bug::TwinStays));
        let agent = &mut self.agents[number];
        let name = agent.name.clone();
        if agent.twin_of.is_none() {
            return self.violation(format!("names: {name}, which the pool knows, gives up"));
        }
        if !has_bug {
            (agent.fate, agent.serf, agent.since) = (Fate::Left, None, now);
            self.say(format_args!("the other {name} gives up"));
        }
    }

    /// Who has another one's name gives up in time.
    pub(super) fn check_twins(&mut self) {
        let twins = self.agents.iter().filter(|agent| agent.twin_of.is_some());
        let late = twins.filter(|twin| twin.is_up() && twin.since + KNOWS <= self.now).last();
        if let Some(name) = late.map(|twin| twin.name.clone()) {
            self.violation(format!("names: there are two {name} after {KNOWS:?}"));
        }
    }
}
