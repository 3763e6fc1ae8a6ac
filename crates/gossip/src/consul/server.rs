//! Members that are servers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use types::member::{Member, MemberStatus};

use super::Tags;

/// A server, read from what its member says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The member's name: in the WAN pool with the datacenter behind it.
    pub name: String,
    /// The node's name.
    pub short_name: String,
    /// The node id; empty for a very old server.
    pub id: String,
    /// The datacenter.
    pub datacenter: String,
    /// Where it takes calls.
    pub address: SocketAddr,
    /// How its member is doing.
    pub status: MemberStatus,
    /// What Consul it is.
    pub build: Build,
    /// The version of the protocol among Consul's agents.
    pub version: i64,
    /// The version of consensus; 0 if it does not say.
    pub raft_version: i64,
    /// Whether it starts a cluster by itself.
    pub bootstrap: bool,
    /// The servers that have to be there before the cluster starts; 0 for none.
    pub expect: u32,
    /// Whether it never votes.
    pub read_replica: bool,
    /// Whether calls to it have to use TLS.
    pub use_tls: bool,
    /// Whether access control is on there; `None` if it does not say.
    pub acls: Option<bool>,
    /// Its WAN gossip port.
    pub wan_join_port: Option<u16>,
    /// gRPC in plain text.
    pub grpc_port: Option<u16>,
    /// gRPC over TLS.
    pub grpc_tls_port: Option<u16>,
}

impl Server {
    /// The server that a member is; `None` if it is none, or says nothing that can be
    /// understood.
    pub fn from_member(member: &Member) -> Option<Self> {
        let tags = &member.tags;
        let tag = |name: &str| tags.get(name).map_or("", String::as_str);
        if tag("role") != "consul" {
            return None;
        }
        let ip: IpAddr = member.addr.parse().ok()?;
        let grpc_port = port(tags, "grpc_port")?;
        let grpc_tls_port = port(tags, "grpc_tls_port")?;
        let says_grpc = tags.contains_key("grpc_port") || tags.contains_key("grpc_tls_port");
        if says_grpc && grpc_port.is_none() && grpc_tls_port.is_none() {
            return None;
        }
        // Flags of features are numbers, whatever they mean.
        let flags = tags.iter().filter(|(name, _)| name.starts_with("ft_"));
        for (_, value) in flags {
            number::<i64>(value)?;
        }
        let datacenter = tag("dc").to_owned();
        let suffix = format!(".{datacenter}");
        let short_name = member.name.strip_suffix(&suffix).unwrap_or(&member.name).to_owned();
        Some(Self {
            name: member.name.clone(),
            short_name,
            id: tag("id").to_owned(),
            address: SocketAddr::new(ip, number(tag("port"))?),
            status: member.status,
            build: tag("build").parse().ok()?,
            version: number(tag("vsn"))?,
            raft_version: optional(tags, "raft_vsn")?.unwrap_or(0),
            bootstrap: tags.contains_key("bootstrap"),
            expect: optional(tags, "expect")?.unwrap_or(0),
            read_replica: tags.contains_key("read_replica") || tags.contains_key("nonvoter"),
            use_tls: tags.contains_key("use_tls"),
            acls: match tag("acls") {
                "1" => Some(true),
                "0" => Some(false),
                _ => None,
            },
            wan_join_port: optional(tags, "wan_join_port")?,
            grpc_port,
            grpc_tls_port,
            datacenter,
        })
    }
}

/// The datacenter of a member that is a client agent; `None` if it is none.
pub fn client_datacenter(member: &Member) -> Option<&str> {
    let is_client = member.tags.get("role").is_some_and(|role| role == "node");
    is_client.then(|| member.tags.get("dc").map_or("", String::as_str))
}

/// A number as Go reads one: a sign of either kind may stand before it.
fn number<N: TryFrom<i64>>(text: &str) -> Option<N> {
    text.parse::<i64>().ok()?.try_into().ok()
}

/// A number that need not be there, but must be one if it is.
fn optional<N: TryFrom<i64>>(tags: &Tags, name: &str) -> Option<Option<N>> {
    tags.get(name).map_or(Some(None), |text| number(text).map(Some))
}

/// A port that need not be there; 0 and less are none.
fn port(tags: &Tags, name: &str) -> Option<Option<u16>> {
    let port: i64 = optional(tags, name)?.unwrap_or(0);
    if port < 1 { Some(None) } else { u16::try_from(port).ok().map(Some) }
}

/// Which Consul an agent is: the first three numbers of its `build`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Build {
    /// The first number.
    pub major: u64,
    /// The second number.
    pub minor: u64,
    /// The third number.
    pub patch: u64,
}

/// There are no three numbers with dots between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no version such as 1.2.3 in the tag build")]
pub struct NoVersion;

