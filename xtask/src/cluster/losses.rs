//! Large clusters that lose servers: five and seven expect each other, lose as many as they
//! can, their leader first, and stay in service; one is replaced. At last there is no quorum any
//! more, and an operator writes `peers.json` for those who are left.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::live::cluster::Cluster;
use crate::live::network::Network;
use crate::live::server::pause;

/// Long enough for a busy machine; nothing here waits longer than it must.
const SOON: Duration = Duration::from_secs(90);

const WORDS: &[&str] = &["-hcl=performance { raft_multiplier = 1 }", "-retry-interval=1s"];

/// Between two tries to write.
const TRY: Duration = Duration::from_millis(10);

pub(super) fn run(consul: &Path, folder: &Path, say: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut say = |text: &str| say(&format!("{:6.1} s  {text}\n", start.elapsed().as_secs_f64()));
    for (count, losses) in [(5, 2), (7, 3)] {
        let folder = folder.join(count.to_string());
        fs::create_dir(&folder)?;
        lose(count, losses, consul, &folder, &mut say)
            .with_context(|| format!("{count} servers, {losses} of them lost"))?;
    }
    Ok(())
}

fn lose(
    count: usize,
    losses: usize,
    consul: &Path,
    folder: &Path,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<()> {
    let mut cluster = Cluster::new(Network::loopback(&mut fastrand::Rng::new()), folder);
    cluster.add_servers(count, consul, WORDS)?;
    cluster.start_all()?;
    cluster.until_leader(SOON)?;
    let mut alive: Vec<usize> = (0..count).collect();
    voters_are(&mut cluster, &alive)?;
    cluster.until(0, "/v1/operator/autopilot/health", SOON, |health| {
        health["Healthy"] == true && health["FailureTolerance"] == losses
    })?;
    cluster.machines[0].must("PUT", "/v1/kv/losses/before", b"kept")?;
    say(&format!("{count} servers formed a cluster that can lose {losses}"));

    let mut gaps = Vec::new();
    for lost in 0..losses {
        let leader = cluster.until_leader(SOON)?;
        cluster.machines[leader].kill()?;
        let since = Instant::now();
        alive.retain(|machine| *machine != leader);
        until_written(&mut cluster, &alive, &format!("losses/{lost}"))?;
        gaps.push(since.elapsed().as_millis().to_string());
    }
    for machine in &alive {
        let read = cluster.machines[*machine].must("GET", "/v1/kv/losses/?keys", b"")?;
        let keys: Vec<String> = serde_json::from_slice(&read.body)?;
        ensure!(keys.len() == 1 + losses, "{keys:?}");
    }
    let gaps = gaps.join(", ");
    say(&format!("{losses} leaders were killed one after another; writes went on after {gaps} ms"));

    let words = [&["-server"], WORDS].concat();
    let new = cluster.add(&format!("server{}", count + 1), consul, &words)?;
    cluster.join_by_address(0);
    cluster.machines[new].start()?;
    alive.push(new);
    voters_are(&mut cluster, &alive)?;
    say("another server took the place of one of them, and votes");

    // Two are left, of whatever the cluster was.
    let left: Vec<usize> = alive.split_off(alive.len() - 2);
    for machine in alive.iter().chain(&left) {
        cluster.machines[*machine].kill()?;
    }
    let peers = left.iter().map(|machine| {
        let machine = &cluster.machines[*machine];
        let id = fs::read_to_string(machine.data().join("node-id"))?;
        let address = format!("{}:8300", machine.host.address);
        Ok(json!({"id": id.trim(), "address": address, "non_voter": false}))
    });
    let peers = Value::Array(peers.collect::<anyhow::Result<_>>()?).to_string();
    for machine in &left {
        let machine = &mut cluster.machines[*machine];
        fs::write(machine.data().join("raft/peers.json"), &peers)?;
        machine.start()?;
    }
    until_written(&mut cluster, &left, "losses/recovered")?;
    voters_are(&mut cluster, &left)?;
    for machine in &left {
        let machine = &cluster.machines[*machine];
        let read = machine.must("GET", "/v1/kv/losses/before?raw", b"")?;
        ensure!(read.text() == "kept", "{} has {:?}", machine.host.name, read.text());
        let used = machine.data().join("raft/peers.json");
        ensure!(!used.exists(), "{} is there still", used.display());
    }
    say("only two were left; with peers.json they went on, with all that was written");
    Ok(())
}

/// Waits until one of these takes a write.
fn until_written(cluster: &mut Cluster, at: &[usize], key: &str) -> anyhow::Result<()> {
    let until = Instant::now() + SOON;
    loop {
        cluster.check()?;
        for machine in at {
            let answer = cluster.machines[*machine].ask("PUT", &format!("/v1/kv/{key}"), b"");
            if answer.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
        }
        ensure!(Instant::now() < until, "nobody has taken a write after {SOON:?}");
        pause(TRY);
    }
}

/// Waits until these, and no others, vote.
fn voters_are(cluster: &mut Cluster, machines: &[usize]) -> anyhow::Result<()> {
    let mut names: Vec<String> =
        machines.iter().map(|machine| cluster.machines[*machine].host.name.clone()).collect();
    names.sort_unstable();
    cluster.until(machines[0], "/v1/operator/raft/configuration", SOON, |configuration| {
        let servers = configuration["Servers"].as_array().into_iter().flatten();
        let voters = servers.filter(|server| server["Voter"] == true);
        let mut voters: Vec<&str> = voters.filter_map(|server| server["Node"].as_str()).collect();
        voters.sort_unstable();
        voters == names
    })?;
    Ok(())
}
