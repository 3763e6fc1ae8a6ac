//! The rules of registration, as changes of the three tables.

use std::sync::Arc;

use contract::{Applied, CallError};
use store::{State, Tx};
use types::catalog::{Node, NodeService, Weights};
use types::check::{HealthCheck, Status};
use types::{Index, NodeName};

use super::table::{
    CHECKS, CHECKS_BY_INSTANCE, NODES, NODES_BY_ID, SERVICES, ServiceRow, check_key, instance_key,
    node_key,
};
use super::{index, usage, virtual_ip};
use crate::{coordinate, session};

/// Stores a node; one with the same id under another name is renamed.
pub(crate) fn put_node(tx: &mut Tx<'_>, mut node: Node) -> Applied<()> {
    let key = node_key(node.node.as_str());
    let mut present = tx.get(&NODES, key.as_bytes());
    if !node.id.is_empty() {
        if let Some(namesake) = node_by_id(tx, node.id.as_str())
            && !same_name(&namesake.node, &node.node)
        {
            refuse_if_alive(tx, &present, &node)?;
            remove_node(tx, namesake.node.as_str());
            node.create_index = namesake.create_index;
        } else if present.as_ref().is_some_and(|known| !known.id.is_empty() && known.id != node.id)
        {
            refuse_if_alive(tx, &present, &node)?;
        }
    }
    if let Some(known) = present.take() {
        node.create_index = known.create_index;
        node.modify_index = known.modify_index;
        if node == *known {
            return Ok(());
        }
    } else if node.create_index == Index::ZERO {
        node.create_index = tx.index();
    }
    node.modify_index = tx.index();
    let name = node.node.clone();
    usage::put_node(tx, node);
    index::node_changed(tx, name.as_str());
    Ok(())
}

/// A name that a living agent holds is not taken over by another id.
fn refuse_if_alive(tx: &Tx<'_>, present: &Option<Arc<Node>>, wanted: &Node) -> Applied<()> {
    let Some(holder) = present else { return Ok(()) };
    if holder.id.is_empty() || holder.id == wanted.id {
        return Ok(());
    }
    let key = check_key(holder.node.as_str(), "serfHealth");
    let alive = tx.peek(&CHECKS, key.as_bytes()).is_some_and(|c| c.status == Status::Passing);
    if !alive {
        return Ok(());
    }
    Err(CallError::failed(format!(
        "failed inserting node: Error while renaming Node ID: {:?}: Node name {} is reserved by node {} \
         with name {} ({})",
        wanted.id.as_str(),
        wanted.node,
        holder.id,
        holder.node,
        holder.address,
    )))
}

pub(crate) fn node_by_id(state: &State, id: &str) -> Option<Arc<Node>> {
    let key = store::KeyBuilder::new().text_ignoring_case(id);
    state.secondary(&NODES, NODES_BY_ID, key.as_bytes()).next()
}

/// Stores an instance.
pub(crate) fn put_service(
    tx: &mut Tx<'_>,
    node: &NodeName,
    mut service: NodeService,
) -> Applied<()> {
    require_node(tx, node)?;
    if service.id.is_empty() {
        return Err(CallError::failed("failed inserting service: object missing primary index"));
    }
    // Clients written in Go send zeros for weights that nobody gave.
    if service.weights.as_ref().is_none_or(|w| w.passing == 0 && w.warning == 0) {
        service.weights = Some(Weights::default());
    }
    virtual_ip::assign(tx, &mut service);
    let key = instance_key(node.as_str(), service.id.as_str());
    match tx.get(&SERVICES, key.as_bytes()) {
        Some(present) => {
            service.create_index = present.service.create_index;
            service.modify_index = present.service.modify_index;
            if service == *present.service {
                return Ok(());
            }
            if present.service.service != service.service {
                // The old name loses an instance; its watchers must learn of it.
                usage::delete_service(tx, key.as_bytes());
                index::service_removed(tx, node.as_str(), &present.service);
                virtual_ip::release(tx, &present.service);
            }
        }
        None => service.create_index = tx.index(),
    }
    service.modify_index = tx.index();
    let service = Arc::new(service);
    usage::put_service(tx, ServiceRow { node: node.clone(), service: Arc::clone(&service) });
    index::service_changed(tx, node.as_str(), &service);
    refresh_checks(tx, node, &service);
    Ok(())
}

fn require_node(state: &State, node: &NodeName) -> Applied<()> {
    match state.peek(&NODES, node_key(node.as_str()).as_bytes()) {
        Some(_) => Ok(()),
        None => Err(CallError::failed("Missing node registration")),
    }
}

