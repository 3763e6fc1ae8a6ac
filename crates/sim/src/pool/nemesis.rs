//! The course of a run: the pool forms, faults come, all heals, and all agree.

use std::time::Duration;

use bytes::Bytes;
use types::member::MemberStatus;

use super::agent::Fate;
use super::checker::Sent;
use super::network::{Arrival, Heard, Network};
use super::weather::{CALM, Fault, HEALING, Kind, STAYING};
use super::{keys, names, queries};

/// A probe is over within this, if nobody is unwell.
const PROBE: Duration = Duration::from_secs(2);

/// Between looks at what only shows over time.
const LOOK: Duration = Duration::from_secs(1);

impl Network {
    /// The whole run.
    pub(super) fn run(&mut self) {
        self.say(format_args!("{:?}", self.weather.clone()));
        for agent in 0..self.agents.len() {
            let wait = Duration::from_millis(if agent == 0 { 0 } else { self.rng.u64(1..4_000) });
            self.add(wait, Arrival::Start { agent });
        }
        self.run_until(self.now + CALM);
        self.rough = true;
        if self.weather.kind == Kind::Starved {
            for _ in 0..self.agents.len().div_ceil(4) {
                let agent = self.rng.usize(0..self.agents.len());
                self.agents[agent].starved = true;
            }
            let starved = (0..self.agents.len()).filter(|agent| self.agents[*agent].starved);
            starved.collect::<Vec<_>>().into_iter().for_each(|agent| starve(self, agent));
        }
        let end = self.now + self.weather.duration;
        let mut next = self.now;
        while self.now < end {
            self.run_until((self.now + LOOK).min(end));
            self.check_found();
            names::check_twins(self);
            while next <= self.now {
                let fault = self.weather.next_fault(&mut self.rng);
                self.strike(fault);
                let pause = self.weather.pause.mul_f64(0.1 + 1.8 * self.rng.f64());
                next += pause;
            }
        }
        self.heal();
        self.agree();
    }

    fn heal(&mut self) {
        self.rough = false;
        self.cuts.clear();
        self.say(format_args!("all heals"));
        for number in 0..self.agents.len() {
            let agent = &mut self.agents[number];
            agent.side = 0;
            if !self.weather.calm() && self.rng.bool() {
                self.restart(number);
            }
        }
        // Whoever stands still does so to the end, and what waits for it is late.
        let thaws = self.agents.iter().filter_map(|agent| agent.frozen_until).max();
        self.run_until(thaws.map_or(self.now, |thaws| thaws.max(self.now)));
    }

    /// Waits until all agree, and sees that it stays so.
    fn agree(&mut self) {
        let (healed, deadline) = (self.now, self.now + HEALING);
        while let Some(why) = self.disagreement() {
            if self.now >= deadline {
                return self.violation(format!("agreement: {why}, {HEALING:?} after all healed"));
            }
            self.run_until(self.now + LOOK);
            self.check_found();
        }
        self.counts.healing = self.now.saturating_duration_since(healed).as_secs();
        self.say(format_args!("all agree"));
        self.run_until(self.now + STAYING);
        if let Some(why) = self.disagreement() {
            self.violation(format!("agreement: {why}, though all agreed {STAYING:?} before"));
        }
    }

    /// A random agent with that property; never the first, at which the others join.
    pub(super) fn some(&mut self, is: impl Fn(&super::agent::Agent) -> bool) -> Option<usize> {
        let is = |agent: &super::agent::Agent| agent.twin_of.is_none() && is(agent);
        let fit = (1..self.agents.len()).filter(|number| is(&self.agents[*number]));
        let fit: Vec<usize> = fit.collect();
        self.rng.choice(fit)
    }

