//! An agent in the hands of those who operate it: the service manager, files that change
//! under it, syslog, limits (`reference/config.md` sections 3 and 9).
//!
//! Nothing here waits for time to pass: a test waits for a line, a datagram or an answer.

mod support;

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use support::{Agent, PATIENCE, command, free_ports, text, until};

#[test]
fn the_service_manager_is_told_of_start_reload_and_end() {
    let name = format!("proconsul-notify-{}", std::process::id());
    let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let socket = format!("@{name}");
    let mut agent = Agent::start_with(free_ports(), &["-dev"], &[("NOTIFY_SOCKET", &socket)]);
    assert_eq!(received(&manager), "READY=1\n");
    agent.await_line("Consul agent running!");
    let leader = agent.http("GET", "/v1/status/leader", "").1;
    assert!(leader.contains("127.0.0.1:"), "it is ready when there is a leader: {leader:?}");

    agent.signal("HUP");
    let reloading = received(&manager);
    let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().trim_end();
    assert!(time.parse::<u64>().unwrap() > 0);
    assert_eq!(received(&manager), "READY=1\n");

    agent.signal("TERM");
    assert_eq!(received(&manager), "STOPPING=1\n");
    assert_eq!(agent.ended(), 1);
}

#[test]
fn lines_go_to_syslog_with_the_facility_that_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let daemon = UnixDatagram::bind(&path).unwrap();
    let settings = ["-dev", "-log-level=info", "-syslog", "-hcl", "syslog_facility = \"LOCAL3\""];
    let variables = [("PROCONSUL_SYSLOG_SOCKET", path.to_str().unwrap())];
    let mut agent = Agent::start_with(free_ports(), &settings, &variables);
    agent.await_line("Consul agent running!");
    let tail = format!(" consul[{}]: agent: Consul agent running!\n", agent.child.id());
    let line = loop {
        let line = received(&daemon);
        if line.ends_with(&tail) {
            break line;
        }
    };
    // 19 is LOCAL3, 5 is notice.
    assert!(line.starts_with(&format!("<{}>", 19 * 8 + 5)), "{line}");
}

#[test]
fn an_agent_that_watches_its_files_reloads_when_they_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |path: &Path, text: &str| fs::write(path, text).unwrap();
    // As Kubernetes mounts a config map.
    for (data, service) in [("..data-1", "first"), ("..data-2", "second")] {
        fs::create_dir(path(data)).unwrap();
        write(&path(data).join("service.hcl"), &format!("service {{ name = \"{service}\" }}"));
    }
    std::os::unix::fs::symlink("..data-1", path("..data")).unwrap();
    std::os::unix::fs::symlink("..data/service.hcl", path("service.hcl")).unwrap();
    let agent_file = path("agent.hcl");
    write(&agent_file, "auto_reload_config = true log_level = \"info\"");
    let dir = folder.path().to_str().unwrap();
    let mut agent = Agent::start(&["-dev", "-config-dir", dir]);
    agent.await_line("Consul agent running!");
    let services = |agent: &Agent| agent.http("GET", "/v1/agent/services", "").1;
    agent.until(&services, "\"first\"");

    std::os::unix::fs::symlink("..data-2", path("..tmp")).unwrap();
    fs::rename(path("..tmp"), path("..data")).unwrap();
    let line = agent.await_line("agent.file-watcher: Configuration files changed, reloading");
    assert!(line.contains("service.hcl") && !line.contains("agent.hcl"), "{line}");
    agent.until(&services, "\"second\"");
    assert!(!services(&agent).contains("\"first\""));

    write(&agent_file, "auto_reload_config = true log_level = ");
    agent.await_line("[ERROR] agent: Reload config failed: error=");
    // As editors do it.
    write(&path("agent.hcl~"), "auto_reload_config = true log_level = \"warn\"");
    fs::rename(path("agent.hcl~"), &agent_file).unwrap();
    agent.until_log_level("warn");

    write(&agent_file, "encrypt_verify_incoming = false");
    let line = agent.await_line("[WARN]  agent: encrypt_verify_incoming");
    assert!(line.contains("run `consul reload`"), "{line}");
    agent.until_log_level("warn");
}

