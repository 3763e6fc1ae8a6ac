//! `consul join` (`reference/cli.md` section 9).

use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome};
use crate::flag::Flag;

pub(super) const COMMAND: Command = Command {
    words: "join",
    synopsis: "Have the agent join a cluster",
    usage: "join [options] ADDRESS ...",
    help: "Has the agent join the cluster of which at least one agent is at one of the\n\
           addresses.\n\n\
           \x20   $ consul join 10.0.0.1 10.0.0.2",
    api: ApiFlags::CP,
    flags: || vec![Flag::bool("wan", "Join the servers of another datacenter.")],
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let addresses = call.arguments.words.clone();
    if addresses.is_empty() {
        return Err(Failure::with_help("At least one address to join must be specified."));
    }
    let wan = call.arguments.bool("wan");
    let client = call.client()?;
    let mut joined = 0;
    for address in addresses {
        match client.agent_join(&address, wan).await {
            Ok(()) => joined += 1,
            Err(error) => call.ui.error(format!("Error joining address '{address}': {error}")),
        }
    }
    if joined == 0 {
        return Err(Failure::new("Failed to join any nodes."));
    }
    call.ui.output(format!("Successfully joined cluster by contacting {joined} nodes."));
    Ok(0)
}
