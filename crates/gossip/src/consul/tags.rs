//! What an agent says of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use types::GoDuration;
use types::version::{CONSUL_REVISION, CONSUL_VERSION};

/// Tags of a member: keys and values as they are gossiped.
pub type Tags = BTreeMap<String, String>;

/// What a server says in both pools. Ports are those that it listens on; `None` for what it
/// does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerTags {
    /// Its datacenter.
    pub datacenter: String,
    /// Its node id, a UUID.
    pub node_id: String,
    /// The server port.
    pub port: u16,
    /// gRPC in plain text.
    pub grpc_port: Option<u16>,
    /// gRPC over TLS.
    pub grpc_tls_port: Option<u16>,
    /// Whether it starts a cluster by itself.
    pub bootstrap: bool,
    /// The servers that have to be there before the cluster starts; 0 for none.
    pub expect: u32,
    /// Whether it never votes.
    pub read_replica: bool,
    /// Whether calls among servers are verified against an authority.
    pub use_tls: bool,
    /// Whether access control is on.
    pub acls: bool,
    /// The WAN gossip port; said in the LAN pool only.
    pub wan_join_port: Option<u16>,
}

impl ServerTags {
    /// The tags, for the LAN pool; the WAN pool's lack [`Self::wan_join_port`].
    pub fn to_tags(&self) -> Tags {
        let mut tags = shared("consul", &self.datacenter, &self.node_id);
        let mut say = |tag: &str, value: String| tags.insert(tag.to_owned(), value);
        say("raft_vsn", "3".to_owned());
        say("port", self.port.to_string());
        say("acls", u8::from(self.acls).to_string());
        say("ft_fs", "1".to_owned());
        say("ft_si", "1".to_owned());
        let ports = [
            ("grpc_port", self.grpc_port),
            ("grpc_tls_port", self.grpc_tls_port),
            ("wan_join_port", self.wan_join_port),
        ];
        for (tag, port) in ports {
            if let Some(port) = port {
                say(tag, port.to_string());
            }
        }
        if self.expect > 0 {
            say("expect", self.expect.to_string());
        }
        let switches = [
            ("bootstrap", self.bootstrap),
            ("nonvoter", self.read_replica),
            ("read_replica", self.read_replica),
            ("use_tls", self.use_tls),
        ];
        for (tag, _) in switches.into_iter().filter(|(_, on)| *on) {
            say(tag, "1".to_owned());
        }
        tags
    }
}

/// What an agent that is no server says in the LAN pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTags {
    /// Its datacenter.
    pub datacenter: String,
    /// Its node id, a UUID.
    pub node_id: String,
    /// How long others keep it after it vanished; zero for as long as they keep any.
    pub reconnect_timeout: Duration,
}

impl ClientTags {
    /// The tags.
    pub fn to_tags(&self) -> Tags {
        let mut tags = shared("node", &self.datacenter, &self.node_id);
        if !self.reconnect_timeout.is_zero() {
            let timeout = GoDuration::from(self.reconnect_timeout);
            tags.insert(RECONNECT_TIMEOUT.to_owned(), timeout.to_string());
        }
        tags
    }
}

/// The tag of a client that says how long it is kept after it vanished.
const RECONNECT_TIMEOUT: &str = "rc_tm";

/// How long a vanished member wants to be kept, if it said so in a way that can be read.
pub fn reconnect_timeout(tags: &Tags) -> Option<Duration> {
    let timeout = GoDuration::parse(tags.get(RECONNECT_TIMEOUT)?).ok()?;
    timeout.is_positive().then(|| timeout.to_std())
}

fn shared(role: &str, datacenter: &str, node_id: &str) -> Tags {
    let build = format!("{CONSUL_VERSION}:{CONSUL_REVISION}");
    [
        ("role", role),
        ("dc", datacenter),
        ("segment", ""),
        ("id", node_id),
        ("vsn", "2"),
        ("vsn_min", "2"),
        ("vsn_max", "3"),
        ("build", &build),
    ]
    .map(|(tag, value)| (tag.to_owned(), value.to_owned()))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tags: &Tags, expected: &str) {
        let shown: Vec<String> = tags.iter().map(|(tag, value)| format!("{tag}={value}")).collect();
        assert_eq!(shown.join(" "), expected);
    }

    #[test]
    fn servers_say_what_consul_says() {
        let least = ServerTags {
            datacenter: "dc1".into(),
            node_id: "7b".into(),
            port: 8300,
            ..ServerTags::default()
        };
        let build = format!("{CONSUL_VERSION}:{CONSUL_REVISION}");
        check(
            &least.to_tags(),
            &format!(
                "acls=0 build={build} dc=dc1 ft_fs=1 ft_si=1 id=7b port=8300 raft_vsn=3 \
                 role=consul segment= vsn=2 vsn_max=3 vsn_min=2"
            ),
        );
        let most = ServerTags {
            grpc_port: Some(8502),
            grpc_tls_port: Some(8503),
            bootstrap: true,
            expect: 3,
            read_replica: true,
            use_tls: true,
            acls: true,
            wan_join_port: Some(8302),
            ..least
        };
        check(
            &most.to_tags(),
            &format!(
                "acls=1 bootstrap=1 build={build} dc=dc1 expect=3 ft_fs=1 ft_si=1 grpc_port=8502 \
                 grpc_tls_port=8503 id=7b nonvoter=1 port=8300 raft_vsn=3 read_replica=1 \
                 role=consul segment= use_tls=1 vsn=2 vsn_max=3 vsn_min=2 wan_join_port=8302"
            ),
        );
    }

    #[test]
    fn clients_say_what_consul_says() {
        let mut client = ClientTags {
            datacenter: "dc1".into(),
            node_id: "7b".into(),
            reconnect_timeout: Duration::ZERO,
        };
        let build = format!("{CONSUL_VERSION}:{CONSUL_REVISION}");
        let rest = "role=node segment= vsn=2 vsn_max=3 vsn_min=2";
        check(&client.to_tags(), &format!("build={build} dc=dc1 id=7b {rest}"));
        client.reconnect_timeout = Duration::from_secs(900);
        let tags = client.to_tags();
        check(&tags, &format!("build={build} dc=dc1 id=7b rc_tm=15m0s {rest}"));
        assert_eq!(reconnect_timeout(&tags), Some(client.reconnect_timeout));
    }

    #[test]
    fn a_timeout_that_cannot_be_read_is_none() {
        let check = |value: &str, expected: Option<Duration>| {
            let tags = Tags::from([("rc_tm".to_owned(), value.to_owned())]);
            assert_eq!(reconnect_timeout(&tags), expected, "{value:?}");
        };
        check("15m", Some(Duration::from_secs(900)));
        check("0s", None);
        check("-1s", None);
        check("soon", None);
        assert_eq!(reconnect_timeout(&Tags::new()), None);
    }
}
