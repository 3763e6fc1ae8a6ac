//! Calls that take more than one read.

use std::any::Any;
use std::sync::Arc;

use types::Datacenter;

use crate::erased::AnyQuery;
use crate::error::CallError;
use crate::options::ReadOptions;
use crate::remote::{Outgoing, RemoteAction};
use crate::response::ReadFacts;

/// Work that is neither a change nor a single read: it asks one question after another,
/// of which each may depend on the answers before and may go to another datacenter, and
/// it may draw lots. It keeps no state and does not block.
///
/// It is a machine without I/O. `server` asks what it wants to know, and hands it the
/// answers until it is done; questions take the one way of all reads.
pub trait Action: RemoteAction + Send + 'static {
    /// The RPC name, `PreparedQuery.Execute`.
    const NAME: &'static str;
    /// What the caller gets.
    type Reply: Send + Sync + 'static;

    /// What its questions have in common: where it is run, for whom, how fresh.
    fn options(&self) -> &ReadOptions;

    /// What to ask first.
    fn start(&self) -> Question;

    /// Takes the answer to the last question. An error that is not returned is the
    /// action's to live with; whoever runs it logs it.
    fn handle_answer(
        &mut self,
        answer: Result<Answer, CallError>,
        outside: &mut Outside<'_>,
    ) -> Result<Step<Self::Reply>, CallError>;
}

/// What to ask, and where.
pub struct Question {
    /// The query.
    pub query: Arc<dyn AnyQuery>,
    /// The datacenter, the token, how fresh.
    pub options: ReadOptions,
}

/// The answer to a [`Question`].
pub struct Answer {
    /// The query's `Reply`.
    pub reply: Arc<dyn Any + Send + Sync>,
    /// What is told beside it.
    pub facts: ReadFacts,
}

impl Answer {
    /// The reply, typed.
    ///
    /// # Panics
    ///
    /// If the question was another query.
    pub fn reply_of<Q: crate::Query>(self) -> Arc<Q::Reply> {
        self.reply.downcast().expect("a query's reply has the query's reply type")
    }
}

/// What an action does next.
pub enum Step<T> {
    /// It wants to know more.
    Ask(Question),
    /// It is done.
    Done(T, ReadFacts),
}

/// What an action gets from outside.
pub struct Outside<'o> {
    /// Fresh random bits.
    pub random: &'o mut dyn FnMut() -> u64,
    /// The other datacenters that can be asked, the nearest first.
    pub datacenters: &'o [Datacenter],
}

/// An [`Action`] of unknown type.
pub trait AnyAction: Send + 'static {
    /// See [`Action::NAME`].
    fn name(&self) -> &'static str;
    /// See [`Action::options`].
    fn options(&self) -> &ReadOptions;
    /// See [`RemoteAction::to_request`].
    fn to_request(&self) -> Option<Outgoing>;
    /// See [`RemoteAction::decode_reply`]. The reply is the action's `Reply`.
    fn decode_reply(
        &self,
        bytes: &[u8],
    ) -> Result<(Box<dyn Any + Send + Sync>, ReadFacts), CallError>;
    /// See [`Action::start`].
    fn start(&self) -> Question;
    /// See [`Action::handle_answer`]. The reply is the action's `Reply`.
    fn handle_answer(
        &mut self,
        answer: Result<Answer, CallError>,
        outside: &mut Outside<'_>,
    ) -> Result<Step<Box<dyn Any + Send + Sync>>, CallError>;
}

impl<A: Action> AnyAction for A {
    fn name(&self) -> &'static str {
        A::NAME
    }

    fn options(&self) -> &ReadOptions {
        Action::options(self)
    }

    fn to_request(&self) -> Option<Outgoing> {
        RemoteAction::to_request(self)
    }

    fn decode_reply(
        &self,
        bytes: &[u8],
    ) -> Result<(Box<dyn Any + Send + Sync>, ReadFacts), CallError> {
        RemoteAction::decode_reply(self, bytes)
    }

    fn start(&self) -> Question {
        Action::start(self)
    }

    fn handle_answer(
        &mut self,
        answer: Result<Answer, CallError>,
        outside: &mut Outside<'_>,
    ) -> Result<Step<Box<dyn Any + Send + Sync>>, CallError> {
        Ok(match Action::handle_answer(self, answer, outside)? {
            Step::Ask(question) => Step::Ask(question),
            Step::Done(reply, facts) => Step::Done(Box::new(reply), facts),
        })
    }
}
