//! The execution of a query: definition → instances here → order → instances elsewhere.

use std::net::IpAddr;
use std::sync::Arc;

use contract::{Action, Answer, CallError, Outside, Query, Question, ReadFacts, ReadOptions, Step};
use types::catalog::CheckServiceNode;
use types::prepared_query::{ExecuteResponse, PreparedQuery};
use types::{Datacenter, NodeName};

use super::failover::Failover;
use super::instances::{QueryInstances, QueryOrder, Source};
use super::resolve::PreparedQueryResolve;

/// What is to be executed, and for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExecuteRequest {
    /// The id or the name.
    pub id_or_name: String,
    /// Most instances to give; zero for all.
    pub limit: usize,
    /// Whether what is reached through the mesh is asked for, whatever the definition says.
    pub connect: bool,
    /// From where distances are measured, before what the definition says; empty for that.
    pub near: String,
    /// The node of the agent that asks: `_agent`.
    pub agent: NodeName,
    /// The network segment of that agent.
    pub segment: String,
    /// The datacenter of that agent: distances from what is there mean nothing elsewhere.
    /// Empty for the one that is asked.
    pub datacenter: Datacenter,
    /// The address of the client: `_ip`. None over a unix socket.
    pub address: Option<IpAddr>,
}

/// What stands for the agent that asks, and for the client.
pub(super) const NEAR_AGENT: &str = "_agent";
const NEAR_ADDRESS: &str = "_ip";

/// A running execution.
pub struct Execution {
    pub(super) request: ExecuteRequest,
    options: ReadOptions,
    state: State,
}

enum State {
    Resolving,
    /// Waiting for the instances in this datacenter.
    Local(Arc<PreparedQuery>),
    /// Waiting for the order of these, which were found here.
    Ordering(Arc<PreparedQuery>, Vec<CheckServiceNode>, ReadFacts),
    /// Waiting for the instances somewhere else; none were found so far.
    Elsewhere(Elsewhere),
}

struct Elsewhere {
    query: Arc<PreparedQuery>,
    failover: Failover,
    /// The place that is being tried.
    datacenter: Datacenter,
    peer: String,
    /// What the last answer told.
    facts: ReadFacts,
}

impl Execution {
    /// An execution whose reads have these options in common.
    pub fn new(request: ExecuteRequest, options: ReadOptions) -> Self {
        Self { request, options, state: State::Resolving }
    }

    /// Asks for the instances of a definition, with its token if it has one.
    fn ask_instances(
        &self,
        query: &Arc<PreparedQuery>,
        datacenter: &Datacenter,
        peer: &str,
    ) -> Question {
        let mut options = ReadOptions { datacenter: datacenter.clone(), ..self.options.clone() };
        if !query.token.is_empty() {
            options.token = query.token.clone();
        }
        let instances = QueryInstances {
            query: Arc::clone(query),
            connect: self.request.connect,
            peer: peer.to_owned(),
        };
        Question { query: Arc::new(instances), options }
    }

    fn handle_resolved(
        &mut self,
        query: Arc<PreparedQuery>,
    ) -> Result<Step<ExecuteResponse>, CallError> {
        let question = self.ask_instances(&query, &self.options.datacenter, &query.service.peer);
        self.state = State::Local(query);
        Ok(Step::Ask(question))
    }

    fn handle_local(
        &mut self,
        query: Arc<PreparedQuery>,
        rows: &[CheckServiceNode],
        facts: ReadFacts,
        outside: &mut Outside<'_>,
    ) -> Step<ExecuteResponse> {
        if rows.is_empty() {
            let failover = Failover::new(&query.service.failover, outside.datacenters);
            let datacenter = self.options.datacenter.clone();
            let peer = query.service.peer.clone();
            return self.try_next(Elsewhere { query, failover, datacenter, peer, facts });
        }
        let source = self.source(&query);
        let Some(source) = source.filter(|_| rows.len() > 1) else {
            let nodes = draw(rows, self.request.limit, outside);
            return self.finish_local(&query, nodes, facts);
        };
        // All of them: the nearest may be any.
        let nodes = draw(rows, 0, outside);
        let names = nodes.iter().map(|entry| entry.node.node.clone()).collect();
        self.state = State::Ordering(query, nodes, facts);
        let order = QueryOrder { source, nodes: names };
        Step::Ask(Question { query: Arc::new(order), options: self.options.clone() })
    }

    /// From where distances are measured, if at all.
    fn source(&self, query: &PreparedQuery) -> Option<Source> {
        let asker = &self.request.datacenter;
        let is_here = asker.is_empty() || *asker == self.options.datacenter;
        let near = match self.request.near.as_str() {
            "" => query.service.near.as_str(),
            near if is_here => near,
            _ => return None,
        };
        match near {
            "" => None,
            NEAR_AGENT if !is_here => None,
            NEAR_AGENT => Some(Source::Node(self.request.agent.clone())),
            NEAR_ADDRESS => self.request.address.map(Source::Address),
            node => Some(Source::Node(NodeName::from(node))),
        }
    }

