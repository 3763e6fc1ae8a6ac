//! User queries: who is asked, who answers, and what comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gossip::serf::{OperationId, Outcome, Query, QueryOptions, RespondError, Serf};
use gossip::wire::serf::Filter;
use types::member::MemberStatus;

use super::agent::Fate;
use super::network::{Arrival, Network};
use super::weather::Kind;

/// How long answers are waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is sent so long before that comes in time: two ways through the network.
const MARGIN: Duration = Duration::from_millis(100);

/// Most names in a filter: the query has to fit into a packet.
const NAMES_MAX: usize = 30;

/// A query that somebody asked; its payload is its number.
pub(super) struct Asked {
    from: usize,
    life: u32,
    id: Option<OperationId>,
    until: Instant,
    /// Who is asked; nothing for everybody.
    names: Option<Vec<String>>,
    acknowledge: bool,
    relays: u8,
    /// Whether answers that cannot go straight get there over others.
    formed: bool,
    /// To whom it came, by number and life; and their names.
    delivered: BTreeSet<(usize, u32)>,
    delivered_to: BTreeSet<String>,
    /// What was answered, by the name of who did.
    answers: BTreeMap<String, BTreeSet<String>>,
    /// Answers and acknowledgements (`true`) that must come, by name.
    must: BTreeSet<(String, bool)>,
    came: BTreeSet<(String, bool)>,
    closed: bool,
}

impl Network {
    /// Somebody asks all, or some.
    pub(super) fn ask(&mut self) {
        let Some(from) = self.some(|agent| agent.fate == Fate::Up && agent.joined) else { return };
        let mut names = None;
        if self.rng.u8(0..3) == 0 {
            let all = self.agents.iter().filter(|agent| agent.twin_of.is_none());
            let all: Vec<String> = all.map(|agent| agent.name.clone()).collect();
            let some = self.rng.choose_multiple(all, NAMES_MAX);
            names = Some(some.into_iter().filter(|_| self.rng.bool()).collect::<Vec<_>>());
        }
        let (acknowledge, relays) = (self.rng.bool(), self.rng.u8(0..4));
        let number = self.asked.len();
        let formed = self.weather.kind == Kind::Cut && self.all_see_all();
        self.asked.push(Asked {
            from,
            life: self.agents[from].life,
            id: None,
            until: self.now + TIMEOUT,
            names: names.clone(),
            acknowledge,
            relays,
            formed,
            delivered: BTreeSet::new(),
            delivered_to: BTreeSet::new(),
            answers: BTreeMap::new(),
            must: BTreeSet::new(),
            came: BTreeSet::new(),
            closed: false,
        });
        self.counts.queries += 1;
        let options = QueryOptions {
            filters: names.map(Filter::Nodes).into_iter().collect(),
            acknowledge,
            relay_factor: relays,
            timeout: Some(TIMEOUT),
        };
        let payload = Bytes::from(number.to_string());
        match self.input(from, |serf, now| serf.query("q", payload, options, now)) {
            Some(Ok(id)) => self.asked[number].id = Some(id),
            Some(Err(error)) => self.violation(format!("queries: {error}")),
            None => {}
        }
        self.act(from, &format!("asks query {number}"));
    }

    /// Whether all are up and see each other so.
    fn all_see_all(&self) -> bool {
        self.agents.iter().all(|by| {
            let there = by.serf.iter().flat_map(Serf::members);
            there.filter(|member| member.status == MemberStatus::ALIVE).count() == self.agents.len()
        })
    }

