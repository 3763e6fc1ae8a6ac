//! What a reload changes, for every option there is.

mod support;

use config::options::{self, Kind, Opt};
use config::reload::Reloaded;
use config::{RuntimeConfig, Sources};

/// Values for options that not every value of their type will do for: another one than the
/// default, with what it needs beside itself.
const VALUES: &[(&str, &str)] = &[
    ("acl.default_policy", "\"deny\""),
    ("acl.down_policy", "\"deny\""),
    ("addresses.dns", "\"127.0.0.2\""),
    ("addresses.grpc", "\"127.0.0.2\""),
    ("addresses.grpc_tls", "\"127.0.0.2\""),
    ("addresses.http", "\"127.0.0.2\""),
    ("addresses.https", "\"127.0.0.2\""),
    ("advertise_addr", "\"127.0.0.2\""),
    ("advertise_addr_ipv4", "\"127.0.0.2\""),
    ("advertise_addr_ipv6", "\"::2\""),
    ("advertise_addr_wan", "\"127.0.0.2\""),
    ("advertise_addr_wan_ipv4", "\"127.0.0.2\""),
    ("advertise_addr_wan_ipv6", "\"::2\""),
    ("auto_config.ip_sans", "[\"127.0.0.2\"]"),
    ("auto_encrypt.ip_san", "[\"127.0.0.2\"]"),
    ("bind_addr", "\"127.0.0.2\""),
    ("checks", "[{ name = \"c\" ttl = \"5s\" }]"),
    ("client_addr", "\"127.0.0.2\""),
    ("config_entries.bootstrap", "[{ kind = \"proxy-defaults\" name = \"global\" }]"),
    ("connect.ca_config", "{ leaf_cert_ttl = \"71h\" }"),
    ("connect.ca_provider", "\"consul\""),
    ("default_intention_policy", "\"deny\""),
    ("dns_config.recursor_strategy", "\"random\""),
    ("encrypt", "\"cg8StVXbQJ0gPvMd9o7yrg==\""),
    ("http_config.allow_write_http_from", "[\"127.0.0.0/8\"]"),
    ("limits.request_limits.mode", "\"enforcing\""),
    ("node_id", "\"b8e1a1a0-1f1d-4b56-8f2e-b6f5c6f6f1a1\""),
    ("ports.serf_lan", "8399"),
    ("ports.server", "8398"),
    ("protocol", "3"),
    ("raft_logstore.backend", "\"wal\""),
    ("raft_protocol", "3"),
    ("recursors", "[\"127.0.0.2\"]"),
    ("serf_lan", "\"127.0.0.2\""),
    ("serf_lan_allowed_cidrs", "[\"127.0.0.0/8\"]"),
    ("serf_wan", "\"127.0.0.2\""),
    ("serf_wan_allowed_cidrs", "[\"127.0.0.0/8\"]"),
    ("server_rejoin_age_max", "\"200h\""),
    ("services", "[{ name = \"s\" }]"),
    // They mean something only together.
    ("snapshot_schedule.interval", "\"1h\" directory = \"/x\""),
    ("snapshot_schedule.directory", "\"/x\" interval = \"1h\""),
    ("snapshot_schedule.retain", "3 interval = \"1h\" directory = \"/x\""),
    ("snapshot_schedule.command", "[\"x\"] interval = \"1h\""),
    ("snapshot_schedule.verify", "false interval = \"1h\" directory = \"/x\""),
    ("snapshot_schedule.stale", "true interval = \"1h\" directory = \"/x\""),
    ("telemetry.prefix_filter", "[\"+x\"]"),
    ("ui_config.dashboard_url_templates", "{ x = \"http://x\" }"),
    ("ui_config.enabled", "false"),
    ("ui_config.metrics_provider_options_json", "\"{}\""),
    ("ui_config.metrics_proxy.base_url", "\"http://x\""),
    ("ui_config.metrics_proxy.path_allowlist", "[\"/x\"]"),
    ("watches", "[{ type = \"nodes\" args = [\"x\"] }]"),
];

/// Options that this agent, a development server that stands alone, refuses to have set
/// to anything but their default.
const REFUSED: &[&str] = &[
    "locality.zone",
    "bootstrap_expect",
    "tls.defaults.use_auto_cert",
    "tls.https.verify_server_hostname",
    "tls.https.use_auto_cert",
    "tls.internal_rpc.use_auto_cert",
    "tls.grpc.verify_outgoing",
    "tls.grpc.verify_server_hostname",
    "auto_encrypt.tls",
    "auto_config.enabled",
    "auto_config.authorization.enabled",
    "advertise_reconnect_timeout",
    "segment",
    "segments",
    "primary_gateways",
];

/// `a.b.c` and `1` become `a { b { c = 1 } }`.
fn fragment(option: &Opt, running: &RuntimeConfig) -> String {
    let given = VALUES.iter().find(|(key, _)| *key == option.key).map(|(_, value)| *value);
    let value = given.map_or_else(|| another_value(option, running), str::to_owned);
    let mut words = option.key.split('.').rev();
    let mut text = format!("{} = {value}", words.next().unwrap());
    for block in words {
        text = format!("{block} {{ {text} }}");
    }
    text
}

