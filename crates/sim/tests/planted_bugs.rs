//! Each planted bug is found, by the checker that should find it.

use sim::{Bug, Scenario};

/// Runs seeds until one has a violation whose text begins with one of `expected`.
#[track_caller]
fn assert_found(bug: Bug, seeds: u64, expected: &[&str]) {
    let mut others = Vec::new();
    for number in 0..seeds {
        let scenario = Scenario { servers: [3, 5][(number % 2) as usize], bug: Some(bug) };
        let report = sim::run(1 + number / 2, scenario);
        for violation in report.violations {
            if expected.iter().any(|start| violation.starts_with(start)) {
                return;
            }
            others.push(violation);
        }
    }
    panic!("{bug:?} is not found in {seeds} runs, only {others:?}");
}

macro_rules! found {
    ($($name:ident: $bug:ident within $seeds:literal by $($expected:literal)|+;)+) => {$(
        #[test]
        fn $name() {
            assert_found(Bug::$bug, $seeds, &[$($expected),+]);
        }
    )+

        #[test]
        fn each_bug_has_its_test() {
            let tested = [$(Bug::$bug),+];
            for bug in Bug::ALL {
                assert!(tested.contains(&bug), "{bug:?}");
                assert_eq!(Bug::named(&format!("{bug:?}")), Some(bug));
            }
        }
    };
}

found! {
    a_vote_that_is_not_persisted: VoteNotPersisted within 60 by "one vote" | "election safety";
    a_term_that_is_not_persisted: TermNotPersisted within 10 by "term kept";
    an_answer_before_the_write_is_durable: ReplyBeforePersist within 20
        by "term kept" | "leader completeness" | "committed never lost" | "one vote";
    a_disk_that_lies_about_syncs: LostSync within 20
        by "term kept" | "leader completeness" | "committed never lost" | "durability";
    a_full_disk_that_is_ignored: FullDiskIgnored within 60 by "assertion" | "leader completeness";
    entries_of_older_terms_committed_by_count: CommitOlderTerm within 60
        by "leader completeness" | "committed never lost";
    entries_committed_without_a_quorum: CommitWithoutQuorum within 60
        by "leader completeness" | "committed never lost";
    nonvoters_that_count_for_the_quorum: NonvotersCount within 60
        by "leader completeness" | "committed never lost" | "liveness";
    conflicting_entries_that_are_kept: ConflictIgnored within 400
        by "log matching" | "committed never lost";
    entries_applied_twice_after_a_restart: ApplyTwiceAfterRestart within 10 by "equal states";
    a_state_machine_that_depends_on_the_server: UnequalApply within 10 by "equal states";
    a_default_read_without_a_lease: StaleReadWithoutLease within 60 by "fresh reads";
    a_consistent_read_before_its_index_is_applied: ReadBeforeApplied within 60 by "fresh reads";
    a_write_acknowledged_before_it_is_committed: AcknowledgedBeforeCommit within 40
        by "acknowledged writes";
    a_snapshot_without_its_last_entry: SnapshotMissingLast within 10 by "equal states";
    a_received_snapshot_that_is_not_restored: SnapshotNotRestored within 20 by "equal states";
    a_snapshot_without_sessions: SnapshotWithoutSessions within 20 by "equal states";
    a_state_machine_that_reads_a_clock: ApplyReadsClock within 10 by "equal states";
    a_lock_that_outlives_its_session: LocksOutlive within 20 by "session invalidation";
    a_key_that_outlives_the_session_it_should_end_with: KeysOutlive within 40
        by "linearizability";
    a_lock_that_is_given_to_two: LockGivenTwice within 40 by "lock exclusion";
    a_query_that_waits_and_is_not_woken: WakeLost within 20 by "watches";
    a_query_that_is_woken_by_nothing: WakeWithoutChange within 20 by "watches";
    a_leader_that_remembers_old_times_of_sessions: TimersKept within 100 by "session time";
    an_index_that_is_not_that_of_the_rows: IndexTooNew within 10 by "index";
}
