//! What must hold of a pool.

use std::time::Instant;

use bytes::Bytes;
use gossip::serf::Event;
use gossip::wire::message::{Alive, Dead, Suspect, decode};
use gossip::wire::{MessageType, StreamMessage, packet};
use types::member::{Member, MemberStatus};

use super::agent::{Agent, Fate};
use super::network::{Heard, Network};
use super::weather::{Kind, found_within};

/// A user event that somebody sent; its payload is its number.
pub(super) struct Sent {
    pub(super) from: usize,
    pub(super) life: u32,
    pub(super) at: Instant,
}

impl Network {
    /// An agent tells of something that happened.
    pub(super) fn check_event(&mut self, number: usize, event: &Event, heard: Heard<'_>) {
        let name = self.agents[number].name.clone();
        match event {
            Event::User(event) => {
                let text = String::from_utf8_lossy(&event.payload);
                let Ok(payload) = text.parse() else {
                    return self.violation(format!("events: {name} has one of nobody: {text}"));
                };
                self.counts.delivered += 1;
                let (now, agent) = (self.now, &mut self.agents[number]);
                let again = agent.heard.insert(payload, now).is_some();
                let before = agent.heard_before.contains(&payload);
                self.say(format_args!("{name} has event {payload}"));
                if again || before {
                    let when = if before { "before it was restarted" } else { "in this life" };
                    self.violation(format!("events once: {name} had event {payload} {when}"));
                }
            }
            Event::MemberFailed(member) => {
                self.counts.failed += 1;
                self.say(format_args!("{name}: {} failed", member.name));
                self.check_failure(number, member, heard);
            }
            Event::MemberJoin(member) => {
                self.say(format_args!("{name}: {} joined", member.name));
                if let Heard::Stream(StreamMessage::PushPull(all)) = heard {
                    let mut nodes = all.nodes().into_iter().flatten();
                    if nodes.any(|node| node.name == *member.name && node.state == 3) {
                        let who = &member.name;
                        self.violation(format!("left stays left: {name} was told so of {who}"));
                    }
                }
            }
            Event::MemberLeave(member) | Event::MemberReap(member) => {
                self.say(format_args!("{name}: {} left", member.name));
            }
            Event::MemberUpdate(member) => {
                self.say(format_args!("{name}: {} {:?}", member.name, member.tags));
            }
            Event::Query(_) => {}
        }
    }

    fn check_failure(&mut self, number: usize, member: &Member, heard: Heard<'_>) {
        let name = &self.agents[number].name;
        let Some(who) = self.agents.iter().find(|agent| agent.name == member.name) else {
            return self.violation(format!("failures: {name} tells of nobody's"));
        };
        let starved = who.starved || self.agents[number].starved;
        if self.weather.kind == Kind::Starved && starved {
            self.counts.starved_failures += 1;
        } else if self.weather.calm() && who.fate == Fate::Up {
            let text = format!("calm: {} is there, but failed for {name}", member.name);
            return self.violation(text);
        }
        // An earlier life had incarnations of its own.
        let Heard::Packet(plain) = heard else { return };
        let known = self.agents[number].known.get(&member.name).copied().unwrap_or_default();
        let mut told = 0;
        // What cannot be read is left out.
        let _ = packet::unpack(plain, &mut |kind, body| {
            if kind == MessageType::Dead
                && let Ok(claim) = decode::<Dead<'_>>(body)
                && claim.node == *member.name
            {
                told = told.max(claim.incarnation);
            }
        });
        if who.life == 0 && told < known {
            let (who, text) = (&member.name, "by a death of incarnation");
            self.violation(format!("refuted: {who} failed for {name} {text} {told}, not {known}"));
        }
    }

