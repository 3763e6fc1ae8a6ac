//! The stable store and the snapshot store.

use std::io::{Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use raft::{Configuration, HardState, LogPosition, Server, ServerId, Suffrage, Term};
use types::Index;
use wal::stable::VALUES_BYTES_MAX;
use wal::{Disk, DiskErrorKind, MemDisk, SnapshotError, SnapshotStore, StableError, StableStore};

fn voted(term: u64, candidate: &str) -> HardState {
    HardState { term: Term(term), vote: Some((Term(term), ServerId(candidate.into()))) }
}

fn open_stable(disk: &MemDisk) -> Result<StableStore, StableError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    StableStore::open(&disk, "raft")
}

#[test]
fn term_vote_and_values_outlive_a_crash() {
    let disk = MemDisk::with_faults(3);
    let mut stable = open_stable(&disk).unwrap();
    assert_eq!(stable.hard_state(), &HardState::default());
    for term in 1..10 {
        stable.set_hard_state(voted(term, "a")).unwrap();
        stable.set_value("term", Some(Bytes::from(vec![term as u8]))).unwrap();
        stable.set_value("gone", Some(Bytes::new())).unwrap();
        stable.set_value("gone", None).unwrap();
        disk.crash();
        stable = open_stable(&disk).unwrap();
        assert_eq!(stable.hard_state(), &voted(term, "a"));
        assert_eq!(stable.value("term").unwrap()[..], [term as u8]);
        assert_eq!(stable.value("gone"), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_torn_write_leaves_the_old_or_the_new_state(
        seed in any::<u64>(),
        cut in 0..200usize,
        name in "[a-z]{0,90}",
    ) {
        let disk = MemDisk::with_faults(seed);
        let mut stable = open_stable(&disk).unwrap();
        stable.set_hard_state(voted(1, "old")).unwrap();
        disk.cut_next_write(cut);
        let outcome = stable.set_hard_state(voted(2, &name));
        disk.crash();
        let found = open_stable(&disk).unwrap().hard_state().clone();
        if outcome.is_ok() {
            prop_assert_eq!(found, voted(2, &name));
        } else {
            prop_assert!(found == voted(1, "old") || found == voted(2, &name));
        }
    }
}

#[test]
fn a_failed_sync_poisons_the_stable_store() {
    let disk = MemDisk::with_faults(1);
    let mut stable = open_stable(&disk).unwrap();
    disk.fail_syncs(1);
    for _ in 0..2 {
        let error = stable.set_hard_state(voted(1, "a")).unwrap_err();
        assert!(matches!(error, StableError::Poisoned(_)), "{error}");
        assert!(error.to_string().contains("this server must stop"));
    }
    assert_eq!(stable.hard_state(), &HardState::default());
}

#[test]
fn a_stable_store_without_a_sound_slot_is_refused_and_values_are_bounded() {
    let disk = MemDisk::new();
    let mut stable = open_stable(&disk).unwrap();
    stable.set_hard_state(voted(1, "a")).unwrap();
    let large = Some(vec![0; VALUES_BYTES_MAX].into());
    assert!(matches!(stable.set_value("x", large), Err(StableError::TooLarge(_))));
    disk.corrupt("raft/stable", 30, 1);
    assert_eq!(open_stable(&disk).unwrap().hard_state(), &voted(1, "a"));
    disk.corrupt("raft/stable", 16 * 1024 + 30, 1);
    let text = open_stable(&disk).unwrap_err().to_string();
    assert!(text.starts_with("raft/stable is damaged"), "{text}");
}

fn configuration() -> Configuration {
    let server = |id: &str, suffrage| Server {
        id: ServerId(id.into()),
        address: format!("{id}:8300").into(),
        suffrage,
    };
    Configuration { servers: vec![server("a", Suffrage::Voter), server("b", Suffrage::Nonvoter)] }
}

fn at(index: u64) -> LogPosition {
    LogPosition { term: Term(2), index: Index(index) }
}

fn open_snapshots(disk: &MemDisk) -> SnapshotStore {
    SnapshotStore::open(Arc::new(disk.clone()), "raft/snapshots").unwrap()
}

fn write(store: &SnapshotStore, index: u64, state: &[u8]) -> raft::SnapshotMeta {
    let mut writer = store.create(at(index), configuration(), Index(1), 1000).unwrap();
    writer.write_all(state).unwrap();
    writer.finish().unwrap()
}

fn read_file(disk: &MemDisk, path: &str) -> Vec<u8> {
    let file = disk.open(path).unwrap();
    let mut bytes = vec![0; file.size().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn meta_json_is_what_a_real_server_reads() {
    let disk = MemDisk::new();
    let meta = write(&open_snapshots(&disk), 78, b"123456789");
    assert_eq!(meta.id, "2-78-1000");
    let text = String::from_utf8(read_file(&disk, "raft/snapshots/2-78-1000/meta.json")).unwrap();
    // Peers are 91 a6 "a:8300"; the sum is the catalogue's 995dc9bbdf1939fa.
    let expected = r#"{"Version":1,"ID":"2-78-1000","Index":78,"Term":2,"Peers":"kaZhOjgzMDA=","#
        .to_owned()
        + r#""Configuration":{"Servers":[{"Suffrage":0,"ID":"a","Address":"a:8300"},"#
        + r#"{"Suffrage":1,"ID":"b","Address":"b:8300"}]},"ConfigurationIndex":1,"Size":9,"#
        + r#""CRC":"mV3Ju98ZOfo="}"#
        + "\n";
    assert_eq!(text, expected);
}

#[test]
fn the_newest_snapshot_comes_back_after_a_crash_and_two_are_kept() {
    let disk = MemDisk::with_faults(9);
    let store = open_snapshots(&disk);
    let state: Vec<u8> = (0..1_000_000u32).map(|n| (n / 7) as u8).collect();
    for index in [5, 90, 200, 1000] {
        write(&store, index, &state[..(index * 1000) as usize]);
    }
    let unfinished = store.create(at(2000), configuration(), Index(1), 1000).unwrap();
    disk.crash();
    drop(unfinished);
    let store = open_snapshots(&disk);
    assert_eq!(store.ids().unwrap(), ["2-1000-1000", "2-200-1000"]);
    let newest = store.open_newest().unwrap();
    let (meta, mut reader) = newest.snapshot.unwrap();
    assert_eq!((meta.last, meta.configuration, meta.size), (at(1000), configuration(), 1_000_000));
    let mut found = Vec::new();
    reader.read_to_end(&mut found).unwrap();
    assert!(found == state && newest.rejected.is_empty());
    let mut piece = [0; 4];
    assert_eq!(reader.read_at(999_998, &mut piece).unwrap(), 2);
}

#[test]
fn a_damaged_snapshot_is_passed_over_and_told() {
    let disk = MemDisk::new();
    let store = open_snapshots(&disk);
    for index in [1, 2] {
        write(&store, index, b"state");
    }
    disk.corrupt("raft/snapshots/2-2-1000/state.bin", 2, 4);
    let newest = store.open_newest().unwrap();
    assert_eq!(newest.snapshot.unwrap().0.last, at(1));
    let told: Vec<String> = newest.rejected.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["snapshot 2-2-1000 is damaged: the checksum of state.bin is another"]);

    disk.corrupt("raft/snapshots/2-1-1000/meta.json", 0, 4);
    disk.remove("raft/snapshots/2-2-1000/state.bin").unwrap();
    let newest = store.open_newest().unwrap();
    assert!(newest.snapshot.is_none() && newest.rejected.len() == 2);
    assert!(newest.rejected.iter().all(|e| matches!(e, SnapshotError::Damaged { .. })));
}

#[test]
fn a_snapshot_that_does_not_fit_leaves_nothing_behind() {
    let disk = MemDisk::new();
    let store = open_snapshots(&disk);
    write(&store, 1, b"state");
    let used = disk.used();
    disk.set_capacity(Some(used + 1000));
    let mut writer = store.create(at(2), configuration(), Index(1), 1000).unwrap();
    writer.write_all(&[1; 5000]).unwrap();
    assert_eq!(writer.finish().unwrap_err().kind, DiskErrorKind::Full);
    assert_eq!((disk.used(), store.ids().unwrap().len()), (used, 1));
}

#[test]
fn snapshots_of_the_same_moment_get_different_names() {
    let disk = MemDisk::new();
    let store = open_snapshots(&disk);
    let ids = [write(&store, 7, b"a").id, write(&store, 7, b"b").id];
    assert_eq!(ids, ["2-7-1000", "2-7-1001"]);
    let (_, mut reader) = store.open_newest().unwrap().snapshot.unwrap();
    let mut found = Vec::new();
    reader.read_to_end(&mut found).unwrap();
    assert_eq!(found, b"b");
}

/// A sync that failed has thrown the write away although it can still be read: the process that
/// comes next must not take it for durable, even if its own syncs succeed.
#[test]
fn what_a_failed_sync_left_in_memory_is_written_again_at_the_next_start() {
    for seed in 0..50 {
        let disk = MemDisk::with_faults(seed);
        let mut stable = open_stable(&disk).unwrap();
        stable.set_hard_state(voted(1, "old")).unwrap();
        disk.fail_syncs(1);
        stable.set_hard_state(voted(2, "new")).unwrap_err();
        drop(stable);
        let found = open_stable(&disk).unwrap().hard_state().clone();
        disk.crash();
        assert_eq!(open_stable(&disk).unwrap().hard_state(), &found, "seed {seed}");
    }
}