    /// Asks the next place, or says that there is nothing anywhere.
    fn try_next(&mut self, mut elsewhere: Elsewhere) -> Step<ExecuteResponse> {
        let Some(target) = elsewhere.failover.poll_target() else {
            return self.finish_elsewhere(elsewhere, Vec::new());
        };
        // What a cluster peer shares with us is part of our own state.
        elsewhere.datacenter = match target.peer.is_empty() {
            true => target.datacenter,
            false => self.options.datacenter.clone(),
        };
        elsewhere.peer = target.peer;
        let question = self.ask_instances(&elsewhere.query, &elsewhere.datacenter, &elsewhere.peer);
        self.state = State::Elsewhere(elsewhere);
        Step::Ask(question)
    }

    fn finish_local(
        &self,
        query: &PreparedQuery,
        nodes: Vec<CheckServiceNode>,
        facts: ReadFacts,
    ) -> Step<ExecuteResponse> {
        let response = ExecuteResponse {
            datacenter: self.options.datacenter.clone(),
            peer_name: query.service.peer.clone(),
            ..self.response(query, nodes, facts)
        };
        Step::Done(response, facts)
    }

    fn finish_elsewhere(
        &self,
        elsewhere: Elsewhere,
        nodes: Vec<CheckServiceNode>,
    ) -> Step<ExecuteResponse> {
        let Elsewhere { query, failover, datacenter, peer, facts } = elsewhere;
        let response = ExecuteResponse {
            datacenter,
            peer_name: peer,
            failovers: failover.attempts(),
            ..self.response(&query, nodes, facts)
        };
        Step::Done(response, facts)
    }

    fn response(
        &self,
        query: &PreparedQuery,
        nodes: Vec<CheckServiceNode>,
        facts: ReadFacts,
    ) -> ExecuteResponse {
        ExecuteResponse {
            service: query.service.service.clone(),
            nodes,
            dns: query.dns.clone(),
            meta: facts.to_meta(self.options.consistency.as_str()),
            ..ExecuteResponse::default()
        }
    }
}

impl Action for Execution {
    const NAME: &'static str = PreparedQueryResolve::NAME;
    type Reply = ExecuteResponse;

    fn options(&self) -> &ReadOptions {
        &self.options
    }

    fn start(&self) -> Question {
        let resolve = PreparedQueryResolve(self.request.clone());
        Question { query: Arc::new(resolve), options: self.options.clone() }
    }

    fn handle_answer(
        &mut self,
        answer: Result<Answer, CallError>,
        outside: &mut Outside<'_>,
    ) -> Result<Step<ExecuteResponse>, CallError> {
        match std::mem::replace(&mut self.state, State::Resolving) {
            State::Resolving => {
                let query = (*answer?.reply_of::<PreparedQueryResolve>()).clone()?;
                self.handle_resolved(query)
            }
            State::Local(query) => {
                let answer = answer?;
                let facts = answer.facts;
                let rows = answer.reply_of::<QueryInstances>();
                Ok(self.handle_local(query, &rows, facts, outside))
            }
            State::Ordering(query, nodes, facts) => {
                let order = answer?.reply_of::<QueryOrder>();
                let limit = bound(self.request.limit, nodes.len());
                let nodes = order.iter().take(limit).map(|at| nodes[*at].clone()).collect();
                Ok(self.finish_local(&query, nodes, facts))
            }
            State::Elsewhere(mut elsewhere) => {
                // A place that cannot be asked is a place without instances.
                if let Ok(answer) = answer {
                    elsewhere.facts = answer.facts;
                    let rows = answer.reply_of::<QueryInstances>();
                    if !rows.is_empty() {
                        let nodes = draw(&rows, self.request.limit, outside);
                        return Ok(self.finish_elsewhere(elsewhere, nodes));
                    }
                }
                Ok(self.try_next(elsewhere))
            }
        }
    }
}

fn bound(limit: usize, available: usize) -> usize {
    if limit == 0 { available } else { limit.min(available) }
}

/// As many rows as are wanted, drawn one by one: Fisher and Yates' shuffle, as far as it
/// is needed.
pub(super) fn draw(
    rows: &[CheckServiceNode],
    limit: usize,
    outside: &mut Outside<'_>,
) -> Vec<CheckServiceNode> {
    let mut random = fastrand::Rng::with_seed((outside.random)());
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let wanted = bound(limit, rows.len());
    for next in 0..wanted {
        order.swap(next, random.usize(next..rows.len()));
    }
    order[..wanted].iter().map(|at| rows[*at].clone()).collect()
}
