//! What a real server is filled with, and what is asked of it afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::agent::{Agent, pause};

/// Coordinates are written every five seconds.
const COORDINATE_TIMEOUT: Duration = Duration::from_secs(30);

/// Asked of all servers: what both versions serve.
pub(super) const SERVED: &[&str] = &[
    "/v1/kv/?recurse",
    "/v1/kv/bin",
    "/v1/catalog/node/ext",
    "/v1/catalog/service/web",
    "/v1/catalog/service/web-proxy",
    "/v1/catalog/connect/web",
    "/v1/health/node/ext",
    "/v1/health/service/web",
    "/v1/health/state/warning",
    "/v1/session/info/{session}",
    "/v1/connect/ca/roots",
];

/// Asked of real servers alone: what may have no feature here.
pub(super) const CARRIED: &[&str] = &[
    "/v1/query",
    "/v1/config/service-defaults",
    "/v1/config/proxy-defaults",
    "/v1/config/service-router",
    "/v1/config/service-resolver",
    "/v1/config/service-splitter",
    "/v1/config/ingress-gateway",
    "/v1/config/terminating-gateway",
    "/v1/connect/intentions",
    "/v1/acl/policies",
    "/v1/acl/policy/name/p",
    "/v1/acl/roles",
    "/v1/acl/tokens",
    "/v1/coordinate/node/ext",
    "/v1/operator/autopilot/configuration",
    "/v1/connect/ca/configuration",
];

/// The kinds of records of those.
pub(super) const CARRIED_KINDS: &[&str] = &[
    "ACLPolicy",
    "ACLRole",
    "ACLToken",
    "Autopilot",
    "ConfigEntry",
    "ConnectCAConfig",
    "ConnectCAProviderState",
    "CoordinateBatchUpdate",
    "FederationState",
    "Intention",
    "PreparedQuery",
];

/// Fills a server; returns the id of its session.
pub(super) fn fill(server: &Agent) -> anyhow::Result<String> {
    let put = |target: &str, body: &[u8]| server.must("PUT", target, body);
    let every_byte: Vec<u8> = (0..=255).collect();
    put("/v1/kv/a/b", b"x")?;
    put("/v1/kv/bin?flags=42", &every_byte)?;
    put("/v1/kv/large", &[7; 400_000])?;
    put("/v1/kv/empty", b"")?;
    put("/v1/kv/gone", b"x")?;
    server.must("DELETE", "/v1/kv/gone", b"")?;
    for registration in registrations() {
        put("/v1/catalog/register", registration.to_string().as_bytes())?;
    }
    let session = json!({"Name": "s", "Node": "ext", "NodeChecks": ["nc"], "TTL": "3600s", "Behavior": "delete"});
    let session = put("/v1/session/create", session.to_string().as_bytes())?;
    let session: Value = serde_json::from_slice(&session.body)?;
    let session = session["ID"].as_str().context("a session has an id")?.to_owned();
    put(&format!("/v1/kv/lock?acquire={session}"), b"mine")?;
    let query = json!({"Name": "q", "Service": {"Service": "web", "Failover": {"NearestN": 2}}});
    server.must("POST", "/v1/query", query.to_string().as_bytes())?;
    for entry in config_entries() {
        put("/v1/config", entry.to_string().as_bytes())?;
    }
    let intention = json!({"SourceName": "web", "DestinationName": "db", "Action": "allow"});
    server.must("POST", "/v1/connect/intentions", intention.to_string().as_bytes())?;
    for (target, body) in [
        ("/v1/acl/policy", json!({"Name": "p", "Rules": "key_prefix \"\" { policy = \"read\" }"})),
        ("/v1/acl/role", json!({"Name": "r", "Policies": [{"Name": "p"}]})),
        (
            "/v1/acl/token",
            json!({"Description": "t", "Policies": [{"Name": "p"}], "Roles": [{"Name": "r"}]}),
        ),
        (
            "/v1/operator/autopilot/configuration",
            json!({"CleanupDeadServers": false, "LastContactThreshold": "200ms",
                   "MaxTrailingLogs": 99, "ServerStabilizationTime": "10s"}),
        ),
        (
            "/v1/coordinate/update",
            json!({"Node": "ext", "Coord": {"Vec": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8],
                   "Error": 1.5, "Adjustment": 0, "Height": 1e-5}}),
        ),
    ] {
        put(target, body.to_string().as_bytes())?;
    }
    until_coordinate(server)?;
    Ok(session)
}

/// Coordinates are written in batches.
fn until_coordinate(server: &Agent) -> anyhow::Result<()> {
    let target = "/v1/coordinate/node/ext";
    let until = Instant::now() + COORDINATE_TIMEOUT;
    loop {
        let answer = server.ask("GET", target, b"")?;
        if answer.status == 200 && answer.text() != "[]" {
            return Ok(());
        }
        ensure!(Instant::now() < until, "no coordinate was written: {}", answer.text());
        pause();
    }
}

fn registrations() -> [Value; 3] {
    [
        json!({
            "Node": "ext", "Address": "10.0.0.1",
            "TaggedAddresses": {"lan": "10.0.0.1", "wan": "1.2.3.4"}, "NodeMeta": {"k": "v"},
            "Service": {
                "ID": "web1", "Service": "web", "Tags": ["a"], "Port": 80, "Meta": {"x": "y"},
                "Weights": {"Passing": 3, "Warning": 2},
                "TaggedAddresses": {"wan": {"Address": "1.2.3.4", "Port": 8080}},
            },
            "Checks": [
                {"CheckID": "c1", "Name": "c1", "Status": "passing", "ServiceID": "web1"},
                {"CheckID": "nc", "Name": "nc", "Status": "warning", "Output": "hm",
                 "Definition": {"HTTP": "http://127.0.0.1/", "Interval": "10s", "Timeout": "1s"}},
            ],
        }),
        json!({
            "Node": "ext", "Address": "10.0.0.1", "SkipNodeUpdate": true,
            "Service": {
                "ID": "web-proxy", "Service": "web-proxy", "Kind": "connect-proxy", "Port": 81,
                "Proxy": {
                    "DestinationServiceName": "web", "Config": {"a": 1.5, "b": ["c"]},
                    "Upstreams": [{"DestinationName": "db", "LocalBindPort": 99}],
                },
            },
        }),
        json!({"Node": "bare", "Address": "10.0.0.2"}),
    ]
}

fn config_entries() -> [Value; 7] {
    [
        json!({"Kind": "service-defaults", "Name": "web", "Protocol": "http"}),
        json!({"Kind": "proxy-defaults", "Name": "global", "Config": {"local_connect_timeout_ms": 1000}}),
        json!({"Kind": "service-router", "Name": "web", "Routes": [
            {"Match": {"HTTP": {"PathPrefix": "/a"}}, "Destination": {"Service": "web"}}]}),
        json!({"Kind": "service-resolver", "Name": "web", "DefaultSubset": "v1",
            "Subsets": {"v1": {"Filter": "Service.Meta.x == y"}}}),
        json!({"Kind": "service-splitter", "Name": "web",
            "Splits": [{"Weight": 100, "ServiceSubset": "v1"}]}),
        json!({"Kind": "ingress-gateway", "Name": "ig",
            "Listeners": [{"Port": 1234, "Protocol": "tcp", "Services": [{"Name": "db"}]}]}),
        json!({"Kind": "terminating-gateway", "Name": "tg", "Services": [{"Name": "web"}]}),
    ]
}
