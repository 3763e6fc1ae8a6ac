//! What the requests of all methods have in common.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use types::{Datacenter, GoDuration, Index, SecretId};

use super::{decode_args, is_zero};
use crate::error::CallError;
use crate::options::{Consistency, ReadOptions};

/// The options of a request with the datacenter that it is for (`QO` in
/// `reference/rpc-wire.md` section 5). What is zero is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueryOptions {
    /// Whether a reply that says no more than "not modified" will do.
    #[serde(skip_serializing_if = "is_zero")]
    pub allow_not_modified_response: bool,
    /// Whether any server may answer.
    #[serde(skip_serializing_if = "is_zero")]
    pub allow_stale: bool,
    /// Where to ask; empty for the datacenter of the server.
    #[serde(skip_serializing_if = "is_zero")]
    pub datacenter: Datacenter,
    /// `filter=`.
    #[serde(skip_serializing_if = "is_zero")]
    pub filter: String,
    /// Oldest acceptable cached answer.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_age: GoDuration,
    /// How long to wait; zero for the server's default.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_query_time: GoDuration,
    /// A stale answer older than this is asked again at the leader.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_stale_duration: GoDuration,
    /// Wait until the answer's index is above this one.
    #[serde(skip_serializing_if = "is_zero")]
    pub min_query_index: Index,
    /// Whether no cached answer will do, whatever its age.
    #[serde(skip_serializing_if = "is_zero")]
    pub must_revalidate: bool,
    /// Whether the leader first makes sure that it still leads.
    #[serde(skip_serializing_if = "is_zero")]
    pub require_consistent: bool,
    /// How old a cached answer may be when the servers are away.
    #[serde(skip_serializing_if = "is_zero")]
    pub stale_if_error: GoDuration,
    /// The token.
    #[serde(skip_serializing_if = "is_zero")]
    pub token: SecretId,
    /// Whether a cached answer will do.
    #[serde(skip_serializing_if = "is_zero")]
    pub use_cache: bool,
}

impl QueryOptions {
    /// These options with a filter.
    pub fn new(options: &ReadOptions, filter: &str) -> Self {
        let given = |span: Option<Duration>| span.map_or(GoDuration::ZERO, GoDuration::from);
        Self {
            allow_not_modified_response: false,
            allow_stale: options.consistency == Consistency::Stale,
            datacenter: options.datacenter.clone(),
            filter: filter.to_owned(),
            max_age: given(options.max_age),
            max_query_time: given(options.max_wait),
            max_stale_duration: GoDuration::from(options.max_stale),
            min_query_index: options.min_index,
            must_revalidate: options.max_age == Some(Duration::ZERO),
            require_consistent: options.consistency == Consistency::Consistent,
            stale_if_error: given(options.stale_if_error),
            token: options.token.clone(),
            use_cache: options.cached,
        }
    }

    /// The options without the filter. Of two modes that exclude each other, the stricter
    /// one counts; spans that are not positive are none.
    pub fn to_read_options(&self) -> ReadOptions {
        let given = |span: GoDuration| span.is_positive().then(|| span.to_std());
        let consistency = match (self.require_consistent, self.allow_stale) {
            (true, _) => Consistency::Consistent,
            (false, true) => Consistency::Stale,
            (false, false) => Consistency::Default,
        };
        ReadOptions {
            datacenter: self.datacenter.clone(),
            token: self.token.clone(),
            consistency,
            max_stale: self.max_stale_duration.to_std(),
            min_index: self.min_query_index,
            max_wait: given(self.max_query_time),
            cached: self.use_cache,
            max_age: if self.must_revalidate { Some(Duration::ZERO) } else { given(self.max_age) },
            stale_if_error: given(self.stale_if_error),
        }
    }
}

/// What can be told of any request without knowing its method: for which datacenter it is,
/// whose it is, and, of a read, how fresh the answer must be and how long it may wait.
pub fn header(args: &[u8]) -> Result<QueryOptions, CallError> {
    decode_args(args)
}
