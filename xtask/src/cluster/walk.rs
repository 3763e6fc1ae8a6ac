//! The walk of a new operator: three servers and two clients find each other, a server is
//! lost and replaced, an agent is stopped and one is killed. `members` and the catalog show
//! at each step what they would with real Consul.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rustix::process::Signal;
use serde_json::Value;

use crate::live::cluster::Cluster;
use crate::live::network::Network;

/// Long enough for a busy machine; nothing here waits longer than it must.
const SOON: Duration = Duration::from_secs(60);

const QUICK: &str = "-hcl=performance { raft_multiplier = 1 }";

pub(super) fn run(consul: &Path, folder: &Path, say: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut say = |text: &str| say(&format!("{:6.1} s  {text}\n", start.elapsed().as_secs_f64()));
    let mut cluster = Cluster::new(Network::loopback(&mut fastrand::Rng::new()), folder);
    cluster.add_servers(3, consul, &[QUICK])?;
    let one = cluster.add("client1", consul, &[])?;
    let two = cluster.add("client2", consul, &[])?;
    cluster.join_by_address(0);
    cluster.start_all()?;

    let all = ["client1", "client2", "server1", "server2", "server3"];
    for machine in 0..cluster.machines.len() {
        members_are(&mut cluster, machine, &all.map(|name| (name, "alive")))?;
    }
    nodes_are(&mut cluster, one, &all)?;
    voters_are(&mut cluster, two, &["server1", "server2", "server3"])?;
    for machine in &cluster.machines {
        machine.must("PUT", &format!("/v1/kv/{}", machine.host.name), b"was here")?;
    }
    for machine in &cluster.machines {
        for name in all {
            let value = machine.must("GET", &format!("/v1/kv/{name}?raw"), b"")?;
            ensure!(value.text() == "was here", "{} reads {:?}", machine.host.name, value.text());
        }
    }
    say("three servers and two clients found each other; each reads what each wrote");

    // The leader, as the worse of the two.
    let lost = cluster.until_leader(SOON)?;
    let lost_name = cluster.machines[lost].host.name.clone();
    cluster.machines[lost].kill()?;
    let seen_by = if lost == 0 { 1 } else { 0 };
    member_is(&mut cluster, seen_by, &lost_name, "failed")?;
    health_is(&mut cluster, two, &lost_name, "critical")?;
    cluster.machines[two].must("PUT", "/v1/kv/after", b"survived")?;
    say(&format!("{lost_name}, the leader, was killed: it has failed, and writes go on"));

    let new = cluster.add("server4", consul, &["-server", "-bootstrap-expect=3", QUICK])?;
    cluster.join_by_address(0);
    cluster.machines[new].start()?;
    let servers = ["server1", "server2", "server3", "server4"];
    let remaining: Vec<&str> = servers.into_iter().filter(|name| *name != lost_name).collect();
    voters_are(&mut cluster, one, &remaining)?;
    member_is(&mut cluster, one, &lost_name, "left")?;
    let mut nodes = [&["client1", "client2"][..], &remaining].concat();
    nodes_are(&mut cluster, one, &nodes)?;
    let survived = cluster.machines[new].must("GET", "/v1/kv/after?stale&raw", b"")?;
    ensure!(survived.text() == "survived", "server4 has {:?}", survived.text());
    say("server4 took its place: it votes, and the lost server is gone from Raft and catalog");

    cluster.machines[one].signal(Signal::INT)?;
    let status = cluster.machines[one].until_ended(SOON)?;
    ensure!(status.success(), "client1 ended with {status}");
    member_is(&mut cluster, two, "client1", "left")?;
    nodes.retain(|name| *name != "client1");
    nodes_are(&mut cluster, two, &nodes)?;
    say("client1 was stopped by Ctrl-C: it has left, and its node is gone");

    cluster.machines[two].kill()?;
    member_is(&mut cluster, new, "client2", "failed")?;
    health_is(&mut cluster, new, "client2", "critical")?;
    nodes_are(&mut cluster, new, &nodes)?;
    say("client2 was killed: it has failed, and its node stays, critical");

    cluster.machines[two].start()?;
    member_is(&mut cluster, new, "client2", "alive")?;
    health_is(&mut cluster, new, "client2", "passing")?;
    say("client2 is back");
    Ok(())
}

