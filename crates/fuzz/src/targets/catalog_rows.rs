//! Instances with a little of everything that a catalog can hold, sound or not.

use std::sync::OnceLock;

use types::catalog::{CheckServiceNode, ServiceNode};
use types::json::Unknown;

/// The rows.
pub(super) fn instances() -> &'static [CheckServiceNode] {
    static ROWS: OnceLock<Vec<CheckServiceNode>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let json = include_bytes!("catalog_rows.json");
        types::json::decode_whole(json, Unknown::Deny).expect("the rows are sound JSON")
    })
}

/// The rows, joined.
pub(super) fn joined() -> &'static [ServiceNode] {
    static ROWS: OnceLock<Vec<ServiceNode>> = OnceLock::new();
    ROWS.get_or_init(|| {
        instances().iter().map(|row| ServiceNode::join(&row.node, &row.service)).collect()
    })
}
