//! `consul kv import`.

use client::KvPut;
use types::json::Unknown;

use super::export::ExportedEntry;
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::Flag;
use types::go_base64;

pub(in crate::commands) const COMMAND: Command = Command {
    words: "kv import",
    synopsis: "Write keys from JSON",
    usage: "kv import [options] DATA",
    help: "Writes the keys that `consul kv export` printed. The data is @FILE, - for\n\
           standard input, or the JSON itself.\n\n\
           \x20   $ consul kv import @app.json",
    api: ApiFlags::CSN,
    flags: || vec![Flag::text("prefix", "Put this in front of every key.")],
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let words = call.arguments.words.clone();
    let data = match words.as_slice() {
        [] => return Err(Failure::new("Error! Missing DATA argument")),
        [data] => call
            .data(data)
            .map_err(|failure| Failure::new(format!("Error! {}", failure.message)))?,
        more => {
            let count = more.len();
            return Err(Failure::new(format!(
                "Error! Too many arguments (expected 1, got {count})"
            )));
        }
    };
    let client = call.client()?;
    let entries: Vec<ExportedEntry> =
        types::json::decode_whole(&data, Unknown::Ignore).tried("Cannot unmarshal data")?;
    let prefix = call.arguments.text("prefix").to_owned();
    for entry in entries {
        let (value, complaint) = go_base64::decode(entry.value.as_bytes());
        if let Some(complaint) = complaint {
            let key = entry.key;
            let text = format!("Error base 64 decoding value for key {key}: {complaint}");
            return Err(Failure::new(text));
        }
        let key = format!("{prefix}{}", entry.key);
        let put = KvPut { flags: entry.flags, ..KvPut::new(key.as_str(), value) };
        client.kv_put(&put).await.tried(&format!("Error! Failed writing data for key {key}"))?;
        call.ui.output(format!("Imported: {key}"));
    }
    Ok(0)
}
