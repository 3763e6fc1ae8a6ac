//! A cluster in memory: cores, disks that lose what was not synced, a network, one clock.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use raft::*;
use types::Index;

/// A log shared by the core that reads it and the disk that writes it.
#[derive(Clone, Default)]
pub(crate) struct Shared(pub(crate) Rc<RefCell<MemoryLog>>);

impl LogReader for Shared {
    fn first_index(&self) -> Result<Index, LogError> {
        self.0.borrow().first_index()
    }
    fn last_index(&self) -> Result<Index, LogError> {
        self.0.borrow().last_index()
    }
    fn term(&self, index: Index) -> Result<Term, LogError> {
        self.0.borrow().term(index)
    }
    fn entries(
        &self,
        a: Index,
        b: Index,
        max: usize,
        out: &mut Vec<Entry>,
    ) -> Result<(), LogError> {
        self.0.borrow().entries(a, b, max, out)
    }
}

/// The applied entries: index, term, text.
type State = Vec<(u64, u64, String)>;

#[derive(Default)]
pub(crate) struct Node {
    pub(crate) core: Option<Core<Shared>>,
    pub(crate) log: Shared,
    pub(crate) hard: HardState,
    pub(crate) snapshot: Option<(SnapshotMeta, State)>,
    pub(crate) state: State,
    pub(crate) pending: Vec<Action>,
    pub(crate) stalled: bool,
}

pub(crate) struct Packet {
    from: u8,
    to: u8,
    message: Message,
    data: Option<State>,
}

pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<u8, Node>,
    pub(crate) queue: VecDeque<Packet>,
    /// Messages that are long under way.
    pub(crate) kept: VecDeque<Packet>,
    pub(crate) cuts: BTreeSet<(u8, u8)>,
    pub(crate) now: Instant,
    pub(crate) out: String,
    pub(crate) options: Options,
    leaders: BTreeMap<u64, u8>,
    chosen: BTreeMap<u64, (u64, String)>,
    received: BTreeMap<(u8, RequestId), State>,
}

pub(crate) fn id(n: u8) -> ServerId {
    ServerId(format!("n{n}").into())
}

pub(crate) fn voter(n: u8) -> Server {
    let (id, address) = (id(n), format!("10.0.0.{n}:8300").into());
    Server { id, address, suffrage: Suffrage::Voter }
}

fn number(id: &ServerId) -> u8 {
    id.0[1..].parse().expect("ids are n1, n2, ...")
}

impl Cluster {
    #[expect(clippy::disallowed_methods, reason = "a base to count from; its value is never seen")]
    pub(crate) fn new(voters: u8, nonvoters: u8, seed: u64) -> Self {
        let options = Options { request_timeout: Duration::from_millis(500), ..Options::default() };
        // Every other run reads all durable entries from the disk.
        let cache_bytes = if seed.is_multiple_of(2) { 0 } else { options.cache_bytes };
        let options = Options { cache_bytes, ..options };
        let mut cluster = Cluster {
            nodes: BTreeMap::new(),
            queue: VecDeque::new(),
            kept: VecDeque::new(),
            cuts: BTreeSet::new(),
            now: Instant::now(),
            out: String::new(),
            options,
            leaders: BTreeMap::new(),
            chosen: BTreeMap::new(),
            received: BTreeMap::new(),
        };
        let servers = (1..=voters + nonvoters).map(|n| match n <= voters {
            true => voter(n),
            false => Server { suffrage: Suffrage::Nonvoter, ..voter(n) },
        });
        let configuration = Configuration { servers: servers.collect() };
        for n in 1..=voters + nonvoters {
            cluster.start(n, seed);
            let core = cluster.nodes.get_mut(&n).unwrap().core.as_mut().unwrap();
            core.bootstrap(configuration.clone(), cluster.now).unwrap();
            cluster.drain(n);
        }
        cluster.out.clear();
        cluster
    }

    pub(crate) fn start(&mut self, n: u8, seed: u64) {
        let node = self.nodes.entry(n).or_default();
        let snapshot = node.snapshot.as_ref().map(|(meta, _)| meta.clone());
        node.state = node.snapshot.as_ref().map(|(_, state)| state.clone()).unwrap_or_default();
        let configurations = Configurations::recover(snapshot.as_ref(), &node.log).unwrap();
        let start = Start {
            id: id(n),
            options: self.options.clone(),
            seed: seed * 100 + u64::from(n),
            hard_state: node.hard.clone(),
            snapshot,
            configurations,
        };
        node.core = Some(Core::new(start, node.log.clone(), self.now).unwrap());
        self.drain(n);
    }

