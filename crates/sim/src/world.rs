//! What all parts of a run share: the time, the events to come, the random numbers, the log
//! of what happened, and the observer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use raft::{Message, RequestId, ServerId};

use crate::bug::Bug;
use crate::client::{Reply, Request};
use crate::clock::{Time, nanoseconds};
use crate::machine::Digest;
use crate::observer::Observer;
use crate::scenario::Scenario;

/// Names one operation of one client; never used twice in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OperationId(pub(crate) u64);

/// A simulated server, counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node(pub(crate) u8);

impl Node {
    pub(crate) fn id(self) -> ServerId {
        ServerId(self.to_string().into())
    }

    /// The node of an id that [`Node::id`] made.
    pub(crate) fn of(id: &ServerId) -> Option<Node> {
        let number: u8 = id.0.strip_prefix('n')?.parse().ok()?;
        number.checked_sub(1).map(Node)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0 + 1)
    }
}

/// A message between servers, with the bytes of a snapshot if it announces one.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) from: Node,
    pub(crate) to: Node,
    pub(crate) message: Message,
    pub(crate) state: Option<Bytes>,
}

/// Something inside of one process; void once that process is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inner {
    /// A timer of the core. Void if another was set since.
    Timer { setting: u64 },
    /// The disk is through with a group of writes.
    Written,
    /// The state machine is ready for more entries.
    Apply,
    /// Requests that came together are proposed.
    Propose,
    /// A look at whether a snapshot is due.
    Look,
    /// The own snapshot can be finished.
    SnapshotMade,
    /// The received snapshot can be finished.
    SnapshotReceived,
    /// The next segment of the log is zeroed.
    SegmentPrepared,
    /// A query of that client has waited long enough.
    WaitOver { client: usize, attempt: u64 },
}

/// What ends.
#[derive(Clone, Debug)]
pub(crate) enum Healing {
    /// A partition, by number.
    Partition(u64),
    /// Loss and delay beyond the usual.
    Storm(u64),
    SlowDisk(Node),
    FullDisk(Node),
}

/// What happens at a time.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Deliver(Packet),
    /// A request could not be sent, or its connection broke.
    Failed {
        at: Node,
        to: Node,
        request: RequestId,
    },
    /// A server is told that the process of another has ended, truly or not.
    PeerDown {
        at: Node,
        ended: Node,
    },
    Inner {
        node: Node,
        incarnation: u64,
        what: Inner,
    },
    Request {
        to: Node,
        request: Request,
    },
    Reply(Reply),
    /// A client begins its next operation, or tries again.
    Client {
        client: usize,
        attempt: u64,
    },
    /// A client waits no longer.
    Deadline {
        client: usize,
        attempt: u64,
    },
    Start(Node),
    Resume(Node),
    Heal(Healing),
    /// A process of that node ends, if it is still the same.
    Strike {
        node: Node,
        incarnation: u64,
    },
    /// The next fault.
    Fault,
    /// The next change of members or leader.
    Admin,
}

struct Scheduled {
    at: Time,
    number: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The log of what happened. Its digest is always made, its text only if asked for.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) digest: Digest,
    pub(crate) text: Option<String>,
    line: String,
}

impl Trace {
    pub(crate) fn new(keep: bool) -> Self {
        Trace { text: keep.then(String::new), ..Trace::default() }
    }

    pub(crate) fn write(&mut self, now: Time, line: fmt::Arguments<'_>) {
        self.line.clear();
        let micros = now.0 / 1000;
        // Writing to a string does not fail.
        let _ = fmt::write(
            &mut self.line,
            format_args!("{:3}.{:06} {line}\n", micros / 1_000_000, micros % 1_000_000),
        );
        self.digest.add(self.line.as_bytes());
        if let Some(text) = &mut self.text {
            text.push_str(&self.line);
        }
    }
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) rng: Rng,
    pub(crate) scenario: Scenario,
    pub(crate) observer: Observer,
    pub(crate) trace: Trace,
    /// Messages that servers want sent; the network takes them after each event.
    pub(crate) outgoing: Vec<Packet>,
    /// Answers to clients, likewise.
    pub(crate) replies: Vec<Reply>,
    /// Events so far.
    pub(crate) events: u64,
    /// Whether the clocks are good enough for a lease.
    pub(crate) default_reads_promised: bool,
    queue: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    operations: u64,
}

impl World {
    pub(crate) fn new(rng: Rng, scenario: Scenario, keep_text: bool) -> Self {
        World {
            now: Time(0),
            rng,
            scenario,
            observer: Observer::new(scenario.bug),
            trace: Trace::new(keep_text),
            outgoing: Vec::new(),
            replies: Vec::new(),
            events: 0,
            default_reads_promised: true,
            queue: BinaryHeap::new(),
            scheduled: 0,
            operations: 0,
        }
    }

    /// A name for an operation.
    pub(crate) fn next_operation(&mut self) -> OperationId {
        self.operations += 1;
        OperationId(self.operations)
    }

    /// Whether that mistake is to be made.
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.scenario.bug == Some(bug)
    }

    pub(crate) fn schedule(&mut self, at: Time, event: Event) {
        self.scheduled += 1;
        let number = self.scheduled;
        self.queue.push(Reverse(Scheduled { at: at.max(self.now), number, event }));
    }

    pub(crate) fn schedule_in(&mut self, wait: Duration, event: Event) {
        self.schedule(self.now.after(wait), event);
    }

    /// The next event, if it is not behind `end`; the time is then its time.
    pub(crate) fn next_event(&mut self, end: Time) -> Option<Event> {
        if self.queue.peek().is_none_or(|Reverse(next)| next.at > end) {
            self.now = end;
            return None;
        }
        let Reverse(next) = self.queue.pop()?;
        self.now = next.at;
        self.events += 1;
        Some(next.event)
    }

    /// Writes a line into the log.
    pub(crate) fn say(&mut self, line: fmt::Arguments<'_>) {
        self.trace.write(self.now, line);
    }

    /// A random time in `[from, to)` microseconds.
    pub(crate) fn micros(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_nanos(self.rng.u64(from * 1000..to * 1000))
    }

    /// A random time in `[from, to)` milliseconds.
    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        self.micros(from * 1000, to * 1000)
    }

    /// A time about `mean`, mostly below, at times far above.
    pub(crate) fn about(&mut self, mean: Duration) -> Duration {
        let share = -(1.0 - self.rng.f64()).ln();
        Duration::from_nanos((nanoseconds(mean) as f64 * share) as u64)
    }

    pub(crate) fn chance(&mut self, of_a_thousand: u32) -> bool {
        self.rng.u32(0..1000) < of_a_thousand
    }

    pub(crate) fn violation(&mut self, what: String) {
        self.observer.violations.push(what);
        self.say_violations();
    }

    /// Takes what the observer has found since the last time into the log.
    pub(crate) fn say_violations(&mut self) {
        for place in self.observer.said..self.observer.violations.len() {
            let text = self.observer.violations[place].clone();
            self.say(format_args!("VIOLATION {text}"));
        }
        self.observer.said = self.observer.violations.len();
    }
}
