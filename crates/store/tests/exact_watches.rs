//! The store against a model: rows, indexes, and which watches fire.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use store::{Key, KeyBuilder, Reader, Secondary, Store, Subscription, Table};
use types::Index;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    key: String,
    tag: String,
    value: u32,
}

const ROWS: Table<Row> = Table::with(
    "rows",
    |row| Arc::from(row.key.as_bytes()),
    &[Secondary { name: "tag", keys: |row, file| file(KeyBuilder::new().text(&row.tag)) }],
);

const BY_TAG: usize = 0;

#[derive(Clone, Debug)]
enum Step {
    Put(Row),
    Delete(String),
    /// Puts and takes it back by going back to a mark.
    PutAndRollBack(Row),
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "ab", "abc", "b", "b/", "b/c", "c"]).prop_map(String::from)
}

fn row() -> impl Strategy<Value = Row> {
    (word(), word(), 0..3u32).prop_map(|(key, tag, value)| Row { key, tag, value })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => row().prop_map(Step::Put),
        2 => word().prop_map(Step::Delete),
        1 => row().prop_map(Step::PutAndRollBack),
    ]
}

fn run(store: &Store, index: u64, step: &Step) {
    store.write(|batch| {
        let mut tx = batch.tx(Index(index));
        match step {
            Step::Put(row) => drop(tx.put(&ROWS, row.clone())),
            Step::Delete(key) => drop(tx.delete(&ROWS, key.as_bytes())),
            Step::PutAndRollBack(row) => {
                let mark = tx.mark();
                tx.put(&ROWS, row.clone());
                tx.roll_back(mark);
            }
        }
    });
}

fn apply(model: &mut BTreeMap<String, Row>, step: &Step) {
    match step {
        Step::Put(row) => drop(model.insert(row.key.clone(), row.clone())),
        Step::Delete(key) => drop(model.remove(key)),
        Step::PutAndRollBack(_) => {}
    }
}

/// A read that is repeated after each step, with the subscription of its last run.
enum Watched {
    Exact(String),
    Prefix(String),
    Tag(String),
}

impl Watched {
    fn read(&self, store: &Store) -> (Vec<Row>, Subscription) {
        let state = store.snapshot();
        let mut reader = Reader::new(&state);
        let rows: Vec<Row> = match self {
            Watched::Exact(key) => {
                reader.get(&ROWS, key.as_bytes()).iter().map(|row| Row::clone(row)).collect()
            }
            Watched::Prefix(prefix) => {
                reader.prefix(&ROWS, prefix.as_bytes()).map(|row| Row::clone(&row)).collect()
            }
            Watched::Tag(tag) => {
                let key = KeyBuilder::new().text(tag);
                reader
                    .secondary(&ROWS, BY_TAG, key.as_bytes())
                    .map(|row| Row::clone(&row))
                    .collect()
            }
        };
        let (subscription, version) = store.subscribe(reader.into_watch_set());
        assert_eq!(version, state.version(), "nobody else writes");
        (rows, subscription)
    }

    fn expected(&self, model: &BTreeMap<String, Row>) -> Vec<Row> {
        let wanted = |row: &&Row| match self {
            Watched::Exact(key) => row.key == *key,
            Watched::Prefix(prefix) => row.key.starts_with(prefix),
            Watched::Tag(tag) => row.tag == *tag,
        };
        model.values().filter(wanted).cloned().collect()
    }

