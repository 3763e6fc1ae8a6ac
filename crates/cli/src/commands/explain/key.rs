//! `consul explain key`.

use client::ExplainQuery;

use super::super::format::FORMAT;
use super::explain;
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, at_most};

pub(in crate::commands) const COMMAND: Command = Command {
    words: "explain key",
    synopsis: "Explain what is known of a key, and who holds it",
    usage: "explain key [options] KEY",
    help: "Tells whether a key exists, what is near it if it does not, who holds its lock,\n\
           when that ends, and whether it can be locked.\n\n\
           \x20   $ consul explain key app/leader",
    api: ApiFlags::CS,
    flags: || vec![FORMAT],
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    at_most(&call.arguments.words, 1)?;
    let Some(key) = call.arguments.words.first().cloned() else {
        return Err(Failure::with_help("Missing KEY"));
    };
    explain(call, ExplainQuery::Key(key), "").await
}
