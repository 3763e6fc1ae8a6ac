//! What a pool comes to, by itself.

use std::time::Duration;

use bytes::Bytes;
use gossip::memberlist::{Action, NodeState, Timings, Waited};

use crate::network::{Network, addr};

fn events(network: &Network, word: &str) -> Vec<String> {
    let all = network.hosts.values().flat_map(|host| &host.heard.events);
    all.filter(|event| event.starts_with(word)).cloned().collect()
}

#[test]
fn a_pool_forms_and_nobody_is_declared_dead_without_loss() {
    for (seed, count, timings) in
        [(1, 2, Timings::lan()), (2, 24, Timings::lan()), (3, 12, Timings::wan())]
    {
        let mut network = Network::joined(count, timings, seed);
        assert!(network.agrees());
        network.run(60_000);
        assert!(network.agrees());
        assert!(events(&network, "failed").is_empty());
        assert_eq!(events(&network, "joined").len(), usize::from(count) * usize::from(count));
        for host in network.hosts.values() {
            assert_eq!(host.machine.health_score(), 0);
            assert_eq!(host.machine.local_node().incarnation, 1, "nobody was suspected");
            assert!(host.machine.queued() == 0, "all has been told");
            let slow = host.heard.rtts.iter().filter(|rtt| **rtt > Duration::from_millis(80));
            assert_eq!(slow.count(), 0);
        }
    }
}

#[test]
fn news_of_a_join_reach_all_within_seconds() {
    let mut network = Network::joined(40, Timings::lan(), 4);
    network.start(41);
    network.join(41, 30);
    let took = network.until(10_000, Network::agrees);
    assert!(took.is_some_and(|took| took < 5_000), "{took:?}");
}

#[test]
fn a_dead_node_is_found_within_the_suspicion_s_bound_and_forgotten() {
    let mut network = Network::joined(20, Timings::lan(), 5);
    network.crash(7);
    let gone = |network: &Network| {
        network.hosts.keys().all(|host| network.state(*host, 7) == Some(NodeState::Dead))
    };
    // A probe hits it within seconds, others confirm, and the least timeout is 5.2 s.
    let took = network.until(60_000, gone);
    assert!(took.is_some_and(|took| (5_204..15_000).contains(&took)), "{took:?}");
    assert_eq!(events(&network, "failed"), vec!["failed n7"; 19]);
    let forgotten =
        |network: &Network| network.hosts.keys().all(|host| network.state(*host, 7).is_none());
    assert!(network.until(120_000, forgotten).is_some());
}

#[test]
fn a_pair_finds_a_dead_node_without_anybody_to_confirm() {
    let mut network = Network::joined(2, Timings::lan(), 6);
    network.crash(2);
    let took = network.until(60_000, |network| network.state(1, 2) == Some(NodeState::Dead));
    assert!(took.is_some_and(|took| (4_000..9_000).contains(&took)), "{took:?}");
    // Nobody could say that the trouble is here.
    assert!(network.hosts[&1].machine.health_score() > 0);
}

#[test]
fn a_node_that_comes_back_at_once_overcomes_what_is_said_of_its_former_life() {
    let mut network = Network::joined(10, Timings::lan(), 7);
    for others in [1, 5] {
        network.crash(3);
        network.run(3_000);
        network.start(3);
        network.join(3, others);
        let took = network.until(60_000, Network::agrees);
        assert!(took.is_some_and(|took| took < 20_000), "{took:?}");
    }
    network.run(60_000);
    assert!(network.agrees());
}

#[test]
fn a_lossy_network_loses_nobody_for_good() {
    for seed in 0..2 {
        let mut network = Network::joined(10, Timings::lan(), 8 + seed);
        network.loss = 0.25;
        network.delay = 1..400;
        network.run(90_000);
        network.loss = 0.0;
        network.delay = 1..40;
        let took = network.until(90_000, Network::agrees);
        assert!(took.is_some(), "seed {seed}: {}", network.trace());
    }
}

#[test]
fn a_short_partition_heals_by_itself() {
    let mut network = Network::joined(12, Timings::lan(), 12);
    network.cut_off(&[1, 2, 3, 4], 12);
    let apart = |network: &Network| {
        network.state(1, 12) == Some(NodeState::Dead)
            && network.state(12, 1) == Some(NodeState::Dead)
    };
    assert!(network.until(60_000, apart).is_some());
    network.cuts.clear();
    let took = network.until(60_000, Network::agrees);
    assert!(took.is_some_and(|took| took < 30_000), "{took:?}");
    assert!(!events(&network, "failed").is_empty());
}

