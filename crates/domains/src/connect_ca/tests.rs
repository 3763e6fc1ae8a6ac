//! Commands as tables, snapshots, and the answers of the routes.

use std::sync::Arc;
use std::time::Duration;

use acl::Authorizer;
use contract::response::Body;
use contract::{
    AgentFacts, AnyCommand, CacheKind, Call, Command, Encoding, Facts, Params, Query, Request, Show,
};
use http::{HeaderMap, Method};
use store::{Reader, State, Store};
use types::connect_ca::{CaConfiguration, CaProviderState, CaRoot};
use types::{Index, Timestamp};

use super::*;

fn root(id: &str, active: bool) -> CaRoot {
    CaRoot {
        id: id.to_owned(),
        name: "Consul CA Primary Cert".to_owned(),
        serial_number: 7,
        signing_key_id: "cc:dd".to_owned(),
        external_trust_domain: "u-1".to_owned(),
        not_before: Timestamp::from_unix_nanos(0),
        not_after: Timestamp::from_unix_nanos(1_000_000_000),
        root_cert: format!("-----BEGIN {id}-----\n"),
        signing_key: "hidden key".to_owned(),
        signing_cert: "hidden cert".to_owned(),
        active,
        private_key_type: "ec".to_owned(),
        private_key_bits: 256,
        ..CaRoot::default()
    }
}

fn config(cluster_id: &str, modify_index: u64) -> CaConfiguration {
    CaConfiguration {
        cluster_id: cluster_id.to_owned(),
        provider: "consul".to_owned(),
        config: Some([("LeafCertTTL".to_owned(), "72h".into())].into()),
        modify_index: Index(modify_index),
        ..CaConfiguration::default()
    }
}

fn set_roots_config(index: u64, config_index: u64, roots: Vec<CaRoot>) -> CaCommand {
    CaCommand {
        op: CaOp::SetRootsConfig,
        index: Index(index),
        config: Some(config("u-1", config_index)),
        roots: Some(roots),
        ..CaCommand::default()
    }
}

fn provider_state(op: CaOp) -> CaCommand {
    let state = CaProviderState {
        id: "p".to_owned(),
        private_key: "hidden key".to_owned(),
        ..CaProviderState::default()
    };
    CaCommand { op, provider_state: Some(state), ..CaCommand::default() }
}

fn apply(store: &Store, index: u64, command: &CaCommand) -> Result<CaReply, String> {
    let applied = store.write(|batch| Command::apply(command, &mut batch.tx(Index(index))));
    applied.map_err(|error| error.text().to_owned())
}

fn store() -> Store {
    Store::new(&crate::tables())
}

#[test]
fn roots_and_configuration_change_together_or_not_at_all() {
    let store = store();
    let first = set_roots_config(0, 0, vec![root("aa", true)]);
    assert_eq!(apply(&store, 5, &first), Ok(CaReply::Done(true)));
    // A second leader that saw no root either.
    let late = set_roots_config(0, 0, vec![root("bb", true)]);
    assert_eq!(apply(&store, 6, &late), Ok(CaReply::Done(false)));
    // One that knows the roots and not the configuration, and the other way round.
    let half = set_roots_config(5, 0, vec![root("bb", true)]);
    assert_eq!(apply(&store, 7, &half), Ok(CaReply::Done(false)));
    let half = set_roots_config(0, 6, vec![root("bb", true)]);
    assert_eq!(apply(&store, 8, &half), Ok(CaReply::Done(false)));
    let state = store.snapshot();
    assert_eq!(state.len(&CA_ROOTS), 1);
    assert_eq!(state.index_of("connect-ca-roots"), Index(5));
    let config = state.peek(&CA_CONFIG, b"").map(|config| config.modify_index);
    assert_eq!(config, Some(Index(6)), "as real servers number it");

    let rotation = set_roots_config(5, 6, vec![root("aa", false), root("bb", true)]);
    assert_eq!(apply(&store, 9, &rotation), Ok(CaReply::Done(true)));
    let state = store.snapshot();
    let indexes: Vec<_> = state
        .peek_prefix(&CA_ROOTS, &[])
        .map(|root| (root.id.clone(), root.active, root.create_index.0, root.modify_index.0))
        .collect();
    assert_eq!(indexes, [("aa".to_owned(), false, 5, 9), ("bb".to_owned(), true, 9, 9)]);
}

