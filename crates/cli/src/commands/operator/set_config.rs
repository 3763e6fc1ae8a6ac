//! `consul operator autopilot set-config`.

use client::QueryOptions;
use types::autopilot::AutopilotConfiguration;

use super::NO_CLIENT;
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::{Arguments, Flag, Kind};

pub(in crate::commands) const COMMAND: Command = Command {
    words: "operator autopilot set-config",
    synopsis: "Change what autopilot goes by",
    usage: "operator autopilot set-config [options]",
    help: "Changes the rules by which servers look after each other. What is not given stays\n\
           as it is.\n\n\
           \x20   $ consul operator autopilot set-config -min-quorum=3",
    api: ApiFlags::CS,
    flags: || {
        let maybe = |name, help| Flag::new(name, Kind::OptionalBool, help);
        vec![
            maybe("cleanup-dead-servers", "Whether dead servers are taken out of the quorum."),
            maybe("disable-upgrade-migration", "Enterprise: no migration to newer servers."),
            Flag::duration("last-contact-threshold", "The longest silence of a healthy server."),
            Flag::unsigned("max-trailing-logs", "How many entries a healthy server may be behind."),
            Flag::unsigned("min-quorum", "Dead servers stay if fewer voters would remain."),
            Flag::text("redundancy-zone-tag", "Enterprise: the node metadata that names a zone."),
            Flag::duration(
                "server-stabilization-time",
                "How long a new server must be healthy before it may vote.",
            ),
            Flag::text("upgrade-version-tag", "Enterprise: the metadata that names a version."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let client = call.client_or(NO_CLIENT)?;
    let operator = client.operator();
    let mut configuration = operator
        .autopilot_configuration(&QueryOptions::default())
        .await
        .tried("Error querying Autopilot configuration")?;
    change(&mut configuration, &call.arguments);
    let changed = operator.autopilot_cas_configuration(&configuration).await;
    if !changed.tried("Error setting Autopilot configuration")? {
        return Err(Failure::new(
            "Configuration could not be atomically updated, please try again",
        ));
    }
    call.ui.output("Configuration updated!");
    Ok(0)
}

/// Takes over the flags that are given.
fn change(configuration: &mut AutopilotConfiguration, arguments: &Arguments) {
    let given = |name: &'static str| arguments.is_set(name).then_some(name);
    if let Some(name) = given("cleanup-dead-servers") {
        configuration.cleanup_dead_servers = arguments.bool(name);
    }
    if let Some(name) = given("disable-upgrade-migration") {
        configuration.disable_upgrade_migration = arguments.bool(name);
    }
    if let Some(name) = given("last-contact-threshold") {
        configuration.last_contact_threshold = arguments.duration(name);
    }
    if let Some(name) = given("max-trailing-logs") {
        configuration.max_trailing_logs = arguments.unsigned(name);
    }
    if let Some(name) = given("min-quorum") {
        configuration.min_quorum = arguments.unsigned(name);
    }
    if let Some(name) = given("redundancy-zone-tag") {
        arguments.text(name).clone_into(&mut configuration.redundancy_zone_tag);
    }
    if let Some(name) = given("server-stabilization-time") {
        configuration.server_stabilization_time = arguments.duration(name);
    }
    if let Some(name) = given("upgrade-version-tag") {
        arguments.text(name).clone_into(&mut configuration.upgrade_version_tag);
    }
}
