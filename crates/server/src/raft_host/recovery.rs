//! Manual recovery: an operator who has lost most servers for good writes the members that
//! are left into `peers.json` (`reference/raft-and-snapshots.md` section 12).

use std::sync::Arc;

use raft::{Configuration, EntryKind, LogPosition, Server, ServerId, Suffrage};
use serde::Deserialize;
use types::Index;
use types::json::{self, Unknown};
use wal::{Disk, DiskError, DiskErrorKind, Log, SnapshotStore};

use super::applier::{Applier, Committed};
use super::driver::unix_nanos;
use super::error::StartError;

const DIRECTORY: &str = "raft";
const PEERS: &str = "raft/peers.json";
const INFO: &str = "raft/peers.info";

/// Most bytes of a `peers.json` that is read.
const PEERS_BYTES_MAX: u64 = 1 << 20;

/// Bytes of log that are applied at a time.
const PIECE_BYTES: usize = 4 << 20;

/// What an operator finds beside the log.
const INFO_TEXT: &str = "\
This file tells this server that peers.json, should it be here at the next start, was written to
recover a cluster: without this file it would be deleted and not be read.

When so many servers are lost for good that the others find no majority, stop those that are
left, put the same file raft/peers.json into the data directory of each, with all of them in it,
and start them:

[
  {\"id\": \"adf4238a-882b-9ddc-4a9d-5b6758e4159e\", \"address\": \"10.1.0.1:8300\", \"non_voter\": false},
  {\"id\": \"8b6dda82-3103-11e7-93ae-92361f002671\", \"address\": \"10.1.0.2:8300\", \"non_voter\": false}
]

\"id\" is what the file node-id in the data directory holds, \"address\" the server port that the
others reach. What only lost servers had is lost, and what no majority had agreed on may take
effect. The file is deleted once it is in force.
";

/// One line of `peers.json`.
#[derive(Deserialize)]
struct Peer {
    #[serde(default)]
    id: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    non_voter: bool,
}

/// Puts the members of `peers.json` in force, if it is there and this is not the first start.
/// `applier` then holds any state: it is restored afterwards.
pub(super) fn recover(
    disk: &Arc<dyn Disk>,
    log: &mut Log,
    snapshots: &SnapshotStore,
    applier: &mut impl Applier,
) -> Result<(), StartError> {
    let names = disk.list(DIRECTORY)?;
    let has = |name: &str| names.iter().any(|found| found == name);
    if !has("peers.info") {
        write_info(disk.as_ref())?;
        if has("peers.json") {
            remove(disk.as_ref())?;
            tracing::info!(target: "agent.server", "deleted peers.json file (see peers.info for details)");
        }
        return Ok(());
    }
    if !has("peers.json") {
        return Ok(());
    }
    tracing::info!(target: "agent.server", "found peers.json file, recovering Raft configuration...");
    let configuration = read(disk.as_ref()).map_err(StartError::Recovery)?;
    replay(log, snapshots, applier, configuration)?;
    remove(disk.as_ref())?;
    tracing::info!(target: "agent.server", "deleted peers.json file after successful recovery");
    Ok(())
}

/// The members in the file, checked.
fn read(disk: &dyn Disk) -> Result<Configuration, String> {
    let file = disk.open(PEERS).map_err(|error| error.to_string())?;
    let size = file.size().map_err(|error| error.to_string())?;
    if size > PEERS_BYTES_MAX {
        return Err(format!("it has {size} bytes, which is more than any cluster needs"));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    let read = file.read_at(0, &mut bytes).map_err(|error| error.to_string())?;
    bytes.truncate(read);
    let peers: Vec<Peer> = json::decode_whole(&bytes, Unknown::Ignore).map_err(|error| {
        format!("{error} (it is a list of objects with id, address and non_voter; see peers.info)")
    })?;
    let servers = peers.into_iter().map(|peer| Server {
        id: ServerId(peer.id.into()),
        address: peer.address.into(),
        suffrage: if peer.non_voter { Suffrage::Nonvoter } else { Suffrage::Voter },
    });
    let configuration = Configuration { servers: servers.collect() };
    configuration.validate().map_err(|error| error.to_string())?;
    Ok(configuration)
}

/// Makes a snapshot of all that is in the log, committed or not, with these members, and
/// begins the log anew behind it.
fn replay(
    log: &mut Log,
    snapshots: &SnapshotStore,
    applier: &mut impl Applier,
    configuration: Configuration,
) -> Result<(), StartError> {
    let newest = super::start::restore_newest(snapshots, log, applier)?;
    let mut last = newest.map(|meta| meta.last).unwrap_or_default();
    let mut next = last.index.next().max(log.first_index());
    while next <= log.last_index() {
        let entries = log.entries(next, log.last_index(), PIECE_BYTES)?;
        let Some(end) = entries.last() else { break };
        last = LogPosition { term: end.term, index: end.index };
        next = end.index.next();
        let commands = entries.into_iter().filter(|entry| entry.kind == EntryKind::Command);
        let commands = commands.map(|entry| Committed::new(entry, None)).collect();
        applier.apply(commands).map_err(|error| StartError::Recovery(error.to_string()))?;
    }
    if last.index == Index::ZERO {
        let text = "refused to recover cluster with no initial state, this is probably an operator \
                    error: this server has no data; is it the right data directory?";
        return Err(StartError::Recovery(text.to_owned()));
    }
    let now = unix_nanos() / 1_000_000;
    let mut writer = snapshots.create(last, configuration, Index(1), now)?;
    let job = applier.snapshot();
    job(&mut writer).map_err(|error| StartError::Recovery(error.to_string()))?;
    writer.finish()?;
    log.reset(last.index.next())?;
    Ok(())
}

fn write_info(disk: &dyn Disk) -> Result<(), DiskError> {
    let mut file = disk.create(INFO)?;
    file.write_at(0, INFO_TEXT.as_bytes())?;
    file.sync_data()?;
    disk.sync_dir(DIRECTORY)
}

fn remove(disk: &dyn Disk) -> Result<(), DiskError> {
    match disk.remove(PEERS) {
        Err(error) if error.kind == DiskErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| disk.sync_dir(DIRECTORY)),
    }
}
