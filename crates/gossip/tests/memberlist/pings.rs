//! Pings that measure, beside the turns of the probes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gossip::memberlist::{Action, Memberlist, NodeState, Options, Timings};
use gossip::wire::Versions;
use gossip::wire::message::{Alive, Message as _};

use crate::network::Heard;

const WITHIN: Duration = Duration::from_secs(3);

fn addr(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 8301))
}

/// A machine that does nothing by itself and knows the other one.
fn machine(own: (&str, u8), other: (&str, u8), now: Instant) -> (Memberlist, Heard) {
    let never = Duration::ZERO;
    let timings = Timings {
        probe_interval: never,
        gossip_interval: never,
        push_pull_interval: never,
        ..Timings::lan()
    };
    let options = Options { timings, ..Options::new(own.0, addr(own.1), 1) };
    let mut heard = Heard::default();
    let mut machine = Memberlist::new(options, now, &mut heard);
    let (node, at) = (other.0.into(), addr(other.1));
    let alive = Alive {
        addr: Some(at.ip()),
        incarnation: 1,
        meta: b""[..].into(),
        node,
        port: at.port(),
        versions: Some(Versions::CONSUL),
    };
    machine.handle_packet(at, &alive.encode(), now, &mut heard);
    (machine, heard)
}

/// The packets that a machine wants to send.
fn packets(machine: &mut Memberlist) -> Vec<Bytes> {
    let actions = std::iter::from_fn(|| machine.poll_action());
    actions
        .filter_map(
            |action| if let Action::Packet { plain, .. } = action { Some(plain) } else { None },
        )
        .collect()
}

#[test]
fn an_answer_in_time_tells_how_far_a_node_is_and_none_has_no_consequence() {
    let start = crate::start();
    let after = |millis| start + Duration::from_millis(millis);
    let (mut a, mut of_a) = machine(("a", 1), ("b", 2), start);
    let (mut b, mut of_b) = machine(("b", 2), ("a", 1), start);
    assert!(!a.ping("c", WITHIN, start), "nobody has that name");
    assert!(a.ping("b", WITHIN, start));
    assert!(!a.ping("b", WITHIN, start), "it is being pinged");
    assert_eq!(a.next_timeout(), Some(start + WITHIN));
    for ping in packets(&mut a) {
        b.handle_packet(addr(1), &ping, after(20), &mut of_b);
    }
    let answers = packets(&mut b);
    for ack in &answers {
        a.handle_packet(addr(2), ack, after(45), &mut of_a);
    }
    assert_eq!(of_a.rtts, [Duration::from_millis(45)]);
    assert_eq!(a.next_timeout(), None);

    // The next answer comes too late.
    assert!(a.ping("b", WITHIN, after(50)));
    a.handle_timeout(after(50) + WITHIN, &mut of_a);
    for ack in &answers {
        a.handle_packet(addr(2), ack, after(3100), &mut of_a);
    }
    assert_eq!(of_a.rtts.len(), 1);
    assert_eq!(a.node("b").map(|node| node.state), Some(NodeState::Alive));
    assert!(a.ping("b", WITHIN, after(3100)));
}
