//! A server as its tags in gossip tell of it (`reference/gossip-wire.md`, tags of servers).

use std::net::{IpAddr, SocketAddr};

use raft::ServerId;
use types::member::{Member, MemberStatus};

/// What the server needs to know of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerMember {
    /// The node's name.
    pub(crate) name: String,
    /// `id`: who it is in the quorum.
    pub(crate) id: ServerId,
    /// `ip:port` of its server port.
    pub(crate) address: SocketAddr,
    /// `build` without the revision.
    pub(crate) version: String,
    /// How it is doing.
    pub(crate) status: MemberStatus,
    /// Whether it was started with `-bootstrap`.
    pub(crate) bootstraps: bool,
}

impl ServerMember {
    /// The server, if the member is one and says all that one needs.
    pub(crate) fn parse(member: &Member) -> Option<Self> {
        let tag = |name: &str| member.tags.get(name).map(String::as_str);
        if tag("role") != Some("consul") {
            return None;
        }
        let ip: IpAddr = member.addr.parse().ok()?;
        let port: u16 = tag("port")?.parse().ok()?;
        Some(Self {
            name: member.name.clone(),
            id: ServerId(tag("id").filter(|id| !id.is_empty())?.into()),
            address: SocketAddr::new(ip, port),
            version: version(member).unwrap_or_default().to_owned(),
            status: member.status,
            bootstraps: tag("bootstrap").is_some(),
        })
    }
}

/// The version that a member runs: its `build` without the revision.
pub(crate) fn version(member: &Member) -> Option<&str> {
    let build = member.tags.get("build")?;
    build.split(':').next()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A member with these tags, as text: `role=consul id=u-1`.
    pub(crate) fn member(name: &str, address: &str, status: MemberStatus, tags: &str) -> Member {
        let tags = tags.split_whitespace().filter_map(|tag| tag.split_once('='));
        Member {
            name: name.to_owned(),
            addr: address.to_owned(),
            status,
            tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ..Member::default()
        }
    }

    #[test]
    fn a_member_is_a_server_if_it_says_all_that_one_needs() {
        let parse = |tags: &str| {
            let parsed = ServerMember::parse(&member("s1", "10.0.0.1", MemberStatus::ALIVE, tags))?;
            Some(format!("{} {} {}", parsed.id.0, parsed.address, parsed.version))
        };
        let all = "role=consul id=u-1 port=8300 build=1.21.4:abc";
        assert_eq!(parse(all).as_deref(), Some("u-1 10.0.0.1:8300 1.21.4"));
        for lacking in [
            "role=node id=u-1 port=8300",
            "id=u-1 port=8300",
            "role=consul port=8300",
            "role=consul id= port=8300",
            "role=consul id=u-1",
            "role=consul id=u-1 port=83000",
        ] {
            assert_eq!(parse(lacking), None, "{lacking}");
        }
        let nowhere = member("s1", "nowhere", MemberStatus::ALIVE, all);
        assert_eq!(ServerMember::parse(&nowhere), None);
    }
}
