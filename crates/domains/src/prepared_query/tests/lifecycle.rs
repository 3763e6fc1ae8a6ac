//! Storing, finding, hiding and losing queries.

use types::SessionId;
use types::catalog::DeregisterRequest;
use types::session::Session;

use super::*;
use crate::catalog::Deregister;
use crate::session::{SessionCommand, SessionOp, SessionReply};

const NODE: &str = r#"{"Node": "n", "Address": "10.0.0.1"}"#;

fn world() -> World {
    let mut world = World::new(&["dc1"]);
    world.register_in(0, NODE);
    world
}

fn open_session(world: &mut World) -> SessionId {
    let session = Session { node: "n".into(), ..Session::default() };
    match world.run(SessionCommand { session, ..SessionCommand::default() }) {
        Ok(SessionReply::Created { id }) => id,
        other => panic!("{other:?}"),
    }
}

fn bound_to(name: &str, session: &SessionId) -> String {
    format!(r#"{{"Name": "{name}", "Session": "{session}", "Service": {{"Service": "web"}}}}"#)
}

#[test]
fn a_query_goes_away_with_its_session() {
    let mut world = world();
    let (first, second) = (open_session(&mut world), open_session(&mut world));
    world.create(&bound_to("a", &first)).unwrap();
    world.create(&bound_to("", &first)).unwrap();
    world.create(&bound_to("b", &second)).unwrap();
    let template = r#"{"Name": "t", "Session": "SESSION", "Template": {"Type": "name_prefix_match"},
        "Service": {"Service": "${name.suffix}"}}"#;
    world.create(&template.replace("SESSION", first.as_str())).unwrap();
    assert_eq!(world.explain("tx").unwrap().service.service.as_str(), "x");
    let session = Session { id: first, ..Session::default() };
    let op = SessionOp::Destroy;
    world.run(SessionCommand { op, session, ..SessionCommand::default() }).unwrap();
    assert_eq!(world.names(), ["b"]);
    assert_eq!(world.explain("tx").unwrap_err(), "Query not found");
    let index = world.store().snapshot().index_of(PREPARED_QUERIES.name);
    assert_eq!(index, Index(world.index), "who waits for the list is woken");
    // The session of the other goes with its node.
    let node = DeregisterRequest { node: "n".into(), ..DeregisterRequest::default() };
    world.run(Deregister(node)).unwrap();
    assert_eq!(world.names(), [] as [&str; 0]);
}

#[test]
fn a_query_needs_a_session_that_is_there() {
    let mut world = world();
    let refused = world.create(&bound_to("a", &SessionId::from("zz")));
    assert_eq!(refused.unwrap_err(), r#"raft apply failed: invalid session "zz""#);
    assert_eq!(world.names(), [] as [&str; 0]);
}

#[test]
fn no_two_queries_answer_to_one_name() {
    let mut world = world();
    let named = |name: &str| format!(r#"{{"Name": "{name}", "Service": {{"Service": "web"}}}}"#);
    let template = |name: &str| {
        format!(
            r#"{{"Name": "{name}", "Template": {{"Type": "name_prefix_match"}},
                "Service": {{"Service": "web"}}}}"#
        )
    };
    let id = world.create(&named("Foo")).unwrap();
    world.create(&template("Tp")).unwrap();
    world.create(&template("")).unwrap();
    let cases = [
        (named("foo"), "name 'foo' aliases an existing query name"),
        (template("foo"), "name 'foo' aliases an existing query name"),
        (named("tp"), "name 'tp' aliases an existing query name"),
        (template("TP"), "name 'TP' aliases an existing query name"),
        (template(""), "a query template with an empty name already exists"),
    ];
    for (text, refusal) in cases {
        assert_eq!(world.create(&text).unwrap_err(), format!("raft apply failed: {refusal}"));
    }
    let upper = id.to_uppercase();
    let refusal = format!("raft apply failed: name '{upper}' aliases an existing query ID");
    assert_eq!(world.create(&named(&upper)).unwrap_err(), refusal);
    // A query may keep its own name, and take another.
    let mut query = definition(&named("FOO"));
    query.id = upper;
    let done = Ok(PreparedQueryReply::Done(id.clone()));
    assert_eq!(world.apply(PreparedQueryOp::Update, query.clone()), done);
    query.name = "tp".to_owned();
    assert!(world.apply(PreparedQueryOp::Update, query.clone()).is_err());
    query.name = "bar".to_owned();
    assert_eq!(world.apply(PreparedQueryOp::Update, query), done);
    assert_eq!(world.explain("bar").unwrap().id, id);
    assert_eq!(world.explain("foo").unwrap().name, "", "the template for every name");
}

