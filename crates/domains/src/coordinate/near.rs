//! Lists of nodes in the order of their distance from one of them.

use std::time::Duration;

use contract::Request;
use store::{Reader, State};
use types::coordinate::NodeCoordinate;

use super::table::COORDINATES;
use crate::catalog::{NODES, node_key};
use crate::requests::QuerySource;

/// `near=`: the node from which round trips are counted; empty to leave rows as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Near {
    /// The datacenter of the node; empty for the one that is asked. Distances do not lead
    /// out of it.
    datacenter: String,
    node: String,
}

impl Near {
    /// Stands for the agent that is asked.
    const AGENT: &str = "_agent";

    /// Near this node of the datacenter that is asked.
    pub fn node(name: impl Into<String>) -> Self {
        Self { datacenter: String::new(), node: name.into() }
    }

    /// Near this node of this datacenter.
    pub fn in_datacenter(datacenter: impl Into<String>, name: impl Into<String>) -> Self {
        Self { datacenter: datacenter.into(), node: name.into() }
    }

    /// What an HTTP request says.
    pub fn parse(request: &Request) -> Self {
        let node = match request.params.text("near") {
            "" => return Self::default(),
            Self::AGENT => request.agent.node.as_str(),
            name => name,
        };
        Self::in_datacenter(request.agent.datacenter.as_str(), node)
    }

    /// What another agent says: nothing is near a node without its datacenter.
    pub(crate) fn of_source(source: QuerySource) -> Self {
        match source.datacenter.is_empty() || source.node.is_empty() {
            true => Self::default(),
            false => Self::in_datacenter(source.datacenter, source.node),
        }
    }

    /// The same for another server.
    pub(crate) fn to_source(&self) -> QuerySource {
        let Self { datacenter, node } = self.clone();
        QuerySource { datacenter, node, ..QuerySource::default() }
    }

    /// Puts the rows in order, as [`sort_by_round_trip`] does.
    ///
    /// The reader notes that the order came from the coordinates, so a kept answer is not
    /// kept beyond their next change. Callers must leave their index out of the answer's
    /// index: as in Consul, nobody who waits is woken by a mere change of order.
    pub fn sort<R>(&self, reader: &mut Reader<'_>, rows: &mut [R], node: impl Fn(&R) -> &str) {
        if self.node.is_empty() {
            return;
        }
        reader.index_of(COORDINATES.name);
        let state = reader.unwatched();
        if self.is_here(state) {
            sort_by_round_trip(state, &self.node, rows, node);
        }
    }

    fn is_here(&self, state: &State) -> bool {
        self.datacenter.is_empty()
            || state
                .peek(&NODES, node_key(&self.node).as_bytes())
                .is_none_or(|node| node.datacenter == self.datacenter.as_str())
    }
}

/// Puts rows in the order of the estimated round trip between `from` and the node that each
/// of them is about; equally near rows stay in order, and those whose distance is not known
/// come last. Without a coordinate of `from` the rows stay as they are.
pub fn sort_by_round_trip<R>(state: &State, from: &str, rows: &mut [R], node: impl Fn(&R) -> &str) {
    let from = coordinates(state, from);
    if from.is_empty() {
        return;
    }
    // No round trip is that long: its nanoseconds fit 64 bits.
    let unknown = Duration::MAX;
    rows.sort_by_cached_key(|row| round_trip(state, &from, node(row)).unwrap_or(unknown));
}

/// The round trip by the first segment that has coordinates of both.
fn round_trip(state: &State, from: &[&NodeCoordinate], to: &str) -> Option<Duration> {
    coordinates(state, to).into_iter().find_map(|to| {
        let from = from.iter().find(|from| from.segment == to.segment)?;
        from.coord.as_ref()?.round_trip_to(to.coord.as_ref()?)
    })
}

fn coordinates<'s>(state: &'s State, node: &str) -> Vec<&'s NodeCoordinate> {
    state.peek_prefix(&COORDINATES, node_key(node).as_bytes()).collect()
}
