//! What the log makes of files that are not as it left them.

use std::sync::Arc;

use bytes::Bytes;
use raft::{Entry, EntryKind, Term};
use types::Index;
use wal::{Cut, Disk, Log, LogError, LogOptions, MemDisk};

const RECORD: u64 = 48 + 16;
const PREAMBLE: u64 = 64;

fn entry(index: u64) -> Entry {
    Entry {
        index: Index(index),
        term: Term(1),
        kind: EntryKind::Command,
        data: Bytes::from(vec![index as u8; 16]),
        extensions: Bytes::new(),
        appended_at: 0,
    }
}

fn open(disk: &MemDisk) -> Result<(Log, Option<Cut>), LogError> {
    let options = LogOptions { segment_bytes_first: 1024, segment_bytes_max: 1024 };
    let (log, recovery) = Log::open(Arc::new(disk.clone()), "log", options)?;
    Ok((log, recovery.cut))
}

/// A disk with the entries up to `last`, each synced by itself.
fn disk_with(last: u64) -> MemDisk {
    let disk = MemDisk::with_faults(1);
    let (mut log, _) = open(&disk).unwrap();
    for index in 1..=last {
        log.append(&[entry(index)]).unwrap();
        log.sync().unwrap();
    }
    disk
}

fn segments(disk: &MemDisk) -> Vec<String> {
    disk.list("log").unwrap().into_iter().map(|name| format!("log/{name}")).collect()
}

#[test]
fn a_bad_last_record_is_a_torn_tail_and_is_cut() {
    let disk = disk_with(5);
    let file = segments(&disk).remove(0);
    let offset = PREAMBLE + 4 * RECORD;
    disk.corrupt(&file, offset + 60, 1);
    let (log, cut) = open(&disk).unwrap();
    assert_eq!(log.last_index(), Index(4));
    assert_eq!(cut, Some(Cut { file, offset, bytes: RECORD, index: Index(5) }));
    let (_, cut) = open(&disk).unwrap();
    assert_eq!(cut, None, "the tail is gone for good");
}

#[test]
fn a_bad_record_before_a_sound_one_is_refused_with_its_place() {
    for at in [0, 5, 9, 40, 50] {
        let disk = disk_with(5);
        let file = segments(&disk).remove(0);
        disk.corrupt(&file, PREAMBLE + 2 * RECORD + at, 0x10);
        let error = open(&disk).unwrap_err();
        assert!(error.is_fatal());
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("{file} is damaged at byte 192, at entry 3: ")),
            "{text}"
        );
        assert!(text.contains("entry 4 at byte 256 is sound"), "{text}");
        assert!(text.contains("remove this server's raft directory"), "{text}");
    }
}

#[test]
fn a_hole_in_a_batch_that_was_never_synced_is_a_torn_tail() {
    let disk = disk_with(2);
    let (mut log, _) = open(&disk).unwrap();
    log.append(&[entry(3), entry(4), entry(5)]).unwrap();
    let file = segments(&disk).remove(0);
    disk.corrupt(&file, PREAMBLE + 2 * RECORD, 1);
    let (log, cut) = open(&disk).unwrap();
    assert_eq!(log.last_index(), Index(2));
    assert_eq!(cut.unwrap().bytes, 3 * RECORD);
}

#[test]
fn damage_in_a_segment_that_is_not_the_last_is_refused() {
    let disk = disk_with(40);
    let files = segments(&disk);
    assert_eq!(files.len(), 3);
    // The last record of the first segment: nothing sound follows in that file.
    disk.corrupt(&files[0], PREAMBLE + 14 * RECORD, 1);
    let text = open(&disk).unwrap_err().to_string();
    assert!(text.contains("at entry 15: no sound record here, but later segments go on"), "{text}");
}

#[test]
fn a_missing_segment_and_a_bad_preamble_are_refused() {
    let disk = disk_with(40);
    disk.remove(&segments(&disk)[1]).unwrap();
    assert!(matches!(open(&disk), Err(LogError::Damaged { index: Index(16), .. })));

    let disk = disk_with(40);
    disk.corrupt(&segments(&disk)[2], 17, 1);
    let text = open(&disk).unwrap_err().to_string();
    assert!(text.contains("does not start as its name says"), "{text}");
}

#[test]
fn damage_met_while_reading_is_an_error_and_never_wrong_data() {
    let disk = disk_with(5);
    let (log, _) = open(&disk).unwrap();
    disk.corrupt(&segments(&disk)[0], PREAMBLE + 2 * RECORD + 50, 1);
    assert_eq!(log.entries(Index(1), Index(2), usize::MAX).unwrap(), [entry(1), entry(2)]);
    let error = log.entries(Index(1), Index(5), usize::MAX).unwrap_err();
    assert!(matches!(error, LogError::Damaged { index: Index(3), offset: 192, .. }));
}

