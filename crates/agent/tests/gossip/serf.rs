//! Real serf agents, where there is serf on this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde::Deserialize;

use super::pool::until;

/// Where serf 0.10 is: `SERF_0_10`, or the cache of peers.
pub(crate) fn find() -> Option<PathBuf> {
    let named = std::env::var_os("SERF_0_10").map(PathBuf::from);
    let cached =
        std::env::home_dir().map(|home| home.join(".cache/proconsul-peers/trixie/usr/bin/serf"));
    [named, cached].into_iter().flatten().find(|path| path.exists())
}

/// A running agent, ended when it is dropped.
pub(crate) struct Agent {
    child: Child,
    serf: PathBuf,
    name: String,
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
}

/// What `serf members` says of one.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) addr: String,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) tags: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Members {
    members: Vec<Member>,
}

impl Agent {
    /// Starts an agent with more options, and waits until it answers.
    pub(crate) async fn start(serf: &Path, name: &str, ip: Ipv4Addr, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::from((ip, 7946));
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let events = folder.path().join("events");
        let handler = format!(
            "user=(echo $SERF_USER_EVENT $SERF_USER_LTIME; cat; echo) >> {}",
            events.display()
        );
        std::fs::write(&events, "").unwrap();
        let child = Command::new(serf)
            .args(["agent", "-profile=local", "-log-level=debug", "-tag=role=web"])
            .arg(format!("-node={name}"))
            .arg(format!("-bind={address}"))
            .arg(format!("-rpc-addr={ip}:7373"))
            .arg(format!("-event-handler={handler}"))
            .arg(format!("-snapshot={}", folder.path().join("snapshot").display()))
            .args(options)
            .stdin(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .unwrap();
        let agent = Self { child, serf: serf.to_owned(), name: name.to_owned(), address, folder };
        until("the agent answers", async || agent.run("info", &[]).status.success()).await;
        agent
    }

    /// Runs a command against the agent.
    pub(crate) fn run(&self, command: &str, arguments: &[&str]) -> Output {
        Command::new(&self.serf)
            .arg(command)
            .arg(format!("-rpc-addr={}:7373", self.address.ip()))
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Runs a command that is to succeed; what it says.
    pub(crate) fn say(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.run(command, arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "serf {command} {arguments:?}: {said}\n{}", self.log());
        said
    }

    /// A member as the agent sees it.
    pub(crate) fn member(&self, name: &str) -> Option<Member> {
        let said = self.run("members", &["-format=json"]);
        let members: Members = serde_json::from_slice(&said.stdout).ok()?;
        members.members.into_iter().find(|member| member.name == name)
    }

    /// A member's status as the agent sees it; empty for one that it does not know.
    pub(crate) fn status(&self, name: &str) -> String {
        self.member(name).map(|member| member.status).unwrap_or_default()
    }

    /// What its handler wrote down of user events.
    pub(crate) fn events(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("events")).unwrap()
    }

    /// What it keeps of the pool.
    pub(crate) fn snapshot(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("snapshot")).unwrap_or_default()
    }

    pub(crate) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        format!("log of {}:\n{text}", self.name)
    }

    /// Ends it as a lost machine would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Agent {
    #[expect(clippy::print_stderr, reason = "what the other side saw explains a failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        // An agent that ended already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
