//! A cluster of real Consul servers is replaced server by server with ours, and back, under
//! writers: every acknowledged write is there at the end, no write fails for good, and while
//! both kinds vote their snapshots at one index hold the same records.
//!
//! With `--tls` the cluster is one that listens to nobody else; see `secured`.
//!
//! - `writers`: who writes all the time, and what was acknowledged.
//! - `registrar`: what they write beside keys.
//! - `records`: what the snapshots of all servers hold.
//! - `secured`: gossip keys, TLS, and who is not let in.

mod records;
mod registrar;
mod secured;
mod writers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use self::secured::Security;
use self::writers::Writers;
use crate::live::cluster::Cluster;
use crate::live::network::Network;
use crate::live::server::pause;

/// Long enough for a real server on a busy machine to become a voter.
const SOON: Duration = Duration::from_secs(120);

const SERVERS: usize = 3;

const WORDS: &[&str] = &[
    "-hcl=performance { raft_multiplier = 1 }",
    "-hcl=autopilot { server_stabilization_time = \"1s\" }",
    "-hcl=raft_snapshot_threshold = 300",
    "-hcl=raft_trailing_logs = 200",
    "-retry-interval=1s",
    "-hcl=ports { grpc = -1 }",
    "-hcl=leave_on_terminate = false",
];

/// All of them are replaced, and replaced back.
const WHOLE: &[(usize, Kind)] = &[
    (0, Kind::Ours),
    (1, Kind::Ours),
    (2, Kind::Ours),
    (0, Kind::Real),
    (1, Kind::Real),
    (2, Kind::Real),
];

/// What a user does who moves a cluster.
const MOVE: &[(usize, Kind)] = &[(0, Kind::Ours), (1, Kind::Ours), (2, Kind::Ours)];

/// Each kind is the one in three once, and joins the other.
const SHORT: &[(usize, Kind)] = &[(0, Kind::Ours), (1, Kind::Ours), (0, Kind::Real)];

/// Which program runs a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Real,
    Ours,
}

