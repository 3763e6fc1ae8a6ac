//! What survives a restart: who was there, and how far the clocks were. Lines of text that are
//! appended to a file and, when it grew too large, written anew
//! (`reference/gossip-wire.md` section 13). Serf and Consul read and write the same.
//!
//! Nothing here touches the file: [`Snapshot::read`] takes what was in it, and
//! [`Snapshot::take`] says what is to be written. Lines are gathered for half a second.
//!
//! A name with a line break in it would write lines of its own: such a member is left out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use types::user_event::LamportTime;

/// Lines wait this long for others at most.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);
/// A file of up to this many bytes is never written anew.
const COMPACT_BYTES_MIN: u64 = 128 * 1024;
/// What a member takes in the file, for judging its size.
const BYTES_PER_MEMBER: u64 = 128;
/// How many times larger than needed the file may be.
const COMPACT_FACTOR: u64 = 2;
/// Lines that are reported when they are not understood; more are only counted.
const UNREAD_MAX: usize = 10;

/// What to do with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotWrite {
    /// Put this behind what is there.
    Append(String),
    /// Put this behind what is there, and wait until the disk has it.
    AppendAndSync(String),
    /// Put this in the place of all that is there, in one step.
    Replace(String),
}

/// Lines of the file that were not understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub lines: Vec<String>,
}

/// The state of the file.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    alive: BTreeMap<String, String>,
    clock: LamportTime,
    event_clock: LamportTime,
    query_clock: LamportTime,
    rejoin_after_leave: bool,
    /// The clock of membership as it is; [`Self::clock`] is what the file says.
    latest_clock: LamportTime,
    /// Bytes of the file, with those that wait.
    size: u64,
    waiting: String,
    write_at: Option<Instant>,
    /// After a leave nothing more is noted: what comes are the others that vanish.
    leaving: bool,
}

