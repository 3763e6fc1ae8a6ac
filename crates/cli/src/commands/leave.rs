//! `consul leave` (`reference/cli.md` section 9).

use crate::ApiFlags;
use crate::command::{Call, Command, Run, no_flags};
use crate::failure::{Failure, Outcome, Tried as _};

pub(super) const COMMAND: Command = Command {
    words: "leave",
    synopsis: "Have the agent leave the cluster and end",
    usage: "leave [options]",
    help: "Has the agent tell the cluster that it leaves, and then end. Others see it as\n\
           left, not as failed.",
    api: ApiFlags::C,
    flags: no_flags,
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let words = &call.arguments.words;
    if !words.is_empty() {
        let words = words.join(" ");
        return Err(Failure::new(format!("Error found unexpected args: [{words}]")));
    }
    let client = call.client()?;
    client.agent_leave().await.tried("Error leaving")?;
    call.ui.output("Graceful leave complete");
    Ok(0)
}
