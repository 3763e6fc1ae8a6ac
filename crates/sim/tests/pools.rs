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
    assert!(counts.queries > 50 && counts.answers > 200 && counts.one_way > 5, "{counts:?}");
    assert!(counts.twins > 0, "{counts:?}");
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

#[test]
fn a_leave_that_who_is_said_to_leave_does_not_hear_of() {
    assert_found(Bug::LeaveUnheard, 20, &["agreement"]);
}

#[test]
fn answers_that_are_not_passed_on() {
    assert_found(Bug::RelayLost, 40, &["queries"]);
}

#[test]
fn answers_that_are_passed_on_under_another_name() {
    assert_found(Bug::RelayAnswers, 20, &["queries"]);
}

#[test]
fn others_who_are_not_asked_about_who_cannot_be_reached() {
    assert_found(Bug::IndirectLost, 20, &["calm"]);
}

#[test]
fn a_node_that_keeps_a_name_that_is_taken() {
    assert_found(Bug::TwinStays, 20, &["names"]);
}

#[test]
fn keys_that_are_not_kept() {
    assert_found(Bug::KeyNotKept, 20, &["keys"]);
}

#[test]
fn a_node_that_trusts_itself_however_late_it_is() {
    assert_found(Bug::NoAwareness, 200, &["calm"]);
}
