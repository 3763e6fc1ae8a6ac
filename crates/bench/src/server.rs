//! The servers under test: started as a user would, each with a directory and ports of its own, and killed when dropped.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::machine;
use crate::wire::http;

/// The longest a server may take until it knows its leader.
const READY: Duration = Duration::from_secs(60);

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// The program under test.
    Ours,
    /// Real Consul 1.8.
    Consul,
    /// etcd 3.5.
    Etcd,
}

/// All programs, in the order of the table's columns and of the turns.
pub(crate) const KINDS: [Kind; 3] = [Kind::Ours, Kind::Consul, Kind::Etcd];

impl Kind {
    /// Its name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Consul => "Consul",
            Self::Etcd => "etcd",
        }
    }
}

/// How a server is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setup {
    /// `-dev`: nothing on disk. etcd has no such mode.
    Dev,
    /// `-server -bootstrap-expect=1` with a data directory.
    Durable,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    /// Which program it is.
    pub(crate) kind: Kind,
    /// Where it serves HTTP (etcd: clients).
    pub(crate) address: SocketAddr,
    /// Where it serves DNS; etcd does not.
    pub(crate) dns: SocketAddr,
    /// From the start of the process until it named its leader, as far as that was waited for.
    pub(crate) ready_after: Duration,
    child: Child,
    directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts `program` and waits until it knows its leader. With `delay`, the launcher of a slower disk starts it.
    ///
    /// # Errors
    /// It does not start, ends, or knows no leader within a minute; with the end of what it logged.
    pub(crate) fn start(
        kind: Kind,
        program: &Path,
        setup: Setup,
        delay: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("proconsul-bench-").tempdir()?;
        let ports = free_ports(5)?;
        let mut command = match delay {
            Some(launcher) => {
                let mut command = Command::new(launcher);
                command.arg("2000").arg(program);
                command
            }
            None => Command::new(program),
        };
        match kind {
            Kind::Etcd => etcd_options(&mut command, directory.path(), &ports),
            Kind::Ours | Kind::Consul => {
                consul_options(&mut command, program, setup, directory.path(), &ports)?;
            }
        }
        let log = File::create(directory.path().join("log"))?;
        let started = Instant::now();
        let child = start_logged(&mut command, log)?;
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut server = Self {
            kind,
            address: local(ports[0]),
            dns: local(ports[1]),
            ready_after: Duration::ZERO,
            child,
            directory,
        };
        server.wait_for_leader(started).with_context(|| server.last_words())?;
        server.ready_after = started.elapsed();
        Ok(server)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        machine::resident(self.pid())
    }

    fn wait_for_leader(&mut self, started: Instant) -> anyhow::Result<()> {
        while started.elapsed() < READY {
            if self.names_leader() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once: {status}", self.kind.name());
            }
            machine::pause(Duration::from_millis(1));
        }
        bail!("{} knows no leader after {} s", self.kind.name(), READY.as_secs())
    }

    fn names_leader(&self) -> bool {
        let (path, sign) = match self.kind {
            Kind::Etcd => ("/health", &b"\"true\""[..]),
            Kind::Ours | Kind::Consul => ("/v1/status/leader", &b":"[..]),
        };
        http::call(self.address, "GET", path, b"").is_ok_and(|answer| {
            answer.status == 200 && answer.body.windows(sign.len()).any(|window| window == sign)
        })
    }

    /// The last lines of its log.
    fn last_words(&self) -> String {
        let log = std::fs::read(self.directory.path().join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        let words: String = lines.into_iter().rev().collect::<Vec<_>>().join(" | ");
        words.chars().take(600).collect()
    }
}

fn consul_options(
    command: &mut Command,
    program: &Path,
    setup: Setup,
    directory: &Path,
    ports: &[u16],
) -> anyhow::Result<()> {
    // Consul refuses to allow more connections than it may open files.
    let connections = machine::descriptor_limit().saturating_sub(100).min(200_000);
    let mut config = serde_json::json!({
        "node_name": "bench",
        "bind_addr": "127.0.0.1",
        "client_addr": "127.0.0.1",
        "log_level": "WARN",
        "disable_update_check": true,
        "limits": { "http_max_conns_per_client": connections },
        "ports": {
            "http": ports[0], "dns": ports[1], "server": ports[2], "serf_lan": ports[3],
            "serf_wan": ports[4], "https": -1, "grpc": -1,
        },
    });
    let version = machine::version(program, "version").unwrap_or_default();
    if !version.starts_with("Consul v1.8") {
        // Unknown to that version.
        config["ports"]["grpc_tls"] = serde_json::json!(-1);
    }
    let file = directory.join("bench.json");
    std::fs::write(&file, serde_json::to_vec_pretty(&config)?)?;
    command.arg("agent");
    match setup {
        Setup::Dev => {
            command.arg("-dev");
        }
        Setup::Durable => {
            command
                .args(["-server", "-bootstrap-expect=1", "-data-dir"])
                .arg(directory.join("data"));
        }
    }
    command.arg("-config-file").arg(file);
    Ok(())
}

fn etcd_options(command: &mut Command, directory: &Path, ports: &[u16]) {
    let client = format!("http://127.0.0.1:{}", ports[0]);
    let peer = format!("http://127.0.0.1:{}", ports[2]);
    command
        .args(["--name", "bench", "--log-level", "warn", "--quota-backend-bytes", "8589934592"])
        .arg("--data-dir")
        .arg(directory.join("data"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .arg(format!("--initial-cluster=bench={peer}"));
}

/// Starts a program that reads nothing and says everything to its log.
///
/// # Errors
/// The program does not start.
pub(crate) fn start_logged(command: &mut Command, log: File) -> anyhow::Result<Child> {
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// Some ports that are free for TCP and UDP just now, below those the kernel gives to outgoing connections.
pub(crate) fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let seed = std::process::id().wrapping_mul(37).wrapping_add(
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.subsec_micros(),
    );
    let mut ports = Vec::new();
    for step in 0..12_000_u32 {
        let port = u16::try_from(20_000 + (seed.wrapping_add(step)) % 12_000)?;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if free {
            ports.push(port);
        }
        if ports.len() == count {
            return Ok(ports);
        }
    }
    bail!("no free ports between 20000 and 32000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ() {
        let ports = free_ports(5).unwrap();
        let distinct: std::collections::BTreeSet<_> = ports.iter().collect();
        assert_eq!(distinct.len(), 5);
    }
}
