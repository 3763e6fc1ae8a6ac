//! What the finished configuration says for common starts.

mod support;

use config::reload::ReloadPart;
use config::runtime::{ListenAddr, TlsVersion, shown_port};
use support::load;
use types::GoDuration;

fn shown(list: &[ListenAddr]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn dev_mode_is_a_server_in_memory_with_short_timings() {
    let config = load("-dev").unwrap().config;
    assert!(config.dev && config.server && config.ui.enabled && config.connect.enabled);
    assert_eq!(config.data_dir, None);
    assert_eq!(config.log.level().unwrap().as_str(), "DEBUG");
    assert_eq!(config.identity.node_name, "box");
    assert_eq!(shown(&config.listeners.http), ["127.0.0.1:8500"]);
    assert_eq!(shown(&config.listeners.dns), ["127.0.0.1:8600"]);
    assert_eq!(config.listeners.https, []);
    assert_eq!((shown_port(config.ports.grpc), shown_port(config.ports.grpc_tls)), (8502, 8503));
    assert_eq!(config.raft.election_timeout, GoDuration::from_millis(52));
    assert_eq!(config.gossip.lan.timings.suspicion_mult, 3);
    assert!(!config.bootstrap.bootstrap && config.leave.skip_on_interrupt);
    assert!(config.switches.enable_debug);
}

#[test]
fn a_client_agent_has_the_defaults_of_the_reference() {
    let loaded = load("-data-dir=/d").unwrap();
    let config = loaded.config;
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(config.network.advertise_lan.to_string(), "10.1.2.3");
    assert_eq!(config.network.bind.to_string(), "0.0.0.0");
    assert_eq!(config.identity.tagged_addresses["lan_ipv4"], "10.1.2.3");
    assert!(config.leave.on_terminate && !config.leave.skip_on_interrupt);
    assert_eq!(shown_port(config.ports.grpc_tls), -1);
    assert!(config.gossip.wan.is_none());
    assert_eq!(config.domain(), "consul");
    assert_eq!(config.dns.udp_answer_limit, 3);
    assert_eq!(config.dns.max_stale, GoDuration::from_secs(87600 * 3600));
    assert_eq!(config.dns.soa.expire, 86400);
    assert_eq!(config.limits.kv_max_value_size, 524_288);
    assert_eq!(config.limits.rpc_rate, None);
    assert_eq!(config.http.default_query_time, GoDuration::from_secs(300));
    assert_eq!(config.checks.output_max_size, 4096);
    assert_eq!(config.tls.https.min_version, TlsVersion::V1_2);
    assert_eq!(config.acl.role_ttl, GoDuration::ZERO);
    assert_eq!(config.raft.leader_lease_timeout, GoDuration::from_millis(2500));
    assert!(config.switches.disable_remote_exec);
    assert!(config.identity.disable_host_node_id);
    assert!(!config.rpc.enable_streaming);
}

#[test]
fn one_expected_server_is_bootstrap_mode() {
    let loaded = load("-data-dir=/d -bind=127.0.0.1 -server -bootstrap-expect=1").unwrap();
    assert!(loaded.config.bootstrap.bootstrap);
    assert_eq!(loaded.config.bootstrap.expect, 0);
    assert_eq!(
        loaded.warnings,
        ["BootstrapExpect is set to 1; this is the same as Bootstrap mode."]
    );
    let loaded = load("-data-dir=/d -bind=127.0.0.1 -server -bootstrap-expect=3").unwrap();
    assert_eq!(loaded.warnings, ["bootstrap_expect > 0: expecting 3 servers"]);
}

#[test]
fn old_flags_work_and_each_names_the_new_spelling_once() {
    let server = "-data-dir=/d -bind=127.0.0.1 -server";
    for (flags, expected) in [
        ("-join=a -join=b", "The flag '-join' is deprecated. Use the '-retry-join' flag instead."),
        ("-ui", "The flag '-ui' is deprecated. Use the 'ui_config.enabled' field instead."),
        ("-ui-dir=/x", "The flag '-ui-dir' is deprecated. Use the 'ui_config.dir' field instead."),
        (
            "-bootstrap",
            "The flag '-bootstrap' is deprecated. Use the '-bootstrap-expect=1' flag instead.",
        ),
    ] {
        let warnings = load(&format!("{server} {flags}")).unwrap().warnings;
        let about = warnings.iter().filter(|warning| warning.contains("is deprecated"));
        assert_eq!(about.collect::<Vec<_>>(), [expected], "{flags}");
    }
}

#[test]
fn several_client_addresses_and_unix_sockets_are_listened_on() {
    let config = load(
        "-dev -client='127.0.0.1 ::1' -hcl='addresses { http = \"unix:///run/c.sock 127.0.0.9\" } \
         unix_sockets { mode = \"0600\" }' -https-port=8501",
    )
    .unwrap()
    .config;
    assert_eq!(shown(&config.listeners.http), ["unix:///run/c.sock", "127.0.0.9:8500"]);
    assert_eq!(shown(&config.listeners.https), ["127.0.0.1:8501", "[::1]:8501"]);
    assert_eq!(config.listeners.unix_sockets.mode, "0600");
}

#[test]
fn listeners_inherit_tls_and_own_keys_win() {
    let config = load(
        "-dev -hcl='tls { defaults { ca_file = \"/ca\" verify_incoming = true } https { \
         verify_incoming = false cert_file = \"/c\" } internal_rpc { verify_server_hostname = true \
         } }'",
    )
    .unwrap()
    .config;
    assert_eq!(config.tls.https.ca_file, Some("/ca".into()));
    assert!(!config.tls.https.verify_incoming && config.tls.grpc.verify_incoming);
    assert!(config.tls.internal_rpc.verify_outgoing);
    // The old key leaves gRPC alone.
    let config = load("-dev -hcl='verify_incoming = true ca_file = \"/ca\"'").unwrap().config;
    assert!(config.tls.https.verify_incoming && !config.tls.grpc.verify_incoming);
}

#[test]
fn script_switches_follow_each_other() {
    let scripts = |arguments: &str| load(arguments).unwrap().config.checks.scripts;
    assert!(!scripts("-dev").local);
    assert!(scripts("-dev -enable-script-checks").local);
    assert!(scripts("-dev -enable-script-checks").remote);
    let local = scripts("-dev -enable-local-script-checks");
    assert!(local.local && !local.remote);
    assert!(!scripts("-dev -enable-script-checks -enable-local-script-checks=false").local);
    let loaded = load("-dev -enable-script-checks").unwrap();
    assert!(loaded.warnings[0].contains("DANGEROUS"), "{:?}", loaded.warnings);
}

#[test]
fn names_that_dns_cannot_say_give_warnings() {
    let loaded = load("-dev -node='a b' -datacenter=D_c").unwrap();
    assert_eq!(loaded.config.identity.datacenter, "d_c");
    assert!(loaded.warnings.iter().any(|warning| warning.starts_with(
        "Node name \"a b\" will not be discoverable via DNS due to invalid characters."
    )));
    assert!(loaded.warnings.iter().any(|warning| warning.starts_with("Datacenter \"d_c\"")));
}

#[test]
fn a_reload_names_the_parts_and_the_keys_that_need_a_restart() {
    let old = load("-dev -hcl='service { name = \"a\" }'").unwrap().config;
    let new = load(
        "-dev -log-level=warn -http-port=9 -hcl='service { name = \"b\" } dns_config { node_ttl = \
         \"5s\" }'",
    )
    .unwrap()
    .config;
    let plan = old.reload_from(&new);
    let parts: Vec<_> = plan.parts.into_iter().collect();
    assert_eq!(parts, [ReloadPart::LogLevel, ReloadPart::Services, ReloadPart::Dns]);
    assert_eq!(plan.need_restart, ["ports.http"]);
    assert_eq!(old.reload_from(&old), Default::default());
    assert!(!old.refuses_auto_reload(&new));
}

#[test]
fn validate_gives_the_warnings_or_the_mistake() {
    let files = support::Files(std::collections::BTreeMap::from([
        (
            "good/a.json".to_owned(),
            r#"{"datacenter": "east", "server": true, "data_dir": "/nowhere",
                "bind_addr": "127.0.0.1", "bootstrap_expect": 3}"#
                .to_owned(),
        ),
        ("good/b.hcl".to_owned(), "log_level = \"warn\" service { name = \"web\" }".to_owned()),
    ]));
    let validate = |paths: &[&str]| {
        let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
        config::validate(&paths, "", &files, &support::machine()).map_err(|error| error.to_string())
    };
    assert_eq!(validate(&["good"]).unwrap(), ["bootstrap_expect > 0: expecting 3 servers"]);
    assert_eq!(validate(&["good/b.hcl"]).unwrap_err(), "data_dir cannot be empty");
    assert_eq!(validate(&[]).unwrap_err(), "Must specify at least one config file or directory");
}

#[test]
fn secrets_are_never_shown() {
    let config = load(
        "-dev -encrypt=cg8StVXbQJ0gPvMd9o7yrg== -hcl='acl { tokens { agent = \"s3cr3t\" } } service { \
         name = \"x\" token = \"s3cr3t\" check { ttl = \"5s\" token = \"s3cr3t\" } } watches = [{ type \
         = \"nodes\" token = \"s3cr3t\" args = [\"x\"] }] connect { ca_config { private_key = \
         \"s3cr3t\" } }'",
    )
    .unwrap()
    .config;
    let shown = format!("{config:?} {}", config.settings.to_json());
    assert!(!shown.contains("s3cr3t") && !shown.contains("cg8StVX"), "{shown}");
    assert_eq!(config.services()[0].token, types::SecretId::from("s3cr3t"));
}
