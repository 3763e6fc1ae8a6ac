//! Gossip pools: a few seeds of the product as it is, and planted bugs that are found.

use sim::pool::{self, Bug, Counts, Scenario};

#[test]
fn a_pool_keeps_its_promises_under_any_faults() {
    let mut counts = Counts::default();
    for agents in [3, 6] {
        for seed in 1..=8 {
            let report = pool::run(seed, Scenario { agents, bug: None }, false);
            assert!(report.violations.is_empty(), "{}: {report:#?}", report.replay_line());
            counts.add(&report.counts);
        }
    }
    // That nothing is wrong says something only if something happened.
    assert!(counts.calm > 1 && counts.crashes > 5 && counts.restarts > 5, "{counts:?}");
    assert!(counts.delivered > 500 && counts.failed > 20 && counts.partitions > 5, "{counts:?}");
}

#[test]
fn a_seed_gives_the_same_log_of_a_pool_each_time_and_another_seed_another() {
    let scenario = Scenario { agents: 4, bug: None };
    let first = pool::run(5, scenario, true);
    assert!(first.text.as_ref().is_some_and(|text| text.lines().count() > 20));
    assert!(first == pool::run(5, scenario, true), "{} differs", first.replay_line());
    assert_eq!(pool::run(5, scenario, false).digest, first.digest);
    assert_ne!(pool::run(6, scenario, false).digest, first.digest);
}

/// Runs seeds until one has a violation whose text begins with one of `expected`.
#[track_caller]
fn assert_found(bug: Bug, seeds: u64, expected: &[&str]) {
    assert_eq!(Bug::named(&format!("{bug:?}")), Some(bug));
    let mut others = Vec::new();
    for seed in 1..=seeds {
        let report = pool::run(seed, Scenario { agents: 6, bug: Some(bug) }, false);
        for violation in report.violations {
            if expected.iter().any(|start| violation.starts_with(start)) {
                return;
            }
            others.push(violation);
        }
    }
    panic!("{bug:?} is not found in {seeds} runs, only {others:?}");
}

#[test]
fn a_refutation_with_the_old_incarnation() {
    assert_found(Bug::RefuteQuietly, 20, &["refutes"]);
}

#[test]
fn a_suspicion_that_never_ends() {
    assert_found(Bug::SuspicionNeverEnds, 20, &["agreement", "found"]);
}

#[test]
fn a_refuted_death_that_counts() {
    assert_found(Bug::OldDeathCounts, 60, &["refuted"]);
}

#[test]
fn a_push_pull_whose_left_members_are_taken_for_alive() {
    assert_found(Bug::LeftIgnored, 20, &["left stays left"]);
}

#[test]
fn an_event_clock_that_a_restart_forgets() {
    assert_found(Bug::EventClockForgotten, 20, &["events once"]);
}
