//! From merged settings to the [`RuntimeConfig`].
//!
//! Two kinds of mistakes, as in Consul: some end the work at once; wrong
//! durations, ports, versions and the like gather and are told together. What
//! concerns several options at once is checked last, by `validate`.

pub(crate) mod addresses;
mod cluster;
pub(crate) mod definitions;
mod network;
mod snapshot_schedule;
mod surface;
mod tls;
mod validate;

pub use validate::encrypt_key;

use types::GoDuration;

use crate::decode::multi_error;
use crate::file_system::FileSystem;
use crate::load::{Environment, Loaded};
use crate::options;
use crate::runtime::{
    Bootstrap, CheckDefaults, LeaveConfig, LogConfig, NodeIdentity, RuntimeConfig, ScriptChecks,
    Switches,
};
use crate::settings::Settings;
use crate::sources::Read;
use crate::value::Value;

/// What `session_ttl_min` is when it is unset or zero.
const SESSION_TTL_MIN: GoDuration = GoDuration::from_secs(10);

/// What the steps of the build share.
pub(crate) struct Build<'a> {
    /// Everything, with the defaults of dev mode.
    pub(crate) settings: &'a Settings,
    pub(crate) environment: &'a Environment,
    pub(crate) dev: bool,
    pub(crate) server: bool,
    pub(crate) warnings: Vec<String>,
    /// Mistakes that are told together.
    pub(crate) errors: Vec<String>,
}

impl Build<'_> {
    /// A duration; a wrong one is noted.
    pub(crate) fn duration(&mut self, key: &str) -> GoDuration {
        self.settings.duration(key).unwrap_or_else(|error| {
            self.errors.push(error);
            GoDuration::ZERO
        })
    }

    /// A number of an unsigned type; a negative or too large one is noted.
    pub(crate) fn count<T: TryFrom<i64> + Default>(&mut self, key: &str) -> T {
        let number = self.settings.int(key);
        T::try_from(number).unwrap_or_else(|_| {
            self.errors.push(format!("{key}: invalid value: {number}"));
            T::default()
        })
    }

    /// A boolean whose default depends on the mode.
    fn bool_or(&self, key: &str, default: bool) -> bool {
        if self.settings.is_set(key) { self.settings.bool(key) } else { default }
    }

    /// Ends the work when something was noted.
    fn fail_if_wrong(&self) -> Result<(), String> {
        if self.errors.is_empty() { Ok(()) } else { Err(multi_error(&self.errors)) }
    }
}

pub(crate) fn build(
    read: Read,
    dev: bool,
    files: &dyn FileSystem,
    environment: &Environment,
) -> Result<Loaded, String> {
    let Read { settings: user, mut warnings } = read;
    let mut settings = if dev { crate::sources::dev_defaults() } else { Settings::default() };
    settings.overlay(user.clone());
    fix_internal_values(&mut settings);
    warn_enterprise(&user, &mut warnings);
    let (config, warnings) = build_settings(settings, warnings, dev, files, environment)?;
    Ok(Loaded { config, warnings, without_effect: without_effect(&user) })
}

