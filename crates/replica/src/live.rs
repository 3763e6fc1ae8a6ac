//! Results that are kept until what they came from changes.
//!
//! A result is filed under its question together with a subscription to everything
//! it was read from. As long as that has not fired, the result equals a fresh
//! evaluation (see the invariant of `store`), so whoever asks the same question gets
//! it: one evaluation and one encoded body serve all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use acl::Authorizer;
use bytes::Bytes;
use contract::{AnyQuery, CallError, Encoding, Evaluated, QueryKey};
use store::{Reader, Store, Subscription, WatchSet};

/// Most results that are kept although nobody waits for them.
const KEPT_MAX: usize = 4096;

/// Most bytes of encoded bodies that are kept.
const ENCODED_BYTES_MAX: usize = 64 << 20;

/// How often an evaluation is repeated because relevant commits came in between.
const ATTEMPTS_MAX: usize = 16;

/// Kept results by question and by what the asker may see.
pub struct LiveQueries {
    store: Store,
    kept: Mutex<HashMap<(QueryKey, u64), Arc<Live>, foldhash::fast::RandomState>>,
    encoded_bytes: Arc<AtomicUsize>,
}

/// A result to answer with.
pub enum Kept {
    /// One that others share.
    Live(Arc<Live>),
    /// One that nobody else gets.
    Once(Evaluated),
}

impl Kept {
    /// The result.
    pub fn evaluated(&self) -> &Evaluated {
        match self {
            Kept::Live(live) => &live.evaluated,
            Kept::Once(evaluated) => evaluated,
        }
    }
}

/// A result with the subscription that tells when it is out of date.
pub struct Live {
    /// The result.
    pub evaluated: Evaluated,
    subscription: Subscription,
    encoded: [OnceLock<Bytes>; 2],
    encoded_bytes: Arc<AtomicUsize>,
}

impl Live {
    /// Whether the result still equals a fresh evaluation.
    pub fn is_current(&self) -> bool {
        !self.subscription.has_fired()
    }

    /// Completes once the result is out of date.
    pub async fn outdated(&self) {
        self.subscription.fired().await;
    }

    /// The body in this layout, encoded at most once as long as there is room for it.
    pub fn body(&self, encoding: Encoding, encode: impl FnOnce() -> Bytes) -> Bytes {
        let place = &self.encoded[usize::from(encoding == Encoding::Indented)];
        if let Some(bytes) = place.get() {
            return bytes.clone();
        }
        let bytes = encode();
        let total = self.encoded_bytes.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        if total > ENCODED_BYTES_MAX || place.set(bytes.clone()).is_err() {
            self.encoded_bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
        }
        bytes
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let kept: usize = self.encoded.iter().filter_map(OnceLock::get).map(Bytes::len).sum();
        self.encoded_bytes.fetch_sub(kept, Ordering::Relaxed);
    }
}

impl LiveQueries {
    /// No results yet.
    pub fn new(store: Store) -> Self {
        Self { store, kept: Mutex::default(), encoded_bytes: Arc::default() }
    }

    /// A current result: a kept one, or a new one that is kept from now on.
    pub fn get(&self, query: &Arc<dyn AnyQuery>, who: &Authorizer) -> Result<Arc<Live>, CallError> {
        let key = (QueryKey(Arc::clone(query)), who.identity());
        if let Some(live) = self.lock().get(&key)
            && live.is_current()
        {
            return Ok(Arc::clone(live));
        }
        let live = Arc::new(self.evaluate(query, who)?);
        let mut kept = self.lock();
        if kept.len() >= KEPT_MAX {
            make_room(&mut kept);
        }
        kept.insert(key, Arc::clone(&live));
        Ok(live)
    }

    /// What to answer at this moment to who does not wait, or has waited in vain. A question
    /// as cheap as looking a result up is asked afresh: its rows may be as old as they like,
    /// but the index of what is not there grows without them, and nobody may be shown one
    /// that is lower than before.
    pub fn now(&self, query: &Arc<dyn AnyQuery>, who: &Authorizer) -> Result<Kept, CallError> {
        Ok(match query.is_kept() {
            true => Kept::Live(self.get(query, who)?),
            false => Kept::Once(self.run_once(&**query, who)?),
        })
    }

    /// A fresh result that is not kept.
    fn run_once(&self, query: &dyn AnyQuery, who: &Authorizer) -> Result<Evaluated, CallError> {
        let state = self.store.snapshot();
        query.evaluate(who, &mut Reader::new(&state))
    }

