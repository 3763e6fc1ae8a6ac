//! A cluster that listens to nobody else: gossip is encrypted, and servers are spoken to over
//! TLS with names. What a user does who moves such a cluster: the authority and the first
//! certificates are real Consul's, those for our servers are made by ours, keys are rotated
//! from either side, and who has the wrong ones stays outside and is told what to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::{Kind, SERVERS, SOON, Site, WORDS};
use crate::live::server::pause;

/// Keys and certificates.
pub(super) struct Security {
    folder: PathBuf,
    /// What gossip is encrypted with now.
    key: String,
}

impl Security {
    pub(super) fn make(real: &Path, ours: &Path, folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join("security");
        for authority in ["own", "other"] {
            let at = folder.join(authority);
            fs::create_dir_all(&at)?;
            run(real, &at, &["tls", "ca", "create"])?;
            // Numbered in the order in which they are made.
            run(real, &at, &["tls", "cert", "create", "-server"])?;
            run(ours, &at, &["tls", "cert", "create", "-server"])?;
            run(ours, &at, &["tls", "cert", "create", "-client"])?;
        }
        let key = run(real, &folder, &["keygen"])?;
        Ok(Self { folder, key })
    }

    /// What a server of this kind is told beside all else.
    pub(super) fn server(&self, kind: Kind) -> Vec<String> {
        let certificate = match kind {
            Kind::Real => "dc1-server-consul-0",
            Kind::Ours => "dc1-server-consul-1",
        };
        vec![self.encrypt(), self.tls("own", certificate)]
    }

    fn encrypt(&self) -> String {
        format!("-encrypt={}", self.key)
    }

    fn tls(&self, authority: &str, certificate: &str) -> String {
        let at = self.folder.join(authority);
        let file = |name: &str| at.join(name).display().to_string();
        format!(
            "-hcl=ca_file = {:?}\ncert_file = {:?}\nkey_file = {:?}\nverify_incoming = true\n\
             verify_outgoing = true\nverify_server_hostname = true",
            file("consul-agent-ca.pem"),
            file(&format!("{certificate}.pem")),
            file(&format!("{certificate}-key.pem")),
        )
    }
}

/// Runs a command in a folder; what it prints.
fn run(consul: &Path, at: &Path, words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(consul).args(words).current_dir(at).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "consul {}: {said}", words.join(" "));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Who is not let in: what is wrong, what it is told itself if it is ours, and what our
/// servers are told.
const STRANGERS: &[(&str, &str, &str)] = &[
    ("nokey", "set `encrypt` here", "set `encrypt` there"),
    ("otherkey", "with different keys", "with different keys"),
    ("notls", "verify_outgoing here", "verify_outgoing there"),
    ("otherauthority", "not in tls.defaults.ca_file here", "does not take this one's certificate"),
];

impl Site {
    /// A client agent of this kind that has all that it needs.
    pub(super) fn add_client(&mut self, kind: Kind) -> anyhow::Result<usize> {
        let security = self.security.as_ref().context("the cluster is open to all")?;
        let words = [security.encrypt(), security.tls("own", "dc1-client-consul-0")];
        let client = self.add_agent("client", kind, &words)?;
        self.writes_through(client)?;
        Ok(client)
    }

    /// An acknowledged write through an agent.
    pub(super) fn writes_through(&mut self, agent: usize) -> anyhow::Result<()> {
        let until = std::time::Instant::now() + SOON;
        loop {
            self.cluster.check()?;
            let machine = &self.cluster.machines[agent];
            let Err(error) = machine.must("PUT", "/v1/kv/secured", b"through the client") else {
                return Ok(());
            };
            ensure!(std::time::Instant::now() < until, "{error:#}\n{}", machine.last_lines());
            pause(std::time::Duration::from_millis(50));
        }
    }

    /// Agents of this kind that have not what they need try to get in.
    pub(super) fn strangers(&mut self, kind: Kind) -> anyhow::Result<usize> {
        for (wrong, own, servers) in STRANGERS {
            let security = self.security.as_ref().context("the cluster is open to all")?;
            let tls = security.tls("own", "dc1-client-consul-0");
            let words = match *wrong {
                "nokey" => vec![tls],
                "otherkey" => vec![format!("-encrypt={}", OTHER_KEY), tls],
                "notls" => vec![security.encrypt()],
                _ => vec![security.encrypt(), security.tls("other", "dc1-client-consul-0")],
            };
            let name = format!("{wrong}-{kind:?}").to_lowercase();
            let before: Vec<usize> = (0..SERVERS).map(|server| self.log(server).len()).collect();
            let stranger = self.add_agent(&name, kind, &words)?;
            let until = std::time::Instant::now() + SOON;
            loop {
                self.cluster.check()?;
                let is_told = match kind {
                    Kind::Ours => self.log(stranger).contains(own),
                    Kind::Real => {
                        (0..SERVERS).any(|at| self.log(at)[before[at]..].contains(servers))
                    }
                };
                if is_told {
                    break;
                }
                let lines = self.cluster.machines[stranger].last_lines();
                ensure!(std::time::Instant::now() < until, "nobody explains {name}:\n{lines}");
                pause(std::time::Duration::from_millis(50));
            }
            let machine = &mut self.cluster.machines[stranger];
            let written = machine.ask("PUT", "/v1/kv/stranger", b"was here")?;
            ensure!(written.status == 500, "{name} writes: {}", written.text());
            machine.kill()?;
        }
        Ok(STRANGERS.len())
    }

    /// Another key for gossip: brought by one agent, taken up and cleaned up by another.
    pub(super) fn rotate(&mut self, brings: usize, takes: usize) -> anyhow::Result<()> {
        let security = self.security.as_mut().context("the cluster is open to all")?;
        let machine = |number: usize| &self.cluster.machines[number];
        let (old, new) = (security.key.clone(), machine(takes).command(&["keygen"])?);
        let new = new.trim().to_owned();
        machine(brings).command(&["keyring", "-install", &new])?;
        let everybody_has = |listed: &str, key: &str| {
            let counts = listed.lines().filter_map(|line| {
                let (_, count) = line.trim().split_once(key)?;
                count.trim().strip_prefix('[')?.strip_suffix(']')?.split_once('/')
            });
            let counts: Vec<_> = counts.collect();
            // Of the LAN and of the WAN pool.
            counts.len() == 2 && counts.iter().all(|(have, all)| have == all)
        };
        let listed = machine(takes).command(&["keyring", "-list"])?;
        ensure!(everybody_has(&listed, &new), "not everybody has {new}:\n{listed}");
        machine(takes).command(&["keyring", "-use", &new])?;
        machine(takes).command(&["keyring", "-remove", &old])?;
        for agent in [brings, takes] {
            let listed = machine(agent).command(&["keyring", "-list"])?;
            let is_so = everybody_has(&listed, &new) && !listed.contains(&old);
            ensure!(is_so, "the keys are not rotated:\n{listed}");
        }
        security.key = new;
        Ok(())
    }

    fn add_agent(&mut self, name: &str, kind: Kind, words: &[String]) -> anyhow::Result<usize> {
        let joins = (0..SERVERS)
            .map(|server| format!("-retry-join={}", self.cluster.machines[server].host.address));
        let words: Vec<String> = words.iter().cloned().chain(joins).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let program = self.program(kind).clone();
        let agent = self.cluster.add(name, &program, &[WORDS, &words[..]].concat())?;
        self.cluster.machines[agent].start()?;
        Ok(agent)
    }

    fn log(&self, machine: usize) -> String {
        self.cluster.machines[machine].log()
    }
}

/// Nobody here has it.
const OTHER_KEY: &str = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8=";