    /// What an agent was told is alive, for what it hears next.
    pub(super) fn note_heard(&mut self, number: usize, heard: Heard<'_>) {
        let agent = &mut self.agents[number];
        let mut alive = |name: &str, incarnation: u32| match agent.known.get_mut(name) {
            Some(known) => *known = incarnation.max(*known),
            None => {
                agent.known.insert(name.to_owned(), incarnation);
            }
        };
        match heard {
            Heard::Packet(plain) => {
                let mut accused = |node: &str, incarnation: u32| {
                    if node == agent.name && agent.fate == Fate::Up {
                        agent.accused = agent.accused.max(incarnation);
                    }
                };
                // What cannot be read is left out.
                let _ = packet::unpack(plain, &mut |kind, body| match kind {
                    MessageType::Alive => {
                        if let Ok(claim) = decode::<Alive<'_>>(body) {
                            alive(&claim.node, claim.incarnation);
                        }
                    }
                    MessageType::Suspect => {
                        if let Ok(claim) = decode::<Suspect<'_>>(body) {
                            accused(&claim.node, claim.incarnation);
                        }
                    }
                    MessageType::Dead => {
                        if let Ok(claim) = decode::<Dead<'_>>(body) {
                            accused(&claim.node, claim.incarnation);
                        }
                    }
                    _ => {}
                });
            }
            Heard::Stream(StreamMessage::PushPull(all)) => {
                let nodes = all.nodes().into_iter().flatten().filter(|node| node.state == 0);
                nodes.for_each(|node| alive(&node.name, node.incarnation));
            }
            Heard::Stream(_) | Heard::Nothing => {}
        }
        let Some(serf) = &agent.serf else { return };
        // Once it is gone, and perhaps forgotten, an older claim may bring it back.
        let gone = [MemberStatus::FAILED, MemberStatus::LEFT];
        for member in serf.members().filter(|member| gone.contains(&member.status)) {
            agent.known.remove(&member.name);
        }
    }

    /// Logical clocks do not go back.
    pub(super) fn check_clocks(&mut self, number: usize) {
        let agent = &mut self.agents[number];
        let Some(stats) = agent.serf.as_ref().map(gossip::serf::Serf::stats) else { return };
        let clocks = [stats.member_time, stats.event_time, stats.query_time];
        let before = std::mem::replace(&mut agent.clocks, clocks);
        if before.iter().zip(clocks).any(|(before, now)| *before > now) {
            let name = agent.name.clone();
            self.violation(format!("clocks grow: {name} from {before:?} to {clocks:?}"));
        }
    }

    /// What an agent says of itself, it says with incarnations that do not go back, and higher
    /// than those in which it heard that it is suspected or gone.
    pub(super) fn check_own_claims(&mut self, number: usize, plain: &Bytes) {
        check_own_suspicions(self, number, plain);
        let agent = &mut self.agents[number];
        let (mut back, mut weak) = (None, false);
        // What cannot be read is none of the agent's.
        let _ = packet::unpack(plain, &mut |kind, body| {
            if kind == MessageType::Alive
                && let Ok(claim) = decode::<Alive<'_>>(body)
                && claim.node == *agent.name
            {
                if claim.incarnation < agent.incarnation {
                    back = Some((agent.incarnation, claim.incarnation));
                }
                agent.incarnation = claim.incarnation;
                weak |= agent.fate == Fate::Up && claim.incarnation <= agent.accused;
            }
        });
        if weak {
            let (name, accused) = (agent.name.clone(), agent.accused);
            return self.violation(format!("refutes: {name} is not louder than {accused}"));
        }
        if let Some((before, now)) = back {
            let name = agent.name.clone();
            self.violation(format!("incarnations grow: {name} from {before} to {now}"));
        }
    }

    /// Who crashed in calm weather is found in time by all who knew it.
    pub(super) fn check_found(&mut self) {
        if !self.weather.calm() {
            return;
        }
        let patience = found_within(self.agents.len());
        let crashed = self.agents.iter().filter(|agent| agent.fate == Fate::Crashed);
        let due = crashed.filter(|agent| agent.since + patience <= self.now);
        let late = due.into_iter().find_map(|gone| {
            let up = self.agents.iter().find(|a| a.is_up() && a.sees(&gone.name).there());
            up.map(|up| format!("found: {} sees {} long after it crashed", up.name, gone.name))
        });
        if let Some(late) = late {
            self.violation(late);
        }
    }

    /// Why the agents that are up do not agree yet, if they do not.
    pub(super) fn disagreement(&self) -> Option<String> {
        let agents = || self.agents.iter().filter(|agent| agent.twin_of.is_none());
        let up = || agents().filter(|agent| agent.is_up());
        for of in agents() {
            let mut seen = MemberStatus::NONE;
            for by in up() {
                let status = by.sees(&of.name);
                // Who came later need not know who was gone.
                let fits = match of.fate {
                    Fate::Up => status == MemberStatus::ALIVE,
                    Fate::Unborn | Fate::Leaving => {
                        return Some(format!("{} is on its way", of.name));
                    }
                    Fate::Left => !status.there(),
                    Fate::Crashed if of.told_to_leave => !status.there(),
                    Fate::Crashed => [MemberStatus::FAILED, MemberStatus::NONE].contains(&status),
                };
                if !fits {
                    let (by, of, status, fate) = (&by.name, &of.name, status.as_str(), of.fate);
                    return Some(format!("{by} sees {of} as {status}, which is {fate:?}"));
                }
                if of.fate != Fate::Up && status != MemberStatus::NONE {
                    if seen != MemberStatus::NONE && seen != status {
                        return Some(format!("{} is failed for some and left for others", of.name));
                    }
                    seen = status;
                }
                // Somebody may be there for others under an address that it had before.
                if of.fate == Fate::Up && address(by, &of.name) != Some(of.address.ip().to_string())
                {
                    return Some(format!("{} has an old address of {}", by.name, of.name));
                }
                if of.fate == Fate::Up && tag(by, &of.name) != Some(of.tag.to_string()) {
                    return Some(format!("{} has an old tag of {}", by.name, of.name));
                }
            }
        }
        up().find_map(|agent| self.event_missing(agent))
    }

    /// An event that an agent should have had: it was there when it was sent, and whoever sent
    /// it still is.
    fn event_missing(&self, agent: &Agent) -> Option<String> {
        if !agent.fresh {
            return None;
        }
        let promised = self.sent.iter().enumerate().filter(|(_, sent)| {
            let from = &self.agents[sent.from];
            from.is_up() && from.life == sent.life && sent.at > agent.since
        });
        let mut missing = promised.filter(|(event, _)| !agent.heard.contains_key(&(*event as u32)));
        missing.next().map(|(event, _)| format!("{} has not had event {event}", agent.name))
    }
}

