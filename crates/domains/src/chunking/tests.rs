use store::{State, Store};
use types::Index;

use super::*;

fn store() -> Store {
    Store::new(&crate::tables())
}

fn take_at(
    store: &Store,
    term: u64,
    part: (u64, u32, u32),
    data: &[u8],
) -> Result<Option<Vec<u8>>, PartError> {
    let (op, sequence, count) = part;
    let extensions = Part { op, sequence, count }.encode();
    store.write(|batch| take(&mut batch.tx(Index(7)), term, &extensions, data))
}

fn saved(state: &State) -> Vec<u8> {
    let mut record = Vec::new();
    (table::RECORDS[0].save)(state, &mut |bytes| record.extend_from_slice(bytes));
    record
}

#[test]
fn a_command_is_whole_when_its_last_part_has_come() {
    let store = store();
    assert_eq!(take_at(&store, 2, (9, 0, 3), b"one "), Ok(None));
    assert_eq!(take_at(&store, 2, (8, 0, 2), b"other "), Ok(None));
    assert_eq!(take_at(&store, 2, (9, 2, 3), b"three"), Ok(None));
    assert_eq!(take_at(&store, 2, (9, 1, 3), b"two "), Ok(Some(b"one two three".to_vec())));
    assert_eq!(take_at(&store, 2, (8, 1, 2), b"command"), Ok(Some(b"other command".to_vec())));
    assert_eq!(store.snapshot().len(&CHUNKS), 0);
    assert_eq!(take_at(&store, 2, (7, 0, 1), b"alone"), Ok(Some(b"alone".to_vec())));
}

#[test]
fn parts_of_another_term_are_dropped() {
    let store = store();
    assert_eq!(take_at(&store, 2, (9, 0, 2), b"one "), Ok(None));
    assert_eq!(take_at(&store, 3, (9, 1, 2), b"two"), Ok(None));
    assert_eq!(store.snapshot().len(&CHUNKS), 1);
    assert_eq!(take_at(&store, 3, (9, 0, 2), b"new "), Ok(Some(b"new two".to_vec())));
}

#[test]
fn waiting_parts_survive_a_snapshot_in_consuls_form() {
    let before = store();
    assert_eq!(saved(&before.snapshot()), b"\x81\xa8ChunkMap\x80");
    assert_eq!(take_at(&before, 2, (300, 1, 2), b"two"), Ok(None));
    let record = saved(&before.snapshot());
    let expected = [
        &b"\x81\xa8ChunkMap\x81\xcd\x01\x2c\x92\xc0\x85\xa4Data\xa3two\xa9NumChunks\x02"[..],
        b"\xa5OpNum\xcd\x01\x2c\xabSequenceNum\x01\xa4Term\x02",
    ];
    assert_eq!(record, expected.concat());

    let after = store();
    after
        .write(|batch| (table::RECORDS[0].restore)(&record, &mut batch.tx(Index(9))))
        .expect("ours");
    assert_eq!(saved(&after.snapshot()), record);
    assert_eq!(take_at(&after, 2, (300, 0, 2), b"one "), Ok(Some(b"one two".to_vec())));
}

#[test]
fn extensions_that_are_none_of_a_part_change_nothing() {
    let store = store();
    let taken = |extensions: &[u8]| {
        store.write(|batch| take(&mut batch.tx(Index(7)), 2, extensions, b"data"))
    };
    let impossible = |sequence, count| Err(PartError::Impossible { sequence, count });
    for (extensions, expected) in [
        (&b"\x08"[..], Err(PartError::Undecodable)),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Err(PartError::Undecodable)),
        (b"\x0b\x00", Err(PartError::Undecodable)),
        (b"\x22\x05ab", Err(PartError::Undecodable)),
        (b"\x08\x01", impossible(0, 0)),
        (b"\x08\x01\x10\x02\x18\x02", impossible(2, 2)),
        (b"\x08\x01\x18\xff\xff\xff\x7f", impossible(0, 0xfff_ffff)),
    ] {
        assert_eq!(taken(extensions), expected, "{extensions:02x?}");
    }
    assert_eq!(store.snapshot().len(&CHUNKS), 0);
    // A field for another layer is stepped over.
    assert_eq!(taken(b"\x08\x01\x18\x01\x22\x02ab"), Ok(Some(b"data".to_vec())));
}

#[test]
fn a_checkpoint_of_the_log_is_no_part() {
    assert!(!is_part(b""));
    assert!(!is_part(b"\x03\xa5\x92\x03\xd6\xf9\xd1\xaf0123456789abcdef"));
    assert!(is_part(&Part { op: 1, sequence: 0, count: 2 }.encode()));
}
