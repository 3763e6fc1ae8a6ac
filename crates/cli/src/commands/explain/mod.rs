//! `consul explain`: ours. One traced answer to "why do I (not) see this?".

pub(super) mod dns;
pub(super) mod key;
pub(super) mod service;

use client::{Error, ExplainQuery, QueryOptions};
use types::explain::{Explanation, Finding, Visible};

use super::format::Format;
use crate::ApiFlags;
use crate::command::{Call, Command, Run, no_flags};
use crate::failure::{Failure, Outcome};
use crate::json::indented;

/// The exit code for what is not seen at all, so that scripts can tell.
const NOT_SEEN: u8 = 2;

pub(super) const GROUP: Command = Command {
    words: "explain",
    synopsis: "Explain why something is seen, or not",
    usage: "explain <subcommand> [options] [args]",
    help: "Follows a service, a DNS name or a key on its way to whoever asks for it, and\n\
           tells at which station it is held back and what to do. Not part of Consul.\n\n\
           \x20   $ consul explain service web\n\
           \x20   $ consul explain dns web.service.consul\n\
           \x20   $ consul explain key app/config\n\n\
           Exits with 0 if it is seen, wholly or partly, and with 2 if it is not.",
    api: ApiFlags::NONE,
    flags: no_flags,
    run: Run::Group,
};

/// Asks, and prints the answer.
async fn explain(call: &mut Call, query: ExplainQuery, filter: &str) -> Outcome {
    let format = Format::of(call)?;
    let client = call.client()?;
    let options = QueryOptions { filter: filter.to_owned(), ..call.query_options() };
    let answer = query.ask(&client, &options).await;
    let explanation = answer.map_err(|error| match &error {
        Error::Status { code: 404, .. } => Failure::new(
            "The agent cannot explain: it is not Proconsul, or too old. (It answered 404.)",
        ),
        _ => Failure::new(format!("Error asking for the explanation: {error}")),
    })?;
    match format {
        Format::Json => call.ui.output(indented(&explanation, "    ")),
        Format::Pretty => call.ui.output(pretty(&explanation)),
    }
    Ok(if explanation.visible == Visible::No { NOT_SEEN } else { 0 })
}

fn pretty(explanation: &Explanation) -> String {
    let mut lines = vec![format!("{}: {}", explanation.subject, explanation.conclusion)];
    let width = explanation.steps.iter().map(|step| step.station.len()).max().unwrap_or(0);
    if !explanation.steps.is_empty() {
        lines.push(String::new());
    }
    for step in &explanation.steps {
        lines.push(format!("  {} {:width$}  {}", mark(step.finding), step.station, step.text));
        for detail in &step.details {
            lines.push(format!("    {:width$}    {detail}", ""));
        }
    }
    if !explanation.advice.is_empty() {
        lines.push(String::new());
        lines.push("What to do:".to_owned());
        lines.extend(explanation.advice.iter().map(|advice| format!("  - {advice}")));
    }
    lines.join("\n")
}

/// One character that says it at a glance, in any terminal and without colours.
fn mark(finding: Finding) -> char {
    match finding {
        Finding::Ok => '+',
        Finding::Note => ' ',
        Finding::Warning => '!',
        Finding::Stop => 'x',
    }
}
