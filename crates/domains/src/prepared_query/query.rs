//! Reads of definitions.

use std::sync::Arc;

use acl::{Authorizer, PermissionDenied};
use contract::{
    Action, Answer, CallError, Found, Outside, Pruned, Query, Question, ReadOptions, Step,
};
use store::Reader;
use types::prepared_query::{ExplainResponse, PreparedQuery};

use super::resolve::{not_found, resolve};
use super::table::PREPARED_QUERIES;
use super::{access, uuid};

/// All queries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PreparedQueries;

impl Query for PreparedQueries {
    const NAME: &'static str = "PreparedQuery.List";
    type Reply = Vec<Arc<PreparedQuery>>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = reader.max_index_of(&[PREPARED_QUERIES.name]);
        Found::new(index, reader.unwatched().prefix(&PREPARED_QUERIES, &[]).collect())
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        let mut kept = Pruned::keep(reply, |query| access::is_listed(who, query));
        kept.reply = kept.reply.into_iter().map(|query| access::hide_token(who, query)).collect();
        kept
    }
}

/// The query with an id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PreparedQueryGet {
    /// The id.
    pub id: String,
}

impl Query for PreparedQueryGet {
    const NAME: &'static str = "PreparedQuery.Get";
    type Reply = Result<[Arc<PreparedQuery>; 1], CallError>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let table_index = reader.unwatched().index_of(PREPARED_QUERIES.name);
        let id = match uuid::parse(&self.id) {
            Ok(id) => id,
            Err(error) => {
                let text = format!("failed prepared query lookup: index error: {error}");
                return Found::new(table_index, Err(CallError::failed(text)));
            }
        };
        match reader.get(&PREPARED_QUERIES, id.as_bytes()) {
            Some(query) => Found::new(table_index, Ok([query])),
            None => Found::absent(table_index, Err(not_found())),
        }
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::nothing(reply.and_then(|[query]| {
            access::require_read(who, &query)?;
            Ok([access::hide_token(who, query)])
        }))
    }

    fn refine(&self, reply: Self::Reply) -> Result<Self::Reply, CallError> {
        reply.map(Ok)
    }
}

/// The definition that an id or a name stands for, as its readers may see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PreparedQueryExplain {
    /// The id or the name.
    pub id_or_name: String,
    /// The network segment of the agent that asks.
    pub segment: String,
}

impl Query for PreparedQueryExplain {
    const NAME: &'static str = "PreparedQuery.Explain";
    const KEPT: bool = false;
    type Reply = Result<Arc<PreparedQuery>, CallError>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = reader.max_index_of(&[PREPARED_QUERIES.name]);
        Found::new(index, resolve(reader.unwatched(), &self.id_or_name, &self.segment))
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::nothing(reply.and_then(|query| {
            access::require_read(who, &query)?;
            Ok(access::hide_token(who, query))
        }))
    }

    fn refine(&self, reply: Self::Reply) -> Result<Self::Reply, CallError> {
        reply.map(Ok)
    }
}

/// Asks for an explanation, which tells facts of the read in its body.
pub struct Explanation {
    /// What is asked.
    pub query: PreparedQueryExplain,
    /// Where, and how fresh.
    pub options: ReadOptions,
}

impl Action for Explanation {
    const NAME: &'static str = PreparedQueryExplain::NAME;
    type Reply = ExplainResponse;

    fn options(&self) -> &ReadOptions {
        &self.options
    }

    fn start(&self) -> Question {
        Question { query: Arc::new(self.query.clone()), options: self.options.clone() }
    }

    fn handle_answer(
        &mut self,
        answer: Result<Answer, CallError>,
        _outside: &mut Outside<'_>,
    ) -> Result<Step<ExplainResponse>, CallError> {
        let answer = answer?;
        let facts = answer.facts;
        let query = (*answer.reply_of::<PreparedQueryExplain>()).clone()?;
        let meta = facts.to_meta(self.options.consistency.as_str());
        Ok(Step::Done(ExplainResponse { query: PreparedQuery::clone(&query), meta }, facts))
    }
}
