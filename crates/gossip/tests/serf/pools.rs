//! What holds for whole pools.

use std::time::Duration;

use bytes::Bytes;
use gossip::serf::{Event, Joined, Options, Outcome, Seed};
use proptest::prelude::*;

use super::network::{Network, addr, name};

#[test]
fn the_same_seed_gives_the_same_run_to_the_last_byte() {
    let run = |seed| {
        let mut network = Network::joined(5, seed);
        network.loss = 0.2;
        network
            .with(2, |serf, now| serf.user_event("deploy", Bytes::from("x"), false, now))
            .unwrap();
        network.with(3, |serf, now| serf.leave(now));
        network.crash(5);
        network.run(20_000);
        network.trace()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn a_node_that_is_alone_leaves_at_once() {
    let mut network = Network::new(1);
    network.start(1);
    let id = network.with(1, |serf, now| serf.leave(now));
    let again = network.with(1, |serf, now| serf.leave(now));
    for id in [id, again] {
        assert_eq!(network.hosts[&1].outcome(id), Some(&Outcome::Left));
    }
    let seed = Seed { address: addr(2), name: None };
    let refused = network.with(1, |serf, now| serf.join(vec![seed], true, now)).unwrap_err();
    assert_eq!(refused.to_string(), "Serf can't Join after Leave or Shutdown");
}

#[test]
fn a_leave_ends_even_if_nobody_can_be_told() {
    let mut network = Network::joined(3, 1);
    network.cuts.extend([(1, 2), (1, 3), (2, 1), (3, 1)]);
    let id = network.with(1, |serf, now| serf.leave(now));
    network.until(15_000, |network| network.hosts[&1].outcome(id) == Some(&Outcome::Left));
    // To the others it failed.
    network.crash(1);
    network.until(30_000, |network| network.all_see(1, "failed"));
}

#[test]
fn a_join_tells_of_each_seed_that_was_not_reached() {
    let mut network = Network::new(1);
    (1..=2).for_each(|host| network.start(host));
    let seeds = [9, 2, 8].map(|host| Seed { address: addr(host), name: None });
    let id = network.with(1, |serf, now| serf.join(seeds.into(), true, now)).unwrap();
    network.run(1_000);
    let refused = |host| format!("Failed to join {}: connection refused", addr(host));
    let Some(Outcome::Joined(Joined { contacted: 1, errors })) = network.hosts[&1].outcome(id)
    else {
        panic!("{:?}", network.hosts[&1].outcomes);
    };
    let mut errors = errors.clone();
    errors.sort();
    assert_eq!(errors, [refused(8), refused(9)]);
    assert!(network.all_see(1, "alive") && network.all_see(2, "alive"));
    let nobody = network.with(1, |serf, now| serf.join(Vec::new(), true, now)).unwrap();
    let none = Outcome::Joined(Joined::default());
    assert_eq!(network.hosts[&1].outcome(nobody), Some(&none));
}

#[test]
fn a_failed_member_that_is_back_is_found_without_anybodys_help() {
    let mut network = Network::joined(3, 1);
    let cuts = [(1, 3), (2, 3), (3, 1), (3, 2)];
    network.cuts.extend(cuts);
    network.until(60_000, |network| {
        network.status(1, 3) == "failed" && network.status(3, 1) == "failed"
    });
    network.cuts.clear();
    network.until(120_000, |network| (1..=3).all(|host| network.all_see(host, "alive")));
}

#[test]
fn gone_members_are_kept_for_their_time() {
    fn adjust(host: u8, options: &mut Options) {
        options.timings.reconnect_timeout = Duration::from_secs(600);
        options.timings.tombstone_timeout = Duration::from_secs(300);
        if host == 4 {
            options.tags.insert("rc_tm".to_owned(), "2m".to_owned());
        }
    }
    let mut network = Network::joined_with(4, 1, adjust);
    network.with(2, |serf, now| serf.leave(now));
    network.run(10_000);
    for host in [2, 3, 4] {
        network.crash(host);
    }
    network.until(60_000, |network| network.status(1, 4) == "failed");
    network.run(100_000);
    assert_eq!([2, 3, 4].map(|host| network.status(1, host)), ["left", "failed", "failed"]);
    network.run(60_000);
    assert_eq!([2, 3, 4].map(|host| network.status(1, host)), ["left", "failed", "none"]);
    network.run(150_000);
    assert_eq!([2, 3, 4].map(|host| network.status(1, host)), ["none", "failed", "none"]);
    network.run(350_000);
    assert_eq!([2, 3, 4].map(|host| network.status(1, host)), ["none"; 3]);
    let reaped = |event: &&Event| matches!(event, Event::MemberReap(_));
    assert_eq!(network.hosts[&1].events.iter().filter(reaped).count(), 3);
}

/// Two nodes have one name; the pool knows the first.
#[test]
fn of_two_nodes_with_one_name_the_one_that_the_pool_does_not_know_gives_up() {
    fn adjust(host: u8, options: &mut Options) {
        options.resolve_name_conflicts = true;
        if host == 9 {
            options.memberlist.name = name(1).into();
        }
    }
    let mut network = Network::joined_with(5, 1, adjust);
    network.start(9);
    network.join(9, 2);
    network.until(30_000, |network| network.hosts[&9].gave_up);
    network.run(10_000);
    assert!(!network.hosts[&1].gave_up);
    let told = |host: u8, text: &str| {
        network.hosts[&host].reports.iter().any(|report| report.contains(text))
    };
    assert!(told(9, "minority in name conflict resolution"), "{:?}", network.hosts[&9].reports);
    assert!(told(2, "Name conflict for 'n1'"), "{:?}", network.hosts[&2].reports);
}

#[test]
fn a_pool_that_wants_nobody_from_elsewhere_refuses_both_ways() {
    fn adjust(host: u8, options: &mut Options) {
        use gossip::consul::{ClientTags, MergeRules};
        let datacenter = if host == 3 { "dc2" } else { "dc1" }.to_owned();
        let (name, node_id) = (name(host), format!("id-{host}"));
        let tags = ClientTags {
            datacenter: datacenter.clone(),
            node_id: node_id.clone(),
            ..ClientTags::default()
        };
        options.tags = tags.to_tags();
        options.merge = MergeRules::Lan { datacenter, name, node_id };
    }
    let mut network = Network::joined_with(2, 1, adjust);
    network.start(3);
    let id = network.join(3, 1);
    network.run(2_000);
    let Some(Outcome::Joined(joined)) = network.hosts[&3].outcome(id) else {
        panic!("{:?}", network.hosts[&3].outcomes);
    };
    assert_eq!(joined.contacted, 0);
    assert!(joined.errors[0].contains("part of wrong datacenter 'dc1'"), "{joined:?}");
    network.run(30_000);
    assert!(network.all_see(1, "alive") || network.status(3, 1) == "none");
    assert_eq!([network.status(1, 3), network.status(2, 3), network.status(3, 1)], ["none"; 3]);
}

#[test]
fn members_measure_how_far_they_are_from_each_other() {
    let mut network = Network::joined(4, 1);
    network.run(60_000);
    for host in network.hosts.values() {
        let serf = host.serf.as_ref().unwrap();
        assert_eq!(serf.coordinates().len(), 4);
        let far = serf.coordinate().distance_to(&serf.coordinates()["n1"]).unwrap();
        // A way takes 1 to 20 ms.
        assert!(far < 0.1 && serf.coordinate().error < 1.0, "{far} {:?}", serf.coordinate());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Whatever is lost: once nothing happens any more, all agree, and every event was heard
    /// once.
    ///
    /// A member says that it leaves, like all it has to say, in four packets. If all four are
    /// lost it has failed to the others, and its last events are known to nobody; but to
    /// nobody at all, and only where packets are lost.
    #[test]
    fn all_agree_in_the_end_and_hear_every_event_once(
        seed: u64,
        loss in prop_oneof![Just(0.0), 0.0..0.3],
        steps in prop::collection::vec((0..4_u8, 1..=6_u8), 1..12),
    ) {
        let mut network = Network::joined(6, seed);
        network.loss = loss;
        let mut gone = std::collections::BTreeMap::new();
        // Who sent them, by their numbers.
        let mut sent = Vec::new();
        for (step, host) in steps {
            // Somebody has to be left to agree with.
            if gone.contains_key(&host) || host <= 2 && step > 1 {
                continue;
            }
            match step {
                0 => {
                    let payload = Bytes::from(sent.len().to_string());
                    network.with(host, |serf, now| {
                        serf.user_event("count", payload, false, now)
                    }).unwrap();
                    sent.push(host);
                }
                1 => network.run(3_000),
                2 => {
                    network.with(host, |serf, now| serf.leave(now));
                    network.run(15_000);
                    network.crash(host);
                    gone.insert(host, "left");
                }
                _ => {
                    // What it sent shall have left it.
                    network.run(5_000);
                    network.crash(host);
                    gone.insert(host, "failed");
                }
            }
        }
        network.loss = 0.0;
        network.run(200_000);
        let mut first = None;
        for host in 1..=6 {
            let status = gone.get(&host).copied().unwrap_or("alive");
            prop_assert!(
                network.all_see(host, status)
                    || loss > 0.0 && status == "left" && network.all_see(host, "failed"),
                "n{host} is not {status}: {}", network.shown()
            );
            if gone.contains_key(&host) {
                continue;
            }
            let mut heard: Vec<usize> =
                network.hosts[&host].heard("count").iter().map(|text| text.parse().unwrap()).collect();
            heard.sort_unstable();
            let may_be_lost = |number: &usize| loss > 0.0 && gone.contains_key(&sent[*number]);
            let expected: Vec<usize> = (0..sent.len())
                .filter(|number| !may_be_lost(number) || heard.contains(number))
                .collect();
            prop_assert_eq!(&heard, &expected, "n{}", host);
            prop_assert_eq!(first.get_or_insert_with(|| heard.clone()), &heard, "n{}", host);
        }
    }
}
