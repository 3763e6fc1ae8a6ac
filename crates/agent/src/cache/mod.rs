//! The agent's cache (`reference/http-api.md` 1.8 and 1.9).
//!
//! A client agent keeps answers of its servers, and answers with them while the servers
//! are away ([`kept`]). What it knows of the health of services comes as a stream of changes
//! ([`views`]).
//!
//! Results of a server in this process are kept there until what they came from changes, so
//! an entry of the cache is never behind. What remains is what the cache tells: whether
//! somebody asked before, and through which backend the answer came.

pub(crate) mod datacenters;
mod fetch_rate;
pub(crate) mod kept;
mod views;

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use contract::{AnyAction, AnyQuery, CacheKind, CallError, QueryKey, ReadFacts, ReadOptions};
use http_server::ReadMeta;
use server::Answer;
use telemetry::names;
use telemetry::series::GaugeHandle;
use types::Index;

pub(crate) use self::fetch_rate::FetchRate;
use self::kept::KeptAnswers;
use self::views::Views;
use crate::delegate::Delegate;

/// How long an entry stays after its last use.
const ENTRY_AGE: Duration = Duration::from_secs(72 * 3600);
const STREAMED_ENTRY_AGE: Duration = Duration::from_secs(20 * 60);

/// How old an answer may be that nobody allowed to be kept.
const NO_AGE: Duration = Duration::from_nanos(1);

/// Most entries; beyond, the cache is emptied, which costs a few misses.
const ENTRIES_MAX: usize = 16_384;

/// The cache.
#[derive(Default)]
pub(crate) struct AgentCache {
    /// Which questions were asked through the cache, and when last.
    asked: Mutex<HashMap<QueryKey, Instant>>,
    /// Answers of the servers, at a client agent.
    kept: Option<KeptAnswers>,
    /// Answers of actions, at a client agent.
    executed: Mutex<HashMap<QueryKey, Executed>>,
    metrics: CacheMetrics,
}

/// An answer of an action, which is not followed: it stays as it was when it was asked for.
#[derive(Clone)]
struct Executed {
    reply: Arc<dyn Any + Send + Sync>,
    facts: ReadFacts,
    at: Instant,
}

/// Every metric of the cache has a second name, which older dashboards know.
struct CacheMetrics {
    entries: [GaugeHandle; 2],
}

impl Default for CacheMetrics {
    fn default() -> Self {
        let entries =
            [names::CACHE_ENTRIES_COUNT.handle([]), names::CONSUL_CACHE_ENTRIES_COUNT.handle([])];
        Self { entries }
    }
}

impl CacheMetrics {
    fn entries(&self, number: usize) {
        self.entries.iter().for_each(|entries| entries.set(number as f64));
    }

    /// A question was asked through the cache: it knew the answer, or fetched it.
    fn asked(&self, query: &str, hit: bool) {
        let kind = type_of(query);
        if hit {
            names::CACHE_HIT.increment_at(kind, [], 1);
            names::CONSUL_CACHE_HIT.increment_at(kind, [], 1);
            return;
        }
        names::CACHE_MISS_NEW.increment_at(kind, [], 1);
        names::CONSUL_CACHE_MISS_NEW.increment_at(kind, [], 1);
        let modified = || ["false".into()];
        names::CACHE_FETCH_SUCCESS.increment(modified(), 1);
        names::CONSUL_CACHE_FETCH_SUCCESS.increment(modified(), 1);
        names::CACHE_FETCH_SUCCESS_OF.increment_at(kind, modified(), 1);
        names::CONSUL_CACHE_FETCH_SUCCESS_OF.increment_at(kind, modified(), 1);
    }
}

/// The type under which the cache keeps answers to a query
/// (`reference/telemetry.md` section 2).
fn type_of(query: &str) -> &'static str {
    match query {
        "Catalog.ListServices" => "catalog-list-services",
        "Catalog.ServiceNodes" => "catalog-services",
        "Catalog.ListDatacenters" => "catalog-datacenters",
        "Catalog.GatewayServices" => "gateway-services",
        "Health.ServiceNodes" => "health-services",
        "Catalog.NodeServices" | "Catalog.NodeServiceList" => "node-services",
        "ConnectCA.Roots" => "connect-ca-root",
        "PreparedQuery.Execute" => "prepared-query",
        _ => "other",
    }
}

impl AgentCache {
    /// The cache of an agent with this way into its cluster. `default_wait` is how long a
    /// blocking question waits that does not say; `streams` is `use_streaming_backend`.
    pub(crate) fn new(delegate: &Delegate, default_wait: Duration, streams: bool) -> Self {
        let kept = match delegate {
            Delegate::Server(_) => None,
            Delegate::Client(client) => {
                let views = Arc::new(Views::new(client.clone(), streams));
                Some(KeptAnswers::new(views, default_wait))
            }
        };
        Self { kept, ..Self::default() }
    }

    /// Sets how often each answer that is kept is fetched again, from now on. At a server
    /// nothing is fetched.
    pub(crate) fn set_fetch_rate(&self, rate: FetchRate) {
        if let Some(kept) = &self.kept {
            kept.set_fetch_rate(rate);
        }
    }

