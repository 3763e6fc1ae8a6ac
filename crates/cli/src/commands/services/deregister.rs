//! `consul services deregister`.

use types::ServiceId;
use types::service::ServiceDefinition;

use super::definitions;
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::{Flag, quote};

pub(in crate::commands) const COMMAND: Command = Command {
    words: "services deregister",
    synopsis: "Remove services from the agent",
    usage: "services deregister [options] [FILE...]",
    help: "Removes the services that files define, or the instance of one id.\n\n\
           \x20   $ consul services deregister web.hcl\n\
           \x20   $ consul services deregister -id=web-1",
    api: ApiFlags::CSN,
    flags: || vec![Flag::text("id", "Id of the instance.")],
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let files = call.arguments.words.clone();
    let id = ServiceId::from(call.arguments.text("id"));
    if files.is_empty() && id.is_empty() {
        let text = "Service deregistration requires at least one argument or -id.";
        return Err(Failure::new(text));
    }
    if !files.is_empty() && !id.is_empty() {
        let text = "Service deregistration requires arguments or -id, not both.";
        return Err(Failure::new(text));
    }
    let services = if files.is_empty() {
        vec![ServiceDefinition { id, ..ServiceDefinition::default() }]
    } else {
        definitions(&files)?
    };
    let client = call.client()?;
    for service in services {
        let id = service.effective_id();
        // Consul names the service here, which is empty when an id was given.
        let name = quote(service.name.as_str());
        let complaint = format!("Error deregistering service {name}");
        client.agent_deregister(id.as_str()).await.tried(&complaint)?;
        call.ui.output(format!("Deregistered service: {}", id.as_str()));
    }
    Ok(0)
}
