//! Subscriptions to changes of the state (`reference/grpc-and-xds.md` section 4).
//!
//! Somebody subscribes to a subject and gets what there is, then what changes of it. All
//! who subscribe to a subject share a [`feed`], which is woken by the store when what the
//! subject's question read has changed: nothing is asked again and again. Any server serves
//! subscriptions; what it tells is as fresh as it is itself.

mod feed;
mod rows;
mod subject;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use acl::Authorizer;
use bytes::Bytes;
use contract::CallError;
use grpc::messages::SubscribeRequest;
use grpc::{Connections, EventStream, Failure, Status, Step};
use replica::live::Live;
use rpc::BoxFuture;
use telemetry::names;
use telemetry::series::GaugeHandle;
use tokio::task::JoinSet;
use types::{Datacenter, Index, SecretId};

use self::feed::{Feed, Reader};
use self::subject::Subject;
use crate::forward::{is_elsewhere, place};
use crate::grpc_status::status_of;
use crate::rate_limit::Class;
use crate::{Server, Shared};

/// How long a feed goes on when nobody reads it: who lost a connection comes back within
/// that time, and goes on where it was.
const LINGER: Duration = Duration::from_secs(10);

/// The feeds that somebody reads.
#[derive(Default)]
pub(crate) struct Feeds(Arc<Mutex<Running>>);

#[derive(Default)]
struct Running {
    feeds: HashMap<Subject, Arc<Feed>, foldhash::fast::RandomState>,
    tasks: JoinSet<()>,
}

/// What somebody gets who subscribed.
pub(crate) enum Subscription {
    /// From this server.
    Here(Subscriber),
    /// From a server of another datacenter.
    There(Box<EventStream<Bytes>>),
}

/// A subscription to what this server tells.
pub(crate) struct Subscriber {
    reader: Reader,
    streams: GaugeHandle,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.streams.decrement(1.0);
    }
}

impl Subscription {
    /// The next message and the subscription, or why it ends; `None` after that. For
    /// [`grpc::unfold`].
    pub(crate) fn next(
        subscription: Option<Self>,
    ) -> BoxFuture<'static, Step<Option<Self>, Result<Bytes, Status>>> {
        Box::pin(async move {
            let mut subscription = subscription?;
            let next = match &mut subscription {
                Self::Here(subscriber) => subscriber.reader.next().await,
                Self::There(stream) => stream.next().await.transpose()?,
            };
            let rest = next.is_ok().then_some(subscription);
            Some((next, rest))
        })
    }
}

/// Subscribes to what a request asks for.
///
/// # Errors
/// It asks for nothing that there is, or nobody can tell now.
pub(crate) async fn subscribe(
    server: &Server,
    request: SubscribeRequest,
) -> Result<Subscription, Status> {
    let datacenter = Datacenter::from(request.datacenter.as_str());
    if is_elsewhere(server, &datacenter) {
        let stream = subscribe_in(server, &datacenter, &request).await?;
        return Ok(Subscription::There(Box::new(stream)));
    }
    let subject = Subject::of_request(&request)?;
    let who = server.authorizer(&SecretId::from(request.token.as_str()));
    server.admit(Class::Read, grpc::paths::SUBSCRIBE, true).map_err(|e| status_of(&e))?;
    // Whoever has not heard of a leader yet would tell that there is nothing.
    place(server, true).map_err(|error| status_of(&error))?;
    let reader = read(server, subject, who, Index(request.index))?;
    names::GRPC_SERVER_STREAM_COUNT.increment([], 1);
    let streams = names::GRPC_SERVER_STREAMS.handle([]);
    streams.increment(1.0);
    Ok(Subscription::Here(Subscriber { reader, streams }))
}

async fn subscribe_in(
    server: &Server,
    datacenter: &Datacenter,
    request: &SubscribeRequest,
) -> Result<EventStream<Bytes>, Status> {
    let (peers, path) = (server.peers(), grpc::paths::SUBSCRIBE);
    let there = peers.server_in(datacenter);
    let there = there.map_err(|error| Status::unavailable(error.to_string()))?;
    let connections: &Connections = peers.grpc();
    connections.stream_raw(&there, path, request).await.map_err(|failure| match failure {
        Failure::Status(status) => status,
        // As a server without it answers: the subscriber knows another way.
        Failure::NotSpoken => Status::unimplemented(failure.to_string()),
        Failure::Connect(error) => {
            peers.fail_server(&there);
            Status::unavailable(error.to_string())
        }
    })
}

/// A reader of the feed of a subject, which begins if nobody read it before.
fn read(server: &Server, subject: Subject, who: Authorizer, seen: Index) -> Result<Reader, Status> {
    let feeds = &server.shared.feeds;
    let mut running = lock(&feeds.0);
    while running.tasks.try_join_next().is_some() {}
    if let Some(feed) = running.feeds.get(&subject) {
        return Ok(feed.read(who, seen));
    }
    let replaced = server.store().replaced();
    let live = ask(&server.shared, &subject).map_err(|error| status_of(&error))?;
    let evaluated = &live.evaluated;
    let feed = Arc::new(Feed::new(evaluated.index, rows::rows_of(&*evaluated.reply)));
    running.feeds.insert(subject.clone(), Arc::clone(&feed));
    let follower = Follower {
        server: Arc::downgrade(&server.shared),
        feeds: Arc::downgrade(&feeds.0),
        feed: Arc::clone(&feed),
        subject,
        replaced,
    };
    running.tasks.spawn(follower.run(live));
    Ok(feed.read(who, seen))
}

fn ask(server: &Shared, subject: &Subject) -> Result<Arc<Live>, CallError> {
    server.live.get(&subject.query(), &Authorizer::allow_all())
}

/// Keeps one feed as the state is.
struct Follower {
    server: Weak<Shared>,
    feeds: Weak<Mutex<Running>>,
    feed: Arc<Feed>,
    subject: Subject,
    /// How many times the state had been replaced when the feed began.
    replaced: u64,
}

impl Follower {
    async fn run(self, mut live: Arc<Live>) {
        let why = loop {
            tokio::select! {
                () = live.outdated() => {}
                () = self.unwanted() => return,
            }
            let Some(server) = self.server.upgrade() else { return };
            let next = ask(&server, &self.subject);
            if server.store.replaced() != self.replaced {
                // Another state, with indexes of its own.
                break Status::aborted("the state was restored: subscribe from the beginning");
            }
            match next {
                Ok(next) => live = next,
                Err(error) => break status_of(&error),
            }
            let evaluated = &live.evaluated;
            self.feed.advance(evaluated.index, rows::rows_of(&*evaluated.reply));
        };
        self.take_out(true);
        self.feed.end(why);
    }

    /// Completes when nobody read the feed for a while; it is taken out then.
    async fn unwanted(&self) {
        loop {
            self.feed.unread().await;
            tokio::time::sleep(LINGER).await;
            if self.take_out(false) {
                return;
            }
        }
    }

    /// Takes the feed out, unless somebody reads it and it may stay: whoever comes next
    /// begins another one.
    fn take_out(&self, even_if_read: bool) -> bool {
        let Some(feeds) = self.feeds.upgrade() else { return true };
        let mut running = lock(&feeds);
        let gone = even_if_read || !self.feed.is_read();
        if gone {
            running.feeds.remove(&self.subject);
        }
        gone
    }
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}
