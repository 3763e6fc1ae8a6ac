//! `consul info` (`reference/cli.md` section 9).

use serde_json::Value;

use crate::ApiFlags;
use crate::command::{Call, Command, Run, no_flags};
use crate::failure::{Failure, Outcome, Tried as _};

pub(super) const COMMAND: Command = Command {
    words: "info",
    synopsis: "Print numbers about an agent",
    usage: "info [options]",
    help: "Prints what the agent counts about itself: its services, Raft, its gossip pools\n\
           and its process.",
    api: ApiFlags::C,
    flags: no_flags,
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let client = call.client()?;
    let about = client.agent_self().await.tried("Error querying agent")?;
    let Some(Value::Object(sections)) = about.get("Stats") else {
        return Err(Failure::new("Agent response did not contain 'Stats' key"));
    };
    let mut sections: Vec<_> = sections.iter().collect();
    sections.sort_by_key(|(name, _)| *name);
    for (name, section) in sections {
        call.ui.output(format!("{name}:"));
        let Value::Object(numbers) = section else { continue };
        let mut numbers: Vec<_> = numbers.iter().collect();
        numbers.sort_by_key(|(key, _)| *key);
        for (key, value) in numbers {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            call.ui.output(format!("\t{key} = {shown}"));
        }
    }
    Ok(0)
}
