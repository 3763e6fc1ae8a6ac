//! `/v1/coordinate/`, but for the coordinates of other datacenters, which the agent knows
//! from gossip.

use std::sync::Arc;

use contract::{Call, CallError, ErrorKind, Request, Response, Route, Verb};
use types::coordinate::NodeCoordinate;

use super::command::CoordinateUpdate;
use super::query::{CoordinatesOfNode, CoordinatesOfNodes};

pub(super) const ROUTES: &[Route] = &[
    Route { path: "/v1/coordinate/nodes", verbs: &[Verb::get(nodes)] },
    Route { path: "/v1/coordinate/node/", verbs: &[Verb::get(node)] },
    Route { path: "/v1/coordinate/update", verbs: &[Verb::put(update)] },
];

fn nodes(request: &Request) -> Result<Call, CallError> {
    refuse_if_off(request)?;
    let options = request.read_options()?;
    let call = match segment(request) {
        None => Call::read(CoordinatesOfNodes, options),
        Some(segment) => Call::read_with(CoordinatesOfNodes, options, move |rows, encoding| {
            Response::json(&of_segment(rows, Some(&segment)), encoding)
        }),
    };
    Ok(call.with_facts_of_errors())
}

/// 404 for a node that has none, an empty name included.
fn node(request: &Request) -> Result<Call, CallError> {
    refuse_if_off(request)?;
    let options = request.read_options()?;
    let query = CoordinatesOfNode { node: request.tail.clone() };
    let segment = segment(request);
    let call = Call::read_with(query, options, move |rows, encoding| {
        match of_segment(rows, segment.as_deref()).as_slice() {
            [] => Response::not_found(),
            rows => Response::json(rows, encoding),
        }
    });
    Ok(call.with_facts_of_errors().bare_if_not_found())
}

fn update(request: &Request) -> Result<Call, CallError> {
    refuse_if_off(request)?;
    let mut body: CoordinateUpdate = request.json("Request decode failed: ")?;
    if body.datacenter.is_empty() {
        body.datacenter = request.datacenter();
    }
    Ok(Call::write_then_nothing(body, &request.token))
}

/// The rows of a segment, or of all.
pub(super) fn of_segment<'r>(
    rows: &'r [Arc<NodeCoordinate>],
    segment: Option<&str>,
) -> Vec<&'r NodeCoordinate> {
    let fits = |row: &&NodeCoordinate| segment.is_none_or(|segment| row.segment == segment);
    rows.iter().map(|row| &**row).filter(fits).collect()
}

fn segment(request: &Request) -> Option<String> {
    request.params.get("segment").map(str::to_owned)
}

fn refuse_if_off(request: &Request) -> Result<(), CallError> {
    if request.agent.coordinates {
        return Ok(());
    }
    Err(CallError::new(ErrorKind::Disabled, "Coordinate support disabled"))
}
