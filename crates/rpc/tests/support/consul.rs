//! A real Consul agent, where there is one on this machine.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rpc::{Pool, ServerAddr};
use types::msgpack;

/// Where Consul 1.8.7 is: `CONSUL_1_8`, or the cache of peers.
pub(crate) fn find() -> Option<PathBuf> {
    let named = std::env::var_os("CONSUL_1_8").map(PathBuf::from);
    let cached = std::env::home_dir()
        .map(|home| home.join(".cache/proconsul-peers/bullseye/usr/bin/consul"));
    [named, cached].into_iter().flatten().find(|path| path.exists())
}

/// As many ports that nobody uses.
fn free_ports<const N: usize>() -> [u16; N] {
    let taken = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    taken.map(|listener| listener.local_addr().unwrap().port())
}

/// A running agent, ended when it is dropped.
pub(crate) struct Agent {
    child: Child,
    pub(crate) server: ServerAddr,
    _folder: tempfile::TempDir,
}

impl Agent {
    /// Starts a server in development mode with more configuration, and waits until it leads.
    pub(crate) async fn start(consul: &Path, configuration: &str, pool: &Pool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [server, serf_lan, serf_wan, http] = free_ports();
        let file = folder.path().join("agent.hcl");
        let ports = format!(
            "ports {{ server = {server} serf_lan = {serf_lan} serf_wan = {serf_wan} http = {http} dns = -1 grpc = -1 }}"
        );
        std::fs::write(&file, format!("{ports}\n{configuration}\n")).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(consul)
            .args(["agent", "-dev", "-node", "real", "-config-file"])
            .arg(&file)
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = ServerAddr {
            datacenter: "dc1".into(),
            id: String::new(),
            name: "real".to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], server)),
        };
        let agent = Self { child, server, _folder: folder };
        agent.wait_until_it_leads(pool).await;
        agent
    }

    async fn wait_until_it_leads(&self, pool: &Pool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let leader = pool
                .call(
                    &self.server,
                    "Status.Leader",
                    Bytes::from_static(b"\x80"),
                    Duration::from_secs(5),
                )
                .await;
            match leader.as_deref().map(msgpack::from_slice::<String>) {
                Ok(Ok(leader)) if leader == self.server.address.to_string() => return,
                other => assert!(Instant::now() < deadline, "the agent does not lead: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // An agent that ended already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
