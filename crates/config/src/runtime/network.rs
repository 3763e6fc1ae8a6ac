//! Addresses, ports and sockets.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListenAddr {
    /// A TCP (and for DNS also UDP) socket.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Addresses that the agent binds and announces.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkConfig {
    /// Where servers and gossip listen.
    pub bind: IpAddr,
    /// `client_addr`: where the client-facing servers listen by default.
    pub client: Vec<IpAddr>,
    /// The address announced in the datacenter; never an any-address.
    pub advertise_lan: IpAddr,
    /// The address announced to other datacenters.
    pub advertise_wan: IpAddr,
    /// Where the server's RPC port listens.
    pub rpc_bind: SocketAddr,
    /// The RPC address announced in the datacenter.
    pub rpc_advertise: SocketAddr,
    /// Whether answers to other datacenters carry WAN addresses.
    pub translate_wan_addrs: bool,
}

/// An inclusive range of ports; 0 and 0 disable it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest port.
    pub min: u16,
    /// The highest port.
    pub max: u16,
}

/// Ports by purpose; `None` is disabled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// DNS over UDP and TCP.
    pub dns: Option<u16>,
    /// HTTP.
    pub http: Option<u16>,
    /// HTTP over TLS.
    pub https: Option<u16>,
    /// gRPC.
    pub grpc: Option<u16>,
    /// gRPC over TLS.
    pub grpc_tls: Option<u16>,
    /// Gossip in the datacenter.
    pub serf_lan: u16,
    /// Gossip among servers of all datacenters.
    pub serf_wan: Option<u16>,
    /// RPC and Raft.
    pub server: u16,
    /// Given to sidecar proxies.
    pub sidecar: PortRange,
    /// Given to exposed checks.
    pub expose: PortRange,
    /// Not used.
    pub proxy: PortRange,
}

/// A port as Consul shows it: `-1` when disabled.
pub fn shown_port(port: Option<u16>) -> i32 {
    port.map_or(-1, i32::from)
}

/// Sockets of the client-facing servers; empty when disabled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listeners {
    /// DNS; never a unix socket.
    pub dns: Vec<ListenAddr>,
    /// HTTP.
    pub http: Vec<ListenAddr>,
    /// HTTP over TLS.
    pub https: Vec<ListenAddr>,
    /// gRPC.
    pub grpc: Vec<ListenAddr>,
    /// gRPC over TLS.
    pub grpc_tls: Vec<ListenAddr>,
    /// Ownership of unix sockets.
    pub unix_sockets: UnixSockets,
}

/// Owner, group and mode given to unix sockets; empty leaves them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnixSockets {
    /// Name or number of the user.
    pub user: String,
    /// Name or number of the group.
    pub group: String,
    /// Octal permissions.
    pub mode: String,
}
