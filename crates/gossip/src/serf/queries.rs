//! Questions to all members, and their answers (`reference/gossip-wire.md` section 12).
//!
//! A query spreads like an event. Who it is for answers straight to the asker, once; copies
//! may go over other members, for networks where the straight way fails. The asker
//! collects until the time is over.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use regex::RegexBuilder;
use types::Blob;
use types::member::{Member, MemberStatus};
use types::user_event::LamportTime;

use super::action::{Action, Event, OperationId, Outcome, Query};
use super::core::Core;
use super::keys::KeyTally;
use super::report::{Measure, Report};
use super::user_events::Seen;
use crate::wire::serf::{
    self as wire, Filter, QUERY_ACK, QUERY_NO_BROADCAST, QueryResponse, RESPONSE_ACK, Relay,
    SerfMessage,
};

/// The default timeout: so many rounds of gossip for each power of ten of members.
const TIMEOUT_ROUNDS: u32 = 16;

/// Bytes of memory that a filter's regular expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// The names of serf's own queries begin with this.
pub(super) const INTERNAL_PREFIX: &str = "_serf_";

/// The least memberlist protocol that understands relays.
const RELAY_PROTOCOL_MIN: u8 = 5;

/// How to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryOptions {
    /// Who is asked: all of these must let a node through. None: everybody.
    pub filters: Vec<Filter>,
    /// Whether nodes say at once that they have the query.
    pub acknowledge: bool,
    /// Over how many other members each answer goes as well.
    pub relay_factor: u8,
    /// How long to wait; `None` for a time that fits the size of the pool.
    pub timeout: Option<Duration>,
}

/// Why a query was not asked. The text is serf's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("query exceeds limit of {0} bytes")]
pub struct QueryTooLarge(pub usize);

/// Why an answer was not sent. The texts are serf's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RespondError {
    /// Nobody waits for it any more.
    #[error("response is past the deadline")]
    Late,
    /// It does not fit.
    #[error("response exceeds limit of {0} bytes")]
    TooLarge(usize),
    /// It does not fit with what a relay puts around it; the straight copy was sent.
    #[error("relayed response exceeds limit of {0} bytes")]
    RelayTooLarge(usize),
}

/// What becomes of the answers to a query of this node.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// Somebody waits for them.
    Asked(OperationId),
    /// They are added up.
    Keys(OperationId, KeyTally),
    /// They are counted: how many there are, and how many know this node under its name.
    Conflict { responses: usize, matching: usize },
}

/// A query of this node that waits for answers.
#[derive(Clone, Debug)]
pub(super) struct Running {
    id: u32,
    deadline: Instant,
    acknowledged: BTreeSet<String>,
    responded: BTreeSet<String>,
    pub(super) purpose: Purpose,
}

impl Running {
    /// When it is over.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// How long answers are waited for by default, in a pool of so many that are there.
fn default_timeout(nodes: usize, gossip_interval: Duration) -> Duration {
    gossip_interval * TIMEOUT_ROUNDS * ((nodes as f64 + 1.0).log10().ceil() as u32)
}

impl Core {
    /// Asks all members, this node among them.
    pub(super) fn ask(
        &mut self,
        name: &str,
        payload: Bytes,
        options: QueryOptions,
        purpose: Purpose,
    ) -> Result<(), QueryTooLarge> {
        let timeout = options.timeout;
        let timeout = timeout
            .unwrap_or_else(|| default_timeout(self.members.present(), self.gossip_interval));
        let id = self.rng.u32(..=i32::MAX as u32);
        let query = wire::Query {
            time: self.query_clock.time(),
            id,
            addr: Some(self.address.ip()),
            port: self.address.port(),
            source_node: self.name.clone(),
            filters: options.filters.iter().map(Filter::encode).collect(),
            flags: if options.acknowledge { QUERY_ACK } else { 0 },
            relay_factor: options.relay_factor,
            timeout: i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX),
            name: name.to_owned(),
            payload: Blob(payload),
        };
        let message = SerfMessage::Query(query.clone()).encode();
        let limit = self.options.limits.query;
        if message.len() > limit {
            return Err(QueryTooLarge(limit));
        }
        let running = Running {
            id,
            deadline: self.now + timeout,
            acknowledged: BTreeSet::new(),
            responded: BTreeSet::new(),
            purpose,
        };
        self.running.insert(query.time, running);
        // This also moves the clock on.
        self.handle_query(query);
        self.query_queue.push(None, message, None);
        Ok(())
    }

