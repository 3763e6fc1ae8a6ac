//! Several agents, started as an operator would, each on a host of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::http::{Answer, Connection};
use super::network::{Host, Network};
use super::server::pause;

const HTTP_PORT: u16 = 8500;

/// Lines of the log that an error shows.
const LOG_LINES: usize = 15;

/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// An agent answers a question within this time or is taken to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Agents of one network. All are killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    // The agents end before what is between them is taken down.
    pub(crate) machines: Vec<Machine>,
    pub(crate) network: Network,
    folder: PathBuf,
}

/// A host with an agent, which may run or not.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) host: Host,
    pub(crate) consul: PathBuf,
    /// What is said to `consul agent` beside where it lives.
    pub(crate) words: Vec<String>,
    data: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Cluster {
    /// No agents yet; what they keep is in a folder that is there.
    pub(crate) fn new(network: Network, folder: &Path) -> Self {
        Self { machines: Vec::new(), network, folder: folder.to_owned() }
    }

    /// One more machine, with an agent that is not started. Returns its number.
    pub(crate) fn add(
        &mut self,
        name: &str,
        consul: &Path,
        words: &[&str],
    ) -> anyhow::Result<usize> {
        let host = self.network.add(name)?;
        self.machines.push(Machine {
            consul: consul.to_owned(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            data: self.folder.join(format!("{name}.data")),
            log: self.folder.join(format!("{name}.log")),
            child: None,
            host,
        });
        Ok(self.machines.len() - 1)
    }

    /// Three, five, … servers that expect each other and find each other by address.
    pub(crate) fn add_servers(
        &mut self,
        count: usize,
        consul: &Path,
        words: &[&str],
    ) -> anyhow::Result<()> {
        let first = self.machines.len();
        let expect = format!("-bootstrap-expect={count}");
        for number in 1..=count {
            let words = [&["-server", expect.as_str()], words].concat();
            self.add(&format!("server{number}"), consul, &words)?;
        }
        self.join_by_address(first);
        Ok(())
    }

    /// Has all machines try those from `first` on until one answers.
    pub(crate) fn join_by_address(&mut self, first: usize) {
        let servers: Vec<String> = self.machines[first..]
            .iter()
            .filter(|machine| machine.is_server())
            .map(|machine| format!("-retry-join={}", machine.host.address))
            .collect();
        for machine in &mut self.machines {
            machine.words.retain(|word| !word.starts_with("-retry-join="));
            machine.words.extend(servers.iter().cloned());
        }
    }

    /// Starts all that do not run.
    pub(crate) fn start_all(&mut self) -> anyhow::Result<()> {
        self.machines.iter_mut().try_for_each(Machine::start)
    }

    /// The number of the server that leads, if one says so.
    pub(crate) fn leader(&self) -> Option<usize> {
        let running = self.machines.iter().filter(|machine| machine.child.is_some());
        let address = running
            .filter_map(|machine| machine.json("/v1/status/leader").ok())
            .find_map(|leader| leader.as_str()?.parse::<SocketAddr>().ok())?;
        self.machines.iter().position(|machine| address.ip() == machine.host.address)
    }

    /// Waits until a server leads, and returns its number.
    pub(crate) fn until_leader(&mut self, within: Duration) -> anyhow::Result<usize> {
        let until = Instant::now() + within;
        loop {
            self.check()?;
            if let Some(leader) = self.leader() {
                return Ok(leader);
            }
            if Instant::now() > until {
                bail!("no leader after {within:?}\n{}", self.last_lines());
            }
            pause(LOOK);
        }
    }

    /// Waits until what an agent answers to a question is as wanted.
    pub(crate) fn until(
        &mut self,
        machine: usize,
        target: &str,
        within: Duration,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let until = Instant::now() + within;
        loop {
            self.check()?;
            let last = match self.machines[machine].json(target) {
                Ok(answer) if is_wanted(&answer) => return Ok(answer),
                Ok(answer) => answer.to_string(),
                Err(error) => format!("{error:#}"),
            };
            let name = &self.machines[machine].host.name;
            if Instant::now() > until {
                let lines = self.last_lines();
                bail!("{name} {target} is not as wanted after {within:?}: {last}\n{lines}");
            }
            pause(LOOK);
        }
    }

    /// No agent has ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        for machine in &mut self.machines {
            let Some(child) = &mut machine.child else { continue };
            if let Some(status) = child.try_wait()? {
                machine.child = None;
                let (name, lines) = (&machine.host.name, machine.last_lines());
                bail!("{name} ended by itself, {status}; its last lines:\n{lines}");
            }
        }
        Ok(())
    }

    fn last_lines(&self) -> String {
        let lines = self.machines.iter();
        lines.map(|machine| format!("{}:\n{}\n", machine.host.name, machine.last_lines())).collect()
    }
}

