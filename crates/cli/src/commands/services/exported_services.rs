//! `consul services exported-services`.

use client::{ExportedService, QueryOptions};

use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::commands::format::{FORMAT, Format};
use crate::failure::{Outcome, Tried as _};
use crate::flag::Flag;
use crate::json::indented;
use crate::table::{row, table};

pub(in crate::commands) const COMMAND: Command = Command {
    words: "services exported-services",
    synopsis: "List services shared with other clusters",
    usage: "services exported-services [options]",
    help: "Prints the services that this cluster exports, and to whom.",
    api: ApiFlags::CSP,
    flags: || {
        vec![
            FORMAT,
            Flag::text("filter", "Only services for which this expression holds.").word("value"),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let format = Format::of(call)?;
    let client = call.client_or("Error connect to Consul agent")?;
    let filter = call.arguments.text("filter").to_owned();
    let options = QueryOptions { filter, ..call.query_options() };
    let complaint = "Error reading exported services";
    let exported = client.exported_services(&options).await.tried(complaint)?.rows;
    match format {
        Format::Json => call.ui.output(indented(&exported, "    ")),
        Format::Pretty if exported.is_empty() => call.ui.output("No exported services found"),
        Format::Pretty => call.ui.output(table(&rows(&exported))),
    }
    Ok(0)
}

fn rows(exported: &[ExportedService]) -> Vec<Vec<String>> {
    let mut rows = vec![row(["Service", "Consumer Peers"])];
    for service in exported {
        rows.push(row([&service.service, &service.consumers.peers.join(", ")]));
    }
    rows
}