#[test]
fn a_change_keeps_the_id_and_the_index_of_the_creation() {
    let mut world = world();
    let id = world.create(r#"{"Name": "a", "Service": {"Service": "web"}}"#).unwrap();
    let before = world.explain("a").unwrap();
    assert_eq!(before.create_index, before.modify_index);
    let mut changed =
        definition(r#"{"Name": "a", "Service": {"Service": "db"}, "CreateIndex": 77}"#);
    changed.id = id.to_uppercase();
    world.apply(PreparedQueryOp::Update, changed).unwrap();
    let after = world.explain("a").unwrap();
    assert_eq!((after.id, after.create_index), (before.id, before.create_index));
    assert_eq!(after.modify_index, Index(world.index));
    assert_eq!(after.service.service.as_str(), "db");
}

#[test]
fn a_template_that_becomes_a_plain_query_answers_to_its_own_name_alone() {
    let mut world = world();
    let template = r#"{"Name": "t", "Template": {"Type": "name_prefix_match"},
        "Service": {"Service": "${name.full}"}}"#;
    let id = world.create(template).unwrap();
    assert!(world.explain("tx").is_ok());
    assert_eq!(
        world.explain(&id).unwrap_err(),
        "prepared query templates can only be resolved up by name, not by ID"
    );
    let mut plain = definition(r#"{"Name": "t", "Service": {"Service": "${name.full}"}}"#);
    plain.id = id.clone();
    world.apply(PreparedQueryOp::Update, plain).unwrap();
    assert_eq!(world.explain("tx").unwrap_err(), "Query not found");
    assert_eq!(world.explain(&id).unwrap().service.service.as_str(), "${name.full}");
    world.delete(&id).unwrap();
    assert_eq!(world.explain("t").unwrap_err(), "Query not found");
}

#[test]
fn what_is_not_there_cannot_be_changed() {
    let mut world = world();
    let missing = "00000000-0000-0000-0000-000000000009";
    let expected = format!("Cannot modify non-existent prepared query: '{missing}'");
    assert_eq!(world.delete(missing).unwrap_err(), expected);
    assert_eq!(
        world.delete("all-shops").unwrap_err(),
        "Prepared Query lookup failed: failed prepared query lookup: index error: UUID must be 36 \
         characters"
    );
    let get = |id: &str| world.ask(&PreparedQueryGet { id: id.to_owned() }).map(drop).unwrap_err();
    assert_eq!(get(missing), "Query not found");
    assert_eq!(get("x"), "failed prepared query lookup: index error: UUID must be 36 characters");
}

#[test]
fn those_without_permission_see_and_change_nothing_that_has_a_name() {
    let mut world = world();
    let session = open_session(&mut world);
    let id = world.create(r#"{"Name": "a", "Service": {"Service": "web"}}"#).unwrap();
    let unnamed = r#"{"Session": "SESSION", "Token": "secret", "Service": {"Service": "web"}}"#;
    let unnamed = world.create(&unnamed.replace("SESSION", session.as_str())).unwrap();
    world.who = Authorizer::deny_all();
    assert_eq!(world.names(), [] as [&str; 0]);
    assert!(world.explain("a").unwrap_err().contains("lacks permission 'query:read' on \"a\""));
    assert!(world.delete(&id).unwrap_err().contains("lacks permission 'query:write' on \"a\""));
    let refused = world.create(r#"{"Name": "b", "Service": {"Service": "web"}}"#).unwrap_err();
    assert!(refused.contains("lacks permission 'query:write' on \"b\""));
    // Who knows the id of one without a name may do with it what he likes.
    let shown = world.explain(&unnamed).unwrap();
    assert_eq!(shown.token.as_str(), "<hidden>");
    assert_eq!(world.delete(&unnamed), Ok(PreparedQueryReply::Done(unnamed)));
    // Everybody may execute, and sees what he may see of the catalog.
    assert_eq!(world.execute_name("a").unwrap().nodes.len(), 0);
}

#[test]
fn a_snapshot_brings_back_templates_and_names() {
    let mut world = world();
    world.create(r#"{"Name": "a", "Service": {"Service": "web"}}"#).unwrap();
    let template = r#"{"Name": "t", "Template": {"Type": "name_prefix_match"},
        "Service": {"Service": "${name.suffix}"}}"#;
    world.create(template).unwrap();
    let [record] = DOMAIN.records else { panic!("queries have one kind of record") };
    let mut saved = Vec::new();
    (record.save)(&world.store().snapshot(), &mut |bytes| saved.push(bytes.to_vec()));
    let mut state = store::State::new(&crate::tables());
    state.fill(Index(9), |tx| {
        for bytes in &saved {
            (record.restore)(bytes, tx).expect("it was saved");
        }
    });
    let again = World::new(&["dc1"]);
    again.store().replace(state);
    assert_eq!(again.names(), world.names());
    for name in ["a", "tx"] {
        assert_eq!(again.explain(name), world.explain(name));
    }
}

#[test]
fn a_command_of_the_log_is_read_as_consul_writes_it() {
    // {Datacenter: "dc1", Op: "delete", Query: {ID: "x"}, Token: ""}
    let bytes = b"\x84\xaaDatacenter\xa3dc1\xa2Op\xa6delete\xa5Query\x81\xa2ID\xa1x\xa5Token\xa0";
    let command: PreparedQueryCommand = types::msgpack::from_slice(bytes).unwrap();
    assert_eq!(command.op, PreparedQueryOp::Delete);
    assert_eq!(command.query.id, "x");
    assert_eq!(AnyCommand::encode(&command)[0], 7);
}
