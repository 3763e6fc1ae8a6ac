//! What happens to a cluster while clients ask: servers are killed, stand still, are cut off,
//! have full disks and come back with other addresses. A quorum is left, or comes back.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::Signal;

use super::Shared;
use crate::live::cluster::Cluster;
use crate::live::disk::{Disk, fill};
use crate::live::network::Network;
use crate::live::server::pause;

/// Small timings, and a log that is often cut, so that snapshots are sent too.
const WORDS: &[&str] = &[
    "-retry-interval=1s",
    "-hcl=performance { raft_multiplier = 1 }",
    "-hcl=raft_snapshot_threshold = 500",
    "-hcl=raft_trailing_logs = 200",
    "-hcl=raft_snapshot_interval = \"1s\"",
    "-hcl=limits { http_max_conns_per_client = 1000 }",
];

/// A cluster has a leader again within this time after the last fault of a round is over.
const LEADER_TIMEOUT: Duration = Duration::from_secs(40);

/// Room of a server that has a disk of its own.
const DISK_BYTES: usize = 64 << 20;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    KillOne,
    KillLeader,
    KillAll,
    PauseOne,
    PauseLeader,
    /// The leader hears and is heard of nobody.
    CutOffLeader,
    /// One server is not heard, but hears.
    Mute,
    /// Two servers do not hear each other; the third hears both.
    Bridge,
    FillDisk,
    ChangeAddress,
    ChangeAllAddresses,
}

/// A fault that struck.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) fault: Fault,
    /// In ns since the start of the test.
    pub(super) struck: u64,
}

const ANYWHERE: &[Fault] =
    &[Fault::KillOne, Fault::KillLeader, Fault::KillAll, Fault::PauseOne, Fault::PauseLeader];
const WITH_LINKS: &[Fault] = &[
    Fault::CutOffLeader,
    Fault::CutOffLeader,
    Fault::Mute,
    Fault::Bridge,
    Fault::ChangeAddress,
    Fault::ChangeAllAddresses,
];

/// The cluster under test.
pub(super) struct Site {
    cluster: Cluster,
    faults: Vec<Fault>,
    /// Held until the servers are gone.
    _disks: Vec<Disk>,
    /// What happened.
    pub(super) rounds: Vec<Round>,
}

impl Site {
    /// Starts this many servers, on hosts of their own where this machine lets them, and
    /// waits until one leads.
    pub(super) fn start(
        servers: usize,
        consul: &Path,
        folder: &Path,
        random: &mut fastrand::Rng,
        say: &mut dyn FnMut(&str),
    ) -> anyhow::Result<Self> {
        let network = Network::namespaces(random).unwrap_or_else(|reason| {
            say(&format!("no links are cut and no addresses changed: {reason}\n"));
            Network::loopback(random)
        });
        let mut faults = ANYWHERE.to_vec();
        if network.has_links() {
            faults.extend(WITH_LINKS);
        }
        let mut cluster = Cluster::new(network, folder);
        cluster.add_servers(servers, consul, WORDS)?;
        let mut disks = Vec::new();
        for machine in &cluster.machines {
            fs::create_dir_all(machine.data())?;
            match Disk::mount(machine.data(), DISK_BYTES) {
                Ok(disk) => disks.push(disk),
                Err(reason) => say(&format!("no disk is filled: {reason}\n")),
            }
        }
        if disks.len() == servers {
            faults.push(Fault::FillDisk);
        }
        cluster.start_all()?;
        cluster.until_leader(LEADER_TIMEOUT)?;
        Ok(Self { cluster, faults, _disks: disks, rounds: Vec::new() })
    }

    /// Where the servers answer.
    pub(super) fn addresses(&self) -> Vec<std::net::SocketAddr> {
        self.cluster.machines.iter().map(|machine| machine.http()).collect()
    }

