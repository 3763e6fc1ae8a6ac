//! DNS, HTTP, UI, limits, telemetry.

use std::collections::BTreeMap;

use ipnet::IpNet;
use types::GoDuration;

use super::Build;
use super::addresses::parse_ip;
use crate::runtime::{
    DnsConfig, HttpConfig, Limits, MetricsProxy, RateLimitMode, RecursorStrategy, SoaConfig,
    TelemetryConfig, UiConfig,
};
use crate::settings::quote;
use crate::value::Value;

pub(super) fn dns(build: &mut Build<'_>) -> Result<DnsConfig, String> {
    let settings = build.settings;
    for key in ["dns_config.udp_answer_limit", "dns_config.a_record_limit"] {
        not_negative(key, settings.int(key))?;
    }
    let strategy = settings.text("dns_config.recursor_strategy");
    let recursor_strategy = match strategy.as_str() {
        "sequential" | "" => RecursorStrategy::Sequential,
        "random" => RecursorStrategy::Random,
        _ => {
            build.errors.push(format!(
                "dns_config.recursor_strategy: invalid strategy: {}",
                quote(&strategy)
            ));
            RecursorStrategy::Sequential
        }
    };
    Ok(DnsConfig {
        domain: settings.text("domain"),
        alt_domain: settings.text("alt_domain"),
        recursors: recursors(build)?,
        allow_stale: settings.bool("dns_config.allow_stale"),
        a_record_limit: build.count("dns_config.a_record_limit"),
        cache_max_age: build.duration("dns_config.cache_max_age"),
        disable_compression: settings.bool("dns_config.disable_compression"),
        enable_additional_node_meta_txt: settings
            .bool("dns_config.enable_additional_node_meta_txt"),
        enable_truncate: settings.bool("dns_config.enable_truncate"),
        max_stale: build.duration("dns_config.max_stale"),
        node_ttl: build.duration("dns_config.node_ttl"),
        only_passing: settings.bool("dns_config.only_passing"),
        recursor_strategy,
        recursor_timeout: build.duration("dns_config.recursor_timeout"),
        service_ttl: service_ttl(build),
        soa: SoaConfig {
            refresh: build.count("dns_config.soa.refresh"),
            retry: build.count("dns_config.soa.retry"),
            expire: build.count("dns_config.soa.expire"),
            min_ttl: build.count("dns_config.soa.min_ttl"),
        },
        udp_answer_limit: build.count("dns_config.udp_answer_limit"),
        use_cache: settings.bool("dns_config.use_cache"),
    })
}

pub(super) fn not_negative(key: &str, number: i64) -> Result<(), String> {
    if number >= 0 {
        return Ok(());
    }
    Err(format!("{key} cannot be {number}. Must be greater than or equal to zero"))
}

/// `host[:port]`, 53 by default; the host may be a name.
fn recursors(build: &mut Build<'_>) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    for word in build.entries("recursors") {
        if word.starts_with("unix://") {
            return Err("DNS Recursors cannot be unix sockets".to_owned());
        }
        let ip = parse_ip(&word);
        if ip.is_some_and(|ip| ip.is_unspecified()) {
            return Err("DNS recursor address cannot be 0.0.0.0, :: or [::]".to_owned());
        }
        out.push(match ip {
            Some(ip) if ip.is_ipv6() => format!("[{ip}]:53"),
            Some(ip) => format!("{ip}:53"),
            None if word.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
                word
            }
            None => format!("{word}:53"),
        });
    }
    Ok(out)
}

fn service_ttl(build: &mut Build<'_>) -> BTreeMap<String, GoDuration> {
    let mut out = BTreeMap::new();
    for (name, text) in build.settings.map("dns_config.service_ttl") {
        match GoDuration::parse(&text) {
            Ok(ttl) => {
                out.insert(name, ttl);
            }
            Err(error) => build.errors.push(format!(
                "dns_config.service_ttl[{}]: invalid duration: {}: {error}",
                quote(&name),
                quote(&text)
            )),
        }
    }
    out
}

