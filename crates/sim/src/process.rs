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
use contract::AnyCommand;
use raft::{
    Action, Body, Configurations, Core, Entry, LogError, LogReader, Message, ReadId, RequestId,
    SnapshotMeta, Start, Term,
};
use replica::session_timers::SessionTimers;
use store::State;
use types::Index;
use wal::snapshot::SnapshotWriter;
use wal::{Disk, DiskError, DiskErrorKind, LogOptions, SnapshotStore, StableStore};

use crate::bug::Bug;
use crate::call::Told;
use crate::client::{Outcome, Request};
use crate::machine::Machine;
use crate::observer::Shadow;
use crate::sabotage;
use crate::serving::Blocked;
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
    /// As it was typed.
    pub(crate) command: Option<Box<dyn AnyCommand>>,
}

/// A received snapshot that is being made durable.
pub(crate) struct Receiving {
    pub(crate) request: RequestId,
    pub(crate) writer: SnapshotWriter,
    pub(crate) state: Bytes,
}

/// What a leader has that others have not.
#[derive(Default)]
pub(crate) struct Leadership {
    /// The first entry of its term.
    first: Option<Index>,
    /// Until when default reads are answered, as the thread that drives the core told it last.
    lease_until: Option<Instant>,
    /// Answers out of its memory, which count once it is known to lead.
    pub(crate) remembered: BTreeMap<ReadId, Vec<(Request, Told)>>,
    /// When sessions are over, and whether it has begun to mind that.
    pub(crate) timers: RefCell<SessionTimers>,
    pub(crate) minds_sessions: bool,
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
    pub(crate) leadership: Leadership,
    /// The state before the last entry; only kept for a bug.
    pub(crate) previous: Option<Arc<State>>,
    /// How many commands are still to be applied twice, and those that are waiting for it; for
    /// a bug.
    pub(crate) twice: (usize, Vec<Bytes>),
    /// What its clock shows, and did when it started.
    pub(crate) local: Instant,
    pub(crate) started: Instant,
    /// How many times slower than usual its disk is.
    pub(crate) slow: u32,
    /// Writes that wait for the group under way.
    pub(crate) pending: Vec<Action>,
    pub(crate) writing: Option<VecDeque<Action>>,
    pub(crate) preparing: Option<wal::Preparation>,
    pub(crate) to_apply: VecDeque<Vec<Entry>>,
    pub(crate) inbox: Vec<(Request, Box<dyn AnyCommand>)>,
    pub(crate) waiting: BTreeMap<Index, Waiting>,
    pub(crate) verifying: BTreeMap<ReadId, Vec<Request>>,
    /// Reads that are right once the index is applied.
    pub(crate) reads: Vec<(Index, Request)>,
    /// Queries that wait.
    pub(crate) blocked: Vec<Blocked>,
    /// What was applied when these were looked at last, and which of its states that was.
    pub(crate) looked: (Index, u64),
    /// The last index that was shown of each key.
    pub(crate) shown: BTreeMap<Arc<str>, Index>,
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
        let (machine, mut snapshot) = (Machine::new(world.scenario.bug), None);
        if let Some((meta, mut state)) = newest.snapshot {
            let broken = |why: String| StartFailure::Broken(format!("{}: {why}", meta.id));
            let bytes = read_state(&mut state).ok_or_else(|| broken("unreadable".to_owned()))?;
            machine.restore(&bytes).map_err(|error| broken(error.to_string()))?;
            world.observer.restores(node, meta.last, &machine.state());
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
        let repeats = world.has(Bug::ApplyTwiceAfterRestart) && incarnation > 1;
        Ok(Process {
            node,
            incarnation,
            applied: shadow.snapshot.index,
            leadership: Leadership::default(),
            core,
            log,
            stable,
            snapshots,
            machine,
            previous: None,
            twice: (if repeats { 3 } else { 0 }, Vec::new()),
            local,
            started: local,
            slow: 1,
            pending: Vec::new(),
            writing: None,
            preparing: None,
            to_apply: VecDeque::new(),
            inbox: Vec::new(),
            waiting: BTreeMap::new(),
            verifying: BTreeMap::new(),
            reads: Vec::new(),
            blocked: Vec::new(),
            looked: (Index::ZERO, 0),
            shown: BTreeMap::new(),
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
            self.wake_blocked(world);
            if !self.begin_write(world) {
                self.tell_lease();
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
                self.leadership.first = Some(first);
            }
            Action::LostLeadership { term, reason } => {
                world.say(format_args!("{node} lost term {}: {reason:?}", term.0));
                (self.leadership.first, self.leadership.lease_until) = (None, None);
                self.leadership.minds_sessions = false;
                if !world.has(Bug::TimersKept) {
                    self.leadership.timers.take();
                }
                self.refuse_reads(world);
            }
            Action::LeaderChanged { .. } => {}
            Action::LeaderVerified { read, index } => {
                let index = if world.has(Bug::ReadBeforeApplied) { Index::ZERO } else { index };
                let requests = self.verifying.remove(&read).unwrap_or_default();
                self.reads.extend(requests.into_iter().map(|request| (index, request)));
                for (request, told) in self.leadership.remembered.remove(&read).unwrap_or_default()
                {
                    self.reply(&request, Outcome::Told(told), world);
                }
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

    /// Tells until when the lease holds. A server whose disk is at work comes to it later, as the
    /// thread that waits for the disk is the one that would tell.
    fn tell_lease(&mut self) {
        if self.writing.is_some() || self.leadership.first.is_none_or(|first| self.applied < first)
        {
            return;
        }
        self.leadership.lease_until = self.core.lease_valid(self.local).then(|| {
            let (mut holds, mut step) = (self.local, self.core.options().leader_lease_timeout * 2);
            for _ in 0..7 {
                step /= 2;
                if self.core.lease_valid(holds + step) {
                    holds += step;
                }
            }
            holds
        });
    }

    /// Whether it does what a leader does: all is applied that earlier leaders committed.
    pub(crate) fn leads(&self) -> bool {
        self.core.is_leader() && self.leadership.first.is_some_and(|first| self.applied >= first)
    }

    /// Whether default reads are answered.
    pub(crate) fn has_lease(&self) -> bool {
        self.leadership.lease_until.is_some_and(|until| self.local < until)
    }

    fn send(&mut self, to: Node, message: Message, state: Option<Bytes>, world: &mut World) {
        let mut message = message;
        if matches!(message.body, Body::TimeoutNow) {
            self.leadership.lease_until = None;
        }
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
