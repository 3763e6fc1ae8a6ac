//! The walk: three servers of one kind, a client agent of the other, and one of theirs.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{answers, data, local};
use crate::live::cluster::{Cluster, Machine};
use crate::live::http::{Answer, Connection};
use crate::live::network::Network;
use crate::live::server::pause;

/// Long enough for a busy machine; nothing here waits longer than it must.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// How long a question that is asked in the background may wait for a change.
const WAIT: Duration = Duration::from_secs(60);

const DNS_PORT: u16 = 8600;

pub(super) const SERVERS: usize = 3;

/// The agent that is of the other kind than all others.
pub(super) const ACROSS: usize = SERVERS;

const WORDS: &[&str] = &[
    "-hcl=performance { raft_multiplier = 1, leave_drain_time = \"200ms\" }",
    "-hcl=gossip_lan { probe_interval = \"300ms\", probe_timeout = \"150ms\", suspicion_mult = 3 }",
    "-hcl=ports { grpc = -1 }",
    "-hcl=leave_on_terminate = false",
    "-hcl=enable_script_checks = true",
    "-hcl=disable_update_check = true",
    "-retry-interval=1s",
];

/// The agents, and how far they came.
pub(super) struct Walk<'w> {
    pub(super) cluster: Cluster,
    /// The client agent of the servers' own kind.
    pub(super) twin: usize,
    /// Steps that were seen, answers that were compared, and writes that were made.
    steps: usize,
    pub(super) compared: usize,
    pub(super) writes: usize,
    pub(super) folder: &'w Path,
    say: &'w mut dyn FnMut(&str),
}

