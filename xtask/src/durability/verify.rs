//! Reading everything back and comparing it with what the writers know.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::item::{Fate, Item, Sighting, Stamp};
use super::writer::{Entry, PREFIX, SERVICE, Writer};
use crate::live::http::Connection;

/// Reads that are compared from one restart to the next.
const QUERIES: [&str; 4] = [
    "/v1/kv/durability/?recurse&consistent",
    "/v1/catalog/nodes",
    "/v1/catalog/service/durable",
    "/v1/health/checks/durable",
];

/// Remembers the index of each query.
#[derive(Debug, Default)]
pub(super) struct Verifier {
    indexes: [u64; QUERIES.len()],
    /// Writes without an answer that took effect.
    pub(super) whole: u64,
    /// Those that did not.
    pub(super) absent: u64,
}

impl Verifier {
    /// Reads everything and compares.
    ///
    /// # Errors
    /// What was lost, or is otherwise wrong.
    pub(super) fn verify(
        &mut self,
        address: SocketAddr,
        writers: &mut [Writer],
    ) -> anyhow::Result<()> {
        let mut connection = Connection::open(address)?;
        let mut keys = self.keys(&mut connection)?;
        let mut nodes = self.nodes(&mut connection)?;
        for writer in writers {
            self.meet(&mut writer.keys, &mut keys)?;
            self.meet(&mut writer.nodes, &mut nodes)?;
        }
        ensure!(keys.is_empty(), "keys that nobody wrote: {:?}", keys.keys());
        ensure!(nodes.is_empty(), "nodes that nobody registered: {:?}", nodes.keys());
        Ok(())
    }

    fn meet(
        &mut self,
        items: &mut [Item],
        found: &mut BTreeMap<String, Sighting>,
    ) -> anyhow::Result<()> {
        for item in items {
            let sighting = found.remove(&item.name);
            match item.meet(sighting).map_err(anyhow::Error::msg)? {
                Fate::NoneInFlight => {}
                Fate::Whole => self.whole += 1,
                Fate::Absent => self.absent += 1,
            }
        }
        Ok(())
    }

    fn keys(&mut self, connection: &mut Connection) -> anyhow::Result<BTreeMap<String, Sighting>> {
        let (index, entries) = self.read::<Entry>(connection, 0)?;
        let mut found = BTreeMap::new();
        for entry in entries {
            ensure!(entry.key.starts_with(PREFIX), "{} does not start with {PREFIX}", entry.key);
            let sighting = entry.sighting().map_err(anyhow::Error::msg)?;
            ensure!(sighting.modify <= index, "{} is newer than X-Consul-Index {index}", entry.key);
            found.insert(entry.key, sighting);
        }
        Ok(found)
    }

    /// A node counts with its service and checks, which one request registers: all of them
    /// must tell of the same write.
    fn nodes(&mut self, connection: &mut Connection) -> anyhow::Result<BTreeMap<String, Sighting>> {
        let (_, nodes) = self.read::<Node>(connection, 1)?;
        let (index, services) = self.read::<Service>(connection, 2)?;
        let (_, checks) = self.read::<Check>(connection, 3)?;
        let mut outputs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for check in checks {
            outputs.entry(check.node).or_default().push(check.output);
        }
        let mut stamps: BTreeMap<String, String> = nodes
            .into_iter()
            .filter_map(|node| Some((node.node, node.meta?.remove("stamp")?)))
            .collect();
        let mut found = BTreeMap::new();
        for service in services {
            let name = service.node;
            let text = service.service_meta.get("stamp").cloned().unwrap_or_default();
            let (node, checks) = (stamps.remove(&name), outputs.remove(&name));
            let is_whole = node.as_ref() == Some(&text)
                && checks.as_ref().is_some_and(|checks| *checks == [text.clone(), text.clone()]);
            ensure!(
                is_whole,
                "{name} is there in part: service {text}, node {node:?}, checks {checks:?}"
            );
            ensure!(service.modify_index <= index, "{name} is newer than X-Consul-Index {index}");
            let stamp = Stamp::parse(&text).with_context(|| format!("{name} has no stamp"))?;
            let (create, modify) = (service.create_index, service.modify_index);
            found.insert(name, Sighting { stamp, create, modify });
        }
        ensure!(stamps.is_empty(), "nodes without their service {SERVICE}: {stamps:?}");
        ensure!(outputs.is_empty(), "checks without their service {SERVICE}: {outputs:?}");
        Ok(found)
    }

    fn read<Row: DeserializeOwned>(
        &mut self,
        connection: &mut Connection,
        query: usize,
    ) -> anyhow::Result<(u64, Vec<Row>)> {
        let target = QUERIES[query];
        let answer = connection.ask("GET", target, b"").context(target)?;
        let before = std::mem::replace(&mut self.indexes[query], answer.index);
        let index = answer.index;
        ensure!(index >= before, "X-Consul-Index of {target} went from {before} to {index}");
        match answer.status {
            404 => Ok((index, Vec::new())),
            200 => Ok((index, serde_json::from_slice(&answer.body).context(target)?)),
            status => bail!("{target} was answered with {status} {:?}", answer.text()),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    node: String,
    meta: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    node: String,
    service_meta: BTreeMap<String, String>,
    create_index: u64,
    modify_index: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    node: String,
    output: String,
}
