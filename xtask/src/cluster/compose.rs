//! The topology of `deploy/compose/compose.yaml`: each service is an agent in a network
//! namespace of its own, and finds the others by host name, also by one that means nothing
//! at first, and when all come back with other addresses.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use crate::live::cluster::Cluster;
use crate::live::network::{Host, Network};

const FILE: &str = "deploy/compose/compose.yaml";

/// Long enough for a busy machine and the retries of an agent that joins.
const SOON: Duration = Duration::from_secs(90);

/// What the entry point of the image adds; an agent tries again sooner than by default.
const ADDED: &[&str] = &["-retry-interval=1s"];

/// A service of the file.
#[derive(Debug)]
struct Service {
    host_name: String,
    /// What follows `agent`.
    words: Vec<String>,
}

pub(super) fn run(
    root: &Path,
    consul: &Path,
    folder: &Path,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<()> {
    let services = read(&fs::read_to_string(root.join(FILE))?)?;
    ensure!(services.len() > 3, "{FILE} has {} services", services.len());
    let network = match Network::namespaces(&mut fastrand::Rng::new()) {
        Ok(network) => network,
        Err(reason) => {
            say(&format!("the compose topology is left out: {reason}\n"));
            return Ok(());
        }
    };
    let start = Instant::now();
    let mut say = |text: &str| say(&format!("{:6.1} s  {text}\n", start.elapsed().as_secs_f64()));
    let mut cluster = Cluster::new(network, folder);
    for service in &services {
        let words: Vec<&str> = service.words.iter().map(String::as_str).collect();
        cluster.add(&service.host_name, consul, &[&words, ADDED].concat())?;
    }
    let count = cluster.machines.len();

    // The last server's name means nothing yet, as that of a container that is not there yet.
    let late = cluster.machines.iter().rposition(|machine| machine.is_server());
    let late = late.context("the file has no servers")?;
    set_names(&cluster, Some(late))?;
    for machine in (0..count).filter(|machine| *machine != late) {
        cluster.machines[machine].start()?;
    }
    members_are(&mut cluster, 0, count - 1)?;
    set_names(&cluster, None)?;
    cluster.machines[late].start()?;
    for machine in 0..count {
        members_are(&mut cluster, machine, count)?;
    }
    cluster.until_leader(SOON)?;
    let last = count - 1;
    cluster.until(last, "/v1/catalog/nodes", SOON, |nodes| {
        nodes.as_array().is_some_and(|nodes| nodes.len() == count)
    })?;
    cluster.machines[last].must("PUT", "/v1/kv/compose", b"up")?;
    say(&format!("{count} containers found each other by name, one of them late"));

    for machine in &mut cluster.machines {
        machine.kill()?;
    }
    for machine in 0..count {
        let mut host = cluster.machines[machine].host.clone();
        cluster.network.change_address(&mut host)?;
        cluster.machines[machine].host = host;
    }
    set_names(&cluster, None)?;
    cluster.start_all()?;
    cluster.until_leader(SOON)?;
    for machine in 0..count {
        members_are(&mut cluster, machine, count)?;
    }
    addresses_are_new(&mut cluster)?;
    let kept = cluster.machines[last].must("GET", "/v1/kv/compose?raw", b"")?;
    ensure!(kept.text() == "up", "the key is {:?}", kept.text());
    cluster.machines[last].must("PUT", "/v1/kv/compose", b"up again")?;
    say("all came back with other addresses and healed by themselves");
    Ok(())
}

/// Tells all hosts the names of all others but one.
fn set_names(cluster: &Cluster, without: Option<usize>) -> anyhow::Result<()> {
    let named: Vec<&Host> = cluster
        .machines
        .iter()
        .enumerate()
        .filter(|(number, _)| Some(*number) != without)
        .map(|(_, machine)| &machine.host)
        .collect();
    for machine in &cluster.machines {
        cluster.network.set_names(&machine.host, &named)?;
    }
    Ok(())
}

fn members_are(cluster: &mut Cluster, machine: usize, count: usize) -> anyhow::Result<()> {
    cluster.until(machine, "/v1/agent/members", SOON, |members| {
        members.as_array().is_some_and(|members| {
            members.len() == count && members.iter().all(|member| member["Status"] == 1)
        })
    })?;
    Ok(())
}

/// Everybody is told where the servers of the quorum are, and not where they were.
fn addresses_are_new(cluster: &mut Cluster) -> anyhow::Result<()> {
    let servers = cluster.machines.iter().filter(|machine| machine.is_server());
    let mut addresses: Vec<String> =
        servers.map(|server| format!("{}:8300", server.host.address)).collect();
    addresses.sort_unstable();
    for machine in 0..cluster.machines.len() {
        cluster.until(machine, "/v1/status/leader", SOON, |leader| {
            leader.as_str().is_some_and(|leader| addresses.iter().any(|known| known == leader))
        })?;
        cluster.until(machine, "/v1/status/peers", SOON, |peers| {
            let peers = peers.as_array().into_iter().flatten().filter_map(Value::as_str);
            let mut peers: Vec<&str> = peers.collect();
            peers.sort_unstable();
            peers == addresses
        })?;
    }
    let listed = cluster.machines[0].command(&["operator", "raft", "list-peers"])?;
    for address in &addresses {
        ensure!(listed.contains(address.as_str()), "{address} is not listed:\n{listed}");
    }
    Ok(())
}

/// The agents that the file starts.
fn read(text: &str) -> anyhow::Result<Vec<Service>> {
    let documents = YamlLoader::load_from_str(text).context(FILE)?;
    let services = documents.first().and_then(|document| document["services"].as_hash());
    let services = services.with_context(|| format!("{FILE} has no services"))?;
    let mut read = Vec::new();
    for (name, service) in services {
        let name = name.as_str().unwrap_or_default();
        let host_name = service["hostname"].as_str().unwrap_or(name).to_owned();
        let words = service["command"].as_vec().map(Vec::as_slice).unwrap_or_default();
        let words: Vec<&str> = words.iter().filter_map(Yaml::as_str).collect();
        let ["agent", words @ ..] = words.as_slice() else {
            bail!("{FILE}: the service {name} does not start an agent");
        };
        // It runs where nobody else can reach it; the test gives it its address.
        let words = words.iter().filter(|word| !word.starts_with("-client="));
        read.push(Service { host_name, words: words.map(|word| (*word).to_owned()).collect() });
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_of_a_compose_file_are_read_through_its_anchors() {
        let text = "x-c: &c [agent, -server, -client=0.0.0.0]\n\
                    services:\n  a:\n    hostname: one\n    command: *c\n  b: {command: [agent]}\n";
        let services = read(text).unwrap();
        let found: Vec<_> =
            services.iter().map(|s| (s.host_name.as_str(), s.words.join(" "))).collect();
        assert_eq!(found, [("one", "-server".to_owned()), ("b", String::new())]);
        assert!(read(&text.replace("[agent]", "[echo]")).is_err());
    }
}
