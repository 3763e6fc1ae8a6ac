//! Virtual addresses that an operator assigns by hand, next to the one that a service
//! has anyway (`reference/http-api.md` 2.18).

use std::net::Ipv4Addr;

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use bytes::Bytes;
use contract::remote::{
    CommandMethod, ReplyReader, decode_args, encode, header, reading, with_token,
};
use contract::{Applied, Call, CallError, Command, LeaderView, RemoteCall, Request};
use serde::{Deserialize, Serialize};
use store::{Store, Tx};
use types::catalog::NestedName;
use types::{Datacenter, SecretId, ServiceName};

use super::table::service_key;
use super::virtual_ip::{SERVICE_VIRTUAL_IPS, ServiceVirtualIp};

/// Most addresses of a service.
const ADDRESSES_MAX: usize = 8;

/// Replaces the addresses that a service was given by hand (Raft command 43). Others that
/// have one of them lose it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UpdateVirtualIp {
    /// The datacenter; it is not part of the log.
    #[serde(skip)]
    pub datacenter: Datacenter,
    /// The service.
    pub service: PeeredServiceName,
    /// Its addresses from now on.
    #[serde(rename = "ManualIPs")]
    pub manual: Vec<String>,
}

/// A service of this cluster, or of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PeeredServiceName {
    /// The name, as Consul nests it.
    pub service_name: NestedName,
    /// The peer; empty for this cluster.
    pub peer: String,
}

impl PeeredServiceName {
    /// A service of this cluster.
    pub fn local(name: ServiceName) -> Self {
        Self { service_name: NestedName { name }, peer: String::new() }
    }
}

/// What came of an assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UpdateVirtualIpReply {
    /// Whether the service has a virtual address at all; if not, nothing was assigned.
    pub found: bool,
    /// The services that lost an address.
    pub unassigned_from: Option<Vec<PeeredServiceName>>,
}

impl Command for UpdateVirtualIp {
    const TAG: u8 = 43;
    const NAME: &'static str = "Internal.AssignManualServiceVIPs";
    type Reply = UpdateVirtualIpReply;

    fn datacenter(&self) -> &Datacenter {
        &self.datacenter
    }

    fn authorize(&self, who: &Authorizer, _store: &Store) -> Result<(), PermissionDenied> {
        who.require(Permission::write(Resource::Mesh, ""))
    }

    fn prepare(&mut self, _leader: &mut LeaderView<'_>) -> Result<(), CallError> {
        if self.manual.len() > ADDRESSES_MAX {
            let count = self.manual.len();
            let text =
                format!("cannot associate more than {ADDRESSES_MAX} manual virtual IPs: {count}");
            return Err(CallError::failed(text));
        }
        for ip in &self.manual {
            if ip.parse::<Ipv4Addr>().is_err() {
                let text = format!("{ip:?} is not a valid manual virtual IP: use an IPv4 address");
                return Err(CallError::failed(text));
            }
        }
        Ok(())
    }

    fn apply(&self, tx: &mut Tx<'_>) -> Applied<UpdateVirtualIpReply> {
        let name = self.service.service_name.name.as_str();
        let key = service_key(name);
        let is_local = self.service.peer.is_empty();
        let present = tx.get(&SERVICE_VIRTUAL_IPS, key.as_bytes()).filter(|_| is_local);
        let Some(present) = present else { return Ok(UpdateVirtualIpReply::default()) };
        let mut losers = Vec::new();
        let others: Vec<ServiceVirtualIp> =
            tx.peek_prefix(&SERVICE_VIRTUAL_IPS, &[]).cloned().collect();
        for mut other in others {
            let before = other.manual.len();
            if other.service == present.service {
                continue;
            }
            other.manual.retain(|ip| !self.manual.contains(ip));
            if other.manual.len() < before {
                losers.push(PeeredServiceName::local(other.service.clone()));
                put(tx, other);
            }
        }
        if present.manual != self.manual {
            put(tx, ServiceVirtualIp { manual: self.manual.clone(), ..(*present).clone() });
        }
        let unassigned_from = (!losers.is_empty()).then_some(losers);
        Ok(UpdateVirtualIpReply { found: true, unassigned_from })
    }
}

/// `AssignServiceManualVIPsRequest`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AssignRequest {
    datacenter: Datacenter,
    service: ServiceName,
    #[serde(rename = "ManualVIPs")]
    manual: Vec<String>,
}

impl CommandMethod for UpdateVirtualIp {
    fn request(&self, token: &SecretId) -> (&'static str, Bytes) {
        let request = AssignRequest {
            datacenter: self.datacenter.clone(),
            service: self.service.service_name.name.clone(),
            manual: self.manual.clone(),
        };
        (Self::METHOD, with_token(&request, token))
    }

    fn encode_reply(reply: &UpdateVirtualIpReply) -> Bytes {
        encode(reply)
    }

    fn reply_reader(&self) -> ReplyReader<UpdateVirtualIpReply> {
        reading(Self::METHOD, Ok)
    }
}

/// The argument names the service in another way than the log.
pub(super) fn decode_assign(args: &[u8]) -> Result<RemoteCall, CallError> {
    let AssignRequest { datacenter, service, manual } = decode_args(args)?;
    let service = PeeredServiceName::local(service);
    let command = UpdateVirtualIp { datacenter, service, manual };
    Ok(RemoteCall::write(command, header(args)?.token))
}

fn put(tx: &mut Tx<'_>, mut row: ServiceVirtualIp) {
    row.modify_index = tx.index();
    tx.put(&SERVICE_VIRTUAL_IPS, row);
    tx.bump(SERVICE_VIRTUAL_IPS.name);
}

