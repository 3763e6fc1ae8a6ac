//! One run of one server's process: the core, its stores and its state machine, driven as the
//! shell of a real server drives them.
//!
//! Writes to disk are done in groups with one sync each; while a group is on its way, inputs go
//! on and the next group gathers. Entries are applied a little after they were given out.
//! A group, an apply and a snapshot take virtual time; a crash may come at any point of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft::{
    Action, Body, Configurations, Core, Entry, LogError, LogReader, Message, ReadId, RequestId,
    SnapshotMeta, Start, Term,
};
use types::Index;
use wal::snapshot::SnapshotWriter;
use wal::{Disk, DiskError, DiskErrorKind, LogOptions, SnapshotStore, StableStore};

use crate::bug::Bug;
use crate::client::{Outcome, Request, What};
use crate::machine::Machine;
use crate::observer::Shadow;
use crate::sabotage;
use crate::world::{Event, Inner, Node, Packet, World};

/// Why a process ends.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    pub(crate) why: String,
    /// Whether the power goes with it.
    pub(crate) power: bool,
}

/// A process could not start.
pub(crate) enum StartFailure {
    /// Later it may.
    Again(String),
    /// It never will.
    Broken(String),
}

impl StartFailure {
    /// A disk may find room, and a sync may succeed at the next start.
    fn of(error: &DiskError) -> Self {
        match error.kind {
            DiskErrorKind::Full | DiskErrorKind::SyncFailed => {
                StartFailure::Again(error.to_string())
            }
            _ => StartFailure::Broken(error.to_string()),
        }
    }
}

/// The core's window on the stored log.
pub(crate) struct Reader(Rc<RefCell<wal::Log>>);

impl LogReader for Reader {
    fn first_index(&self) -> Result<Index, LogError> {
        Ok(self.0.borrow().first_index())
    }

    fn last_index(&self) -> Result<Index, LogError> {
        Ok(self.0.borrow().last_index())
    }

    fn term(&self, index: Index) -> Result<Term, LogError> {
        self.0.borrow().term(index).ok_or_else(|| LogError(format!("no entry {index}")))
    }

    fn entries(
        &self,
        first: Index,
        last: Index,
        max_bytes: usize,
        out: &mut Vec<Entry>,
    ) -> Result<(), LogError> {
        let entries = self.0.borrow().entries(first, last, max_bytes);
        out.extend(entries.map_err(|error| LogError(error.to_string()))?);
        Ok(())
    }
}

/// Who waits for an entry.
pub(crate) struct Waiting {
    pub(crate) term: Term,
    pub(crate) request: Request,
}

/// A received snapshot that is being made durable.
pub(crate) struct Receiving {
    pub(crate) request: RequestId,
    pub(crate) writer: SnapshotWriter,
    pub(crate) state: Bytes,
}

/// The process.
pub(crate) struct Process {
    pub(crate) node: Node,
    pub(crate) incarnation: u64,
    pub(crate) core: Core<Reader>,
    pub(crate) log: Rc<RefCell<wal::Log>>,
    pub(crate) stable: StableStore,
    pub(crate) snapshots: SnapshotStore,
    pub(crate) machine: Machine,
    /// The last entry in `machine`.
    pub(crate) applied: Index,
    /// The state before the last entry; only kept for a bug.
    pub(crate) previous: Option<Machine>,
    /// Commands to apply twice, for a bug.
    pub(crate) twice: u32,
    /// What its clock shows.
    pub(crate) local: Instant,
    /// How many times slower than usual its disk is.
    pub(crate) slow: u32,
    /// Writes that wait for the group under way.
    pub(crate) pending: Vec<Action>,
    pub(crate) writing: Option<VecDeque<Action>>,
    pub(crate) preparing: Option<wal::Preparation>,
    pub(crate) to_apply: VecDeque<Vec<Entry>>,
    pub(crate) inbox: Vec<Request>,
    pub(crate) waiting: BTreeMap<Index, Waiting>,
    pub(crate) verifying: BTreeMap<ReadId, Vec<Request>>,
    /// Reads that are right once the index is applied.
    pub(crate) reads: Vec<(Index, Request)>,
    /// The snapshot that came with the message being handled.
    pub(crate) incoming: Option<(SnapshotWriter, Bytes)>,
    pub(crate) receiving: Option<Receiving>,
    pub(crate) making: Option<(raft::LogPosition, Configurations, Vec<u8>)>,
    pub(crate) shadow: Shadow,
    /// Appends under way, only kept for a bug: the follower and the last entry.
    pub(crate) sent: BTreeMap<RequestId, (Node, Index)>,
}