    /// Whether a step touches what is watched: a row that is there before or after.
    fn touched_by(&self, before: &BTreeMap<String, Row>, step: &Step) -> bool {
        let of = |row: &Row| match self {
            Watched::Exact(key) => row.key == *key,
            Watched::Prefix(prefix) => row.key.starts_with(prefix),
            Watched::Tag(tag) => row.tag == *tag,
        };
        match step {
            Step::Put(row) => of(row) || before.get(&row.key).is_some_and(of),
            Step::Delete(key) => before.get(key).is_some_and(of),
            Step::PutAndRollBack(_) => false,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_watch_fires_exactly_when_what_it_read_is_touched(
        steps in prop::collection::vec(step(), 1..40)
    ) {
        let store = Store::new(&[&ROWS]);
        let mut model = BTreeMap::new();
        let watched: Vec<Watched> = ["", "a", "ab", "b/", "zz"]
            .iter()
            .flat_map(|word| {
                let word = (*word).to_owned();
                [Watched::Exact(word.clone()), Watched::Prefix(word.clone()), Watched::Tag(word)]
            })
            .collect();
        let mut index = 0;
        for step in &steps {
            let before: Vec<_> = watched.iter().map(|watched| watched.read(&store)).collect();
            let model_before = model.clone();
            index += 1;
            run(&store, index, step);
            apply(&mut model, step);
            for (watched, (rows, subscription)) in watched.iter().zip(before) {
                prop_assert_eq!(&rows, &watched.expected(&model_before));
                prop_assert_eq!(subscription.has_fired(), watched.touched_by(&model_before, step));
            }
        }
        prop_assert_eq!(store.watched_spans(), 0, "dropped subscriptions leave nothing behind");
    }

    #[test]
    fn a_snapshot_never_changes(steps in prop::collection::vec(step(), 2..40), at in 0..40usize) {
        let store = Store::new(&[&ROWS]);
        let mut model = BTreeMap::new();
        let mut kept = None;
        for (number, step) in steps.iter().enumerate() {
            if number == at % steps.len() {
                kept = Some((store.snapshot(), model.clone()));
            }
            run(&store, number as u64 + 1, step);
            apply(&mut model, step);
        }
        let (snapshot, expected) = kept.expect("one step was chosen");
        let rows: Vec<Row> = snapshot.prefix(&ROWS, b"").map(|row| Row::clone(&row)).collect();
        prop_assert_eq!(rows, expected.into_values().collect::<Vec<_>>());
    }
}

#[test]
fn a_replaced_state_fires_every_watch() {
    let store = Store::new(&[&ROWS]);
    let (_, subscription) = Watched::Exact("nothing".to_owned()).read(&store);
    store.replace(store::State::new(&[&ROWS]));
    assert!(subscription.has_fired());
}

#[test]
fn a_waiter_is_woken_by_the_commit_it_waits_for() {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    let store = Store::new(&[&ROWS]);
    let (_, subscription) = Watched::Prefix("a".to_owned()).read(&store);
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    let mut fired = pin!(subscription.fired());
    assert_eq!(fired.as_mut().poll(&mut context), Poll::Pending);
    let put = |key: &str| {
        let row = Row { key: key.to_owned(), tag: String::new(), value: 1 };
        run(&store, 1, &Step::Put(row));
    };
    put("b");
    assert_eq!(count.0.load(Ordering::SeqCst), 0, "an unrelated commit wakes nobody");
    put("ab");
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert_eq!(fired.as_mut().poll(&mut context), Poll::Ready(()));
}

#[test]
fn rows_are_found_by_keys_in_order() {
    let store = Store::new(&[&ROWS]);
    for key in ["b", "a", "ab"] {
        let row = Row { key: key.to_owned(), tag: "t".to_owned(), value: 0 };
        run(&store, 1, &Step::Put(row));
    }
    let state = store.snapshot();
    let keys: Vec<Key> =
        state.prefix(&ROWS, b"").map(|row| Arc::from(row.key.as_bytes())).collect();
    assert_eq!(keys, [Arc::from(&b"a"[..]), Arc::from(&b"ab"[..]), Arc::from(&b"b"[..])]);
    assert_eq!(state.len(&ROWS), 3);
}

proptest! {
    #[test]
    fn the_longest_key_that_a_text_begins_with_is_found(
        keys in prop::collection::btree_set("[ab]{0,5}|[abc/]{0,3}", 0..12),
        text in "[ab/c]{0,6}",
    ) {
        let store = Store::new(&[&ROWS]);
        store.write(|batch| {
            let mut tx = batch.tx(Index(1));
            for key in &keys {
                tx.put(&ROWS, Row { key: key.clone(), tag: String::new(), value: 0 });
            }
        });
        let found = store.snapshot().longest_prefix(&ROWS, text.as_bytes());
        let model = keys.iter().filter(|key| text.starts_with(key.as_str())).max_by_key(|key| key.len());
        prop_assert_eq!(found.as_ref().map(|row| &row.key), model);
    }
}
