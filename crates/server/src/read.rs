//! The one read path.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use contract::{
    AnyQuery, CallError, Consistency, Encoding, Evaluated, Query, ReadFacts, ReadOptions,
};
use tokio::time::Instant;
use types::Index;

use crate::Server;
use crate::leader::until_established;
use crate::live::Live;
use crate::metrics::Call;
use crate::rate_limit::Class;

/// A wait is stretched by up to this part of itself, so that clients that started
/// together do not come back together.
const JITTER_FRACTION: u32 = 16;

/// The answer to a read.
pub struct Answer {
    /// What is told beside the rows.
    pub facts: ReadFacts,
    kept: Kept,
}

enum Kept {
    Live(Arc<Live>),
    Once(Evaluated),
}

impl Answer {
    /// The rows, as the query's `Reply`.
    pub fn reply(&self) -> &(dyn Any + Send + Sync) {
        &*self.evaluated().reply
    }

    /// The rows, to be kept.
    pub fn shared_reply(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::clone(&self.evaluated().reply)
    }

    /// The rows as JSON; the same bytes for all who got the same rows.
    pub fn body(
        &self,
        encoding: Encoding,
        encode: fn(&(dyn Any + Send + Sync), Encoding) -> Bytes,
    ) -> Bytes {
        match &self.kept {
            Kept::Live(live) => live.body(encoding, || encode(self.reply(), encoding)),
            Kept::Once(evaluated) => encode(&*evaluated.reply, encoding),
        }
    }

    fn evaluated(&self) -> &Evaluated {
        match &self.kept {
            Kept::Live(live) => &live.evaluated,
            Kept::Once(evaluated) => evaluated,
        }
    }
}

impl Server {
    /// Answers a query, waiting for a newer answer if the options say so.
    pub async fn read(
        &self,
        query: Arc<dyn AnyQuery>,
        options: &ReadOptions,
    ) -> Result<Answer, CallError> {
        self.check_datacenter(&options.datacenter)?;
        let by_any_server = options.consistency == Consistency::Stale;
        self.admit(Class::Read, query.name(), by_any_server)?;
        let metrics = &self.shared.metrics;
        metrics.query();
        let start = std::time::Instant::now();
        let answer = self.find(&query, options).await;
        let call = Call { errored: answer.is_err(), leads: self.raft().is_leader() };
        metrics.read(query.name(), call, start);
        let answer = answer?;
        if let Some(interest) = query.interest(answer.reply()) {
            metrics.interest(query.name(), &interest);
        }
        Ok(answer)
    }

    async fn find(
        &self,
        query: &Arc<dyn AnyQuery>,
        options: &ReadOptions,
    ) -> Result<Answer, CallError> {
        self.be_fresh_enough(options.consistency).await?;
        let who = self.authorizer(&options.token);
        query.authorize(&who)?;
        let live = &self.shared.live;
        if options.min_index == Index::ZERO {
            let kept = match query.is_kept() {
                true => Kept::Live(live.get(query, &who)?),
                false => Kept::Once(live.run_once(&**query, &who)?),
            };
            return Ok(self.answer(kept));
        }
        let _blocking = self.shared.metrics.blocking();
        let deadline = Instant::now() + self.wait_of(options);
        let replaced = self.store().replaced();
        loop {
            let current = live.get(query, &who)?;
            if current.evaluated.index > options.min_index {
                return Ok(self.answer(Kept::Live(current)));
            }
            if tokio::time::timeout_at(deadline, current.outdated()).await.is_err() {
                return Ok(self.answer(Kept::Live(live.get(query, &who)?)));
            }
            if self.store().replaced() != replaced {
                // Another state, with indexes of its own: the one asked for means nothing now.
                return Ok(self.answer(Kept::Live(live.get(query, &who)?)));
            }
            // What leadership was confirmed for is over; who waits is told of a loss.
            self.be_fresh_enough(options.consistency).await?;
        }
    }

    /// As [`Self::read`], typed.
    pub async fn read_typed<Q: Query>(
        &self,
        query: Q,
        options: &ReadOptions,
    ) -> Result<(Arc<Q::Reply>, ReadFacts), CallError> {
        let answer = self.read(Arc::new(query), options).await?;
        let reply = answer.shared_reply().downcast::<Q::Reply>();
        Ok((reply.expect("a query's reply has the query's reply type"), answer.facts))
    }

    fn answer(&self, kept: Kept) -> Answer {
        let raft = self.raft();
        let evaluated = match &kept {
            Kept::Live(live) => &live.evaluated,
            Kept::Once(evaluated) => evaluated,
        };
        let facts = ReadFacts {
            index: evaluated.index,
            known_leader: raft.leader().is_some(),
            last_contact: raft.last_contact(),
            removed: evaluated.removed,
        };
        Answer { facts, kept }
    }

    /// Waits until this server may answer in this mode.
    pub(crate) async fn be_fresh_enough(&self, consistency: Consistency) -> Result<(), CallError> {
        match consistency {
            Consistency::Stale => Ok(()),
            Consistency::Default if self.raft().has_lease() => Ok(()),
            Consistency::Default => self.wait_for_leadership().await,
            Consistency::Consistent => {
                let start = std::time::Instant::now();
                self.wait_for_leadership().await?;
                self.raft().verify_leader().await.map_err(|_| CallError::no_leader())?;
                until_established(self).await?;
                self.shared.metrics.confirmed(start);
                Ok(())
            }
        }
    }

    /// How long to wait: what was asked for, within the server's bounds, and a bit.
    fn wait_of(&self, options: &ReadOptions) -> Duration {
        let bounds = &self.shared.options;
        let wait = options.max_wait.filter(|wait| !wait.is_zero());
        let wait = wait.unwrap_or(bounds.default_query_time).min(bounds.max_query_time);
        wait + (wait / JITTER_FRACTION).mul_f64(fastrand::f64())
    }
}
