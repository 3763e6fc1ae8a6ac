//! The agent itself: identity, logging, checks, leaving, definitions.

use super::definitions::{CHECK, SERVICE, WATCH};
use super::{Feature, Kind, NOT_CONFIGURABLE, Opt, duration, flag, int, list, map, of_kind, text};

pub(super) const OPTIONS: &[Opt] = &[
    // Identity and data.
    text("datacenter", "dc1", "Datacenter of the agent, lower-case."),
    text("primary_datacenter", "", "Datacenter that rules ACLs and the mesh.").of(Feature::Acl),
    text("node_name", "", "Name of the node; the host name by default."),
    text("node_id", "", "UUID of the node; made and kept in the data directory by default."),
    map("node_meta", "Metadata of the node.").reloads(),
    flag("disable_host_node_id", true, "Make a random node id instead of one from the host's."),
    text("locality.region", "", "Region of the agent."),
    text("locality.zone", "", "Zone of the agent in its region."),
    text("data_dir", "", "Folder that keeps the agent's state."),
    text("pid_file", "", "File that holds the process id."),
    text("partition", "", "Admin partition.").enterprise(),
    text("license_path", "", "License file.").enterprise(),
    flag("reporting.license.enabled", false, "License reporting.").enterprise(),
    of_kind("audit", Kind::Free, "Audit log.").enterprise(),
    // Mode.
    flag("server", false, "Run as a server."),
    flag("bootstrap", false, "Start a cluster with this server alone."),
    int("bootstrap_expect", "0", "Servers to wait for before a cluster starts."),
    flag("leave_on_terminate", false, "Leave the cluster on SIGTERM; true on clients."),
    flag("skip_leave_on_interrupt", false, "Stay in the cluster on SIGINT; true on servers."),
    flag("rejoin_after_leave", false, "Join again at start after having left.").of(Feature::Gossip),
    duration("server_rejoin_age_max", "168h", "Longest absence of a server, at least 6h."),
    flag("auto_reload_config", false, "Reload when a file changes.").of(Feature::AutoReload),
    // Logging.
    text("log_level", "INFO", "TRACE, DEBUG, INFO, WARN or ERROR.").reloads(),
    flag("log_json", false, "Log JSON lines."),
    text("log_file", "", "File to log to besides standard output."),
    int("log_rotate_bytes", "0", "Size at which the log file is rotated; 0 for never."),
    duration("log_rotate_duration", "24h", "Age at which the log file is rotated."),
    int("log_rotate_max_files", "0", "Archives to keep; 0 for all, negative for none."),
    flag("enable_syslog", false, "Log to syslog too.").of(Feature::Syslog),
    text("syslog_facility", "LOCAL0", "Facility of syslog lines.").of(Feature::Syslog),
    // Checks and definitions.
    flag("enable_script_checks", false, "Checks may run commands, from files and the API."),
    flag("enable_local_script_checks", false, "Checks from files may run commands."),
    int("check_output_max_size", "4096", "Most bytes of output that a check keeps."),
    duration("check_update_interval", "5m", "How long a change of output alone may wait."),
    flag("discard_check_output", false, "Keep no output of checks.").reloads(),
    flag("enable_agent_tls_for_checks", false, "Checks use the agent's certificates."),
    of_kind("services", Kind::Objects(SERVICE), "Services of this agent.").reloads(),
    of_kind("checks", Kind::Objects(CHECK), "Checks of this agent.").reloads(),
    of_kind("watches", Kind::Objects(WATCH), "Queries with a handler.")
        .reloads()
        .of(Feature::Watches),
    // Switches.
    flag("disable_anonymous_signature", false, "No id in the update check."),
    flag("disable_coordinates", false, "No network coordinates.").of(Feature::Coordinates),
    flag("disable_remote_exec", true, "No `consul exec` on this node."),
    flag("disable_update_check", false, "No update check; none is ever made."),
    flag("enable_debug", false, "Profiling endpoints.").reloads(),
    flag("enable_central_service_config", true, "Services take central defaults.")
        .of(Feature::ConfigEntries),
    flag("use_streaming_backend", true, "Health queries use streaming.").of(Feature::Rpc),
    list("experiments", "Names of experiments; none is known."),
    duration("session_ttl_min", "0s", "Shortest life of a session with a time limit; 0 for 10s."),
    duration("discovery_max_stale", "0s", "How stale discovery answers may be."),
    // HashiCorp's cloud.
    text("cloud.resource_id", "", "Cloud resource.").of(Feature::Cloud),
    text("cloud.client_id", "", "Cloud client.").of(Feature::Cloud),
    text("cloud.client_secret", "", "Cloud secret.").of(Feature::Cloud).secret(),
    text("cloud.hostname", "", "Cloud host.").of(Feature::Cloud),
    text("cloud.auth_url", "", "Cloud login.").of(Feature::Cloud),
    text("cloud.scada_address", "", "Cloud broker.").of(Feature::Cloud),
    // Kept from the outside: set by the agent whatever a file says (section 8).
    text("version", "", NOT_CONFIGURABLE),
    text("version_prerelease", "", NOT_CONFIGURABLE),
    text("version_metadata", "", NOT_CONFIGURABLE),
    text("revision", "", NOT_CONFIGURABLE),
    text("build_date", "", NOT_CONFIGURABLE),
    duration("check_deregister_interval_min", "1m", NOT_CONFIGURABLE),
    duration("check_reap_interval", "30s", NOT_CONFIGURABLE),
    duration("ae_interval", "1m", NOT_CONFIGURABLE),
    super::float("sync_coordinate_rate_target", "64", NOT_CONFIGURABLE),
    duration("sync_coordinate_interval_min", "15s", NOT_CONFIGURABLE),
    int("segment_limit", "64", NOT_CONFIGURABLE),
    int("segment_name_limit", "64", NOT_CONFIGURABLE),
    int("consul.coordinate.update_batch_size", "128", NOT_CONFIGURABLE),
    int("consul.coordinate.update_max_batches", "5", NOT_CONFIGURABLE),
    duration("consul.coordinate.update_period", "5s", NOT_CONFIGURABLE),
    duration("consul.server.health_interval", "2s", NOT_CONFIGURABLE),
];