#[test]
fn requests_above_the_limit_are_refused_until_a_reload_lifts_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("limits.hcl");
    let limits = |mode: &str| {
        let text = format!(
            "limits {{ request_limits {{ mode = \"{mode}\" read_rate = 0 write_rate = 0 }} }}"
        );
        fs::write(&file, text).unwrap();
    };
    limits("enforcing");
    let mut agent = Agent::start(&["-dev", "-config-file", file.to_str().unwrap()]);
    agent.await_line("Consul agent running!");
    agent.await_line_in_any_order("cluster leadership acquired");
    let later = "rate limit exceeded for operation that can only be performed by the leader, try \
                 again later";
    let elsewhere = "rate limit exceeded, try again later or against a different server";
    assert_eq!(agent.http("PUT", "/v1/kv/a", "x"), (503, later.to_owned()));
    let line = agent.await_line("RPC exceeded allowed rate limit: rpc=KVS.Apply");
    assert!(line.contains("[DEBUG] agent.server.rpc-rate-limit: "), "{line}");
    assert!(
        line.ends_with(" source_addr=127.0.0.1 limit_type=global/write limit_enforced=true"),
        "{line}"
    );
    assert_eq!(agent.http("GET", "/v1/kv/a", ""), (503, later.to_owned()));
    assert_eq!(agent.http("GET", "/v1/kv/a?stale", ""), (429, elsewhere.to_owned()));
    assert_eq!(agent.http("GET", "/v1/agent/services", "").0, 200, "no call reaches the server");

    limits("permissive");
    agent.signal("HUP");
    agent.until(&|agent| agent.http("PUT", "/v1/kv/a", "x").1, "true");
    assert_eq!(agent.http("GET", "/v1/kv/a?raw", ""), (200, "x".to_owned()));
    let line = agent.await_line("limit_enforced=false");
    assert!(line.contains("agent.server.rpc-rate-limit"), "{line}");
}

#[test]
fn one_client_has_no_more_connections_than_the_limit_allows() {
    let one = "limits { http_max_conns_per_client = 1 }";
    let mut agent = Agent::start(&["-dev", "-hcl", one]);
    agent.await_line("Consul agent running!");
    let held = std::net::TcpStream::connect(("127.0.0.1", agent.ports[0])).unwrap();
    let refused = |agent: &Agent| agent.http("GET", "/v1/status/leader", "").0.to_string();
    agent.until(&refused, "429");
    drop(held);
    agent.until(&refused, "200");
}

/// For each part of the agent that a reload changes (but those with tests of their own):
/// what is set, and where it shows.
const RELOADS: &[(&str, Shows)] = &[
    ("node_meta { rack = \"r7\" }", Shows::Http("/v1/catalog/node/agent", "\"rack\": \"r7\"")),
    ("service { id = \"s3\" name = \"s\" }", Shows::Http("/v1/catalog/service/s", "\"s3\"")),
    (
        "check { id = \"c\" name = \"c\" ttl = \"1h\" status = \"warning\" }",
        Shows::Http("/v1/health/state/warning", "\"c\""),
    ),
    ("dns_config { a_record_limit = 1 }", Shows::Answers("s.service.consul", 1)),
    (
        "raft_snapshot_threshold = 1 raft_snapshot_interval = \"1ms\"",
        Shows::Changed("/v1/agent/self", "\"last_snapshot_index\": \"0\""),
    ),
    (
        "ui_config { metrics_proxy { base_url = \"http://127.0.0.1:1\" } }",
        Shows::Changed("/v1/internal/ui/metrics-proxy/x", "Metrics proxy is not enabled"),
    ),
    ("ui_config { enabled = false }", Shows::Http("/", "UI disabled")),
    ("enable_debug = false", Shows::Http("/v1/agent/self", "\"EnableDebug\": false")),
    ("log_level = \"error\"", Shows::Http("/v1/agent/self", "\"LogLevel\": \"error\"")),
];

enum Shows {
    /// The answer contains this.
    Http(&'static str, &'static str),
    /// The answer contains this no more.
    Changed(&'static str, &'static str),
    /// The name has so many addresses.
    Answers(&'static str, u16),
}

#[test]
fn every_part_takes_its_new_settings_on_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.hcl");
    let both = "services = [{ id = \"s1\" name = \"s\" address = \"127.0.0.1\" }, { id = \"s2\" \
                name = \"s\" address = \"127.0.0.2\" }]";
    fs::write(&file, both).unwrap();
    let mut agent = Agent::start(&["-dev", "-config-file", file.to_str().unwrap()]);
    agent.await_line("Consul agent running!");
    agent.until(&|agent| agent.dns_answers("s.service.consul").to_string(), "2");
    for (setting, shows) in RELOADS {
        let state = |agent: &Agent| match shows {
            Shows::Http(path, text) => agent.http("GET", path, "").1.contains(text).to_string(),
            Shows::Changed(path, text) => {
                (!agent.http("GET", path, "").1.contains(text)).to_string()
            }
            Shows::Answers(name, count) => (agent.dns_answers(name) == *count).to_string(),
        };
        assert_eq!(state(&agent), "false", "{setting}");
        fs::write(&file, format!("{both} {setting}")).unwrap();
        let (code, output) = agent.consul(&["reload"]);
        assert_eq!((code, output.as_str()), (0, "Configuration reload triggered\n"), "{setting}");
        agent.until(&state, "true");
    }
}