#[test]
fn who_only_loses_one_way_is_reached_by_way_of_others() {
    let mut network = Network::joined(8, Timings::lan(), 13);
    // Neither packets nor streams pass between these two.
    network.cuts.extend([(1, 2), (2, 1)]);
    network.run(120_000);
    assert!(network.agrees());
    assert!(events(&network, "failed").is_empty());
}

#[test]
fn who_leaves_has_left_for_all_and_stays_so() {
    let mut network = Network::joined(10, Timings::lan(), 14);
    network.with(4, |machine, heard, now| machine.leave(Duration::from_secs(5), now, heard));
    let told = |network: &Network| {
        let done = Action::Broadcast { what: Waited::Leave, sent: true };
        network.hosts[&4].told.contains(&done)
    };
    assert!(network.until(5_000, told).is_some());
    network.run(3_000);
    network.crash(4);
    assert!(network.hosts.keys().all(|host| network.state(*host, 4) == Some(NodeState::Left)));
    network.run(120_000);
    assert_eq!(events(&network, "left"), vec!["left n4"; 9]);
    assert!(events(&network, "failed").is_empty());
    assert!(network.hosts.keys().all(|host| network.state(*host, 4).is_none()), "forgotten");
}

#[test]
fn who_leaves_an_empty_pool_need_not_wait() {
    let mut network = Network::new(1, Timings::lan(), 15);
    network.with(1, |machine, heard, now| machine.leave(Duration::from_secs(5), now, heard));
    let done = Action::Broadcast { what: Waited::Leave, sent: true };
    assert_eq!(network.hosts[&1].told, [done]);
}

#[test]
fn nobody_who_is_cut_off_waits_for_ever_to_leave() {
    let mut network = Network::joined(3, Timings::lan(), 16);
    network.cut_off(&[3], 3);
    // Broadcasts go out to nobody who is there, and still go out.
    network.with(3, |machine, heard, now| machine.leave(Duration::from_millis(150), now, heard));
    network.run(150);
    let ends = network.hosts[&3]
        .told
        .iter()
        .filter(|told| matches!(told, Action::Broadcast { what: Waited::Leave, .. }));
    assert_eq!(ends.count(), 1);
}

#[test]
fn a_new_meta_reaches_all() {
    let mut network = Network::joined(30, Timings::lan(), 17);
    let meta = Bytes::from_static(b"\xff\x81\xa4role\xa2db");
    let timeout = Duration::from_secs(5);
    let new = meta.clone();
    network.with(9, |machine, heard, now| machine.update_meta(new, timeout, now, heard));
    assert!(network.until(5_000, Network::agrees).is_some());
    network.run(5_000);
    let done = Action::Broadcast { what: Waited::Update, sent: true };
    assert_eq!(network.hosts[&9].told, [done]);
    assert_eq!(network.hosts[&1].machine.node("n9").unwrap().meta, meta);
    assert_eq!(events(&network, "updated"), vec!["updated n9"; 30]);
}

#[test]
fn user_messages_travel_with_what_goes_anyway() {
    let mut network = Network::joined(3, Timings::lan(), 18);
    let hello = Bytes::from_static(b"hello");
    network.with(1, |_, heard, _| heard.to_say.push(hello.clone()));
    network.with(1, |machine, _, _| {
        machine.send_user(addr(2), b"packet");
        assert!(machine.send_user_to("n3", b"node"));
        assert!(!machine.send_user_to("nobody", b"node"));
    });
    network.with(1, |machine, _, now| machine.send_user_stream(addr(3), b"stream", now));
    network.run(5_000);
    let heard = |host: u16| network.hosts[&host].heard.users.clone();
    assert!(heard(2).contains(&Bytes::from("packet")));
    assert!(heard(3).contains(&Bytes::from("node")) && heard(3).contains(&Bytes::from("stream")));
    assert_eq!([heard(2), heard(3)].concat().iter().filter(|user| **user == hello).count(), 1);
}