impl Machine {
    /// Where its agent answers HTTP.
    pub(crate) fn http(&self) -> SocketAddr {
        SocketAddr::from((self.host.address, HTTP_PORT))
    }

    /// What its agent keeps.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Has its agent keep what it keeps in another folder from its next start on.
    pub(crate) fn move_data(&mut self, data: PathBuf) {
        self.data = data;
    }

    pub(crate) fn is_server(&self) -> bool {
        self.words.iter().any(|word| word == "-server")
    }

    /// Starts the agent unless it runs, and does not wait for it.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        let child = self
            .host
            .command(&self.consul)
            .arg("agent")
            .arg(format!("-node={}", self.host.name))
            .arg(format!("-data-dir={}", self.data.display()))
            .arg(format!("-bind={}", self.host.address))
            .arg(format!("-client={}", self.host.address))
            .args(&self.words)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.consul.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Ends the agent at once, as a lost machine would.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("it does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Signals the agent: to stand still, to go on, to leave.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let child = self.child.as_ref().context("it does not run")?;
        kill_process(Pid::from_child(child), signal).context("cannot signal the agent")
    }

    /// Waits until the agent has ended.
    pub(crate) fn until_ended(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let until = Instant::now() + within;
        let child = self.child.as_mut().context("it does not run")?;
        loop {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(status);
            }
            if Instant::now() > until {
                let (name, lines) = (&self.host.name, self.last_lines());
                bail!("{name} has not ended after {within:?}; its last lines:\n{lines}");
            }
            pause(LOOK);
        }
    }

    /// Asks the agent.
    pub(crate) fn ask(&self, method: &str, target: &str, body: &[u8]) -> anyhow::Result<Answer> {
        Ok(Connection::open_patient(self.http(), PATIENCE)?.ask(method, target, body)?)
    }

    /// Asks for what must succeed.
    pub(crate) fn must(&self, method: &str, target: &str, body: &[u8]) -> anyhow::Result<Answer> {
        let answer = self.ask(method, target, body)?;
        let (name, status) = (&self.host.name, answer.status);
        ensure!(status == 200, "{name}: {method} {target}: {status} {}", answer.text());
        Ok(answer)
    }

    /// What it answers to a question, as JSON.
    pub(crate) fn json(&self, target: &str) -> anyhow::Result<Value> {
        let answer = self.must("GET", target, b"")?;
        serde_json::from_slice(&answer.body).with_context(|| format!("{target}: {}", answer.text()))
    }

    /// What a command against it prints; it must succeed.
    pub(crate) fn command(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut command: Command = self.host.command(&self.consul);
        let output = command
            .args(words)
            .env("CONSUL_HTTP_ADDR", self.http().to_string())
            .output()
            .with_context(|| format!("cannot run {}", self.consul.display()))?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "consul {}: {error}", words.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What its agents logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of the log, for people.
    pub(crate) fn last_lines(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // One that stands still is killed all the same; nothing else can go wrong.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
