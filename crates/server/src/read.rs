//! The one read path.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use contract::remote::Outgoing;
use contract::{
    AnyQuery, CallError, Consistency, Encoding, Evaluated, Query, ReadFacts, ReadOptions,
};
use replica::blocking::Blocking;
use replica::live::{Kept, Live};
use rpc::ServerAddr;
use tokio::time::Instant;
use types::Index;

use crate::Server;
use crate::forward::{
    Attempts, Failure, Place, ask_leader, by_any_server, deadline_of, is_elsewhere, place,
    purpose_of,
};
use crate::leader::until_established;
use crate::metrics::Call;
use crate::rate_limit::Class;

/// A wait is stretched by up to this part of itself, so that clients that started
/// together do not come back together.
const JITTER_FRACTION: u32 = 16;

/// The shortest wait that is asked of another server: none would be its default.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// The answer to a read.
pub struct Answer {
    /// What is told beside the rows.
    pub facts: ReadFacts,
    kept: Kept,
}

impl Answer {
    /// What another server answered.
    pub fn remote(reply: Arc<dyn Any + Send + Sync>, facts: ReadFacts) -> Self {
        let evaluated =
            Evaluated { index: facts.index, reply, absent: false, removed: facts.removed };
        Self { facts, kept: Kept::Once(evaluated) }
    }

    /// The rows, as the query's `Reply`.
    pub fn reply(&self) -> &(dyn Any + Send + Sync) {
        &*self.kept.evaluated().reply
    }

    /// The rows, to be kept.
    pub fn shared_reply(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::clone(&self.kept.evaluated().reply)
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
}

impl Server {
    /// Answers a query, waiting for a newer answer if the options say so: here, or by
    /// asking the leader or another datacenter.
    pub async fn read(
        &self,
        query: Arc<dyn AnyQuery>,
        options: &ReadOptions,
    ) -> Result<Answer, CallError> {
        if is_elsewhere(self, &options.datacenter) {
            let call = request_of(&*query, options)?;
            let (peers, deadline) = (self.peers(), deadline_of(self, options));
            let call = (call.method, call.args.0);
            let reply = peers.call_in(&options.datacenter, call, deadline, false).await;
            let reply = reply.map_err(Failure::There)?;
            return remote(&*query, &reply);
        }
        self.admit(Class::Read, query.name(), by_any_server(options))?;
        let until = Instant::now() + wait_of(self, options);
        let mut attempts = Attempts::new(purpose_of(options));
        loop {
            let outcome = match place(self, by_any_server(options)) {
                Ok(Place::Here) => {
                    self.read_here(&query, options, until).await.map_err(Failure::Here)
                }
                Ok(Place::At(leader)) => read_at(self, &leader, &*query, options, until).await,
                Err(error) => Err(Failure::Here(error)),
            };
            match outcome {
                Ok(answer) => return Ok(answer),
                Err(failure) => attempts.pause(self, failure).await?,
            }
        }
    }

