//! The flags of `consul agent`, each tied to the option it sets
//! (`reference/cli.md` section 3).
//!
//! Splitting the command line is the command framework's work; it hands the
//! pairs of flag name and value to [`crate::Sources`].

use crate::options::Opt;
use crate::options::find;

/// The type of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagKind {
    /// May stand without a value.
    Bool,
    /// Text.
    Str,
    /// A whole number in Go's spelling.
    Int,
    /// Text that is a Go duration, checked with the configuration.
    Duration,
    /// May be repeated; values gather.
    List,
    /// May be repeated; `key:value`, the last of a key wins.
    Map,
}

/// What a flag does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagTarget {
    /// Sets the option of this dotted key.
    Option(&'static str),
    /// Handled by [`crate::Sources`] itself: `config-file`, `hcl`, `dev`, ….
    Source,
}

/// What takes the place of an old flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instead {
    /// Another flag, perhaps with its value.
    Flag(&'static str),
    /// The option of this dotted key.
    Field(&'static str),
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct AgentFlag {
    /// Name without dashes.
    pub name: &'static str,
    /// Type.
    pub kind: FlagKind,
    /// What it does.
    pub target: FlagTarget,
    /// Help text of our own.
    pub help: &'static str,
    /// What to use instead, for an old one.
    pub instead: Option<Instead>,
}

impl AgentFlag {
    /// The option that the flag sets.
    pub fn option(&self) -> Option<&'static Opt> {
        match self.target {
            FlagTarget::Option(key) => find(key),
            FlagTarget::Source => None,
        }
    }

    const fn replaced_by(mut self, flag: &'static str) -> Self {
        self.instead = Some(Instead::Flag(flag));
        self
    }

    /// Marks a flag whose work an option of the configuration files does.
    const fn replaced_by_field(mut self, key: &'static str) -> Self {
        self.instead = Some(Instead::Field(key));
        self
    }

    /// What to say about the use of an old flag.
    pub(crate) fn warning(&self) -> Option<String> {
        let instead = match self.instead? {
            Instead::Flag(flag) => format!("'-{flag}' flag"),
            Instead::Field(key) => format!("'{key}' field"),
        };
        Some(format!("The flag '-{}' is deprecated. Use the {instead} instead.", self.name))
    }
}

const fn flag(
    name: &'static str,
    kind: FlagKind,
    key: &'static str,
    help: &'static str,
) -> AgentFlag {
    AgentFlag { name, kind, target: FlagTarget::Option(key), help, instead: None }
}

const fn source(name: &'static str, kind: FlagKind, help: &'static str) -> AgentFlag {
    AgentFlag { name, kind, target: FlagTarget::Source, help, instead: None }
}

use FlagKind::{Bool, Duration, Int, List, Map, Str};

/// Every flag of `consul agent`, sorted by name.
pub const AGENT_FLAGS: &[AgentFlag] = &[
    flag("advertise", Str, "advertise_addr", "Address that other agents of the datacenter reach."),
    flag("advertise-wan", Str, "advertise_addr_wan", "Address that other datacenters reach."),
    flag(
        "allow-write-http-from",
        List,
        "http_config.allow_write_http_from",
        "Only this network may send writing requests. May be repeated.",
    ),
    flag("alt-domain", Str, "alt_domain", "A second domain that DNS answers for."),
    flag(
        "auto-reload-config",
        Bool,
        "auto_reload_config",
        "Watch the configuration files and reload when one changes.",
    ),
    flag("bind", Str, "bind_addr", "Address that cluster communication listens on."),
    flag("bootstrap", Bool, "bootstrap", "Old spelling of -bootstrap-expect=1.")
        .replaced_by("bootstrap-expect=1"),
    flag(
        "bootstrap-expect",
        Int,
        "bootstrap_expect",
        "Wait for this many servers, then start a new cluster.",
    ),
    flag(
        "check_output_max_size",
        Int,
        "check_output_max_size",
        "Most bytes of output that a check keeps.",
    ),
    flag("client", Str, "client_addr", "Addresses that HTTP, DNS and gRPC listen on."),
    source("config-dir", List, "Read the .hcl and .json files of this folder. May be repeated."),
    source("config-file", List, "Read this configuration file. May be repeated."),
    source("config-format", Str, "Read every file as this format: hcl or json."),
    flag("data-dir", Str, "data_dir", "Folder that keeps the agent's state."),
    flag("datacenter", Str, "datacenter", "Datacenter of the agent."),
    flag(
        "default-query-time",
        Duration,
        "default_query_time",
        "How long a blocking query waits that names no time.",
    ),
    source("dev", Bool, "Run a server in memory, for trying things out."),
    flag(
        "disable-host-node-id",
        Bool,
        "disable_host_node_id",
        "Make a random node id instead of one from the host's id.",
    ),
    flag(
        "disable-keyring-file",
        Bool,
        "disable_keyring_file",
        "Keep gossip keys in memory, not in a file.",
    ),
    flag("dns-port", Int, "ports.dns", "Port of DNS."),
    flag("domain", Str, "domain", "Domain that DNS answers for."),
    flag(
        "enable-local-script-checks",
        Bool,
        "enable_local_script_checks",
        "Let checks from configuration files run commands.",
    ),
    flag(
        "enable-script-checks",
        Bool,
        "enable_script_checks",
        "Let checks run commands, also those registered over HTTP.",
    ),
    flag("encrypt", Str, "encrypt", "Key of gossip encryption, base64."),
    flag("grpc-port", Int, "ports.grpc", "Port of gRPC without TLS."),
    flag("grpc-tls-port", Int, "ports.grpc_tls", "Port of gRPC over TLS."),
    source("hcl", List, "A piece of configuration in HCL. May be repeated."),
    flag("http-port", Int, "ports.http", "Port of HTTP."),
    flag("https-port", Int, "ports.https", "Port of HTTPS."),
    flag("join", List, "retry_join", "Old spelling of -retry-join.").replaced_by("retry-join"),
    flag("join-wan", List, "retry_join_wan", "Old spelling of -retry-join-wan.")
        .replaced_by("retry-join-wan"),
    flag("log-file", Str, "log_file", "File to log to besides standard output."),
    flag("log-json", Bool, "log_json", "Log JSON lines."),
    flag("log-level", Str, "log_level", "TRACE, DEBUG, INFO, WARN or ERROR."),
    flag("log-rotate-bytes", Int, "log_rotate_bytes", "Size at which the log file is rotated."),
    flag(
        "log-rotate-duration",
        Duration,
        "log_rotate_duration",
        "Age at which the log file is rotated.",
    ),
    flag(
        "log-rotate-max-files",
        Int,
        "log_rotate_max_files",
        "How many rotated log files are kept.",
    ),
    flag("max-query-time", Duration, "max_query_time", "Longest wait of a blocking query."),
    flag("node", Str, "node_name", "Name of this node; the host name by default."),
    flag("node-id", Str, "node_id", "UUID of this node."),
    flag("node-meta", Map, "node_meta", "Metadata of this node, key:value. May be repeated."),
    flag("non-voting-server", Bool, "read_replica", "Old spelling of -read-replica.")
        .replaced_by("read-replica"),
    flag("pid-file", Str, "pid_file", "File that holds the process id."),
    flag(
        "primary-gateway",
        List,
        "primary_gateways",
        "A mesh gateway of the primary datacenter. May be repeated.",
    ),
    flag("protocol", Int, "protocol", "Protocol version of the agents."),
    flag("raft-protocol", Int, "raft_protocol", "Protocol version of Raft."),
    flag("read-replica", Bool, "read_replica", "Enterprise: a server without a vote."),
    flag("recursor", List, "recursors", "A DNS server for other names. May be repeated."),
    flag("rejoin", Bool, "rejoin_after_leave", "Join again although the agent left before."),
    flag("retry-interval", Duration, "retry_interval", "Wait between attempts to join."),
    flag(
        "retry-interval-wan",
        Duration,
        "retry_interval_wan",
        "Wait between attempts to join other datacenters.",
    ),
    flag("retry-join", List, "retry_join", "An agent to join. May be repeated."),
    flag(
        "retry-join-wan",
        List,
        "retry_join_wan",
        "A server of another datacenter to join. May be repeated.",
    ),
    flag("retry-max", Int, "retry_max", "Give up joining after this many attempts; 0 for never."),
    flag(
        "retry-max-wan",
        Int,
        "retry_max_wan",
        "Give up joining other datacenters after this many attempts; 0 for never.",
    ),
    flag("segment", Str, "segment", "Enterprise: the network segment."),
    flag(
        "serf-lan-allowed-cidrs",
        List,
        "serf_lan_allowed_cidrs",
        "A network that LAN members may come from. May be repeated.",
    ),
    flag("serf-lan-bind", Str, "serf_lan", "Address of LAN gossip."),
    flag("serf-lan-port", Int, "ports.serf_lan", "Port of LAN gossip."),
    flag(
        "serf-wan-allowed-cidrs",
        List,
        "serf_wan_allowed_cidrs",
        "A network that WAN members may come from. May be repeated.",
    ),
    flag("serf-wan-bind", Str, "serf_wan", "Address of WAN gossip."),
    flag("serf-wan-port", Int, "ports.serf_wan", "Port of WAN gossip."),
    flag("server", Bool, "server", "Run as a server."),
    flag("server-port", Int, "ports.server", "Port of RPC and Raft."),
    flag("syslog", Bool, "enable_syslog", "Log to syslog too."),
    flag("ui", Bool, "ui_config.enabled", "Serve the web interface.")
        .replaced_by_field("ui_config.enabled"),
    flag("ui-content-path", Str, "ui_config.content_path", "Path of the web interface."),
    flag("ui-dir", Str, "ui_config.dir", "Folder with another web interface.")
        .replaced_by_field("ui_config.dir"),
];

/// The flag of a name without dashes.
pub fn find_flag(name: &str) -> Option<&'static AgentFlag> {
    AGENT_FLAGS.iter().find(|flag| flag.name == name)
}
