//! Every refusal of `reference/config.md`, as data: arguments and the text.

mod support;

use std::collections::BTreeMap;

use support::{Files, load, load_with};

const SERVER: &str = "-bind=127.0.0.1 -data-dir=/d -server";
const CLIENT: &str = "-bind=127.0.0.1 -data-dir=/d";

/// `base -hcl=<fragment>` is refused with `expected`.
fn check(base: &str, fragment: &str, expected: &str) {
    let arguments = match fragment {
        "" => base.to_owned(),
        fragment => format!("{base} -hcl='{fragment}'"),
    };
    match load(&arguments) {
        Ok(_) => panic!("{arguments} was accepted"),
        Err(error) => assert_eq!(error.to_string(), expected, "{arguments}"),
    }
}

fn one(text: &str) -> String {
    format!("1 error occurred:\n\t* {text}\n\n")
}

#[test]
fn flags_are_refused_in_consuls_words() {
    let cases = [
        ("", "data_dir cannot be empty"),
        ("-data-dir=", "data_dir cannot be empty"),
        ("-bind=127.0.0.1 -data-dir=/d -bootstrap", "'bootstrap = true' requires 'server = true'"),
        (
            "-bind=127.0.0.1 -data-dir=/d -server -bootstrap -bootstrap-expect=3",
            "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive",
        ),
        (
            "-bind=127.0.0.1 -data-dir=/d -server -bootstrap-expect=-1",
            "bootstrap_expect cannot be -1. Must be greater than or equal to zero",
        ),
        (
            "-bind=127.0.0.1 -data-dir=/d -bootstrap-expect=3",
            "'bootstrap_expect > 0' requires 'server = true'",
        ),
        ("-dev -bootstrap-expect=3", "'bootstrap_expect > 0' not allowed in dev mode"),
        (
            "-bind=127.0.0.1 -data-dir=/d -datacenter='bad dc'",
            "datacenter can only contain lowercase alphanumeric, - or _ characters. received: \
             \"bad dc\"",
        ),
        ("-data-dir=/d -bind=0.0.0.1.2", "bind_addr cannot be empty"),
        (
            "-bind=127.0.0.1 -data-dir=/d -advertise=0.0.0.0",
            "Advertise address cannot be 0.0.0.0, :: or [::]",
        ),
        (
            "-bind=127.0.0.1 -data-dir=/d -advertise-wan=::",
            "Advertise WAN address cannot be 0.0.0.0, :: or [::]",
        ),
        (
            "-data-dir=/d -bind=127.0.0.1 -http-port=8300 -server-port=8300",
            "RPC Advertise address 127.0.0.1:8300 already configured for HTTP",
        ),
        (
            "-data-dir=/d -bind=127.0.0.1 -encrypt=xyz",
            "encrypt has invalid key: illegal base64 data at input byte 0",
        ),
        (
            "-data-dir=/d -bind=127.0.0.1 -encrypt=short",
            "encrypt has invalid key: illegal base64 data at input byte 4",
        ),
        (
            "-data-dir=/d -bind=127.0.0.1 -encrypt=YWJj",
            "encrypt has invalid key: key size must be 16, 24 or 32 bytes",
        ),
        (
            "-dev -config-file=absent.hcl",
            "config: Open failed on absent.hcl. open absent.hcl: no such file or directory",
        ),
        ("-dev -config-format=yaml", "config: -config-format must be either 'hcl' or 'json'"),
        ("-dev -server-port=0", "server-port must be greater than zero"),
        ("-dev -serf-lan-port=0", "serf-lan-port must be greater than zero"),
        ("-dev -http-port=many", "invalid value \"many\" for flag -http-port: parse error"),
        (
            "-dev -raft-protocol=2",
            "raft_protocol version 2 is not supported by this version of Consul",
        ),
        ("-data-dir=/d -bind=::", "No public IPv6 address found"),
    ];
    for (arguments, expected) in cases {
        check(arguments, "", expected);
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let cases = [
        (CLIENT, r#"client_addr = "unix:///s""#, "client_addr cannot be a unix socket"),
        (CLIENT, r#"addresses { dns = "unix:///s" }"#, "DNS address cannot be a unix socket"),
        (
            SERVER,
            r#"primary_gateways = ["x:1"]"#,
            "'primary_gateways' should only be configured in a secondary datacenter",
        ),
        (CLIENT, r#"primary_gateways = ["x:1"]"#, "'primary_gateways' requires 'server = true'"),
        (
            SERVER,
            r#"retry_join_wan = ["x"] connect { enable_mesh_gateway_wan_federation = true }"#,
            "'retry_join_wan' is incompatible with 'connect.enable_mesh_gateway_wan_federation = true'",
        ),
        (
            SERVER,
            "advertise_reconnect_timeout = \"5s\"",
            "advertise_reconnect_timeout can only be used on a client",
        ),
        (
            SERVER,
            "autopilot { max_trailing_logs = -4 }",
            "autopilot.max_trailing_logs cannot be -4. Must be greater than or equal to zero",
        ),
        (
            CLIENT,
            "dns_config { udp_answer_limit = -3 }",
            "dns_config.udp_answer_limit cannot be -3. Must be greater than or equal to zero",
        ),
        (
            CLIENT,
            r#"primary_datacenter = "UPPER CASE""#,
            "primary_datacenter can only contain lowercase alphanumeric, - or _ characters. received: \"upper case\"",
        ),
        (
            CLIENT,
            "check_output_max_size = 0",
            "check_output_max_size must be positive, to discard check output use the discard_check_output flag",
        ),
        (
            CLIENT,
            r#"server_rejoin_age_max = "1h""#,
            "server_rejoin_age_max: duration '1h' cannot be less than: 6h0m0s",
        ),
        (
            CLIENT,
            r#"segment = "alpha""#,
            "Network segments are not supported in this version of Consul",
        ),
        (
            CLIENT,
            "ports { sidecar_min_port = 9 sidecar_max_port = 1 }",
            "sidecar_min_port must be less than sidecar_max_port. To disable, set both to zero.",
        ),
        (
            CLIENT,
            "performance { raft_multiplier = 11 }",
            "performance.raft_multiplier cannot be 11. Must be between 1 and 10",
        ),
        (
            CLIENT,
            r#"raft_logstore { backend = "x" }"#,
            "raft_logstore.backend must be one of 'boltdb' or 'wal'",
        ),
        (
            SERVER,
            r#"snapshot_schedule { directory = "/backup" }"#,
            "snapshot_schedule.interval is missing: it says how often the state is saved, at least every second",
        ),
        (
            SERVER,
            r#"snapshot_schedule { interval = "20ms" }"#,
            "snapshot_schedule.interval cannot be 20ms: it says how often the state is saved, at least every second",
        ),
        (
            SERVER,
            r#"snapshot_schedule { interval = "1h" }"#,
            "snapshot_schedule needs a directory or a command for the snapshots",
        ),
        (
            SERVER,
            r#"snapshot_schedule { interval = "1h" directory = "/a" command = ["b"] }"#,
            "snapshot_schedule can have a directory or a command, not both",
        ),
        (
            SERVER,
            r#"snapshot_schedule { interval = "1h" directory = "backup" }"#,
            "snapshot_schedule.directory must be a whole path, backup is not",
        ),
        (
            SERVER,
            r#"snapshot_schedule { interval = "1h" directory = "/a" retain = 0 }"#,
            "snapshot_schedule.retain must be at least 1",
        ),
        (
            CLIENT,
            r#"snapshot_schedule { interval = "1h" directory = "/a" }"#,
            "snapshot_schedule is for servers: this agent is a client and has no state to save",
        ),
        (
            CLIENT,
            "cache { entry_fetch_rate = 0 }",
            "cache.entry_fetch_rate must be strictly positive, was: 0",
        ),
        (
            CLIENT,
            r#"locality { zone = "z" }"#,
            "locality is invalid: zone cannot be set without region",
        ),
        (
            CLIENT,
            r#"alt_domain = "node.x""#,
            "alt_domain cannot start with {service,connect,node,query,addr,dc1}",
        ),
        (CLIENT, r#"node_name = "  ""#, "node_name cannot be empty"),
        (SERVER, "auto_encrypt { tls = true }", "auto_encrypt.tls can only be used on a client."),
        (
            CLIENT,
            "auto_config { enabled = true }",
            "auto_config.enabled cannot be set without configuring TLS for server communications",
        ),
        (
            SERVER,
            "auto_config { enabled = true }",
            "auto_config.enabled cannot be set to true for server agents.",
        ),
        (
            CLIENT,
            "auto_config { authorization { enabled = true } }",
            "auto_config.authorization.enabled cannot be set to true for client agents",
        ),
        (
            CLIENT,
            "auto_config { enabled = true } auto_encrypt { tls = true }",
            "both auto_encrypt.tls and auto_config.enabled cannot be set to true.",
        ),
        (
            CLIENT,
            r#"auto_config { enabled = true } tls { defaults { verify_outgoing = true ca_file = "c" } }"#,
            "One of auto_config.intro_token, auto_config.intro_token_file or the CONSUL_INTRO_TOKEN environment variable must be set to enable auto_config",
        ),
        (
            CLIENT,
            r#"auto_config { enabled = true intro_token = "x" } tls { defaults { verify_outgoing = true ca_file = "c" } }"#,
            "auto_config.enabled is set without providing a list of addresses",
        ),
        (
            CLIENT,
            "tls { grpc { verify_outgoing = true } }",
            "verify_outgoing is not valid in the tls.grpc stanza",
        ),
        (
            CLIENT,
            "tls { https { verify_server_hostname = true } }",
            "verify_server_hostname is only valid in the tls.defaults and tls.internal_rpc stanzas",
        ),
        (
            CLIENT,
            "tls { defaults { use_auto_cert = true } }",
            "use_auto_cert is only valid in the tls.grpc stanza",
        ),
        (
            CLIENT,
            r#"node_meta { "consul-x" = "y" }"#,
            "node_meta invalid: Couldn't load metadata pair ('consul-x', 'y'): Key prefix 'consul-' is reserved for internal use",
        ),
    ];
    for (base, fragment, expected) in cases {
        check(base, fragment, expected);
    }
    let error = load(&format!("{CLIENT} -ui -ui-dir=/x")).unwrap_err().to_string();
    assert!(error.starts_with(
        "Both the ui_config.enabled and ui_config.dir (or -ui and -ui-dir) were specified, please \
         provide only one."
    ));
}

#[test]
fn wrong_values_are_told_together() {
    let cases = [
        ("ports { http = 99999 }", "ports.http: invalid port: 99999"),
        (
            r#"check_update_interval = "5x""#,
            "check_update_interval: invalid duration: \"5x\": time: unknown unit \"x\" in duration \"5x\"",
        ),
        (
            r#"dns_config { recursor_strategy = "x" }"#,
            "dns_config.recursor_strategy: invalid strategy: \"x\"",
        ),
        (
            r#"limits { request_limits { mode = "x" } }"#,
            "limits.request_limits.mode: invalid mode: \"x\"",
        ),
        (
            r#"http_config { allow_write_http_from = ["x"] }"#,
            "allow_write_http_from: invalid cidr: x",
        ),
        (
            r#"tls { defaults { tls_min_version = "SSLv3" } }"#,
            "tls.defaults.tls_min_version: invalid TLS version: no matching TLS version found for SSLv3, please specify one of [TLS_AUTO, TLSv1_0, TLSv1_1, TLSv1_2, TLSv1_3]",
        ),
        (
            r#"tls { https { tls_min_version = "TLSv1_3" tls_cipher_suites = "x" } }"#,
            "tls.https.tls_cipher_suites: TLS 1.3 cipher suites are not configurable",
        ),
        (r#"connect { ca_provider = "x" }"#, "x is not a valid CA provider"),
        (r#"advertise_addr_ipv4 = "::1""#, "advertise_addr_ipv4 must be an ipv4 address"),
        (r#"addresses { http = "web" }"#, "addresses.http: invalid ip address: web"),
        (
            r#"advertise_addr = "10.0.0.1 10.0.0.2""#,
            "advertise_addr: multiple addresses found: 10.0.0.1 10.0.0.2",
        ),
        (
            r#"client_addr = "{{ GetNothing }}""#,
            "client_addr: error parsing \"{{ GetNothing }}\": function \"GetNothing\" not defined",
        ),
        (
            r#"bind_addr = "{{ GetNothing }}""#,
            "bind_addr: error parsing \"{{ GetNothing }}\": function \"GetNothing\" not defined",
        ),
        (
            r#"bind_addr = "10.0.0.1 10.0.0.2""#,
            "bind_addr: multiple addresses found: 10.0.0.1 10.0.0.2",
        ),
    ];
    for (fragment, expected) in cases {
        check(CLIENT, fragment, &one(expected));
    }
    let both = load(&format!("{CLIENT} -http-port=99999 -dns-port=70000")).unwrap_err().to_string();
    assert_eq!(
        both,
        "2 errors occurred:\n\t* ports.dns: invalid port: 70000\n\t* ports.http: invalid port: \
         99999\n\n"
    );
}

#[test]
fn definitions_are_refused_with_their_names() {
    const INTERVAL: &str =
        "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks";
    let cases = [
        (r#"check { name = "c" http = "http://127.0.0.1/" }"#, format!("check \"c\": {INTERVAL}")),
        (r#"service { name = "x" check { http = "http://x" } }"#, format!("service \"x\": check \"\": {INTERVAL}")),
        (r#"check { name = "c" ttl = "5s" interval = "5s" http = "h" }"#, "check \"c\": Interval and TTL cannot both be specified".into()),
        (r#"check { name = "c" }"#, "check \"c\": TTL must be > 0 for TTL checks".into()),
        (r#"check { name = "c" alias_service = "x" interval = "5s" }"#, "check \"c\": Interval cannot be set for Alias checks".into()),
        (r#"check { name = "c" alias_service = "x" ttl = "5s" }"#, "check \"c\": TTL must be not be set for Alias checks".into()),
        (r#"check { name = "c" ttl = "5s" output_max_size = -1 }"#, "check \"c\": MaxOutputMaxSize must be positive".into()),
        (r#"check { name = "c" ttl = "5s" failures_before_warning = 3 failures_before_critical = 2 }"#, "check \"c\": FailuresBeforeWarning can't be higher than FailuresBeforeCritical".into()),
        (r#"check { id = "c" ttl = "5x" }"#, one("check[c].ttl: invalid duration: \"5x\": time: unknown unit \"x\" in duration \"5x\"")),
        (r#"service { name = "x" meta { "consul-a" = "b" } }"#, "invalid meta for service x: Couldn't load metadata pair ('consul-a', 'b'): Key prefix 'consul-' is reserved for internal use".into()),
        (r#"service { name = "x" weights { passing = 0 } }"#, "Invalid weight definition for service x: Passing must be greater than 0".into()),
        (r#"service { name = "x" weights { passing = 70000 } }"#, "Invalid weight definition for service x: DNS Weight must be between 0 and 65535".into()),
        (r#"service { name = "x" socket_path = "/s" port = 1 }"#, "service \"x\": service x cannot have both socket path /s and address/port".into()),
        (r#"service { name = "x" connect { sidecar_service { id = "y" } } }"#, "service \"x\": sidecar_service can't specify an ID".into()),
        (r#"service { name = "x" connect { sidecar_service { connect { sidecar_service {} } } } }"#, "service \"x\": sidecar_service can't have a nested sidecar_service".into()),
        (r#"config_entries { bootstrap = [{ name = "x" }] }"#, "config_entries.bootstrap[0]: Payload does not contain a kind/Kind key".into()),
    ];
    for (fragment, expected) in cases {
        check(CLIENT, fragment, &expected);
    }
}

#[test]
fn files_are_refused_with_their_path() {
    let cases = [
        ("a.json", r#"{"data_dir": "#, "failed to parse a.json: unexpected end of JSON input"),
        (
            "a.hcl",
            "ports {",
            "failed to parse a.hcl: At 1:8: object expected closing RBRACE got: EOF",
        ),
        (
            "a.hcl",
            r#"flavour = "sweet""#,
            "failed to parse a.hcl: 1 error occurred:\n\t* invalid config key flavour\n\n",
        ),
        (
            "a.json",
            r#"{"datacentre": "x", "dns_config": {"colour": 1}}"#,
            "failed to parse a.json: 2 errors occurred:\n\t* invalid config key datacentre\n\t* invalid config key dns_config.colour\n\n",
        ),
        (
            "a.json",
            r#"{"ports": "many"}"#,
            "failed to parse a.json: 1 error(s) decoding:\n\n* 'ports' expected a map, got 'string'",
        ),
        (
            "a.hcl",
            r#"server = "perhaps""#,
            "failed to parse a.hcl: 1 error(s) decoding:\n\n* 'server' expected type 'bool', got unconvertible type 'string', value: 'perhaps'",
        ),
        (
            "a.hcl",
            "log_level = 5",
            "failed to parse a.hcl: 1 error(s) decoding:\n\n* 'log_level' expected type 'string', got unconvertible type 'int', value: '5'",
        ),
        (
            "a.hcl",
            r#"retry_join = "x" check_update_interval = 5"#,
            "failed to parse a.hcl: 2 error(s) decoding:\n\n* 'check_update_interval' expected type 'string', got unconvertible type 'int', value: '5'\n* 'retry_join': source data must be an array or slice, got string",
        ),
        (
            "a.hcl",
            "service { name = \"x\" flavour = 1 }",
            "failed to parse a.hcl: 1 error occurred:\n\t* invalid config key service.flavour\n\n",
        ),
        (
            "a.txt",
            "server = true",
            "file a.txt has unknown extension; must be .hcl or .json, or config format must be set",
        ),
    ];
    for (name, text, expected) in cases {
        let files = Files(BTreeMap::from([(name.to_owned(), text.to_owned())]));
        let error = load_with(&format!("-dev -config-file={name}"), &files).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
    }
}

#[test]
fn a_data_directory_that_is_a_file_or_has_old_data_is_refused() {
    let files = Files(BTreeMap::from([
        ("/d".to_owned(), String::new()),
        ("/old/mdb/x".to_owned(), String::new()),
    ]));
    let error = load_with(CLIENT, &files).unwrap_err().to_string();
    assert_eq!(error, "data_dir \"/d\" is not a directory");
    let error =
        load_with("-bind=127.0.0.1 -data-dir=/old -server", &files).unwrap_err().to_string();
    assert!(
        error.starts_with("CRITICAL: Deprecated data folder found at \"/old/mdb\"!"),
        "{error}"
    );
}

#[test]
fn what_only_the_start_of_the_agent_refuses_is_told_by_its_part() {
    let loaded = load("-dev -log-level=loud -node-id=xyz").unwrap();
    assert_eq!(
        loaded.config.log.level().unwrap_err(),
        "Invalid log level: loud. Valid log levels are: [TRACE DEBUG INFO WARN ERR ERROR]"
    );
    let id = loaded.config.identity.node_id.unwrap();
    assert!(config::node_id::from_config(&id).is_err());
    let loaded = load("-dev -hcl='verify_incoming = true'").unwrap();
    assert_eq!(
        loaded.config.tls.check().unwrap_err(),
        "VerifyIncoming set but no CA certificates were provided"
    );
    assert_eq!(
        loaded.config.limits.check_open_files(100).unwrap_err(),
        "system allows a max of 100 file descriptors, but limits.http_max_conns_per_client: 200 \
         needs at least 220"
    );
}