/// A value of the type, and not the one that is there.
fn another_value(option: &Opt, running: &RuntimeConfig) -> String {
    match option.kind {
        Kind::Bool => match running.settings.get(option.key) {
            Some(config::Value::Bool(value)) => (!value).to_string(),
            _ => (option.default != "true").to_string(),
        },
        Kind::Int => (option.default.parse().unwrap_or(0) + 1).to_string(),
        Kind::Float => "7.5".to_owned(),
        Kind::Str if option.key.ends_with("tls_min_version") => "\"TLSv1_3\"".to_owned(),
        Kind::Str if option.key.ends_with("tls_cipher_suites") => {
            "\"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"".to_owned()
        }
        Kind::Str => "\"other\"".to_owned(),
        Kind::Duration => "\"77s\"".to_owned(),
        Kind::List | Kind::StrOrList => "[\"other\"]".to_owned(),
        Kind::Map => "{ other = \"7s\" }".to_owned(),
        _ => "{}".to_owned(),
    }
}

fn sources(hcl: &str) -> Sources {
    Sources { dev: true, hcl: vec![hcl.to_owned()], ..Sources::default() }
}

fn running() -> RuntimeConfig {
    config::load(&sources(""), &support::Files::default(), &support::machine()).unwrap().config
}

fn reload(running: &RuntimeConfig, hcl: &str) -> Result<Reloaded, config::LoadError> {
    let files = support::Files::default();
    config::reload::reload(running, &sources(hcl), &files, &support::machine())
}

/// All of a configuration but the list of what was set.
fn effect(config: &RuntimeConfig) -> RuntimeConfig {
    RuntimeConfig { settings: config::Settings::default(), ..config.clone() }
}

#[test]
fn a_reloadable_option_changes_its_part_and_every_other_option_changes_nothing() {
    let running = running();
    let mut refused = Vec::new();
    for option in options::all().filter(|option| option.help != "Not configurable.") {
        let key = option.key;
        let hcl = fragment(option, &running);
        let Ok(reloaded) = reload(&running, &hcl) else {
            refused.push(key);
            continue;
        };
        let part = config::reload::part_of(key);
        assert_eq!(
            reloaded.plan.parts.contains(&part.unwrap_or(config::ReloadPart::Debug)),
            option.reloadable,
            "{key}"
        );
        if option.reloadable {
            assert!(reloaded.plan.need_restart.is_empty(), "{key}");
            assert!(reloaded.config.settings.is_set(key), "{key}");
        } else {
            assert_eq!(reloaded.plan.need_restart, [key]);
            assert_eq!(effect(&reloaded.config), effect(&running), "{key}");
            // It is still to be done, and is told again.
            let again = reload(&reloaded.config, &hcl).unwrap();
            assert_eq!(again.plan.need_restart, [key]);
        }
    }
    assert_eq!(refused, REFUSED);
}

#[test]
fn an_address_of_a_template_stays_as_it_was_when_the_agent_started() {
    let hcl = "bind_addr = \"{{ GetPrivateIP }}\"";
    let start = support::machine();
    let files = support::Files::default();
    let running = config::load(&sources(hcl), &files, &start).unwrap().config;
    let mut moved = start.clone();
    for interface in &mut moved.interfaces {
        if interface.address.to_string() == "10.1.2.3" {
            interface.address = "10.9.9.9".parse().unwrap();
        }
    }
    assert_ne!(config::load(&sources(hcl), &files, &moved).unwrap().config, running);
    let hcl = format!("{hcl} log_level = \"warn\"");
    let reloaded = config::reload::reload(&running, &sources(&hcl), &files, &start).unwrap();
    assert_eq!(reloaded.config.network, running.network);
    assert_eq!(reloaded.config.log.level_text, "warn");
}

#[test]
fn what_is_wrong_changes_nothing_even_where_it_needs_a_restart() {
    let running = running();
    for (hcl, error) in [
        ("log_level = ", "failed to parse flag-0.hcl:"),
        ("nosuch = 1", "failed to parse flag-0.hcl: 1 error occurred:"),
        ("datacenter = \"a b\" log_level = \"warn\"", "datacenter can only contain"),
        ("dns_config { node_ttl = \"x\" }", "1 error"),
    ] {
        let found = reload(&running, hcl).unwrap_err().to_string();
        assert!(found.starts_with(error), "{found}");
    }
}

#[test]
fn the_encryption_of_gossip_changes_by_hand_only() {
    let running = running();
    for (hcl, by_hand_only) in [
        ("encrypt_verify_incoming = false", true),
        ("encrypt_verify_outgoing = false", true),
        ("log_level = \"warn\"", false),
    ] {
        assert_eq!(reload(&running, hcl).unwrap().by_hand_only, by_hand_only, "{hcl}");
    }
}
