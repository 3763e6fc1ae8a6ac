//! What is told of a read in its body (`QueryMeta`, `reference/rpc-wire.md` section 5).

use serde::{Deserialize, Serialize};

use crate::{GoDuration, Index};

/// What is told beside the rows of a read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueryMeta {
    /// The index of the rows.
    pub index: Index,
    /// How long ago the leader was heard of; zero on the leader. A number of nanoseconds.
    #[serde(serialize_with = "as_nanos")]
    pub last_contact: GoDuration,
    /// Whether the cluster has a leader.
    pub known_leader: bool,
    /// `leader`, `consistent` or `stale`. Whoever reads it knows what was asked for.
    #[serde(skip_deserializing)]
    pub consistency_level: &'static str,
    /// Whether there are no rows because whoever asks has them already.
    pub not_modified: bool,
    /// 0 for a read of the state, 1 for a stream of events.
    pub backend: u8,
    /// Whether rows were taken away because the reader may not see them.
    #[serde(rename = "ResultsFilteredByACLs")]
    pub results_filtered_by_acls: bool,
}

fn as_nanos<S: serde::Serializer>(duration: &GoDuration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(duration.as_nanos())
}