    /// Answers a query as it can be answered here. Without leadership, where it takes that,
    /// the answer is `No cluster leader` at once.
    pub(crate) async fn read_here(
        &self,
        query: &Arc<dyn AnyQuery>,
        options: &ReadOptions,
        until: Instant,
    ) -> Result<Answer, CallError> {
        let metrics = &self.shared.metrics;
        metrics.query();
        let start = std::time::Instant::now();
        let answer = self.find(query, options, until).await;
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
        until: Instant,
    ) -> Result<Answer, CallError> {
        self.be_fresh_enough(options.consistency).await?;
        let who = self.authorizer(&options.token);
        query.authorize(&who)?;
        let live = &self.shared.live;
        if options.min_index == Index::ZERO {
            return Ok(self.answer(live.now(query, &who)?));
        }
        let _blocking = self.shared.metrics.blocking();
        let blocking = Blocking::new(self.store(), options.min_index);
        loop {
            let current = live.get(query, &who)?;
            if blocking.is_over(self.store(), &current.evaluated) {
                return Ok(self.answer(Kept::Live(current)));
            }
            if !until_outdated(self, &current, options.consistency, until).await? {
                return Ok(self.answer(live.now(query, &who)?));
            }
            // What leadership was confirmed for is over.
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
        let evaluated = kept.evaluated();
        let facts = ReadFacts {
            index: evaluated.index,
            known_leader: raft.leader().is_some(),
            last_contact: raft.last_contact(),
            removed: evaluated.removed,
        };
        Answer { facts, kept }
    }

    /// Makes sure that this server may answer in this mode.
    pub(crate) async fn be_fresh_enough(&self, consistency: Consistency) -> Result<(), CallError> {
        let raft = self.raft();
        match consistency {
            Consistency::Stale => Ok(()),
            Consistency::Default if raft.has_lease() => Ok(()),
            _ if !raft.is_leader() => Err(CallError::no_leader()),
            Consistency::Default => raft.verify_leader().await.map_err(|_| CallError::no_leader()),
            Consistency::Consistent => {
                let start = std::time::Instant::now();
                raft.verify_leader().await.map_err(|_| CallError::no_leader())?;
                until_established(self).await?;
                self.shared.metrics.confirmed(start);
                Ok(())
            }
        }
    }
}

/// Asks the leader.
async fn read_at(
    server: &Server,
    leader: &ServerAddr,
    query: &dyn AnyQuery,
    options: &ReadOptions,
    until: Instant,
) -> Result<Answer, Failure> {
    // What was waited here already is not waited there again.
    let left = until.saturating_duration_since(Instant::now()).max(SHORTEST_WAIT);
    let wait = limited_wait(server, options).min(left);
    let options = ReadOptions { max_wait: Some(wait), ..options.clone() };
    let call = request_of(query, &options)?;
    let deadline = deadline_of(server, &options);
    let reply = ask_leader(server, leader, (call.method, &call.args.0), deadline).await?;
    Ok(remote(query, &reply)?)
}

/// Waits for a change of what a result was made of; false when there was none in time.
/// Where the leader has to answer, the loss of leadership ends the wait: another server
/// goes on with it.
async fn until_outdated(
    server: &Server,
    current: &Live,
    consistency: Consistency,
    until: Instant,
) -> Result<bool, CallError> {
    let mut leadership = server.raft().watch_leadership();
    let lost = async {
        if consistency == Consistency::Stale || leadership.wait_for(|leads| !*leads).await.is_err()
        {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        outcome = tokio::time::timeout_at(until, current.outdated()) => Ok(outcome.is_ok()),
        () = lost => Err(CallError::no_leader()),
    }
}

/// How long to wait: what was asked for, within the server's bounds.
fn limited_wait(server: &Server, options: &ReadOptions) -> Duration {
    let bounds = &server.shared.options;
    let wait = options.max_wait.filter(|wait| !wait.is_zero());
    wait.unwrap_or(bounds.default_query_time).min(bounds.max_query_time)
}

/// That, and a bit.
pub(crate) fn wait_of(server: &Server, options: &ReadOptions) -> Duration {
    if options.min_index == Index::ZERO {
        return Duration::ZERO;
    }
    let wait = limited_wait(server, options);
    wait + (wait / JITTER_FRACTION).mul_f64(fastrand::f64())
}

/// How a query is asked of another server.
fn request_of(query: &dyn AnyQuery, options: &ReadOptions) -> Result<Outgoing, CallError> {
    query.to_request(options).ok_or_else(|| {
        CallError::failed(format!("{} cannot be asked of another server", query.name()))
    })
}

fn remote(query: &dyn AnyQuery, reply: &[u8]) -> Result<Answer, CallError> {
    let (rows, facts) = query.decode_reply(reply)?;
    Ok(Answer::remote(rows, facts))
}
