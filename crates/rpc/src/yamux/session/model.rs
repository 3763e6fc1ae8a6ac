//! Two sessions that talk to each other, beside a model: a stream is a queue of bytes in each
//! direction.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

/// What a step does, on one of the two sides. Streams are chosen by number among those that
/// the side has.
#[derive(Clone, Debug)]
enum Step {
    Open,
    Write(usize, usize),
    Read(usize, usize),
    Finish(usize),
    Release(usize),
    /// Moves this many bytes to the other side.
    Deliver(usize),
    Ping,
}

fn step() -> impl Strategy<Value = Step> {
    let stream = 0..6_usize;
    let bytes = prop_oneof![2 => 1..100_usize, 1 => 1..400_000_usize];
    prop_oneof![
        2 => Just(Step::Open),
        8 => (stream.clone(), bytes.clone()).prop_map(|(s, n)| Step::Write(s, n)),
        8 => (stream.clone(), bytes.clone()).prop_map(|(s, n)| Step::Read(s, n)),
        1 => stream.clone().prop_map(Step::Finish),
        1 => stream.prop_map(Step::Release),
        12 => bytes.prop_map(Step::Deliver),
        1 => Just(Step::Ping),
    ]
}

/// One direction of a stream.
#[derive(Default)]
struct Direction {
    /// Written and not read.
    bytes: VecDeque<u8>,
    finished: bool,
    /// Its writer or its reader gave up the stream: what is on its way may be lost.
    aborted: bool,
}

struct Side {
    session: Session,
    /// What the other side sent.
    input: BytesMut,
    output: BytesMut,
    /// Streams that it holds.
    held: Vec<u32>,
    next_byte: u8,
}

impl Side {
    /// What is to be sent stands behind what was to be sent before.
    fn take_output(&mut self) {
        let mut output = BytesMut::new();
        self.session.take_output(&mut output);
        self.output.unsplit(output);
    }
}

struct Pair {
    sides: [Side; 2],
    /// By stream and by the side that writes.
    directions: BTreeMap<(u32, usize), Direction>,
}

impl Pair {
    fn new() -> Self {
        let side = |role| Side {
            session: Session::new(role, 100),
            input: BytesMut::new(),
            output: BytesMut::new(),
            held: Vec::new(),
            next_byte: 0,
        };
        let sides = [side(Role::Client), side(Role::Server)];
        Self { sides, directions: BTreeMap::new() }
    }

    fn hold(&mut self, at: usize, id: u32) {
        self.sides[at].held.push(id);
        self.directions.entry((id, at)).or_default();
    }

    fn stream(&self, at: usize, number: usize) -> Option<u32> {
        let held = &self.sides[at].held;
        (!held.is_empty()).then(|| held[number % held.len()])
    }

    fn run(&mut self, at: usize, step: &Step) {
        match *step {
            Step::Open => {
                if self.sides[at].held.len() < 20 {
                    let id = self.sides[at].session.open().unwrap();
                    self.hold(at, id);
                }
            }
            Step::Write(number, len) => {
                let Some(id) = self.stream(at, number) else { return };
                self.write(at, id, len);
            }
            Step::Read(number, len) => {
                if let Some(id) = self.stream(at, number) {
                    self.read(at, id, len);
                }
            }
            Step::Finish(number) => {
                let Some(id) = self.stream(at, number) else { return };
                self.sides[at].session.finish(id);
                self.directions.get_mut(&(id, at)).unwrap().finished = true;
            }
            Step::Release(number) => {
                let Some(id) = self.stream(at, number) else { return };
                self.release(at, id);
            }
            Step::Deliver(len) => self.deliver(at, len),
            Step::Ping => self.sides[at].session.ping(7),
        }
    }

    fn release(&mut self, at: usize, id: u32) {
        self.sides[at].session.release(id);
        self.sides[at].held.retain(|held| *held != id);
        for writer in [0, 1] {
            self.directions.entry((id, writer)).or_default().aborted = true;
        }
    }

