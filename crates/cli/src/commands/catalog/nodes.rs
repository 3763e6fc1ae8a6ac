//! `consul catalog nodes`.

use std::collections::BTreeSet;

use client::{Client, Error, QueryOptions};
use types::catalog::{Meta, Node};

use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Outcome, Tried as _, at_most};
use crate::flag::Flag;
use crate::table::{row, table};

const COMPLAINT: &str = "Error listing nodes";

pub(in crate::commands) const COMMAND: Command = Command {
    words: "catalog nodes",
    synopsis: "List nodes",
    usage: "catalog nodes [options]",
    help: "Prints the nodes of the catalog as a table.\n\n\
           \x20   $ consul catalog nodes -service=web\n\
           \x20   $ consul catalog nodes -filter='Meta.rack == r7'",
    api: ApiFlags::CSP,
    flags: || {
        vec![
            Flag::bool("detailed", "Print whole ids, all addresses and the metadata too."),
            Flag::text(
                "filter",
                "Only nodes for which this expression holds; @FILE and - are read.",
            )
            .word("value"),
            Flag::text(
                "near",
                "Sort by the round trip from this node; _agent for the agent asked.",
            ),
            Flag::map("node-meta", "Only nodes with this metadata, key=value. May be repeated."),
            Flag::text("service", "Only nodes with an instance of this service."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    at_most(&call.arguments.words, 0)?;
    let filter = call.arguments.text("filter").to_owned();
    let filter = call.data(&filter)?;
    let client = call.client()?;
    let options = QueryOptions {
        near: call.arguments.text("near").to_owned(),
        node_meta: call.arguments.map("node-meta"),
        filter: String::from_utf8_lossy(&filter).into_owned(),
        ..call.query_options()
    };
    let nodes = nodes(&client, call.arguments.text("service"), &options).await.tried(COMPLAINT)?;
    if nodes.is_empty() {
        call.ui.error("No nodes match the given query - try expanding your search.");
        return Ok(0);
    }
    let detailed = call.arguments.bool("detailed");
    call.ui.output(table(&rows(&nodes, detailed)));
    Ok(0)
}

/// All nodes, or those with an instance of the service, each once.
async fn nodes(client: &Client, service: &str, options: &QueryOptions) -> Result<Vec<Node>, Error> {
    if service.is_empty() {
        return Ok(client.catalog_nodes(options).await?.rows);
    }
    let mut seen = BTreeSet::new();
    let instances = client.catalog_service(service, options).await?.rows;
    let nodes = instances.into_iter().filter(|instance| seen.insert(instance.node.clone()));
    Ok(nodes
        .map(|instance| Node {
            id: instance.id,
            node: instance.node,
            address: instance.address,
            datacenter: instance.datacenter,
            tagged_addresses: instance.tagged_addresses,
            meta: instance.node_meta,
            ..Node::default()
        })
        .collect())
}

fn rows(nodes: &[Node], detailed: bool) -> Vec<Vec<String>> {
    let mut rows = vec![row(["Node", "ID", "Address", "DC"])];
    if detailed {
        rows[0].extend(row(["TaggedAddresses", "Meta"]));
    }
    for node in nodes {
        let id = node.id.as_str();
        let short = id.split('-').next().unwrap_or_default();
        let id = if detailed { id } else { short };
        let mut cells =
            row([node.node.as_str(), id, node.address.as_str(), node.datacenter.as_str()]);
        if detailed {
            cells.extend([pairs(&node.tagged_addresses), pairs(&node.meta)]);
        }
        rows.push(cells);
    }
    rows
}

fn pairs(map: &Meta) -> String {
    let pairs: Vec<String> =
        map.iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(", ")
}
