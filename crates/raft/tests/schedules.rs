//! Random schedules on three servers: loss, reordering, crashes, slow disks. The cluster checks
//! that a term has one leader and that all apply the same entries; here, that all is well at the end.

mod cluster;

use std::time::Duration;

use cluster::Cluster;
use proptest::prelude::*;
use raft::*;

#[derive(Clone, Debug)]
enum Step {
    Deliver(usize),
    Lose(usize),
    TimeOut(u8),
    Pass(u64),
    Propose(u8),
    Crash(u8),
    Stall(u8),
    Persist(u8),
    Snapshot(u8),
    Change(u8, bool),
    Transfer(u8),
    /// The first is told, truly or not, that the other one's process has ended.
    Down(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let n = || 1..=3u8;
    prop_oneof![
        12 => (0..20usize).prop_map(Step::Deliver),
        2 => (0..20usize).prop_map(Step::Lose),
        3 => n().prop_map(Step::TimeOut),
        3 => (1..300u64).prop_map(Step::Pass),
        5 => n().prop_map(Step::Propose),
        1 => n().prop_map(Step::Crash),
        1 => n().prop_map(Step::Stall),
        3 => n().prop_map(Step::Persist),
        1 => n().prop_map(Step::Snapshot),
        1 => (n(), any::<bool>()).prop_map(|(n, vote)| Step::Change(n, vote)),
        1 => n().prop_map(Step::Transfer),
        3 => (n(), n()).prop_map(|(n, ended)| Step::Down(n, ended)),
    ]
}

fn take(cluster: &mut Cluster, step: Step, count: usize) {
    match step {
        Step::Deliver(place) if !cluster.queue.is_empty() => {
            cluster.deliver_at(place % cluster.queue.len());
        }
        Step::Lose(place) if !cluster.queue.is_empty() => {
            let place = place % cluster.queue.len();
            cluster.queue.remove(place);
        }
        Step::Deliver(_) | Step::Lose(_) => {}
        Step::TimeOut(n) => cluster.time_out(n),
        Step::Pass(ms) => {
            cluster.now += Duration::from_millis(ms);
            for n in 1..=3 {
                cluster.with(n, |core, now| core.handle_timeout(now));
            }
        }
        Step::Propose(n) => {
            let proposal = Proposal::command(count.to_string());
            let _ = cluster.with(n, |core, now| core.propose(vec![proposal], now));
        }
        Step::Crash(n) => {
            cluster.crash(n);
            cluster.start(n, count as u64 + 10);
        }
        Step::Stall(n) => cluster.nodes.get_mut(&n).unwrap().stalled = true,
        Step::Persist(n) => cluster.persist(n),
        Step::Snapshot(n) => drop(cluster.snapshot(n)),
        Step::Change(n, vote) => {
            let (id, address) = (cluster::id(3), "10.0.0.3:8300".into());
            let change = match vote {
                true => Change::AddVoter { id, address },
                false => Change::DemoteVoter { id },
            };
            let _ = cluster.with(n, |core, now| core.change_membership(&change, None, now));
        }
        Step::Down(n, ended) => {
            cluster.with(n, |core, now| core.handle_peer_down(&cluster::id(ended), now));
        }
        Step::Transfer(n) => {
            let _ = cluster.with(n, |core, now| core.transfer_leadership(None, now));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cluster_agrees_and_recovers_after_any_schedule(
        seed in 1..1000u64,
        steps in proptest::collection::vec(step(), 1..250),
    ) {
        let mut cluster = Cluster::new(3, 0, seed);
        cluster.options.trailing_logs = 2;
        for n in 1..=3 {
            let options = cluster.options.clone();
            cluster.with(n, |core, _| core.set_options(options));
        }
        for (count, step) in steps.into_iter().enumerate() {
            take(&mut cluster, step, count);
            let now = cluster.now;
            let leases = cluster.nodes.values().filter(|node| {
                node.core.as_ref().is_some_and(|core| core.lease_valid(now))
            });
            prop_assert!(leases.count() <= 1, "two leases");
        }
        for n in 1..=3 {
            cluster.nodes.get_mut(&n).unwrap().stalled = false;
            cluster.persist(n);
        }
        cluster.advance(Duration::from_secs(20));
        let leaders: Vec<u8> = (1..=3)
            .filter(|n| cluster.nodes[n].core.as_ref().is_some_and(|core| core.is_leader()))
            .collect();
        prop_assert_eq!(leaders.len(), 1);
        cluster.with(leaders[0], |core, now| core.propose(vec![Proposal::command("end")], now));
        cluster.advance(Duration::from_secs(5));
        for n in 1..=3 {
            let last = cluster.nodes[&n].state.last().map(|last| last.2.as_str());
            prop_assert_eq!(last, Some("end"));
        }
    }
}
