//! `consul catalog datacenters`.

use crate::ApiFlags;
use crate::command::{Call, Command, Run, no_flags};
use crate::failure::{Outcome, Tried as _, at_most};

pub(in crate::commands) const COMMAND: Command = Command {
    words: "catalog datacenters",
    synopsis: "List datacenters",
    usage: "catalog datacenters [options]",
    help: "Prints the names of all known datacenters, nearest first.",
    api: ApiFlags::CS,
    flags: no_flags,
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    at_most(&call.arguments.words, 0)?;
    let client = call.client()?;
    for name in client.catalog_datacenters().await.tried("Error listing datacenters")? {
        call.ui.output(name);
    }
    Ok(0)
}