impl Process {
    /// Opens the stores and makes a core of what they hold.
    pub(crate) fn start(
        node: Node,
        incarnation: u64,
        disk: Arc<dyn Disk>,
        options: raft::Options,
        local: Instant,
        world: &mut World,
    ) -> Result<Self, StartFailure> {
        let stable = StableStore::open(&disk, "raft").map_err(|error| match &error {
            wal::StableError::Disk(disk) => StartFailure::of(disk),
            _ => StartFailure::Broken(error.to_string()),
        })?;
        let sizes = LogOptions { segment_bytes_first: 2048, segment_bytes_max: 8192 };
        let opened = wal::Log::open(disk.clone(), "raft/log", sizes);
        let (log, _) = opened.map_err(|error| match &error {
            wal::LogError::Disk(disk) | wal::LogError::Poisoned(disk) => StartFailure::of(disk),
            _ => StartFailure::Broken(error.to_string()),
        })?;
        let opened = SnapshotStore::open(disk, "raft/snapshots");
        let snapshots = opened.map_err(|error| StartFailure::of(&error))?;
        let newest = snapshots.open_newest().map_err(|error| StartFailure::of(&error))?;
        if let Some(rejected) = newest.rejected.first() {
            return Err(StartFailure::Broken(rejected.to_string()));
        }
        let (mut machine, mut snapshot) = (Machine::default(), None);
        if let Some((meta, mut state)) = newest.snapshot {
            machine = read_state(&mut state)
                .and_then(|state| Machine::restore(&state))
                .ok_or_else(|| StartFailure::Broken(format!("{} is no state", meta.id)))?;
            world.observer.restores(node, meta.last, machine.digest());
            snapshot = Some(meta);
        }
        let hard_state = stable.hard_state().clone();
        world.observer.starts(node, hard_state.term);
        let log = Rc::new(RefCell::new(log));
        let broken = |error: LogError| StartFailure::Broken(error.to_string());
        let reader = Reader(log.clone());
        let shadow = read_log(node, &reader, snapshot.as_ref(), world).map_err(broken)?;
        let configurations = Configurations::recover(snapshot.as_ref(), &reader).map_err(broken)?;
        let seed = world.rng.u64(..);
        let id = node.id();
        let start = Start { id, options, seed, hard_state, snapshot, configurations };
        let core = Core::new(start, reader, local).map_err(broken)?;
        let twice = u32::from(incarnation > 1) * 3;
        Ok(Process {
            node,
            incarnation,
            applied: shadow.snapshot.index,
            core,
            log,
            stable,
            snapshots,
            machine,
            previous: None,
            twice: if world.has(Bug::ApplyTwiceAfterRestart) { twice } else { 0 },
            local,
            slow: 1,
            pending: Vec::new(),
            writing: None,
            preparing: None,
            to_apply: VecDeque::new(),
            inbox: Vec::new(),
            waiting: BTreeMap::new(),
            verifying: BTreeMap::new(),
            reads: Vec::new(),
            incoming: None,
            receiving: None,
            making: None,
            shadow,
            sent: BTreeMap::new(),
        })
    }

    pub(crate) fn schedule(&self, wait: Duration, what: Inner, world: &mut World) {
        let (node, incarnation) = (self.node, self.incarnation);
        world.schedule_in(wait, Event::Inner { node, incarnation, what });
    }