/// In calm weather nobody suspects who is there; not even if one way to it is cut.
fn check_own_suspicions(network: &mut Network, number: usize, plain: &Bytes) {
    if !network.weather.calm() || network.weather.kind == Kind::Starved {
        return;
    }
    let agent = &network.agents[number];
    let mut wrong = None;
    // What cannot be read is none of the agent's.
    let _ = packet::unpack(plain, &mut |kind, body| {
        if kind == MessageType::Suspect
            && let Ok(claim) = decode::<Suspect<'_>>(body)
            && claim.from == *agent.name
            && network.agents.iter().any(|a| a.name == claim.node && a.fate == Fate::Up)
        {
            wrong = Some(format!("calm: {} suspects {}", agent.name, claim.node));
        }
    });
    if let Some(wrong) = wrong {
        network.violation(wrong);
    }
}

fn address(by: &Agent, of: &str) -> Option<String> {
    by.serf.as_ref()?.member(of).map(|member| member.addr.clone())
}

fn tag(by: &Agent, of: &str) -> Option<String> {
    by.serf.as_ref()?.member(of)?.tags.get("tag").cloned()
}

/// Whether a status is that of a member that is there.
trait There {
    fn there(self) -> bool;
}

impl There for MemberStatus {
    fn there(self) -> bool {
        self == MemberStatus::ALIVE || self == MemberStatus::LEAVING
    }
}
