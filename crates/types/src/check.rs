//! Checks: what is registered, what is reported.
//!
//! A [`CheckDefinition`] says how to check and comes from an agent's files or
//! API; a [`HealthCheck`] is the state of a check in an agent or in the
//! catalog. Sources: `reference/checks.md` section 1, `reference/http-api.md`
//! 1.15 and 3.5.

mod rules;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::null::nil_to_machines;
use crate::proxy::{is_default, is_zero};
use crate::{CheckId, GoDuration, Index, NodeName, SecretId, ServiceId, ServiceName};

pub use rules::InvalidCheck;

/// The status of a check. The catalog stores any text a client registers, so
/// texts other than the three meaningful ones are kept in [`Status::Other`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// All is well.
    Passing,
    /// Something needs attention; the instance is still handed out.
    Warning,
    /// The instance is not handed out.
    #[default]
    Critical,
    /// A text that only the catalog accepts. It ranks with none of the others.
    Other(Box<str>),
}

impl Status {
    /// The text in every format.
    pub fn as_str(&self) -> &str {
        match self {
            Status::Passing => "passing",
            Status::Warning => "warning",
            Status::Critical => "critical",
            Status::Other(text) => text,
        }
    }

    /// One of the three meaningful statuses; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "passing" => Some(Status::Passing),
            "warning" => Some(Status::Warning),
            "critical" => Some(Status::Critical),
            _ => None,
        }
    }

    /// Whether a check of this status lets its instance be handed out: all but critical
    /// ones do, and with `only_passing` none but those that pass.
    pub fn is_handed_out(&self, only_passing: bool) -> bool {
        match self {
            Status::Passing => true,
            Status::Critical => false,
            Status::Warning | Status::Other(_) => !only_passing,
        }
    }
}

impl From<&str> for Status {
    fn from(text: &str) -> Self {
        Status::parse(text).unwrap_or_else(|| Status::Other(text.into()))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Status::from(text.as_str()))
    }
}

/// The state of a check, as agent and catalog show it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthCheck {
    /// The node the check belongs to.
    pub node: NodeName,
    /// Unique on its node.
    #[serde(rename = "CheckID")]
    pub check_id: CheckId,
    /// For people.
    pub name: String,
    /// The last known status.
    pub status: Status,
    /// For people, from the definition.
    pub notes: String,
    /// What the last run printed.
    pub output: String,
    /// The instance the check is about; empty for a check of the node.
    #[serde(rename = "ServiceID")]
    pub service_id: ServiceId,
    /// The service of that instance.
    pub service_name: ServiceName,
    /// The tags of that instance.
    #[serde(serialize_with = "nil_to_machines")]
    pub service_tags: Vec<String>,
    /// How it checks: `http`, `ttl`, …; empty for checks that only the catalog knows.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Go duration text, `""` or `"0s"` when the check has none.
    pub interval: String,
    /// Go duration text, `""` or `"0s"` when the check has none.
    pub timeout: String,
    /// The port at which a proxy exposes the check; 0 for none.
    pub exposed_port: i64,
    /// The cluster peer it was imported from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer_name: String,
    /// How to check, for checks that an external monitor runs from the catalog.
    pub definition: HealthCheckDefinition,
    /// The index that created the check.
    pub create_index: Index,
    /// The index of the last write that changed the check.
    pub modify_index: Index,
}

