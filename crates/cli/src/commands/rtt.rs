//! `consul rtt` (`reference/cli.md` section 13).

use client::{Client, QueryOptions};
use types::coordinate::{Coordinate, NodeCoordinate};

use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::{Flag, quote};

pub(super) const COMMAND: Command = Command {
    words: "rtt",
    synopsis: "Estimate the round trip between two nodes",
    usage: "rtt [options] node1 [node2]",
    help: "Estimates by network coordinates how long a packet takes from one node to another\n\
           and back. Without a second node it is the one of the agent asked.\n\n\
           \x20   $ consul rtt web-1 db-1\n\
           \x20   $ consul rtt -wan server-1.dc1 server-1.dc2",
    api: ApiFlags::C,
    flags: || {
        vec![Flag::bool(
            "wan",
            "Servers of any datacenter by the coordinates of the WAN pool, as node.datacenter.",
        )]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let nodes = call.arguments.words.clone();
    if nodes.is_empty() || nodes.len() > 2 {
        return Err(Failure::with_help("One or two node names must be specified"));
    }
    let client = call.client()?;
    let (source, first, second) = if call.arguments.bool("wan") {
        let (first, second) = in_wan(&client, &nodes).await?;
        ("WAN", first, second)
    } else {
        let (first, second) = in_lan(&client, &nodes).await?;
        ("LAN", first, second)
    };
    let round_trip = first.coord.round_trip_to(&second.coord).ok_or_else(|| {
        Failure::new(format!(
            "The coordinates of {} and {} have not the same dimensions",
            quote(&first.name),
            quote(&second.name)
        ))
    })?;
    call.ui.output(format!(
        "Estimated {} <-> {} rtt: {:.3} ms (using {source} coordinates)",
        first.name,
        second.name,
        round_trip.as_secs_f64() * 1000.0
    ));
    Ok(0)
}

/// A node as it was named, and where it is.
struct Placed {
    name: String,
    coord: Coordinate,
}

async fn in_lan(client: &Client, nodes: &[String]) -> Result<(Placed, Placed), Failure> {
    let second = match nodes.get(1) {
        Some(node) => node.clone(),
        None => own_node(client).await?,
    };
    let rows = client.coordinate().nodes(&QueryOptions::default()).await;
    let rows = rows.tried("Error getting coordinates")?.rows;
    let place = |name: String| match find(&rows, &name) {
        Some(coord) => Ok(Placed { name, coord }),
        None => Err(not_placed(&name)),
    };
    Ok((place(nodes[0].clone())?, place(second)?))
}

async fn in_wan(client: &Client, nodes: &[String]) -> Result<(Placed, Placed), Failure> {
    let first = nodes[0].clone();
    let second = match nodes.get(1) {
        Some(node) => node.clone(),
        None => own_server(client).await?,
    };
    let (first_parts, second_parts) = (split(&first)?, split(&second)?);
    let maps = client.coordinate().datacenters().await.tried("Error getting coordinates")?;
    let find = |(node, datacenter): (&str, &str)| {
        let map = maps.iter().find(|map| map.datacenter == datacenter)?;
        Some((map.area_id.as_str(), find(&map.coordinates, node)?))
    };
    match (find(first_parts), find(second_parts)) {
        // What two pools measured cannot be compared.
        (Some((area, from)), Some((same, to))) if area == same => {
            Ok((Placed { name: first, coord: from }, Placed { name: second, coord: to }))
        }
        // Consul names the first, whichever it is.
        _ => Err(not_placed(&first)),
    }
}

fn split(name: &str) -> Result<(&str, &str), Failure> {
    let parts = name.split_once('.').filter(|(_, datacenter)| !datacenter.contains('.'));
    parts.ok_or_else(|| {
        Failure::new("Node names must be specified as <node name>.<datacenter> with -wan")
    })
}

fn find(rows: &[NodeCoordinate], node: &str) -> Option<Coordinate> {
    rows.iter().find(|row| row.node == node)?.coord.clone()
}

fn not_placed(name: &str) -> Failure {
    Failure::new(format!("Could not find a coordinate for node {}", quote(name)))
}

/// The node of the agent that is asked.
async fn own_node(client: &Client) -> Result<String, Failure> {
    own(client, &["NodeName"]).await
}

/// The agent that is asked as the WAN pool names it.
async fn own_server(client: &Client) -> Result<String, Failure> {
    own(client, &["NodeName", "Datacenter"]).await
}

async fn own(client: &Client, keys: &[&str]) -> Result<String, Failure> {
    let facts = client.agent_self().await.tried("Unable to look up agent info")?;
    let texts: Option<Vec<&str>> = keys.iter().map(|key| facts["Config"][key].as_str()).collect();
    let texts = texts.ok_or_else(|| Failure::new("Agent did not return its name"))?;
    Ok(texts.join("."))
}
