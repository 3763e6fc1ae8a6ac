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

/// Another agent is started with a name that is taken.
pub(super) fn add_twin(network: &mut Network) {
    if network.agents.iter().any(|agent| agent.twin_of.is_some() && agent.is_up()) {
        return;
    }
    let Some(of) = network.some(|agent| agent.fate == Fate::Up && agent.joined) else { return };
    let number = network.agents.len();
    let mut twin = Agent::unborn(number, network.now);
    twin.name.clone_from(&network.agents[of].name);
    twin.twin_of = Some(of);
    network.agents.push(twin);
    network.counts.twins += 1;
    network.add(Duration::ZERO, Arrival::Start { agent: number });
}

/// An agent gives up, as the pool knows another one under its name.
pub(super) fn give_up(network: &mut Network, number: usize) {
    let (now, has_bug) = (network.now, network.has(Bug::TwinStays));
    let agent = &mut network.agents[number];
    let name = agent.name.clone();
    if agent.twin_of.is_none() {
        return network.violation(format!("names: {name}, which the pool knows, gives up"));
    }
    if !has_bug {
        (agent.fate, agent.serf, agent.since) = (Fate::Left, None, now);
        network.say(format_args!("the other {name} gives up"));
    }
}

/// Who has another one's name gives up in time.
pub(super) fn check_twins(network: &mut Network) {
    let twins = network.agents.iter().filter(|agent| agent.twin_of.is_some());
    let late = twins.filter(|twin| twin.is_up() && twin.since + KNOWS <= network.now).last();
    if let Some(name) = late.map(|twin| twin.name.clone()) {
        network.violation(format!("names: there are two {name} after {KNOWS:?}"));
    }
}
