//! A few seeds of the product as it is. `cargo xtask sim` runs many.

use sim::{Counts, Scenario};

#[test]
fn a_cluster_keeps_its_promises_under_any_faults() {
    let mut counts = Counts::default();
    for servers in [1, 2, 3, 5, 7] {
        for seed in 1..=4 {
            let report = sim::run(seed, Scenario::new(servers));
            assert!(report.violations.is_empty(), "{}: {report:#?}", report.replay_line());
            counts.add(&report.counts);
        }
    }
    // That nothing is wrong says something only if something happened.
    let Counts { elections, restarts, snapshots, writes, default_reads, .. } = counts;
    assert!(elections > 20 && restarts > 20 && snapshots > 100, "{counts:?}");
    assert!(writes > 1000 && default_reads > 300 && counts.unknown > 100, "{counts:?}");
    assert!(counts.woken > 300 && counts.sessions > 50, "{counts:?}");
    assert_eq!(counts.undecided, 0, "{counts:?}");
}

#[test]
fn a_seed_gives_the_same_log_each_time_and_another_seed_another() {
    let scenario = Scenario::new(3);
    let first = sim::run_traced(5, scenario);
    let again = sim::run_traced(5, scenario);
    assert!(first.text.as_ref().is_some_and(|text| text.lines().count() > 1000));
    assert!(first == again, "{} differs from run to run", first.replay_line());
    let untraced = sim::run(5, scenario);
    assert_eq!((untraced.digest, untraced.events), (first.digest, first.events));
    assert_ne!(sim::run(6, scenario).digest, first.digest);
    assert_ne!(sim::run(5, Scenario::new(5)).digest, first.digest);
}