impl Build {
    /// A version.
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self { major, minor, patch }
    }

    fn at_start(text: &str) -> Option<Self> {
        let (major, rest) = leading_number(text)?;
        let (minor, rest) = leading_number(rest.strip_prefix('.')?)?;
        let (patch, _) = leading_number(rest.strip_prefix('.')?)?;
        Some(Self { major, minor, patch })
    }
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest))
}

impl FromStr for Build {
    type Err = NoVersion;

    /// The first version that stands anywhere in the text.
    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let mut in_number = false;
        for (place, character) in text.char_indices() {
            let begins = character.is_ascii_digit() && !in_number;
            in_number = character.is_ascii_digit();
            if begins && let Some(build) = Self::at_start(&text[place..]) {
                return Ok(build);
            }
        }
        Err(NoVersion)
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ServerTags;
    use super::*;

    fn member() -> Member {
        let tags = ServerTags {
            datacenter: "dc1".into(),
            node_id: "7b".into(),
            port: 8300,
            grpc_tls_port: Some(8503),
            wan_join_port: Some(8302),
            expect: 3,
            acls: true,
            ..ServerTags::default()
        };
        Member {
            name: "s1.dc1".into(),
            addr: "10.0.0.1".into(),
            port: 8301,
            tags: tags.to_tags(),
            ..Member::default()
        }
    }

    #[test]
    fn our_own_tags_are_those_of_a_server() {
        let server = Server::from_member(&member()).expect("it is a server");
        let expected = Server {
            name: "s1.dc1".into(),
            short_name: "s1".into(),
            id: "7b".into(),
            datacenter: "dc1".into(),
            address: "10.0.0.1:8300".parse().unwrap(),
            status: MemberStatus::default(),
            build: types::version::CONSUL_VERSION.parse().unwrap(),
            version: 2,
            raft_version: 3,
            bootstrap: false,
            expect: 3,
            read_replica: false,
            use_tls: false,
            acls: Some(true),
            wan_join_port: Some(8302),
            grpc_port: None,
            grpc_tls_port: Some(8503),
        };
        assert_eq!(server, expected);
    }

    #[test]
    fn a_tag_that_cannot_be_read_makes_it_no_server() {
        let check = |tag: &str, value: Option<&str>, is_server: bool| {
            let mut member = member();
            match value {
                Some(value) => member.tags.insert(tag.to_owned(), value.to_owned()),
                None => member.tags.remove(tag),
            };
            assert_eq!(Server::from_member(&member).is_some(), is_server, "{tag} {value:?}");
        };
        check("role", Some("node"), false);
        check("role", Some("Consul"), false);
        check("port", None, false);
        check("port", Some("x"), false);
        check("port", Some("70000"), false);
        check("port", Some("+8300"), true);
        check("vsn", None, false);
        check("vsn", Some(""), false);
        check("build", None, false);
        check("build", Some("new"), false);
        check("build", Some("v0.7.2rc1:abc"), true);
        for optional in ["expect", "raft_vsn", "wan_join_port", "ft_fs", "ft_new"] {
            check(optional, None, true);
            check(optional, Some("1"), true);
            check(optional, Some("one"), false);
        }
        check("grpc_tls_port", None, true);
        check("grpc_tls_port", Some("0"), false);
        check("grpc_tls_port", Some("-1"), false);
        check("grpc_port", Some("0"), true);
        check("grpc_port", Some("x"), false);
        check("sl_alpha", Some("10.0.0.1:8303"), true);
        let lost = Member { addr: "nowhere".into(), ..member() };
        assert_eq!(Server::from_member(&lost), None);
    }

    #[test]
    fn the_version_is_the_first_one_in_the_text() {
        let check = |text: &str, expected: Option<Build>| {
            assert_eq!(text.parse::<Build>().ok(), expected, "{text:?}");
        };
        check("1.21.4:59b8b905", Some(Build::new(1, 21, 4)));
        check("1.8.7+ent-beta1:1", Some(Build::new(1, 8, 7)));
        check("v10.0.0", Some(Build::new(10, 0, 0)));
        check("1.2 3.4.5.6", Some(Build::new(3, 4, 5)));
        check("é1.2.3", Some(Build::new(1, 2, 3)));
        check("1.2", None);
        check("", None);
        check("99999999999999999999.1.1", None);
        assert!(Build::new(0, 8, 5) < Build::new(0, 10, 0));
    }

    #[test]
    fn a_client_is_known_by_its_role() {
        let mut member = member();
        assert_eq!(client_datacenter(&member), None);
        member.tags.insert("role".into(), "node".into());
        assert_eq!(client_datacenter(&member), Some("dc1"));
        member.tags.remove("dc");
        assert_eq!(client_datacenter(&member), Some(""));
    }
}
