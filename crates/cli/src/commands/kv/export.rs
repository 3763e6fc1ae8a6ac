//! `consul kv export`, and the form that `consul kv import` reads.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::ApiFlags;
use crate::command::{Call, Command, Run, no_flags};
use crate::failure::{Outcome, Tried as _, at_most};
use crate::json::indented;

pub(in crate::commands) const COMMAND: Command = Command {
    words: "kv export",
    synopsis: "Print keys as JSON",
    usage: "kv export [options] [PREFIX]",
    help: "Prints all keys that begin with the prefix as JSON that `consul kv import`\n\
           reads.\n\n\
           \x20   $ consul kv export app/ > app.json",
    api: ApiFlags::CSN,
    flags: no_flags,
    run: Run::Online(|call| Box::pin(run(call))),
};

/// One key in an export.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ExportedEntry {
    pub(super) key: String,
    pub(super) flags: u64,
    /// Base64.
    pub(super) value: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) partition: String,
}

async fn run(call: &mut Call) -> Outcome {
    at_most(&call.arguments.words, 1)?;
    let prefix = call.arguments.words.first().cloned().unwrap_or_default();
    let prefix = prefix.strip_prefix('/').unwrap_or(&prefix);
    let client = call.client()?;
    let options = call.query_options();
    let entries = client.kv_list(prefix, &options).await.tried("Error querying Consul agent")?.rows;
    let exported: Vec<ExportedEntry> = entries
        .iter()
        .map(|entry| ExportedEntry {
            key: entry.key.to_string(),
            flags: entry.flags,
            value: STANDARD.encode(&entry.value.0),
            ..ExportedEntry::default()
        })
        .collect();
    call.ui.output(indented(&exported, "\t"));
    Ok(0)
}
