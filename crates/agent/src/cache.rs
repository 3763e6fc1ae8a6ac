//! The agent's cache, as far as clients can tell.
//!
//! Results are kept by the server in this process until what they came from changes,
//! so an entry of the cache is never behind. What remains is what the cache tells:
//! whether somebody asked before, and through which backend the answer came
//! (`reference/http-api.md` 1.8 and 1.9).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use contract::{AnyQuery, CacheKind, QueryKey, ReadOptions};
use http_server::ReadMeta;
use telemetry::names;
use telemetry::series::GaugeHandle;
use types::Index;

/// How long an entry stays after its last use.
const ENTRY_AGE: Duration = Duration::from_secs(72 * 3600);
const STREAMED_ENTRY_AGE: Duration = Duration::from_secs(20 * 60);

/// Most entries; beyond, the cache is emptied, which costs a few misses.
const ENTRIES_MAX: usize = 16_384;

/// Which questions were asked through the cache, and when last.
#[derive(Default)]
pub(crate) struct AgentCache {
    asked: Mutex<HashMap<QueryKey, Instant>>,
    metrics: CacheMetrics,
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
    /// What the cache adds to what is told of a read.
    pub(crate) fn describe(
        &self,
        query: &Arc<dyn AnyQuery>,
        options: &ReadOptions,
        kind: CacheKind,
        now: Instant,
    ) -> Described {
        let streamed =
            kind == CacheKind::Streamed && (options.cached || options.min_index > Index::ZERO);
        let age = if streamed { STREAMED_ENTRY_AGE } else { ENTRY_AGE };
        let hit = (options.cached && kind != CacheKind::None).then(|| {
            let hit = self.touch(QueryKey(Arc::clone(query)), now, age);
            self.metrics.asked(query.name(), hit);
            hit
        });
        Described { streamed, hit }
    }

    /// Notes the use of an entry; whether it was there.
    fn touch(&self, key: QueryKey, now: Instant, age: Duration) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= ENTRIES_MAX {
            asked.clear();
        }
        self.metrics.entries(asked.len() + usize::from(!asked.contains_key(&key)));
        asked.insert(key, now).is_some_and(|last| now.duration_since(last) < age)
    }
}

/// See [`AgentCache::describe`].
pub(crate) struct Described {
    streamed: bool,
    hit: Option<bool>,
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
        meta.cache = self.hit.map(|hit| (hit, 0));
    }
}
