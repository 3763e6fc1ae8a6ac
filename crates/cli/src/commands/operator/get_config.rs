//! `consul operator autopilot get-config`.

use types::autopilot::AutopilotConfiguration;

use super::NO_CLIENT;
use crate::ApiFlags;
use crate::command::{Call, Command, Run, no_flags};
use crate::failure::{Outcome, Tried as _};
use crate::flag::quote;

pub(in crate::commands) const COMMAND: Command = Command {
    words: "operator autopilot get-config",
    synopsis: "Print what autopilot goes by",
    usage: "operator autopilot get-config [options]",
    help: "Prints the rules by which servers look after each other.",
    api: ApiFlags::CS,
    flags: no_flags,
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let client = call.client_or(NO_CLIENT)?;
    let options = call.query_options();
    let configuration = client.operator().autopilot_configuration(&options).await;
    let configuration = configuration.tried("Error querying Autopilot configuration")?;
    call.ui.output(lines(&configuration).join("\n"));
    Ok(0)
}

fn lines(configuration: &AutopilotConfiguration) -> [String; 8] {
    [
        format!("CleanupDeadServers = {}", configuration.cleanup_dead_servers),
        format!("LastContactThreshold = {}", configuration.last_contact_threshold),
        format!("MaxTrailingLogs = {}", configuration.max_trailing_logs),
        format!("MinQuorum = {}", configuration.min_quorum),
        format!("ServerStabilizationTime = {}", configuration.server_stabilization_time),
        format!("RedundancyZoneTag = {}", quote(&configuration.redundancy_zone_tag)),
        format!("DisableUpgradeMigration = {}", configuration.disable_upgrade_migration),
        format!("UpgradeVersionTag = {}", quote(&configuration.upgrade_version_tag)),
    ]
}
