//! What the results of a check mean: pure machines, driven by the shell.
//!
//! [`Thresholds`] decides when a result of a polling check becomes its status
//! (`reference/checks.md` section 4). The other machines have their own files.

pub mod alias;
pub mod definition;
pub mod deregister;
pub mod output;
pub mod ttl;

use types::check::{CheckDefinition, Status};

/// A status with the text that explains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the check says about its node or service.
    pub status: Status,
    /// For people; already within the output limit of its check.
    pub output: String,
}

impl Outcome {
    /// An outcome from its two parts.
    pub fn new(status: Status, output: impl Into<String>) -> Self {
        Self { status, output: output.into() }
    }

    /// A critical outcome: how every failure to ask is reported.
    pub fn critical(output: impl Into<String>) -> Self {
        Self::new(Status::Critical, output)
    }

    /// A passing outcome.
    pub fn passing(output: impl Into<String>) -> Self {
        Self::new(Status::Passing, output)
    }
}

/// What one result does to the status of its check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The check has this status from here on.
    Apply(Status),
    /// A success that is not yet believed: status and output stay.
    TooFewSuccesses {
        /// Successes in a row, this one included.
        count: u64,
        /// How many it takes.
        threshold: u64,
    },
    /// A failure that is not yet believed: status and output stay.
    TooFewFailures {
        /// Failures in a row, this one included.
        count: u64,
        /// How many it takes for a warning.
        warning_threshold: u64,
        /// How many it takes for critical.
        critical_threshold: u64,
    },
}

/// Counts results in a row and says when they become the status.
///
/// Both counters start full, so that the first result applies at once.
#[derive(Clone, Debug)]
pub struct Thresholds {
    success_before_passing: u64,
    failures_before_warning: u64,
    failures_before_critical: u64,
    successes: u64,
    failures: u64,
}

impl Thresholds {
    /// The thresholds of `definition`. Negative numbers count as zero; no
    /// `failures_before_warning` means as many as before critical.
    pub fn new(definition: &CheckDefinition) -> Self {
        let count = |value: i64| u64::try_from(value).unwrap_or(0);
        let failures_before_critical = count(definition.failures_before_critical);
        let failures_before_warning = match count(definition.failures_before_warning) {
            0 => failures_before_critical,
            given => given,
        };
        let success_before_passing = count(definition.success_before_passing);
        Self {
            success_before_passing,
            failures_before_warning,
            failures_before_critical,
            successes: success_before_passing,
            failures: failures_before_critical.max(failures_before_warning),
        }
    }

    /// Takes one result. Everything that is not passing or warning is a failure.
    pub fn handle_result(&mut self, status: &Status) -> Verdict {
        match status {
            Status::Passing | Status::Warning => self.handle_success(status),
            Status::Critical | Status::Other(_) => self.handle_failure(),
        }
    }

    fn handle_success(&mut self, status: &Status) -> Verdict {
        self.successes = self.successes.saturating_add(1);
        self.failures = 0;
        if self.successes >= self.success_before_passing {
            return Verdict::Apply(status.clone());
        }
        Verdict::TooFewSuccesses { count: self.successes, threshold: self.success_before_passing }
    }

    fn handle_failure(&mut self) -> Verdict {
        self.failures = self.failures.saturating_add(1);
        self.successes = 0;
        if self.failures >= self.failures_before_critical {
            return Verdict::Apply(Status::Critical);
        }
        if self.failures >= self.failures_before_warning {
            return Verdict::Apply(Status::Warning);
        }
        Verdict::TooFewFailures {
            count: self.failures,
            warning_threshold: self.failures_before_warning,
            critical_threshold: self.failures_before_critical,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `results` and the answer are one letter each: p, w, c; a held result is `-`.
    fn check(thresholds: (i64, i64, i64), results: &str, expect: &str) {
        let mut machine = Thresholds::new(&CheckDefinition {
            success_before_passing: thresholds.0,
            failures_before_warning: thresholds.1,
            failures_before_critical: thresholds.2,
            ..CheckDefinition::default()
        });
        let got: String = results
            .chars()
            .map(|letter| {
                let status = match letter {
                    'p' => Status::Passing,
                    'w' => Status::Warning,
                    _ => Status::Critical,
                };
                match machine.handle_result(&status) {
                    Verdict::Apply(Status::Passing) => 'p',
                    Verdict::Apply(Status::Warning) => 'w',
                    Verdict::Apply(_) => 'c',
                    _ => '-',
                }
            })
            .collect();
        assert_eq!(got, expect, "{thresholds:?} {results}");
    }

    #[test]
    fn without_thresholds_every_result_applies() {
        check((0, 0, 0), "pcwcp", "pcwcp");
        check((1, 1, 1), "pcwcp", "pcwcp");
    }

    #[test]
    fn the_first_result_applies_at_once() {
        check((3, 2, 3), "p", "p");
        check((3, 2, 3), "w", "w");
        check((3, 2, 3), "c", "c");
        check((0, 0, 5), "c", "c");
    }

    #[test]
    fn a_status_changes_after_enough_results_in_a_row() {
        check((3, 2, 3), "pcccpppcpp", "p-wc--p---");
        check((2, 0, 2), "pcpcpcc", "p-----c");
        check((0, 1, 3), "pccc", "pwwc");
        check((2, 0, 0), "cwp", "c-p");
    }

    #[test]
    fn a_held_result_tells_its_count_and_thresholds() {
        let mut machine = Thresholds::new(&CheckDefinition {
            success_before_passing: 2,
            failures_before_warning: 2,
            failures_before_critical: 3,
            ..CheckDefinition::default()
        });
        machine.handle_result(&Status::Passing);
        assert_eq!(
            machine.handle_result(&Status::Critical),
            Verdict::TooFewFailures { count: 1, warning_threshold: 2, critical_threshold: 3 }
        );
        assert_eq!(
            machine.handle_result(&Status::Passing),
            Verdict::TooFewSuccesses { count: 1, threshold: 2 }
        );
    }

    proptest! {
        #[test]
        fn an_applied_result_has_the_run_that_it_needs(
            success in 0i64..5, warning in 0i64..5, critical in 0i64..5,
            results in proptest::collection::vec(0u8..3, 1..40),
        ) {
            let mut machine = Thresholds::new(&CheckDefinition {
                success_before_passing: success,
                failures_before_warning: warning,
                failures_before_critical: critical,
                ..CheckDefinition::default()
            });
            let good = |result: &u8| *result < 2;
            for (at, result) in results.iter().enumerate() {
                let status = [Status::Passing, Status::Warning, Status::Critical][usize::from(*result)].clone();
                let verdict = machine.handle_result(&status);
                let run = results[..=at].iter().rev().take_while(|r| good(r) == good(result)).count();
                // A run that reaches back to the start counts as long enough.
                if run == at + 1 {
                    prop_assert!(matches!(verdict, Verdict::Apply(_)));
                } else if good(result) {
                    prop_assert_eq!(verdict == Verdict::Apply(status), run as i64 >= success);
                } else {
                    prop_assert_eq!(verdict == Verdict::Apply(Status::Critical), run as i64 >= critical);
                }
            }
        }
    }
}