    /// Takes a message from another server.
    pub(crate) fn receive(&mut self, packet: Packet, world: &mut World) -> Result<(), Stop> {
        let Packet { from, mut message, state, .. } = packet;
        if let (Body::InstallSnapshot(body), Some(state)) = (&mut message.body, state) {
            let meta = &mut body.snapshot;
            match self.store_incoming(meta, &state, world) {
                Ok(writer) => self.incoming = Some((writer, state)),
                Err(error) => {
                    world.say(format_args!("{} cannot store a snapshot: {error}", self.node));
                    return Ok(());
                }
            }
        }
        sabotage::on_receive(self, from, &mut message, world);
        self.core.handle_message(from.id(), message, self.local);
        Ok(())
    }

    /// Does all that the core asks for.
    pub(crate) fn drain(&mut self, world: &mut World) -> Result<(), Stop> {
        loop {
            while let Some(action) = self.core.poll_action() {
                self.shadow.snapshot = self.core.snapshot().map(|s| s.last).unwrap_or_default();
                self.act(action, world)?;
            }
            self.shadow.snapshot = self.core.snapshot().map(|s| s.last).unwrap_or_default();
            self.incoming = None;
            let seen = self.shadow.commit;
            self.shadow.commit = self.core.commit_index();
            if self.shadow.commit != seen {
                let term = self.core.term();
                world.observer.commits(self.node, &self.shadow, seen, term);
            }
            self.serve_reads(world);
            if !self.begin_write(world) {
                return Ok(());
            }
        }
    }

    fn act(&mut self, action: Action, world: &mut World) -> Result<(), Stop> {
        let node = self.node;
        match action {
            Action::Send { to, message } => {
                if let Some(to) = Node::of(&to.id) {
                    self.send(to, message, None, world);
                }
            }
            Action::SendSnapshot { to, message } => self.send_snapshot(&to.id, message, world),
            Action::Apply { entries } => self.queue_apply(entries, world),
            Action::InstallSnapshot { request, .. } => self.begin_install(request, world),
            Action::BecameLeader { term, first } => {
                world.say(format_args!("{node} leads term {} from {first}", term.0));
                world.observer.becomes_leader(node, term, &self.shadow);
            }
            Action::LostLeadership { term, reason } => {
                world.say(format_args!("{node} lost term {}: {reason:?}", term.0));
                for request in std::mem::take(&mut self.verifying).into_values().flatten() {
                    self.reply(&request, Outcome::Refused(None), world);
                }
            }
            Action::LeaderChanged { .. } => {}
            Action::LeaderVerified { read, index } => {
                let index = if world.has(Bug::ReadBeforeApplied) { Index::ZERO } else { index };
                let requests = self.verifying.remove(&read).unwrap_or_default();
                self.reads.extend(requests.into_iter().map(|request| (index, request)));
            }
            Action::TransferFinished { result } => {
                world.say(format_args!("{node} transfer {result:?}"));
            }
            Action::Halt { error } => {
                return Err(Stop { why: format!("halts: {error}"), power: false });
            }
            write => self.queue_write(write, world),
        }
        Ok(())
    }

    fn send(&mut self, to: Node, message: Message, state: Option<Bytes>, world: &mut World) {
        let mut message = message;
        sabotage::on_send(self, to, &mut message, world);
        world.observer.sends(self.node, to, &message);
        world.outgoing.push(Packet { from: self.node, to, message, state });
    }

    fn send_snapshot(&mut self, to: &raft::ServerId, message: Message, world: &mut World) {
        let Body::InstallSnapshot(body) = &message.body else { return };
        let opened = self.snapshots.open_snapshot(&body.snapshot.id).ok();
        let state = opened.and_then(|(_, mut state)| read_state(&mut state));
        match (state, Node::of(to)) {
            (Some(state), Some(node)) => self.send(node, message, Some(state.into()), world),
            // A newer one has replaced it.
            _ => self.core.handle_failure(to, message.request, self.local),
        }
    }