/// The lines of `consul members` as name and status.
fn members(cluster: &Cluster, machine: usize) -> anyhow::Result<Vec<(String, String)>> {
    let printed = cluster.machines[machine].command(&["members"])?;
    let mut members = Vec::new();
    for line in printed.lines().skip(1) {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(_), Some(status)) = (words.next(), words.next(), words.next()) {
            members.push((name.to_owned(), status.to_owned()));
        }
    }
    members.sort();
    Ok(members)
}

fn members_are(
    cluster: &mut Cluster,
    machine: usize,
    wanted: &[(&str, &str)],
) -> anyhow::Result<()> {
    let count = wanted.len();
    cluster.until(machine, "/v1/agent/members", SOON, |members| {
        let alive = |member: &&Value| member["Status"] == 1;
        members.as_array().is_some_and(|members| members.iter().filter(alive).count() == count)
    })?;
    let seen = members(cluster, machine)?;
    let wanted: Vec<_> =
        wanted.iter().map(|(name, status)| ((*name).to_owned(), (*status).to_owned())).collect();
    let name = &cluster.machines[machine].host.name;
    ensure!(seen == wanted, "{name} shows the members {seen:?}, not {wanted:?}");
    Ok(())
}

/// Waits until an agent sees a member so, and has its command line say so.
fn member_is(
    cluster: &mut Cluster,
    machine: usize,
    member: &str,
    wanted: &str,
) -> anyhow::Result<()> {
    let number = match wanted {
        "alive" => 1,
        "leaving" => 2,
        "left" => 3,
        _ => 4,
    };
    cluster.until(machine, "/v1/agent/members", SOON, |members| {
        let mut members = members.as_array().into_iter().flatten();
        members.any(|row| row["Name"] == member && row["Status"] == number)
    })?;
    let seen = members(cluster, machine)?;
    let has = seen.iter().any(|(name, status)| name == member && status == wanted);
    ensure!(has, "{member} should be {wanted}: {seen:?}");
    Ok(())
}

fn nodes_are(cluster: &mut Cluster, machine: usize, wanted: &[&str]) -> anyhow::Result<()> {
    let mut wanted: Vec<&str> = wanted.to_vec();
    wanted.sort_unstable();
    cluster.until(machine, "/v1/catalog/nodes", SOON, |nodes| {
        let nodes = nodes.as_array().into_iter().flatten();
        let mut names: Vec<&str> = nodes.filter_map(|node| node["Node"].as_str()).collect();
        names.sort_unstable();
        names == wanted
    })?;
    Ok(())
}

fn health_is(
    cluster: &mut Cluster,
    machine: usize,
    node: &str,
    wanted: &str,
) -> anyhow::Result<()> {
    cluster.until(machine, &format!("/v1/health/node/{node}"), SOON, |checks| {
        let mut checks = checks.as_array().into_iter().flatten();
        checks.any(|check| check["CheckID"] == "serfHealth" && check["Status"] == wanted)
    })?;
    Ok(())
}

/// Waits until just these servers are in the Raft configuration, all as voters.
fn voters_are(cluster: &mut Cluster, machine: usize, wanted: &[&str]) -> anyhow::Result<()> {
    cluster.until(machine, "/v1/operator/raft/configuration", SOON, |configuration| {
        let servers = configuration["Servers"].as_array();
        let mut names: Vec<&str> = servers
            .into_iter()
            .flatten()
            .filter(|server| server["Voter"] == true)
            .filter_map(|server| server["Node"].as_str())
            .collect();
        names.sort_unstable();
        names == wanted && servers.is_some_and(|servers| servers.len() == wanted.len())
    })?;
    Ok(())
}
