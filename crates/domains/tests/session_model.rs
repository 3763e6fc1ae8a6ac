//! Sessions and locks against an obvious model, whatever ends a session.

use std::collections::BTreeMap;

use contract::Command;
use domains::catalog::{Deregister, Register};
use domains::kv::{KVS, KvCommand, KvOp};
use domains::session::{LOCK_DELAYS, SESSIONS, SessionCommand, SessionOp, take_lock_delays};
use proptest::prelude::*;
use store::Store;
use types::catalog::{DeregisterRequest, RegisterRequest};
use types::check::{HealthCheck, Status};
use types::kv::KvEntry;
use types::session::{Behavior, Session};
use types::{GoDuration, Index};

#[derive(Clone, Debug)]
enum Step {
    /// Session number, node, whether it depends on the node's check, and on deleting.
    Create(u8, u8, bool, bool),
    Destroy(u8),
    Lock(u8, u8),
    Unlock(u8, u8),
    Put(u8),
    Delete(u8),
    Check(u8, bool),
    RemoveCheck(u8),
    RemoveNode(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let (session, node, key) = (0..4u8, 0..2u8, 0..3u8);
    prop_oneof![
        4 => (session.clone(), node.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(id, node, tied, deletes)| Step::Create(id, node, tied, deletes)),
        1 => session.clone().prop_map(Step::Destroy),
        6 => (key.clone(), session.clone()).prop_map(|(key, id)| Step::Lock(key, id)),
        2 => (key.clone(), session).prop_map(|(key, id)| Step::Unlock(key, id)),
        1 => key.clone().prop_map(Step::Put),
        1 => key.prop_map(Step::Delete),
        3 => (node.clone(), any::<bool>()).prop_map(|(node, passes)| Step::Check(node, passes)),
        1 => node.clone().prop_map(Step::RemoveCheck),
        1 => node.prop_map(Step::RemoveNode),
    ]
}

#[derive(Debug, PartialEq)]
struct Living {
    node: u8,
    tied: bool,
    deletes: bool,
}

/// Nodes with the state of their check; sessions; keys with their holder.
#[derive(Debug, Default)]
struct Model {
    nodes: BTreeMap<u8, Option<bool>>,
    sessions: BTreeMap<u8, Living>,
    keys: BTreeMap<u8, Option<u8>>,
}

impl Model {
    /// What the step answers: whether it did what it says.
    fn step(&mut self, step: &Step) -> bool {
        match *step {
            Step::Create(id, node, tied, deletes) => {
                let possible = match self.nodes.get(&node) {
                    Some(check) => !tied || *check == Some(true),
                    None => false,
                };
                let possible = possible && !self.sessions.contains_key(&id);
                if possible {
                    self.sessions.insert(id, Living { node, tied, deletes });
                }
                possible
            }
            Step::Destroy(id) => {
                self.end(|other, _| other == id);
                true
            }
            Step::Lock(key, id) => {
                let free = self.keys.get(&key).copied().flatten().is_none_or(|holder| holder == id);
                let possible = free && self.sessions.contains_key(&id);
                if possible {
                    self.keys.insert(key, Some(id));
                }
                possible
            }
            Step::Unlock(key, id) => {
                let possible = self.keys.get(&key) == Some(&Some(id));
                if possible {
                    self.keys.insert(key, None);
                }
                possible
            }
            Step::Put(key) => {
                self.keys.entry(key).or_insert(None);
                true
            }
            Step::Delete(key) => {
                self.keys.remove(&key);
                true
            }
            Step::Check(node, passes) => {
                self.nodes.insert(node, Some(passes));
                if !passes {
                    self.end(|_, session| session.node == node && session.tied);
                }
                true
            }
            Step::RemoveCheck(node) => {
                if let Some(check) = self.nodes.get_mut(&node) {
                    *check = None;
                }
                self.end(|_, session| session.node == node && session.tied);
                true
            }
            Step::RemoveNode(node) => {
                self.nodes.remove(&node);
                self.end(|_, session| session.node == node);
                true
            }
        }
    }

