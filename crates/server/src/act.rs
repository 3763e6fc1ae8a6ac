//! The one way of actions.

use std::any::Any;

use contract::{Action, Answer, AnyAction, CallError, Outside, ReadFacts, Step};

use crate::Server;

impl Server {
    /// Runs an action to its end: asks its questions one after another, here or in the
    /// datacenter that each is for.
    pub async fn act(
        &self,
        action: &mut dyn AnyAction,
    ) -> Result<(Box<dyn Any + Send + Sync>, ReadFacts), CallError> {
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
