//! The server under test: started as a user would, killed without a warning.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::http::Connection;

/// A server that does not lead after this long has failed to come back.
const LEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Ports below those that systems give to outgoing connections: one of these could
/// otherwise take the port of a server that is down for a moment.
const PORTS: std::ops::Range<u16> = 12_000..30_000;

/// Lines of the log that an error shows.
const LOG_LINES: usize = 15;

/// The program that is named, else the one that was built last for others to use.
pub(crate) fn program(root: &Path, named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = named.map_or_else(|| built(root), |named| Ok(named.to_path_buf()))?;
    path.canonicalize().with_context(|| path.display().to_string())
}

fn built(root: &Path) -> anyhow::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    ["release", "fast", "debug"]
        .into_iter()
        .map(|profile| target.join(profile).join("consul"))
        .find(|path| path.exists())
        .context("there is no consul: build it, or name one with --consul")
}

/// Where a server lives and how it is started, again and again.
#[derive(Debug)]
pub(crate) struct Site {
    consul: PathBuf,
    /// The data directory.
    data: PathBuf,
    log: PathBuf,
    ports: [u16; 5],
}

impl Site {
    /// A site with its data in one folder, which is there, and its log in another.
    pub(crate) fn new(
        consul: &Path,
        data_in: &Path,
        log_in: &Path,
        random: &mut fastrand::Rng,
    ) -> anyhow::Result<Self> {
        let (data, log) = (data_in.join("data"), log_in.join("log"));
        Ok(Self { consul: consul.to_owned(), data, log, ports: free_ports(random)? })
    }

    /// The files of the log, in the order in which they were made.
    pub(crate) fn segments(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut named = Vec::new();
        for path in files_below(&self.data)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let sequence = name.strip_suffix(".wal").and_then(|name| name.split_once('-'));
            named.extend(sequence.map(|(_, sequence)| (sequence.to_owned(), path)));
        }
        named.sort();
        Ok(named.into_iter().map(|(_, path)| path).collect())
    }

    /// The names of the finished snapshots.
    pub(crate) fn snapshots(&self) -> anyhow::Result<Vec<String>> {
        let states =
            files_below(&self.data)?.into_iter().filter(|path| path.ends_with("state.bin"));
        let folders = states.filter_map(|path| Some(path.parent()?.file_name()?.to_owned()));
        let names = folders.map(|name| name.to_string_lossy().into_owned());
        Ok(names.filter(|name| !name.ends_with(".tmp")).collect())
    }

    /// Starts the server and does not wait for it.
    pub(crate) fn start(&self) -> anyhow::Result<Running> {
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let [http, dns, server, serf_lan, serf_wan] = self.ports;
        let child = Command::new(&self.consul)
            .args(["agent", "-server", "-bootstrap-expect=1", "-node=durable", "-bind=127.0.0.1"])
            .arg(format!("-data-dir={}", self.data.display()))
            .arg(format!("-http-port={http}"))
            .arg(format!("-dns-port={dns}"))
            .arg(format!("-server-port={server}"))
            .arg(format!("-serf-lan-port={serf_lan}"))
            .arg(format!("-serf-wan-port={serf_wan}"))
            .args(["-grpc-port=-1", "-grpc-tls-port=-1"])
            // Small, so that snapshots and compaction meet the kills too.
            .args(["-hcl=raft_snapshot_threshold = 200", "-hcl=raft_trailing_logs = 100"])
            .arg("-hcl=raft_snapshot_interval = \"150ms\"")
            .arg("-hcl=limits { http_max_conns_per_client = 1000 }")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.consul.display()))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, http));
        Ok(Running { child, address, log: self.log.clone() })
    }

    /// Starts the server and waits until it leads.
    pub(crate) fn start_and_lead(&self) -> anyhow::Result<Running> {
        let mut server = self.start()?;
        server.until_leader()?;
        Ok(server)
    }
}

/// A started server. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
    log: PathBuf,
}

impl Running {
    /// Waits until the server leads.
    pub(crate) fn until_leader(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + LEADER_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the server ended by itself, {status}; its last lines:\n{}",
                    self.last_lines()
                );
            }
            if self.leads() {
                return Ok(());
            }
            if Instant::now() > until {
                bail!("no leader after {LEADER_TIMEOUT:?}; the last lines:\n{}", self.last_lines());
            }
            pause(Duration::from_millis(5));
        }
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it at once, as a lost machine would: kill -9.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended by itself, {status}; its last lines:\n{}", self.last_lines());
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Lets it stand still, as a machine that swaps does, or go on.
    pub(crate) fn pause(&self, stops: bool) -> anyhow::Result<()> {
        let signal = if stops { Signal::STOP } else { Signal::CONT };
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).context("cannot signal the server")
    }

    /// The end of the log, for people.
    pub(crate) fn last_lines(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn leads(&self) -> bool {
        let Ok(mut connection) = Connection::open(self.address) else { return false };
        let answer = connection.ask("GET", "/v1/status/leader", b"");
        answer.is_ok_and(|answer| answer.status == 200 && answer.text() != "\"\"")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; nothing else can go wrong with an own child.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets time pass: there is no event to wait for, a kill comes at any moment.
#[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Ports that nobody uses at the moment.
fn free_ports<const N: usize>(random: &mut fastrand::Rng) -> anyhow::Result<[u16; N]> {
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let free = std::iter::repeat_with(|| random.u16(PORTS)).take(1000).find_map(|port| {
            let address = (Ipv4Addr::LOCALHOST, port);
            Some((TcpListener::bind(address).ok()?, UdpSocket::bind(address).ok()?, port))
        });
        let (tcp, udp, number) = free.context("no port is free")?;
        *port = number;
        held.push((tcp, udp));
    }
    Ok(ports)
}

/// All files below a folder. What vanishes meanwhile was not there.
fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    Ok(files)
}
