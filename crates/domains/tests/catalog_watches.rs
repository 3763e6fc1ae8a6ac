//! Whatever changes an answer moves its index and fires its watch.

use std::sync::Arc;

use acl::Authorizer;
use contract::{AnyCommand, AnyQuery, Query};
use domains::catalog::{
    CatalogNode, CatalogNodes, CatalogService, CatalogServices, Deregister, InstanceSelection,
    Register,
};
use domains::health::{
    HealthChecksOfService, HealthNode, HealthService, HealthState, InstanceHealth,
};
use proptest::prelude::*;
use serde::Serialize;
use store::{Reader, Store};
use types::Index;
use types::catalog::{DeregisterRequest, NodeService, RegisterRequest};
use types::check::{HealthCheck, Status};

#[derive(Clone, Debug)]
enum Step {
    Register { node: u8, address: u8, service: Option<(u8, u8)>, check: Option<(u8, bool, bool)> },
    DeregisterNode(u8),
    DeregisterService(u8, u8),
    DeregisterCheck(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let register = (
        0..2u8,
        0..2u8,
        prop::option::of((0..3u8, 0..2u8)),
        prop::option::of((0..2u8, any::<bool>(), any::<bool>())),
    );
    prop_oneof![
        6 => register.prop_map(|(node, address, service, check)| Step::Register {
            node, address, service, check
        }),
        1 => (0..2u8).prop_map(Step::DeregisterNode),
        1 => (0..2u8, 0..3u8).prop_map(|(node, id)| Step::DeregisterService(node, id)),
        1 => (0..2u8, 0..2u8).prop_map(|(node, id)| Step::DeregisterCheck(node, id)),
    ]
}

fn node_name(node: u8) -> String {
    format!("n{node}")
}

fn command(step: &Step) -> Box<dyn AnyCommand> {
    let deregister = |node: u8, service: String, check: String| -> Box<dyn AnyCommand> {
        Box::new(Deregister(DeregisterRequest {
            node: node_name(node).into(),
            service_id: service.into(),
            check_id: check.into(),
            ..DeregisterRequest::default()
        }))
    };
    match step {
        Step::DeregisterNode(node) => deregister(*node, String::new(), String::new()),
        Step::DeregisterService(node, id) => deregister(*node, format!("s{id}"), String::new()),
        Step::DeregisterCheck(node, id) => deregister(*node, String::new(), format!("c{id}")),
        Step::Register { node, address, service, check } => {
            let instance = service.map(|(id, tag)| NodeService {
                id: format!("s{id}").into(),
                service: if id == 2 { "db".into() } else { "web".into() },
                tags: vec![format!("t{tag}")],
                ..NodeService::default()
            });
            let check = check.map(|(id, of_service, passing)| HealthCheck {
                node: node_name(*node).into(),
                check_id: format!("c{id}").into(),
                status: if passing { Status::Passing } else { Status::Critical },
                service_id: match (&instance, of_service) {
                    (Some(instance), true) => instance.id.clone(),
                    _ => types::ServiceId::default(),
                },
                ..HealthCheck::default()
            });
            Box::new(Register(RegisterRequest {
                node: node_name(*node).into(),
                address: format!("10.0.0.{address}"),
                service: instance,
                check,
                ..RegisterRequest::default()
            }))
        }
    }
}

/// A question with its answer as text, so that answers of all kinds can be compared.
struct Question {
    query: Arc<dyn AnyQuery>,
    print: fn(&dyn std::any::Any) -> String,
}

fn question<Q: Query>(query: Q) -> Question
where
    Q::Reply: Serialize,
{
    let print = |reply: &dyn std::any::Any| {
        let reply = reply.downcast_ref::<Q::Reply>().expect("the reply is of its query's type");
        String::from_utf8(types::json::encode(reply)).expect("JSON is text")
    };
    Question { query: Arc::new(query), print }
}

fn questions() -> Vec<Question> {
    let web = || InstanceSelection::of("web");
    vec![
        question(CatalogNodes::default()),
        question(CatalogServices::default()),
        question(CatalogService { selection: web(), ..CatalogService::default() }),
        question(CatalogNode { node: "n0".into(), ..CatalogNode::default() }),
        question(HealthService { selection: web(), ..HealthService::default() }),
        question(HealthService {
            selection: web(),
            health: InstanceHealth::Passing,
            ..HealthService::default()
        }),
        question(HealthNode { node: "n0".into(), ..HealthNode::default() }),
        question(HealthChecksOfService {
            service: "web".into(),
            ..HealthChecksOfService::default()
        }),
        question(HealthState { status: "any".into(), ..HealthState::default() }),
    ]
}

fn ask(store: &Store, question: &Question) -> (Index, String, store::Subscription) {
    let state = store.snapshot();
    let mut reader = Reader::new(&state);
    let who = Authorizer::allow_all();
    let found = question.query.evaluate(&who, &mut reader).expect("no filter can be wrong");
    let (subscription, _) = store.subscribe(reader.into_watch_set());
    (found.index, (question.print)(&*found.reply), subscription)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_changes_an_answer_moves_its_index_and_fires_its_watch(
        steps in prop::collection::vec(step(), 1..30)
    ) {
        let store = Store::new(&domains::tables());
        let questions = questions();
        for (number, step) in steps.iter().enumerate() {
            let before: Vec<_> = questions.iter().map(|question| ask(&store, question)).collect();
            let index = Index(number as u64 + 10);
            // A refused registration changes nothing, which is checked as well.
            let _ = store.write(|batch| command(step).apply(&mut batch.tx(index)).map(drop));
            for (question, (old_index, old_answer, subscription)) in questions.iter().zip(before) {
                let (new_index, new_answer, _) = ask(&store, question);
                if new_answer != old_answer {
                    prop_assert!(subscription.has_fired(), "{} after {step:?}", question.query.name());
                    prop_assert!(new_index > old_index, "{} after {step:?}", question.query.name());
                }
                if new_index != old_index && subscription.has_fired() {
                    prop_assert_eq!(new_index, index);
                }
            }
        }
    }

    #[test]
    fn registering_the_same_again_wakes_nobody(steps in prop::collection::vec(step(), 1..10)) {
        let store = Store::new(&domains::tables());
        let mut index = 10;
        let mut write = |step: &Step| {
            index += 1;
            let _ = store.write(|batch| command(step).apply(&mut batch.tx(Index(index))).map(drop));
        };
        for step in &steps {
            write(step);
        }
        let last = steps.last().expect("there is at least one");
        write(last);
        let before: Vec<_> = questions().iter().map(|question| ask(&store, question)).collect();
        write(last);
        for (question, (_, _, subscription)) in questions().iter().zip(before) {
            prop_assert!(!subscription.has_fired(), "{} after {last:?}", question.query.name());
        }
    }
}
