//! What a server keeps on its disk, after something else wrote to the same
//! files: it opens or says what is wrong, and never shows what was not written.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use raft::{Configuration, Entry, EntryKind, HardState, LogPosition, Term};
use types::Index;
use wal::{Disk, Log, LogOptions, MemDisk, SnapshotStore, StableStore};

use super::assert_says;
use crate::choices::Choices;

/// Largest change of a file's size, in bytes.
const GROWTH_BYTES_MAX: usize = 4096;

/// Checks a log whose files were changed as the input says.
pub(super) fn check_log(input: &[u8]) {
    let disk = disk();
    let written: Vec<Entry> = (1..=30).map(entry).collect();
    let mut log = open(&disk).expect("a new disk");
    for entries in written.chunks(4) {
        log.append(entries).expect("a sound disk");
        log.sync().expect("a sound disk");
    }
    drop(log);
    damage(&*disk, "log", &mut Choices::new(input));
    match open(&disk) {
        Err(error) => assert_says(&error.to_string(), 0),
        Ok(log) => check_opened(&disk, log, &written),
    }
}

fn check_opened(disk: &Arc<dyn Disk>, mut log: Log, written: &[Entry]) {
    assert!(log.last_index().0 <= 30, "entries out of nothing");
    for index in log.first_index().0..=log.last_index().0 {
        match log.entries(Index(index), Index(index), usize::MAX) {
            Ok(found) => assert_eq!(found, [written[index as usize - 1].clone()]),
            Err(error) => assert_says(&error.to_string(), 0),
        }
    }
    let next = log.last_index().next();
    if log.append(&[entry(next.0)]).and_then(|()| log.sync().map(drop)).is_ok() {
        drop(log);
        let log = open(disk).expect("it was just open");
        assert_eq!(log.last_index(), next, "an acknowledged entry is lost");
    }
}

fn open(disk: &Arc<dyn Disk>) -> Result<Log, wal::LogError> {
    let options = LogOptions { segment_bytes_first: 1024, segment_bytes_max: 2048 };
    Log::open(Arc::clone(disk), "log", options).map(|(log, _)| log)
}

fn entry(index: u64) -> Entry {
    Entry {
        index: Index(index),
        term: Term(1 + index / 10),
        kind: EntryKind::Command,
        data: Bytes::from(vec![index as u8; 1 + (index as usize * 7) % 90]),
        extensions: Bytes::new(),
        appended_at: index,
    }
}

/// Checks a stable store whose file was changed.
pub(super) fn check_stable(input: &[u8]) {
    let disk = disk();
    let mut store = StableStore::open(&disk, "raft").expect("a new disk");
    let mut written = vec![HardState::default()];
    for term in 1..4 {
        let state = HardState { term: Term(term), ..HardState::default() };
        store.set_hard_state(state.clone()).expect("a sound disk");
        written.push(state);
    }
    store.set_value("name", Some(Bytes::from_static(b"value"))).expect("a sound disk");
    drop(store);
    damage(&*disk, "raft", &mut Choices::new(input));
    match StableStore::open(&disk, "raft") {
        Err(error) => assert_says(&error.to_string(), 0),
        Ok(mut store) => {
            assert!(written.contains(store.hard_state()), "a vote out of nothing");
            let state = HardState { term: Term(9), ..HardState::default() };
            store.set_hard_state(state.clone()).expect("a sound disk");
            drop(store);
            let store = StableStore::open(&disk, "raft").expect("it was just written");
            assert_eq!(*store.hard_state(), state);
        }
    }
}

/// Checks snapshots whose files were changed.
pub(super) fn check_snapshot(input: &[u8]) {
    let disk = disk();
    let store = SnapshotStore::open(Arc::clone(&disk), "snapshots").expect("a new disk");
    let mut ids = Vec::new();
    for index in [5, 9] {
        let last = LogPosition { term: Term(2), index: Index(index) };
        let mut writer = store
            .create(last, Configuration::default(), Index(1), 1_800_000_000_000_000_000 + index)
            .expect("a sound disk");
        writer.write_all(&state(index)).expect("a sound disk");
        ids.push(writer.finish().expect("a sound disk").id);
    }
    let mut choices = Choices::new(input);
    let folder = format!("snapshots/{}", choices.pick(&ids));
    damage(&*disk, &folder, &mut choices);
    let store = SnapshotStore::open(disk, "snapshots").expect("the folder is there");
    let newest = match store.open_newest() {
        Err(error) => return assert_says(&error.to_string(), 0),
        Ok(newest) => newest,
    };
    newest.rejected.iter().for_each(|error| assert_says(&error.to_string(), 0));
    let (meta, mut reader) = newest.snapshot.expect("one of them was left alone");
    let mut read = Vec::new();
    if reader.read_to_end(&mut read).is_ok() {
        assert!(read == state(5) || read == state(9), "snapshot {} shows something else", meta.id);
    }
}

fn state(index: u64) -> Vec<u8> {
    vec![index as u8; 3000 + index as usize]
}

fn disk() -> Arc<dyn Disk> {
    Arc::new(MemDisk::new())
}

/// Changes files in a folder: bytes, sizes, strangers.
fn damage(disk: &dyn Disk, folder: &str, choices: &mut Choices<'_>) {
    while !choices.is_empty() {
        let names = disk.list(folder).expect("the folder is there");
        if names.is_empty() {
            return;
        }
        let path = format!("{folder}/{}", choices.pick(&names));
        let Ok(file) = disk.open(&path) else { return };
        let size = usize::try_from(file.size().expect("an open file")).expect("it is small");
        let at = choices.below(size + 1);
        let mut content = vec![0; size];
        file.read_at(0, &mut content).expect("an open file");
        match choices.below(6) {
            0 | 1 => {
                if let Some(byte) = content.get_mut(at) {
                    *byte ^= choices.byte().max(1);
                }
            }
            2 => content.truncate(at),
            3 => content.extend((0..choices.below(GROWTH_BYTES_MAX)).map(|_| choices.byte())),
            4 => {
                let len = choices.below(64).min(size - at);
                let with = choices.byte();
                content[at..at + len].fill(with);
            }
            _ => {
                let from = choices.below(size + 1);
                let len = choices.below(256).min(size - at.max(from));
                content.copy_within(from..from + len, at);
            }
        }
        let mut file = disk.create(&path).expect("a sound disk");
        file.write_at(0, &content).expect("a sound disk");
        file.sync_data().expect("a sound disk");
    }
}

/// Changes, a few and many.
pub(super) fn made_edits() -> Vec<Vec<u8>> {
    let edits: [&[u8]; 5] = [
        &[],
        &[0, 0, 3, 70, 1, 1],
        &[1, 0, 0, 200, 2],
        &[0, 0, 1, 0, 4, 63, 0],
        &[2, 0, 0, 64, 5, 0, 0, 128, 255],
    ];
    edits.into_iter().map(<[u8]>::to_vec).collect()
}
