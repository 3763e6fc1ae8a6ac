//! An agent, real or ours, that lives as long as the value does.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::live::http::{Answer, Connection};

/// How long an agent may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The token that may do everything.
const TOKEN: &str = "root";

pub(super) struct Agent {
    child: Child,
    address: SocketAddr,
}

/// The settings of ACLs where there are records of them, which ours keeps without obeying.
pub(super) fn acls() -> Value {
    json!({"enabled": true, "default_policy": "allow", "tokens": {"master": TOKEN}})
}

impl Agent {
    /// Starts an agent that keeps nothing on disk and waits until it leads.
    pub(super) fn start(
        consul: &Path,
        folder: &Path,
        node: &str,
        acl: &Value,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let names = ["http", "dns", "server", "serf_lan", "serf_wan"];
        let sockets: Vec<TcpListener> = names
            .iter()
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<Result<_, _>>()?;
        let mut ports = serde_json::Map::new();
        for (name, socket) in names.iter().zip(&sockets) {
            ports.insert((*name).to_owned(), socket.local_addr()?.port().into());
        }
        ports.insert("grpc".to_owned(), (-1).into());
        let address = sockets[0].local_addr()?;
        drop(sockets);
        let configuration = json!({
            "ports": ports, "bind_addr": "127.0.0.1", "primary_datacenter": "dc1",
            "acl": acl,
        });
        let file = folder.join("agent.json");
        fs::write(&file, configuration.to_string())?;
        let log = fs::File::create(folder.join("log"))?;
        let child = Command::new(consul)
            .args(["agent", "-dev", "-node", node, "-config-file"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", consul.display()))?;
        let mut agent = Self { child, address };
        agent.until_ready(node)?;
        Ok(agent)
    }

    /// Whether the leader has made the root of the mesh.
    fn has_root(&self) -> bool {
        let roots = self.ask("GET", "/v1/connect/ca/roots", b"").ok();
        let roots = roots.and_then(|roots| serde_json::from_slice::<Value>(&roots.body).ok());
        roots.is_some_and(|roots| roots["ActiveRootID"].as_str().is_some_and(|id| !id.is_empty()))
    }

    /// Its own node is in the catalog once it leads and has told what it has.
    fn until_ready(&mut self, node: &str) -> anyhow::Result<()> {
        let until = Instant::now() + START_TIMEOUT;
        let target = format!("/v1/catalog/node/{node}");
        loop {
            ensure!(self.child.try_wait()?.is_none(), "the agent {node} ended by itself");
            if let Ok(answer) = self.ask("GET", &target, b"")
                && answer.status == 200
                && answer.text() != "null"
                && self.has_root()
            {
                return Ok(());
            }
            ensure!(
                Instant::now() < until,
                "the agent {node} is not ready after {START_TIMEOUT:?}"
            );
            pause();
        }
    }

    /// Asks with the token that may do everything.
    pub(super) fn ask(&self, method: &str, target: &str, body: &[u8]) -> anyhow::Result<Answer> {
        let separator = if target.contains('?') { '&' } else { '?' };
        let target = format!("{target}{separator}token={TOKEN}");
        Ok(Connection::open(self.address)?.ask(method, &target, body)?)
    }

    /// Asks for what must succeed.
    pub(super) fn must(&self, method: &str, target: &str, body: &[u8]) -> anyhow::Result<Answer> {
        let answer = self.ask(method, target, body)?;
        ensure!(answer.status == 200, "{method} {target}: {} {}", answer.status, answer.text());
        Ok(answer)
    }

    pub(super) fn save(&self) -> anyhow::Result<Vec<u8>> {
        Ok(self.must("GET", "/v1/snapshot", b"")?.body)
    }

    pub(super) fn restore(&self, archive: &[u8]) -> anyhow::Result<()> {
        self.must("PUT", "/v1/snapshot", archive).map(|_| ())
    }

    /// What it answers to each of these questions.
    pub(super) fn answers<'q>(
        &self,
        questions: impl Iterator<Item = &'q &'q str>,
        session: &str,
    ) -> anyhow::Result<BTreeMap<String, Value>> {
        questions
            .map(|question| {
                let question = question.replace("{session}", session);
                let answer = self.must("GET", &question, b"")?;
                let value = serde_json::from_slice(&answer.body)
                    .with_context(|| format!("{question}: {}", answer.text()))?;
                Ok((question, value))
            })
            .collect()
    }

    /// Runs a command against it.
    pub(super) fn command(&self, consul: &Path, words: &[&str]) -> anyhow::Result<()> {
        let output = Command::new(consul)
            .args(words)
            .env("CONSUL_HTTP_ADDR", self.address.to_string())
            .env("CONSUL_HTTP_TOKEN", TOKEN)
            .output()?;
        if !output.status.success() {
            bail!("consul {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

/// A moment between two questions.
#[expect(clippy::disallowed_methods, reason = "a chore has no runtime to wait with")]
pub(super) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself, which the caller has noticed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
