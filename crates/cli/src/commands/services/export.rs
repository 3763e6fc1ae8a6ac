//! `consul services export`.

use client::{Client, Error};
use serde_json::{Value, json};

use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::{Flag, quote};

/// The configuration entry that holds all exports, and its only name.
const KIND: &str = "exported-services";
const NAME: &str = "default";

pub(in crate::commands) const COMMAND: Command = Command {
    words: "services export",
    synopsis: "Share a service with other clusters",
    usage: "services export [options] -name SERVICE -consumer-peers PEER,...",
    help: "Adds a service to the configuration entry exported-services, so that cluster\n\
           peers may use it. Who may use it already keeps that.\n\n\
           \x20   $ consul services export -name=web -consumer-peers=east,west",
    api: ApiFlags::CN,
    flags: || {
        vec![
            Flag::text(
                "consumer-partitions",
                "Enterprise: admin partitions that may use the service, with commas between.",
            ),
            Flag::text(
                "consumer-peers",
                "Cluster peers that may use the service, with commas between.",
            ),
            Flag::text("name", "Name of the service."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let service = call.arguments.text("name").to_owned();
    let peers = call.arguments.text("consumer-peers").to_owned();
    let partitions = call.arguments.text("consumer-partitions").to_owned();
    if service.is_empty() {
        return Err(Failure::new("Missing the required -name flag"));
    }
    if peers.is_empty() && partitions.is_empty() {
        let text = "Missing the required -consumer-peers or -consumer-partitions flag";
        return Err(Failure::new(text));
    }
    let client = call.client_or("Error connect to Consul agent")?;
    let (mut entry, index) = entry(&client).await.tried("Error reading config entry")?;
    add_consumers(&mut entry, &service, "Peer", &peers);
    add_consumers(&mut entry, &service, "Partition", &partitions);
    let complaint = format!("Error writing config entry {KIND}/{NAME}");
    if !client.config_entry_put(&entry, Some(index)).await.tried(&complaint)? {
        return Err(Failure::new(format!("Config entry not updated: {KIND}/{NAME}")));
    }
    let service = quote(&service);
    let text = match (peers.as_str(), partitions.as_str()) {
        (peers, "") => format!("to cluster peers {}", quote(peers)),
        ("", partitions) => format!("to partitions {}", quote(partitions)),
        (peers, partitions) => {
            format!("to cluster peers {} and to partitions {}", quote(peers), quote(partitions))
        }
    };
    call.ui.output(format!("Successfully exported service {service} {text}"));
    Ok(0)
}

/// The configuration entry and its index; a new one with index 0.
async fn entry(client: &Client) -> Result<(Value, u64), Error> {
    match client.config_entry_get(KIND, NAME, &client::QueryOptions::default()).await {
        Ok(found) => {
            let index = found.rows["ModifyIndex"].as_u64().unwrap_or(0);
            Ok((found.rows, index))
        }
        Err(error) if error.status() == Some(404) => {
            Ok((json!({"Kind": KIND, "Name": NAME, "Services": []}), 0))
        }
        Err(error) => Err(error),
    }
}

/// Adds each of `names`, with commas between, to the consumers of the service.
fn add_consumers(entry: &mut Value, service: &str, kind: &str, names: &str) {
    if !entry["Services"].is_array() {
        entry["Services"] = json!([]);
    }
    let Some(services) = entry["Services"].as_array_mut() else { return };
    let position = services.iter().position(|listed| listed["Name"] == service);
    let position = position.unwrap_or_else(|| {
        services.push(json!({"Name": service, "Consumers": []}));
        services.len() - 1
    });
    if !services[position]["Consumers"].is_array() {
        services[position]["Consumers"] = json!([]);
    }
    let Some(consumers) = services[position]["Consumers"].as_array_mut() else { return };
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if !consumers.iter().any(|consumer| consumer[kind] == name) {
            consumers.push(json!({kind: name}));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_are_added_once_and_others_stay() {
        let mut entry = json!({"Kind": KIND, "Name": NAME, "Services": [
            {"Name": "web", "Consumers": [{"Peer": "east"}, {"Partition": "p"}]},
        ]});
        add_consumers(&mut entry, "web", "Peer", "east, west,");
        add_consumers(&mut entry, "api", "Peer", "east");
        assert_eq!(
            entry["Services"],
            json!([
                {"Name": "web", "Consumers": [{"Peer": "east"}, {"Partition": "p"}, {"Peer": "west"}]},
                {"Name": "api", "Consumers": [{"Peer": "east"}]},
            ])
        );
    }
}
