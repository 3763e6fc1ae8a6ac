//! `consul event` (`reference/cli.md` section 9).

use client::EventFire;
use filter::Pattern;

use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::Flag;

pub(super) const COMMAND: Command = Command {
    words: "event",
    synopsis: "Send an event to all agents",
    usage: "event [options] -name NAME [PAYLOAD]",
    help: "Sends an event of your own through the gossip pool. Agents that watch for it\n\
           act on it.\n\n\
           \x20   $ consul event -name=deploy -service=web 1.4.2",
    api: ApiFlags::C,
    flags: || {
        vec![
            Flag::text("name", "Name of the event."),
            Flag::text("node", "Only nodes whose name matches this regular expression."),
            Flag::text(
                "service",
                "Only nodes with a service that matches this regular expression.",
            ),
            Flag::text("tag", "With -service, only instances with a tag that matches this one."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let text = |name: &str| call.arguments.text(name).to_owned();
    let mut event = EventFire {
        name: text("name"),
        node_filter: text("node"),
        service_filter: text("service"),
        tag_filter: text("tag"),
        ..EventFire::default()
    };
    if event.name.is_empty() {
        return Err(Failure::with_help("Event name must be specified"));
    }
    for (what, filter) in [
        ("node", &event.node_filter),
        ("service", &event.service_filter),
        ("tag", &event.tag_filter),
    ] {
        Pattern::compile(filter).tried(&format!("Failed to compile {what} filter regexp"))?;
    }
    if !event.tag_filter.is_empty() && event.service_filter.is_empty() {
        return Err(Failure::new("Cannot provide tag filter without service filter."));
    }
    match call.arguments.words.as_slice() {
        [] => {}
        [payload] => event.payload = payload.clone().into(),
        _ => return Err(Failure::with_help("Too many command line arguments.")),
    }
    let client = call.client()?;
    // Consul looks whether the agent is there first; the complaint is known by it.
    client.agent_self().await.tried("Error querying Consul agent")?;
    let id = event.send(&client).await.tried("Error firing event")?;
    call.ui.output(format!("Event ID: {id}"));
    Ok(0)
}