/// Checks show the name and tags of their instance.
fn refresh_checks(tx: &mut Tx<'_>, node: &NodeName, service: &NodeService) {
    let key = instance_key(node.as_str(), service.id.as_str());
    let checks: Vec<_> = tx.secondary(&CHECKS, CHECKS_BY_INSTANCE, key.as_bytes()).collect();
    for check in checks {
        if check.service_name == service.service && check.service_tags == service.tags {
            continue;
        }
        let modify_index = tx.index();
        tx.put(
            &CHECKS,
            HealthCheck {
                service_name: service.service.clone(),
                service_tags: service.tags.clone(),
                modify_index,
                ..HealthCheck::clone(&check)
            },
        );
        index::check_changed(tx, node.as_str(), Some(service));
    }
}

/// Stores a check.
pub(crate) fn put_check(tx: &mut Tx<'_>, node: &NodeName, mut check: HealthCheck) -> Applied<()> {
    require_node(tx, node)?;
    if check.check_id.is_empty() {
        return Err(CallError::failed("failed inserting check: object missing primary index"));
    }
    let mut service = None;
    if check.service_id.is_empty() {
        check.service_name = types::ServiceName::default();
        check.service_tags.clear();
    } else {
        let key = instance_key(node.as_str(), check.service_id.as_str());
        let Some(row) = tx.get(&SERVICES, key.as_bytes()) else {
            return Err(CallError::failed(format!(
                "Unknown service ID '{}' for check ID '{}'",
                check.service_id, check.check_id
            )));
        };
        check.service_name = row.service.service.clone();
        check.service_tags = row.service.tags.clone();
        service = Some(Arc::clone(&row.service));
    }
    let key = check_key(node.as_str(), check.check_id.as_str());
    match tx.get(&CHECKS, key.as_bytes()) {
        Some(present) => {
            check.create_index = present.create_index;
            check.modify_index = present.modify_index;
            if check == *present {
                return Ok(());
            }
            if check.service_id != present.service_id {
                // Who watched it as a part of something else must learn that it is gone.
                take_check(tx, node.as_str(), present.check_id.as_str());
            }
        }
        None => check.create_index = tx.index(),
    }
    check.modify_index = tx.index();
    let (id, critical) = (check.check_id.clone(), check.status == Status::Critical);
    tx.put(&CHECKS, check);
    index::check_changed(tx, node.as_str(), service.as_deref());
    if critical {
        session::handle_check_lost(tx, node.as_str(), id.as_str());
    }
    Ok(())
}

/// Removes an instance with its checks. Removing nothing changes nothing.
pub(crate) fn remove_service(tx: &mut Tx<'_>, node: &str, service_id: &str) {
    let key = instance_key(node, service_id);
    let checks: Vec<_> = match tx.peek(&SERVICES, key.as_bytes()) {
        Some(_) => tx.secondary(&CHECKS, CHECKS_BY_INSTANCE, key.as_bytes()).collect(),
        None => return,
    };
    for check in checks {
        remove_check(tx, node, check.check_id.as_str());
    }
    if let Some(row) = usage::delete_service(tx, key.as_bytes()) {
        index::service_removed(tx, node, &row.service);
        virtual_ip::release(tx, &row.service);
    }
}

/// Removes a check. Removing nothing changes nothing.
pub(crate) fn remove_check(tx: &mut Tx<'_>, node: &str, check_id: &str) {
    take_check(tx, node, check_id);
    session::handle_check_lost(tx, node, check_id);
}

/// Takes a check out, whose sessions are looked after elsewhere.
fn take_check(tx: &mut Tx<'_>, node: &str, check_id: &str) {
    let Some(check) = tx.delete(&CHECKS, check_key(node, check_id).as_bytes()) else { return };
    let service = (!check.service_id.is_empty())
        .then(|| tx.get(&SERVICES, instance_key(node, check.service_id.as_str()).as_bytes()))
        .flatten();
    index::check_changed(tx, node, service.as_ref().map(|row| &*row.service));
}

/// Removes a node with everything on it. Removing nothing changes nothing.
pub(crate) fn remove_node(tx: &mut Tx<'_>, node: &str) {
    let key = node_key(node);
    if tx.peek(&NODES, key.as_bytes()).is_none() {
        return;
    }
    let services: Vec<_> = tx.prefix(&SERVICES, key.as_bytes()).collect();
    for row in services {
        remove_service(tx, node, row.service.id.as_str());
    }
    let checks: Vec<_> = tx.prefix(&CHECKS, key.as_bytes()).collect();
    for check in checks {
        remove_check(tx, node, check.check_id.as_str());
    }
    usage::delete_node(tx, key.as_bytes());
    index::node_removed(tx, node);
    session::handle_node_removed(tx, node);
    coordinate::handle_node_removed(tx, node);
}

pub(super) fn same_name(a: &NodeName, b: &NodeName) -> bool {
    a == b || a.as_str().to_lowercase() == b.as_str().to_lowercase()
}
