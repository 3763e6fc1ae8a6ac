//! One simulated agent: the machine, what it keeps on disk, and what was seen of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gossip::memberlist;
use gossip::serf::{OperationId, Options, Serf, Snapshot, SnapshotWrite, write_keyring_file};
use gossip::wire::Keyring;
use types::member::MemberStatus;

use super::bug::Bug;

/// What a machine wrote this long before a crash may be lost: lines are gathered for half a
/// second.
const UNWRITTEN: Duration = Duration::from_secs(1);

/// Where an agent is to be at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It has not been started.
    Unborn,
    Up,
    /// It is about to leave.
    Leaving,
    Left,
    Crashed,
}

pub(super) struct Agent {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) serf: Option<Serf>,
    pub(super) fate: Fate,
    /// Since when it is as it is.
    pub(super) since: Instant,
    /// Lives before this one.
    pub(super) life: u32,
    /// Side of the partition.
    pub(super) side: u8,
    /// The agent whose name it has too, if it is a twin.
    pub(super) twin_of: Option<usize>,
    /// Whether it gets too little of the processor.
    pub(super) starved: bool,
    pub(super) frozen_until: Option<Instant>,
    /// The file of the snapshot.
    pub(super) file: String,
    /// That of the keys.
    pub(super) keyring_file: Option<String>,
    /// The keys that it had when it went.
    pub(super) last_keyring: Option<Keyring>,
    pub(super) wakes: Option<Instant>,
    pub(super) leave: Option<OperationId>,
    /// Whether it is in the pool, as far as it knows.
    pub(super) joined: bool,
    /// Whether it was started without a file.
    pub(super) fresh: bool,
    /// Whether it, or an operator, ever said that it leaves: word of that may be late.
    pub(super) told_to_leave: bool,
    /// The latest value of its tag.
    pub(super) tag: u32,
    /// Events that it had in this life, and when.
    pub(super) heard: BTreeMap<u32, Instant>,
    /// Those of earlier lives that the file knows.
    pub(super) heard_before: BTreeSet<u32>,
    pub(super) clocks: [u64; 3],
    /// The incarnation that it says it has.
    pub(super) incarnation: u32,
    /// The highest in which it heard that it is suspected or gone; 0 for none.
    pub(super) accused: u32,
    /// The latest incarnations of others that it was told are alive.
    pub(super) known: BTreeMap<String, u32>,
}

impl Agent {
    pub(super) fn unborn(number: usize, now: Instant) -> Self {
        let [.., network, host] = (number + 1).to_be_bytes();
        Self {
            name: format!("n{}", number + 1),
            address: SocketAddr::from(([10, network, 0, host], 8301)),
            serf: None,
            fate: Fate::Unborn,
            since: now,
            life: 0,
            side: 0,
            twin_of: None,
            starved: false,
            frozen_until: None,
            file: String::new(),
            keyring_file: None,
            last_keyring: None,
            wakes: None,
            leave: None,
            joined: false,
            fresh: true,
            told_to_leave: false,
            tag: 0,
            heard: BTreeMap::new(),
            heard_before: BTreeSet::new(),
            clocks: [0; 3],
            incarnation: 0,
            accused: 0,
            known: BTreeMap::new(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.fate, Fate::Up | Fate::Leaving)
    }

    /// Begins a life; if the tags are too long, which they are not, it stays down.
    pub(super) fn start(
        &mut self,
        bug: Option<Bug>,
        keyring: Option<Keyring>,
        resolves: bool,
        now: Instant,
        seed: u64,
    ) {
        if bug == Some(Bug::EventClockForgotten) {
            let lines = self.file.split_inclusive('\n');
            self.file = lines.filter(|line| !line.starts_with("event-clock")).collect();
        }
        // A file that ends with a leave has forgotten all.
        self.fresh = self.file.is_empty() || self.file.ends_with("leave\n");
        if self.fresh {
            self.heard_before.clear();
        }
        let mut list = memberlist::Options::new(&self.name, self.address, seed);
        list.compress = false;
        if bug == Some(Bug::SuspicionNeverEnds) {
            list.timings.suspicion_mult = 100_000;
        }
        if bug == Some(Bug::NoAwareness) {
            (list.timings.suspicion_max_mult, list.timings.awareness_max) = (1, 1);
        }
        let mut options = Options::new(list, seed);
        options.resolve_name_conflicts = resolves;
        options.persist_keyring = true;
        self.keyring_file = keyring.as_ref().map(write_keyring_file);
        options.security.keyring = keyring;
        options.tags = BTreeMap::from([("tag".to_owned(), self.tag.to_string())]);
        options.snapshot = Some(Snapshot::read(self.file.as_bytes(), false).0);
        self.serf = Serf::new(options, now).ok();
        (self.fate, self.since) = (Fate::Up, now);
        (self.wakes, self.leave, self.joined, self.frozen_until) = (None, None, false, None);
        (self.clocks, self.incarnation, self.accused) = ([0; 3], 0, 0);
        self.heard.clear();
        self.known.clear();
    }

    /// Ends a life.
    pub(super) fn stop(&mut self, now: Instant) {
        self.fate = match self.fate {
            Fate::Left => Fate::Left,
            _ => Fate::Crashed,
        };
        let frozen = self.frozen_until.is_some_and(|until| until + UNWRITTEN > now);
        let heard = std::mem::take(&mut self.heard);
        let kept = heard.into_iter().filter(|(_, at)| *at + UNWRITTEN < now && !frozen);
        self.heard_before.extend(kept.map(|(event, _)| event));
        self.last_keyring = self.keyring().cloned();
        self.serf = None;
        self.since = now;
        self.life += 1;
    }

    pub(super) fn write(&mut self, write: SnapshotWrite) {
        match write {
            SnapshotWrite::Append(lines) | SnapshotWrite::AppendAndSync(lines) => {
                self.file.push_str(&lines);
            }
            SnapshotWrite::Replace(file) => self.file = file,
        }
    }

    /// How it sees another one; nothing if it does not know it.
    pub(super) fn sees(&self, name: &str) -> MemberStatus {
        let member = self.serf.as_ref().and_then(|serf| serf.member(name));
        member.map_or(MemberStatus::NONE, |member| member.status)
    }
}
