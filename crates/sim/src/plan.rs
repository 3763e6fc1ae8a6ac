//! Plans as calls of the product, and what is told of these as outcomes.

use std::sync::Arc;

use bytes::Bytes;
use contract::Consistency;
use domains::catalog::{Deregister, Register};
use domains::kv::{KvCommand, KvOp};
use domains::session::{SessionCommand, SessionOp};
use domains::txn::{ReadOp, TxnCommand};
use fastrand::Rng;
use linearizability::keys::workload::Plan;
use linearizability::keys::{Outcome, Row, Step, Told as ToldOfStep};
use types::catalog::{DeregisterRequest, NodeService, RegisterRequest};
use types::check::{HealthCheck, Status};
use types::kv::KvEntry;
use types::session::Session;
use types::txn::{KvVerb, TxnError, TxnKvOp, TxnOp, TxnResult};
use types::{Index, NodeName};

use crate::call::{Change, Question, Rows, Told, What};
use crate::client::SessionNumbers;

/// The check that sessions depend on.
pub(crate) const NODE_CHECK: &str = "serfHealth";

/// The service that comes and goes.
pub(crate) const SERVICE: &str = "web";

/// The key of a group.
pub(crate) fn key(group: usize, key: usize) -> String {
    format!("lin/{group}/{key}")
}

/// Registers a node with its check.
pub(crate) fn node(name: &NodeName, client: usize) -> Change {
    register(RegisterRequest { check: Some(check(name, "", Status::Passing)), ..row(name, client) })
}

fn row(name: &NodeName, client: usize) -> RegisterRequest {
    let address = format!("10.1.0.{client}");
    RegisterRequest { node: name.clone(), address, ..RegisterRequest::default() }
}

fn register(request: RegisterRequest) -> Change {
    Change::Register(Box::new(Register(request)))
}

/// A check of a node, or of the instance.
fn check(node: &NodeName, service_id: &str, status: Status) -> HealthCheck {
    let id = if service_id.is_empty() { NODE_CHECK } else { "alive" };
    HealthCheck {
        node: node.clone(),
        check_id: id.into(),
        name: id.to_owned(),
        service_id: service_id.into(),
        status,
        ..HealthCheck::default()
    }
}

/// Ends all sessions of a node, in one way or another.
pub(crate) fn loss(node: &NodeName, way: u8) -> Change {
    let request = DeregisterRequest { node: node.clone(), ..DeregisterRequest::default() };
    match way {
        0 => Change::Deregister(Deregister(request)),
        1 => {
            let check_id = NODE_CHECK.into();
            Change::Deregister(Deregister(DeregisterRequest { check_id, ..request }))
        }
        _ => register(RegisterRequest {
            skip_node_update: true,
            check: Some(check(node, "", Status::Critical)),
            ..row(node, 0)
        }),
    }
}

/// Something that sessions do not depend on.
pub(crate) fn churn(node: &NodeName, client: usize, rng: &mut Rng) -> Change {
    match rng.u8(0..6) {
        0 => Change::Deregister(Deregister(DeregisterRequest {
            node: node.clone(),
            service_id: SERVICE.into(),
            ..DeregisterRequest::default()
        })),
        1 => Change::Deregister(Deregister(DeregisterRequest {
            node: node.clone(),
            check_id: "alive".into(),
            ..DeregisterRequest::default()
        })),
        dice => {
            let service = NodeService {
                id: SERVICE.into(),
                service: SERVICE.into(),
                port: rng.i64(1..4),
                tags: vec![format!("v{}", rng.u8(0..3))],
                ..NodeService::default()
            };
            let status =
                [Status::Passing, Status::Warning, Status::Critical][rng.usize(0..3)].clone();
            register(RegisterRequest {
                service: Some(service),
                check: (dice > 2).then(|| check(node, SERVICE, status)),
                ..row(node, client)
            })
        }
    }
}

/// Makes a session.
pub(crate) fn session(session: Session) -> Change {
    Change::Session(SessionCommand { session, ..SessionCommand::default() })
}