#[test]
fn bad_changes_change_nothing() {
    let one_active = "there must be exactly one active CA root";
    let roots = |roots| CaCommand { roots, ..CaCommand::default() };
    let op = |op| CaCommand { op, ..CaCommand::default() };
    let cases = [
        (roots(None), one_active),
        (roots(Some(vec![root("aa", false)])), one_active),
        (roots(Some(vec![root("aa", true), root("bb", true)])), one_active),
        (roots(Some(vec![root("", true)])), "a CA root has no ID"),
        (op(CaOp::SetConfig), "the CA configuration is missing"),
        (op(CaOp::SetProviderState), "the CA provider state is missing"),
        (op(CaOp::DeleteProviderState), "the CA provider state is missing"),
    ];
    let store = store();
    for (command, error) in cases {
        assert_eq!(apply(&store, 5, &command), Err(error.to_owned()), "{command:?}");
    }
    assert_eq!(store.snapshot().index_of("connect-ca-roots"), Index::ZERO);
}

#[test]
fn the_cluster_id_is_chosen_once() {
    let store = store();
    let set = |id: &str, index| CaCommand {
        op: CaOp::SetConfig,
        config: Some(config(id, index)),
        ..CaCommand::default()
    };
    assert_eq!(apply(&store, 5, &set("u-1", 0)), Ok(CaReply::Done(true)));
    assert_eq!(apply(&store, 6, &set("u-2", 0)), Ok(CaReply::Done(true)));
    assert_eq!(apply(&store, 7, &set("u-3", 5)), Ok(CaReply::Done(false)));
    let state = store.snapshot();
    let stored = state.peek(&CA_CONFIG, b"").expect("it was set");
    assert_eq!(
        (stored.cluster_id.as_str(), stored.create_index, stored.modify_index),
        ("u-1", Index(5), Index(6))
    );
}

#[test]
fn serial_numbers_begin_at_the_log_index_and_count_up() {
    let store = store();
    let next = CaCommand { op: CaOp::IncrementProviderSerial, ..CaCommand::default() };
    assert_eq!(apply(&store, 7, &next), Ok(CaReply::Serial(7)));
    assert_eq!(apply(&store, 90, &next), Ok(CaReply::Serial(8)));
}

#[test]
fn nothing_prints_a_key() {
    let command =
        CaCommand { roots: Some(vec![root("aa", true)]), ..provider_state(CaOp::SetProviderState) };
    assert!(!format!("{command:?}").contains("hidden"));
}

#[test]
fn a_command_of_another_server_is_read() {
    // `reference/raft-and-snapshots.md` section 19.
    let hex = "87a6436f6e666967c0aa4461746163656e746572a0a5496e64657800a24f70b9696e6372656d656e742d70726f76696465722d73657269616cad50726f76696465725374617465c0a5526f6f7473c0a5546f6b656ea0";
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
        .collect();
    let command: CaCommand = types::msgpack::from_slice(&bytes).expect("it is sound");
    assert_eq!(command, CaCommand { op: CaOp::IncrementProviderSerial, ..CaCommand::default() });
    let full =
        CaCommand { roots: Some(vec![root("aa", true)]), ..provider_state(CaOp::SetProviderState) };
    let encoded = AnyCommand::encode(&full);
    assert_eq!(encoded[0], 13);
    assert_eq!(types::msgpack::from_slice::<CaCommand>(&encoded[1..]).expect("own words"), full);
}

#[test]
fn a_snapshot_brings_all_rows_back() {
    let before = store();
    apply(&before, 5, &set_roots_config(0, 0, vec![root("aa", false), root("bb", true)]))
        .expect("sound");
    apply(&before, 6, &provider_state(CaOp::SetProviderState)).expect("sound");
    let after = store();
    let (old, mut counted) = (before.snapshot(), 0);
    for record in DOMAIN.records {
        (record.save)(&old, &mut |bytes| {
            counted += 1;
            after
                .write(|batch| (record.restore)(bytes, &mut batch.tx(Index(9))))
                .expect("own words");
        });
    }
    assert_eq!(counted, 4);
    let rows = |state: &State| {
        (
            state.peek_prefix(&CA_ROOTS, &[]).cloned().collect::<Vec<_>>(),
            state.peek(&CA_CONFIG, b"").cloned(),
            state.peek(&CA_PROVIDER_STATE, b"p").cloned(),
        )
    };
    assert_eq!(rows(&old), rows(&after.snapshot()));
}