    fn end(&mut self, which: impl Fn(u8, &Living) -> bool) {
        let (ended, alive) = std::mem::take(&mut self.sessions)
            .into_iter()
            .partition(|(id, session)| which(*id, session));
        self.sessions = alive;
        let ended: BTreeMap<u8, Living> = ended;
        for (id, session) in ended {
            let held = |holder: &Option<u8>| *holder == Some(id);
            if session.deletes {
                self.keys.retain(|_, holder| !held(holder));
            } else {
                self.keys.values_mut().filter(|holder| held(holder)).for_each(|h| *h = None);
            }
        }
    }
}

fn apply<C: Command>(store: &Store, index: u64, command: &C) -> Option<C::Reply> {
    store.write(|batch| {
        let mut tx = batch.tx(Index(index));
        let reply = Command::apply(command, &mut tx).ok();
        take_lock_delays(&mut tx);
        reply
    })
}

fn session_of(id: u8) -> Session {
    Session { id: format!("s{id}").into(), ..Session::default() }
}

fn run(store: &Store, index: u64, step: &Step) -> bool {
    let kv = |op, key: u8, id: Option<u8>| {
        let session = id.map_or_else(Default::default, |id| session_of(id).id);
        let entry = KvEntry { key: format!("k{key}").into(), session, ..KvEntry::default() };
        let command = KvCommand { op, entry, ..KvCommand::default() };
        apply(store, index, &command).unwrap_or(false)
    };
    let node_name = |node: u8| types::NodeName::from(format!("n{node}"));
    match *step {
        Step::Create(id, node, tied, deletes) => {
            // The leader never picks an id that is taken.
            if store.snapshot().peek(&SESSIONS, session_of(id).id.as_str().as_bytes()).is_some() {
                return false;
            }
            let session = Session {
                node: node_name(node),
                node_checks: if tied { vec!["c".into()] } else { Vec::new() },
                behavior: if deletes { Behavior::Delete } else { Behavior::Release },
                lock_delay: GoDuration::from_secs(15),
                ..session_of(id)
            };
            apply(store, index, &SessionCommand { session, ..SessionCommand::default() }).is_some()
        }
        Step::Destroy(id) => {
            let (op, session) = (SessionOp::Destroy, session_of(id));
            apply(store, index, &SessionCommand { op, session, ..SessionCommand::default() })
                .is_some()
        }
        Step::Lock(key, id) => kv(KvOp::Lock, key, Some(id)),
        Step::Unlock(key, id) => kv(KvOp::Unlock, key, Some(id)),
        Step::Put(key) => kv(KvOp::Set, key, None),
        Step::Delete(key) => kv(KvOp::Delete, key, None),
        Step::Check(node, passes) => {
            let check = HealthCheck {
                node: node_name(node),
                check_id: "c".into(),
                status: if passes { Status::Passing } else { Status::Critical },
                ..HealthCheck::default()
            };
            let request = RegisterRequest {
                node: node_name(node),
                address: "10.0.0.1".into(),
                check: Some(check),
                ..RegisterRequest::default()
            };
            apply(store, index, &Register(request)).is_some()
        }
        Step::RemoveCheck(node) => {
            let request = DeregisterRequest {
                node: node_name(node),
                check_id: "c".into(),
                ..DeregisterRequest::default()
            };
            apply(store, index, &Deregister(request)).is_some()
        }
        Step::RemoveNode(node) => {
            let request =
                DeregisterRequest { node: node_name(node), ..DeregisterRequest::default() };
            apply(store, index, &Deregister(request)).is_some()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A lock has one holder, who lives; a session that ended holds nothing.
    #[test]
    fn locks_and_sessions_behave_as_the_model_says(steps in prop::collection::vec(step(), 1..60)) {
        let store = Store::new(&domains::tables());
        let mut model = Model::default();
        for (index, step) in (1..).zip(&steps) {
            let did = run(&store, index, step);
            prop_assert_eq!(did, model.step(step), "{:?} in {:?}", step, model);
            let state = store.snapshot();
            let sessions: Vec<String> = state
                .peek_prefix(&SESSIONS, &[])
                .map(|session| session.id.as_str().to_owned())
                .collect();
            let expected: Vec<String> =
                model.sessions.keys().map(|id| format!("s{id}")).collect();
            prop_assert_eq!(&sessions, &expected);
            let keys: Vec<(String, String)> = state
                .peek_prefix(&KVS, &[])
                .map(|entry| (entry.key.to_string(), entry.session.as_str().to_owned()))
                .collect();
            let expected: Vec<(String, String)> = model
                .keys
                .iter()
                .map(|(key, holder)| {
                    let holder = holder.map_or_else(String::new, |id| format!("s{id}"));
                    (format!("k{key}"), holder)
                })
                .collect();
            prop_assert_eq!(&keys, &expected);
            for (_, holder) in keys {
                prop_assert!(holder.is_empty() || sessions.contains(&holder));
            }
            prop_assert_eq!(state.len(&LOCK_DELAYS), 0);
        }
    }
}
