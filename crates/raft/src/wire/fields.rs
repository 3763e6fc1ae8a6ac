//! The maps of requests and answers. Fields stand in the order in which they are written, so
//! that nothing has to be sorted; each has the header's three.

use serde::{Deserialize, Serialize};

use super::entry::WireEntries;
use super::raw::Raw;

#[derive(Serialize, Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Header<'a> {
    #[serde(borrow)]
    pub(super) addr: Raw<'a>,
    #[serde(borrow, rename = "ID")]
    pub(super) id: Raw<'a>,
    pub(super) protocol_version: i64,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct AppendEntries<'a> {
    #[serde(borrow)]
    pub(super) addr: Raw<'a>,
    #[serde(borrow)]
    pub(super) entries: WireEntries<'a>,
    #[serde(borrow, rename = "ID")]
    pub(super) id: Raw<'a>,
    #[serde(borrow)]
    pub(super) leader: Raw<'a>,
    pub(super) leader_commit_index: u64,
    pub(super) prev_log_entry: u64,
    pub(super) prev_log_term: u64,
    pub(super) protocol_version: i64,
    pub(super) term: u64,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct AppendEntriesResponse<'a> {
    #[serde(borrow)]
    pub(super) addr: Raw<'a>,
    #[serde(borrow, rename = "ID")]
    pub(super) id: Raw<'a>,
    pub(super) last_log: u64,
    pub(super) no_retry_backoff: bool,
    pub(super) protocol_version: i64,
    pub(super) success: bool,
    pub(super) term: u64,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct RequestVote<'a> {
    #[serde(borrow)]
    pub(super) addr: Raw<'a>,
    #[serde(borrow)]
    pub(super) candidate: Raw<'a>,
    #[serde(borrow, rename = "ID")]
    pub(super) id: Raw<'a>,
    pub(super) last_log_index: u64,
    pub(super) last_log_term: u64,
    pub(super) leadership_transfer: bool,
    pub(super) protocol_version: i64,
    pub(super) term: u64,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct RequestVoteResponse<'a> {
    #[serde(borrow)]
    pub(super) addr: Raw<'a>,
    pub(super) granted: bool,
    #[serde(borrow, rename = "ID")]
    pub(super) id: Raw<'a>,
    #[serde(borrow)]
    pub(super) peers: Raw<'a>,
    pub(super) protocol_version: i64,
    pub(super) term: u64,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct RequestPreVote<'a> {
    #[serde(borrow)]
    pub(super) addr: Raw<'a>,
    #[serde(borrow, rename = "ID")]
    pub(super) id: Raw<'a>,
    pub(super) last_log_index: u64,
    pub(super) last_log_term: u64,
    pub(super) protocol_version: i64,
    pub(super) term: u64,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct RequestPreVoteResponse<'a> {
    #[serde(borrow)]
    pub(super) addr: Raw<'a>,
    pub(super) granted: bool,
    #[serde(borrow, rename = "ID")]
    pub(super) id: Raw<'a>,
    pub(super) protocol_version: i64,
    pub(super) term: u64,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct InstallSnapshot<'a> {
    #[serde(borrow)]
    pub(super) addr: Raw<'a>,
    #[serde(borrow)]
    pub(super) configuration: Raw<'a>,
    pub(super) configuration_index: u64,
    #[serde(borrow, rename = "ID")]
    pub(super) id: Raw<'a>,
    pub(super) last_log_index: u64,
    pub(super) last_log_term: u64,
    #[serde(borrow)]
    pub(super) leader: Raw<'a>,
    #[serde(borrow)]
    pub(super) peers: Raw<'a>,
    pub(super) protocol_version: i64,
    pub(super) size: i64,
    pub(super) snapshot_version: i64,
    pub(super) term: u64,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct InstallSnapshotResponse<'a> {
    #[serde(borrow)]
    pub(super) addr: Raw<'a>,
    #[serde(borrow, rename = "ID")]
    pub(super) id: Raw<'a>,
    pub(super) protocol_version: i64,
    pub(super) success: bool,
    pub(super) term: u64,
}
