//! What concerns several options at once, and texts with rules of their own
//! (`reference/config.md` section 5).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use types::GoDuration;

use super::Build;
use super::definitions;
use crate::file_system::{FileKind, FileSystem};
use crate::runtime::{ListenAddr, RuntimeConfig};
use crate::settings::quote;

/// What must be right before addresses are looked for.
pub(super) fn early(build: &mut Build<'_>) -> Result<(), String> {
    let settings = build.settings;
    if !build.dev && settings.text("data_dir").is_empty() {
        return Err("data_dir cannot be empty".to_owned());
    }
    for key in ["datacenter", "primary_datacenter"] {
        let name = settings.text(key).to_lowercase();
        if key == "datacenter" && name.is_empty() {
            return Err("datacenter cannot be empty".to_owned());
        }
        if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
        {
            return Err(format!(
                "{key} can only contain lowercase alphanumeric, - or _ characters. received: {}",
                quote(&name)
            ));
        }
    }
    Ok(())
}

/// The rules over the finished configuration.
pub(super) fn whole(
    config: &RuntimeConfig,
    build: &mut Build<'_>,
    files: &dyn FileSystem,
) -> Result<(), String> {
    names(config, build)?;
    data_dir(config, files)?;
    ports(config)?;
    unique_addresses(config)?;
    limits(config, build)?;
    cluster(config, build)?;
    security(config, build)?;
    ui(config)?;
    types::meta::validate(&config.identity.node_meta, &[])
        .map_err(|error| format!("node_meta invalid: {error}"))?;
    if config.identity.locality.as_ref().is_some_and(|l| l.region.is_empty()) {
        return Err("locality is invalid: zone cannot be set without region".to_owned());
    }
    definitions::validate(&config.definitions)?;
    streaming_warnings(config, build);
    Ok(())
}

fn names(config: &RuntimeConfig, build: &mut Build<'_>) -> Result<(), String> {
    let identity = &config.identity;
    let is_label = |text: &str| {
        text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let datacenter = identity.datacenter.as_str();
    if !is_label(datacenter) {
        build.warnings.push(format!(
            "Datacenter {} will not be resolvable through DNS due to invalid characters.",
            quote(datacenter)
        ));
    }
    let node = identity.node_name.as_str();
    if node.is_empty() {
        return Err("node_name cannot be empty".to_owned());
    }
    if !node.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        build.warnings.push(format!(
            "Node name {} will not be discoverable via DNS due to invalid characters. Valid \
             characters include all alpha-numerics and dashes.",
            quote(node)
        ));
    } else if node.len() > 63 {
        build.warnings.push(format!(
            "Node name {} will not be discoverable via DNS due to it being too long. Valid lengths \
             are between 1 and 63 bytes.",
            quote(node)
        ));
    }
    let first = config.dns.alt_domain.split('.').next().unwrap_or_default();
    let taken = ["service", "connect", "node", "query", "addr", datacenter];
    if taken.iter().any(|name| name.eq_ignore_ascii_case(first)) {
        return Err(format!(
            "alt_domain cannot start with {{service,connect,node,query,addr,{datacenter}}}"
        ));
    }
    Ok(())
}

fn data_dir(config: &RuntimeConfig, files: &dyn FileSystem) -> Result<(), String> {
    let Some(folder) = &config.data_dir else { return Ok(()) };
    let folder = folder.to_string_lossy();
    match files.kind(&folder) {
        Ok(FileKind::Directory) => {}
        Ok(_) => return Err(format!("data_dir {} is not a directory", quote(&folder))),
        // The agent makes it when it starts.
        Err(_) => return Ok(()),
    }
    let old = format!("{}/mdb", folder.trim_end_matches('/'));
    if config.server && files.kind(&old).is_ok() {
        return Err(format!(
            "CRITICAL: Deprecated data folder found at {}! Consul will refuse to boot with this \
             directory present. See https://www.consul.io/docs/upgrade-specific.html for more \
             information.",
            quote(&old)
        ));
    }
    Ok(())
}

fn ports(config: &RuntimeConfig) -> Result<(), String> {
    let ports = &config.ports;
    if ports.server == 0 {
        return Err("server-port must be greater than zero".to_owned());
    }
    if ports.serf_lan == 0 {
        return Err("serf-lan-port must be greater than zero".to_owned());
    }
    for (name, range) in
        [("proxy", ports.proxy), ("sidecar", ports.sidecar), ("expose", ports.expose)]
    {
        if range.min > range.max {
            return Err(format!(
                "{name}_min_port must be less than {name}_max_port. To disable, set both to zero."
            ));
        }
    }
    Ok(())
}

