//! Queries from their definition to their answers, over states in memory.

mod execution;
mod lifecycle;
mod recorded;

use std::collections::BTreeMap;
use std::sync::Arc;

use acl::Authorizer;
use contract::{
    Action, Answer, AnyCommand, AnyQuery, CallError, Command, LoneLeader, Outside, Question,
    ReadFacts, ReadOptions, Step,
};
use store::{Reader, Store};
use types::catalog::RegisterRequest;
use types::prepared_query::{ExecuteResponse, PreparedQuery};
use types::{Datacenter, Index, json};

use super::*;
use crate::catalog::Register;

/// Datacenters, of which the first is this one and the others stand in the order of their
/// distance.
struct World {
    datacenters: Vec<(Datacenter, Store)>,
    index: u64,
    seed: u64,
    who: Authorizer,
}

impl World {
    fn new(names: &[&str]) -> Self {
        let datacenter = |name: &&str| (Datacenter::from(*name), Store::new(&crate::tables()));
        let datacenters = names.iter().map(datacenter).collect();
        Self { datacenters, index: 0, seed: 0, who: Authorizer::allow_all() }
    }

    fn store(&self) -> &Store {
        &self.datacenters[0].1
    }

    fn run_in<C: Command>(&mut self, at: usize, mut command: C) -> Result<C::Reply, String> {
        let (datacenter, store) = &self.datacenters[at];
        let failed = |error: CallError| error.to_string();
        Command::authorize(&command, &self.who, store).map_err(|denied| denied.to_string())?;
        let mut leader = LoneLeader {
            datacenter: datacenter.clone(),
            last_random: u128::from(self.index) << 8,
            ..LoneLeader::new(store)
        };
        leader.lead(|leader| Command::prepare(&mut command, leader)).map_err(failed)?;
        self.index += 1;
        let index = Index(self.index);
        store.write(|batch| Command::apply(&command, &mut batch.tx(index))).map_err(failed)
    }

    fn run<C: Command>(&mut self, command: C) -> Result<C::Reply, String> {
        self.run_in(0, command)
    }

    fn register_in(&mut self, at: usize, text: &str) {
        let request: RegisterRequest =
            json::decode(text.as_bytes(), json::Unknown::Deny).expect("it is a registration");
        self.run_in(at, Register(request)).expect("it is sound");
    }

    fn apply(
        &mut self,
        op: PreparedQueryOp,
        query: PreparedQuery,
    ) -> Result<PreparedQueryReply, String> {
        self.run(PreparedQueryCommand { op, query, ..PreparedQueryCommand::default() })
    }

    fn create(&mut self, text: &str) -> Result<String, String> {
        match self.apply(PreparedQueryOp::Create, definition(text))? {
            PreparedQueryReply::Created(id) => Ok(id),
            PreparedQueryReply::Done(_) => panic!("a creation tells the id"),
        }
    }

    fn delete(&mut self, id: &str) -> Result<PreparedQueryReply, String> {
        let query = PreparedQuery { id: id.to_owned(), ..PreparedQuery::default() };
        self.apply(PreparedQueryOp::Delete, query)
    }

    fn ask<Q: AnyQuery>(&self, query: &Q) -> Result<Arc<dyn std::any::Any + Send + Sync>, String> {
        self.evaluate(query, &Datacenter::default()).map(|answer| answer.reply).map_err(text)
    }

    fn names(&self) -> Vec<String> {
        let reply = self.ask(&PreparedQueries).expect("a list is always there");
        let rows = reply.downcast::<Vec<Arc<PreparedQuery>>>().expect("it is a list");
        rows.iter().map(|query| query.name.clone()).collect()
    }

    fn explain(&self, id_or_name: &str) -> Result<PreparedQuery, String> {
        let query =
            PreparedQueryExplain { id_or_name: id_or_name.to_owned(), segment: String::new() };
        let action = Explanation { query, options: ReadOptions::default() };
        let (response, _) = self.act(action).map_err(text)?;
        Ok(response.query)
    }

    fn execute(&self, request: ExecuteRequest) -> Result<(ExecuteResponse, Vec<String>), String> {
        let options =
            ReadOptions { datacenter: self.datacenters[0].0.clone(), ..ReadOptions::default() };
        self.act(Execution::new(request, options)).map_err(text)
    }

    fn execute_name(&self, name: &str) -> Result<ExecuteResponse, String> {
        let request = ExecuteRequest { id_or_name: name.to_owned(), ..ExecuteRequest::default() };
        Ok(self.execute(request)?.0)
    }

    /// Runs an action. Beside its reply, what was asked where.
    fn act<A: Action>(&self, mut action: A) -> Result<(A::Reply, Vec<String>), CallError> {
        let others: Vec<Datacenter> =
            self.datacenters[1..].iter().map(|(name, _)| name.clone()).collect();
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut outside = Outside { random: &mut || random.u64(..), datacenters: &others };
        let mut question = action.start();
        let mut asked = Vec::new();
        loop {
            let Question { query, options } = question;
            asked.push(format!("{}@{}", query.name(), options.datacenter));
            let answer = self.evaluate(&*query, &options.datacenter);
            match action.handle_answer(answer, &mut outside)? {
                Step::Ask(next) => question = next,
                Step::Done(reply, _) => return Ok((reply, asked)),
            }
        }
    }

    fn evaluate(&self, query: &dyn AnyQuery, at: &Datacenter) -> Result<Answer, CallError> {
        let mut stores = self.datacenters.iter();
        let found = stores.find(|(name, _)| at.is_empty() || name == at);
        let (_, store) = found.ok_or_else(CallError::no_path_to_datacenter)?;
        query.authorize(&self.who)?;
        let state = store.snapshot();
        let evaluated = query.evaluate(&self.who, &mut Reader::new(&state))?;
        let facts =
            ReadFacts { index: evaluated.index, known_leader: true, ..ReadFacts::default() };
        Ok(Answer { reply: evaluated.reply, facts })
    }
}

fn text(error: CallError) -> String {
    error.to_string()
}

fn definition(text: &str) -> PreparedQuery {
    json::decode(text.as_bytes(), json::Unknown::Deny).expect("it is a definition")
}

/// `node/instance/checks` of each.
fn shown(response: &ExecuteResponse) -> Vec<String> {
    let entries = response.nodes.iter().map(|entry| {
        let checks: Vec<&str> = entry.checks.iter().map(|check| check.check_id.as_str()).collect();
        format!("{}/{}/{}", entry.node.node, entry.service.id, checks.join(","))
    });
    entries.collect()
}

/// The members of a JSON object.
type Object = BTreeMap<String, serde_json::Value>;
