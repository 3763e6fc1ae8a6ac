//! The log against a vector, on a disk that loses, tears and refuses.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use raft::{Entry, EntryKind, Term};
use types::Index;
use wal::{Disk, Log, LogError, LogOptions, MemDisk};

const SMALL: LogOptions = LogOptions { segment_bytes_first: 512, segment_bytes_max: 4096 };

#[derive(Clone, Debug)]
enum Step {
    Append { sizes: Vec<usize> },
    AppendTorn { sizes: Vec<usize>, at: usize },
    AppendFull { sizes: Vec<usize>, room: u64 },
    Sync,
    FailSync,
    TruncateFrom { back: u64 },
    TruncatePrefix { share: u64 },
    Reset { ahead: u64 },
    Prepare,
    Read { from: u64, bytes: usize },
    Restart,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let sizes = || prop::collection::vec(0..300usize, 1..8);
    prop_oneof![
        6 => sizes().prop_map(|sizes| Step::Append { sizes }),
        1 => (sizes(), 0..400usize).prop_map(|(sizes, at)| Step::AppendTorn { sizes, at }),
        1 => (sizes(), 0..600u64).prop_map(|(sizes, room)| Step::AppendFull { sizes, room }),
        4 => Just(Step::Sync),
        1 => Just(Step::FailSync),
        2 => (0..12u64).prop_map(|back| Step::TruncateFrom { back }),
        1 => (0..100u64).prop_map(|share| Step::TruncatePrefix { share }),
        1 => (0..3u64).prop_map(|ahead| Step::Reset { ahead }),
        2 => Just(Step::Prepare),
        2 => (0..100u64, 0..2000usize).prop_map(|(from, bytes)| Step::Read { from, bytes }),
        1 => Just(Step::Restart),
        2 => Just(Step::Crash),
    ]
}

/// What the log must hold.
struct Model {
    entries: Vec<Entry>,
    /// The index of the first entry, or of the next one.
    first: u64,
    /// As many of the entries are synced.
    durable: usize,
    /// A restart may find the first of one of these: their appends failed.
    failed: Vec<Vec<Entry>>,
    made: u64,
}

impl Model {
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn make(&mut self, sizes: &[usize]) -> Vec<Entry> {
        let next = self.next();
        let entry = |(size, index): (&usize, u64)| {
            self.made += 1;
            let seed = self.made as u8;
            Entry {
                index: Index(index),
                term: Term(1 + self.made / 10),
                kind: [EntryKind::Command, EntryKind::Configuration][usize::from(size % 7 == 0)],
                data: Bytes::from(vec![seed; *size]),
                extensions: Bytes::from(vec![!seed; size % 3]),
                appended_at: self.made,
            }
        };
        sizes.iter().zip(next..).map(entry).collect()
    }

    fn appended(&mut self, entries: Vec<Entry>) {
        self.failed.clear();
        self.entries.extend(entries);
    }

    fn check(&self, log: &Log) {
        assert_eq!(log.first_index(), Index(self.first));
        assert_eq!(log.last_index(), Index(self.next() - 1));
        let all = match log.is_empty() {
            true => Vec::new(),
            false => log.entries(log.first_index(), log.last_index(), usize::MAX).unwrap(),
        };
        assert_eq!(all, self.entries);
        for entry in &self.entries {
            assert_eq!(log.term(entry.index), Some(entry.term));
        }
        assert_eq!(log.term(Index(self.next())), None);
    }

    /// After a restart: what was synced is there, more may be, and older entries too.
    fn adopt(&mut self, log: &Log) {
        let first = log.first_index().0;
        let found = match log.is_empty() {
            true => Vec::new(),
            false => log.entries(log.first_index(), log.last_index(), usize::MAX).unwrap(),
        };
        let older = found.iter().filter(|entry| entry.index.0 < self.first).count();
        assert!(first <= self.first && first + found.len() as u64 >= self.first);
        let kept = &found[older..];
        assert!(kept.len() >= self.durable, "lost {} of {}", kept.len(), self.durable);
        let entries = std::mem::take(&mut self.entries);
        let mut failed = std::mem::take(&mut self.failed);
        failed.push(Vec::new());
        let is_prefix = |failed: Vec<Entry>| [&entries[..], &failed].concat().starts_with(kept);
        assert!(failed.into_iter().any(is_prefix), "never written: {kept:?}");
        self.durable = found.len();
        self.entries = found;
        self.first = first;
    }
}

