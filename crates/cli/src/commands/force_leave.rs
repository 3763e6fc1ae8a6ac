//! `consul force-leave` (`reference/cli.md` section 9).

use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::Flag;

pub(super) const COMMAND: Command = Command {
    words: "force-leave",
    synopsis: "Declare that a failed agent has left",
    usage: "force-leave [options] NODE",
    help: "Turns a member that failed into one that left, so that the cluster stops\n\
           trying to reach it. An agent that runs takes no harm: it says that it is there.",
    api: ApiFlags::CP,
    flags: || {
        vec![
            Flag::bool("prune", "Forget the member at once in place of listing it as left."),
            Flag::bool("wan", "Act on the servers of all datacenters."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let [node] = call.arguments.words.as_slice() else {
        return Err(Failure::with_help("A single node name must be specified to force leave."));
    };
    let node = node.clone();
    let (prune, wan) = (call.arguments.bool("prune"), call.arguments.bool("wan"));
    let client = call.client()?;
    client.agent_force_leave(&node, prune, wan).await.tried("Error force leaving")?;
    Ok(0)
}
