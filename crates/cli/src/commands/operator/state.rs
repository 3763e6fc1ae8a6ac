//! `consul operator autopilot state`.

use types::autopilot::{AutopilotServer, AutopilotState};

use super::NO_CLIENT;
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::commands::format::{FORMAT, Format};
use crate::failure::{Outcome, Tried as _};
use crate::flag::quote;
use crate::json;

pub(in crate::commands) const COMMAND: Command = Command {
    words: "operator autopilot state",
    synopsis: "Print how the servers are doing",
    usage: "operator autopilot state [options]",
    help: "Prints which servers are healthy, since when, and how many may yet fail.",
    api: ApiFlags::CS,
    flags: || vec![FORMAT],
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let format = Format::of(call)?;
    let client = call.client_or(NO_CLIENT)?;
    let options = call.query_options();
    let state = client.operator().autopilot_state(&options).await;
    let state = state.tried("Error querying Autopilot state")?;
    call.ui.output(match format {
        Format::Pretty => pretty(&state),
        Format::Json => json::indented(&state, "    "),
    });
    Ok(0)
}

fn pretty(state: &AutopilotState) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!("Healthy:                      {}", state.healthy));
    line(format!("Failure Tolerance:            {}", state.failure_tolerance));
    line(format!("Optimistic Failure Tolerance: {}", state.optimistic_failure_tolerance));
    line(format!("Leader:                       {}", state.leader));
    line("Voters:".to_owned());
    for voter in &state.voters {
        line(format!("   {voter}"));
    }
    line("Servers:".to_owned());
    for (id, server) in &state.servers {
        line(format!("   {id}"));
        write_server(&mut line, server);
    }
    out
}

fn write_server(line: &mut impl FnMut(String), server: &AutopilotServer) {
    line(format!("      Name:            {}", server.name));
    line(format!("      Address:         {}", server.address));
    line(format!("      Version:         {}", server.version));
    line(format!("      Status:          {}", server.status));
    line(format!("      Node Type:       {}", server.node_type));
    line(format!("      Node Status:     {}", server.node_status));
    line(format!("      Healthy:         {}", server.healthy));
    line(format!("      Last Contact:    {}", server.last_contact));
    line(format!("      Last Term:       {}", server.last_term));
    line(format!("      Last Index:      {}", server.last_index));
    let Some(meta) = server.meta.as_ref().filter(|meta| !meta.is_empty()) else { return };
    line("      Meta".to_owned());
    for (key, value) in meta {
        line(format!("         {}: {}", quote(key), quote(value)));
    }
}
