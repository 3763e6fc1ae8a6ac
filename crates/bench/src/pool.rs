//! Many agents of a kind in one gossip pool on this machine. What an agent knows of the others is what it logs, which is
//! the same text for all kinds.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::machine;
use crate::server::{free_ports, start_logged};

/// The longest until a pool has formed, and until all know of something.
const PATIENCE: Duration = Duration::from_secs(180);

/// Between looks at the logs.
const LOOK: Duration = Duration::from_millis(5);

/// Ports of one agent: gossip, HTTP (serf: RPC), server.
const PORTS: usize = 3;

/// Agents that are started at a time while a pool forms.
const AT_ONCE: usize = 10;

/// Which program gossips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gossip {
    /// The program under test.
    Ours,
    /// Real Consul 1.8.
    Consul,
    /// serf 0.10.
    Serf,
}

/// All of them, in the order of their turns.
pub(crate) const GOSSIPS: [Gossip; 3] = [Gossip::Ours, Gossip::Consul, Gossip::Serf];

/// Some agents in one pool; the first one is the one that others join, and Consul's only server.
#[derive(Debug)]
pub(crate) struct Pool {
    kind: Gossip,
    agents: Vec<Agent>,
    program: PathBuf,
    /// Whether the program knows gRPC over TLS, whose port would be taken by the first.
    has_grpc_tls: bool,
    // Gone after those who write there.
    directory: tempfile::TempDir,
}

#[derive(Debug)]
struct Agent {
    words: Vec<OsString>,
    log: PathBuf,
    /// The open log, and what has come since the last full line.
    reader: Option<(File, String)>,
    child: Option<Child>,
}

/// Something that agents log of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// It is there.
    Join,
    /// It does not answer.
    Failed,
}

/// An agent tells that of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) by: usize,
    pub(crate) news: News,
    pub(crate) of: usize,
}

impl Pool {
    /// Starts `count` agents and waits until all know all.
    ///
    /// # Errors
    /// One does not start, or they do not find each other.
    pub(crate) fn start(kind: Gossip, program: &Path, count: usize) -> anyhow::Result<Self> {
        let version = machine::version(program, "version").unwrap_or_default();
        let mut pool = Self {
            kind,
            agents: Vec::new(),
            program: program.to_owned(),
            has_grpc_tls: !version.starts_with("Consul v1.8"),
            directory: tempfile::Builder::new().prefix("proconsul-bench-").tempdir()?,
        };
        // One more for each join that is measured.
        let ports = free_ports((count + count / 10 + 10) * PORTS)?;
        let ports: Vec<&[u16]> = ports.chunks(PORTS).collect();
        for own in &ports {
            pool.add(own, ports[0])?;
        }
        let mut known = vec![0; count];
        for first in (0..count).step_by(AT_ONCE) {
            let last = (first + AT_ONCE).min(count);
            (first..last).try_for_each(|number| pool.run(number))?;
            // All that are up know each other; itself an agent may or may not tell of.
            pool.until(|pool, told| {
                let others =
                    told.iter().filter(|told| told.news == News::Join && told.by != told.of);
                others.for_each(|told| known[told.by] += 1);
                pool.first_silent(&known, last)
            })?;
        }
        Ok(pool)
    }

    fn first_silent(&self, known: &[usize], up: usize) -> Option<String> {
        let silent = (0..up).find(|number| known[*number] + 1 < up)?;
        Some(format!("agent {silent} knows {} of {} others", known[silent], up - 1))
    }

    fn add(&mut self, own: &[u16], first: &[u16]) -> anyhow::Result<()> {
        let number = self.agents.len();
        let home = self.directory.path().join(format!("agent{number}"));
        std::fs::create_dir(&home)?;
        let words = match self.kind {
            Gossip::Serf => serf_words(number, own, first[0]),
            Gossip::Ours | Gossip::Consul => self.consul_words(number, &home, own, first[0])?,
        };
        self.agents.push(Agent { words, log: home.join("log"), reader: None, child: None });
        Ok(())
    }

    fn consul_words(
        &self,
        number: usize,
        home: &Path,
        own: &[u16],
        first: u16,
    ) -> anyhow::Result<Vec<OsString>> {
        let mut config = serde_json::json!({
            "node_name": name(number),
            "bind_addr": "127.0.0.1",
            "client_addr": "127.0.0.1",
            "data_dir": home.join("data"),
            "retry_join": [format!("127.0.0.1:{first}")],
            "retry_interval": "1s",
            "log_level": "INFO",
            "disable_update_check": true,
            "ports": {
                "http": own[1], "dns": -1, "server": own[2], "serf_lan": own[0], "serf_wan": -1,
                "https": -1, "grpc": -1,
            },
        });
        if number == 0 {
            (config["server"], config["bootstrap_expect"]) = (true.into(), 1.into());
        }
        if self.has_grpc_tls {
            config["ports"]["grpc_tls"] = serde_json::json!(-1);
        }
        let file = home.join("bench.json");
        std::fs::write(&file, serde_json::to_vec_pretty(&config)?)?;
        Ok(vec!["agent".into(), "-config-file".into(), file.into()])
    }