/// How a plan is asked.
pub(crate) fn what(plan: &Plan, sessions: &SessionNumbers, consistency: Consistency) -> What {
    let ask = |question| What::Ask { question, consistency, min_index: Index::ZERO };
    if plan.is_txn {
        let ops: Vec<TxnOp> =
            plan.steps.iter().map(|step| operation(plan.group, step, sessions)).collect();
        let reads: Option<Vec<ReadOp>> = ops.iter().map(ReadOp::of).collect();
        return match reads {
            Some(reads) => ask(Question::Txn(reads)),
            None => What::Change(Change::Txn(TxnCommand { ops, ..TxnCommand::default() })),
        };
    }
    let (step, group) = (&plan.steps[0], plan.group);
    let op = match step {
        Step::Get(of) | Step::CheckIndex(of, _) | Step::CheckNotExists(of) => {
            return ask(Question::Key(key(group, *of).into()));
        }
        Step::Destroy(session, _) => {
            let session = Session { id: sessions.id(*session), ..Session::default() };
            let op = SessionOp::Destroy;
            let command = SessionCommand { op, session, ..SessionCommand::default() };
            return What::Change(Change::Session(command));
        }
        Step::Set(..) => KvOp::Set,
        Step::Cas(..) => KvOp::Cas,
        Step::Delete(_) => KvOp::Delete,
        Step::DeleteCas(..) => KvOp::DeleteCas,
        Step::Lock(..) => KvOp::Lock,
        Step::Unlock(..) => KvOp::Unlock,
    };
    let entry = entry(group, step, sessions);
    What::Change(Change::Key(KvCommand { op, entry, ..KvCommand::default() }))
}

fn operation(group: usize, step: &Step, sessions: &SessionNumbers) -> TxnOp {
    let verb = match step {
        Step::Get(_) => KvVerb::GetOrEmpty,
        Step::Set(..) => KvVerb::Set,
        Step::Cas(..) => KvVerb::Cas,
        Step::Delete(_) => KvVerb::Delete,
        Step::DeleteCas(..) => KvVerb::DeleteCas,
        Step::Lock(..) => KvVerb::Lock,
        Step::Unlock(..) => KvVerb::Unlock,
        Step::CheckIndex(..) => KvVerb::CheckIndex,
        Step::CheckNotExists(_) => KvVerb::CheckNotExists,
        Step::Destroy(..) => unreachable!("no transaction of a client ends a session"),
    };
    let entry = entry(group, step, sessions);
    TxnOp { kv: Some(TxnKvOp { verb, entry }), ..TxnOp::default() }
}

/// What a command says of the key.
fn entry(group: usize, step: &Step, sessions: &SessionNumbers) -> KvEntry {
    let of = step.key().expect("ending a session is about no key");
    let mut entry = KvEntry { key: Arc::from(key(group, of)), ..KvEntry::default() };
    let value = |value: u64| Bytes::from(value.to_string()).into();
    match *step {
        Step::Set(_, new) => entry.value = value(new),
        Step::Cas(_, new, index) => (entry.value, entry.modify_index) = (value(new), Index(index)),
        Step::Lock(_, new, session) | Step::Unlock(_, new, session) => {
            (entry.value, entry.session) = (value(new), sessions.id(session));
        }
        Step::DeleteCas(_, index) | Step::CheckIndex(_, index) => entry.modify_index = Index(index),
        _ => {}
    }
    entry
}

/// How a plan ended of which this was told.
pub(crate) fn ended(plan: &Plan, told: &Told, sessions: &SessionNumbers) -> Outcome {
    match told {
        Told::Done | Told::Held(true) => Outcome::Done(vec![ToldOfStep::Done; plan.steps.len()]),
        Told::Held(false) | Told::Failed(_) => Outcome::Refused(vec![0]),
        Told::Txn(reply) => of_txn(plan, &reply.results, &reply.errors, sessions),
        Told::Rows(answer) => match &answer.rows {
            Rows::Txn(reply) => of_txn(plan, &reply.results, &reply.errors, sessions),
            Rows::Entry(Some(entry)) => Outcome::Done(vec![told_of(entry, true, sessions)]),
            Rows::Entry(None) => Outcome::Done(vec![ToldOfStep::Absent]),
            Rows::Text(_) => unreachable!("no plan asks for lists"),
        },
        Told::Session(_) => unreachable!("no plan makes a session"),
    }
}

fn of_txn(
    plan: &Plan,
    results: &[TxnResult],
    errors: &[TxnError],
    sessions: &SessionNumbers,
) -> Outcome {
    if !errors.is_empty() {
        return Outcome::Refused(errors.iter().map(|error| error.op_index as usize).collect());
    }
    let mut rows = results.iter();
    let told = plan.steps.iter().map(|step| match step.tells_row() {
        false => ToldOfStep::Done,
        true => match rows.next() {
            Some(TxnResult::Kv(entry)) => told_of(entry, matches!(step, Step::Get(_)), sessions),
            other => panic!("{step:?} is told {other:?}"),
        },
    });
    Outcome::Done(told.collect())
}

fn told_of(entry: &KvEntry, tells_value: bool, sessions: &SessionNumbers) -> ToldOfStep {
    if entry.modify_index == Index::ZERO {
        return ToldOfStep::Absent;
    }
    let value = std::str::from_utf8(&entry.value).ok().and_then(|text| text.parse().ok());
    // A value that nobody wrote is one that no order explains.
    let value = tells_value.then_some(value.unwrap_or(u64::MAX));
    let holder = sessions.number(&entry.session);
    ToldOfStep::Row(Row { value, index: entry.modify_index.0, holder })
}
