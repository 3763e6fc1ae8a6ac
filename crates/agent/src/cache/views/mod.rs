//! Views: the instances of services as servers tell them, for questions about them
//! (`reference/http-api.md` 1.8, `reference/grpc-and-xds.md` section 4).
//!
//! A view follows one service over one subscription, however many questions are asked about
//! it and whatever they filter. Where it cannot be followed, because servers are too old or
//! away, the servers are asked as ever: what is answered is never older than it says.

mod materialised;
mod stream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contract::{AnyQuery, CallError, Consistency, ReadFacts, ReadOptions};
use domains::health::HealthService;
use http_server::BoxFuture;
use rpc::ServerAddr;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use types::{Datacenter, Index, SecretId};

use self::materialised::{Materialised, View};
use super::kept::{Source, Value};
use crate::delegate::Client;

/// How long a server is not asked again to stream that did not know how.
const UNSUPPORTED_FOR: Duration = Duration::from_secs(10 * 60);

/// How long somebody waits for a view that is not there yet before asking in another way.
const VIEW_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers of servers: out of views, where that can be, else by asking.
pub(crate) struct Views {
    client: Client,
    shared: Option<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

/// What all views have in common.
#[derive(Clone)]
struct Shared {
    client: Client,
    slots: Arc<Mutex<HashMap<Key, Slot>>>,
    /// Servers that do not stream, and when that was found out.
    unsupported: Arc<Mutex<HashMap<ServerAddr, Instant>>>,
}

/// What a view is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// In lower case.
    service: String,
    connect: bool,
    datacenter: Datacenter,
    token: SecretId,
}

/// Where a view is to be found.
#[derive(Clone)]
struct Slot(Arc<watch::Sender<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    view: Option<View>,
    /// Why it is not followed now.
    trouble: Option<Trouble>,
}

/// Why a view is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// The servers do not stream.
    Unsupported,
    Broken,
}

impl Slot {
    fn publish(&self, made: &Materialised) {
        let view = made.view().cloned();
        self.0.send_modify(|state| *state = State { view, trouble: None });
    }

    fn fail(&self, trouble: Trouble) {
        self.0.send_modify(|state| state.trouble = Some(trouble));
    }

    /// Completes when nobody reads it.
    async fn unread(&self) {
        self.0.closed().await;
    }
}

impl Shared {
    fn is_unsupported(&self, server: &ServerAddr) -> bool {
        let mut unsupported = lock(&self.unsupported);
        unsupported.retain(|_, since| since.elapsed() < UNSUPPORTED_FOR);
        unsupported.contains_key(server)
    }

    fn note_unsupported(&self, server: &ServerAddr) {
        lock(&self.unsupported).entry(server.clone()).or_insert_with(Instant::now);
    }

    /// Takes a view out, unless somebody reads it.
    fn take_out(&self, key: &Key, slot: &Slot) -> bool {
        let mut slots = lock(&self.slots);
        let gone = slot.0.receiver_count() == 0;
        if gone {
            slots.remove(key);
        }
        gone
    }
}

impl Views {
    /// Answers of the client's servers. Without streaming they are all asked for.
    pub(crate) fn new(client: Client, streams: bool) -> Self {
        let shared = streams.then(|| Shared {
            client: client.clone(),
            slots: Arc::default(),
            unsupported: Arc::default(),
        });
        Self { client, shared, tasks: Mutex::default() }
    }

    /// A reader of the view that a query is about, which is begun if there is none; `None`
    /// where it is not about one.
    fn view(&self, query: &dyn AnyQuery, options: &ReadOptions) -> Option<watch::Receiver<State>> {
        let shared = self.shared.as_ref()?;
        let query = query.as_any().downcast_ref::<HealthService>()?;
        if !query.is_of_one_service() || options.consistency == Consistency::Consistent {
            return None;
        }
        let key = Key {
            service: query.selection.service.to_lowercase(),
            connect: query.selection.connect,
            datacenter: options.datacenter.clone(),
            token: options.token.clone(),
        };
        let mut slots = lock(&shared.slots);
        if let Some(slot) = slots.get(&key) {
            return Some(slot.0.subscribe());
        }
        let slot = Slot(Arc::default());
        slots.insert(key.clone(), slot.clone());
        let states = slot.0.subscribe();
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(stream::keep(shared.clone(), key, slot));
        Some(states)
    }
}

impl Source for Views {
    fn streams(&self, query: &dyn AnyQuery, options: &ReadOptions) -> bool {
        let query = query.as_any().downcast_ref::<HealthService>();
        self.shared.is_some()
            && query.is_some_and(HealthService::is_of_one_service)
            && options.consistency != Consistency::Consistent
    }

    fn read(
        &self,
        query: Arc<dyn AnyQuery>,
        options: ReadOptions,
    ) -> BoxFuture<Result<Value, CallError>> {
        let (client, states) = (self.client.clone(), self.view(&*query, &options));
        Box::pin(async move {
            let Some(mut states) = states else { return ask(&client, query, &options).await };
            match view_after(&mut states, options.min_index, options.max_wait).await {
                Some(view) => answer(&*query, &view),
                // The view is wanted all the same, and is tried to be had meanwhile.
                None => ask(&client, query, &options).await,
            }
        })
    }
}

/// The view once its index is another one than `seen`, or after `wait`; `None` where it is
/// not followed.
async fn view_after(
    states: &mut watch::Receiver<State>,
    seen: Index,
    wait: Option<Duration>,
) -> Option<View> {
    let is_there = |state: &State| state.trouble.is_some() || state.view.is_some();
    timeout(VIEW_TIMEOUT, states.wait_for(is_there)).await.ok()?.ok()?;
    let is_new = |state: &State| {
        state.trouble.is_some() || state.view.as_ref().is_some_and(|view| view.index != seen)
    };
    let news = states.wait_for(is_new);
    match wait {
        // Whatever there is after so long is the answer.
        Some(wait) if seen > Index::ZERO => drop(timeout(wait, news).await),
        _ => drop(news.await),
    }
    let state = states.borrow();
    state.view.clone().filter(|_| state.trouble.is_none())
}

fn answer(query: &dyn AnyQuery, view: &View) -> Result<Value, CallError> {
    let query = query.as_any().downcast_ref::<HealthService>();
    let query = query.expect("a view is of a query about instances");
    let reply = query.choose(view.rows.values())?;
    let facts = ReadFacts { index: view.index, known_leader: true, ..ReadFacts::default() };
    Ok(Value { reply: Arc::new(reply), facts, streamed: true })
}

async fn ask(
    client: &Client,
    query: Arc<dyn AnyQuery>,
    options: &ReadOptions,
) -> Result<Value, CallError> {
    let answer = client.read(query, options).await?;
    Ok(Value { reply: answer.shared_reply(), facts: answer.facts, streamed: false })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
