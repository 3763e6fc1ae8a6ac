//! Old tombstones go: a duty of the leader (`reference/raft-and-snapshots.md` section 17).

use std::time::Duration;

use domains::kv::{TOMBSTONES, TombstoneReap};
use store::State;
use telemetry::names;
use tokio::time::Instant;
use types::{Index, SecretId};

use crate::Server;

/// How long tombstones are kept, and how finely their age is known.
const TOMBSTONE_AGE: Duration = Duration::from_secs(15 * 60);
const TOMBSTONE_STEP: Duration = Duration::from_secs(30);

/// Collects them for as long as it runs: while this server leads.
pub(super) async fn run(server: &Server) {
    let mut steps = tokio::time::interval(TOMBSTONE_STEP);
    let mut bins = TombstoneBins::default();
    loop {
        let now = steps.tick().await;
        let newest = newest_tombstone(&server.store().snapshot());
        if let Some(index) = bins.handle_step(newest, now) {
            reap(server, index).await;
        }
    }
}

/// Tombstones by age: which index was the newest at each step, so that everything up
/// to it can go once the step is old enough.
#[derive(Debug, Default)]
struct TombstoneBins {
    steps: Vec<(Instant, Index)>,
}

impl TombstoneBins {
    /// Notes the newest tombstone, and tells up to which index tombstones are old.
    fn handle_step(&mut self, newest: Option<Index>, now: Instant) -> Option<Index> {
        if let Some(newest) = newest
            && self.steps.last().is_none_or(|(_, index)| *index < newest)
        {
            self.steps.push((now, newest));
        }
        let old = self.steps.iter().take_while(|(at, _)| now.duration_since(*at) >= TOMBSTONE_AGE);
        let old = old.count();
        self.steps.drain(..old).next_back().map(|(_, index)| index)
    }
}

fn newest_tombstone(state: &State) -> Option<Index> {
    (state.len(&TOMBSTONES) > 0).then(|| state.index_of(TOMBSTONES.name))
}

async fn reap(server: &Server, index: Index) {
    let start = Instant::now();
    let command =
        TombstoneReap { op: "reap".to_owned(), reap_index: index, ..TombstoneReap::default() };
    if let Err(error) = server.write_typed(command, &SecretId::default()).await {
        tracing::warn!(target: "agent.server", error = %error, "failed to reap tombstones");
    }
    names::LEADER_REAP_TOMBSTONES.record([], start.elapsed());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tombstones_go_once_they_are_old() {
        let mut bins = TombstoneBins::default();
        let start = Instant::now();
        assert_eq!(bins.handle_step(Some(Index(5)), start), None);
        assert_eq!(bins.handle_step(Some(Index(9)), start + TOMBSTONE_STEP), None);
        assert_eq!(bins.handle_step(Some(Index(9)), start + TOMBSTONE_AGE), Some(Index(5)));
        let later = start + TOMBSTONE_AGE + TOMBSTONE_STEP;
        assert_eq!(bins.handle_step(Some(Index(9)), later), Some(Index(9)));
        assert_eq!(bins.handle_step(None, later), None);
    }
}