    /// Writes until everything is written or the window is used up.
    fn write(&mut self, at: usize, id: u32, len: usize) {
        let side = &mut self.sides[at];
        let bytes: Vec<u8> =
            (0..len).map(|index| side.next_byte.wrapping_add(index as u8)).collect();
        let direction = self.directions.get_mut(&(id, at)).unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match side.session.write(id, rest) {
                Ok(0) => break,
                Ok(written) => {
                    assert!(!direction.finished);
                    side.next_byte = side.next_byte.wrapping_add(written as u8);
                    direction.bytes.extend(&rest[..written]);
                    rest = &rest[written..];
                }
                Err(StreamError::Closed) => return assert!(direction.finished),
                Err(StreamError::Reset) => return assert!(direction.aborted),
            }
            side.take_output();
        }
    }

    /// Reads, and compares with what was written.
    fn read(&mut self, at: usize, id: u32, len: usize) -> Read {
        let direction = self.directions.entry((id, 1 - at)).or_default();
        let mut got = Vec::new();
        let read = self.sides[at].session.read(id, |bytes| {
            got.extend_from_slice(&bytes[..len.min(bytes.len())]);
            got.len()
        });
        let written: Vec<u8> = direction.bytes.drain(..got.len()).collect();
        assert_eq!(got, written, "stream {id}");
        match read {
            Ok(Read::End) => {
                assert!(direction.aborted || (direction.finished && direction.bytes.is_empty()));
                Read::End
            }
            Ok(read) => read,
            Err(StreamError::Reset) => {
                assert!(direction.aborted);
                Read::End
            }
            Err(StreamError::Closed) => panic!("a stream that is held is not known"),
        }
    }

    fn deliver(&mut self, from: usize, len: usize) {
        let [client, server] = &mut self.sides;
        let (sender, receiver) = if from == 0 { (client, server) } else { (server, client) };
        sender.take_output();
        let len = len.min(sender.output.len());
        receiver.input.extend_from_slice(&sender.output.split_to(len));
        receiver.session.handle_input(&mut receiver.input).expect("both keep the rules");
        assert!(receiver.input.len() < HEADER_BYTES);
        let to = 1 - from;
        while let Some(event) = self.sides[to].session.poll_event() {
            if let Event::Opened(id) = event {
                self.sides[to].session.accept(id);
                self.hold(to, id);
            }
        }
    }

    /// Delivers and reads until nothing moves any more.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            for at in [0, 1] {
                moved |= self.sides[at].session.has_output() || !self.sides[at].output.is_empty();
                self.deliver(at, usize::MAX);
                for id in self.sides[at].held.clone() {
                    while matches!(self.read(at, id, usize::MAX), Read::Bytes(_)) {
                        moved = true;
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_in_order_and_nothing_is_left(
        steps in prop::collection::vec((0..2_usize, step()), 0..120),
    ) {
        let mut pair = Pair::new();
        for (at, step) in &steps {
            pair.run(*at, step);
            for side in &pair.sides {
                let waiting: usize = side.session.streams.values().map(|s| s.buffer.len()).sum();
                prop_assert_eq!(side.session.buffered, waiting);
                for stream in side.session.streams.values() {
                    let allowed = stream.receive_window as usize + stream.buffer.len();
                    prop_assert!(stream.reset || allowed <= WINDOW as usize);
                }
            }
        }
        pair.settle();
        for ((id, writer), direction) in &pair.directions {
            let read = direction.aborted || direction.bytes.is_empty();
            prop_assert!(read, "stream {} of {} keeps bytes", id, writer);
        }
        for at in [0, 1] {
            for id in pair.sides[at].held.clone() {
                // Whoever reads on sees the end that the other side made.
                let direction = &pair.directions[&(id, 1 - at)];
                let ended = direction.finished || direction.aborted;
                let saw = pair.read(at, id, 1);
                prop_assert_eq!(saw == Read::End, ended, "stream {} at {}", id, at);
            }
        }
        for at in [0, 1] {
            for id in pair.sides[at].held.clone() {
                pair.release(at, id);
            }
        }
        pair.settle();
        for side in &pair.sides {
            prop_assert_eq!(side.session.streams(), 0);
            let left = (side.session.buffered, side.session.unaccepted, side.session.unacknowledged);
            prop_assert_eq!(left, (0, 0, 0));
        }
    }
}
