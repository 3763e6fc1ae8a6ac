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

/// Somebody asks all, or some.
pub(super) fn ask(network: &mut Network) {
    let Some(from) = network.some(|agent| agent.fate == Fate::Up && agent.joined) else { return };
    let mut names = None;
    if network.rng.u8(0..3) == 0 {
        let all = network.agents.iter().filter(|agent| agent.twin_of.is_none());
        let mut all: Vec<String> = all.map(|agent| agent.name.clone()).collect();
        network.rng.shuffle(&mut all);
        names = Some(
            all.into_iter().take(NAMES_MAX).filter(|_| network.rng.bool()).collect::<Vec<_>>(),
        );
    }
    let (acknowledge, relays) = (network.rng.bool(), network.rng.u8(0..4));
    let number = network.asked.len();
    let formed = network.weather.kind == Kind::Cut && all_see_all(network);
    network.asked.push(Asked {
        from,
        life: network.agents[from].life,
        id: None,
        until: network.now + TIMEOUT,
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
    network.counts.queries += 1;
    let options = QueryOptions {
        filters: names.map(Filter::Nodes).into_iter().collect(),
        acknowledge,
        relay_factor: relays,
        timeout: Some(TIMEOUT),
    };
    let payload = Bytes::from(number.to_string());
    match network.input(from, |serf, now| serf.query("q", payload, options, now)) {
        Some(Ok(id)) => network.asked[number].id = Some(id),
        Some(Err(error)) => network.violation(format!("queries: {error}")),
        None => {}
    }
    network.act(from, &format!("asks query {number}"));
}

/// Whether all are up and see each other so.
fn all_see_all(network: &Network) -> bool {
    network.agents.iter().all(|by| {
        let there = by.serf.iter().flat_map(Serf::members);
        there.filter(|member| member.status == MemberStatus::ALIVE).count() == network.agents.len()
    })
}

/// A query comes to an agent, which answers at once or a little later.
pub(super) fn query_came(network: &mut Network, number: usize, query: &Query) {
    let text = String::from_utf8_lossy(&query.payload);
    let (name, life) = (network.agents[number].name.clone(), network.agents[number].life);
    let place = text.parse::<usize>().ok().filter(|place| *place < network.asked.len());
    let Some(place) = place else {
        return network.violation(format!("queries: {name} is asked by nobody: {text}"));
    };
    network.say(format_args!("{name} has query {place}"));
    let must = must_reach(network, number, place);
    let asked = &mut network.asked[place];
    let again = !asked.delivered.insert((number, life));
    asked.delivered_to.insert(name.clone());
    let meant = asked.names.as_ref().is_none_or(|names| names.contains(&name));
    if must && asked.acknowledge {
        asked.must.insert((name.clone(), true));
    }
    if again {
        network.violation(format!("queries once: {name} had query {place} in this life"));
    }
    if !meant {
        network.violation(format!("queries: {name} has query {place}, which is not for it"));
    }
    if network.rng.bool() {
        answer(network, number, place, query);
    } else {
        let wait = Duration::from_millis(network.rng.u64(0..6_000));
        network.unanswered.push((place, query.clone()));
        let query = network.unanswered.len() - 1;
        network.add(wait, Arrival::Respond { agent: number, life, query });
    }
}

pub(super) fn answer(network: &mut Network, number: usize, place: usize, query: &Query) {
    let agent = &network.agents[number];
    let (name, payload) = (agent.name.clone(), format!("{} in life {}", agent.name, agent.life));
    let must = must_reach(network, number, place);
    let bytes = Bytes::from(payload.clone());
    let late = network.now > query.deadline;
    match network.input(number, |serf, now| serf.respond(query, bytes, now)) {
        Some(Ok(())) => {
            let asked = &mut network.asked[place];
            asked.answers.entry(name.clone()).or_default().insert(payload);
            if must {
                asked.must.insert((name, false));
            }
        }
        Some(Err(RespondError::Late)) if late => {}
        Some(Err(error)) => network.violation(format!("queries: {name} cannot answer: {error}")),
        None => {}
    }
}

/// Whether what an agent sends to the asker now has to get there in time.
fn must_reach(network: &Network, number: usize, place: usize) -> bool {
    let asked = &network.asked[place];
    let asker = &network.agents[asked.from];
    let there = asker.fate == Fate::Up && asker.life == asked.life;
    let awake = !asker.starved && !network.agents[number].starved;
    // Two relays: one of them may be the asker itself. With too few members there are none.
    let relays = 2..network.agents.len();
    let relayed = asked.formed && relays.contains(&usize::from(asked.relays));
    let way = network.is_open(number, asked.from) || relayed;
    network.weather.calm() && there && awake && way && network.now + MARGIN < asked.until
}

/// An asker hears something.
pub(super) fn answer_came(
    network: &mut Network,
    number: usize,
    id: OperationId,
    outcome: &Outcome,
) {
    let (asker, life) = (&network.agents[number].name, network.agents[number].life);
    let mut mine = network.asked.iter_mut().enumerate().rev();
    let found =
        mine.find(|(_, asked)| asked.from == number && asked.life == life && asked.id == Some(id));
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
            network.counts.answers += 1;
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
        network.violation(text);
    }
}
