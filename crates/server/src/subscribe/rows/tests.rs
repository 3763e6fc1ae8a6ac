use std::fmt::Write as _;

use grpc::messages::SubscribeRequest;
use types::ServiceId;
use types::catalog::{Node, NodeService};
use types::check::{HealthCheck, Status};

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(digits).collect()
}

fn instance(node: &str, id: &str, status: &str) -> CheckServiceNode {
    let check = HealthCheck { status: Status::from(status), ..HealthCheck::default() };
    CheckServiceNode {
        node: Arc::new(Node { node: node.into(), ..Node::default() }),
        service: Arc::new(NodeService {
            id: id.into(),
            service: "web".into(),
            ..NodeService::default()
        }),
        checks: vec![Arc::new(check)],
    }
}

fn rows(instances: &[CheckServiceNode]) -> Rows {
    rows_of(&instances.to_vec())
}

fn services(names: &[&str]) -> Rows {
    let keyed =
        |name: &&str| ((name.to_string(), ServiceId::EMPTY), Row::Service(name.to_string()));
    names.iter().map(keyed).collect()
}

/// `reference/grpc-and-xds.md` section 12.
#[test]
fn messages_are_those_that_real_consul_wrote() {
    let nobody = Rows::new();
    let all = Authorizer::allow_all();
    let of_none: Vec<String> =
        snapshot(Index(200), &all, &nobody).iter().map(|bytes| hex(bytes)).collect();
    assert_eq!(of_none, ["08c8011001"]);
    assert_eq!(hex(&new_snapshot_to_follow()), "1801");
    let list: Vec<String> = snapshot(Index(144), &all, &services(&["consul", "db", "web"]))
        .iter()
        .map(|bytes| hex(bytes))
        .collect();
    let real = "089001222c 0a0f089001620a1206636f6e73756c1a00 0a0b0890016206120264621a00 \
                0a0c089001620712037765621a00";
    let [told, end] = list.try_into().expect("a batch and the end");
    assert_eq!(told, hex(&unhex(real)));
    assert_eq!(end, "0890011001");
}

#[test]
fn requests_of_real_consul_are_read_as_what_they_ask_for() {
    use grpc::messages::subscribe_request::Subject as Named;
    for (bytes, topic, index, key) in [
        ("08012a0364633152060a046e6f6e65", 1, 0, Some("none")),
        ("080120052a0364633152060a046e6f6e65", 1, 5, Some("none")),
        ("08072a036463314801", 7, 0, None),
    ] {
        let bytes = unhex(bytes);
        let request = SubscribeRequest::decode(&*bytes).expect("it is a request");
        let named = match &request.subject {
            Some(Named::NamedSubject(named)) => Some(named.key.as_str()),
            Some(Named::WildcardSubject(true)) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!((request.topic, request.index, named), (topic, index, key));
        assert_eq!(request.datacenter, "dc1");
        assert_eq!(request.encode_to_vec(), bytes);
    }
}

#[test]
fn what_changed_is_told_and_nothing_else() {
    let (a, b, c) = (
        instance("n1", "web", "passing"),
        instance("n2", "web", "passing"),
        instance("n3", "web", "passing"),
    );
    let worse = instance("N2", "web", "critical");
    // Equal to what was there, and yet another allocation.
    let again = instance("n1", "web", "passing");
    let told = changes(&rows(&[a.clone(), b, c.clone()]), &rows(&[again, worse.clone()]));
    let gone = Change { op: CatalogOp::Deregister, row: Row::Instance(c) };
    let new = Change { op: CatalogOp::Register, row: Row::Instance(worse) };
    assert_eq!(told, [gone, new]);
    assert_eq!(changes(&rows(std::slice::from_ref(&a)), &rows(&[a])), []);
    assert_eq!(batch(Index(7), &[]), None);
}

#[test]
fn two_instances_of_a_node_are_two_rows_whatever_their_names() {
    let told =
        rows(&[instance("a", "b\0c", ""), instance("a\0b", "c", ""), instance("a", "b", "")]);
    assert_eq!(told.len(), 3);
}

#[test]
fn a_large_snapshot_comes_in_pieces() {
    let mut all = Vec::new();
    for number in 0..300 {
        let mut row = instance(&format!("n{number:03}"), "web", "passing");
        let checks =
            vec![Arc::new(HealthCheck { output: "x".repeat(10_000), ..HealthCheck::default() })];
        row.checks = checks;
        all.push(row);
    }
    let pieces = snapshot(Index(9), &Authorizer::allow_all(), &rows(&all));
    assert_eq!(pieces.len(), 4, "three of about a megabyte, and the end");
    let mut seen = 0;
    for piece in &pieces {
        assert!(piece.len() < PIECE_BYTES + 10_000);
        let event = Event::decode(&**piece).expect("it is an event");
        assert_eq!(event.index, 9);
        if let Some(Payload::EventBatch(batch)) = event.payload {
            assert!(batch.events.iter().all(|event| event.index == 9));
            seen += batch.events.len();
        }
    }
    assert_eq!(seen, 300);
}
