//! Where a server is.

use std::fmt;
use std::net::SocketAddr;

use types::Datacenter;

/// One server, as its gossip describes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerAddr {
    /// Its datacenter.
    pub datacenter: Datacenter,
    /// Its node id; empty if unknown.
    pub id: String,
    /// Its node name, without the datacenter.
    pub name: String,
    /// Its member's IP address with the port of its `port` tag.
    pub address: SocketAddr,
}

impl ServerAddr {
    /// Whether both are the same server, wherever it is. Names are unique in a datacenter.
    pub fn is_same(&self, other: &Self) -> bool {
        self.datacenter == other.datacenter && self.name == other.name
    }
}

impl fmt::Display for ServerAddr {
    /// As Consul logs it: `web-1.dc1 (Addr: tcp/10.0.0.1:8300) (DC: dc1)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { datacenter, name, address, .. } = self;
        let datacenter = datacenter.as_str();
        write!(f, "{name} (Addr: tcp/{address}) (DC: {datacenter})")
    }
}
