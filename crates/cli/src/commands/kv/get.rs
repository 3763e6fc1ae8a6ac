//! `consul kv get`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use client::{Client, QueryOptions};
use types::kv::KvEntry;

use super::missing_key;
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _, at_most};
use crate::flag::Flag;

const COMPLAINT: &str = "Error querying Consul agent";

pub(in crate::commands) const COMMAND: Command = Command {
    words: "kv get",
    synopsis: "Read a key, or list keys",
    usage: "kv get [options] [KEY_OR_PREFIX]",
    help: "Prints the value of a key. With -recurse, prints all keys that begin with a\n\
           prefix and their values; with -keys, their names alone.\n\n\
           \x20   $ consul kv get app/limit\n\
           \x20   $ consul kv get -recurse app/\n\
           \x20   $ consul kv get -keys -separator= app/",
    api: ApiFlags::CSN,
    flags: || {
        vec![
            Flag::bool("base64", "Print values in base64."),
            Flag::bool("detailed", "Print all that is known about the key beside its value."),
            Flag::bool("keys", "Print the names of the keys that begin with the prefix."),
            Flag::bool("recurse", "Print all keys that begin with the prefix."),
            Flag::text("separator", "With -keys, cut names behind the first occurrence of this.")
                .or("/"),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    at_most(&call.arguments.words, 1)?;
    let key = call.arguments.words.first().cloned().unwrap_or_default();
    let key = key.strip_prefix('/').unwrap_or(&key);
    let keys = call.arguments.bool("keys");
    let recurse = call.arguments.bool("recurse");
    if key.is_empty() && !keys && !recurse {
        return Err(missing_key());
    }
    let client = call.client()?;
    let options = call.query_options();
    match (keys, recurse) {
        (true, true) => print_all_names(call, &client, key, &options).await,
        (true, false) => print_names(call, &client, key, &options).await,
        (false, true) => print_all(call, &client, key, &options).await,
        (false, false) => print_one(call, &client, key, &options).await,
    }
}

async fn print_names(
    call: &mut Call,
    client: &Client,
    prefix: &str,
    options: &QueryOptions,
) -> Outcome {
    let separator = call.arguments.text("separator").to_owned();
    for name in client.kv_keys(prefix, &separator, options).await.tried(COMPLAINT)?.rows {
        call.ui.output(name);
    }
    Ok(0)
}

async fn print_all_names(
    call: &mut Call,
    client: &Client,
    prefix: &str,
    options: &QueryOptions,
) -> Outcome {
    let entries = client.kv_list(prefix, options).await.tried(COMPLAINT)?.rows;
    let detailed = call.arguments.bool("detailed");
    for (number, entry) in entries.iter().enumerate() {
        if !detailed {
            call.ui.output(&*entry.key);
            continue;
        }
        if number > 0 {
            call.ui.output("");
        }
        call.ui.output(block(entry, None));
    }
    Ok(0)
}

async fn print_all(
    call: &mut Call,
    client: &Client,
    prefix: &str,
    options: &QueryOptions,
) -> Outcome {
    let entries = client.kv_list(prefix, options).await.tried(COMPLAINT)?.rows;
    let detailed = call.arguments.bool("detailed");
    let base64 = call.arguments.bool("base64");
    for (number, entry) in entries.iter().enumerate() {
        let value = shown_value(entry, base64);
        if detailed {
            if number > 0 {
                call.ui.output("");
            }
            call.ui.output(block(entry, Some(&value)));
        } else {
            call.ui.output([entry.key.as_bytes(), b":", &value].concat());
        }
    }
    Ok(0)
}

async fn print_one(call: &mut Call, client: &Client, key: &str, options: &QueryOptions) -> Outcome {
    let found = client.kv_get(key, options).await.tried(COMPLAINT)?.rows;
    let entry = found.ok_or_else(|| Failure::new(format!("Error! No key exists at: {key}")))?;
    let value = shown_value(&entry, call.arguments.bool("base64"));
    if call.arguments.bool("detailed") {
        call.ui.output(block(&entry, Some(&value)));
    } else {
        call.ui.output(value);
    }
    Ok(0)
}

fn shown_value(entry: &KvEntry, base64: bool) -> Bytes {
    if base64 { STANDARD.encode(&entry.value.0).into() } else { entry.value.0.clone() }
}

/// All that is known about a key, one line each.
fn block(entry: &KvEntry, value: Option<&[u8]>) -> Vec<u8> {
    let session = match entry.session.as_str() {
        "" => "-",
        session => session,
    };
    let mut text = format!(
        "CreateIndex      {}\nFlags            {}\nKey              {}\n\
         LockIndex        {}\nModifyIndex      {}\nSession          {session}",
        entry.create_index.0, entry.flags, entry.key, entry.lock_index, entry.modify_index.0
    )
    .into_bytes();
    match value {
        None => {}
        Some([]) => text.extend_from_slice(b"\nValue"),
        Some(value) => {
            text.extend_from_slice(b"\nValue            ");
            text.extend_from_slice(value);
        }
    }
    text
}