    fn strike(&mut self, fault: Fault) {
        let now = self.now;
        match fault {
            Fault::Event => {
                let Some(from) = self.some(|agent| agent.fate == Fate::Up && agent.joined) else {
                    return;
                };
                let number = self.sent.len() as u32;
                self.sent.push(Sent { from, life: self.agents[from].life, at: now });
                self.counts.events += 1;
                let payload = Bytes::from(number.to_string());
                let sent = self.input(from, |serf, now| serf.user_event("e", payload, false, now));
                if let Some(Err(error)) = sent {
                    self.violation(format!("events: {error}"));
                }
                self.act(from, "sends an event");
            }
            Fault::Tags => {
                let Some(agent) = self.some(|agent| agent.fate == Fate::Up) else { return };
                self.agents[agent].tag += 1;
                let tags = [("tag".to_owned(), self.agents[agent].tag.to_string())].into();
                self.counts.tags += 1;
                if let Some(Err(error)) = self.input(agent, |serf, now| serf.set_tags(tags, now)) {
                    self.violation(format!("tags: {error}"));
                }
                self.act(agent, "changes its tags");
            }
            Fault::Leave => {
                let Some(agent) = self.some(|agent| agent.fate == Fate::Up) else { return };
                self.agents[agent].fate = Fate::Leaving;
                self.agents[agent].told_to_leave = true;
                self.counts.leaves += 1;
                self.agents[agent].leave = self.input(agent, gossip::serf::Serf::leave);
                self.act(agent, "leaves");
            }
            Fault::Crash => {
                let Some(agent) = self.some(super::agent::Agent::is_up) else { return };
                self.agents[agent].stop(now);
                self.counts.crashes += 1;
                self.act(agent, "crashes");
            }
            Fault::Restart => {
                if let Some(agent) = self.some(|agent| !agent.is_up()) {
                    self.restart(agent);
                }
            }
            Fault::ForceLeave => self.force_leave(),
            Fault::Partition => {
                let healed = self.rng.bool();
                for agent in 0..self.agents.len() {
                    self.agents[agent].side = if healed { 0 } else { self.rng.u8(0..2) };
                }
                self.counts.partitions += u64::from(!healed);
                self.say(format_args!("{}", if healed { "nothing is cut" } else { "a partition" }));
            }
            Fault::Freeze => {
                let agent = self.rng.usize(0..self.agents.len());
                let wait = Duration::from_millis(self.rng.u64(500..30_000));
                self.agents[agent].frozen_until = Some(now + wait);
                self.counts.freezes += 1;
                self.act(agent, "freezes");
            }
            Fault::Query => queries::ask(self),
            Fault::Keys => {
                if self.weather.keys {
                    keys::rotate_keys(self);
                }
            }
            Fault::OneWay => {
                self.cuts.clear();
                if self.rng.bool() {
                    let share = self.rng.f64() / 2.0;
                    let all = 0..self.agents.len();
                    let pairs = all.clone().flat_map(|from| all.clone().map(move |to| (from, to)));
                    let cut = pairs.filter(|(from, to)| from != to && self.rng.f64() < share);
                    self.cuts = cut.collect();
                    self.counts.one_way += 1;
                }
                self.say(format_args!("{} ways are cut", self.cuts.len()));
            }
            Fault::Pair => cut_pair(self),
            Fault::Twin => names::add_twin(self),
        }
    }

    pub(super) fn act(&mut self, agent: usize, what: &str) {
        let name = self.agents[agent].name.clone();
        self.say(format_args!("{name} {what}"));
        self.settle(agent, Heard::Nothing);
    }

    /// With its file or without, here or elsewhere.
    fn restart(&mut self, number: usize) {
        let agent = &self.agents[number];
        if agent.is_up() || agent.fate == Fate::Unborn || agent.twin_of.is_some() {
            return;
        }
        self.counts.restarts += 1;
        if self.rng.u8(0..3) == 0 {
            let agent = &mut self.agents[number];
            agent.file.clear();
            (agent.keyring_file, agent.last_keyring) = (None, None);
        }
        if self.rng.u8(0..4) == 0 {
            self.counts.moves += 1;
            let agent = &mut self.agents[number];
            self.places.remove(&agent.address);
            if let std::net::IpAddr::V4(ip) = agent.address.ip() {
                let [a, b, generation, host] = ip.octets();
                let ip = [a, b, generation.wrapping_add(1), host];
                agent.address = (ip, agent.address.port()).into();
            }
        }
        self.add(Duration::ZERO, Arrival::Start { agent: number });
    }

    fn force_leave(&mut self) {
        let Some(target) = self.some(|agent| agent.fate != Fate::Unborn) else { return };
        let Some(by) = self.some(|agent| agent.fate == Fate::Up && agent.joined) else { return };
        if by == target {
            return;
        }
        let name = self.agents[target].name.clone();
        // What it does not know it cannot have leave.
        if self.agents[by].sees(&name) == MemberStatus::NONE {
            return;
        }
        self.agents[target].told_to_leave = true;
        self.counts.forced += 1;
        self.input(by, |serf, now| serf.force_leave(&name, false, now));
        self.act(by, &format!("has {name} leave"));
    }
}

/// An agent that gets too little of the processor stands still for a while, then works for a
/// moment.
pub(super) fn starve(network: &mut Network, agent: usize) {
    if !network.rough {
        return;
    }
    let stop = Duration::from_millis(network.rng.u64(1..=network.weather.stop));
    let work = Duration::from_millis(network.rng.u64(20..network.weather.work));
    network.agents[agent].frozen_until = Some(network.now + stop);
    network.add(stop + work, Arrival::Stop { agent });
}

/// Cuts a pair, or ends a cut; seldom enough that a probe meets no more than one of them.
fn cut_pair(network: &mut Network) {
    if network.now < network.pair_changed + PROBE {
        return;
    }
    network.pair_changed = network.now;
    let (agents, both) = (network.agents.len(), network.rng.bool());
    let a = network.rng.usize(0..agents);
    let b = (a + network.rng.usize(1..agents)) % agents;
    network.cuts = match network.cuts.is_empty() {
        false => [].into(),
        true if both => [(a, b), (b, a)].into(),
        true => [(a, b)].into(),
    };
    network.counts.one_way += u64::from(!network.cuts.is_empty());
    network.say(format_args!("cut: {:?}", network.cuts.clone()));
}
