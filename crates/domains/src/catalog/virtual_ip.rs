//! Virtual addresses of services in the mesh.
//!
//! Once every server gives them out (the flag [`VIRTUAL_IPS`] stands), the first instance
//! that is reached as a service through the mesh and registers gives the service
//! an address in 240.0.0.0/4, which all such instances carry as tagged address
//! `consul-virtual`. Addresses are given out in order; one that is given back is used
//! again first (`reference/raft-and-snapshots.md` sections 7 and 10).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use contract::RecordDef;
use serde::{Deserialize, Serialize};
use store::{KeyBuilder, State, Table, Tx};
use types::catalog::{NodeService, ServiceAddress};
use types::{Blob, Index, ServiceName, msgpack};

use super::table::{SERVICES, SERVICES_BY_TARGET, mesh_target, service_key};
use crate::system_metadata::{self, VIRTUAL_IPS};

/// The tagged address under which instances carry it.
const TAG: &str = "consul-virtual";

/// The address before the first one that is given out; offsets count from here.
const BASE: u32 = 0xf000_0000;

/// How many addresses there are.
const OFFSET_MAX: u32 = 0x0fff_fffe;

/// The address of each service that has one.
pub const SERVICE_VIRTUAL_IPS: Table<ServiceVirtualIp> =
    Table::new("service-virtual-ips", |row| service_key(row.service.as_str()).build());

/// Addresses that were given back, and the last one that was given out.
pub const FREE_VIRTUAL_IPS: Table<FreeVirtualIp> = Table::new("free-virtual-ips", |row| {
    KeyBuilder::new().number(row.is_counter.into()).number(row.offset.into()).build()
});

/// The address of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceVirtualIp {
    /// The service.
    pub service: ServiceName,
    /// Its address as an offset from 240.0.0.0.
    pub offset: u32,
    /// Addresses that an operator assigned by hand.
    pub manual: Vec<String>,
    /// The index that created it.
    pub create_index: Index,
    /// The index of the last change.
    pub modify_index: Index,
}

/// An address that may be given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreeVirtualIp {
    /// The address as an offset.
    pub offset: u32,
    /// Whether it is not free itself but the last one that was given out in order.
    pub is_counter: bool,
}

/// The address of an offset.
fn address(offset: u32) -> Ipv4Addr {
    Ipv4Addr::from(BASE + offset)
}

/// The address of a service, if it has one.
pub fn virtual_ip(state: &State, service: &str) -> Option<Ipv4Addr> {
    let row = state.peek(&SERVICE_VIRTUAL_IPS, service_key(service).as_bytes())?;
    Some(address(row.offset))
}

/// Gives an instance of the mesh the address of the service it is reached as.
pub(super) fn assign(tx: &mut Tx<'_>, service: &mut NodeService) {
    if system_metadata::value(tx, VIRTUAL_IPS) != Some("true") {
        return;
    }
    let Some(target) = mesh_target(service).filter(|target| !target.is_empty()) else { return };
    let target = target.to_owned();
    let Some(ip) = virtual_ip(tx, &target).or_else(|| allocate(tx, &target)) else { return };
    let tagged = service.tagged_addresses.get_or_insert_with(BTreeMap::new);
    tagged.insert(TAG.to_owned(), ServiceAddress { address: ip.to_string(), port: service.port });
}

/// Takes the address back once nothing is reached as this service any more.
pub(super) fn release(tx: &mut Tx<'_>, service: &NodeService) {
    let Some(target) = mesh_target(service) else { return };
    let key = service_key(target);
    if tx.secondary(&SERVICES, SERVICES_BY_TARGET, key.as_bytes()).next().is_some() {
        return;
    }
    if let Some(row) = tx.delete(&SERVICE_VIRTUAL_IPS, key.as_bytes()) {
        tx.put(&FREE_VIRTUAL_IPS, FreeVirtualIp { offset: row.offset, is_counter: false });
        tx.bump(SERVICE_VIRTUAL_IPS.name);
        tx.bump(FREE_VIRTUAL_IPS.name);
    }
}

/// A free address, else the next one; `None` when all are given out.
fn allocate(tx: &mut Tx<'_>, service: &str) -> Option<Ipv4Addr> {
    let free = KeyBuilder::new().number(0);
    let given_back = tx.prefix(&FREE_VIRTUAL_IPS, free.as_bytes()).next();
    let offset = match given_back {
        Some(row) => {
            tx.delete(&FREE_VIRTUAL_IPS, (FREE_VIRTUAL_IPS.key)(&row).as_ref());
            row.offset
        }
        None => next(tx)?,
    };
    let index = tx.index();
    tx.put(
        &SERVICE_VIRTUAL_IPS,
        ServiceVirtualIp {
            service: service.into(),
            offset,
            manual: Vec::new(),
            create_index: index,
            modify_index: index,
        },
    );
    tx.bump(SERVICE_VIRTUAL_IPS.name);
    Some(address(offset))
}

