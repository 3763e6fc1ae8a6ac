//! Bugs that are planted by altering messages, and a disk that lies.

use std::sync::Arc;

use raft::{AppendEntries, AppendEntriesResponse, Body, LogPosition, Message, RequestId};
use types::Index;
use wal::{Disk, DiskError, DiskFile};

use crate::bug::Bug;
use crate::process::Process;
use crate::world::{Node, World};

/// Alters what a server sends.
pub(crate) fn on_send(process: &mut Process, to: Node, message: &mut Message, world: &World) {
    let Body::AppendEntries(body) = &mut message.body else { return };
    if body.is_heartbeat() {
        return;
    }
    if world.has(Bug::CommitWithoutQuorum) {
        let stable = process.core.status().stable;
        body.leader_commit = body.leader_commit.max(stable);
    }
    if world.has(Bug::CommitOlderTerm) {
        body.leader_commit = body.leader_commit.max(majority(process));
    }
    if world.has(Bug::NonvotersCount) {
        let last = Index(body.previous.index.0 + body.entries.len() as u64);
        process.sent.insert(message.request, (to, last));
    }
}

/// The last entry that a majority has, of whatever term.
fn majority(process: &mut Process) -> Index {
    let stable = process.core.status().stable;
    let followers = process.core.followers_status();
    let latest = &process.core.configurations().latest;
    let matched = |id: &raft::ServerId| {
        let follower = followers.iter().find(|follower| follower.id == *id);
        follower.map_or(stable, |follower| follower.matched)
    };
    let mut all: Vec<Index> = latest.voters().map(matched).collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.get(latest.quorum() - 1).copied().unwrap_or_default()
}

/// Alters what a server receives.
pub(crate) fn on_receive(
    process: &mut Process,
    from: Node,
    message: &mut Message,
    world: &mut World,
) {
    match &mut message.body {
        Body::AppendEntries(body) if world.has(Bug::ConflictIgnored) => keep_own(process, body),
        Body::AppendEntriesResponse(body) if world.has(Bug::NonvotersCount) && body.success => {
            let known = process.sent.remove(&message.request);
            let voter = process.core.configurations().latest.is_voter(&from.id());
            if let Some((_, last)) = known.filter(|_| !voter) {
                let answer = body.clone();
                forge(process, last, &answer);
            }
        }
        _ => {}
    }
}

/// Skips the entries that it has, by index alone.
fn keep_own(process: &Process, body: &mut AppendEntries) {
    let last = process.shadow.last();
    let overlaps =
        body.entries.last().is_some_and(|entry| entry.index > last) && body.previous.index < last;
    if let Some(term) = process.shadow.term(last).filter(|_| overlaps) {
        body.entries.retain(|entry| entry.index > last);
        body.previous = LogPosition { term, index: last };
    }
}

/// Lets a nonvoter's answer answer for that voter too that has least.
fn forge(process: &mut Process, has: Index, answer: &AppendEntriesResponse) {
    let latest = &process.core.configurations().latest;
    let followers = process.core.followers_status();
    let voters = followers.into_iter().filter(|follower| latest.is_voter(&follower.id));
    let Some(last) = voters.min_by_key(|follower| follower.matched) else { return };
    let waiting =
        process.sent.iter().filter(|(_, (to, last_sent))| to.id() == last.id && *last_sent <= has);
    let waiting: Vec<RequestId> = waiting.map(|(request, _)| *request).collect();
    for request in waiting {
        process.sent.remove(&request);
        let body = Body::AppendEntriesResponse(answer.clone());
        process.core.handle_message(last.id.clone(), Message { request, body }, process.local);
    }
}

/// A disk one in four of whose syncs does nothing.
#[derive(Debug)]
pub(crate) struct LyingDisk(pub(crate) Arc<dyn Disk>);

#[derive(Debug)]
struct LyingFile {
    file: Box<dyn DiskFile>,
    syncs: u64,
}

impl LyingDisk {
    fn lie(file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(LyingFile { file, syncs: 0 })
    }
}

impl Disk for LyingDisk {
    fn create(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        self.0.create(path).map(Self::lie)
    }
    fn open(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        self.0.open(path).map(Self::lie)
    }
    fn create_dir(&self, path: &str) -> Result<(), DiskError> {
        self.0.create_dir(path)
    }
    fn list(&self, path: &str) -> Result<Vec<String>, DiskError> {
        self.0.list(path)
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &str) -> Result<(), DiskError> {
        self.0.remove(path)
    }
    fn remove_dir(&self, path: &str) -> Result<(), DiskError> {
        self.0.remove_dir(path)
    }
    fn sync_dir(&self, path: &str) -> Result<(), DiskError> {
        self.0.sync_dir(path)
    }
}

impl DiskFile for LyingFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        self.file.read_at(offset, into)
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.file.write_at(offset, bytes)
    }
    fn sync_data(&mut self) -> Result<(), DiskError> {
        self.syncs += 1;
        if self.syncs.is_multiple_of(4) {
            return Ok(());
        }
        self.file.sync_data()
    }
    fn preallocate(&mut self, len: u64) -> Result<(), DiskError> {
        self.file.preallocate(len)
    }
    fn size(&self) -> Result<u64, DiskError> {
        self.file.size()
    }
}
