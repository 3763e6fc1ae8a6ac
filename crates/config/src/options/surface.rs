//! What clients meet: addresses, ports, DNS, HTTP, UI, limits, telemetry.

use super::definitions::HEADER;
use super::{Feature, Kind, Opt, duration, flag, float, int, list, map, of_kind, text};

pub(super) const OPTIONS: &[Opt] = &[
    // Addresses.
    text("bind_addr", "0.0.0.0", "Address that servers and gossip listen on."),
    text("client_addr", "127.0.0.1", "Addresses that HTTP, DNS and gRPC listen on."),
    text("advertise_addr", "", "Address announced in the datacenter."),
    text("advertise_addr_ipv4", "", "IPv4 address announced in the datacenter."),
    text("advertise_addr_ipv6", "", "IPv6 address announced in the datacenter."),
    text("advertise_addr_wan", "", "Address announced to other datacenters."),
    text("advertise_addr_wan_ipv4", "", "IPv4 address announced to other datacenters."),
    text("advertise_addr_wan_ipv6", "", "IPv6 address announced to other datacenters."),
    map("tagged_addresses", "More addresses of the node."),
    flag("translate_wan_addrs", false, "Answer other datacenters with WAN addresses."),
    text("addresses.dns", "", "Addresses of the DNS server."),
    text("addresses.http", "", "Addresses of the HTTP server."),
    text("addresses.https", "", "Addresses of the HTTPS server."),
    text("addresses.grpc", "", "Addresses of the gRPC server.").of(Feature::Grpc),
    text("addresses.grpc_tls", "", "Addresses of the gRPC TLS server.").of(Feature::Grpc),
    int("ports.dns", "8600", "Port of DNS."),
    int("ports.http", "8500", "Port of HTTP."),
    int("ports.https", "-1", "Port of HTTPS."),
    int("ports.grpc", "-1", "Port of gRPC.").of(Feature::Grpc),
    int("ports.grpc_tls", "-1", "Port of gRPC over TLS; 8503 on servers.").of(Feature::Grpc),
    int("ports.serf_lan", "8301", "Port of gossip in the datacenter."),
    int("ports.serf_wan", "8302", "Port of gossip among datacenters."),
    int("ports.server", "8300", "Port of RPC and Raft."),
    int("ports.sidecar_min_port", "21000", "Lowest port for sidecar proxies."),
    int("ports.sidecar_max_port", "21255", "Highest port for sidecar proxies."),
    int("ports.expose_min_port", "21500", "Lowest port for exposed checks."),
    int("ports.expose_max_port", "21755", "Highest port for exposed checks."),
    int("ports.proxy_min_port", "20000", "Not used."),
    int("ports.proxy_max_port", "20255", "Not used."),
    text("unix_sockets.user", "", "Owner of unix sockets."),
    text("unix_sockets.group", "", "Group of unix sockets."),
    text("unix_sockets.mode", "", "Octal mode of unix sockets."),
    // DNS.
    text("domain", "consul.", "Domain that DNS answers for."),
    text("alt_domain", "", "Second domain that DNS answers for."),
    list("recursors", "Servers asked about other names.").reloads(),
    flag("dns_config.allow_stale", true, "Answers from any server.").reloads(),
    int("dns_config.a_record_limit", "0", "Most address records; 0 for all.").reloads(),
    duration("dns_config.cache_max_age", "0s", "Longest age of cached answers.").reloads(),
    flag("dns_config.disable_compression", false, "No name compression.").reloads(),
    flag("dns_config.enable_additional_node_meta_txt", true, "TXT records beside answers.")
        .reloads(),
    flag("dns_config.enable_truncate", false, "Set TC on shortened answers.").reloads(),
    duration("dns_config.max_stale", "87600h", "Oldest answer of another server.").reloads(),
    duration("dns_config.node_ttl", "0s", "TTL of node answers.").reloads(),
    flag("dns_config.only_passing", false, "Leave out warning instances.").reloads(),
    flag("dns_config.prefer_namespace", false, "Namespaces in names.").enterprise(),
    text("dns_config.recursor_strategy", "sequential", "sequential or random.").reloads(),
    duration("dns_config.recursor_timeout", "2s", "Wait for one recursor.").reloads(),
    map("dns_config.service_ttl", "TTL by service; a name may end in *.").reloads(),
    int("dns_config.soa.refresh", "3600", "Refresh of the SOA record, seconds.").reloads(),
    int("dns_config.soa.retry", "600", "Retry of the SOA record, seconds.").reloads(),
    int("dns_config.soa.expire", "86400", "Expire of the SOA record, seconds.").reloads(),
    int("dns_config.soa.min_ttl", "0", "Minimum TTL of the SOA record, seconds.").reloads(),
    int("dns_config.udp_answer_limit", "3", "Most records in a UDP answer.").reloads(),
    flag("dns_config.use_cache", false, "Answer from the cache.").reloads(),
    // HTTP.
    list("http_config.block_endpoints", "Path prefixes that are refused."),
    map("http_config.response_headers", "Headers added to every answer."),
    list("http_config.allow_write_http_from", "Networks that may write."),
    flag("http_config.use_cache", true, "?cached uses the cache."),
    int("http_config.max_header_bytes", "0", "Most bytes of request headers."),
    flag("disable_http_unprintable_char_filter", false, "Let unprintable paths through."),
    duration("default_query_time", "300s", "Wait of a blocking query that names none."),
    duration("max_query_time", "600s", "Longest wait of a blocking query."),
    // Limits.
    int("limits.http_max_conns_per_client", "200", "HTTP connections of one client.").reloads(),
    duration("limits.https_handshake_timeout", "5s", "TLS handshake on HTTPS."),
    duration("limits.rpc_handshake_timeout", "5s", "TLS handshake on RPC.").of(Feature::Rpc),
    duration("limits.rpc_client_timeout", "60s", "Reply of a server.").reloads().of(Feature::Rpc),
    float("limits.rpc_rate", "-1", "Calls of a client agent per second.")
        .reloads()
        .of(Feature::Rpc),
    int("limits.rpc_max_burst", "1000", "Burst of those.").reloads().of(Feature::Rpc),
    int("limits.rpc_max_conns_per_client", "100", "RPC connections of one client.")
        .reloads()
        .of(Feature::Rpc),
    int("limits.kv_max_value_size", "524288", "Largest value of a key, bytes."),
    int("limits.txn_max_req_len", "524288", "Largest transaction, bytes."),
    text("limits.request_limits.mode", "disabled", "disabled, permissive or enforcing.")
        .reloads()
        .of(Feature::RateLimits),
    float("limits.request_limits.read_rate", "-1", "Reads per second.")
        .reloads()
        .of(Feature::RateLimits),
    float("limits.request_limits.write_rate", "-1", "Writes per second.")
        .reloads()
        .of(Feature::RateLimits),
    // Web interface.
    flag("ui_config.enabled", false, "Serve the web interface.").reloads().of(Feature::Ui),
    text("ui_config.dir", "", "Files served instead.").reloads(),
    text("ui_config.content_path", "/ui/", "Path of the web interface."),
    text("ui_config.metrics_provider", "", "Metrics provider.").reloads().of(Feature::Ui),
    list("ui_config.metrics_provider_files", "Provider scripts.").reloads().of(Feature::Ui),
    text("ui_config.metrics_provider_options_json", "", "Provider settings.")
        .reloads()
        .of(Feature::Ui),
    text("ui_config.metrics_proxy.base_url", "", "Metrics store.").reloads(),
    of_kind("ui_config.metrics_proxy.add_headers", Kind::Objects(HEADER), "Headers sent to it.")
        .reloads(),
    list("ui_config.metrics_proxy.path_allowlist", "Paths that may be asked.").reloads(),
    map("ui_config.dashboard_url_templates", "Links to dashboards.").reloads().of(Feature::Ui),
    // Telemetry.
    text("telemetry.metrics_prefix", "consul", "First part of every name."),
    flag("telemetry.disable_hostname", false, "No host name in gauges."),
    flag("telemetry.filter_default", true, "Keep metrics that no rule names."),
    list("telemetry.prefix_filter", "Rules: +prefix keeps, -prefix drops.").reloads(),
    duration("telemetry.prometheus_retention_time", "0s", "Age of Prometheus values."),
    text("telemetry.statsd_address", "", "A statsd collector.").of(Feature::TelemetrySinks),
    text("telemetry.statsite_address", "", "A statsite collector.").of(Feature::TelemetrySinks),
    text("telemetry.dogstatsd_addr", "", "A DogStatsD collector.").of(Feature::TelemetrySinks),
    list("telemetry.dogstatsd_tags", "Tags for DogStatsD.").of(Feature::TelemetrySinks),
    flag("telemetry.retry_failed_connection", true, "Start without the collector.")
        .of(Feature::TelemetrySinks),
    flag("telemetry.enable_host_metrics", false, "Metrics of the machine.")
        .of(Feature::TelemetrySinks),
    flag("telemetry.disable_per_tenancy_usage_metrics", false, "Fewer usage metrics.")
        .of(Feature::TelemetrySinks),
    circonus("telemetry.circonus_api_app"),
    circonus("telemetry.circonus_api_token").secret(),
    circonus("telemetry.circonus_api_url"),
    circonus("telemetry.circonus_broker_id"),
    circonus("telemetry.circonus_broker_select_tag"),
    circonus("telemetry.circonus_check_display_name"),
    circonus("telemetry.circonus_check_force_metric_activation"),
    circonus("telemetry.circonus_check_id"),
    circonus("telemetry.circonus_check_instance_id"),
    circonus("telemetry.circonus_check_search_tag"),
    circonus("telemetry.circonus_check_tags"),
    circonus("telemetry.circonus_submission_interval"),
    circonus("telemetry.circonus_submission_url"),
];

const fn circonus(key: &'static str) -> Opt {
    text(key, "", "Circonus collector.").of(Feature::Circonus)
}
