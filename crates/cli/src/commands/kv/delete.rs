//! `consul kv delete`.

use client::KvDelete;

use super::missing_key;
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _, at_most};
use crate::flag::Flag;

pub(in crate::commands) const COMMAND: Command = Command {
    words: "kv delete",
    synopsis: "Remove keys",
    usage: "kv delete [options] KEY_OR_PREFIX",
    help: "Removes a key, or with -recurse all keys that begin with a prefix.\n\n\
           \x20   $ consul kv delete app/limit\n\
           \x20   $ consul kv delete -recurse app/",
    api: ApiFlags::CSN,
    flags: || {
        vec![
            Flag::bool("cas", "Remove only if the key's ModifyIndex is -modify-index."),
            Flag::unsigned("modify-index", "The ModifyIndex that -cas compares.").or("0"),
            Flag::bool("recurse", "Remove all keys that begin with the prefix."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    at_most(&call.arguments.words, 1)?;
    let key = call.arguments.words.first().cloned().unwrap_or_default();
    let key = key.strip_prefix('/').unwrap_or(&key).to_owned();
    let recurse = call.arguments.bool("recurse");
    let cas = call.arguments.bool("cas");
    let index = call.arguments.unsigned("modify-index");
    let refusal = if key.is_empty() && !recurse {
        return Err(missing_key());
    } else if cas && index == 0 {
        "Cannot delete a key that does not exist. Provide a -modify-index greater than than 0."
    } else if index != 0 && !cas {
        "Cannot specify -modify-index without -cas!"
    } else if cas && recurse {
        "Cannot specify both -cas and -recurse!"
    } else {
        ""
    };
    if !refusal.is_empty() {
        return Err(Failure::new(refusal));
    }
    let client = call.client()?;
    let (what, complaint, success) = if recurse {
        let success = format!("Success! Deleted keys with prefix: {key}");
        let complaint = format!("Error! Did not delete prefix {key}");
        (KvDelete::Prefix(key.clone()), complaint, success)
    } else if cas {
        let success = format!("Success! Deleted key: {key}");
        (
            KvDelete::Unchanged(key.clone(), index),
            format!("Error! Did not delete key {key}"),
            success,
        )
    } else {
        let success = format!("Success! Deleted key: {key}");
        (KvDelete::Key(key.clone()), format!("Error deleting key {key}"), success)
    };
    let deleted = client.kv_delete(&what).await.tried(&complaint)?;
    if cas && !deleted {
        return Err(Failure::new(format!("Error! Did not delete key {key}: CAS failed")));
    }
    call.ui.output(success);
    Ok(0)
}
