//! What the agent prints when it starts (`reference/cli.md` 3.1).

use std::fmt::Write as _;

use config::RuntimeConfig;
use config::runtime::{TlsListenerConfig, shown_port};
use types::version::{CONSUL_BUILD_DATE, CONSUL_VERSION, PROCONSUL_VERSION};

/// The banner, up to the line after which the log begins.
pub(crate) fn banner(config: &RuntimeConfig, node_id: &str) -> String {
    let mut text = String::from("==> Starting Consul agent...\n");
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "    {label:>18}: {value}");
    };
    let identity = &config.identity;
    let ports = &config.ports;
    let build_date = CONSUL_BUILD_DATE.replace('T', " ").replace('Z', " +0000 UTC");
    line("Version", format!("'{CONSUL_VERSION}'"));
    line("Proconsul", format!("'{PROCONSUL_VERSION}'"));
    line("Build Date", format!("'{build_date}'"));
    line("Node ID", format!("'{node_id}'"));
    line("Node name", format!("'{}'", identity.node_name));
    let segment = if config.server { "<all>" } else { "" };
    line("Datacenter", format!("'{}' (Segment: '{segment}')", identity.datacenter));
    line("Server", format!("{} (Bootstrap: {})", config.server, config.bootstrap.bootstrap));
    let clients: Vec<String> = config.network.client.iter().map(ToString::to_string).collect();
    line(
        "Client Addr",
        format!(
            "[{}] (HTTP: {}, HTTPS: {}, gRPC: {}, gRPC-TLS: {}, DNS: {})",
            clients.join(" "),
            shown_port(ports.http),
            shown_port(ports.https),
            shown_port(ports.grpc),
            shown_port(ports.grpc_tls),
            shown_port(ports.dns)
        ),
    );
    line(
        "Cluster Addr",
        format!(
            "{} (LAN: {}, WAN: {})",
            config.network.advertise_lan,
            ports.serf_lan,
            shown_port(ports.serf_wan)
        ),
    );
    line("Gossip Encryption", (!config.gossip.encrypt.is_empty()).to_string());
    line("Auto-Encrypt-TLS", config.tls.auto_encrypt.to_string());
    line("ACL Enabled", config.acl.enabled.to_string());
    if config.server {
        line("Reporting Enabled", "false".to_owned());
    }
    line("ACL Default Policy", config.acl.default_policy.clone());
    let tls = &config.tls;
    line("HTTPS TLS", verify(&tls.https, true, false));
    line("gRPC TLS", verify(&tls.grpc, false, false));
    line("Internal RPC TLS", verify(&tls.internal_rpc, true, true));
    text.push_str("\n==> Log data will now stream in as it occurs:\n\n");
    text
}

fn verify(tls: &TlsListenerConfig, outgoing: bool, hostname: bool) -> String {
    let mut text = format!("Verify Incoming: {}", tls.verify_incoming);
    if outgoing {
        let _ = write!(text, ", Verify Outgoing: {}", tls.verify_outgoing);
    }
    if hostname {
        let _ = write!(text, " (Verify Hostname: {})", tls.verify_server_hostname);
    }
    let _ = write!(text, ", Min Version: {}", tls.min_version);
    text
}
