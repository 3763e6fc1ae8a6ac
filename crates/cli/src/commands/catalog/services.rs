//! `consul catalog services`.

use std::collections::{BTreeMap, BTreeSet};

use client::{Client, Error, QueryOptions};

use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Outcome, Tried as _, at_most};
use crate::flag::Flag;

const COMPLAINT: &str = "Error listing services";

pub(in crate::commands) const COMMAND: Command = Command {
    words: "catalog services",
    synopsis: "List services",
    usage: "catalog services [options]",
    help: "Prints the names of the services in the catalog.\n\n\
           \x20   $ consul catalog services -tags\n\
           \x20   $ consul catalog services -node=web-1",
    api: ApiFlags::CSN,
    flags: || {
        vec![
            Flag::text("node", "Only services of this node, by its name or id."),
            Flag::map(
                "node-meta",
                "Only services on nodes with this metadata, key=value. May be repeated.",
            ),
            Flag::bool("tags", "Print the tags of each service too."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    at_most(&call.arguments.words, 0)?;
    let client = call.client()?;
    let options =
        QueryOptions { node_meta: call.arguments.map("node-meta"), ..call.query_options() };
    let services =
        services(&client, call.arguments.text("node"), &options).await.tried(COMPLAINT)?;
    if services.is_empty() {
        call.ui.error("No services match the given query - try expanding your search.");
        return Ok(0);
    }
    let width = services.keys().map(|name| name.chars().count()).max().unwrap_or(0) + 6;
    let with_tags = call.arguments.bool("tags");
    let lines: Vec<String> = services
        .into_iter()
        .map(|(name, tags)| {
            if !with_tags {
                return name;
            }
            let tags: Vec<String> = tags.into_iter().collect();
            format!("{name:width$}{}", tags.join(","))
        })
        .collect();
    // Consul trims what it prints as a whole, and so the last line alone.
    call.ui.output(lines.join("\n").trim_end());
    Ok(0)
}

/// The services of the catalog or of one node, with their tags.
async fn services(
    client: &Client,
    node: &str,
    options: &QueryOptions,
) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
    let mut services: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    if node.is_empty() {
        for (name, tags) in client.catalog_services(options).await?.rows {
            services.entry(name).or_default().extend(tags);
        }
    } else if let Some(found) = client.catalog_node(node, options).await?.rows {
        for instance in found.services.into_values() {
            let tags = services.entry(instance.service.as_str().to_owned()).or_default();
            tags.extend(instance.tags);
        }
    }
    Ok(services)
}