pub(super) fn http(build: &mut Build<'_>) -> Result<HttpConfig, String> {
    let settings = build.settings;
    not_negative("http_config.max_header_bytes", settings.int("http_config.max_header_bytes"))?;
    Ok(HttpConfig {
        block_endpoints: settings.list("http_config.block_endpoints"),
        response_headers: settings.map("http_config.response_headers"),
        allow_write_http_from: networks(
            build,
            "http_config.allow_write_http_from",
            "allow_write_http_from",
        ),
        use_cache: settings.bool("http_config.use_cache"),
        max_header_bytes: build.count("http_config.max_header_bytes"),
        default_query_time: build.duration("default_query_time"),
        max_query_time: build.duration("max_query_time"),
        disable_unprintable_char_filter: settings.bool("disable_http_unprintable_char_filter"),
    })
}

/// Networks; wrong ones are noted under `shown`.
pub(super) fn networks(build: &mut Build<'_>, key: &str, shown: &str) -> Vec<IpNet> {
    let mut out = Vec::new();
    for text in build.settings.list(key) {
        match text.parse() {
            Ok(network) => out.push(network),
            Err(_) => build.errors.push(format!("{shown}: invalid cidr: {text}")),
        }
    }
    out
}

pub(super) fn limits(build: &mut Build<'_>) -> Result<Limits, String> {
    let settings = build.settings;
    let mode = settings.text("limits.request_limits.mode");
    let request_limits_mode = match mode.as_str() {
        "disabled" | "" => RateLimitMode::Disabled,
        "permissive" => RateLimitMode::Permissive,
        "enforcing" => RateLimitMode::Enforcing,
        _ => {
            build
                .errors
                .push(format!("limits.request_limits.mode: invalid mode: {}", quote(&mode)));
            RateLimitMode::Disabled
        }
    };
    let rate = |key: &str| Some(settings.float(key)).filter(|rate| *rate >= 0.0);
    let connections = |key: &str| usize::try_from(settings.int(key)).unwrap_or(0);
    Ok(Limits {
        http_max_conns_per_client: connections("limits.http_max_conns_per_client"),
        https_handshake_timeout: build.duration("limits.https_handshake_timeout"),
        rpc_handshake_timeout: build.duration("limits.rpc_handshake_timeout"),
        rpc_client_timeout: build.duration("limits.rpc_client_timeout"),
        rpc_rate: rate("limits.rpc_rate"),
        rpc_max_burst: usize::try_from(settings.int("limits.rpc_max_burst")).unwrap_or(usize::MAX),
        rpc_max_conns_per_client: connections("limits.rpc_max_conns_per_client"),
        kv_max_value_size: build.count("limits.kv_max_value_size"),
        txn_max_req_len: build.count("limits.txn_max_req_len"),
        request_limits_mode,
        read_rate: rate("limits.request_limits.read_rate"),
        write_rate: rate("limits.request_limits.write_rate"),
    })
}

pub(super) fn telemetry(build: &mut Build<'_>) -> TelemetryConfig {
    let settings = build.settings;
    let (mut allowed_prefixes, mut blocked_prefixes) = (Vec::new(), Vec::new());
    for rule in settings.list("telemetry.prefix_filter") {
        match rule.split_at_checked(1) {
            Some(("+", prefix)) => allowed_prefixes.push(prefix.to_owned()),
            Some(("-", prefix)) => blocked_prefixes.push(prefix.to_owned()),
            _ if rule.is_empty() => {
                build.warnings.push("Cannot have empty filter rule in prefix_filter".to_owned());
            }
            _ => build
                .warnings
                .push(format!("Filter rule must begin with either '+' or '-': {}", quote(&rule))),
        }
    }
    TelemetryConfig {
        metrics_prefix: settings.text("telemetry.metrics_prefix"),
        disable_hostname: settings.bool("telemetry.disable_hostname"),
        filter_default: settings.bool("telemetry.filter_default"),
        allowed_prefixes,
        blocked_prefixes,
        prometheus_retention_time: build.duration("telemetry.prometheus_retention_time"),
        statsd_address: settings.text("telemetry.statsd_address"),
        statsite_address: settings.text("telemetry.statsite_address"),
        dogstatsd_addr: settings.text("telemetry.dogstatsd_addr"),
        dogstatsd_tags: settings.list("telemetry.dogstatsd_tags"),
        retry_failed_connection: settings.bool("telemetry.retry_failed_connection"),
        enable_host_metrics: settings.bool("telemetry.enable_host_metrics"),
    }
}