fn run(seed: u64, steps: Vec<Step>) {
    let disk = MemDisk::with_faults(seed);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let open = || Log::open(shared.clone(), "raft/log", SMALL).unwrap().0;
    let mut log = open();
    let mut model =
        Model { entries: Vec::new(), first: 1, durable: 0, failed: Vec::new(), made: 0 };
    for step in steps {
        match step {
            Step::Append { sizes } => {
                let entries = model.make(&sizes);
                log.append(&entries).unwrap();
                model.appended(entries);
            }
            Step::AppendTorn { sizes, at } => {
                let entries = model.make(&sizes);
                disk.cut_next_write(at);
                match log.append(&entries) {
                    Ok(()) => model.appended(entries),
                    Err(_) => model.failed.push(entries),
                }
            }
            Step::AppendFull { sizes, room } => {
                let entries = model.make(&sizes);
                disk.set_capacity(Some(disk.used() + room));
                match log.append(&entries) {
                    Ok(()) => model.appended(entries),
                    Err(error) => assert!(error.is_full(), "{error}"),
                }
                disk.set_capacity(None);
            }
            Step::Sync => {
                assert_eq!(log.sync().unwrap(), log.last_index());
                model.durable = model.entries.len();
            }
            Step::FailSync => {
                disk.fail_syncs(1);
                if log.sync().is_err() {
                    assert!(matches!(log.append(&[]), Err(LogError::Poisoned(_))));
                    assert!(matches!(log.sync(), Err(LogError::Poisoned(_))));
                    disk.crash();
                    log = open();
                    model.adopt(&log);
                }
                disk.fail_syncs(0);
            }
            Step::TruncateFrom { back } => {
                let index = model.next().saturating_sub(back).max(model.first);
                log.truncate_from(Index(index)).unwrap();
                if back > 0 && index < model.next() {
                    model.failed.clear();
                }
                model.entries.truncate((index - model.first) as usize);
                model.durable =
                    model.entries.len().min(if back == 0 { model.durable } else { usize::MAX });
            }
            Step::TruncatePrefix { share } => {
                let gone = model.entries.len() * share as usize / 100;
                log.truncate_prefix(Index(model.first + gone as u64 - 1)).unwrap();
                model.entries.drain(..gone);
                model.first += gone as u64;
                model.durable = model.entries.len();
            }
            Step::Reset { ahead } => {
                let next = model.next() + ahead;
                log.reset(Index(next)).unwrap();
                model = Model {
                    entries: Vec::new(),
                    first: next,
                    durable: 0,
                    failed: Vec::new(),
                    ..model
                };
            }
            Step::Prepare => {
                if let Some(preparation) = log.preparation() {
                    log.accept(preparation.run()).unwrap();
                }
            }
            Step::Read { from, bytes } => {
                let place = model.entries.len() * from as usize / 100;
                if let Some(first) = model.entries.get(place) {
                    let read = log.entries(first.index, log.last_index(), bytes).unwrap();
                    assert!(!read.is_empty());
                    assert_eq!(read, model.entries[place..place + read.len()]);
                }
            }
            Step::Restart => {
                drop(log);
                log = open();
                model.durable = model.entries.len();
                model.adopt(&log);
            }
            Step::Crash => {
                disk.crash();
                assert!(
                    log.is_empty() || log.entries(log.first_index(), log.first_index(), 1).is_err()
                );
                log = open();
                model.adopt(&log);
            }
        }
        model.check(&log);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_holds_what_was_synced_whatever_happens(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        run(seed, steps);
    }
}