#[test]
fn strange_files_are_left_alone_and_temporary_ones_removed() {
    let disk = disk_with(3);
    for name in ["log/notes.txt", "log/1-1.wal", "log/spare.tmp"] {
        disk.create(name).unwrap();
    }
    let (log, _) = open(&disk).unwrap();
    assert_eq!(log.last_index(), Index(3));
    let names = segments(&disk);
    assert!(
        names.contains(&"log/notes.txt".to_owned()) && names.contains(&"log/1-1.wal".to_owned())
    );
    assert!(!names.contains(&"log/spare.tmp".to_owned()));
}

#[test]
fn a_truncated_entry_does_not_come_back_behind_its_replacement() {
    let disk = disk_with(5);
    let (mut log, _) = open(&disk).unwrap();
    log.truncate_from(Index(3)).unwrap();
    let replacement = Entry { term: Term(2), ..entry(3) };
    log.append(std::slice::from_ref(&replacement)).unwrap();
    log.sync().unwrap();
    disk.crash();
    let (log, cut) = open(&disk).unwrap();
    let all = log.entries(Index(1), log.last_index(), usize::MAX).unwrap();
    assert_eq!(all, [entry(1), entry(2), replacement]);
    assert_eq!(cut, None);
}

#[test]
fn a_full_disk_refuses_the_append_and_room_makes_it_work_again() {
    let disk = disk_with(14);
    let (mut log, _) = open(&disk).unwrap();
    disk.set_capacity(Some(disk.used()));
    log.append(&[entry(15)]).unwrap();
    let error = log.append(&[entry(16)]).unwrap_err();
    assert!(error.is_full(), "{error}");
    assert_eq!(log.sync().unwrap(), Index(15));
    disk.set_capacity(None);
    log.append(&[entry(16)]).unwrap();
    assert_eq!(log.sync().unwrap(), Index(16));
    assert_eq!(segments(&disk).len(), 2, "nothing temporary stays");
}

#[test]
fn a_disk_without_room_for_a_large_segment_gets_a_small_one() {
    let disk = MemDisk::with_faults(1);
    let options = LogOptions { segment_bytes_first: 1024, segment_bytes_max: 64 << 10 };
    let (mut log, _) = Log::open(Arc::new(disk.clone()), "log", options).unwrap();
    let mut index = 0;
    while segments(&disk).len() < 3 {
        index += 1;
        log.append(&[entry(index)]).unwrap();
    }
    // The next segment would have 8 KiB.
    disk.set_capacity(Some(disk.used() + 1500));
    let error = loop {
        index += 1;
        if let Err(error) = log.append(&[entry(index)]) {
            break error;
        }
    };
    assert!(error.is_full(), "{error}");
    assert_eq!(segments(&disk).len(), 4);
    assert_eq!(log.sync().unwrap(), Index(index - 1));
    let (log, _) = Log::open(Arc::new(disk), "log", options).unwrap();
    assert_eq!(log.last_index(), Index(index - 1));
}

#[test]
fn prefixes_go_by_whole_segments_and_free_their_room() {
    let disk = disk_with(40);
    let (mut log, _) = open(&disk).unwrap();
    log.truncate_prefix(Index(20)).unwrap();
    assert_eq!((log.first_index(), segments(&disk).len()), (Index(21), 2));
    assert_eq!(log.term(Index(20)), None);
    let error = log.entries(Index(20), Index(22), 1).unwrap_err();
    assert_eq!(error.to_string(), "entry 20 is not in the log, which holds 21 to 40");
    log.truncate_prefix(Index(90)).unwrap();
    assert!(log.is_empty());
    assert_eq!((log.first_index(), log.last_index()), (Index(41), Index(40)));
    log.append(&[entry(41)]).unwrap();
    assert_eq!(log.entries(Index(41), Index(41), 0).unwrap(), [entry(41)]);
}

#[test]
fn a_batch_larger_than_a_segment_gets_its_own() {
    let disk = MemDisk::new();
    let (mut log, _) = open(&disk).unwrap();
    let large = Entry { data: vec![7; 100_000].into(), ..entry(1) };
    log.append(&[large.clone(), entry(2)]).unwrap();
    log.sync().unwrap();
    drop(log);
    let (log, _) = open(&disk).unwrap();
    assert_eq!(log.entries(Index(1), Index(2), usize::MAX).unwrap(), [large, entry(2)]);
    assert_eq!(segments(&disk).len(), 1, "the unused first segment is gone");
}

/// A sync that failed has thrown writes away although they can still be read: the process that
/// comes next must not take them for durable, even if its own syncs succeed.
#[test]
fn what_a_failed_sync_left_in_memory_is_written_again_at_the_next_start() {
    for seed in 0..50 {
        let disk = MemDisk::with_faults(seed);
        let (mut log, _) = open(&disk).unwrap();
        log.append(&[entry(1), entry(2)]).unwrap();
        log.sync().unwrap();
        log.append(&[entry(3), entry(4)]).unwrap();
        disk.fail_syncs(1);
        log.sync().unwrap_err();
        drop(log);
        let (mut log, _) = open(&disk).unwrap();
        let found = log.last_index();
        log.append(&[entry(found.0 + 1)]).unwrap();
        log.sync().unwrap();
        disk.crash();
        let (log, cut) = open(&disk).unwrap();
        assert_eq!((log.last_index(), cut), (found.next(), None), "seed {seed}");
    }
}
