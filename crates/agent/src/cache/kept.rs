//! Answers that a client agent keeps: they follow the servers while somebody wants them,
//! and serve while the servers are away (`reference/http-api.md` 1.9).
//!
//! An entry is one question of one asker. A task of its own asks the question again and
//! again, waiting on the servers until the answer changes, until nobody wanted it for
//! [`Lifetime`]. While that works its age is zero; once it fails, the age is counted from
//! the last answer. A question whose first answer is an error is not kept.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contract::{AnyQuery, CallError, Consistency, QueryKey, ReadFacts, ReadOptions};
use http_server::BoxFuture;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use types::{Datacenter, Index, SecretId};

use super::fetch_rate::{FetchRate, Fetches};

/// How long servers are asked to wait for something new.
const REFRESH_WAIT: Duration = Duration::from_secs(10 * 60);

/// After a failure the next try waits this long, twice as long after each further one.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Most entries. For one more, the one goes that nobody wanted for the longest time.
pub(super) const ENTRIES_MAX: usize = 16_384;

/// Where answers come from.
pub(crate) trait Source: Send + Sync + 'static {
    /// Whether the answers to a query come as a stream of changes, where servers have one:
    /// then questions that wait for a change are kept, too.
    fn streams(&self, query: &dyn AnyQuery, options: &ReadOptions) -> bool {
        let _ = (query, options);
        false
    }

    /// Asks the servers.
    fn read(
        &self,
        query: Arc<dyn AnyQuery>,
        options: ReadOptions,
    ) -> BoxFuture<Result<Value, CallError>>;
}

/// An answer.
#[derive(Clone)]
pub(crate) struct Value {
    /// The query's reply.
    pub(crate) reply: Arc<dyn Any + Send + Sync>,
    /// What is told beside it.
    pub(crate) facts: ReadFacts,
    /// Whether it came as a stream of changes.
    pub(crate) streamed: bool,
}

/// An answer of the cache.
pub(crate) struct Cached {
    pub(crate) value: Value,
    /// Whether it was there already.
    pub(crate) hit: bool,
    /// For how long the servers were not heard of since.
    pub(crate) age: Duration,
}

/// The kept answers.
pub(crate) struct KeptAnswers {
    source: Arc<dyn Source>,
    /// How long a blocking question waits that does not say.
    default_wait: Duration,
    fetch_rate: watch::Sender<FetchRate>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<Key, (Arc<Entry>, AbortHandle)>,
    tasks: JoinSet<()>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    query: QueryKey,
    datacenter: Datacenter,
    token: SecretId,
    consistency: Consistency,
}

struct Entry {
    state: watch::Sender<State>,
    /// Somebody wants an answer of this moment.
    wanted: Notify,
    /// When somebody last asked, and how long the entry stays after that.
    used: Mutex<Instant>,
    lifetime: Duration,
}

#[derive(Clone, Default)]
struct State {
    value: Option<Value>,
    /// Why the last fetch failed, if it did.
    error: Option<CallError>,
    /// When the value was last known to be that of the servers; `None` while it is followed.
    behind_since: Option<Instant>,
    /// How many fetches ended.
    fetches: u64,
}