    pub(crate) fn crash(&mut self, n: u8) {
        let node = self.nodes.get_mut(&n).unwrap();
        node.core = None;
        node.pending.clear();
        for queue in [&mut self.queue, &mut self.kept] {
            queue.retain(|packet| packet.from != n && packet.to != n);
        }
    }

    pub(crate) fn with<T>(
        &mut self,
        n: u8,
        f: impl FnOnce(&mut Core<Shared>, Instant) -> T,
    ) -> Option<T> {
        let now = self.now;
        let result = self.nodes.get_mut(&n)?.core.as_mut().map(|core| f(core, now));
        self.drain(n);
        result
    }

    pub(crate) fn persist(&mut self, n: u8) {
        let node = self.nodes.get_mut(&n).unwrap();
        let mut last = None;
        for action in node.pending.drain(..) {
            let mut log = node.log.0.borrow_mut();
            last = Some(match action {
                Action::SaveHardState { write, state } => {
                    node.hard = state;
                    write
                }
                Action::AppendEntries { write, entries } => {
                    log.append(entries);
                    write
                }
                Action::TruncateLog { write, from } => {
                    log.truncate(from);
                    write
                }
                Action::CompactLog { write, through } => {
                    log.compact(through);
                    write
                }
                Action::ResetLog { write, last } => {
                    log.reset(last.index);
                    write
                }
                other => unreachable!("{other:?} is no write"),
            });
        }
        if let (Some(write), Some(core)) = (last, node.core.as_mut()) {
            core.handle_persisted(write, self.now);
            self.drain(n);
        }
    }

    fn drain(&mut self, n: u8) {
        while let Some(action) = {
            let node = self.nodes.get_mut(&n).unwrap();
            node.core.as_mut().and_then(|core| core.poll_action())
        } {
            self.act(n, action);
        }
        let node = &self.nodes[&n];
        if !node.stalled && !node.pending.is_empty() {
            self.persist(n);
        }
    }

    fn act(&mut self, n: u8, action: Action) {
        let now = self.now;
        match action {
            Action::Send { to, message } => {
                self.say_message(n, number(&to.id), &message.body);
                let to = number(&to.id);
                self.queue.push_back(Packet { from: n, to, message, data: None });
            }
            Action::SendSnapshot { to, message } => {
                self.say_message(n, number(&to.id), &message.body);
                let data = self.nodes[&n].snapshot.as_ref().map(|(_, state)| state.clone());
                self.queue.push_back(Packet { from: n, to: number(&to.id), message, data });
            }
            Action::Apply { entries } => {
                for entry in entries {
                    let text = match entry.kind {
                        EntryKind::Command => String::from_utf8_lossy(&entry.data).into_owned(),
                        kind => format!("({kind:?})").to_lowercase(),
                    };
                    self.apply(n, entry.index.0, entry.term.0, text);
                }
            }
            Action::InstallSnapshot { request, snapshot, .. } => {
                let state = self.received.remove(&(n, request)).expect("bytes came with it");
                let end = snapshot.last.index;
                let _ = writeln!(self.out, "n{n} installs snapshot {end}");
                let node = self.nodes.get_mut(&n).unwrap();
                node.state = state.clone();
                node.snapshot = Some((snapshot, state));
                let core = node.core.as_mut().unwrap();
                core.handle_snapshot_installed(request, true, now);
            }
            Action::BecameLeader { term, first } => {
                let before = self.leaders.insert(term.0, n);
                assert!(before.is_none_or(|b| b == n), "two leaders in term {}", term.0);
                let _ = writeln!(self.out, "n{n} leads term {} from {first}", term.0);
            }
            Action::LostLeadership { term, reason } => {
                let _ = writeln!(self.out, "n{n} lost term {}: {reason:?}", term.0);
            }
            Action::LeaderChanged { term, leader } => {
                let _ = writeln!(self.out, "n{n} leader of {}: {leader:?}", term.0);
            }
            Action::LeaderVerified { index, .. } => {
                let _ = writeln!(self.out, "n{n} verified at {index}");
            }
            Action::TransferFinished { result } => {
                let _ = writeln!(self.out, "n{n} transfer {result:?}");
            }
            Action::Halt { error } => panic!("n{n} halts: {error}"),
            write => {
                if let Action::TruncateLog { from, .. } = &write {
                    let _ = writeln!(self.out, "n{n} truncates from {from}");
                } else if let Action::CompactLog { through, .. } = &write {
                    let _ = writeln!(self.out, "n{n} compacts through {through}");
                } else if let Action::ResetLog { last, .. } = &write {
                    let _ = writeln!(self.out, "n{n} resets its log to {}", last.index);
                }
                self.nodes.get_mut(&n).unwrap().pending.push(write);
            }
        }
    }

