//! The leader gathers the coordinates that nodes tell it, and writes them now and then: a
//! thousand nodes that each move a little must not make a thousand entries of the log.
//!
//! Period and sizes: `reference/config.md` section 8. [`Gathered`] decides, without a clock.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domains::catalog::{NODES, node_key};
use domains::coordinate::{COORDINATES, CoordinateBatch};
use store::State;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use types::coordinate::{Coordinate, DatacenterMap, NodeCoordinate};
use types::{NodeName, SecretId};

use crate::Server;

/// Most coordinates in one entry of the log.
const BATCH_ROWS_MAX: usize = 128;

/// Most entries that are written at a time.
const BATCHES_MAX: usize = 5;

/// Longest name of a node with its segment, in bytes, that is remembered.
const NAME_BYTES_MAX: usize = 4096;

/// Where the servers of each datacenter are, as far as the WAN pool measured it.
pub async fn datacenter_maps(server: &Server) -> Vec<DatacenterMap> {
    server.gossip().datacenter_maps().await
}

/// What was told and is not written yet.
#[derive(Debug, Default)]
pub(crate) struct CoordinateMemory {
    gathered: Mutex<Gathered>,
}

impl CoordinateMemory {
    /// Takes note of where a node is.
    pub(crate) fn note(&self, row: NodeCoordinate) {
        self.gathered().handle_update(row);
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last word of each node that spoke.
#[derive(Debug, Default)]
struct Gathered {
    rows: BTreeMap<(NodeName, String), Coordinate>,
}

impl Gathered {
    /// A node tells where it is. When more nodes have than can be written at a time, new ones
    /// are not listened to: they will speak again.
    fn handle_update(&mut self, row: NodeCoordinate) {
        let Some(coord) = row.coord else { return };
        if row.node.as_str().len() + row.segment.len() > NAME_BYTES_MAX {
            return;
        }
        let key = (row.node, row.segment);
        if self.rows.len() < BATCH_ROWS_MAX * BATCHES_MAX || self.rows.contains_key(&key) {
            self.rows.insert(key, coord);
        }
    }

    /// What is to be written: all that is news about nodes of the catalog.
    fn take_batches(&mut self, state: &State) -> Vec<CoordinateBatch> {
        let rows = std::mem::take(&mut self.rows).into_iter();
        let rows = rows.map(|((node, segment), coord)| NodeCoordinate {
            node,
            segment,
            coord: Some(coord),
        });
        let rows: Vec<NodeCoordinate> = rows.filter(|row| is_news(state, row)).collect();
        rows.chunks(BATCH_ROWS_MAX).map(|rows| CoordinateBatch { rows: rows.to_vec() }).collect()
    }
}

fn is_news(state: &State, row: &NodeCoordinate) -> bool {
    let key = node_key(row.node.as_str());
    state.peek(&NODES, key.as_bytes()).is_some()
        && state.peek(&COORDINATES, key.text(&row.segment).as_bytes()) != Some(row)
}

/// Writes what was told, for as long as it runs: while this server leads.
pub(crate) async fn run(server: &Server) {
    let memory = &server.shared.memory.coordinates;
    *memory.gathered() = Gathered::default();
    let period = server.shared.options.coordinate_update_period;
    let mut updates = interval_at(Instant::now() + period, period);
    updates.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        updates.tick().await;
        if memory.gathered().rows.is_empty() {
            continue;
        }
        let state = server.store().snapshot();
        let batches = memory.gathered().take_batches(&state);
        drop(state);
        for batch in batches {
            if let Err(error) = server.write_typed(batch, &SecretId::default()).await {
                tracing::warn!(target: "agent.server.coordinate", error = %error, "Batch update failed");
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domains::catalog::Register;
    use store::Store;
    use types::Index;
    use types::catalog::RegisterRequest;

    use super::*;
    use crate::fsm::{Fsm, FsmCommand};

    /// A state with nodes `n0` to `n999`.
    fn world() -> Fsm {
        let fsm = Fsm::new(Store::new(&domains::tables()));
        let commands = (0..1000).map(|number| {
            let node = format!("n{number}").into();
            let request = RegisterRequest { node, ..RegisterRequest::default() };
            (Index(number + 1), FsmCommand::Typed(Box::new(Register(request))))
        });
        fsm.apply(commands).expect("all are known");
        fsm
    }

    fn row(node: &str, x: f64) -> NodeCoordinate {
        let mut coord = Coordinate::fresh();
        coord.vec[0] = x;
        NodeCoordinate { node: node.into(), segment: String::new(), coord: Some(coord) }
    }

    fn names(batches: &[CoordinateBatch]) -> Vec<&str> {
        batches.iter().flat_map(|batch| &batch.rows).map(|row| row.node.as_str()).collect()
    }

    #[test]
    fn the_last_word_of_each_known_node_is_written_once() {
        let (fsm, mut gathered) = (world(), Gathered::default());
        for told in [row("n1", 0.1), row("n2", 0.2), row("n1", 0.3), row("nobody", 0.4)] {
            gathered.handle_update(told);
        }
        gathered.handle_update(NodeCoordinate { coord: None, ..row("n3", 0.0) });
        gathered.handle_update(row(&"n".repeat(NAME_BYTES_MAX + 1), 0.0));
        assert_eq!(gathered.rows.len(), 3);
        let mut batches = gathered.take_batches(&fsm.store().snapshot());
        let expected = CoordinateBatch { rows: vec![row("n1", 0.3), row("n2", 0.2)] };
        assert_eq!(batches, [expected]);
        let command = FsmCommand::Typed(Box::new(batches.remove(0)));
        fsm.apply(std::iter::once((Index(2000), command))).expect("it is known");
        // Who says the same again says nothing new.
        gathered.handle_update(row("n1", 0.3));
        gathered.handle_update(row("n2", 0.25));
        assert_eq!(names(&gathered.take_batches(&fsm.store().snapshot())), ["n2"]);
        assert_eq!(gathered.take_batches(&fsm.store().snapshot()), []);
    }

    #[test]
    fn no_more_is_remembered_than_is_written_at_a_time() {
        let (fsm, mut gathered) = (world(), Gathered::default());
        for number in 0..1000 {
            gathered.handle_update(row(&format!("n{number}"), 0.1));
        }
        gathered.handle_update(row("n0", 0.2));
        let batches = gathered.take_batches(&fsm.store().snapshot());
        let sizes: Vec<usize> = batches.iter().map(|batch| batch.rows.len()).collect();
        assert_eq!(sizes, [BATCH_ROWS_MAX; BATCHES_MAX]);
        assert!(batches.iter().any(|batch| batch.rows.contains(&row("n0", 0.2))));
    }
}
