//! `consul snapshot save`.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use client::{Client, MembersQuery, Response};

use super::progress::Progress;
use super::{file_argument, read};
use crate::ApiFlags;
use crate::command::{Call, Command, Run};
use crate::failure::{Failure, Outcome, Tried as _};
use crate::flag::Flag;

pub(in crate::commands) const COMMAND: Command = Command {
    words: "snapshot save",
    synopsis: "Save the state of the servers to a file",
    usage: "snapshot save [options] FILE",
    help: "Asks the leader for the state and saves it as an archive, which only its owner\n\
           may read: it holds tokens and keys. What was written is read again and checked\n\
           before it takes the name FILE; until then it is FILE.unverified.\n\n\
           \x20   $ consul snapshot save backup.snap\n\n\
           Without a leader, any server gives the state that it has, with -stale.",
    api: ApiFlags::CS,
    flags: || {
        vec![Flag::text(
            "append-filename",
            "Adds to the name of the file, before its extension: version for that of the leader, dc for the datacenter, or both with a comma between.",
        )]
    },
    run: Run::Online(|call| Box::pin(run(call))),
};

async fn run(call: &mut Call) -> Outcome {
    let file = file_argument(call)?;
    let client = call.client()?;
    let file = appended(&file, call.arguments.text("append-filename"), &client).await?;
    let options = call.query_options();
    let mut archive = client.snapshot().save(&options).await.tried("Error saving snapshot")?;
    let index = archive.meta().last_index;

    let unverified = format!("{file}.unverified");
    let temporary = format!("{unverified}.tmp{}", std::process::id());
    let written = write(call, &mut archive, &temporary).await;
    if written.is_err() {
        // It is of no use, and what went wrong is told below.
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    rename(&temporary, &unverified)?;
    read(&unverified, &mut |_| ()).map_err(|failure| {
        let text =
            failure.message.replacen("Error reading snapshot", "Error verifying snapshot file", 1);
        Failure::new(format!("{text}\nWhat came is kept as {unverified}"))
    })?;
    rename(&unverified, &file)?;
    call.ui.output(format!("Saved and verified snapshot to index {index}"));
    Ok(0)
}

/// Writes all that comes to a new file, and makes it last.
async fn write(call: &mut Call, archive: &mut Response, path: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        let reason = client::system_text(&error);
        Failure::new(format!("Error writing unverified snapshot file: open {path}: {reason}"))
    };
    let mut file: File = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    let mut progress = Progress::new("Saving", None);
    let mut bytes = 0;
    while let Some(piece) = archive.chunk().await.tried("Error saving snapshot")? {
        file.write_all(&piece).map_err(failed)?;
        bytes += piece.len() as u64;
        progress.draw(&mut call.ui, bytes);
    }
    progress.clear(&mut call.ui);
    file.sync_all().map_err(failed)
}

fn rename(from: &str, to: &str) -> Result<(), Failure> {
    std::fs::rename(from, to).map_err(|error| {
        let reason = client::system_text(&error);
        Failure::new(format!("Error renaming {from:?} to {to:?}: {reason}"))
    })
}

/// The name with what `-append-filename` asks for before its extension.
async fn appended(file: &str, wanted: &str, client: &Client) -> Result<String, Failure> {
    let mut parts = Vec::new();
    for part in wanted.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        parts.push(match part {
            "version" => {
                leader_version(client).await.tried("Error looking up the leader's version")?
            }
            "dc" => datacenter(client).await.tried("Error looking up the datacenter")?,
            other => {
                let text = format!("-append-filename takes version and dc, not {other:?}");
                return Err(Failure::new(text));
            }
        });
    }
    Ok(with_parts(file, &parts))
}

fn with_parts(file: &str, parts: &[String]) -> String {
    if parts.is_empty() {
        return file.to_owned();
    }
    let extension = Path::new(file).extension().and_then(|extension| extension.to_str());
    let extension = extension.map(|extension| format!(".{extension}")).unwrap_or_default();
    let stem = file.strip_suffix(extension.as_str()).unwrap_or(file);
    format!("{stem}-{}{extension}", parts.join("-"))
}

/// The version that the leader tells through gossip, else that of the agent.
async fn leader_version(client: &Client) -> Result<String, client::Error> {
    let leader: String =
        client.call(client::Request::get("/v1/status/leader")).await?.json().await?;
    let members = client.agent_members(&MembersQuery::default()).await?;
    let version = members.iter().find_map(|member| {
        let address = format!("{}:{}", member.addr, member.tags.get("port")?);
        let build = member.tags.get("build")?;
        (address == leader).then(|| build.split(':').next().unwrap_or("").to_owned())
    });
    match version {
        Some(version) => Ok(version),
        None => own(client, "Version").await,
    }
}

async fn datacenter(client: &Client) -> Result<String, client::Error> {
    own(client, "Datacenter").await
}

/// A text of the agent's own configuration.
async fn own(client: &Client, key: &str) -> Result<String, client::Error> {
    let agent: serde_json::Value =
        client.call(client::Request::get("/v1/agent/self")).await?.json().await?;
    Ok(agent["Config"][key].as_str().unwrap_or("unknown").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_to_a_name_stands_before_its_extension() {
        let parts = ["1.21.4".to_owned(), "dc1".to_owned()];
        for (file, expected) in [
            ("backup.snap", "backup-1.21.4-dc1.snap"),
            ("a.b/backup", "a.b/backup-1.21.4-dc1"),
            ("my.big.snap", "my.big-1.21.4-dc1.snap"),
        ] {
            assert_eq!(with_parts(file, &parts), expected);
            assert_eq!(with_parts(file, &[]), file);
        }
    }
}
