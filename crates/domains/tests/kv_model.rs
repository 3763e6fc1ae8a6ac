//! Keys against an obvious model.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::AnyCommand;
use domains::kv::{KVS, KvCommand, KvOp};
use proptest::prelude::*;
use store::Store;
use types::Index;
use types::kv::KvEntry;

#[derive(Clone, Debug, PartialEq)]
struct Held {
    value: u8,
    flags: u64,
    created: u64,
    modified: u64,
}

fn write() -> impl Strategy<Value = (KvOp, String, u8, u64, u64)> {
    let op = prop::sample::select(vec![
        KvOp::Set,
        KvOp::Set,
        KvOp::Cas,
        KvOp::Delete,
        KvOp::DeleteCas,
        KvOp::DeleteTree,
    ]);
    let key = prop::sample::select(vec!["a", "a/b", "a/b/c", "ab", "b"]).prop_map(String::from);
    (op, key, 0..2u8, 0..2u64, 0..3u64)
}

/// What the reference says about one write (`reference/http-api.md` 3.1).
fn model_write(
    model: &mut BTreeMap<String, Held>,
    (op, key, value, flags): (KvOp, &str, u8, u64),
    expected: u64,
    index: u64,
) -> bool {
    let present = model.get(key).map_or(0, |held| held.modified);
    let mut set = || {
        let held = model.entry(key.to_owned()).or_insert(Held {
            value: u8::MAX,
            flags,
            created: index,
            modified: index,
        });
        if (held.value, held.flags) != (value, flags) {
            *held = Held { value, flags, created: held.created, modified: index };
        }
        true
    };
    match op {
        KvOp::Set => set(),
        KvOp::Cas => present == expected && set(),
        KvOp::Delete => {
            model.remove(key);
            true
        }
        KvOp::DeleteCas => {
            let matches = present == 0 || present == expected;
            if matches {
                model.remove(key);
            }
            matches
        }
        KvOp::DeleteTree => {
            model.retain(|held, _| !held.starts_with(key));
            true
        }
        KvOp::Lock | KvOp::Unlock => unreachable!("not generated"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn keys_behave_as_the_model_says(writes in prop::collection::vec(write(), 1..40)) {
        let store = Store::new(&domains::tables());
        let mut model = BTreeMap::new();
        for (number, (op, key, value, flags, guess)) in writes.into_iter().enumerate() {
            let index = number as u64 + 1;
            // Zero, the right index, or a wrong one.
            let expected = match guess {
                0 => 0,
                1 => model.get(&key).map_or(7_000, |held: &Held| held.modified),
                _ => 9_000,
            };
            let entry = KvEntry {
                key: Arc::from(key.as_str()),
                flags,
                value: bytes::Bytes::from(vec![value]).into(),
                modify_index: Index(expected),
                ..KvEntry::default()
            };
            let command = KvCommand { op, entry, ..KvCommand::default() };
            let reply = store.write(|batch| command.apply(&mut batch.tx(Index(index)))).expect("no lock");
            let wanted = model_write(&mut model, (op, &key, value, flags), expected, index);
            prop_assert_eq!(reply.downcast_ref::<bool>(), Some(&wanted), "{:?} {}", op, key);
            let rows: BTreeMap<String, Held> = store
                .snapshot()
                .prefix(&KVS, b"")
                .map(|row| {
                    let held = Held {
                        value: row.value[0],
                        flags: row.flags,
                        created: row.create_index.0,
                        modified: row.modify_index.0,
                    };
                    (row.key.to_string(), held)
                })
                .collect();
            prop_assert_eq!(&rows, &model);
        }
    }
}