    fn apply(&mut self, n: u8, index: u64, term: u64, text: String) {
        let chosen = self.chosen.entry(index).or_insert((term, text.clone()));
        assert_eq!(*chosen, (term, text.clone()), "n{n} applies another entry {index}");
        let _ = writeln!(self.out, "n{n} applies {index}: {text}");
        let state = &mut self.nodes.get_mut(&n).unwrap().state;
        assert!(state.last().is_none_or(|last| last.0 + 1 == index), "a gap before {index}");
        state.push((index, term, text));
    }

    fn say_message(&mut self, from: u8, to: u8, body: &Body) {
        let text = match body {
            Body::AppendEntries(a) if a.is_heartbeat() => return,
            Body::AppendEntries(a) => {
                let terms: Vec<u64> = a.entries.iter().map(|entry| entry.term.0).collect();
                format!(
                    "append t{} after {}/t{} terms {terms:?} commit {}",
                    a.term.0, a.previous.index, a.previous.term.0, a.leader_commit
                )
            }
            Body::AppendEntriesResponse(r) if r.success => return,
            Body::AppendEntriesResponse(r) => format!(
                "append refused t{} last {} at once {}",
                r.term.0, r.last_log, r.no_retry_backoff
            ),
            Body::RequestVote(v) => format!(
                "vote? t{} last {}/t{}{}",
                v.term.0,
                v.last.index,
                v.last.term.0,
                if v.leadership_transfer { " transfer" } else { "" }
            ),
            Body::RequestPreVote(v) => {
                format!("pre-vote? t{} last {}/t{}", v.term.0, v.last.index, v.last.term.0)
            }
            Body::RequestVoteResponse(r) => format!("vote t{} {}", r.term.0, r.granted),
            Body::RequestPreVoteResponse(r) => format!("pre-vote t{} {}", r.term.0, r.granted),
            Body::InstallSnapshot(s) => format!("snapshot t{} {}", s.term.0, s.snapshot.last.index),
            Body::InstallSnapshotResponse(r) => format!("snapshot t{} {}", r.term.0, r.success),
            Body::TimeoutNow => "timeout-now".into(),
            Body::TimeoutNowResponse => return,
        };
        let _ = writeln!(self.out, "n{from}->n{to} {text}");
    }

    /// Delivers the packet at that place, or loses it when the link is cut.
    pub(crate) fn deliver_at(&mut self, place: usize) {
        let Some(Packet { from, to, message, data }) = self.queue.remove(place) else { return };
        let cut = self.cuts.contains(&(from, to));
        let down = self.nodes.get(&to).is_none_or(|node| node.core.is_none());
        if cut || down {
            if !message.body.is_response() {
                self.with(from, |core, now| core.handle_failure(&id(to), message.request, now));
            }
            return;
        }
        if let Some(data) = data {
            self.received.insert((to, message.request), data);
        }
        self.with(to, |core, now| core.handle_message(id(from), message, now));
    }

    pub(crate) fn deliver(&mut self) {
        for _ in 0..10_000 {
            if self.queue.is_empty() {
                return;
            }
            self.deliver_at(0);
        }
        panic!("the messages do not end");
    }

    /// Lets time pass; timers run in order, messages arrive at once.
    pub(crate) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        self.deliver();
        loop {
            let due = self.nodes.iter().filter_map(|(n, node)| {
                Some((node.core.as_ref()?.poll_timeout()?.max(self.now), *n))
            });
            let Some((at, n)) = due.min().filter(|(at, _)| *at <= end) else { break };
            self.now = at;
            self.with(n, |core, now| core.handle_timeout(now));
            self.deliver();
        }
        self.now = end;
    }

    /// Runs a server's election timer out, however long that takes; other timers rest.
    pub(crate) fn time_out(&mut self, n: u8) {
        for _ in 0..3 {
            let Some(core) = self.nodes[&n].core.as_ref() else { return };
            let before = (core.role(), core.term());
            self.now = core.poll_timeout().unwrap().max(self.now);
            self.with(n, |core, now| core.handle_timeout(now));
            let core = self.nodes[&n].core.as_ref().unwrap();
            if before != (core.role(), core.term()) || before.0 != RoleName::Follower {
                return;
            }
        }
    }

    pub(crate) fn snapshot(&mut self, n: u8) -> Option<Index> {
        let node = self.nodes.get_mut(&n)?;
        let applied = Index(node.state.last()?.0);
        let (last, configurations) = node.core.as_mut()?.snapshot_meta(applied)?;
        let meta = SnapshotMeta {
            id: format!("{}-{}", last.term.0, last.index),
            last,
            configuration: configurations.committed,
            configuration_index: configurations.committed_index,
            size: node.state.len() as u64,
        };
        node.snapshot = Some((meta.clone(), node.state.clone()));
        self.with(n, |core, now| core.handle_snapshot_created(meta, now));
        Some(applied)
    }
}