    /// Delivers a query unless it was, or is not for this node. Whether to pass it on.
    pub(super) fn handle_query(&mut self, query: wire::Query) -> bool {
        self.query_clock.witness(query.time);
        let current = self.query_clock.time();
        match self.queries.note(query.id, query.time, current) {
            Seen::Known => return false,
            Seen::TooOld => {
                self.report(Report::OldQuery(query.name, query.time, current));
                return false;
            }
            Seen::New => {}
        }
        self.measure(Measure::Query(query.name.clone()));
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.query_clock(query.time, self.now);
        }
        let pass_on = query.flags & QUERY_NO_BROADCAST == 0;
        let Some(ip) = query.addr.filter(|_| self.is_for_us(&query.filters)) else {
            return pass_on;
        };
        let timeout = Duration::from_nanos(query.timeout.max(0).unsigned_abs());
        let acknowledge = query.flags & QUERY_ACK != 0;
        let query = Query {
            lamport_time: query.time,
            id: query.id,
            name: query.name,
            payload: query.payload.0,
            source_node: query.source_node,
            source: SocketAddr::new(ip, query.port),
            relay_factor: query.relay_factor,
            // A timeout of centuries is none.
            deadline: self.now.checked_add(timeout).unwrap_or(self.now),
        };
        if acknowledge {
            let sent = self.send_response(&query, Bytes::new(), RESPONSE_ACK);
            self.report_unsent(sent);
        }
        if query.name.starts_with(INTERNAL_PREFIX) {
            self.handle_internal_query(query);
        } else {
            self.out.push_back(Action::Event(Event::Query(query)));
        }
        pass_on
    }

    fn is_for_us(&mut self, filters: &[Blob]) -> bool {
        filters.iter().all(|filter| {
            let passes = match Filter::decode(filter) {
                Ok(Filter::Nodes(names)) => Ok(names.contains(&self.name)),
                Ok(Filter::Tag { tag, expression }) => {
                    let value = self.options.tags.get(&tag).map_or("", String::as_str);
                    let regex = RegexBuilder::new(&expression).size_limit(REGEX_BYTES_MAX).build();
                    regex.map(|regex| regex.is_match(value)).map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            passes.unwrap_or_else(|error| {
                self.report(Report::BadFilter(error));
                false
            })
        })
    }

    /// Answers a query.
    pub(super) fn respond(&mut self, query: &Query, payload: Bytes) -> Result<(), RespondError> {
        if self.now > query.deadline {
            return Err(RespondError::Late);
        }
        self.send_response(query, payload, 0)
    }

    /// Whether an answer would fit; its size is judged with all that is around it.
    pub(super) fn response_fits(&self, query: &Query, payload: &Bytes) -> bool {
        let response = response(&self.name, query, payload.clone(), 0);
        response.len() <= self.options.limits.response
    }

    fn send_response(
        &mut self,
        query: &Query,
        payload: Bytes,
        flags: u32,
    ) -> Result<(), RespondError> {
        let limit = self.options.limits.response;
        let response = response(&self.name, query, payload, flags);
        if response.len() > limit {
            return Err(RespondError::TooLarge(limit));
        }
        self.sends.push_back((query.source, response.clone()));
        self.send_relays(query, response)
    }

    /// Sends copies of an answer over random members, where there are enough of them.
    fn send_relays(&mut self, query: &Query, response: Bytes) -> Result<(), RespondError> {
        let factor = usize::from(query.relay_factor);
        if factor == 0 || self.members.known.len() < factor + 1 {
            return Ok(());
        }
        let limit = self.options.limits.response;
        let relay =
            Relay { to: Some(query.source), to_name: query.source_node.clone(), message: response };
        let relay = SerfMessage::Relay(relay).encode();
        if relay.len() > limit {
            return Err(RespondError::RelayTooLarge(limit));
        }
        let able = |member: &Member| {
            member.status == MemberStatus::ALIVE
                && member.protocol_max >= RELAY_PROTOCOL_MIN
                && member.name != self.name
        };
        let members = self.members.known.values().map(|known| &known.member);
        let mut able: Vec<SocketAddr> =
            members.filter(|member| able(member)).filter_map(address_of).collect();
        self.rng.shuffle(&mut able);
        self.sends.extend(able.into_iter().take(factor).map(|to| (to, relay.clone())));
        Ok(())
    }

    pub(super) fn report_unsent(&mut self, sent: Result<(), RespondError>) {
        if let Err(error) = sent {
            self.report(Report::NotAnswered(error.to_string()));
        }
    }

    /// Passes on an answer for somebody else. Only answers, and only to members: a node is
    /// no way to reach others.
    pub(super) fn handle_relay(&mut self, relay: Relay) {
        let Some(to) = relay.to else { return };
        let members = self.members.known.values();
        let is_member = members.filter_map(|known| address_of(&known.member)).any(|at| at == to);
        match SerfMessage::decode(&relay.message) {
            Ok(SerfMessage::QueryResponse(_)) if is_member => {
                self.sends.push_back((to, relay.message));
            }
            Ok(SerfMessage::QueryResponse(_)) => self.report(Report::StrangeRelay(to)),
            Ok(_) => {
                let error = "a relay may carry nothing but an answer to a query".to_owned();
                self.report(Report::Undecodable { what: "relay", error });
            }
            Err(error) => {
                let error = error.to_string();
                self.report(Report::Undecodable { what: "relay", error });
            }
        }
    }

    /// An answer to a query of this node.
    pub(super) fn handle_response(&mut self, response: QueryResponse) {
        let QueryResponse { time, id, from, flags, payload } = response;
        let now = self.now;
        let running = self.running.get_mut(&time);
        let Some(running) = running.filter(|running| running.id == id && now <= running.deadline)
        else {
            return self.report(Report::LateResponse(time, id, from));
        };
        let is_ack = flags & RESPONSE_ACK != 0;
        let seen = if is_ack { &mut running.acknowledged } else { &mut running.responded };
        let duplicate = !seen.insert(from.clone());
        self.measure(match is_ack {
            true => Measure::Ack { duplicate },
            false => Measure::Response { duplicate },
        });
        if duplicate {
            return;
        }
        self.take_response(time, is_ack, from, payload.0);
    }

    fn take_response(&mut self, time: LamportTime, is_ack: bool, from: String, payload: Bytes) {
        let address = self.address;
        let Some(running) = self.running.get_mut(&time) else { return };
        match &mut running.purpose {
            Purpose::Asked(id) => {
                let outcome = match is_ack {
                    true => Outcome::Acknowledged(from),
                    false => Outcome::Answered { from, payload },
                };
                let completed = Action::Completed(*id, outcome);
                self.out.push_back(completed);
            }
            _ if is_ack => {}
            Purpose::Keys(_, tally) => {
                if tally.take(from, &payload) {
                    self.close_query(time);
                }
            }
            Purpose::Conflict { responses, matching } => match SerfMessage::decode(&payload) {
                Ok(SerfMessage::ConflictResponse(member)) => {
                    *responses += 1;
                    let at = member.addr.map(|ip| SocketAddr::new(ip, member.port));
                    *matching += usize::from(at == Some(address));
                }
                other => {
                    let what = "conflict query response";
                    let error = match other {
                        Err(error) => error.to_string(),
                        Ok(_) => "another message".to_owned(),
                    };
                    self.report(Report::Undecodable { what, error });
                }
            },
        }
    }

    /// Ends the queries whose time is over.
    pub(super) fn close_due_queries(&mut self) {
        let due = self.running.iter().filter(|(_, running)| running.deadline <= self.now);
        let due: Vec<LamportTime> = due.map(|(time, _)| *time).collect();
        due.into_iter().for_each(|time| self.close_query(time));
    }

    fn close_query(&mut self, time: LamportTime) {
        let Some(running) = self.running.remove(&time) else { return };
        match running.purpose {
            Purpose::Asked(id) => self.out.push_back(Action::Completed(id, Outcome::Closed)),
            Purpose::Keys(id, tally) => {
                let outcome = Outcome::Keys(tally.into_answers());
                self.out.push_back(Action::Completed(id, outcome));
            }
            Purpose::Conflict { responses, matching } => self.resolve_conflict(responses, matching),
        }
    }
}

fn response(from: &str, query: &Query, payload: Bytes, flags: u32) -> Bytes {
    SerfMessage::QueryResponse(QueryResponse {
        time: query.lamport_time,
        id: query.id,
        from: from.to_owned(),
        flags,
        payload: Blob(payload),
    })
    .encode()
}

/// Where a member is.
pub(super) fn address_of(member: &Member) -> Option<SocketAddr> {
    Some(SocketAddr::new(member.addr.parse().ok()?, member.port))
}