/// Sockets of different purposes must differ.
fn unique_addresses(config: &RuntimeConfig) -> Result<(), String> {
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    let mut claim = |address: String, purpose: &'static str| match taken.get(&address) {
        Some(other) => Err(format!("{purpose} address {address} already configured for {other}")),
        None => {
            taken.insert(address, purpose);
            Ok(())
        }
    };
    let listeners = &config.listeners;
    for (list, purpose) in
        [(&listeners.dns, "DNS"), (&listeners.http, "HTTP"), (&listeners.https, "HTTPS")]
    {
        for address in list {
            if let ListenAddr::Unix(path) = address
                && path.as_os_str().is_empty()
            {
                return Err(format!("{purpose} address: the path of the unix socket is empty"));
            }
            claim(address.to_string(), purpose)?;
        }
    }
    claim(config.network.rpc_advertise.to_string(), "RPC Advertise")?;
    claim(config.gossip.lan.advertise.to_string(), "Serf Advertise LAN")?;
    if let Some(port) = config.ports.serf_wan {
        let address = std::net::SocketAddr::new(config.network.advertise_wan, port);
        claim(address.to_string(), "Serf Advertise WAN")?;
    }
    Ok(())
}

fn limits(config: &RuntimeConfig, build: &mut Build<'_>) -> Result<(), String> {
    if config.checks.output_max_size < 1 {
        return Err("check_output_max_size must be positive, to discard check output use the \
                    discard_check_output flag"
            .to_owned());
    }
    let least = GoDuration::from_secs(6 * 3600);
    if config.leave.server_rejoin_age_max < least {
        return Err(format!(
            "server_rejoin_age_max: duration '{}' cannot be less than: {least}",
            build.settings.text("server_rejoin_age_max")
        ));
    }
    let acl_guards = config.acl.enabled && config.acl.default_policy == "deny";
    if config.checks.scripts.remote && !acl_guards && config.http.allow_write_http_from.is_empty() {
        build.warnings.push(
            "using enable-script-checks without ACLs and without allow_write_http_from is \
             DANGEROUS, use enable-local-script-checks instead"
                .to_owned(),
        );
    }
    Ok(())
}

fn cluster(config: &RuntimeConfig, build: &mut Build<'_>) -> Result<(), String> {
    let settings = build.settings;
    if !settings.text("segment").is_empty() || !settings.objects("segments").is_empty() {
        return Err("Network segments are not supported in this version of Consul".to_owned());
    }
    if config.server && settings.is_set("advertise_reconnect_timeout") {
        return Err("advertise_reconnect_timeout can only be used on a client".to_owned());
    }
    if !config.join.primary_gateways.is_empty() {
        if !config.server {
            return Err("'primary_gateways' requires 'server = true'".to_owned());
        }
        if config.identity.primary_datacenter == config.identity.datacenter {
            return Err(
                "'primary_gateways' should only be configured in a secondary datacenter".to_owned()
            );
        }
    }
    if !config.connect.mesh_gateway_wan_federation {
        return Ok(());
    }
    const KEY: &str = "'connect.enable_mesh_gateway_wan_federation = true'";
    if !config.server {
        return Err(format!("{KEY} requires 'server = true'"));
    }
    if !config.connect.enabled {
        return Err(format!("{KEY} requires 'connect.enabled = true'"));
    }
    if config.identity.node_name.as_str().contains('/') {
        return Err(format!("{KEY} requires that 'node_name' not contain '/' characters"));
    }
    if !config.join.wan.retry_join.is_empty() {
        return Err(format!("'retry_join_wan' is incompatible with {KEY}"));
    }
    Ok(())
}

fn security(config: &RuntimeConfig, build: &mut Build<'_>) -> Result<(), String> {
    let settings = build.settings;
    encrypt_key(&settings.text("encrypt"))
        .map_err(|error| format!("encrypt has invalid key: {error}"))?;
    if config.tls.auto_encrypt && config.server {
        return Err("auto_encrypt.tls can only be used on a client.".to_owned());
    }
    if config.tls.auto_encrypt_allow && config.server && !config.tls.internal_rpc.verify_incoming {
        build.warnings.push(
            "if auto_encrypt.allow_tls is turned on, tls.internal_rpc.verify_incoming should be \
             enabled (either explicitly or via tls.defaults.verify_incoming). It is necessary to \
             turn it off during a migration to TLS, but it should definitely be turned on \
             afterwards."
                .to_owned(),
        );
    }
    auto_config(config, build)
}

