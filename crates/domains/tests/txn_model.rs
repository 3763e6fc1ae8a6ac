//! Transactions on keys against an obvious model: a copy of the map is worked on, and
//! takes the place of the map if every operation went well.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::Command;
use domains::kv::KVS;
use domains::session::SESSIONS;
use domains::txn::{ReadOp, TxnCommand, TxnRead};
use proptest::prelude::*;
use store::{Reader, Store};
use types::Index;
use types::kv::KvEntry;
use types::session::Session;
use types::txn::{KvVerb, TxnKvOp, TxnOp, TxnResult};

const VERBS: [&str; 14] = [
    "set",
    "set",
    "delete",
    "delete-cas",
    "delete-tree",
    "cas",
    "lock",
    "unlock",
    "get",
    "get-or-empty",
    "get-tree",
    "check-session",
    "check-index",
    "check-not-exists",
];

/// An operation whose expected index is yet to be chosen.
#[derive(Clone, Debug)]
struct Plan {
    verb: KvVerb,
    key: &'static str,
    value: u8,
    /// 0: none, 1: the index before the transaction, 2: a wrong one.
    guess: u8,
    session: &'static str,
}

fn plan() -> impl Strategy<Value = Plan> {
    let verb = prop::sample::select(VERBS.to_vec()).prop_map(KvVerb::from);
    let key = prop::sample::select(vec!["a", "a/b", "a/c", "ab", "b"]);
    let session = prop::sample::select(vec!["one", "two", "none", ""]);
    (verb, key, 0..2u8, 0..3u8, session).prop_map(|(verb, key, value, guess, session)| Plan {
        verb,
        key,
        value,
        guess,
        session,
    })
}

#[derive(Clone, Debug, PartialEq)]
struct Held {
    value: u8,
    session: String,
    locks: u64,
    created: u64,
    modified: u64,
}

type Map = BTreeMap<String, Held>;

/// A row of the answer: the key with its value if that is told, and its index.
type Told = (String, Option<u8>, u64);

/// What the reference says about one operation (`reference/http-api.md` 3.3). An error
/// is told as nothing.
fn step(map: &mut Map, plan: &Plan, expected: u64, index: u64) -> Option<Vec<Told>> {
    let key = plan.key.to_owned();
    let present = map.get(&key).cloned();
    let modified = present.as_ref().map_or(0, |held| held.modified);
    let holder = present.as_ref().map(|held| held.session.clone());
    let mut write = |session: String, locks: u64, always: bool| {
        let created = present.as_ref().map_or(index, |held| held.created);
        let mut held = Held { value: plan.value, session, locks, created, modified };
        if always || present.as_ref() != Some(&held) {
            held.modified = index;
        }
        let told = (key.clone(), None, held.modified);
        map.insert(key.clone(), held);
        Some(vec![told])
    };
    let told = |held: &Held, value: bool| {
        vec![(plan.key.to_owned(), value.then_some(held.value), held.modified)]
    };
    match &plan.verb {
        KvVerb::Set => write(holder.unwrap_or_default(), 0, false),
        KvVerb::Cas if modified == expected => write(holder.unwrap_or_default(), 0, false),
        KvVerb::Cas => None,
        KvVerb::Lock if !["one", "two"].contains(&plan.session) => None,
        KvVerb::Lock => match &present {
            Some(held) if held.session == plan.session => {
                write(plan.session.to_owned(), held.locks, false)
            }
            Some(held) if !held.session.is_empty() => None,
            held => write(plan.session.to_owned(), held.as_ref().map_or(0, |h| h.locks) + 1, false),
        },
        KvVerb::Unlock => match &present {
            Some(held) if !plan.session.is_empty() && held.session == plan.session => {
                write(String::new(), held.locks, true)
            }
            _ => None,
        },
        KvVerb::Delete => {
            map.remove(plan.key);
            Some(vec![])
        }
        KvVerb::DeleteCas if present.is_some() && modified != expected => None,
        KvVerb::DeleteCas => {
            map.remove(plan.key);
            Some(vec![])
        }
        KvVerb::DeleteTree => {
            map.retain(|held, _| !held.starts_with(plan.key));
            Some(vec![])
        }
        KvVerb::Get => present.as_ref().map(|held| told(held, true)),
        KvVerb::GetOrEmpty => Some(
            present.as_ref().map_or(vec![(plan.key.to_owned(), None, 0)], |held| told(held, true)),
        ),
        KvVerb::GetTree => Some(
            map.iter()
                .filter(|(held, _)| held.starts_with(plan.key))
                .map(|(key, held)| (key.clone(), Some(held.value), held.modified))
                .collect(),
        ),
        KvVerb::CheckSession => present
            .as_ref()
            .filter(|held| held.session == plan.session)
            .map(|held| told(held, false)),
        KvVerb::CheckIndex => {
            present.as_ref().filter(|held| held.modified == expected).map(|held| told(held, false))
        }
        KvVerb::CheckNotExists => present.is_none().then(Vec::new),
        KvVerb::Unknown(_) => None,
    }
}