    /// Disturbs the cluster until then, and lets it heal after each fault.
    pub(super) fn disturb(
        &mut self,
        until: Instant,
        shared: &Shared,
        random: &mut fastrand::Rng,
    ) -> anyhow::Result<()> {
        while Instant::now() < until {
            pause(Duration::from_millis(random.u64(300..2000)));
            let fault = self.faults[random.usize(..self.faults.len())];
            self.rounds.push(Round { fault, struck: shared.now() });
            let struck = self.strike(fault, &shared.addresses, random);
            struck.with_context(|| format!("{fault:?}"))?;
            let healed = self.cluster.until_leader(LEADER_TIMEOUT);
            healed.with_context(|| format!("after {fault:?}"))?;
        }
        Ok(())
    }

    fn strike(
        &mut self,
        fault: Fault,
        addresses: &Mutex<Vec<std::net::SocketAddr>>,
        random: &mut fastrand::Rng,
    ) -> anyhow::Result<()> {
        let count = self.cluster.machines.len();
        let any = random.usize(..count);
        let leader = self.cluster.leader().unwrap_or(any);
        let mut moment = |range: std::ops::Range<u64>| Duration::from_millis(random.u64(range));
        let machines = &mut self.cluster.machines;
        match fault {
            Fault::KillOne | Fault::KillLeader => {
                let one = if fault == Fault::KillOne { any } else { leader };
                machines[one].kill()?;
                pause(moment(0..3000));
                machines[one].start()?;
            }
            Fault::KillAll => {
                machines.iter_mut().try_for_each(|machine| machine.kill())?;
                pause(moment(0..500));
                self.cluster.start_all()?;
            }
            Fault::PauseOne | Fault::PauseLeader => {
                let one = if fault == Fault::PauseOne { any } else { leader };
                machines[one].signal(Signal::STOP)?;
                pause(moment(50..3000));
                machines[one].signal(Signal::CONT)?;
            }
            Fault::CutOffLeader => {
                let pairs = (0..count).filter(|other| *other != leader);
                let pairs: Vec<_> =
                    pairs.flat_map(|other| [(leader, other), (other, leader)]).collect();
                self.cut(&pairs, moment(500..5000))?;
            }
            Fault::Mute => {
                let others = (0..count).filter(|other| *other != any);
                let pairs: Vec<_> = others.map(|other| (any, other)).collect();
                self.cut(&pairs, moment(500..5000))?;
            }
            Fault::Bridge => {
                let other = (any + 1) % count;
                self.cut(&[(any, other), (other, any)], moment(500..5000))?;
            }
            Fault::FillDisk => {
                let ballast = self.cluster.machines[leader].data().join("ballast");
                fill(&ballast)?;
                pause(moment(500..3000));
                fs::remove_file(ballast)?;
            }
            Fault::ChangeAddress | Fault::ChangeAllAddresses => {
                let all = fault == Fault::ChangeAllAddresses;
                let moved: Vec<usize> = if all { (0..count).collect() } else { vec![any] };
                for one in &moved {
                    self.cluster.machines[*one].kill()?;
                }
                for one in &moved {
                    let mut host = self.cluster.machines[*one].host.clone();
                    self.cluster.network.change_address(&mut host)?;
                    self.cluster.machines[*one].host = host;
                }
                // As a DNS name or a script would tell them to each.
                self.cluster.join_by_address(0);
                *addresses.lock().unwrap_or_else(PoisonError::into_inner) = self.addresses();
                self.cluster.start_all()?;
            }
        }
        Ok(())
    }

    /// Cuts links for a while.
    fn cut(&self, pairs: &[(usize, usize)], time: Duration) -> anyhow::Result<()> {
        let (machines, network) = (&self.cluster.machines, &self.cluster.network);
        for (from, to) in pairs {
            network.cut(&machines[*from].host, &machines[*to].host)?;
        }
        pause(time);
        for (from, _) in pairs {
            network.heal(&machines[*from].host)?;
        }
        Ok(())
    }
}