    /// Takes a request of a client.
    pub(crate) fn request(&mut self, request: Request, world: &mut World) {
        let refuse = Outcome::Refused(self.core.leader().and_then(Node::of));
        match &request.what {
            What::Write(_) if self.core.is_leader() => {
                if self.inbox.is_empty() {
                    let wait = world.micros(20, 300);
                    self.schedule(wait, Inner::Propose, world);
                }
                self.inbox.push(request);
            }
            What::Stale(_) => self.reads.push((Index::ZERO, request)),
            What::Default(_) if self.core.lease_valid(self.local) => {
                self.reads.push((self.core.commit_index(), request));
            }
            What::Default(_) if world.has(Bug::StaleReadWithoutLease) && self.core.is_leader() => {
                self.reads.push((Index::ZERO, request));
            }
            What::Default(_) | What::Consistent(_) => match self.core.verify_leader(self.local) {
                Ok(read) => self.verifying.entry(read).or_default().push(request),
                Err(_) => self.reply(&request, refuse, world),
            },
            What::Write(_) => self.reply(&request, refuse, world),
        }
    }

    /// Proposes what came together.
    pub(crate) fn propose(&mut self, world: &mut World) {
        let requests = std::mem::take(&mut self.inbox);
        let mut batch = Vec::with_capacity(requests.len());
        for request in &requests {
            if let What::Write(command) = &request.what {
                batch.push(raft::Proposal::command(command.encode()));
            }
        }
        let count = batch.len() as u64;
        match self.core.propose(batch, self.local) {
            Ok(last) => {
                let indexes = (last.index.0 + 1 - count..).map(Index);
                for (index, request) in indexes.zip(requests) {
                    if world.has(Bug::AcknowledgedBeforeCommit) && !request.is_cas() {
                        self.reply(&request, Outcome::Wrote(true), world);
                        continue;
                    }
                    self.waiting.insert(index, Waiting { term: last.term, request });
                }
            }
            Err(_) => {
                let leader = self.core.leader().and_then(Node::of);
                for request in requests {
                    self.reply(&request, Outcome::Refused(leader), world);
                }
            }
        }
    }

    pub(crate) fn reply(&self, request: &Request, outcome: Outcome, world: &mut World) {
        world.replies.push(request.answered(self.node, outcome));
    }

    fn serve_reads(&mut self, world: &mut World) {
        let mut later = Vec::new();
        for (index, request) in std::mem::take(&mut self.reads) {
            if index > self.applied {
                later.push((index, request));
                continue;
            }
            self.check_fresh(&request, world);
            if let Some(key) = request.what.read_key() {
                let value = self.machine.get(key).to_owned();
                self.reply(&request, Outcome::Read(value), world);
            }
        }
        self.reads = later;
    }

    /// What was acknowledged before a read began must be there.
    fn check_fresh(&self, request: &Request, world: &mut World) {
        let promised = match request.what {
            What::Default(_) => world.default_reads_promised,
            What::Consistent(_) => true,
            _ => false,
        };
        if promised && self.applied < request.floor {
            let (node, applied, floor) = (self.node, self.applied, request.floor);
            let mode = request.what.name();
            world.violation(format!(
                "fresh reads: a {mode} read at {node} sees {applied}, but {floor} was \
                 acknowledged before"
            ));
        }
    }
}

/// Reads the log as it was found, checks it, and remembers its terms.
fn read_log(
    node: Node,
    reader: &Reader,
    snapshot: Option<&SnapshotMeta>,
    world: &mut World,
) -> Result<Shadow, LogError> {
    let (first, last) = (reader.first_index()?, reader.last_index()?);
    let end = snapshot.map(|snapshot| snapshot.last).unwrap_or_default();
    // The snapshot is left out at first: of entries before its end the log itself tells.
    let mut shadow = Shadow::new(Index(first.0 - 1), raft::LogPosition::default());
    let mut entries = Vec::new();
    if first <= last {
        reader.entries(first, last, usize::MAX, &mut entries)?;
    }
    for entry in &entries {
        let before = shadow.term(Index(entry.index.0 - 1));
        world.observer.has_entry(node, entry, before);
        shadow.append(entry);
    }
    shadow.snapshot = end;
    shadow.commit = end.index;
    Ok(shadow)
}

fn read_state(state: &mut wal::SnapshotReader) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(state, &mut bytes).ok()?;
    Some(bytes)
}