/// Runs it and tells of it.
///
/// # Errors
/// When something was lost or differs.
pub(super) fn run(
    root: &Path,
    words: &[&str],
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<ExitCode> {
    let (is_short, is_secured) = (words.contains(&"--short"), words.contains(&"--tls"));
    let own = ["--short", "--tls"];
    let words: Vec<&str> = words.iter().copied().filter(|word| !own.contains(word)).collect();
    let (ours, real) = crate::snapshot_interop::programs(root, &words)?;
    let Some(real) = real.filter(|real| real.is_file()) else {
        say("mixed-quorum: skipped, there is no real Consul\n");
        return Ok(ExitCode::SUCCESS);
    };
    let folder = tempfile::Builder::new().prefix("proconsul-mixed-").tempdir()?;
    let start = Instant::now();
    let mut say = |text: &str| say(&format!("{:6.1} s  {text}\n", start.elapsed().as_secs_f64()));
    let security = is_secured.then(|| Security::make(&real, &ours, folder.path())).transpose()?;
    let mut site = Site::start(ours, real, security, folder.path())?;
    site.compare(&mut say)?;
    let mut client = None;
    if is_secured {
        let count = site.strangers(Kind::Ours)?;
        say(&format!("{count} agents of ours without the right keys stayed outside"));
        client = Some(site.add_client(Kind::Ours)?);
        say("a client agent of ours with the right ones got in");
    }
    let replaced = match (is_short, is_secured) {
        (false, _) => WHOLE,
        (true, false) => SHORT,
        (true, true) => MOVE,
    };
    for (number, (server, kind)) in replaced.iter().enumerate() {
        site.replace(*server, *kind)
            .with_context(|| format!("server{} by {kind:?}", server + 1))?;
        site.compare(&mut say)?;
        if let Some(client) = client {
            site.writes_through(client)?;
            let other = (server + 1) % SERVERS;
            let (brings, takes) = if number % 2 == 0 { (other, *server) } else { (*server, other) };
            site.rotate(brings, takes).context("the gossip key")?;
            say("another gossip key, brought by one server and taken up by the other");
        }
    }
    if is_secured {
        let count = site.strangers(Kind::Real)?;
        say(&format!("{count} real agents without the right keys stayed outside"));
    }
    let (writes, keys) = site.finish()?;
    say(&format!("{writes} writes were acknowledged, and the last of all {keys} keys are there"));
    Ok(ExitCode::SUCCESS)
}

/// The servers with those who write.
struct Site {
    // The writers end before the servers do.
    writers: Writers,
    cluster: Cluster,
    kinds: Vec<Kind>,
    ours: PathBuf,
    real: PathBuf,
    security: Option<Security>,
    folder: PathBuf,
    /// Snapshots and data folders are numbered.
    count: u32,
}

impl Site {
    fn start(
        ours: PathBuf,
        real: PathBuf,
        security: Option<Security>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let network = Network::loopback(&mut fastrand::Rng::new());
        let mut cluster = Cluster::new(network, folder);
        cluster.add_servers(SERVERS, &real, WORDS)?;
        for machine in &mut cluster.machines {
            machine.words.extend(security.iter().flat_map(|s| s.server(Kind::Real)));
        }
        cluster.start_all()?;
        let mut site = Self {
            writers: Writers::new(cluster.machines.iter().map(|m| m.http()).collect()),
            cluster,
            kinds: vec![Kind::Real; SERVERS],
            ours,
            real,
            security,
            folder: folder.to_owned(),
            count: 0,
        };
        site.until_all_vote(0)?;
        site.writers.start();
        site.writers.until_more(50)?;
        Ok(site)
    }

    fn program(&self, kind: Kind) -> &PathBuf {
        match kind {
            Kind::Real => &self.real,
            Kind::Ours => &self.ours,
        }
    }

    /// A server leaves, as for an upgrade, and one of this kind takes its place on its host.
    fn replace(&mut self, server: usize, kind: Kind) -> anyhow::Result<()> {
        let other = (server + 1) % SERVERS;
        let machine = &mut self.cluster.machines[server];
        machine.command(&["leave"])?;
        machine.until_ended(SOON)?;
        self.cluster.until(other, "/v1/operator/raft/configuration", SOON, |configuration| {
            configuration["Servers"].as_array().is_some_and(|all| all.len() == SERVERS - 1)
        })?;
        self.writers.until_more(20)?;
        self.count += 1;
        let data = self.folder.join(format!("data{}", self.count));
        let program = self.program(kind).clone();
        let machine = &mut self.cluster.machines[server];
        machine.consul = program;
        if let Some(security) = &self.security {
            let old = security.server(self.kinds[server]);
            let is_old = |word: &String| word.starts_with("-encrypt=") || old.contains(word);
            machine.words.retain(|word| !is_old(word));
            machine.words.extend(security.server(kind));
        }
        machine.move_data(data);
        machine.start()?;
        self.kinds[server] = kind;
        self.until_all_vote(other)?;
        // With the new one as leader too.
        self.lead(server)?;
        self.writers.until_more(50)
    }

    /// Moves leadership to this server, by restarting whoever else leads.
    fn lead(&mut self, server: usize) -> anyhow::Result<()> {
        let until = Instant::now() + SOON;
        loop {
            let leader = self.cluster.until_leader(SOON)?;
            if leader == server {
                return Ok(());
            }
            ensure!(Instant::now() < until, "server{server} never leads");
            self.cluster.machines[leader].kill()?;
            self.writers.until_more(5)?;
            self.cluster.machines[leader].start()?;
            self.until_all_vote(server)?;
        }
    }

    fn until_all_vote(&mut self, asked: usize) -> anyhow::Result<()> {
        self.cluster.until(asked, "/v1/operator/raft/configuration", SOON, |configuration| {
            let servers = configuration["Servers"].as_array();
            servers.is_some_and(|servers| {
                servers.len() == SERVERS && servers.iter().all(|server| server["Voter"] == true)
            })
        })?;
        // Only the leader is asked: 1.8 does not know how ours ask for it.
        let leader = self.cluster.until_leader(SOON)?;
        self.cluster.until(leader, "/v1/operator/autopilot/health", SOON, |health| {
            health["Healthy"] == true
        })?;
        Ok(())
    }

    /// Lets the servers come to rest at one index and compares what they hold.
    fn compare(&mut self, say: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
        self.writers.pause();
        let until = Instant::now() + SOON;
        let archives = loop {
            let mut archives = Vec::new();
            for machine in &self.cluster.machines[..SERVERS] {
                archives.push(machine.ask("GET", "/v1/snapshot?stale", b"")?);
            }
            let first = archives[0].index;
            // One that was started lately may not be able to yet.
            if archives.iter().all(|archive| archive.status == 200 && archive.index == first) {
                break archives;
            }
            let said = archives.iter().map(|archive| match archive.status {
                200 => archive.index.to_string(),
                _ => archive.text(),
            });
            ensure!(
                Instant::now() < until,
                "the servers do not come to rest at one index: {}",
                said.collect::<Vec<_>>().join(", ")
            );
            pause(Duration::from_millis(50));
        };
        let index = archives[0].index;
        let mut paths = Vec::new();
        for archive in &archives {
            self.count += 1;
            let path = self.folder.join(format!("{}.snap", self.count));
            std::fs::write(&path, &archive.body)?;
            paths.push(path);
        }
        let count = records::compare(&self.ours, &paths)
            .with_context(|| format!("at index {index} of {:?}", self.kinds))?;
        self.writers.resume();
        say(&format!("{:?}: {count} records at index {index} are the same", self.kinds));
        Ok(())
    }

    /// Ends the writers and looks for all that was acknowledged.
    /// Returns how many writes there were, and on how many keys.
    fn finish(mut self) -> anyhow::Result<(usize, usize)> {
        let acknowledged = self.writers.finish()?;
        let leader = self.cluster.until_leader(SOON)?;
        for (key, value) in &acknowledged {
            let found =
                self.cluster.machines[leader].ask("GET", &format!("/v1/kv/{key}?raw"), b"")?;
            ensure!(
                found.status == 200 && found.text() == *value,
                "{key} was acknowledged as {value} and is {} {:?}",
                found.status,
                found.text()
            );
        }
        Ok((self.writers.acknowledged(), acknowledged.len()))
    }
}
