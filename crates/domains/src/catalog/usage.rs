//! How much there is, counted as it comes and goes: telling it costs the same for ten
//! instances and for a hundred thousand.
//!
//! The functions that store and remove rows here are the only ones that may: they keep the
//! counts. A snapshot does not hold the counts; they come back with the rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use contract::remote::{QueryMethod, QueryOptions};
use contract::{CallError, Found, Pruned, Query, ReadFacts};
use serde::{Deserialize, Serialize};
use store::{Reader, State, Table, Tx};
use types::catalog::{Node, NodeService};
use types::usage::ServiceUsage;
use types::{Datacenter, Index};

use super::index::has_instances;
use super::table::{NODES, SERVICES, ServiceRow};
use crate::requests::DcRequest;

/// The counts, one row with an empty key.
pub const USAGE: Table<Counts> = Table::new("usage", |_| Arc::from(&b""[..]));

/// Kinds in the mesh, in alphabetical order.
const MESH_KINDS: [&str; 6] = [
    "api-gateway",
    NATIVE,
    "connect-proxy",
    "ingress-gateway",
    "mesh-gateway",
    "terminating-gateway",
];

/// Instances that speak the mesh's protocol themselves; not a kind of theirs.
const NATIVE: &str = "connect-native";

/// The counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    nodes: u64,
    services: u64,
    instances: u64,
    billable: u64,
    mesh: [u64; MESH_KINDS.len()],
    /// The index of their last change.
    modify_index: Index,
}

impl Counts {
    /// One instance more, or one less.
    fn count(&mut self, service: &NodeService, step: fn(&mut u64)) {
        step(&mut self.instances);
        if service.kind.is_empty() && service.service.as_str() != "consul" {
            step(&mut self.billable);
        }
        for (kind, number) in MESH_KINDS.iter().zip(&mut self.mesh) {
            if *kind == service.kind || (*kind == NATIVE && service.connect.native) {
                step(number);
            }
        }
    }
}

fn more(number: &mut u64) {
    *number += 1;
}

fn less(number: &mut u64) {
    *number = number.checked_sub(1).expect("what goes was counted when it came");
}

/// The counts as they are shown.
pub fn usage(state: &State) -> ServiceUsage {
    show(&counts(state))
}

fn counts(state: &State) -> Counts {
    state.peek(&USAGE, b"").copied().unwrap_or_default()
}

fn show(counts: &Counts) -> ServiceUsage {
    let mesh = MESH_KINDS.iter().zip(counts.mesh);
    ServiceUsage {
        nodes: counts.nodes,
        services: counts.services,
        service_instances: counts.instances,
        connect_service_instances: mesh.map(|(kind, n)| ((*kind).to_owned(), n)).collect(),
        billable_service_instances: counts.billable,
    }
}

fn change(tx: &mut Tx<'_>, change: impl FnOnce(&mut Counts)) {
    let before = counts(tx);
    let mut after = before;
    change(&mut after);
    if after != before {
        after.modify_index = tx.index();
        tx.put(&USAGE, after);
    }
}

/// Stores a node.
pub(super) fn put_node(tx: &mut Tx<'_>, node: Node) {
    if tx.put(&NODES, node).is_none() {
        change(tx, |counts| more(&mut counts.nodes));
    }
}

/// Removes a node.
pub(super) fn delete_node(tx: &mut Tx<'_>, key: &[u8]) {
    if tx.delete(&NODES, key).is_some() {
        change(tx, |counts| less(&mut counts.nodes));
    }
}

/// Stores an instance.
pub(super) fn put_service(tx: &mut Tx<'_>, row: ServiceRow) {
    let service = Arc::clone(&row.service);
    let is_new = !has_instances(tx, service.service.as_str());
    let old = tx.put(&SERVICES, row);
    let is_gone = old.as_ref().is_some_and(|old| !has_instances(tx, old.service.service.as_str()));
    change(tx, |counts| {
        counts.count(&service, more);
        if is_new {
            more(&mut counts.services);
        }
        if let Some(old) = old {
            counts.count(&old.service, less);
        }
        if is_gone {
            less(&mut counts.services);
        }
    });
}

/// Removes an instance and returns it.
pub(super) fn delete_service(tx: &mut Tx<'_>, key: &[u8]) -> Option<Arc<ServiceRow>> {
    let old = tx.delete(&SERVICES, key)?;
    let is_gone = !has_instances(tx, old.service.service.as_str());
    change(tx, |counts| {
        counts.count(&old.service, less);
        if is_gone {
            less(&mut counts.services);
        }
    });
    Some(old)
}

/// How much there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Usage {
    /// The datacenter that is asked, under whose name the reply is.
    pub datacenter: Datacenter,
}

impl Query for Usage {
    const NAME: &'static str = "Operator.Usage";
    const KEPT: bool = false;
    /// By datacenter: the one that was asked.
    type Reply = BTreeMap<String, ServiceUsage>;

    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied> {
        who.require(Permission::read(Resource::Operator, ""))
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let counts = reader.get(&USAGE, b"").map(|counts| *counts).unwrap_or_default();
        let name = self.datacenter.as_str().to_owned();
        Found::new(counts.modify_index, BTreeMap::from([(name, show(&counts))]))
    }

    fn prune(&self, _who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::nothing(reply)
    }
}

/// `Usage`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexedUsage<R> {
    usage: R,
}

impl QueryMethod for Usage {
    type Request = DcRequest;
    type Wire<'r> = IndexedUsage<&'r BTreeMap<String, ServiceUsage>>;
    type Received = IndexedUsage<BTreeMap<String, ServiceUsage>>;

