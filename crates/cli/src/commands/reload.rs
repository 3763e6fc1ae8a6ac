//! `consul reload` (`reference/cli.md` section 9).

use crate::ApiFlags;
use crate::command::{Call, Command, Run, no_flags};
use crate::failure::{Outcome, Tried as _};

pub(super) const COMMAND: Command = Command {
    words: "reload",
    synopsis: "Have the agent read its configuration again",
    usage: "reload [options]",
    help: "Has the agent read its configuration files again, as the signal HUP does. Not\n\
           every option can change so; the others need a restart.",
    api: ApiFlags::C,
    flags: no_flags,
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let client = call.client()?;
    client.agent_reload().await.tried("Error reloading")?;
    call.ui.output("Configuration reload triggered");
    Ok(0)
}