#[test]
fn a_name_is_not_taken_while_its_owner_is_there_and_can_be_taken_after_it_died() {
    let mut network = Network::joined(5, Timings::lan(), 19);
    // Another machine of the name n2, at an address of its own.
    let alive = gossip::wire::message::Alive {
        addr: Some(addr(99).ip()),
        incarnation: 50,
        meta: (&[][..]).into(),
        node: "n2".into(),
        port: 8301,
        versions: Some(gossip::wire::Versions::CONSUL),
    };
    let packet = gossip::wire::message::Message::encode(&alive);
    network.with(1, |machine, heard, now| machine.handle_packet(addr(99), &packet, now, heard));
    network.run(2_000);
    assert!(network.agrees());
    let conflict = format!("conflict n2 {} {}", addr(2), addr(99));
    assert_eq!(events(&network, "conflict"), [conflict]);
    network.crash(2);
    let dead = |network: &Network| network.state(1, 2) == Some(NodeState::Dead);
    assert!(network.until(60_000, dead).is_some());
    network.with(1, |machine, heard, now| machine.handle_packet(addr(99), &packet, now, heard));
    assert_eq!(network.state(1, 2), Some(NodeState::Dead), "too early to be reclaimed");
    // Nodes gone are forgotten only when a round of probes ends, so the name is still known.
    network.with(1, |machine, heard, now| {
        let later = now + Duration::from_millis(30_001);
        machine.handle_packet(addr(99), &packet, later, heard);
    });
    let node = network.hosts[&1].machine.node("n2").unwrap();
    assert_eq!((node.addr, node.state), (addr(99), NodeState::Alive));
}

#[test]
fn what_is_replayed_changes_nothing_for_good() {
    let mut network = Network::new(8, Timings::lan(), 20);
    network.kept = Some(Vec::new());
    (2..=8).for_each(|host| network.join(host, 1));
    network.run(20_000);
    network.crash(8);
    network.run(4_000);
    network.start(8);
    network.join(8, 2);
    let timeout = Duration::from_secs(1);
    network.with(3, |machine, heard, now| {
        machine.update_meta(Bytes::from("new"), timeout, now, heard);
    });
    network.run(20_000);
    assert!(network.agrees());
    let incarnation = |host: u16| network.hosts[&host].machine.local_node().incarnation;
    assert!(incarnation(3) > 1 && incarnation(8) > 1);
    let before: Vec<_> =
        network.hosts.values().map(|host| host.machine.local_node().clone()).collect();
    let kept = network.kept.take().unwrap();
    for (to, from, packet) in kept.iter().rev() {
        network.with(*to, |machine, heard, now| machine.handle_packet(*from, packet, now, heard));
    }
    assert!(network.agrees(), "stale claims have no effect");
    let after: Vec<_> =
        network.hosts.values().map(|host| host.machine.local_node().clone()).collect();
    assert_eq!(before, after);
}

/// Whatever happens for a while: when it is over and somebody is asked, all know all.
#[test]
fn no_trouble_lasts_longer_than_its_cause() {
    for seed in 100..108 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut network = Network::joined(8, Timings::lan(), seed);
        for _ in 0..15 {
            let host = rng.u16(1..=8);
            let up = network.hosts.contains_key(&host);
            match rng.u8(0..8) {
                0 if up => network.crash(host),
                1 if up => {
                    let timeout = Duration::from_secs(2);
                    network.with(host, |machine, heard, now| machine.leave(timeout, now, heard));
                    network.run(2_500);
                    network.crash(host);
                }
                2 if up => {
                    let (meta, timeout) = (Bytes::from(vec![rng.u8(..)]), Duration::from_secs(1));
                    network.with(host, |machine, heard, now| {
                        machine.update_meta(meta, timeout, now, heard);
                    });
                }
                3 => network.cut_off(&[host, host % 8 + 1, (host + 3) % 8 + 1], 8),
                4 => network.cuts.clear(),
                5 => network.loss = f64::from(rng.u8(0..5)) / 10.0,
                _ if !up => {
                    network.start(host);
                    network.join(host, host % 8 + 1);
                }
                _ => {}
            }
            network.run(rng.u64(500..12_000));
        }
        network.cuts.clear();
        network.loss = 0.0;
        for host in 1..=8 {
            if !network.hosts.contains_key(&host) {
                network.start(host);
            }
        }
        (2..=8).for_each(|host| network.join(host, 1));
        let took = network.until(120_000, Network::agrees);
        assert!(took.is_some(), "seed {seed}: {}", network.trace());
    }
}

#[test]
fn a_seed_is_one_history() {
    let run = || {
        let mut network = Network::joined(12, Timings::lan(), 21);
        network.loss = 0.3;
        network.crash(5);
        network.run(60_000);
        network.start(5);
        network.join(5, 1);
        network.run(30_000);
        network.trace()
    };
    let first = run();
    assert!(first.contains("failed n5"));
    assert_eq!(first, run());
}

#[test]
fn what_an_idle_pool_sends_is_a_ping_and_an_ack_a_second() {
    let mut network = Network::joined(10, Timings::lan(), 22);
    let (packets, bytes) = (network.packets, network.bytes);
    network.run(100_000);
    let (packets, bytes) = (network.packets - packets, network.bytes - bytes);
    assert!((1_990..=2_010).contains(&packets), "{packets} packets");
    assert!(bytes / packets < 150, "{bytes} bytes in {packets} packets");
}
