//! `/v1/coordinate/`, but for the coordinates of other datacenters, which the agent knows
//! from gossip.

use contract::{Call, CallError, ErrorKind, Request, Response, Route, Verb};

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
    let query = CoordinatesOfNodes { segment: segment(request) };
    Ok(Call::read(query, options).with_facts_of_errors())
}

/// 404 for a node that has none, an empty name included.
fn node(request: &Request) -> Result<Call, CallError> {
    refuse_if_off(request)?;
    let options = request.read_options()?;
    let query = CoordinatesOfNode { node: request.tail.clone(), segment: segment(request) };
    let call = Call::read_with(query, options, |rows, encoding| match rows.as_slice() {
        [] => Response::not_found(),
        rows => Response::json(rows, encoding),
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

fn segment(request: &Request) -> Option<String> {
    request.params.get("segment").map(str::to_owned)
}

fn refuse_if_off(request: &Request) -> Result<(), CallError> {
    if request.agent.coordinates {
        return Ok(());
    }
    Err(CallError::new(ErrorKind::Disabled, "Coordinate support disabled"))
}
