//! The one way of actions.

use std::any::Any;

use contract::{Action, Answer, AnyAction, CallError, Outside, ReadFacts, Step};

use crate::Server;
use crate::forward::{
    Attempts, Failure, Place, ask_leader, by_any_server, deadline_of, is_elsewhere, place,
    purpose_of,
};

/// The reply of an action, of a type that only the action knows, and what is told beside it.
pub(crate) type Acted = Result<(Box<dyn Any + Send + Sync>, ReadFacts), CallError>;

impl Server {
    /// Runs an action to its end: here, or as a whole by the leader or in another
    /// datacenter.
    pub async fn act(&self, action: &mut dyn AnyAction) -> Acted {
        let options = action.options().clone();
        // What no other server runs asks its questions from here, wherever they lead.
        let Some(call) = action.to_request() else { return self.act_here(action).await };
        let call = (call.method, call.args.0);
        if is_elsewhere(self, &options.datacenter) {
            let (peers, deadline) = (self.peers(), deadline_of(self, &options));
            let reply = peers.call_in(&options.datacenter, call, deadline, false).await;
            return action.decode_reply(&reply.map_err(Failure::There)?);
        }
        let mut attempts = Attempts::new(purpose_of(&options));
        loop {
            let failure = match place(self, by_any_server(&options)) {
                Ok(Place::Here) => return self.act_here(action).await,
                Ok(Place::At(leader)) => {
                    let deadline = deadline_of(self, &options);
                    match ask_leader(self, &leader, (call.0, &call.1), deadline).await {
                        Ok(reply) => return action.decode_reply(&reply),
                        Err(error) => Failure::There(error),
                    }
                }
                Err(error) => Failure::Here(error),
            };
            attempts.pause(self, failure).await?;
        }
    }

    /// Asks the questions of an action one after another, each where its answer is.
    pub(crate) async fn act_here(&self, action: &mut dyn AnyAction) -> Acted {
        let datacenters = self.other_datacenters();
        let mut question = action.start();
        loop {
            let query = question.query.name();
            let answer = self.read(question.query, &question.options).await;
            let answer =
                answer.map(|answer| Answer { reply: answer.shared_reply(), facts: answer.facts });
            let failed = answer.as_ref().err().cloned();
            let mut random = || fastrand::u64(..);
            let mut outside = Outside { random: &mut random, datacenters: &datacenters };
            let step = action.handle_answer(answer, &mut outside)?;
            if let Some(error) = failed {
                let datacenter = question.options.datacenter.as_str();
                tracing::warn!(
                    target: "agent.server",
                    action = action.name(), query, datacenter, error = error.text(),
                    "a question of this action failed; it goes on without the answer"
                );
            }
            match step {
                Step::Ask(next) => question = next,
                Step::Done(reply, facts) => return Ok((reply, facts)),
            }
        }
    }

    /// As [`Self::act`], typed.
    pub async fn act_typed<A: Action>(
        &self,
        mut action: A,
    ) -> Result<(A::Reply, ReadFacts), CallError> {
        let (reply, facts) = self.act(&mut action).await?;
        let reply = reply.downcast::<A::Reply>();
        Ok((*reply.expect("an action's reply has the action's reply type"), facts))
    }
}
