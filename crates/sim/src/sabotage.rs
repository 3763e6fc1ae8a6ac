//! Bugs that are planted by altering messages and states, and a disk that lies.

use std::sync::Arc;
use std::time::Instant;

use domains::kv::{KVS, KvCommand, KvOp};
use domains::session::SESSIONS;
use raft::{AppendEntries, AppendEntriesResponse, Body, LogPosition, Message, RequestId};
use replica::fsm::FsmCommand;
use store::{State, Store};
use types::kv::KvEntry;
use types::session::Behavior;
use types::{Index, SessionId, msgpack};
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

/// Alters the state before a command is applied.
pub(crate) fn before_apply(
    bug: Option<Bug>,
    store: &Store,
    index: Index,
    command: &FsmCommand<'_>,
) {
    if bug != Some(Bug::LockGivenTwice) {
        return;
    }
    let bytes = match command {
        FsmCommand::Typed(command) => command.encode(),
        FsmCommand::Encoded(bytes) => bytes.to_vec().into(),
        FsmCommand::Part { .. } => return,
    };
    let Some((2, payload)) = bytes.split_first() else { return };
    let command: Result<KvCommand, _> = msgpack::from_slice(payload);
    let Some(command) = command.ok().filter(|command| command.op == KvOp::Lock) else { return };
    let held = store.snapshot().get(&KVS, command.entry.key.as_bytes());
    if let Some(held) = held.filter(|held| !held.session.is_empty()) {
        let free = KvEntry { session: SessionId::default(), ..KvEntry::clone(&held) };
        store.write(|batch| batch.tx(index).put(&KVS, free));
    }
}

/// Alters the state after a command was applied.
pub(crate) fn after_apply(bug: Option<Bug>, store: &Store, index: Index, before: &State) {
    let state = store.snapshot();
    for entry in before.prefix(&KVS, &[]) {
        let holder = entry.session.as_str().as_bytes();
        let Some(session) = before.get(&SESSIONS, holder) else { continue };
        if state.get(&SESSIONS, holder).is_some() {
            continue;
        }
        let left = match bug {
            Some(Bug::LocksOutlive) => KvEntry::clone(&entry),
            Some(Bug::KeysOutlive) if session.behavior == Behavior::Delete => {
                KvEntry { session: SessionId::default(), ..KvEntry::clone(&entry) }
            }
            _ => continue,
        };
        store.write(|batch| batch.tx(index).put(&KVS, left));
    }
}

/// Adds to the state what no other server has.
pub(crate) fn apply_otherwise(store: &Store, index: Index, flags: u64) {
    let entry = KvEntry { key: "lin/otherwise".into(), flags, ..KvEntry::default() };
    store.write(|batch| batch.tx(index).put(&KVS, entry));
}

/// What a server has that is its own: its number, or what its clock shows.
pub(crate) fn own_flags(process: &Process, world: &World) -> Option<u64> {
    match world.scenario.bug? {
        Bug::UnequalApply => Some(u64::from(process.node.0)),
        Bug::ApplyReadsClock => Some(passed(process.local, process.started)),
        _ => None,
    }
}

fn passed(now: Instant, since: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(since).as_nanos()).unwrap_or(u64::MAX)
}

/// The state without its sessions.
pub(crate) fn without_sessions(state: &State) -> State {
    let mut state = state.clone();
    let ids: Vec<SessionId> =
        state.prefix(&SESSIONS, &[]).map(|session| session.id.clone()).collect();
    let index = state.index();
    state.fill(index, |tx| {
        for id in ids {
            tx.delete(&SESSIONS, id.as_str().as_bytes());
        }
    });
    state
}
