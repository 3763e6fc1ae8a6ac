use contract::Command as _;
use store::Store;
use types::{Index, msgpack};

use super::*;

fn entry(key: &str, value: &str) -> Option<SystemMetadataEntry> {
    let (key, value) = (key.to_owned(), value.to_owned());
    Some(SystemMetadataEntry { key, value, ..SystemMetadataEntry::default() })
}

struct Case(Store);

impl Case {
    fn apply(&self, index: u64, op: SystemMetadataOp, entry: Option<SystemMetadataEntry>) -> bool {
        let command = SystemMetadataCommand { op, entry, ..SystemMetadataCommand::default() };
        self.0.write(|batch| command.apply(&mut batch.tx(Index(index)))).is_ok()
    }

    fn rows(&self) -> Vec<String> {
        let state = self.0.snapshot();
        let rows = state.peek_prefix(&SYSTEM_METADATA, b"");
        rows.map(|row| {
            format!("{}={} {} {}", row.key, row.value, row.create_index.0, row.modify_index.0)
        })
        .collect()
    }

    fn index(&self) -> u64 {
        self.0.snapshot().index_of(SYSTEM_METADATA.name).0
    }
}

#[test]
fn entries_are_written_over_and_removed_whatever_the_case_of_the_key() {
    use SystemMetadataOp::{Delete, Upsert};
    let case = Case(Store::new(&crate::tables()));
    assert!(case.apply(5, Upsert, entry(VIRTUAL_IPS, "true")));
    assert!(case.apply(6, Upsert, entry("intention-format", "config-entry")));
    assert!(case.apply(7, Upsert, entry("Virtual-IPs", "true")));
    assert_eq!(case.rows(), ["intention-format=config-entry 6 6", "Virtual-IPs=true 5 7"]);
    assert_eq!(value(&case.0.snapshot(), VIRTUAL_IPS), Some("true"));
    assert!(case.apply(8, Delete, entry("none", "")));
    assert_eq!(case.index(), 7, "nothing changed");
    assert!(case.apply(9, Delete, entry("INTENTION-format", "")));
    assert_eq!((case.rows().len(), case.index()), (1, 9));
    assert!(!case.apply(10, Upsert, entry("", "true")));
    assert!(!case.apply(11, Upsert, None));
}

#[test]
fn commands_and_records_have_the_bytes_that_consul_writes() {
    let entry =
        SystemMetadataEntry { create_index: Index(3), ..entry("k", "v").unwrap_or_default() };
    let record = b"\x84\xabCreateIndex\x03\xa3Key\xa1k\xabModifyIndex\x00\xa5Value\xa1v";
    assert_eq!(msgpack::to_vec(&entry), record);
    let command = SystemMetadataCommand { entry: Some(entry), ..SystemMetadataCommand::default() };
    let bytes = msgpack::to_vec(&command);
    assert!(bytes.starts_with(b"\x83\xaaDatacenter\xa0\xa5Entry\x84"));
    assert!(bytes.ends_with(b"\xa2Op\xa6upsert"));
    let read: SystemMetadataCommand = msgpack::from_slice(&bytes).expect("it was written");
    assert_eq!(read, command);
}