/// The body of `PUT /v1/internal/service-virtual-ip`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Body {
    service: ServiceName,
    #[serde(rename = "ManualVIPs")]
    manual: Vec<String>,
}

/// `PUT /v1/internal/service-virtual-ip`.
pub(super) fn assign(request: &Request) -> Result<Call, CallError> {
    let body: Body = request.json("Request decode failed: ")?;
    let command = UpdateVirtualIp {
        datacenter: request.datacenter(),
        service: PeeredServiceName::local(body.service),
        manual: body.manual,
    };
    Ok(Call::write(command, &request.token))
}

#[cfg(test)]
mod tests {
    use contract::LoneLeader;
    use types::Index;
    use types::catalog::{NodeService, RegisterRequest};

    use super::super::Register;
    use super::*;
    use crate::system_metadata::{SYSTEM_METADATA, SystemMetadataEntry, VIRTUAL_IPS};

    struct World {
        store: Store,
        index: u64,
    }

    impl World {
        /// Services of the mesh.
        fn new(names: &[&str]) -> Self {
            let mut world = Self { store: Store::new(&crate::tables()), index: 0 };
            world.store.write(|batch| {
                let (key, value) = (VIRTUAL_IPS.to_owned(), "true".to_owned());
                let flag = SystemMetadataEntry { key, value, ..SystemMetadataEntry::default() };
                batch.tx(Index::ZERO).put(&SYSTEM_METADATA, flag);
            });
            for name in names {
                let mut service = NodeService {
                    id: (*name).into(),
                    service: (*name).into(),
                    ..NodeService::default()
                };
                service.connect.native = true;
                let request = RegisterRequest {
                    node: "n1".into(),
                    service: Some(service),
                    ..RegisterRequest::default()
                };
                world.apply(&Register(request));
            }
            world
        }

        fn apply<C: Command>(&mut self, command: &C) -> C::Reply {
            self.index += 1;
            let index = Index(self.index);
            let applied = self.store.write(|batch| command.apply(&mut batch.tx(index)));
            applied.unwrap_or_else(|error| panic!("{error}"))
        }

        fn assign(&mut self, service: &str, manual: &[&str]) -> (bool, Vec<String>) {
            let reply = self.apply(&update(service, manual));
            let losers = reply.unassigned_from.unwrap_or_default();
            let names = losers.iter().map(|loser| loser.service_name.name.to_string());
            (reply.found, names.collect())
        }

        fn of(&self, service: &str) -> (Vec<String>, u64) {
            let state = self.store.snapshot();
            let row = state.peek(&SERVICE_VIRTUAL_IPS, service_key(service).as_bytes()).unwrap();
            (row.manual.clone(), row.modify_index.0)
        }
    }

    fn update(service: &str, manual: &[&str]) -> UpdateVirtualIp {
        UpdateVirtualIp {
            service: PeeredServiceName::local(service.into()),
            manual: manual.iter().map(|&ip| ip.to_owned()).collect(),
            ..UpdateVirtualIp::default()
        }
    }

    #[test]
    fn an_address_belongs_to_the_service_that_got_it_last() {
        let mut world = World::new(&["web", "db"]);
        assert_eq!(world.assign("web", &["10.0.0.1", "10.0.0.2"]), (true, vec![]));
        let lost = world.assign("db", &["10.0.0.2"]);
        assert_eq!(lost, (true, vec!["web".to_owned()]));
        assert_eq!(world.of("web"), (vec!["10.0.0.1".to_owned()], 4));
        assert_eq!(world.of("db"), (vec!["10.0.0.2".to_owned()], 4));
        assert_eq!(world.assign("db", &["10.0.0.2"]), (true, vec![]));
        assert_eq!(world.of("db").1, 4, "nothing changed");
        assert_eq!(world.assign("absent", &["10.0.0.1"]), (false, vec![]));
        assert_eq!(world.of("web").0, ["10.0.0.1"], "nothing was assigned");
        assert_eq!(world.assign("web", &[]), (true, vec![]));
        assert!(world.of("web").0.is_empty());
    }

    #[test]
    fn addresses_are_ipv4_and_few() {
        let store = Store::new(&crate::tables());
        let prepare = |manual: &[&str]| {
            let mut update = update("web", manual);
            let prepared = LoneLeader::new(&store).lead(|leader| update.prepare(leader));
            prepared.map_err(|error| error.text().to_owned())
        };
        assert_eq!(prepare(&["10.0.0.1"; 8]), Ok(()));
        assert!(prepare(&["10.0.0.1"; 9]).unwrap_err().contains("more than 8"));
        assert!(prepare(&["::1"]).unwrap_err().contains("\"::1\" is not a valid"));
        assert!(prepare(&["x"]).is_err());
    }

    #[test]
    fn the_answer_names_services_as_consul_does() {
        let mut world = World::new(&["web", "db"]);
        world.assign("web", &["10.0.0.1"]);
        let reply = world.apply(&update("db", &["10.0.0.1"]));
        let json = String::from_utf8(types::json::encode(&reply)).unwrap();
        let expected =
            r#"{"Found":true,"UnassignedFrom":[{"ServiceName":{"Name":"web"},"Peer":""}]}"#;
        assert_eq!(json, expected);
        let json = types::json::encode(&UpdateVirtualIpReply::default());
        assert_eq!(String::from_utf8(json).unwrap(), r#"{"Found":false,"UnassignedFrom":null}"#);
    }
}
