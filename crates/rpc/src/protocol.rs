//! What a connection is for (`reference/rpc-wire.md` 1 and 2).

/// What a connection to the server port is for: its first byte, or the ALPN name of a
/// connection that begins with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// One net/rpc connection.
    Consul = 0,
    /// Raft between servers.
    Raft = 1,
    /// The multiplexer before yamux, which nobody speaks any more.
    Multiplex = 2,
    /// TLS, and another first byte inside.
    Tls = 3,
    /// yamux; each of its streams is a net/rpc connection.
    MultiplexV2 = 4,
    /// A snapshot to save or to restore.
    Snapshot = 5,
    /// Gossip of network areas, which Consul's community edition does not have.
    Gossip = 6,
    /// TLS without a client's certificate, for those who come to get one.
    TlsInsecure = 7,
    /// gRPC between agents and servers.
    Grpc = 8,
    /// gRPC from servers to the leader.
    RaftForwarding = 9,
}

impl Protocol {
    /// All, in the order of their bytes.
    pub const ALL: [Protocol; 10] = [
        Self::Consul,
        Self::Raft,
        Self::Multiplex,
        Self::Tls,
        Self::MultiplexV2,
        Self::Snapshot,
        Self::Gossip,
        Self::TlsInsecure,
        Self::Grpc,
        Self::RaftForwarding,
    ];

    /// The first byte.
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// What a first byte stands for.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// The name in ALPN of those that may be spoken right inside TLS.
    pub const fn alpn(self) -> Option<&'static str> {
        Some(match self {
            Self::Consul => "consul/rpc-single",
            Self::Raft => "consul/raft",
            Self::MultiplexV2 => "consul/rpc-multi",
            Self::Snapshot => "consul/rpc-snapshot",
            Self::Gossip => "consul/rpc-gossip",
            Self::Grpc => "consul/rpc-grpc",
            Self::RaftForwarding => "consul/raft-forwarding",
            Self::Multiplex | Self::Tls | Self::TlsInsecure => return None,
        })
    }

    /// What an ALPN name stands for.
    pub fn from_alpn(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.alpn().is_some_and(|known| known.as_bytes() == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_names_lead_back_to_their_protocols() {
        for byte in 0..=u8::MAX {
            assert_eq!(Protocol::from_byte(byte).map(Protocol::byte), (byte <= 9).then_some(byte));
        }
        for protocol in Protocol::ALL {
            if let Some(name) = protocol.alpn() {
                assert_eq!(Protocol::from_alpn(name.as_bytes()), Some(protocol));
            }
        }
        assert_eq!(Protocol::from_alpn(b"h2"), None);
    }
}