pub(super) fn ui(build: &Build<'_>) -> Result<UiConfig, String> {
    let settings = build.settings;
    let provider = settings.text("ui_config.metrics_provider");
    if !provider.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b))
    {
        return Err("ui_config.metrics_provider can only contain lowercase alphanumeric, - or _ \
                    characters."
            .to_owned());
    }
    let options = settings.text("ui_config.metrics_provider_options_json");
    let is_object = |text: &str| matches!(crate::json::parse(text), Ok(Value::Object(_)));
    if !options.is_empty() && !is_object(&options) {
        return Err(
            "ui_config.metrics_provider_options_json must be empty or a string containing \
                    a valid JSON object."
                .to_owned(),
        );
    }
    Ok(UiConfig {
        enabled: settings.bool("ui_config.enabled"),
        dir: settings.non_empty("ui_config.dir").map(Into::into),
        content_path: content_path(&settings.text("ui_config.content_path"))?,
        metrics_proxy: metrics_proxy(build, &provider)?,
        metrics_provider: provider,
        metrics_provider_files: settings.list("ui_config.metrics_provider_files"),
        metrics_provider_options_json: options,
        dashboard_url_templates: dashboards(build)?,
    })
}

/// `x` becomes `/x/`.
fn content_path(text: &str) -> Result<String, String> {
    let path = match text.trim_matches('/') {
        "" => "/".to_owned(),
        inner => format!("/{inner}/"),
    };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/_-".contains(&b);
    if !path.bytes().all(allowed) {
        return Err(format!(
            "ui-content-path can only contain alphanumeric, -, _, or /. received: {}",
            quote(text)
        ));
    }
    let inner = path.trim_matches('/');
    let digits = inner.strip_prefix('v').unwrap_or("");
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("ui-content-path cannot have 'v[0-9]'. received: {}", quote(text)));
    }
    Ok(path)
}

fn metrics_proxy(build: &Build<'_>, provider: &str) -> Result<MetricsProxy, String> {
    let settings = build.settings;
    let base_url = settings.text("ui_config.metrics_proxy.base_url");
    if !base_url.is_empty() && !is_http_url(&base_url) {
        return Err(
            "ui_config.metrics_proxy.base_url must be a valid http or https URL.".to_owned()
        );
    }
    let mut path_allowlist = settings.list("ui_config.metrics_proxy.path_allowlist");
    if let Some(wrong) = path_allowlist.iter().find(|path| !path.starts_with('/')) {
        return Err(format!(
            "ui_config.metrics_proxy.path_allowlist: path {} is not an absolute path",
            quote(wrong)
        ));
    }
    if path_allowlist.is_empty() && provider == "prometheus" {
        path_allowlist = vec!["/api/v1/query".to_owned(), "/api/v1/query_range".to_owned()];
    }
    let text = |object: &Value, key: &str| match object {
        Value::Object(object) => match object.get(key) {
            Some(Value::Str(text)) => text.clone(),
            _ => String::new(),
        },
        _ => String::new(),
    };
    let add_headers = settings
        .objects("ui_config.metrics_proxy.add_headers")
        .iter()
        .map(|header| (text(header, "name"), text(header, "value")))
        .collect();
    Ok(MetricsProxy { base_url, add_headers, path_allowlist })
}

fn is_http_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
}

fn dashboards(build: &Build<'_>) -> Result<BTreeMap<String, String>, String> {
    let templates = build.settings.map("ui_config.dashboard_url_templates");
    for (name, url) in &templates {
        let key_ok = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        if !key_ok {
            return Err("ui_config.dashboard_url_templates key names can only contain lowercase \
                        alphanumeric, - or _ characters."
                .to_owned());
        }
        if !is_http_url(url) {
            return Err(
                "ui_config.dashboard_url_templates values must be a valid http or https URL."
                    .to_owned(),
            );
        }
    }
    Ok(templates)
}
