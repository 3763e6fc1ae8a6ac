//! What snapshots hold, record by record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::snapshot_interop::{agrees, records};

/// What each server writes for itself: where the log ended, and rows that one version has
/// and another does not know.
const APART: &[&str] = &["SnapshotHeader", "Index", "ChunkingState"];

/// Compares what archives of one index hold. Returns how many records each of them has.
pub(super) fn compare(consul: &Path, archives: &[PathBuf]) -> anyhow::Result<usize> {
    let mut first: Option<BTreeMap<String, Vec<Value>>> = None;
    let mut count = 0;
    for (number, archive) in archives.iter().enumerate() {
        let mut kinds: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for record in records(consul, archive)? {
            let kind = record["Type"].as_str().unwrap_or_default().to_owned();
            if !APART.contains(&kind.as_str()) {
                kinds.entry(kind).or_default().push(record["Data"].clone());
            }
        }
        count = kinds.values().map(Vec::len).sum();
        let Some(first) = &first else {
            first = Some(kinds);
            continue;
        };
        for kind in first.keys().chain(kinds.keys()) {
            let none = Vec::new();
            let (one, other) = (first.get(kind).unwrap_or(&none), kinds.get(kind).unwrap_or(&none));
            ensure!(
                one.len() == other.len(),
                "server1 has {} records {kind}, server{} has {}",
                one.len(),
                number + 1,
                other.len()
            );
            for (one, other) in sorted(one).iter().zip(&sorted(other)) {
                agrees(one, other).with_context(|| {
                    format!("{kind} of server1 and server{}:\n{one}\n{other}", number + 1)
                })?;
            }
        }
    }
    Ok(count)
}

/// In an order that does not depend on who wrote them.
fn sorted(records: &[Value]) -> Vec<Value> {
    let mut records = records.to_vec();
    records.sort_by_key(|record| {
        let text = |name: &str| record[name].to_string();
        let inner = |outer: &str, name: &str| record[outer][name].to_string();
        [text("Key"), text("Node"), text("ID"), inner("Service", "ID"), inner("Check", "CheckID")]
    });
    records
}
