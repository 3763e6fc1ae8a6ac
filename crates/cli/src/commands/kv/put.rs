//! `consul kv put`.

use client::{KvCondition, KvPut};

use super::missing_key;
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::{Arguments, Flag};
use types::go_base64;

pub(in crate::commands) const COMMAND: Command = Command {
    words: "kv put",
    synopsis: "Write a key",
    usage: "kv put [options] KEY [DATA]",
    help: "Writes a key. The data is the text itself, @FILE for the content of a file,\n\
           or - for standard input; without data the value is empty.\n\n\
           \x20   $ consul kv put app/limit 10\n\
           \x20   $ consul kv put app/config @config.json\n\
           \x20   $ consul kv put -cas -modify-index=42 app/limit 11",
    api: ApiFlags::CSN,
    flags: || {
        vec![
            Flag::bool(
                "acquire",
                "Take the lock of the key for -session; the key is made if need be.",
            ),
            Flag::bool("base64", "The data is base64; write what it stands for."),
            Flag::bool("cas", "Write only if the key's ModifyIndex is -modify-index."),
            Flag::unsigned("flags", "A number of your own, stored with the key.").or("0"),
            Flag::unsigned(
                "modify-index",
                "The ModifyIndex that -cas compares; 0 for a key that does not exist.",
            )
            .or("0"),
            Flag::bool("release", "Give back the lock of the key that -session holds."),
            Flag::text("session", "The session of -acquire and -release."),
        ]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let words = call.arguments.words.clone();
    let (key, data) = match words.as_slice() {
        [] => return Err(missing_key()),
        [key] => (key, ""),
        [key, data] => (key, data.as_str()),
        more => {
            let count = more.len();
            let text = format!("Error! Too many arguments (expected 1 or 2, got {count})");
            return Err(Failure::new(text));
        }
    };
    let mut value =
        call.data(data).map_err(|failure| Failure::new(format!("Error! {}", failure.message)))?;
    if call.arguments.bool("base64") {
        let (decoded, complaint) = go_base64::decode(&value);
        if let Some(complaint) = complaint {
            call.ui.error(format!("Error! Cannot base 64 decode data: {complaint}"));
        }
        value = decoded;
    }
    let condition = condition(&call.arguments)?;
    let client = call.client()?;
    let flags = call.arguments.unsigned("flags");
    let put = KvPut { flags, condition, ..KvPut::new(key, value) };
    let written = client.kv_put(&put).await.tried("Error! Failed writing data")?;
    let text = match (&put.condition, written) {
        (KvCondition::Always | KvCondition::Unchanged(_), true) => {
            format!("Success! Data written to: {key}")
        }
        (KvCondition::Acquire(_), true) => format!("Success! Lock acquired on: {key}"),
        (KvCondition::Release(_), true) => format!("Success! Lock released on: {key}"),
        (KvCondition::Unchanged(0), false) => {
            let reason = "CAS performed with index=0 and key already exists.";
            return Err(Failure::new(format!("Error! Did not write to {key}: {reason}")));
        }
        (KvCondition::Unchanged(_), false) => {
            return Err(Failure::new(format!("Error! Did not write to {key}: CAS failed")));
        }
        (KvCondition::Acquire(_), false) => {
            return Err(Failure::new("Error! Did not acquire lock"));
        }
        (KvCondition::Release(_), false) => {
            return Err(Failure::new("Error! Did not release lock"));
        }
        (KvCondition::Always, false) => {
            return Err(Failure::new(format!("Error! Did not write to {key}")));
        }
    };
    call.ui.output(text);
    Ok(0)
}

fn condition(arguments: &Arguments) -> Result<KvCondition, Failure> {
    let session = arguments.text("session");
    let (acquire, release) = (arguments.bool("acquire"), arguments.bool("release"));
    if (acquire || release) && session.is_empty() {
        let text = "Error! Missing -session (required with -acquire and -release)";
        return Err(Failure::new(text));
    }
    Ok(if arguments.bool("cas") {
        KvCondition::Unchanged(arguments.unsigned("modify-index"))
    } else if acquire {
        KvCondition::Acquire(session.to_owned())
    } else if release {
        KvCondition::Release(session.to_owned())
    } else {
        KvCondition::Always
    })
}