impl Snapshot {
    /// The state in a file. A last line without an end was cut off by a crash and does not
    /// count. With `rejoin_after_leave`, a leave does not forget the members.
    pub fn read(file: &[u8], rejoin_after_leave: bool) -> (Self, Unread) {
        let size = file.len() as u64;
        let mut this = Self { rejoin_after_leave, size, ..Self::default() };
        let mut unread = Unread::default();
        for line in file.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else { break };
            let line = String::from_utf8_lossy(line);
            if this.read_line(&line).is_none() {
                unread.count += 1;
                if unread.lines.len() < UNREAD_MAX {
                    unread.lines.push(line.into_owned());
                }
            }
        }
        (this, unread)
    }

    fn read_line(&mut self, line: &str) -> Option<()> {
        if let Some((kind, rest)) = line.split_once(": ") {
            let clock = || rest.parse().map(LamportTime).ok();
            match kind {
                "alive" => {
                    let (name, address) = rest.rsplit_once(' ')?;
                    self.alive.insert(name.to_owned(), address.to_owned());
                    return Some(());
                }
                "not-alive" => {
                    self.alive.remove(rest);
                    return Some(());
                }
                "clock" => return clock().map(|clock| self.clock = clock),
                "event-clock" => return clock().map(|clock| self.event_clock = clock),
                "query-clock" => return clock().map(|clock| self.query_clock = clock),
                // Of older versions: the coordinate is found anew.
                "coordinate" => return Some(()),
                _ => {}
            }
        }
        if line == "leave" {
            if !self.rejoin_after_leave {
                self.alive.clear();
                let zero = LamportTime(0);
                (self.clock, self.event_clock, self.query_clock) = (zero, zero, zero);
            }
            return Some(());
        }
        line.starts_with('#').then_some(())
    }

    /// The members that were alive and where, by name. An address that is none is left out.
    pub fn alive(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        let known = self.alive.iter();
        known.filter_map(|(name, address)| Some((name.as_str(), address.parse().ok()?)))
    }

    /// The last times seen on the clocks of membership, events and queries.
    pub fn clocks(&self) -> [LamportTime; 3] {
        [self.clock, self.event_clock, self.query_clock]
    }

    /// Notes that a member is there.
    pub(super) fn joined(&mut self, name: &str, address: SocketAddr, now: Instant) {
        if name.contains(['\n', '\r']) || self.leaving {
            return;
        }
        self.alive.insert(name.to_owned(), address.to_string());
        self.append(&format!("alive: {name} {address}\n"), now);
    }

    /// Notes that a member is not there any more.
    pub(super) fn gone(&mut self, name: &str, now: Instant) {
        if !self.leaving && self.alive.remove(name).is_some() {
            self.append(&format!("not-alive: {name}\n"), now);
        }
    }

    /// Notes the last time seen on the clock of membership. It ticks often: only where it
    /// stands when lines are written becomes one.
    pub(super) fn clock(&mut self, time: LamportTime, now: Instant) {
        if !self.leaving && time > self.latest_clock.max(self.clock) {
            self.latest_clock = time;
            self.write_at.get_or_insert(now + FLUSH_INTERVAL);
        }
    }

    /// Notes the time of an event, if it is the latest.
    pub(super) fn event_clock(&mut self, time: LamportTime, now: Instant) {
        if !self.leaving && time > self.event_clock {
            self.event_clock = time;
            self.append(&format!("event-clock: {}\n", time.0), now);
        }
    }

    /// Notes the time of a query, if it is the latest.
    pub(super) fn query_clock(&mut self, time: LamportTime, now: Instant) {
        if !self.leaving && time > self.query_clock {
            self.query_clock = time;
            self.append(&format!("query-clock: {}\n", time.0), now);
        }
    }

    /// Notes that this node leaves of its own will. Written at once, and the last line.
    pub(super) fn leave(&mut self, now: Instant) {
        if self.leaving {
            return;
        }
        self.leaving = true;
        if !self.rejoin_after_leave {
            self.alive.clear();
        }
        self.note_clock();
        self.append("leave\n", now);
        self.write_at = Some(now);
    }

    fn append(&mut self, line: &str, now: Instant) {
        self.size += line.len() as u64;
        self.waiting.push_str(line);
        self.write_at.get_or_insert(now + FLUSH_INTERVAL);
    }

    fn note_clock(&mut self) {
        if self.latest_clock > self.clock {
            self.clock = self.latest_clock;
            let line = format!("clock: {}\n", self.clock.0);
            self.size += line.len() as u64;
            self.waiting.push_str(&line);
        }
    }

    /// When [`Self::take`] has something.
    pub(super) fn write_at(&self) -> Option<Instant> {
        self.write_at
    }

    /// What is to be written at this time.
    pub(super) fn take(&mut self, now: Instant) -> Option<SnapshotWrite> {
        self.write_at.filter(|at| *at <= now)?;
        self.flush()
    }

    /// What is to be written at the end, whatever the time.
    pub(super) fn flush(&mut self) -> Option<SnapshotWrite> {
        self.write_at = None;
        if !self.leaving {
            self.note_clock();
        }
        let lines = std::mem::take(&mut self.waiting);
        if lines.is_empty() {
            return None;
        }
        if self.leaving {
            return Some(SnapshotWrite::AppendAndSync(lines));
        }
        let needed = self.alive.len() as u64 * BYTES_PER_MEMBER;
        if self.size <= (needed * COMPACT_FACTOR).max(COMPACT_BYTES_MIN) {
            return Some(SnapshotWrite::Append(lines));
        }
        Some(SnapshotWrite::Replace(self.rewrite()))
    }

    /// The whole file, as short as it can be; also what heals a file that could not be
    /// appended to.
    pub fn rewrite(&mut self) -> String {
        self.clock = self.clock.max(self.latest_clock);
        let mut file = String::new();
        for (name, address) in &self.alive {
            file.push_str(&format!("alive: {name} {address}\n"));
        }
        let [clock, event, query] = self.clocks().map(|clock| clock.0);
        file.push_str(&format!("clock: {clock}\nevent-clock: {event}\nquery-clock: {query}\n"));
        if self.leaving {
            file.push_str("leave\n");
        }
        self.waiting.clear();
        self.size = file.len() as u64;
        file
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test has to start somewhere")]
    fn start() -> Instant {
        Instant::now()
    }

    /// As serf 0.10 writes it.
    const FILE: &str = "\
        alive: a 127.0.0.1:7946\n\
        clock: 1\n\
        # a comment\n\
        alive: with space 127.0.0.2:7946\n\
        alive: six [::1]:7946\n\
        event-clock: 12\n\
        query-clock: 3\n\
        coordinate: {\"Vec\":[0]}\n\
        not-alive: a\n\
        clock: 9\n";

    fn alive(snapshot: &Snapshot) -> Vec<String> {
        snapshot.alive().map(|(name, address)| format!("{name}={address}")).collect()
    }

    fn times(snapshot: &Snapshot) -> [u64; 3] {
        snapshot.clocks().map(|clock| clock.0)
    }

    fn address(n: u32) -> SocketAddr {
        SocketAddr::from((n.to_be_bytes(), 8301))
    }

    #[test]
    fn the_file_of_serf_is_understood() {
        let (snapshot, unread) = Snapshot::read(FILE.as_bytes(), false);
        assert_eq!(alive(&snapshot), ["six=[::1]:7946", "with space=127.0.0.2:7946"]);
        assert_eq!(times(&snapshot), [9, 12, 3]);
        assert_eq!(unread, Unread::default());
    }

    #[test]
    fn lines_that_are_not_understood_are_skipped_and_told() {
        let mut file = "hello\nalive: a\nclock: x\nalive: b nowhere\nclock: 2\n".to_owned();
        file.push_str(&"???\n".repeat(20));
        file.push_str("clock: 99");
        let (snapshot, unread) = Snapshot::read(file.as_bytes(), false);
        assert_eq!(times(&snapshot), [2, 0, 0], "the last line has no end");
        assert_eq!(unread.count, 23);
        assert_eq!(unread.lines[..4], ["hello", "alive: a", "clock: x", "???"]);
        assert_eq!(unread.lines.len(), UNREAD_MAX);
        assert!(alive(&snapshot).is_empty());
    }

    #[test]
    fn a_leave_forgets_all_unless_the_agent_is_to_rejoin() {
        let file = format!("{FILE}leave\n");
        let (snapshot, _) = Snapshot::read(file.as_bytes(), false);
        assert_eq!((alive(&snapshot).len(), times(&snapshot)), (0, [0, 0, 0]));
        let (snapshot, _) = Snapshot::read(file.as_bytes(), true);
        assert_eq!((alive(&snapshot).len(), times(&snapshot)), (2, [9, 12, 3]));
    }

    #[test]
    fn lines_are_gathered_for_half_a_second_and_a_leave_is_written_at_once() {
        let mut now = start();
        let mut snapshot = Snapshot::default();
        snapshot.joined("a", address(1), now);
        snapshot.clock(LamportTime(2), now);
        snapshot.clock(LamportTime(3), now);
        assert_eq!(snapshot.take(now), None);
        now += FLUSH_INTERVAL;
        assert_eq!(snapshot.write_at(), Some(now));
        snapshot.gone("a", now);
        snapshot.gone("a", now);
        let lines = "alive: a 0.0.0.1:8301\nnot-alive: a\nclock: 3\n".to_owned();
        assert_eq!(snapshot.take(now), Some(SnapshotWrite::Append(lines)));
        assert_eq!((snapshot.take(now), snapshot.write_at()), (None, None));
        snapshot.leave(now);
        snapshot.leave(now);
        snapshot.gone("b", now);
        snapshot.clock(LamportTime(99), now);
        let lines = "leave\n".to_owned();
        assert_eq!(snapshot.take(now), Some(SnapshotWrite::AppendAndSync(lines)));
        assert_eq!(snapshot.flush(), None);
    }

    #[test]
    fn a_name_with_a_line_break_writes_no_line_of_its_own() {
        let mut snapshot = Snapshot::default();
        snapshot.joined("a\nleave", address(1), start());
        assert_eq!(snapshot.flush(), None);
    }

    #[test]
    fn a_file_that_is_much_larger_than_needed_is_written_anew() {
        let now = start();
        let mut snapshot = Snapshot::default();
        let mut written = 0;
        let replaced = (0..100_000_u32).find_map(|n| {
            snapshot.joined("a", address(n), now);
            match snapshot.flush() {
                Some(SnapshotWrite::Append(lines)) => {
                    written += lines.len() as u64;
                    None
                }
                other => other,
            }
        });
        assert!(written <= COMPACT_BYTES_MIN && written > COMPACT_BYTES_MIN - 100);
        let Some(SnapshotWrite::Replace(file)) = replaced else { panic!("{replaced:?}") };
        let (read, unread) = Snapshot::read(file.as_bytes(), false);
        assert_eq!((alive(&read), unread.count), (alive(&snapshot), 0));
        // Then it is appended to again.
        snapshot.gone("a", now);
        assert!(matches!(snapshot.flush(), Some(SnapshotWrite::Append(_))));
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(
            steps in prop::collection::vec((0..5_u8, "[a-z ]{1,3}", 0..100_u32), 0..50),
        ) {
            let now = start();
            let mut snapshot = Snapshot::default();
            let mut file = String::new();
            for (step, name, number) in steps {
                match step {
                    0 => snapshot.joined(&name, address(number), now),
                    1 => snapshot.gone(&name, now),
                    2 => snapshot.clock(LamportTime(number.into()), now),
                    3 => snapshot.event_clock(LamportTime(number.into()), now),
                    _ => file = snapshot.rewrite(),
                }
                if let Some(SnapshotWrite::Append(lines)) = snapshot.flush() {
                    file.push_str(&lines);
                }
            }
            let (read, unread) = Snapshot::read(file.as_bytes(), false);
            prop_assert_eq!(unread.count, 0);
            prop_assert_eq!(alive(&read), alive(&snapshot));
            prop_assert_eq!(times(&read), times(&snapshot));
        }

        #[test]
        fn no_file_is_too_strange_to_be_read(file: Vec<u8>) {
            let _ = Snapshot::read(&file, false);
        }
    }
}
