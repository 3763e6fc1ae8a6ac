//! The rules of claims, beside a small model of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use gossip::memberlist::{Action, Memberlist, NodeState, Options};
use gossip::wire::Versions;
use gossip::wire::message::{Alive, Dead, Message as _, Suspect};
use proptest::prelude::*;

use crate::network::Heard;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Somebody says something of a node.
#[derive(Clone, Debug)]
struct Claim {
    kind: Kind,
    node: &'static str,
    incarnation: u32,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// From the first or the second address of that name.
    Alive {
        second: bool,
    },
    Suspect {
        from: &'static str,
    },
    Dead {
        from: &'static str,
    },
}

fn claim() -> impl Strategy<Value = Claim> {
    let name = prop::sample::select(&NAMES[..]);
    let kind = prop_oneof![
        any::<bool>().prop_map(|second| Kind::Alive { second }),
        name.clone().prop_map(|from| Kind::Suspect { from }),
        name.clone().prop_map(|from| Kind::Dead { from }),
    ];
    let incarnation = prop_oneof![20 => 0..7u32, 1 => (u32::MAX - 1)..=u32::MAX];
    (kind, name, incarnation).prop_map(|(kind, node, incarnation)| Claim {
        kind,
        node,
        incarnation,
    })
}

fn addr(node: &str, second: bool) -> SocketAddr {
    let place = NAMES.iter().position(|name| *name == node).unwrap_or(0) as u8;
    SocketAddr::from(([10, 0, u8::from(second), place + 1], 8301))
}

impl Claim {
    fn encode(&self) -> Vec<u8> {
        let (incarnation, node) = (self.incarnation, self.node.into());
        match self.kind {
            Kind::Alive { second } => {
                let addr = addr(self.node, second);
                let (ip, port, versions) = (Some(addr.ip()), addr.port(), Some(Versions::CONSUL));
                let meta = b"meta"[..].into();
                Alive { addr: ip, incarnation, meta, node, port, versions }.encode()
            }
            Kind::Suspect { from } => Suspect { incarnation, node, from: from.into() }.encode(),
            Kind::Dead { from } => Dead { incarnation, node, from: from.into() }.encode(),
        }
    }
}

/// What is known of a node.
type Row = (NodeState, u32, SocketAddr);

/// What a machine should know while no time goes by.
struct Model {
    nodes: BTreeMap<&'static str, Row>,
}

impl Model {
    fn new() -> Self {
        let own = (NodeState::Alive, 1, addr("a", false));
        Self { nodes: BTreeMap::from([("a", own)]) }
    }

    fn hear(&mut self, claim: &Claim) {
        let known = self.nodes.get(claim.node).copied();
        let (own, said) = (claim.node == "a", claim.incarnation);
        match (claim.kind, known) {
            (Kind::Alive { second }, None) => {
                if said > 0 {
                    let row = (NodeState::Alive, said, addr(claim.node, second));
                    self.nodes.insert(claim.node, row);
                }
            }
            (Kind::Alive { second }, Some((state, known, at))) => {
                let addr = addr(claim.node, second);
                let moves = addr != at;
                let counts = match (moves, own) {
                    (true, _) => state == NodeState::Left,
                    (false, true) => said >= known,
                    (false, false) => said > known,
                };
                if counts && own {
                    self.refute(said);
                } else if counts {
                    self.nodes.insert(claim.node, (NodeState::Alive, said, addr));
                }
            }
            (_, None) => {}
            (_, Some((state, known, _))) if said < known || state.is_gone() => {}
            (_, Some(_)) if own => self.refute(said),
            (Kind::Suspect { .. }, Some((NodeState::Suspect, ..))) => {}
            (Kind::Suspect { .. }, Some((_, _, at))) => {
                self.nodes.insert(claim.node, (NodeState::Suspect, said, at));
            }
            (Kind::Dead { from }, Some((_, _, at))) => {
                let state = if from == claim.node { NodeState::Left } else { NodeState::Dead };
                self.nodes.insert(claim.node, (state, said, at));
            }
        }
    }