fn next(tx: &mut Tx<'_>) -> Option<u32> {
    let counter = KeyBuilder::new().number(1);
    let last = tx.prefix(&FREE_VIRTUAL_IPS, counter.as_bytes()).next();
    let offset = last.as_ref().map_or(0, |row| row.offset) + 1;
    if offset > OFFSET_MAX {
        return None;
    }
    if let Some(last) = last {
        tx.delete(&FREE_VIRTUAL_IPS, (FREE_VIRTUAL_IPS.key)(&last).as_ref());
    }
    tx.put(&FREE_VIRTUAL_IPS, FreeVirtualIp { offset, is_counter: true });
    tx.bump(FREE_VIRTUAL_IPS.name);
    Some(offset)
}

/// How addresses stand in snapshots.
pub(super) const RECORDS: [RecordDef; 2] = [
    RecordDef { tag: 32, save: save_assigned, restore: restore_assigned },
    RecordDef { tag: 33, save: save_free, restore: restore_free },
];

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NamedService {
    name: String,
    peer: String,
    service_name: NamedServiceInner,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NamedServiceInner {
    name: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AssignedRecord {
    service: NamedService,
    #[serde(rename = "IP")]
    ip: Blob,
    #[serde(rename = "ManualIPs")]
    manual: Vec<String>,
    create_index: Index,
    modify_index: Index,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct FreeRecord {
    #[serde(rename = "IP")]
    ip: Blob,
    is_counter: bool,
}

/// An offset as a mapped IPv6 address, the form of snapshots.
fn to_bytes(offset: u32) -> Blob {
    Blob(Ipv4Addr::from(offset).to_ipv6_mapped().octets().to_vec().into())
}

/// The offset in a snapshot. One outside of 240.0.0.0/4 would become the address of
/// somebody else.
fn from_bytes(bytes: &Blob) -> Result<u32, msgpack::Error> {
    let last = bytes.len().saturating_sub(4);
    let offset = <[u8; 4]>::try_from(&bytes[last..]).map_or(0, u32::from_be_bytes);
    if offset > OFFSET_MAX {
        return Err(serde::de::Error::custom(format!(
            "virtual IP offset {offset} is larger than {OFFSET_MAX}"
        )));
    }
    Ok(offset)
}

fn save_assigned(state: &State, write: &mut dyn FnMut(&[u8])) {
    for row in state.peek_prefix(&SERVICE_VIRTUAL_IPS, &[]) {
        let name = row.service.as_str().to_owned();
        write(&msgpack::to_vec(&AssignedRecord {
            service: NamedService {
                service_name: NamedServiceInner { name },
                ..NamedService::default()
            },
            ip: to_bytes(row.offset),
            manual: row.manual.clone(),
            create_index: row.create_index,
            modify_index: row.modify_index,
        }));
    }
}

/// Older snapshots name the service directly.
fn restore_assigned(bytes: &[u8], tx: &mut Tx<'_>) -> Result<(), msgpack::Error> {
    let record: AssignedRecord = msgpack::from_slice(bytes)?;
    let inner = record.service.service_name.name;
    let name = if inner.is_empty() { record.service.name } else { inner };
    tx.put(
        &SERVICE_VIRTUAL_IPS,
        ServiceVirtualIp {
            service: name.into(),
            offset: from_bytes(&record.ip)?,
            manual: Vec::new(),
            create_index: record.create_index,
            modify_index: record.modify_index,
        },
    );
    Ok(())
}

fn save_free(state: &State, write: &mut dyn FnMut(&[u8])) {
    for row in state.peek_prefix(&FREE_VIRTUAL_IPS, &[]) {
        let record = FreeRecord { ip: to_bytes(row.offset), is_counter: row.is_counter };
        write(&msgpack::to_vec(&record));
    }
}

fn restore_free(bytes: &[u8], tx: &mut Tx<'_>) -> Result<(), msgpack::Error> {
    let record: FreeRecord = msgpack::from_slice(bytes)?;
    let row = FreeVirtualIp { offset: from_bytes(&record.ip)?, is_counter: record.is_counter };
    tx.put(&FREE_VIRTUAL_IPS, row);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restored(offset: u32) -> Result<Option<Ipv4Addr>, String> {
        let mut state = State::new(&[&SERVICE_VIRTUAL_IPS, &FREE_VIRTUAL_IPS]);
        let record = AssignedRecord {
            service: NamedService { name: "web".to_owned(), ..NamedService::default() },
            ip: to_bytes(offset),
            ..AssignedRecord::default()
        };
        let bytes = msgpack::to_vec(&record);
        let outcome = state.fill(Index(1), |tx| restore_assigned(&bytes, tx));
        outcome.map(|()| virtual_ip(&state, "web")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_snapshot_cannot_give_a_service_an_address_outside_of_the_range() {
        assert_eq!(restored(1), Ok(Some(Ipv4Addr::new(240, 0, 0, 1))));
        assert_eq!(restored(OFFSET_MAX), Ok(Some(Ipv4Addr::new(255, 255, 255, 254))));
        for offset in [OFFSET_MAX + 1, BASE + 1, u32::MAX] {
            let refused = restored(offset).unwrap_err();
            assert!(refused.contains("is larger than 268435454"), "{refused}");
        }
        let free = msgpack::to_vec(&FreeRecord { ip: to_bytes(u32::MAX), is_counter: true });
        let mut state = State::new(&[&SERVICE_VIRTUAL_IPS, &FREE_VIRTUAL_IPS]);
        assert!(state.fill(Index(1), |tx| restore_free(&free, tx)).is_err());
    }
}
