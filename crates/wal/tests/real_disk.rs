//! All stores on the real disk.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use raft::{
    Configuration, Entry, EntryKind, HardState, LogPosition, Server, ServerId, Suffrage, Term,
};
use types::Index;
use wal::{Disk, DiskErrorKind, FileDisk, Log, LogOptions, SnapshotStore, StableStore};

fn entry(index: u64, kind: EntryKind, data: Vec<u8>) -> Entry {
    let (index, term) = (Index(index), Term(1));
    Entry { index, term, kind, data: data.into(), extensions: vec![1].into(), appended_at: 5 }
}

fn members(address: &str) -> Configuration {
    let server =
        Server { id: ServerId("a".into()), address: address.into(), suffrage: Suffrage::Voter };
    Configuration { servers: vec![server] }
}

#[test]
fn a_server_comes_back_with_all_it_had() {
    let root = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::new(root.path().join("data")));
    let options = LogOptions { segment_bytes_first: 64 * 1024, segment_bytes_max: 256 * 1024 };
    let state = HardState { term: Term(1), vote: Some((Term(1), ServerId("a".into()))) };
    let mut expected = vec![entry(1, EntryKind::Configuration, members("a:1").encode().into())];
    {
        let (mut log, _) = Log::open(disk.clone(), "raft/log", options).unwrap();
        let mut stable = StableStore::open(&disk, "raft").unwrap();
        stable.set_hard_state(state.clone()).unwrap();
        log.append(&expected).unwrap();
        for batch in 0..50 {
            let entries: Vec<Entry> = (0..20)
                .map(|n| entry(2 + batch * 20 + n, EntryKind::Command, vec![n as u8; 700]))
                .collect();
            log.append(&entries).unwrap();
            if let Some(preparation) = log.preparation() {
                log.accept(preparation.run()).unwrap();
            }
            log.sync().unwrap();
            expected.extend(entries);
        }
        let snapshots = SnapshotStore::open(disk.clone(), "raft/snapshots").unwrap();
        let last = LogPosition { term: Term(1), index: Index(500) };
        let mut writer = snapshots.create(last, members("a:1"), Index(1), 77).unwrap();
        writer.write_all(&[9; 300_000]).unwrap();
        writer.finish().unwrap();
    }

    let (log, recovery) = Log::open(disk.clone(), "raft/log", options).unwrap();
    assert_eq!(recovery.cut, None);
    assert_eq!(log.entries(Index(1), log.last_index(), usize::MAX).unwrap(), expected);
    assert_eq!(StableStore::open(&disk, "raft").unwrap().hard_state(), &state);
    let snapshots = SnapshotStore::open(disk.clone(), "raft/snapshots").unwrap();
    let (meta, mut reader) = snapshots.open_newest().unwrap().snapshot.unwrap();
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!((meta.last.index, bytes), (Index(500), vec![9; 300_000]));
    assert_eq!(meta.configuration, members("a:1"));
    check_modes(&root.path().join("data"));
}

fn check_modes(directory: &Path) {
    for item in std::fs::read_dir(directory).unwrap() {
        let path = item.unwrap().path();
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        if path.is_dir() {
            check_modes(&path);
        }
    }
}

#[test]
fn errors_of_the_system_are_told_apart_and_name_the_file() {
    let root = tempfile::tempdir().unwrap();
    let disk = FileDisk::new(root.path());
    let error = disk.open("nothing").unwrap_err();
    assert_eq!(error.kind, DiskErrorKind::NotFound);
    let text = error.to_string();
    assert!(text.starts_with("open /") && text.contains("nothing: "), "{text}");
    let full = FileDisk::new("/dev").open("full");
    if let Ok(mut file) = full {
        assert_eq!(file.write_at(0, b"x").unwrap_err().kind, DiskErrorKind::Full);
    }
}
