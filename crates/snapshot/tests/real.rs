//! Snapshots of real Consul, against listings of what is in them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use snapshot::{Record, RecordError, RecordType, Splitter, archive};

/// The description, and how many records and bytes there are of each kind.
fn listing(bytes: &[u8]) -> String {
    let mut kinds: BTreeMap<RecordType, (usize, usize)> = BTreeMap::new();
    let mut order = Vec::new();
    let mut index = None;
    let mut splitter = Splitter::new(|record: Record<'_>| -> Result<(), RecordError> {
        match record {
            Record::Header(header) => index = Some(header.last_index),
            Record::Of(kind, bytes) => {
                let (count, size) = kinds.entry(kind).or_default();
                (*count, *size) = (*count + 1, *size + 1 + bytes.len());
                order.extend(kind.place().filter(|place| order.last() != Some(place)));
            }
        }
        Ok(())
    });
    let meta = archive::read(bytes, &mut splitter).expect("real archives are sound");
    splitter.finish().expect("real states are sound");
    // Consul writes ACL records by subject, in an order of its own.
    order.dedup_by_key(|place| snapshot::ORDER[*place].to_string().starts_with("ACL"));
    assert!(order.is_sorted(), "the records do not stand in the known order: {order:?}");
    let mut text = String::new();
    let _ = writeln!(text, "index {} term {} size {}", meta.index, meta.term, meta.size);
    let _ = writeln!(text, "state index {}", index.expect("there is a header"));
    for (kind, (count, size)) in kinds {
        let _ = writeln!(text, "{kind} {count} {size}");
    }
    text
}

#[test]
fn real_archives_hold_what_their_listings_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).expect("it is there") {
        let path = entry.expect("it is readable").path();
        if path.extension().is_none_or(|extension| extension != "snap") {
            continue;
        }
        let found = listing(&std::fs::read(&path).expect("it is readable"));
        let golden = path.with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&golden, &found).expect("it can be written");
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(found, expected, "{}", path.display());
        seen += 1;
    }
    assert_eq!(seen, 2);
}
