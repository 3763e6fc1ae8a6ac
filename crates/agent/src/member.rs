//! How this agent appears in its pools.
//!
//! There is no gossip yet: each pool has one member, this agent.

use std::collections::BTreeMap;

use config::RuntimeConfig;
use types::member::{Member, MemberStatus};
use types::version::{CONSUL_REVISION, CONSUL_VERSION};

/// This agent in the LAN pool (tags: `reference/http-api.md` 2.2).
pub(crate) fn lan(config: &RuntimeConfig, node_id: &str) -> Member {
    let mut tags = shared_tags(config, node_id);
    if let Some(wan) = config.ports.serf_wan {
        tags.insert("wan_join_port".to_owned(), wan.to_string());
    }
    Member {
        name: config.identity.node_name.as_str().to_owned(),
        addr: config.network.advertise_lan.to_string(),
        port: config.ports.serf_lan,
        tags,
        ..alive()
    }
}

/// This agent in the WAN pool, if it is in one.
pub(crate) fn wan(config: &RuntimeConfig, node_id: &str) -> Option<Member> {
    let port = config.ports.serf_wan?;
    Some(Member {
        name: format!("{}.{}", config.identity.node_name, config.identity.datacenter),
        addr: config.network.advertise_wan.to_string(),
        port,
        tags: shared_tags(config, node_id),
        ..alive()
    })
}

fn alive() -> Member {
    Member {
        status: MemberStatus::ALIVE,
        protocol_min: 1,
        protocol_max: 5,
        protocol_cur: 2,
        delegate_min: 2,
        delegate_max: 5,
        delegate_cur: 4,
        ..Member::default()
    }
}

fn shared_tags(config: &RuntimeConfig, node_id: &str) -> BTreeMap<String, String> {
    let mut tags: BTreeMap<String, String> = [
        ("role", "consul"),
        ("dc", config.identity.datacenter.as_str()),
        ("segment", ""),
        ("id", node_id),
        ("vsn", "2"),
        ("vsn_min", "2"),
        ("vsn_max", "3"),
        ("raft_vsn", "3"),
        ("acls", if config.acl.enabled { "1" } else { "0" }),
        ("ft_fs", "1"),
        ("ft_si", "1"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect();
    tags.insert("port".to_owned(), config.ports.server.to_string());
    tags.insert("build".to_owned(), format!("{CONSUL_VERSION}:{CONSUL_REVISION}"));
    for (tag, port) in [("grpc_port", config.ports.grpc), ("grpc_tls_port", config.ports.grpc_tls)]
    {
        if let Some(port) = port {
            tags.insert(tag.to_owned(), port.to_string());
        }
    }
    if config.bootstrap.bootstrap {
        tags.insert("bootstrap".to_owned(), "1".to_owned());
    }
    if config.bootstrap.expect > 0 {
        tags.insert("expect".to_owned(), config.bootstrap.expect.to_string());
    }
    tags
}