    fn request(&self) -> DcRequest {
        DcRequest::default()
    }

    fn of_request(_request: DcRequest, options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self { datacenter: options.datacenter.clone() })
    }

    fn wire(reply: &Self::Reply) -> Self::Wire<'_> {
        IndexedUsage { usage: reply }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        Ok(received.usage)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use contract::Command as _;
    use proptest::prelude::*;
    use store::Store;
    use types::catalog::{DeregisterRequest, RegisterRequest, ServiceConnect};
    use types::msgpack;

    use super::super::{Deregister, Register};
    use super::*;

    /// The counts by looking at everything.
    fn counted(state: &State) -> ServiceUsage {
        let rows: Vec<&ServiceRow> = state.peek_prefix(&SERVICES, &[]).collect();
        let names: BTreeSet<String> =
            rows.iter().map(|row| row.service.service.as_str().to_lowercase()).collect();
        let of = |is_it: &dyn Fn(&NodeService) -> bool| {
            rows.iter().filter(|row| is_it(&row.service)).count() as u64
        };
        let mesh = MESH_KINDS.map(|kind| match kind {
            NATIVE => of(&|service| service.connect.native),
            kind => of(&|service| service.kind == kind),
        });
        ServiceUsage {
            nodes: state.len(&NODES) as u64,
            services: names.len() as u64,
            service_instances: rows.len() as u64,
            connect_service_instances: MESH_KINDS
                .map(str::to_owned)
                .into_iter()
                .zip(mesh)
                .collect(),
            billable_service_instances: of(&|service| {
                service.kind.is_empty() && service.service.as_str() != "consul"
            }),
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Register { node: String, service: Option<Box<NodeService>> },
        Deregister { node: String, service_id: String },
    }

    fn step() -> impl Strategy<Value = Step> {
        let node = || prop::sample::select(vec!["n1", "N1", "n2"]).prop_map(str::to_owned);
        let id = || prop::sample::select(vec!["a", "b", "c"]);
        let name = prop::sample::select(vec!["web", "Web", "db", "consul"]);
        let kind =
            prop::sample::select(vec!["", "", "connect-proxy", "mesh-gateway", "api-gateway"]);
        let service =
            (id(), name, kind, any::<bool>()).prop_map(|(id, name, kind, native)| NodeService {
                id: id.into(),
                service: name.into(),
                kind: kind.into(),
                connect: ServiceConnect { native, ..ServiceConnect::default() },
                ..NodeService::default()
            });
        let gone = prop_oneof![3 => id(), 1 => Just("")].prop_map(str::to_owned);
        prop_oneof![
            3 => (node(), prop::option::of(service))
                .prop_map(|(node, service)| Step::Register { node, service: service.map(Box::new) }),
            1 => (node(), gone).prop_map(|(node, service_id)| Step::Deregister { node, service_id }),
        ]
    }

    fn apply(store: &Store, index: Index, step: Step) {
        store.write(|batch| {
            let mut tx = batch.tx(index);
            let applied = match step {
                Step::Register { node, service } => {
                    let (node, service) = (node.into(), service.map(|service| *service));
                    let request = RegisterRequest { node, service, ..RegisterRequest::default() };
                    Register(request).apply(&mut tx)
                }
                Step::Deregister { node, service_id } => {
                    let (node, service_id) = (node.into(), service_id.into());
                    let request =
                        DeregisterRequest { node, service_id, ..DeregisterRequest::default() };
                    Deregister(request).apply(&mut tx)
                }
            };
            assert_eq!(applied, Ok(()));
        });
    }

    proptest! {
        /// Counting as things come and go gives what looking at everything gives, also
        /// after a restore.
        #[test]
        fn the_counts_are_right(steps in prop::collection::vec(step(), 0..40)) {
            let store = Store::new(&crate::tables());
            for (index, step) in (1..).map(Index).zip(steps) {
                apply(&store, index, step);
                let state = store.snapshot();
                prop_assert_eq!(usage(&state), counted(&state));
            }
            let state = store.snapshot();
            let mut restored = State::new(&crate::tables());
            let outcome: Result<(), msgpack::Error> = restored.fill(Index(99), |tx| {
                for record in crate::catalog::DOMAIN.records {
                    let mut rows = Vec::new();
                    (record.save)(&state, &mut |bytes| rows.push(bytes.to_vec()));
                    rows.iter().try_for_each(|bytes| (record.restore)(bytes, tx))?;
                }
                Ok(())
            });
            prop_assert_eq!(outcome, Ok(()));
            prop_assert_eq!(usage(&restored), usage(&state));
        }
    }

    #[test]
    fn what_changes_no_count_wakes_nobody() {
        let store = Store::new(&crate::tables());
        let web = |tag: &str| NodeService {
            id: "a".into(),
            service: "web".into(),
            tags: vec![tag.to_owned()],
            ..NodeService::default()
        };
        let register = |index, tag| {
            let (node, service) = ("n1".to_owned(), Some(Box::new(web(tag))));
            apply(&store, Index(index), Step::Register { node, service });
        };
        register(1, "v1");
        let state = store.snapshot();
        let mut reader = Reader::new(&state);
        assert_eq!(Usage::default().run(&mut reader).index, Index(1));
        let (watch, _) = store.subscribe(reader.into_watch_set());
        register(2, "v2");
        assert!(!watch.has_fired());
        apply(&store, Index(3), Step::Register { node: "n2".to_owned(), service: None });
        assert!(watch.has_fired());
    }
}
