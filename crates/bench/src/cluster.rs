//! Three servers of a kind that replicate, each of which can be killed, stopped and started again.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use base64::Engine as _;

use crate::machine;
use crate::server::{Kind, free_ports, start_logged};
use crate::wire::http;

/// The longest until a leader is known, and until a server that was started answers.
const READY: Duration = Duration::from_secs(60);

/// Ports of one server: HTTP (clients), DNS, server (peers), LAN and WAN gossip.
const PORTS: usize = 5;

/// A server that has not answered within this time is given up for the moment.
const PATIENCE: Duration = Duration::from_secs(2);

/// Some servers that replicate.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) kind: Kind,
    members: Vec<Member>,
    // Gone after those who write there.
    _directory: tempfile::TempDir,
}

/// One of the servers.
#[derive(Debug)]
struct Member {
    program: PathBuf,
    words: Vec<OsString>,
    /// HTTP (etcd: clients).
    address: SocketAddr,
    /// By which a status names it: the port of the servers among each other.
    peer_port: u16,
    log: PathBuf,
    child: Option<Child>,
}

impl Cluster {
    /// Starts `count` servers that expect each other and waits for their leader.
    ///
    /// # Errors
    /// One does not start, or there is no leader within a minute.
    pub(crate) fn start(kind: Kind, program: &Path, count: usize) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("proconsul-bench-").tempdir()?;
        let ports = free_ports(count * PORTS)?;
        let ports: Vec<&[u16]> = ports.chunks(PORTS).collect();
        let mut members = Vec::new();
        for (number, own) in ports.iter().enumerate() {
            let home = directory.path().join(format!("server{number}"));
            std::fs::create_dir(&home)?;
            let words = match kind {
                Kind::Etcd => etcd_words(number, &home, &ports),
                Kind::Ours | Kind::Consul => consul_words(number, &home, &ports)?,
            };
            members.push(Member {
                program: program.to_owned(),
                words,
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, own[0])),
                peer_port: own[2],
                log: home.join("log"),
                child: None,
            });
        }
        let mut cluster = Self { kind, members, _directory: directory };
        for number in 0..count {
            cluster.start_one(number)?;
        }
        cluster.until_leader()?;
        for number in 0..count {
            cluster.until_follows(number)?;
        }
        Ok(cluster)
    }

    /// How many servers there are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Where one serves HTTP.
    pub(crate) fn address(&self, number: usize) -> SocketAddr {
        self.members[number].address
    }

    /// The process of one that runs.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) fn pid(&self, number: usize) -> anyhow::Result<u32> {
        let child = self.members[number].child.as_ref();
        child.map(Child::id).context("the server does not run")
    }

    /// Starts one again, with all it kept.
    ///
    /// # Errors
    /// The program does not start.
    pub(crate) fn start_one(&mut self, number: usize) -> anyhow::Result<()> {
        let member = &mut self.members[number];
        let log = File::options().create(true).append(true).open(&member.log)?;
        let mut command = Command::new(&member.program);
        member.child = Some(start_logged(command.args(&member.words), log)?);
        Ok(())
    }

    /// Kills one (-9).
    ///
    /// # Errors
    /// It does not run.
    pub(crate) fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        let mut child = self.members[number].child.take().context("the server does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Stops one as an operator who upgrades it, and waits until it has ended.
    ///
    /// # Errors
    /// It does not run, or does not end within a minute.
    pub(crate) fn stop(&mut self, number: usize) -> anyhow::Result<()> {
        let mut child = self.members[number].child.take().context("the server does not run")?;
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let asked = Instant::now();
        while asked.elapsed() < READY {
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            machine::pause(Duration::from_millis(1));
        }
        child.kill()?;
        child.wait()?;
        bail!("{} does not end when asked to", self.kind.name())
    }

    /// Waits for a leader and returns its number.
    ///
    /// # Errors
    /// There is none within a minute.
    pub(crate) fn until_leader(&self) -> anyhow::Result<usize> {
        let since = Instant::now();
        while since.elapsed() < READY {
            if let Some(leader) = self.leader() {
                return Ok(leader);
            }
            machine::pause(Duration::from_millis(2));
        }
        bail!(
            "{} has no leader after {} s: {}",
            self.kind.name(),
            READY.as_secs(),
            self.last_words()
        )
    }

    /// Waits until one that was started has caught up with the leader.
    ///
    /// # Errors
    /// It has not within a minute.
    pub(crate) fn until_follows(&self, number: usize) -> anyhow::Result<()> {
        let key = format!("cluster/follows/{number}");
        let value = format!("{:?}", Instant::now());
        let since = Instant::now();
        let mut is_written = false;
        while since.elapsed() < READY {
            is_written = is_written || self.put(self.until_leader()?, &key, value.as_bytes());
            if is_written && self.has(number, &key, value.as_bytes()) {
                return Ok(());
            }
            machine::pause(Duration::from_millis(5));
        }
        bail!("server {number} does not follow: {}", self.last_words())
    }

    /// Writes through one of the servers, and tells whether that was acknowledged.
    pub(crate) fn put(&self, number: usize, key: &str, value: &[u8]) -> bool {
        put(self.kind, self.address(number), key, value)
    }

    /// Whether one has this value in its own state.
    fn has(&self, number: usize, key: &str, value: &[u8]) -> bool {
        let address = self.address(number);
        let (answer, wanted) = match self.kind {
            Kind::Etcd => {
                let body = format!(r#"{{"key":"{}","serializable":true}}"#, base64(key.as_bytes()));
                let answer = http::call(address, "POST", "/v3/kv/range", body.as_bytes());
                (answer, base64(value).into_bytes())
            }
            Kind::Ours | Kind::Consul => {
                let path = format!("/v1/kv/{key}?stale&raw");
                (http::call(address, "GET", &path, b""), value.to_vec())
            }
        };
        answer.is_ok_and(|answer| {
            answer.status == 200
                && answer.body.windows(wanted.len().max(1)).any(|window| window == wanted)
        })
    }

    fn leader(&self) -> Option<usize> {
        let running = (0..self.len()).filter(|number| self.members[*number].child.is_some());
        match self.kind {
            Kind::Etcd => running.into_iter().find(|number| {
                let path = "/v3/maintenance/status";
                http::call_within(PATIENCE, self.address(*number), "POST", path, b"{}").is_ok_and(
                    |answer| {
                        let status: serde_json::Value =
                            serde_json::from_slice(&answer.body).unwrap_or_default();
                        let leader = &status["leader"];
                        leader.is_string() && *leader == status["header"]["member_id"]
                    },
                )
            }),
            // One that was killed is named until the others know better.
            Kind::Ours | Kind::Consul => running.into_iter().find_map(|number| {
                let (address, path) = (self.address(number), "/v1/status/leader");
                let answer = http::call_within(PATIENCE, address, "GET", path, b"");
                let text = String::from_utf8(answer.ok()?.body).ok()?;
                let leader: SocketAddr = text.trim().trim_matches('"').parse().ok()?;
                let found = |member: &Member| member.peer_port == leader.port();
                let found = self.members.iter().position(found)?;
                self.members[found].child.is_some().then_some(found)
            }),
        }
    }

    fn last_words(&self) -> String {
        let log = std::fs::read(&self.members[0].log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().rev().take(3).collect();
        let words: String = lines.into_iter().rev().collect::<Vec<_>>().join(" | ");
        words.chars().take(600).collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Already gone is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Writes through a server on a connection of its own, and tells whether that was acknowledged.
pub(crate) fn put(kind: Kind, address: SocketAddr, key: &str, value: &[u8]) -> bool {
    let answer = match kind {
        Kind::Etcd => {
            let (key, value) = (base64(key.as_bytes()), base64(value));
            let body = format!(r#"{{"key":"{key}","value":"{value}"}}"#);
            http::call_within(PATIENCE, address, "POST", "/v3/kv/put", body.as_bytes())
        }
        Kind::Ours | Kind::Consul => {
            http::call_within(PATIENCE, address, "PUT", &format!("/v1/kv/{key}"), value)
        }
    };
    answer.is_ok_and(|answer| answer.status == 200)
}

fn consul_words(number: usize, home: &Path, ports: &[&[u16]]) -> anyhow::Result<Vec<OsString>> {
    let own = ports[number];
    let others: Vec<String> = ports.iter().map(|one| format!("127.0.0.1:{}", one[3])).collect();
    let config = serde_json::json!({
        "node_name": format!("bench{number}"),
        "server": true,
        "bootstrap_expect": ports.len(),
        "bind_addr": "127.0.0.1",
        "client_addr": "127.0.0.1",
        "data_dir": home.join("data"),
        "retry_join": others,
        "retry_interval": "1s",
        "log_level": "WARN",
        "disable_update_check": true,
        "performance": { "raft_multiplier": 1 },
        "limits": { "http_max_conns_per_client": 10_000 },
        "ports": {
            "http": own[0], "dns": own[1], "server": own[2], "serf_lan": own[3],
            "serf_wan": own[4], "https": -1, "grpc": -1,
        },
    });
    let file = home.join("bench.json");
    std::fs::write(&file, serde_json::to_vec_pretty(&config)?)?;
    Ok(vec!["agent".into(), "-config-file".into(), file.into()])
}

fn etcd_words(number: usize, home: &Path, ports: &[&[u16]]) -> Vec<OsString> {
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let members: Vec<String> = ports
        .iter()
        .enumerate()
        .map(|(number, own)| format!("bench{number}={}", url(own[2])))
        .collect();
    let (client, peer) = (url(ports[number][0]), url(ports[number][2]));
    let data = home.join("data");
    let words = [
        "--name".into(),
        format!("bench{number}").into(),
        "--log-level".into(),
        "warn".into(),
        "--data-dir".into(),
        data.into_os_string(),
        "--listen-client-urls".into(),
        client.clone().into(),
        "--advertise-client-urls".into(),
        client.into(),
        "--listen-peer-urls".into(),
        peer.clone().into(),
        "--initial-advertise-peer-urls".into(),
        peer.into(),
        "--initial-cluster".into(),
        members.join(",").into(),
    ];
    words.to_vec()
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
