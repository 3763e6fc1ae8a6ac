//! `consul explain dns`.

use client::ExplainQuery;

use super::super::format::FORMAT;
use super::explain;
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, at_most};
use crate::flag::Flag;

pub(in crate::commands) const COMMAND: Command = Command {
    words: "explain dns",
    synopsis: "Explain the answer to a DNS question",
    usage: "explain dns [options] NAME",
    help: "Tells how the agent reads a DNS name, what it looks up for it, which instances\n\
           it leaves out and why, and what it answers.\n\n\
           \x20   $ consul explain dns web.service.consul\n\
           \x20   $ consul explain dns -type=SRV _web._tcp.service.consul",
    api: ApiFlags::CS,
    flags: || vec![FORMAT, Flag::text("type", "Record type: A, AAAA, SRV, TXT, …").or("A")],
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    at_most(&call.arguments.words, 1)?;
    let Some(name) = call.arguments.words.first().cloned() else {
        return Err(Failure::with_help("Missing NAME to be resolved"));
    };
    let record_type = call.arguments.text("type").to_owned();
    explain(call, ExplainQuery::Dns { name, record_type }, "").await
}