    /// Evaluates and subscribes so that no relevant commit falls in between: after
    /// subscribing, either nothing was committed since the snapshot, or the evaluation
    /// is repeated over a newer one that the subscription covers.
    fn evaluate(&self, query: &Arc<dyn AnyQuery>, who: &Authorizer) -> Result<Live, CallError> {
        let (mut evaluated, mut set, mut version) = self.run(&**query, who)?;
        let mut subscription = self.store.subscribe(set.clone());
        for _ in 0..ATTEMPTS_MAX {
            if subscription.1 == version {
                break;
            }
            let before = set;
            (evaluated, set, version) = self.run(&**query, who)?;
            if set == before && !subscription.0.has_fired() {
                break;
            }
            subscription = self.store.subscribe(set.clone());
        }
        Ok(Live {
            evaluated,
            subscription: subscription.0,
            encoded: [OnceLock::new(), OnceLock::new()],
            encoded_bytes: Arc::clone(&self.encoded_bytes),
        })
    }

    fn run(
        &self,
        query: &dyn AnyQuery,
        who: &Authorizer,
    ) -> Result<(Evaluated, WatchSet, u64), CallError> {
        let state = self.store.snapshot();
        let mut reader = Reader::new(&state);
        let evaluated = query.evaluate(who, &mut reader)?;
        Ok((evaluated, reader.into_watch_set(), state.version()))
    }

    fn lock(
        &self,
    ) -> MutexGuard<'_, HashMap<(QueryKey, u64), Arc<Live>, foldhash::fast::RandomState>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of what is out of date and of what nobody holds; those who wait keep theirs.
fn make_room(kept: &mut HashMap<(QueryKey, u64), Arc<Live>, foldhash::fast::RandomState>) {
    kept.retain(|_, live| live.is_current() && Arc::strong_count(live) > 1);
}

#[cfg(test)]
mod tests {
    use domains::kv::{KvCommand, KvGet, KvList};
    use types::Index;
    use types::kv::KvEntry;

    use super::*;
    use crate::fsm::{Fsm, FsmCommand};

    fn put(fsm: &Fsm, index: u64, key: &str) {
        let entry = KvEntry { key: key.into(), ..KvEntry::default() };
        let command = Box::new(KvCommand { entry, ..KvCommand::default() });
        let one = std::iter::once((Index(index), FsmCommand::Typed(command)));
        fsm.apply(one, &mut ()).expect("known");
    }

    #[test]
    fn askers_of_the_same_question_share_a_result_until_it_changes() {
        let fsm = Fsm::new(Store::new(&domains::tables()));
        let queries = LiveQueries::new(fsm.store().clone());
        let ask = || -> Arc<dyn AnyQuery> { Arc::new(KvList { prefix: "app/".into() }) };
        let who = Authorizer::allow_all();
        put(&fsm, 1, "app/a");
        let first = queries.get(&ask(), &who).expect("it runs");
        put(&fsm, 2, "other");
        let second = queries.get(&ask(), &who).expect("it runs");
        assert!(Arc::ptr_eq(&first, &second), "an unrelated write changes nothing");
        put(&fsm, 3, "app/b");
        assert!(!first.is_current());
        let third = queries.get(&ask(), &who).expect("it runs");
        assert_eq!(third.evaluated.index, Index(3));
    }

    #[test]
    fn the_index_of_a_missing_key_does_not_go_back_behind_a_wait() {
        let fsm = Fsm::new(Store::new(&domains::tables()));
        let queries = LiveQueries::new(fsm.store().clone());
        let query: Arc<dyn AnyQuery> = Arc::new(KvGet { key: "k".into() });
        let who = Authorizer::allow_all();
        put(&fsm, 3, "a");
        let waited_for = queries.get(&query, &who).expect("it runs");
        put(&fsm, 7, "b");
        // Nothing wakes who waits, and what is told in the end is not what was kept meanwhile.
        assert!(waited_for.is_current() && waited_for.evaluated.index == Index(3));
        let told = queries.now(&query, &who).expect("it runs");
        assert_eq!(told.evaluated().index, Index(7));
    }

    #[test]
    fn a_missing_key_is_watched_for_its_appearance_alone() {
        let fsm = Fsm::new(Store::new(&domains::tables()));
        let queries = LiveQueries::new(fsm.store().clone());
        let query: Arc<dyn AnyQuery> = Arc::new(KvGet { key: "k".into() });
        let live = queries.get(&query, &Authorizer::allow_all()).expect("it runs");
        put(&fsm, 1, "k2");
        assert!(live.is_current());
        put(&fsm, 2, "k");
        assert!(!live.is_current());
    }
}
