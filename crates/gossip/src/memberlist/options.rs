//! Settings. Defaults and meanings: `reference/gossip-wire.md` section 9.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::wire::Versions;

/// Settings of one machine.
#[derive(Clone, Debug)]
pub struct Options {
    /// The own name.
    pub name: Arc<str>,
    /// Where others reach this node.
    pub advertise: SocketAddr,
    /// What serf says of this node at the beginning; at most 512 bytes.
    pub meta: Bytes,
    /// The versions that this node understands and speaks.
    pub versions: Versions,
    /// Intervals, timeouts and how many.
    pub timings: Timings,
    /// Whether packets and streams are compressed where that makes them smaller.
    pub compress: bool,
    /// Bytes that the shell adds to each packet: [`crate::wire::Security::packet_overhead`].
    pub packet_overhead: usize,
    /// Whether a node that does not answer packets is asked over a stream too.
    pub stream_pings: bool,
    /// What makes choices and waits this machine's own.
    pub seed: u64,
}

impl Options {
    /// A node with the timings of a local network, without meta.
    pub fn new(name: &str, advertise: SocketAddr, seed: u64) -> Self {
        Self {
            name: name.into(),
            advertise,
            meta: Bytes::new(),
            versions: Versions::CONSUL,
            timings: Timings::lan(),
            compress: true,
            packet_overhead: 0,
            stream_pings: true,
            seed,
        }
    }
}

/// Intervals, timeouts and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timings {
    /// How long a stream may take.
    pub stream_timeout: Duration,
    /// How many others are asked about a node that does not answer.
    pub indirect_checks: usize,
    /// A broadcast is sent this many times the logarithm of the pool's size.
    pub retransmit_mult: u32,
    /// A suspect has this many times the logarithm of the pool's size probe intervals to answer
    /// when others confirm the suspicion...
    pub suspicion_mult: u32,
    /// ... and this many times longer when nobody does.
    pub suspicion_max_mult: u32,
    /// How often all that is known is exchanged with a random node. Stretched for pools above 32
    /// nodes. Zero: never.
    pub push_pull_interval: Duration,
    /// How long an answer to a packet is awaited before others are asked.
    pub probe_timeout: Duration,
    /// How often a node is asked whether it is there. Zero: never.
    pub probe_interval: Duration,
    /// How often broadcasts are sent. Zero: never.
    pub gossip_interval: Duration,
    /// To how many nodes.
    pub gossip_nodes: usize,
    /// How long dead nodes are told so, and kept.
    pub gossip_to_the_dead: Duration,
    /// How long after its death a node's name may be taken by another address. Zero: never.
    pub dead_node_reclaim: Duration,
    /// Above the worst score of the own health.
    pub awareness_max: u32,
}

impl Timings {
    /// Consul's LAN pool.
    pub fn lan() -> Self {
        Self {
            stream_timeout: Duration::from_secs(10),
            indirect_checks: 3,
            retransmit_mult: 4,
            suspicion_mult: 4,
            suspicion_max_mult: 6,
            push_pull_interval: Duration::from_secs(30),
            probe_timeout: Duration::from_millis(500),
            probe_interval: Duration::from_secs(1),
            gossip_interval: Duration::from_millis(200),
            gossip_nodes: 3,
            gossip_to_the_dead: Duration::from_secs(30),
            dead_node_reclaim: Duration::from_secs(30),
            awareness_max: 8,
        }
    }

    /// Consul's WAN pool.
    pub fn wan() -> Self {
        Self {
            stream_timeout: Duration::from_secs(30),
            suspicion_mult: 6,
            push_pull_interval: Duration::from_secs(60),
            probe_timeout: Duration::from_secs(3),
            probe_interval: Duration::from_secs(5),
            gossip_interval: Duration::from_millis(500),
            gossip_to_the_dead: Duration::from_secs(60),
            ..Self::lan()
        }
    }

    /// memberlist's preset for one machine.
    pub fn local() -> Self {
        Self {
            stream_timeout: Duration::from_secs(1),
            indirect_checks: 1,
            retransmit_mult: 2,
            suspicion_mult: 3,
            push_pull_interval: Duration::from_secs(15),
            probe_timeout: Duration::from_millis(200),
            gossip_interval: Duration::from_millis(100),
            gossip_to_the_dead: Duration::from_secs(15),
            dead_node_reclaim: Duration::ZERO,
            ..Self::lan()
        }
    }

    /// Both pools of `consul agent -dev`, given the pool's own timings.
    pub fn dev(self) -> Self {
        Self {
            gossip_interval: Duration::from_millis(100),
            probe_interval: Duration::from_millis(100),
            probe_timeout: Duration::from_millis(100),
            suspicion_mult: 3,
            ..self
        }
    }
}
