//! `ContentHash` of a service, on which `/v1/agent/service/:id` blocks.
//!
//! Clients compare it with what they had before, and Consul's own Go client expects a
//! fixed value, so it is computed as Consul's is: FNV-1 over field names and values,
//! fields combined so that their order does not matter (the scheme of the public Go
//! library `hashstructure`, format 1). `Proxy` is hashed over its JSON instead of
//! field by field; nobody can know its value beforehand.

use std::collections::BTreeMap;

use types::catalog::ServiceAddress;

use super::view::AgentService;

/// The hash of everything that a client sees of the service except its datacenter,
/// its locality and the hash itself, as hexadecimal digits.
pub(super) fn of(service: &AgentService) -> String {
    let weights = structure(
        "AgentWeights",
        &[
            ("Passing", number(service.weights.passing)),
            ("Warning", number(service.weights.warning)),
        ],
    );
    let connect = service.connect.map_or(number(0), |connect| {
        structure("AgentServiceConnect", &[("Native", flag(connect.native))])
    });
    let proxy = service.proxy.as_ref().map_or(number(0), |proxy| text(&proxy.to_string()));
    let fields = [
        ("Kind", text(&service.kind)),
        ("ID", text(service.id.as_str())),
        ("Service", text(service.service.as_str())),
        ("Tags", list(service.tags.iter().map(|tag| text(tag)))),
        ("Meta", map(service.meta.iter().map(|(key, value)| (text(key), text(value))))),
        ("Port", number(service.port)),
        ("Address", text(&service.address)),
        ("SocketPath", text(&service.socket_path)),
        ("TaggedAddresses", addresses(&service.tagged_addresses)),
        ("Weights", weights),
        ("EnableTagOverride", flag(service.enable_tag_override)),
        ("CreateIndex", number(0)),
        ("ModifyIndex", number(0)),
        ("ContentHash", text("")),
        ("Proxy", proxy),
        ("Connect", connect),
        ("PeerName", text(&service.peer_name)),
    ];
    format!("{:x}", structure("AgentService", &fields))
}

fn addresses(addresses: &BTreeMap<String, ServiceAddress>) -> u64 {
    map(addresses.iter().map(|(name, address)| {
        let fields = [("Address", text(&address.address)), ("Port", number(address.port))];
        (text(name), structure("ServiceAddress", &fields))
    }))
}

fn fnv1(bytes: impl IntoIterator<Item = u8>) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.into_iter().fold(OFFSET_BASIS, |hash, byte| hash.wrapping_mul(PRIME) ^ u64::from(byte))
}

fn text(text: &str) -> u64 {
    fnv1(text.bytes())
}

fn number(number: i64) -> u64 {
    fnv1(number.to_le_bytes())
}

fn flag(flag: bool) -> u64 {
    fnv1([u8::from(flag)])
}

/// Two hashes whose order matters.
fn pair(first: u64, second: u64) -> u64 {
    fnv1(first.to_le_bytes().into_iter().chain(second.to_le_bytes()))
}

fn list(items: impl Iterator<Item = u64>) -> u64 {
    items.fold(0, pair)
}

fn map(entries: impl Iterator<Item = (u64, u64)>) -> u64 {
    entries.fold(0, |hash, (key, value)| hash ^ pair(key, value))
}

fn structure(name: &str, fields: &[(&str, u64)]) -> u64 {
    fields.iter().fold(text(name), |hash, (name, value)| hash ^ pair(text(name), *value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::Datacenter;
    use types::catalog::NodeService;

    #[test]
    fn the_go_client_finds_the_value_that_it_expects() {
        let service = NodeService {
            id: "foo".into(),
            service: "foo".into(),
            tags: vec!["bar".to_owned(), "baz".to_owned()],
            port: 8000,
            ..NodeService::default()
        };
        let (_, hash) = AgentService::new(&service, &Datacenter::from("dc1")).hashed();
        assert_eq!(hash, "3e352f348d44f7eb");
    }

    #[test]
    fn every_visible_field_counts() {
        let base = NodeService { id: "a".into(), service: "a".into(), ..NodeService::default() };
        let hash =
            |service: &NodeService| AgentService::new(service, &Datacenter::from("dc1")).hashed().1;
        let variants = [
            NodeService { port: 1, ..base.clone() },
            NodeService { tags: vec!["a".to_owned()], ..base.clone() },
            NodeService { enable_tag_override: true, ..base.clone() },
            NodeService { kind: "connect-proxy".to_owned(), ..base.clone() },
            NodeService { address: "x".to_owned(), ..base.clone() },
        ];
        for variant in variants {
            assert_ne!(hash(&variant), hash(&base), "{variant:?}");
        }
    }
}
