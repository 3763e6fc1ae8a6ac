//! `consul maint` (`reference/cli.md` section 13).

use client::Client;

use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::{Flag, quote};

/// Id of the check that takes a node out of service.
const NODE_CHECK: &str = "_node_maintenance";
/// Beginning of the id of the check that takes an instance out of service.
const SERVICE_CHECK: &str = "_service_maintenance:";

pub(super) const COMMAND: Command = Command {
    words: "maint",
    synopsis: "Take a node or a service out of use, and back",
    usage: "maint [options]",
    help: "Puts the node or one of its service instances into maintenance: they are\n\
           critical, so neither DNS nor health queries hand them out. Without options,\n\
           prints what is in maintenance.\n\n\
           \x20   $ consul maint -enable -reason='new disk'\n\
           \x20   $ consul maint -disable -service=web-1",
    api: ApiFlags::C,
    flags: || {
        vec![
            Flag::bool("disable", "Take out of maintenance."),
            Flag::bool("enable", "Put into maintenance."),
            Flag::text("reason", "Why, for whoever looks."),
            Flag::text("service", "Id of the instance; without it the whole node is meant."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let (enable, disable) = (call.arguments.bool("enable"), call.arguments.bool("disable"));
    let reason = call.arguments.text("reason").to_owned();
    let service = call.arguments.text("service").to_owned();
    if enable && disable {
        return Err(Failure::new("Only one of -enable or -disable may be provided"));
    }
    if !enable && !reason.is_empty() {
        return Err(Failure::new("Reason may only be provided with -enable"));
    }
    if !enable && !disable && !service.is_empty() {
        return Err(Failure::new("Service requires either -enable or -disable"));
    }
    let client = call.client()?;
    if !enable && !disable {
        return print(call, &client).await;
    }
    let doing = if enable { "enabling" } else { "disabling" };
    let done = if enable { "enabled" } else { "disabled" };
    if service.is_empty() {
        let answer = client.agent_node_maintenance(enable, &reason).await;
        answer.tried(&format!("Error {doing} node maintenance"))?;
        call.ui.output(format!("Node maintenance is now {done}"));
    } else {
        let answer = client.agent_service_maintenance(&service, enable, &reason).await;
        answer.tried(&format!("Error {doing} service maintenance"))?;
        call.ui.output(format!("Service maintenance is now {done} for {}", quote(&service)));
    }
    Ok(0)
}

async fn print(call: &mut Call, client: &Client) -> Outcome {
    let about = client.agent_self().await.tried("Error querying Consul agent")?;
    let node = about["Config"]["NodeName"].as_str().unwrap_or_default();
    let checks = client.agent_checks().await.tried("Error querying Consul agent")?;
    for check in checks.values() {
        if check.check_id == NODE_CHECK {
            call.ui.output(format!("Node:\n  Name:   {node}\n  Reason: {}\n", check.notes));
        } else if check.check_id.as_str().starts_with(SERVICE_CHECK) {
            let (id, reason) = (check.service_id.as_str(), &check.notes);
            call.ui.output(format!("Service:\n  ID:     {id}\n  Reason: {reason}\n"));
        }
    }
    Ok(0)
}