    /// A query comes to an agent, which answers at once or a little later.
    pub(super) fn query_came(&mut self, number: usize, query: &Query) {
        let text = String::from_utf8_lossy(&query.payload);
        let (name, life) = (self.agents[number].name.clone(), self.agents[number].life);
        let place = text.parse::<usize>().ok().filter(|place| *place < self.asked.len());
        let Some(place) = place else {
            return self.violation(format!("queries: {name} is asked by nobody: {text}"));
        };
        self.say(format_args!("{name} has query {place}"));
        let must = self.must_reach(number, place);
        let asked = &mut self.asked[place];
        let again = !asked.delivered.insert((number, life));
        asked.delivered_to.insert(name.clone());
        let meant = asked.names.as_ref().is_none_or(|names| names.contains(&name));
        if must && asked.acknowledge {
            asked.must.insert((name.clone(), true));
        }
        if again {
            self.violation(format!("queries once: {name} had query {place} in this life"));
        }
        if !meant {
            self.violation(format!("queries: {name} has query {place}, which is not for it"));
        }
        if self.rng.bool() {
            self.answer(number, place, query);
        } else {
            let wait = Duration::from_millis(self.rng.u64(0..6_000));
            self.unanswered.push((place, query.clone()));
            let query = self.unanswered.len() - 1;
            self.add(wait, Arrival::Respond { agent: number, life, query });
        }
    }

    pub(super) fn answer(&mut self, number: usize, place: usize, query: &Query) {
        let agent = &self.agents[number];
        let (name, payload) =
            (agent.name.clone(), format!("{} in life {}", agent.name, agent.life));
        let must = self.must_reach(number, place);
        let bytes = Bytes::from(payload.clone());
        let late = self.now > query.deadline;
        match self.input(number, |serf, now| serf.respond(query, bytes, now)) {
            Some(Ok(())) => {
                let asked = &mut self.asked[place];
                asked.answers.entry(name.clone()).or_default().insert(payload);
                if must {
                    asked.must.insert((name, false));
                }
            }
            Some(Err(RespondError::Late)) if late => {}
            Some(Err(error)) => self.violation(format!("queries: {name} cannot answer: {error}")),
            None => {}
        }
    }

    /// Whether what an agent sends to the asker now has to get there in time.
    fn must_reach(&self, number: usize, place: usize) -> bool {
        let asked = &self.asked[place];
        let asker = &self.agents[asked.from];
        let there = asker.fate == Fate::Up && asker.life == asked.life;
        let awake = !asker.starved && !self.agents[number].starved;
        // Two relays: one of them may be the asker itself. With too few members there are none.
        let relays = 2..self.agents.len();
        let relayed = asked.formed && relays.contains(&usize::from(asked.relays));
        let way = self.is_open(number, asked.from) || relayed;
        self.weather.calm() && there && awake && way && self.now + MARGIN < asked.until
    }

    /// An asker hears something.
    pub(super) fn answer_came(&mut self, number: usize, id: OperationId, outcome: &Outcome) {
        let (asker, life) = (&self.agents[number].name, self.agents[number].life);
        let mut mine = self.asked.iter_mut().enumerate().rev();
        let found = mine
            .find(|(_, asked)| asked.from == number && asked.life == life && asked.id == Some(id));
        let Some((place, asked)) = found else { return };
        let what = match outcome {
            _ if asked.closed => Some("something after it was closed".to_owned()),
            Outcome::Acknowledged(from) => {
                let has_it = asked.delivered_to.contains(from);
                let again = !asked.came.insert((from.clone(), true));
                let wrong = !has_it || again || !asked.acknowledge;
                wrong.then(|| format!("an acknowledgement that {from} did not give so"))
            }
            Outcome::Answered { from, payload } => {
                self.counts.answers += 1;
                let text = String::from_utf8_lossy(payload);
                let given = asked.answers.get(from).is_some_and(|all| all.contains(&*text));
                let again = !asked.came.insert((from.clone(), false));
                (!given || again).then(|| format!("an answer that {from} did not give so"))
            }
            Outcome::Closed => {
                asked.closed = true;
                let missing = asked.must.difference(&asked.came).next();
                missing.map(|(name, ack)| match ack {
                    true => format!("no acknowledgement of {name}"),
                    false => format!("no answer of {name}"),
                })
            }
            _ => None,
        };
        if let Some(what) = what {
            let text = format!("queries: {asker} has {what} to query {place}");
            self.violation(text);
        }
    }
}
