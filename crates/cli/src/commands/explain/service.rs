//! `consul explain service`.

use client::ExplainQuery;

use super::super::format::FORMAT;
use super::explain;
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, at_most};
use crate::flag::Flag;

pub(in crate::commands) const COMMAND: Command = Command {
    words: "explain service",
    synopsis: "Explain why instances of a service are handed out, or not",
    usage: "explain service [options] NAME",
    help: "Follows the instances of a service from the agent that runs them, through the\n\
           catalog, tags, filters and health checks, to the answers of HTTP and DNS.\n\
           NAME is the name of a service, or the id of an instance that the agent runs.\n\n\
           \x20   $ consul explain service web\n\
           \x20   $ consul explain service -tag=primary -passing db",
    api: ApiFlags::CS,
    flags: || {
        vec![
            Flag::text("filter", "Explain with this filter expression, as in ?filter=."),
            FORMAT,
            Flag::text("id", "Explain one instance only, by its id."),
            Flag::bool("passing", "Explain as for ?passing: warnings count as failures."),
            Flag::list("tag", "Explain for instances with this tag. May be repeated."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    at_most(&call.arguments.words, 1)?;
    let Some(name) = call.arguments.words.first().cloned() else {
        return Err(Failure::with_help("Missing NAME of the service"));
    };
    let query = ExplainQuery::Service {
        name,
        id: call.arguments.text("id").to_owned(),
        tags: call.arguments.list("tag"),
        passing: call.arguments.bool("passing"),
    };
    let filter = call.arguments.text("filter").to_owned();
    explain(call, query, &filter).await
}
