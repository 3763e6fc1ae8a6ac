//! The part of an execution that another datacenter asks for: the instances that a
//! definition of theirs finds here.

use std::sync::Arc;

use contract::{Action, Answer, CallError, Outside, Question, ReadOptions, Step};
use types::prepared_query::{ExecuteResponse, PreparedQuery};

use super::execution::draw;
use super::instances::QueryInstances;

/// Executes a definition that the sender resolved, here and nowhere else.
pub struct RemoteExecution {
    /// The definition, filled in.
    pub query: Arc<PreparedQuery>,
    /// Whether what is reached through the mesh is asked for, whatever the definition says.
    pub connect: bool,
    /// Most instances to give; zero for all.
    pub limit: usize,
    /// What the reads have in common.
    pub options: ReadOptions,
}

impl Action for RemoteExecution {
    const NAME: &'static str = "PreparedQuery.ExecuteRemote";
    type Reply = ExecuteResponse;

    fn options(&self) -> &ReadOptions {
        &self.options
    }

    /// The token of the definition counts, if it has one.
    fn start(&self) -> Question {
        let mut options = self.options.clone();
        if !self.query.token.is_empty() {
            options.token = self.query.token.clone();
        }
        let instances = QueryInstances {
            query: Arc::clone(&self.query),
            connect: self.connect,
            peer: self.query.service.peer.clone(),
        };
        Question { query: Arc::new(instances), options }
    }

    fn handle_answer(
        &mut self,
        answer: Result<Answer, CallError>,
        outside: &mut Outside<'_>,
    ) -> Result<Step<ExecuteResponse>, CallError> {
        let answer = answer?;
        let facts = answer.facts;
        let rows = answer.reply_of::<QueryInstances>();
        let response = ExecuteResponse {
            service: self.query.service.service.clone(),
            nodes: draw(&rows, self.limit, outside),
            dns: self.query.dns.clone(),
            datacenter: self.options.datacenter.clone(),
            peer_name: self.query.service.peer.clone(),
            failovers: 0,
            meta: facts.to_meta(self.options.consistency.as_str()),
        };
        Ok(Step::Done(response, facts))
    }
}