fn rows(store: &Store) -> Map {
    let state = store.snapshot();
    let held = state.prefix(&KVS, b"").map(|row| {
        let held = Held {
            value: row.value[0],
            session: row.session.as_str().to_owned(),
            locks: row.lock_index,
            created: row.create_index.0,
            modified: row.modify_index.0,
        };
        (row.key.to_string(), held)
    });
    held.collect()
}

fn told(results: &[TxnResult]) -> Vec<Told> {
    let told = results.iter().map(|result| match result {
        TxnResult::Kv(entry) => {
            (entry.key.to_string(), entry.value.first().copied(), entry.modify_index.0)
        }
        other => panic!("not a key: {other:?}"),
    });
    told.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_transaction_is_all_or_nothing(
        transactions in prop::collection::vec(prop::collection::vec(plan(), 1..6), 1..25)
    ) {
        let store = Store::new(&domains::tables());
        for id in ["one", "two"] {
            let session = Session { id: id.into(), ..Session::default() };
            store.write(|batch| batch.tx(Index(1)).put(&SESSIONS, session));
        }
        let mut model = Map::new();
        for (number, plans) in transactions.into_iter().enumerate() {
            let index = number as u64 + 2;
            let expected = |plan: &Plan| match plan.guess {
                0 => 0,
                1 => model.get(plan.key).map_or(7_000, |held| held.modified),
                _ => 9_000,
            };
            let ops: Vec<TxnOp> = plans
                .iter()
                .map(|plan| {
                    let entry = KvEntry {
                        key: Arc::from(plan.key),
                        value: bytes::Bytes::from(vec![plan.value]).into(),
                        session: plan.session.into(),
                        modify_index: Index(expected(plan)),
                        ..KvEntry::default()
                    };
                    let kv = Some(TxnKvOp { verb: plan.verb.clone(), entry });
                    TxnOp { kv, ..TxnOp::default() }
                })
                .collect();

            let mut copy = model.clone();
            let mut wanted_rows = Vec::new();
            let mut wanted_errors = Vec::new();
            for (at, plan) in (0..).zip(&plans) {
                match step(&mut copy, plan, expected(plan), index) {
                    Some(rows) => wanted_rows.extend(rows),
                    None => wanted_errors.push(at),
                }
            }
            if wanted_errors.is_empty() {
                model = copy;
            } else {
                wanted_rows.clear();
            }

            let (results, errors) = match ops.iter().map(ReadOp::of).collect::<Option<Vec<_>>>() {
                Some(ops) => {
                    let state = store.snapshot();
                    let found = contract::Query::run(&TxnRead { ops }, &mut Reader::new(&state));
                    (found.reply.results, found.reply.errors)
                }
                None => {
                    let command = TxnCommand { ops, ..TxnCommand::default() };
                    let apply = |command: &TxnCommand| {
                        store.write(|batch| Command::apply(command, &mut batch.tx(Index(index))))
                    };
                    let reply = apply(&command).expect("what is refused is a reply");
                    (reply.results, reply.errors)
                }
            };
            let errors: Vec<u64> = errors.iter().map(|error| error.op_index).collect();
            prop_assert_eq!(&errors, &wanted_errors, "{:?}", &plans);
            prop_assert_eq!(told(&results), wanted_rows, "{:?}", &plans);
            prop_assert_eq!(rows(&store), model.clone(), "{:?}", &plans);
        }
    }
}