/// `Definition` of a check in the catalog: for external monitors, not run by agents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthCheckDefinition {
    /// A URL.
    #[serde(rename = "HTTP", skip_serializing_if = "String::is_empty")]
    pub http: String,
    /// SNI and verified name.
    #[serde(rename = "TLSServerName", skip_serializing_if = "String::is_empty")]
    pub tls_server_name: String,
    /// Whether the certificate is not verified.
    #[serde(rename = "TLSSkipVerify", skip_serializing_if = "is_default")]
    pub tls_skip_verify: bool,
    /// Headers of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<BTreeMap<String, Vec<String>>>,
    /// Method of the request.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Body of the request.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// Whether redirects are not followed.
    #[serde(skip_serializing_if = "is_default")]
    pub disable_redirects: bool,
    /// `host:port`.
    #[serde(rename = "TCP", skip_serializing_if = "String::is_empty")]
    pub tcp: String,
    /// Whether the TCP check does a TLS handshake.
    #[serde(rename = "TCPUseTLS", skip_serializing_if = "is_default")]
    pub tcp_use_tls: bool,
    /// `host:port`.
    #[serde(rename = "UDP", skip_serializing_if = "String::is_empty")]
    pub udp: String,
    /// `host:port`.
    #[serde(rename = "H2PING", skip_serializing_if = "String::is_empty")]
    pub h2ping: String,
    /// Whether the ping goes over TLS.
    #[serde(rename = "H2PingUseTLS", skip_serializing_if = "is_default")]
    pub h2ping_use_tls: bool,
    /// A service of the operating system.
    #[serde(rename = "OSService", skip_serializing_if = "String::is_empty")]
    pub os_service: String,
    /// Time between runs.
    #[serde(skip_serializing_if = "GoDuration::is_zero")]
    pub interval: GoDuration,
    /// Longest run.
    #[serde(skip_serializing_if = "GoDuration::is_zero")]
    pub timeout: GoDuration,
    /// How long critical until the service is removed.
    #[serde(skip_serializing_if = "GoDuration::is_zero")]
    pub deregister_critical_service_after: GoDuration,
    /// Most bytes of output kept.
    #[serde(skip_serializing_if = "is_default")]
    pub output_max_size: u64,
    /// Command and arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub script_args: Vec<String>,
    /// The container a script runs in.
    #[serde(rename = "DockerContainerID", skip_serializing_if = "String::is_empty")]
    pub docker_container_id: String,
    /// The shell inside that container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub shell: String,
    /// `host:port[/service]`.
    #[serde(rename = "GRPC", skip_serializing_if = "String::is_empty")]
    pub grpc: String,
    /// Whether the gRPC check goes over TLS.
    #[serde(rename = "GRPCUseTLS", skip_serializing_if = "is_default")]
    pub grpc_use_tls: bool,
    /// The node whose health is taken over.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub alias_node: String,
    /// The service whose health is taken over.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub alias_service: String,
    /// A session name, for session checks.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session_name: String,
    /// Time to live. Consul writes it as a number of nanoseconds in JSON too.
    #[serde(
        rename = "TTL",
        serialize_with = "nanoseconds",
        skip_serializing_if = "GoDuration::is_zero"
    )]
    pub ttl: GoDuration,
}

fn nanoseconds<S: Serializer>(duration: &GoDuration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(duration.as_nanos())
}

