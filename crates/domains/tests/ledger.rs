//! What must hold across all domains.

use std::collections::BTreeSet;

use domains::ALL;

/// Asserts that a list names nothing twice.
fn assert_unique<T: Ord + std::fmt::Debug>(what: &str, names: impl IntoIterator<Item = T>) {
    let mut seen = BTreeSet::new();
    for name in names {
        let text = format!("{name:?}");
        assert!(seen.insert(name), "{what} {text} is there twice");
    }
}

#[test]
fn names_tags_and_routes_are_unique() {
    assert_unique("domain", ALL.iter().map(|domain| domain.name));
    assert_unique("table", domains::tables().iter().map(|table| table.name()));
    let commands = || ALL.iter().flat_map(|domain| domain.commands);
    assert_unique("raft tag", commands().map(|command| command.tag));
    assert_unique("RPC name", commands().map(|command| command.name));
    let records = ALL.iter().flat_map(|domain| domain.records);
    assert_unique("snapshot tag", records.map(|record| record.tag));
    let routes = || ALL.iter().flat_map(|domain| domain.routes);
    assert_unique("route", routes().map(|route| route.path));
    for route in routes() {
        assert!(route.path.starts_with("/v1/"), "{} is not an API path", route.path);
        let methods = route.verbs.iter().map(|verb| format!("{:?}", verb.method));
        assert_unique(&format!("method of {}", route.path), methods);
    }
}

#[test]
fn a_state_of_all_tables_can_be_laid_out() {
    let state = store::State::new(&domains::tables());
    assert_eq!(state.version(), 0);
}