/// From settings that are complete: those of dev mode are in them, those that nobody
/// configures are not.
pub(crate) fn build_settings(
    settings: Settings,
    warnings: Vec<String>,
    dev: bool,
    files: &dyn FileSystem,
    environment: &Environment,
) -> Result<(RuntimeConfig, Vec<String>), String> {
    let mut build = Build {
        dev,
        server: settings.bool("server"),
        settings: &settings,
        environment,
        warnings,
        errors: Vec::new(),
    };
    validate::early(&mut build)?;
    let ports = network::ports(&mut build);
    let network = network::network(&mut build, &ports)?;
    let listeners = network::listeners(&mut build, &ports, &network)?;
    let identity = identity(&mut build, &network);
    let config = RuntimeConfig {
        dev,
        server: build.server,
        data_dir: (!dev).then(|| settings.text("data_dir").into()),
        pid_file: settings.non_empty("pid_file").map(Into::into),
        bootstrap: bootstrap(&mut build)?,
        dns: surface::dns(&mut build)?,
        http: surface::http(&mut build)?,
        ui: surface::ui(&build)?,
        limits: surface::limits(&mut build)?,
        tls: tls::tls(&mut build)?,
        log: log(&mut build),
        telemetry: surface::telemetry(&mut build),
        checks: checks(&mut build),
        leave: leave(&mut build),
        raft: cluster::raft(&mut build)?,
        snapshot_schedule: snapshot_schedule::snapshot_schedule(&mut build)?,
        rpc: cluster::rpc(&mut build),
        gossip: cluster::gossip(&mut build, &network, &ports)?,
        join: cluster::join(&mut build)?,
        acl: cluster::acl(&mut build),
        connect: cluster::connect(&mut build),
        autopilot: cluster::autopilot(&mut build)?,
        cache: cluster::cache(&build)?,
        switches: switches(&mut build),
        definitions: definitions::read(&mut build)?,
        identity,
        network,
        ports,
        listeners,
        settings: settings.clone(),
    };
    build.fail_if_wrong()?;
    validate::whole(&config, &mut build, files)?;
    Ok((config, build.warnings))
}

/// Options that nobody configures: what a source said about them is dropped
/// (`reference/config.md` section 8).
fn fix_internal_values(settings: &mut Settings) {
    settings.remove(|option| option.help == options::NOT_CONFIGURABLE);
}

fn warn_enterprise(user: &Settings, warnings: &mut Vec<String>) {
    for key in user.keys() {
        if !options::find(key).is_some_and(|option| option.enterprise) {
            continue;
        }
        let shown = match key {
            "read_replica" => "read_replica (or the deprecated non_voting_server)",
            key => key,
        };
        warnings.push(format!(
            "\"{shown}\" is a Consul Enterprise configuration and will have no effect"
        ));
    }
}

/// One line per option that the user set and that does nothing yet. Switching
/// off what does not exist is not worth a line.
fn without_effect(user: &Settings) -> Vec<String> {
    let asks_for_something = |key: &str| match user.get(key) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Int(number)) => *number > 0,
        Some(Value::Str(text)) => !text.is_empty(),
        Some(Value::List(items)) => !items.is_empty(),
        Some(Value::Object(object)) => !object.is_empty(),
        Some(_) => true,
    };
    user.keys()
        .filter(|key| options::find(key).is_some_and(options::Opt::is_without_effect))
        .filter(|key| asks_for_something(key))
        .map(|key| format!("\"{key}\" has no effect yet"))
        .collect()
}

fn identity(build: &mut Build<'_>, network: &crate::runtime::NetworkConfig) -> NodeIdentity {
    let settings = build.settings;
    let datacenter = settings.text("datacenter").to_lowercase();
    let primary = settings.non_empty("primary_datacenter").map(|text| text.to_lowercase());
    let node_name = match settings.is_set("node_name") {
        true => settings.text("node_name"),
        false => build.environment.host_name.clone(),
    };
    let region = settings.text("locality.region");
    let zone = settings.text("locality.zone");
    let locality = (!region.is_empty() || !zone.is_empty())
        .then_some(types::catalog::Locality { region, zone });
    NodeIdentity {
        primary_datacenter: primary.unwrap_or_else(|| datacenter.clone()).into(),
        datacenter: datacenter.into(),
        node_name: node_name.trim().into(),
        node_id: settings.non_empty("node_id").map(|text| text.to_ascii_lowercase()),
        disable_host_node_id: settings.bool("disable_host_node_id"),
        node_meta: settings.map("node_meta"),
        tagged_addresses: network::tagged_addresses(build, network),
        locality,
    }
}