/// Index, body and content type of an answer.
fn get(
    store: &Store,
    path: &str,
    params: &[(&str, &str)],
    connect: bool,
) -> Result<(u64, CacheKind, String), String> {
    let pairs =
        params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let request = Request {
        method: Method::GET,
        path: path.to_owned(),
        tail: String::new(),
        params: Params::new(pairs),
        headers: HeaderMap::new(),
        body: bytes::Bytes::new(),
        token: "bogus".into(),
        remote: None,
        agent: Arc::new(AgentFacts {
            datacenter: "dc1".into(),
            node: "n1".into(),
            kv_max_value_size: 0,
            txn_max_req_len: 0,
            discovery_max_stale: Duration::ZERO,
            connect,
            coordinates: true,
            indents: false,
        }),
    };
    let route =
        DOMAIN.routes.iter().find(|route| route.path == path).expect("there is such a route");
    let call = (route.verbs[0].call)(&request)
        .map_err(|error| format!("{:?}: {}", error.kind(), error.text()))?;
    let Call::Read(read) = call else { panic!("roots are read") };
    assert_eq!(read.facts == Facts::Sent, matches!(read.show, Show::Json(_)));
    let state = store.snapshot();
    let found = CaRootsQuery.run(&mut Reader::new(&state));
    CaRootsQuery.authorize(&Authorizer::allow_all()).expect("all may");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let body = match read.show {
        Show::Json(encode) => text(&encode(&found.reply, Encoding::Compact)),
        Show::Custom(show) => match show(&found.reply, Encoding::Compact).body {
            Body::Bytes { content_type, bytes } => format!("{content_type}\n{}", text(&bytes)),
            other => panic!("not PEM: {other:?}"),
        },
        Show::WithFacts(_) => panic!("roots tell no facts"),
    };
    Ok((found.index.0, read.cache, body))
}

#[test]
fn the_routes_answer_as_recorded() {
    let (roots, agent) = ("/v1/connect/ca/roots", "/v1/agent/connect/ca/roots");
    let store = store();
    let empty = r#"{"ActiveRootID":"","TrustDomain":"","Roots":[]}"#;
    assert_eq!(get(&store, roots, &[], true), Ok((1, CacheKind::None, empty.to_owned())));

    apply(&store, 5, &set_roots_config(0, 0, vec![root("aa", true)])).expect("sound");
    let json = concat!(
        r#"{"ActiveRootID":"aa","TrustDomain":"u-1.consul","Roots":[{"ID":"aa","#,
        r#""Name":"Consul CA Primary Cert","SerialNumber":7,"SigningKeyID":"cc:dd","#,
        r#""ExternalTrustDomain":"u-1","NotBefore":"1970-01-01T00:00:00Z","NotAfter":"1970-01-01T00:00:01Z","#,
        r#""RootCert":"-----BEGIN aa-----\n","IntermediateCerts":null,"Active":true,"#,
        r#""PrivateKeyType":"ec","PrivateKeyBits":256,"CreateIndex":5,"ModifyIndex":5}]}"#,
    );
    assert_eq!(get(&store, roots, &[], true), Ok((5, CacheKind::None, json.to_owned())));
    assert_eq!(
        get(&store, roots, &[("pem", "false")], true),
        Ok((5, CacheKind::None, json.to_owned()))
    );
    assert_eq!(get(&store, agent, &[], true), Ok((5, CacheKind::Refreshed, json.to_owned())));
    let pem = "application/pem-certificate-chain\n-----BEGIN aa-----\n";
    assert_eq!(
        get(&store, roots, &[("pem", "true")], true),
        Ok((5, CacheKind::None, pem.to_owned()))
    );
    let error = "BadRequest: The 'pem' query parameter must be a boolean value";
    assert_eq!(get(&store, roots, &[("pem", "maybe")], true), Err(error.to_owned()));
    let error = "Failed: Connect must be enabled in order to use this endpoint";
    for path in [roots, agent] {
        assert_eq!(get(&store, path, &[], false), Err(error.to_owned()));
    }
}