impl State {
    fn age(&self, now: Instant) -> Duration {
        self.behind_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

impl Entry {
    fn use_it(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last_used(&self) -> Instant {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when nobody wanted the entry for its lifetime.
    async fn unused(&self) {
        loop {
            let ends = self.last_used() + self.lifetime;
            if ends <= Instant::now() {
                return;
            }
            sleep_until(ends).await;
        }
    }
}

impl KeptAnswers {
    /// Keeps nothing yet.
    pub(crate) fn new(source: Arc<dyn Source>, default_wait: Duration) -> Self {
        let fetch_rate = watch::Sender::new(FetchRate::default());
        Self { source, default_wait, fetch_rate, kept: Arc::default() }
    }

    /// Sets how often each entry is fetched, from now on.
    pub(crate) fn set_fetch_rate(&self, rate: FetchRate) {
        self.fetch_rate.send_replace(rate);
    }

    /// See [`Source::streams`].
    pub(crate) fn streams(&self, query: &dyn AnyQuery, options: &ReadOptions) -> bool {
        self.source.streams(query, options)
    }

    /// How many answers are kept.
    pub(crate) fn len(&self) -> usize {
        lock(&self.kept).entries.len()
    }

    /// The answer to a question: a kept one, if its age and index will do. A question that
    /// is new is kept for `lifetime` after its last use.
    ///
    /// # Errors
    /// The servers' own, when no answer is there that will do.
    pub(crate) async fn read(
        &self,
        query: &Arc<dyn AnyQuery>,
        options: &ReadOptions,
        lifetime: Duration,
    ) -> Result<Cached, CallError> {
        let entry = self.entry(query, options, lifetime);
        let mut states = entry.state.subscribe();
        let known = states.borrow_and_update().clone();
        let hit = known.value.is_some();
        let wait = options.max_wait.filter(|wait| !wait.is_zero()).unwrap_or(self.default_wait);
        let deadline = Instant::now() + wait;
        let mut state = known.clone();
        let mut asked = false;
        loop {
            let age = state.age(Instant::now());
            // An answer that came after the question is as new as can be.
            let is_new = state.fetches > known.fetches;
            let old = options.max_age.is_some_and(|max| age > max || max.is_zero()) && !is_new;
            if let Some(value) = &state.value {
                let waits = options.min_index >= value.facts.index;
                let fails = state.error.as_ref().filter(|_| is_new);
                match fails {
                    None if !old && !waits => return Ok(cached(value, hit && !is_new, age)),
                    Some(error) if options.max_age.is_some_and(|max| age > max) => {
                        let bearable = options.stale_if_error.is_some_and(|max| age <= max);
                        return match bearable {
                            true => Ok(cached(value, true, age)),
                            false => Err(error.clone()),
                        };
                    }
                    Some(_) if !waits => return Ok(cached(value, true, age)),
                    _ => {}
                }
            } else if let Some(error) = &state.error {
                return Err(error.clone());
            }
            if old && !asked {
                asked = true;
                entry.wanted.notify_one();
            }
            let in_time = timeout_at(deadline, states.changed()).await.is_ok();
            state = states.borrow_and_update().clone();
            if !in_time {
                let age = state.age(Instant::now());
                if let Some(error) = state.error.filter(|_| is_too_old(options, age)) {
                    return Err(error);
                }
                let value = state.value.as_ref().map(|value| cached(value, hit, age));
                return value.ok_or_else(|| CallError::failed("i/o timeout"));
            }
        }
    }

    /// The entry of a question, with a task that follows it.
    fn entry(
        &self,
        query: &Arc<dyn AnyQuery>,
        options: &ReadOptions,
        lifetime: Duration,
    ) -> Arc<Entry> {
        let key = Key {
            query: QueryKey(Arc::clone(query)),
            datacenter: options.datacenter.clone(),
            token: options.token.clone(),
            consistency: options.consistency,
        };
        let mut kept = lock(&self.kept);
        if let Some((entry, _)) = kept.entries.get(&key) {
            entry.use_it();
            return Arc::clone(entry);
        }
        while kept.tasks.try_join_next().is_some() {}
        if kept.entries.len() >= ENTRIES_MAX {
            let oldest = kept.entries.iter().min_by_key(|(_, (entry, _))| entry.last_used());
            if let Some(oldest) = oldest.map(|(key, _)| key.clone())
                && let Some((_, task)) = kept.entries.remove(&oldest)
            {
                task.abort();
            }
        }
        let entry = Arc::new(Entry {
            state: watch::Sender::default(),
            wanted: Notify::new(),
            used: Mutex::new(Instant::now()),
            lifetime,
        });
        let follower = Follower {
            source: Arc::clone(&self.source),
            query: Arc::clone(query),
            options: ReadOptions {
                datacenter: options.datacenter.clone(),
                token: options.token.clone(),
                consistency: options.consistency,
                ..ReadOptions::default()
            },
            fetch_rate: self.fetch_rate.subscribe(),
            entry: Arc::clone(&entry),
        };
        let (all, own) = (Arc::downgrade(&self.kept), key.clone());
        let task = kept.tasks.spawn(async move {
            let entry = Arc::clone(&follower.entry);
            follower.run().await;
            // Nobody follows it any more.
            if let Some(all) = all.upgrade() {
                let mut kept = lock(&all);
                if kept.entries.get(&own).is_some_and(|(now, _)| Arc::ptr_eq(now, &entry)) {
                    kept.entries.remove(&own);
                }
            }
        });
        kept.entries.insert(key, (Arc::clone(&entry), task));
        entry
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an answer of that age is of no use, also while the servers are away.
fn is_too_old(options: &ReadOptions, age: Duration) -> bool {
    options.max_age.is_some_and(|max| age > max)
        && options.stale_if_error.is_none_or(|bearable| age > bearable)
}

fn cached(value: &Value, hit: bool, age: Duration) -> Cached {
    Cached { value: value.clone(), hit, age }
}

/// Keeps one entry as the servers have it.
struct Follower {
    source: Arc<dyn Source>,
    query: Arc<dyn AnyQuery>,
    options: ReadOptions,
    fetch_rate: watch::Receiver<FetchRate>,
    entry: Arc<Entry>,
}

impl Follower {
    /// Ends when the entry is of no use to anybody.
    async fn run(&self) {
        let mut seen = Index::ZERO;
        let mut failures: u32 = 0;
        let rate = || *self.fetch_rate.borrow();
        let mut fetches = Fetches::new(rate(), Instant::now());
        loop {
            let wait = fetches.take(rate(), Instant::now());
            if !wait.is_zero() {
                tokio::select! {
                    () = sleep(wait) => {}
                    () = self.entry.unused() => return,
                }
            }
            let mut options = self.options.clone();
            if seen > Index::ZERO {
                options.min_index = seen;
                options.max_wait = Some(REFRESH_WAIT);
            }
            let fetched = tokio::select! {
                fetched = self.source.read(Arc::clone(&self.query), options) => fetched,
                // While a first answer is on its way another one would be no newer.
                () = self.entry.wanted.notified(), if seen > Index::ZERO => {
                    seen = Index::ZERO;
                    continue;
                }
                () = self.entry.unused() => return,
            };
            match fetched {
                Ok(value) => {
                    failures = 0;
                    let index = value.facts.index;
                    // After a restore indexes begin anew.
                    seen = if index < seen { Index::ZERO } else { index.max(Index(1)) };
                    self.entry.state.send_modify(|state| {
                        *state = State {
                            value: Some(value),
                            fetches: state.fetches + 1,
                            ..State::default()
                        };
                    });
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    seen = Index::ZERO;
                    self.entry.state.send_modify(|state| {
                        state.behind_since.get_or_insert_with(Instant::now);
                        state.error = Some(error);
                        state.fetches += 1;
                    });
                    if self.entry.state.borrow().value.is_none() {
                        return;
                    }
                    tokio::select! {
                        () = sleep(wait_after(failures)) => {}
                        () = self.entry.wanted.notified() => {}
                        () = self.entry.unused() => return,
                    }
                }
            }
        }
    }
}

/// How long to wait after this many failures in a row, some of it by chance.
fn wait_after(failures: u32) -> Duration {
    let doubled = RETRY_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(RETRY_MAX).mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests;