    /// Answers a query: with what is kept, if that may be, else through the delegate.
    pub(crate) async fn read(
        &self,
        delegate: &Delegate,
        query: Arc<dyn AnyQuery>,
        options: &ReadOptions,
        kind: CacheKind,
    ) -> Result<(Answer, Described), CallError> {
        let streamed = is_streamed(options, kind);
        let lifetime = lifetime(streamed);
        let (is_cached, kept) = (is_cached(options, kind), self.kept.as_ref());
        let follows = |kept: &&KeptAnswers| streamed && kept.streams(&*query, options);
        if let Some(kept) = kept.filter(|kept| is_cached || follows(kept)) {
            let fresh = ReadOptions { max_age: Some(NO_AGE), ..options.clone() };
            let options = if is_cached { options } else { &fresh };
            let cached = kept.read(&query, options, lifetime).await?;
            self.metrics.asked(query.name(), cached.hit);
            self.metrics.entries(kept.len());
            let streamed = cached.value.streamed;
            let answer = Answer::remote(cached.value.reply, cached.value.facts);
            let hit = is_cached.then_some((cached.hit, cached.age));
            return Ok((answer, Described { streamed, hit }));
        }
        // A server in this process has it from its state, which is as good.
        let streamed = streamed && kept.is_none();
        let hit = is_cached.then(|| self.note(&query, lifetime));
        let answer = delegate.read(query, options).await?;
        Ok((answer, Described { streamed, hit: hit.map(|hit| (hit, Duration::ZERO)) }))
    }

    /// Runs an action, or answers with what it gave before.
    pub(crate) async fn act(
        &self,
        delegate: &Delegate,
        action: &mut dyn AnyAction,
        options: &ReadOptions,
        kind: CacheKind,
    ) -> Result<(Arc<dyn Any + Send + Sync>, ReadFacts, Described), CallError> {
        let cached = is_cached(options, kind).then(|| action.start().query);
        let Some(query) = cached else {
            let (reply, facts) = delegate.act(action).await?;
            return Ok((reply.into(), facts, Described { streamed: false, hit: None }));
        };
        let described = |hit, age| Described { streamed: false, hit: Some((hit, age)) };
        if self.kept.is_none() {
            let hit = self.note(&query, ENTRY_AGE);
            let (reply, facts) = delegate.act(action).await?;
            return Ok((reply.into(), facts, described(hit, Duration::ZERO)));
        }
        let key = QueryKey(Arc::clone(&query));
        let known = lock(&self.executed).get(&key).cloned();
        let age = known.as_ref().map(|known| known.at.elapsed());
        let is_young = |most: Duration| age.is_some_and(|age| age <= most);
        if let Some(known) = &known
            && is_young(options.max_age.unwrap_or(ENTRY_AGE))
            && options.max_age != Some(Duration::ZERO)
        {
            self.metrics.asked(query.name(), true);
            let age = age.unwrap_or_default();
            return Ok((Arc::clone(&known.reply), known.facts, described(true, age)));
        }
        match (delegate.act(action).await, known) {
            (Ok((reply, facts)), _) => {
                self.metrics.asked(query.name(), false);
                let reply: Arc<dyn Any + Send + Sync> = reply.into();
                let at = Instant::now();
                let new = Executed { reply: Arc::clone(&reply), facts, at };
                let mut executed = lock(&self.executed);
                executed.retain(|_, executed| executed.at.elapsed() < ENTRY_AGE);
                if executed.len() >= ENTRIES_MAX {
                    executed.clear();
                }
                executed.insert(key, new);
                Ok((reply, facts, described(false, Duration::ZERO)))
            }
            (Err(_), Some(known)) if options.stale_if_error.is_some_and(is_young) => {
                Ok((known.reply, known.facts, described(true, age.unwrap_or_default())))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Notes that a question was asked; whether it was before.
    fn note(&self, query: &Arc<dyn AnyQuery>, lifetime: Duration) -> bool {
        let (key, now) = (QueryKey(Arc::clone(query)), Instant::now());
        let mut asked = lock(&self.asked);
        if asked.len() >= ENTRIES_MAX {
            asked.clear();
        }
        self.metrics.entries(asked.len() + usize::from(!asked.contains_key(&key)));
        let hit = asked.insert(key, now).is_some_and(|last| now.duration_since(last) < lifetime);
        self.metrics.asked(query.name(), hit);
        hit
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the cache may answer.
fn is_cached(options: &ReadOptions, kind: CacheKind) -> bool {
    options.cached && kind != CacheKind::None
}

/// Whether the answer counts as one of a stream of events.
fn is_streamed(options: &ReadOptions, kind: CacheKind) -> bool {
    kind == CacheKind::Streamed && (options.cached || options.min_index > Index::ZERO)
}

fn lifetime(streamed: bool) -> Duration {
    if streamed { STREAMED_ENTRY_AGE } else { ENTRY_AGE }
}

/// What the cache adds to what is told of a read.
pub(crate) struct Described {
    streamed: bool,
    hit: Option<(bool, Duration)>,
}

impl Described {
    /// Writes it into what is told.
    pub(crate) fn apply(&self, meta: &mut ReadMeta) {
        if self.streamed {
            meta.backend = "streaming";
            // What the stream brings does not say who leads.
            meta.known_leader = false;
            meta.last_contact_ms = 0;
        }
        meta.cache = self.hit.map(|(hit, age)| (hit, age.as_secs()));
    }
}