    /// Agents that were started and not killed.
    pub(crate) fn running(&self) -> Vec<usize> {
        let all = self.agents.iter().enumerate();
        all.filter(|(_, agent)| agent.child.is_some()).map(|(number, _)| number).collect()
    }

    /// One that was not started yet.
    ///
    /// # Errors
    /// All were.
    pub(crate) fn spare(&self) -> anyhow::Result<usize> {
        self.agents.iter().position(|agent| agent.reader.is_none()).context("no agent is left")
    }

    /// Starts an agent.
    ///
    /// # Errors
    /// The program does not start.
    pub(crate) fn run(&mut self, number: usize) -> anyhow::Result<()> {
        let agent = &mut self.agents[number];
        let log = File::create(&agent.log)?;
        let mut command = Command::new(&self.program);
        agent.child = Some(start_logged(command.args(&agent.words), log)?);
        agent.reader = Some((File::open(&agent.log)?, String::new()));
        Ok(())
    }

    /// The process of an agent that runs.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) fn pid(&self, number: usize) -> anyhow::Result<u32> {
        self.agents[number].child.as_ref().map(Child::id).context("the agent does not run")
    }

    /// Kills an agent (-9).
    ///
    /// # Errors
    /// It does not run.
    pub(crate) fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        let mut child = self.agents[number].child.take().context("the agent does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Has an agent stand still, or go on.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) fn hold(&self, number: usize, still: bool) -> anyhow::Result<()> {
        let child = self.agents[number].child.as_ref().context("the agent does not run")?;
        let signal = if still { Signal::STOP } else { Signal::CONT };
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    /// What was logged since the last look.
    ///
    /// # Errors
    /// A log cannot be read.
    pub(crate) fn news(&mut self) -> anyhow::Result<Vec<Told>> {
        let mut all = Vec::new();
        for (by, agent) in self.agents.iter_mut().enumerate() {
            let Some((file, rest)) = &mut agent.reader else { continue };
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            if bytes.is_empty() {
                continue;
            }
            rest.push_str(&String::from_utf8_lossy(&bytes));
            let Some(end) = rest.rfind('\n') else { continue };
            let lines: String = rest.drain(..=end).collect();
            all.extend(lines.lines().filter_map(|line| read(by, line)));
        }
        Ok(all)
    }

    /// Hands what is logged to `missing` until it says that nothing is.
    ///
    /// # Errors
    /// Something is still missing after three minutes.
    pub(crate) fn until(
        &mut self,
        mut missing: impl FnMut(&Self, &[Told]) -> Option<String>,
    ) -> anyhow::Result<()> {
        let since = Instant::now();
        loop {
            let told = self.news()?;
            let Some(what) = missing(self, &told) else { return Ok(()) };
            if since.elapsed() > PATIENCE {
                bail!("{:?} after {} s: {what}", self.kind, PATIENCE.as_secs());
            }
            machine::pause(LOOK);
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Already gone is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The names of agents are of one length, so that none is the beginning of another one.
fn name(number: usize) -> String {
    format!("bench{number:04}")
}

/// What a line of a log tells of a member.
fn read(by: usize, line: &str) -> Option<Told> {
    let (_, event) = line.split_once("EventMember")?;
    let news = match event.split_once(':')?.0 {
        "Join" => News::Join,
        "Failed" => News::Failed,
        _ => return None,
    };
    // The pool of servers names them with their datacenter.
    let (_, name) = event.split_once("bench")?;
    let of = name.get(..4)?.parse().ok().filter(|_| !name[4..].starts_with('.'))?;
    Some(Told { by, news, of })
}

fn serf_words(number: usize, own: &[u16], first: u16) -> Vec<OsString> {
    let mut words = vec![
        "agent".to_owned(),
        format!("-node={}", name(number)),
        format!("-bind=127.0.0.1:{}", own[0]),
        format!("-rpc-addr=127.0.0.1:{}", own[1]),
        "-log-level=info".to_owned(),
    ];
    if number > 0 {
        words.push(format!("-retry-join=127.0.0.1:{first}"));
        words.push("-retry-interval=1s".to_owned());
    }
    words.into_iter().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_members_log_of_each_other_is_read_whoever_logs_it() {
        let told = |news, of| Some(Told { by: 7, news, of });
        for (line, expected) in [
            (
                "2026/11/21 21:00:00 [INFO] serf: EventMemberJoin: bench0012 127.0.0.1",
                told(News::Join, 12),
            ),
            (
                "    2026-11-21T21:00:00.123Z [INFO]  agent.client.serf.lan: serf: \
                 EventMemberFailed: bench0003 127.0.0.1",
                told(News::Failed, 3),
            ),
            (
                "    2026-11-21T21:00:00.123Z [INFO]  agent.server.serf.wan: serf: \
                 EventMemberJoin: bench0000.dc1 127.0.0.1",
                None,
            ),
            ("2026/11/21 21:00:00 [INFO] serf: EventMemberUpdate: bench0012", None),
            ("2026/11/21 21:00:00 [INFO] agent: Received event: member-failed", None),
        ] {
            assert_eq!(read(7, line), expected, "{line}");
        }
    }
}