    fn refute(&mut self, said: u32) {
        let own = self.nodes.get_mut("a").expect("it knows itself");
        own.1 = own.1.max(said).saturating_add(1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn claims_count_as_the_rules_say(claims in prop::collection::vec(claim(), 0..40)) {
        let (now, mut heard) = (crate::start(), Heard::default());
        let mut machine = Memberlist::new(Options::new("a", addr("a", false), 1), now, &mut heard);
        let mut model = Model::new();
        for claim in &claims {
            let before = machine.local_node().incarnation;
            machine.handle_packet(addr("b", false), &claim.encode(), now, &mut heard);
            model.hear(claim);
            let rows: BTreeMap<&str, Row> = machine
                .members()
                .map(|node| (node.name.as_ref(), (node.state, node.incarnation, node.addr)))
                .collect();
            prop_assert_eq!(&rows, &model.nodes, "after {:?}", claim);
            prop_assert!(machine.local_node().incarnation >= before);
            prop_assert!(machine.queued() <= rows.len());
        }
    }

    /// Whatever was said of it before, a node that hears of an accusation overcomes it for whoever
    /// has believed it.
    #[test]
    fn a_refutation_always_wins(
        claims in prop::collection::vec(claim(), 0..20),
        accused in 1..u32::MAX - 1, dead in any::<bool>(),
    ) {
        let (now, mut heard) = (crate::start(), Heard::default());
        let node = |name: &str| Options::new(name, addr(name, false), 1);
        let mut accused_node = Memberlist::new(node("a"), now, &mut heard);
        let mut witness = Memberlist::new(node("b"), now, &mut heard);
        let calm = claims.iter().filter(|claim| claim.incarnation < u32::MAX - 1);
        for claim in calm.filter(|claim| claim.node != "b") {
            witness.handle_packet(addr("c", false), &claim.encode(), now, &mut heard);
        }
        let kind = if dead { Kind::Dead { from: "c" } } else { Kind::Suspect { from: "c" } };
        let accusation = Claim { kind, node: "a", incarnation: accused }.encode();
        for machine in [&mut witness, &mut accused_node] {
            machine.handle_packet(addr("c", false), &accusation, now, &mut heard);
        }
        let taken = witness.node("a").is_some_and(|node| node.addr != addr("a", false));
        // Its broadcasts reach the witness, and are all that does.
        let later = now + Duration::from_secs(1);
        let hello = Claim { kind: Kind::Alive { second: false }, node: "b", incarnation: 1 };
        accused_node.handle_packet(addr("b", false), &hello.encode(), now, &mut heard);
        accused_node.handle_timeout(later, &mut heard);
        let mut told = false;
        while let Some(action) = accused_node.poll_action() {
            if let Action::Packet { to, plain } = action && to == addr("b", false) {
                told = true;
                witness.handle_packet(addr("a", false), &plain, later, &mut heard);
            }
        }
        prop_assert!(told);
        if !taken {
            let known = witness.node("a").map(|node| (node.state, node.incarnation));
            let own = accused_node.local_node().incarnation;
            prop_assert!(own > accused || accused < 1);
            // What the witness had heard of incarnations that never were may be higher still.
            let fabricated = known.is_some_and(|(_, incarnation)| incarnation > own);
            prop_assert!(fabricated || known == Some((NodeState::Alive, own)), "{known:?} {own}");
        }
    }

    #[test]
    fn nothing_that_comes_makes_it_panic(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20),
    ) {
        let (now, mut heard) = (crate::start(), Heard::default());
        let mut machine = Memberlist::new(Options::new("a", addr("a", false), 1), now, &mut heard);
        for (packet, seconds) in packets.iter().zip(0..) {
            let now = now + Duration::from_secs(seconds);
            machine.handle_packet(addr("b", false), packet, now, &mut heard);
            machine.handle_timeout(now, &mut heard);
            while machine.poll_action().is_some() {}
        }
        prop_assert_eq!(machine.local_node().state, NodeState::Alive);
    }
}
