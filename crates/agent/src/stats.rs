//! What `consul info` shows (`reference/cli.md`, section on `info`).

use std::collections::BTreeMap;
use std::sync::PoisonError;

use config::RuntimeConfig;
use server::Server;
use types::version::{CONSUL_REVISION, CONSUL_VERSION};

use crate::delegate::Delegate;
use crate::process::AgentHandle;

/// Sections of text by name.
pub(crate) type Stats = BTreeMap<&'static str, BTreeMap<&'static str, String>>;

/// Gathers all sections.
pub(crate) async fn gather(agent: &AgentHandle) -> Stats {
    let config = agent.config();
    let mut stats = Stats::new();
    if let Some(counts) = agent.local().map(|local| local.counts()) {
        stats.insert(
            "agent",
            BTreeMap::from([
                ("check_monitors", counts.check_monitors.to_string()),
                ("check_ttls", counts.check_ttls.to_string()),
                ("checks", counts.checks.to_string()),
                ("services", counts.services.to_string()),
            ]),
        );
    }
    stats.insert(
        "build",
        BTreeMap::from([
            ("prerelease", String::new()),
            ("revision", CONSUL_REVISION.to_owned()),
            ("version", CONSUL_VERSION.to_owned()),
            ("version_metadata", String::new()),
        ]),
    );
    match agent.delegate() {
        Delegate::Server(server) => server_sections(server, &config, &mut stats).await,
        Delegate::Client(client) => {
            let acl = if config.acl.enabled { "enabled" } else { "disabled" };
            let section = BTreeMap::from([
                ("acl", acl.to_owned()),
                ("known_servers", client.known_servers().to_string()),
                ("server", "false".to_owned()),
            ]);
            stats.insert("consul", section);
        }
    }
    if config.snapshot_schedule.is_some() {
        let status = agent.snapshots().lock().unwrap_or_else(PoisonError::into_inner);
        stats.insert("snapshot_schedule", status.figures());
    }
    stats.insert("runtime", runtime());
    let pools = agent.pools();
    stats.insert("serf_lan", pools.lan().stats().await);
    if let Some(wan) = pools.wan() {
        stats.insert("serf_wan", wan.stats().await);
    }
    stats
}

async fn server_sections(server: &Server, config: &RuntimeConfig, stats: &mut Stats) {
    let raft = server.raft();
    let leader = raft.leader().map(|leader| leader.address.to_string()).unwrap_or_default();
    stats.insert(
        "consul",
        BTreeMap::from([
            ("acl", if config.acl.enabled { "enabled" } else { "disabled" }.to_owned()),
            ("bootstrap", config.bootstrap.bootstrap.to_string()),
            ("known_datacenters", server.datacenters().len().to_string()),
            ("leader", raft.is_leader().to_string()),
            ("leader_addr", leader),
            ("server", "true".to_owned()),
        ]),
    );
    // A host that is shutting down has no figures.
    if let Ok(figures) = raft.stats().await {
        stats.insert("raft", figures.to_map());
    }
}

fn runtime() -> BTreeMap<&'static str, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).to_string();
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    BTreeMap::from([
        ("arch", go_arch().to_owned()),
        ("cpu_count", cores.clone()),
        // What a goroutine is to Consul, a task is here.
        ("goroutines", tasks.to_string()),
        ("max_procs", cores),
        ("os", std::env::consts::OS.to_owned()),
        ("version", concat!("proconsul", env!("CARGO_PKG_VERSION")).to_owned()),
    ])
}

/// The architecture under the name that Consul's users know.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