/// How an agent checks, from its files or its API. Both CamelCase and
/// snake_case spellings are read. Defaults and limits: `reference/checks.md`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = ".Alias", rename_all = "PascalCase", default)]
pub struct CheckDefinition {
    /// The id; inside a service the API calls it `CheckID`, alone `ID`.
    #[serde(rename = "CheckID", alias = "ID", skip_serializing_if = "CheckId::is_empty")]
    pub check_id: CheckId,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The first status; critical when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// The local service instance it is about.
    #[serde(
        rename = "ServiceID",
        alias = "service_id",
        skip_serializing_if = "ServiceId::is_empty"
    )]
    pub service_id: ServiceId,
    /// The token used to sync this check.
    #[serde(skip_serializing_if = "SecretId::is_empty")]
    pub token: SecretId,
    /// Command and arguments of a script check.
    #[serde(alias = "Args", alias = "script_args", skip_serializing_if = "Vec::is_empty")]
    pub script_args: Vec<String>,
    /// A URL.
    #[serde(rename = "HTTP", skip_serializing_if = "String::is_empty")]
    pub http: String,
    /// Headers of the HTTP request; `Host` sets the request's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<BTreeMap<String, Vec<String>>>,
    /// Method of the HTTP request, default GET.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Body of the HTTP request.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// Whether redirects are not followed.
    #[serde(alias = "disable_redirects", skip_serializing_if = "is_default")]
    pub disable_redirects: bool,
    /// `host:port`.
    #[serde(rename = "TCP", skip_serializing_if = "String::is_empty")]
    pub tcp: String,
    /// Whether the TCP check does a TLS handshake.
    #[serde(rename = "TCPUseTLS", alias = "tcp_use_tls", skip_serializing_if = "is_default")]
    pub tcp_use_tls: bool,
    /// `host:port`.
    #[serde(rename = "UDP", skip_serializing_if = "String::is_empty")]
    pub udp: String,
    /// `host:port`.
    #[serde(rename = "H2PING", skip_serializing_if = "String::is_empty")]
    pub h2ping: String,
    /// Whether the ping goes over TLS; true when not given.
    #[serde(
        rename = "H2PingUseTLS",
        alias = "h2ping_use_tls",
        skip_serializing_if = "Option::is_none"
    )]
    pub h2ping_use_tls: Option<bool>,
    /// `host:port[/service]`.
    #[serde(rename = "GRPC", skip_serializing_if = "String::is_empty")]
    pub grpc: String,
    /// Whether the gRPC check goes over TLS.
    #[serde(rename = "GRPCUseTLS", alias = "grpc_use_tls", skip_serializing_if = "is_default")]
    pub grpc_use_tls: bool,
    /// A service of the operating system (Windows only).
    #[serde(rename = "OSService", alias = "os_service", skip_serializing_if = "String::is_empty")]
    pub os_service: String,
    /// The container a script runs in.
    #[serde(
        rename = "DockerContainerID",
        alias = "docker_container_id",
        skip_serializing_if = "String::is_empty"
    )]
    pub docker_container_id: String,
    /// The shell inside the container when there are no arguments.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub shell: String,
    /// The node whose health is taken over; empty for the local one.
    #[serde(alias = "alias_node", skip_serializing_if = "String::is_empty")]
    pub alias_node: String,
    /// The service id whose health is taken over.
    #[serde(alias = "alias_service", skip_serializing_if = "String::is_empty")]
    pub alias_service: String,
    /// Time between runs.
    #[serde(skip_serializing_if = "GoDuration::is_zero")]
    pub interval: GoDuration,
    /// Longest run; 0 takes the default of the kind.
    #[serde(skip_serializing_if = "GoDuration::is_zero")]
    pub timeout: GoDuration,
    /// Time after which a TTL check turns critical.
    #[serde(rename = "TTL", skip_serializing_if = "GoDuration::is_zero")]
    pub ttl: GoDuration,
    /// SNI and verified name.
    #[serde(
        rename = "TLSServerName",
        alias = "tls_server_name",
        skip_serializing_if = "String::is_empty"
    )]
    pub tls_server_name: String,
    /// Whether the certificate is not verified.
    #[serde(
        rename = "TLSSkipVerify",
        alias = "tls_skip_verify",
        skip_serializing_if = "is_default"
    )]
    pub tls_skip_verify: bool,
    /// Successes in a row before the check passes.
    #[serde(alias = "success_before_passing", skip_serializing_if = "is_zero")]
    pub success_before_passing: i64,
    /// Failures in a row before a warning; 0 means as many as before critical.
    #[serde(alias = "failures_before_warning", skip_serializing_if = "is_zero")]
    pub failures_before_warning: i64,
    /// Failures in a row before critical.
    #[serde(alias = "failures_before_critical", skip_serializing_if = "is_zero")]
    pub failures_before_critical: i64,
    /// How long critical until the service is removed; 0 for never.
    #[serde(
        alias = "deregister_critical_service_after",
        skip_serializing_if = "GoDuration::is_zero"
    )]
    pub deregister_critical_service_after: GoDuration,
    /// Most bytes of output kept; can only lower the agent's limit.
    #[serde(alias = "output_max_size", skip_serializing_if = "is_zero")]
    pub output_max_size: i64,
    /// Filled by the agent for a check that a proxy exposes.
    #[serde(rename = "ProxyHTTP", skip_serializing_if = "String::is_empty")]
    pub proxy_http: String,
    /// Filled by the agent for a check that a proxy exposes.
    #[serde(rename = "ProxyGRPC", skip_serializing_if = "String::is_empty")]
    pub proxy_grpc: String,
}

impl CheckDefinition {
    /// The `Type` that agent and catalog report (`reference/checks.md` section 1).
    pub fn kind(&self) -> &'static str {
        let docker = !self.docker_container_id.is_empty();
        let alias = !self.alias_node.is_empty() || !self.alias_service.is_empty();
        let script = !self.script_args.is_empty();
        match () {
            () if !self.grpc.is_empty() => "grpc",
            () if !self.http.is_empty() => "http",
            () if !self.ttl.is_zero() => "ttl",
            () if !self.tcp.is_empty() => "tcp",
            () if !self.udp.is_empty() => "udp",
            () if alias => "alias",
            () if docker && script => "docker",
            () if script => "script",
            () if !self.h2ping.is_empty() => "h2ping",
            () if !self.os_service.is_empty() => "os_service",
            () => "",
        }
    }
}