fn bootstrap(build: &mut Build<'_>) -> Result<Bootstrap, String> {
    let wanted = build.settings.int("bootstrap_expect");
    let bootstrap = build.settings.bool("bootstrap");
    if wanted < 0 {
        return Err(format!(
            "bootstrap_expect cannot be {wanted}. Must be greater than or equal to zero"
        ));
    }
    if wanted > 0 && build.dev {
        return Err("'bootstrap_expect > 0' not allowed in dev mode".to_owned());
    }
    if wanted > 0 && !build.server {
        return Err("'bootstrap_expect > 0' requires 'server = true'".to_owned());
    }
    if wanted > 0 && bootstrap {
        return Err(
            "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive".to_owned()
        );
    }
    if bootstrap && !build.server {
        return Err("'bootstrap = true' requires 'server = true'".to_owned());
    }
    let warnings = &mut build.warnings;
    match wanted {
        0 => {}
        1 => {
            warnings.push(
                "BootstrapExpect is set to 1; this is the same as Bootstrap mode.".to_owned(),
            );
            return Ok(Bootstrap { bootstrap: true, expect: 0 });
        }
        2 => warnings.push(
            "bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance. \
             See https://www.consul.io/docs/internals/consensus.html#deployment-table"
                .to_owned(),
        ),
        even if even % 2 == 0 => warnings.push(
            "bootstrap_expect is even number: A cluster with an even number of servers does not \
             achieve optimum fault tolerance. See \
             https://www.consul.io/docs/internals/consensus.html#deployment-table"
                .to_owned(),
        ),
        _ => {}
    }
    if wanted > 1 {
        warnings.push(format!("bootstrap_expect > 0: expecting {wanted} servers"));
    }
    if bootstrap {
        warnings.push("bootstrap = true: do not enable unless necessary".to_owned());
    }
    Ok(Bootstrap { bootstrap, expect: build.count("bootstrap_expect") })
}

fn log(build: &mut Build<'_>) -> LogConfig {
    let settings = build.settings;
    LogConfig {
        level_text: settings.text("log_level"),
        json: settings.bool("log_json"),
        file: settings.non_empty("log_file").map(Into::into),
        rotate_bytes: settings.int("log_rotate_bytes"),
        rotate_duration: build.duration("log_rotate_duration"),
        rotate_max_files: settings.int("log_rotate_max_files"),
        syslog: settings.bool("enable_syslog"),
        syslog_facility: settings.text("syslog_facility"),
    }
}

fn checks(build: &mut Build<'_>) -> CheckDefaults {
    let settings = build.settings;
    let remote = settings.bool("enable_script_checks");
    CheckDefaults {
        scripts: ScriptChecks {
            remote,
            local: build.bool_or("enable_local_script_checks", remote),
        },
        output_max_size: u64::try_from(settings.int("check_output_max_size")).unwrap_or(0),
        update_interval: build.duration("check_update_interval"),
        discard_output: settings.bool("discard_check_output"),
        agent_tls: settings.bool("enable_agent_tls_for_checks"),
        reap_interval: build.duration("check_reap_interval"),
        deregister_interval_min: build.duration("check_deregister_interval_min"),
    }
}

fn leave(build: &mut Build<'_>) -> LeaveConfig {
    LeaveConfig {
        on_terminate: build.bool_or("leave_on_terminate", !build.server),
        skip_on_interrupt: build.bool_or("skip_leave_on_interrupt", build.server),
        drain_time: build.duration("performance.leave_drain_time"),
        rejoin_after: build.settings.bool("rejoin_after_leave"),
        server_rejoin_age_max: build.duration("server_rejoin_age_max"),
    }
}

fn switches(build: &mut Build<'_>) -> Switches {
    let settings = build.settings;
    Switches {
        auto_reload_config: settings.bool("auto_reload_config"),
        disable_anonymous_signature: settings.bool("disable_anonymous_signature"),
        disable_coordinates: settings.bool("disable_coordinates"),
        disable_remote_exec: settings.bool("disable_remote_exec"),
        disable_update_check: settings.bool("disable_update_check"),
        enable_debug: settings.bool("enable_debug"),
        enable_central_service_config: settings.bool("enable_central_service_config"),
        use_streaming_backend: settings.bool("use_streaming_backend"),
        experiments: settings.list("experiments"),
        peering: settings.bool("peering.enabled"),
        session_ttl_min: match build.duration("session_ttl_min") {
            unset if unset.is_zero() => SESSION_TTL_MIN,
            set => set,
        },
        discovery_max_stale: build.duration("discovery_max_stale"),
    }
}