fn auto_config(config: &RuntimeConfig, build: &mut Build<'_>) -> Result<(), String> {
    let settings = build.settings;
    for ip in settings.list("auto_config.ip_sans") {
        if ip.parse::<std::net::IpAddr>().is_err() {
            build.warnings.push(format!("Cannot parse ip {} from auto_config.ip_sans", quote(&ip)));
        }
    }
    if settings.bool("auto_config.authorization.enabled") {
        const KEY: &str = "auto_config.authorization.enabled";
        if !config.server {
            return Err(format!("{KEY} cannot be set to true for client agents"));
        }
        if config.tls.internal_rpc.cert_file.is_none() {
            return Err(format!(
                "{KEY} cannot be set without providing a TLS certificate for the server"
            ));
        }
    }
    if !settings.bool("auto_config.enabled") {
        return Ok(());
    }
    if config.tls.auto_encrypt {
        return Err(
            "both auto_encrypt.tls and auto_config.enabled cannot be set to true.".to_owned()
        );
    }
    if config.server {
        return Err("auto_config.enabled cannot be set to true for server agents.".to_owned());
    }
    let rpc = &config.tls.internal_rpc;
    if !rpc.verify_outgoing || (rpc.ca_file.is_none() && rpc.ca_path.is_none()) {
        return Err("auto_config.enabled cannot be set without configuring TLS for server \
                    communications"
            .to_owned());
    }
    let from_environment = build.environment.variable("CONSUL_INTRO_TOKEN").is_some();
    let in_settings = settings.non_empty("auto_config.intro_token").is_some();
    if from_environment && in_settings {
        build.warnings.push(
            "Both auto_config.intro_token and the CONSUL_INTRO_TOKEN environment variable are set. \
             Using the value from the environment variable"
                .to_owned(),
        );
    }
    let in_file = settings.non_empty("auto_config.intro_token_file").is_some();
    if !from_environment && !in_settings && !in_file {
        return Err("One of auto_config.intro_token, auto_config.intro_token_file or the \
                    CONSUL_INTRO_TOKEN environment variable must be set to enable auto_config"
            .to_owned());
    }
    if settings.list("auto_config.server_addresses").is_empty() {
        return Err("auto_config.enabled is set without providing a list of addresses".to_owned());
    }
    Ok(())
}

/// A gossip key: base64 of 16, 24 or 32 bytes, or nothing. The texts are those
/// of Go's decoder and of memberlist.
pub fn encrypt_key(text: &str) -> Result<Vec<u8>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let key = STANDARD.decode(text).map_err(|_| {
        let alphabet = |b: u8| b.is_ascii_alphanumeric() || b"+/".contains(&b);
        let body = text.trim_end_matches('=');
        let wrong = body.bytes().position(|b| !alphabet(b)).unwrap_or(body.len() / 4 * 4);
        format!("illegal base64 data at input byte {wrong}")
    })?;
    if matches!(key.len(), 16 | 24 | 32) {
        return Ok(key);
    }
    Err("key size must be 16, 24 or 32 bytes".to_owned())
}

fn ui(config: &RuntimeConfig) -> Result<(), String> {
    if config.ui.enabled && config.ui.dir.is_some() && !config.dev {
        return Err("Both the ui_config.enabled and ui_config.dir (or -ui and -ui-dir) were \
                    specified, please provide only one.\nThe built-in web interface is served with \
                    ui_config.enabled or -ui, files of your own with ui_config.dir or -ui-dir"
            .to_owned());
    }
    Ok(())
}

fn streaming_warnings(config: &RuntimeConfig, build: &mut Build<'_>) {
    let settings = build.settings;
    if config.server && config.switches.use_streaming_backend && !config.rpc.enable_streaming {
        build.warnings.push(
            "use_streaming_backend = true requires rpc.enable_streaming on servers to work properly"
                .to_owned(),
        );
    }
    if !config.server && settings.bool("rpc.enable_streaming") {
        build.warnings.push(
            "rpc.enable_streaming = true has no effect when not running in server mode".to_owned(),
        );
    }
}