#[test]
fn a_reload_lets_metrics_through_that_a_rule_held_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.hcl");
    let telemetry = |rules: &str| {
        let keep = "prometheus_retention_time = \"1m\"";
        fs::write(&file, format!("telemetry {{ {keep} prefix_filter = [{rules}] }}")).unwrap();
    };
    telemetry("\"-consul.api.http\"");
    let mut agent = Agent::start(&["-dev", "-config-file", file.to_str().unwrap()]);
    agent.await_line("Consul agent running!");
    let metrics = |agent: &Agent| agent.http("GET", "/v1/agent/metrics?format=prometheus", "").1;
    metrics(&agent);
    let shown = metrics(&agent);
    assert!(shown.contains("consul_raft_") && !shown.contains("consul_api_http"), "{shown}");
    telemetry("");
    assert_eq!(agent.consul(&["reload"]).0, 0);
    agent.until(&metrics, "consul_api_http{");
}

#[test]
fn a_reload_throws_the_output_of_checks_away() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.hcl");
    let discard = |discards: bool| {
        let check = "check { id = \"c\" name = \"c\" ttl = \"1h\" }";
        fs::write(&file, format!("{check} discard_check_output = {discards}")).unwrap();
    };
    discard(false);
    let mut agent = Agent::start(&["-dev", "-config-file", file.to_str().unwrap()]);
    agent.await_line("Consul agent running!");
    let said = |agent: &Agent, note: &str| {
        let pass = format!("/v1/agent/check/pass/c?note={note}");
        assert_eq!(agent.http("PUT", &pass, "").0, 200);
        agent.http("GET", "/v1/agent/checks", "").1.contains(note)
    };
    assert!(said(&agent, "first"));
    discard(true);
    assert_eq!(agent.consul(&["reload"]).0, 0);
    until(|| !said(&agent, "second"));
}

#[test]
fn what_needs_a_restart_is_named_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.hcl");
    fs::write(&file, "").unwrap();
    let mut agent = Agent::start(&["-dev", "-config-file", file.to_str().unwrap()]);
    agent.await_line("Consul agent running!");
    let text = "datacenter = \"other\" http_config { response_headers { a = \"b\" } } node_meta { \
                rack = \"r7\" }";
    fs::write(&file, text).unwrap();
    agent.signal("HUP");
    let line = "agent: A changed setting takes effect at the next start only: key=";
    agent.await_line(&format!("{line}datacenter"));
    agent.await_line(&format!("{line}http_config.response_headers"));
    let node = |agent: &Agent| agent.http("GET", "/v1/catalog/node/agent", "").1;
    agent.until(&node, "\"rack\": \"r7\"");
    assert!(node(&agent).contains("\"Datacenter\": \"dc1\""));
    assert!(agent.http("GET", "/v1/agent/self", "").1.contains("\"Datacenter\": \"dc1\""));
}

#[test]
fn a_reload_gives_new_certificates_to_new_connections() {
    let folder = tempfile::tempdir().unwrap();
    for ca in ["old", "new"] {
        let dir = folder.path().join(ca);
        fs::create_dir(&dir).unwrap();
        for words in [&["tls", "ca", "create"][..], &["tls", "cert", "create", "-server"]] {
            let output = command().args(words).current_dir(&dir).output().unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
    }
    let file = folder.path().join("tls.hcl");
    let use_ca = |ca: &str| {
        let path = folder.path().join(ca).join("dc1-server-consul-0");
        let path = path.display();
        let tls = format!(
            "tls {{ https {{ cert_file = \"{path}.pem\" key_file = \"{path}-key.pem\" }} }}"
        );
        fs::write(&file, tls).unwrap();
    };
    use_ca("old");
    let ports = free_ports();
    let https = free_ports()[0];
    let https_port = format!("-https-port={https}");
    let words = ["-dev", &https_port, "-config-file", file.to_str().unwrap()];
    let mut agent = Agent::start_on(ports, &words);
    agent.await_line("Consul agent running!");
    let trusted = |ca: &str| {
        let output = command()
            .args(["kv", "get", "-keys"])
            .env("CONSUL_HTTP_ADDR", format!("https://localhost:{https}"))
            .env("CONSUL_CACERT", folder.path().join(ca).join("consul-agent-ca.pem"))
            .output()
            .unwrap();
        output.status.success()
    };
    assert!(trusted("old") && !trusted("new"));
    use_ca("new");
    assert_eq!(agent.consul(&["reload"]).0, 0);
    assert!(!trusted("old") && trusted("new"));
    // A certificate that is not there changes nothing, the log level neither.
    fs::write(&file, "log_level = \"error\" tls { https { cert_file = \"/nonexistent\" key_file = \"/nonexistent\" } }").unwrap();
    assert_eq!(agent.consul(&["reload"]).0, 1);
    assert!(trusted("new"));
    agent.until_log_level("debug");
}

fn received(socket: &UnixDatagram) -> String {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = [0; 8192];
    let length = socket.recv(&mut bytes).unwrap();
    text(&bytes[..length])
}
