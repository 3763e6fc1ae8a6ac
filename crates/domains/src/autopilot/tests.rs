//! Commands, reads and snapshots, case by case.

use acl::Authorizer;
use contract::{AnyCommand, Command, Query};
use store::{Reader, State, Store};
use types::autopilot::AutopilotConfiguration;
use types::{Index, msgpack};

use super::*;

fn set(store: &Store, index: u64, command: &AutopilotSet) -> bool {
    let applied = store.write(|batch| Command::apply(command, &mut batch.tx(Index(index))));
    applied.expect("it cannot fail")
}

fn with_quorum(min_quorum: u64) -> AutopilotSet {
    let config = AutopilotConfiguration { min_quorum, ..AutopilotConfiguration::default() };
    AutopilotSet { config, ..AutopilotSet::default() }
}

fn when(modified: u64, command: AutopilotSet) -> AutopilotSet {
    let config = AutopilotConfiguration { modify_index: Index(modified), ..command.config };
    AutopilotSet { cas: true, config, ..command }
}

#[test]
fn a_configuration_is_replaced_or_compared_first() {
    let store = Store::new(&crate::tables());
    let now = |store: &Store| {
        let state = store.snapshot();
        configuration(&state).map(|c| (c.min_quorum, c.create_index.0, c.modify_index.0))
    };
    assert!(!set(&store, 3, &when(0, with_quorum(1))));
    assert_eq!(now(&store), None);
    assert!(set(&store, 4, &with_quorum(1)));
    assert_eq!(now(&store), Some((1, 4, 4)));
    assert!(!set(&store, 5, &when(3, with_quorum(2))));
    assert!(set(&store, 6, &when(4, with_quorum(2))));
    assert_eq!(now(&store), Some((2, 4, 6)));
    assert!(set(&store, 7, &with_quorum(3)));
    assert_eq!(now(&store), Some((3, 4, 7)));
    assert_eq!(store.snapshot().index_of("autopilot-config"), Index(7));
}

#[test]
fn reading_before_there_is_one_says_so() {
    let store = Store::new(&crate::tables());
    let read = |store: &Store| {
        let state = store.snapshot();
        let found = AutopilotGet.run(&mut Reader::new(&state));
        AutopilotGet.refine(found.reply).map(|found| found.map(|c| c.min_quorum))
    };
    assert!(read(&store).is_err());
    set(&store, 1, &with_quorum(5));
    assert_eq!(read(&store), Ok(Some(5)));
}

#[test]
fn operators_alone_may_see_and_change_it() {
    let (store, nobody) = (Store::new(&crate::tables()), Authorizer::deny_all());
    assert!(AutopilotGet.authorize(&nobody).is_err());
    assert!(Command::authorize(&with_quorum(1), &nobody, &store).is_err());
}

#[test]
fn commands_and_snapshots_are_those_of_consul() {
    let command = when(4, with_quorum(3));
    let bytes = AnyCommand::encode(&command);
    assert_eq!(bytes[0], 9);
    assert_eq!(msgpack::from_slice::<AutopilotSet>(&bytes[1..]), Ok(command));

    let store = Store::new(&crate::tables());
    let [record] = DOMAIN.records else { panic!("it is one kind of record") };
    let save = |state: &State| {
        let mut records = Vec::new();
        (record.save)(state, &mut |bytes| records.push(bytes.to_vec()));
        records
    };
    assert!(save(&store.snapshot()).is_empty());
    set(&store, 4, &with_quorum(3));
    let records = save(&store.snapshot());
    let mut state = State::new(&crate::tables());
    let restored: Result<(), msgpack::Error> =
        state.fill(Index(9), |tx| records.iter().try_for_each(|bytes| (record.restore)(bytes, tx)));
    assert_eq!(restored, Ok(()));
    assert_eq!(configuration(&state), configuration(&store.snapshot()));
    assert_eq!(save(&state), records);
}