pub(super) fn run(
    servers: &Path,
    across: &Path,
    folder: &Path,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<()> {
    let network = Network::loopback(&mut fastrand::Rng::new());
    let mut cluster = Cluster::new(network, folder);
    cluster.add_servers(SERVERS, servers, WORDS)?;
    cluster.add("across", across, WORDS)?;
    let twin = cluster.add("twin", servers, WORDS)?;
    cluster.join_by_address(0);
    cluster.start_all()?;
    let mut walk = Walk { cluster, twin, steps: 0, compared: 0, writes: 0, folder, say };
    walk.find_each_other()?;
    data::keys(&mut walk)?;
    data::wake_ups(&mut walk)?;
    local::services(&mut walk)?;
    data::sessions(&mut walk)?;
    data::events(&mut walk)?;
    data::prepared_queries(&mut walk)?;
    answers::compare(&mut walk)?;
    data::snapshots(&mut walk)?;
    local::leader_lost(&mut walk)?;
    local::servers_away(&mut walk)?;
    local::leave_and_return(&mut walk)?;
    local::fail_and_return(&mut walk)?;
    answers::compare(&mut walk)?;
    walk.finish()
}

impl Walk<'_> {
    pub(super) fn machine(&self, number: usize) -> &Machine {
        &self.cluster.machines[number]
    }

    pub(super) fn across(&self) -> &Machine {
        self.machine(ACROSS)
    }

    pub(super) fn dns(&self, number: usize) -> SocketAddr {
        SocketAddr::from((self.machine(number).host.address, DNS_PORT))
    }

    /// A step was seen.
    pub(super) fn step(&mut self, text: &str) {
        self.steps += 1;
        (self.say)(text);
    }

    /// A write that an agent must acknowledge.
    pub(super) fn write(
        &mut self,
        machine: usize,
        method: &str,
        target: &str,
        body: &Value,
    ) -> anyhow::Result<Answer> {
        let body = match body {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        let answer = self.machine(machine).must(method, target, body.as_bytes())?;
        self.writes += 1;
        Ok(answer)
    }

    /// A write with a verdict.
    pub(super) fn verdict(
        &mut self,
        machine: usize,
        target: &str,
        body: &str,
        wanted: bool,
    ) -> anyhow::Result<()> {
        let answer = self.write(machine, "PUT", target, &Value::String(body.to_owned()))?;
        let name = &self.machine(machine).host.name;
        ensure!(answer.text() == wanted.to_string(), "{name}: {target}: {}", answer.text());
        Ok(())
    }

    /// Tries until something is so; what it said last is the error.
    pub(super) fn until(
        &mut self,
        what: &str,
        is_so: impl FnMut(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.within(SOON, what, is_so)
    }

    /// As [`Self::until`], with a patience of its own.
    pub(super) fn within(
        &mut self,
        patience: Duration,
        what: &str,
        mut is_so: impl FnMut(&Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let until = Instant::now() + patience;
        loop {
            self.cluster.check()?;
            let Err(error) = is_so(self) else { return Ok(()) };
            if Instant::now() > until {
                return Err(error.context(format!("{what}, after {patience:?}")));
            }
            pause(Duration::from_millis(30));
        }
    }

    /// Waits until what an agent answers is as wanted.
    pub(super) fn sees(
        &mut self,
        machine: usize,
        target: &str,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        self.cluster.until(machine, target, SOON, is_wanted)
    }

    /// Waits until an agent sees a member in a status, and its command line says so.
    pub(super) fn member_is(
        &mut self,
        machine: usize,
        member: &str,
        wanted: &str,
    ) -> anyhow::Result<()> {
        self.until(&format!("{member} is {wanted}"), |walk| {
            let printed = walk.machine(machine).command(&["members"])?;
            let line = printed.lines().find(|line| line.split_whitespace().next() == Some(member));
            let line = line.with_context(|| format!("no {member} in\n{printed}"))?;
            ensure!(line.split_whitespace().nth(2) == Some(wanted), "{line}");
            Ok(())
        })
    }

    /// Asks a question that waits for a change, makes the change, and expects the new answer.
    pub(super) fn wakes(
        &mut self,
        machine: usize,
        target: &str,
        change: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<Answer> {
        let index = self.machine(machine).ask("GET", target, b"")?.index;
        let sign = if target.contains('?') { '&' } else { '?' };
        let asked = format!("{target}{sign}index={index}&wait={}s", WAIT.as_secs());
        let address = self.machine(machine).http();
        let waiter = std::thread::spawn(move || {
            Connection::open_patient(address, WAIT + WAIT)?.ask("GET", &asked, b"")
        });
        // Nothing tells from outside that it waits; were it late it would be answered at once.
        pause(Duration::from_millis(200));
        ensure!(!waiter.is_finished(), "{target} does not wait at index {index}");
        change(self)?;
        let since = Instant::now();
        let Ok(answer) = waiter.join() else { anyhow::bail!("{target}: the waiter panicked") };
        let answer = answer.with_context(|| target.to_owned())?;
        ensure!(since.elapsed() < WAIT / 2, "{target} is answered after {:?}", since.elapsed());
        ensure!(answer.index > index, "{target}: index {} after {index}", answer.index);
        Ok(answer)
    }

    fn find_each_other(&mut self) -> anyhow::Result<()> {
        self.cluster.until_leader(SOON)?;
        let names = ["across", "server1", "server2", "server3", "twin"];
        for machine in 0..self.cluster.machines.len() {
            for name in names {
                self.member_is(machine, name, "alive")?;
            }
            self.sees(machine, "/v1/catalog/nodes", |nodes| {
                nodes.as_array().is_some_and(|nodes| nodes.len() == names.len())
            })?;
        }
        let info = self.across().command(&["info"])?;
        for line in ["known_servers = 3", "server = false", "members = 5", "failed = 0"] {
            ensure!(info.contains(line), "`info` does not say {line:?}:\n{info}");
        }
        let peers = self.across().command(&["operator", "raft", "list-peers"])?;
        for machine in &self.cluster.machines[..SERVERS] {
            let address = machine.host.address.to_string();
            ensure!(peers.contains(&address), "`list-peers` has no {address}:\n{peers}");
        }
        self.step("all found each other; `members`, `info` and `operator raft list-peers` say so");
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<()> {
        let (steps, compared, writes) = (self.steps, self.compared, self.writes);
        self.step(&format!("{steps} steps, {compared} answers compared, {writes} writes"));
        Ok(())
    }
}
