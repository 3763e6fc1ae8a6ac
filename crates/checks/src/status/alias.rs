//! Alias checks: the health of another service or node
//! (`reference/checks.md` section 3, `alias`).

use std::time::Duration;

use types::check::{HealthCheck, Status};
use types::{CheckId, NodeName, ServiceId};

use super::Outcome;

/// The longest wait between two tries to reach the aliased node's checks.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// What an alias looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The alias check itself, which never looks at itself.
    pub check_id: CheckId,
    /// The node; empty for the local one.
    pub node: NodeName,
    /// The service id; empty for the checks of the node alone.
    pub service: ServiceId,
}

impl Alias {
    /// The health that the alias takes over from `checks`, the checks of the
    /// aliased node. Checks of other services do not count. Among several that
    /// fail, the first of the worst kind is named.
    pub fn evaluate(&self, service_found: bool, checks: &[HealthCheck]) -> Outcome {
        if !self.service.is_empty() && !service_found {
            return Outcome::critical(format!(
                "Service {} could not be found on node {}",
                self.service, self.node
            ));
        }
        let counted = |check: &&HealthCheck| {
            let own = check.check_id == self.check_id && self.node.is_empty();
            !own && (check.service_id.is_empty() || check.service_id == self.service)
        };
        let mut relevant = checks.iter().filter(counted).peekable();
        if relevant.peek().is_none() {
            return Outcome::passing("No checks found.");
        }
        let mut warning = None;
        for check in relevant {
            match check.status {
                Status::Critical => return taken_over(check),
                Status::Warning if warning.is_none() => warning = Some(check),
                _ => {}
            }
        }
        warning.map_or_else(|| Outcome::passing("All checks passing."), taken_over)
    }
}

fn taken_over(check: &HealthCheck) -> Outcome {
    let name = check.name.replace('\\', "\\\\").replace('"', "\\\"");
    let output = format!("Aliased check \"{name}\" failing: {}", check.output);
    Outcome::new(check.status.clone(), output)
}

/// Counts failures in a row to ask for the checks of another node.
#[derive(Clone, Debug, Default)]
pub struct Retries {
    failures: u32,
}

impl Retries {
    /// The node answered.
    pub fn handle_success(&mut self) {
        self.failures = 0;
    }

    /// The question failed. Returns how long to wait before the next try, and
    /// the outcome to report from the second failure in a row on.
    pub fn handle_failure(&mut self, error: &str) -> (Duration, Option<Outcome>) {
        self.failures = self.failures.saturating_add(1);
        let wait = match self.failures {
            0..=3 => Duration::ZERO,
            failures => Duration::from_secs(1 << failures.min(6)).min(BACK_OFF_MAX),
        };
        let outcome = (self.failures >= 2).then(|| {
            Outcome::critical(format!("Failure checking aliased node or service: {error}"))
        });
        (wait, outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, service: &str, status: Status) -> HealthCheck {
        HealthCheck {
            check_id: id.into(),
            name: format!("name of {id}"),
            service_id: service.into(),
            status,
            output: format!("output of {id}"),
            ..HealthCheck::default()
        }
    }

    fn alias(node: &str, service: &str) -> Alias {
        Alias { check_id: "me".into(), node: node.into(), service: service.into() }
    }

    #[test]
    fn the_worst_of_node_and_service_checks_is_taken_over() {
        use Status::{Critical, Passing, Warning};
        let cases: [(&[HealthCheck], Status, &str); 7] = [
            (&[], Passing, "No checks found."),
            (&[check("x", "other", Critical)], Passing, "No checks found."),
            (
                &[check("a", "web", Passing), check("n", "", Passing)],
                Passing,
                "All checks passing.",
            ),
            (
                &[check("a", "web", Warning), check("b", "web", Warning)],
                Warning,
                "Aliased check \"name of a\" failing: output of a",
            ),
            (
                &[check("a", "web", Warning), check("n", "", Critical)],
                Critical,
                "Aliased check \"name of n\" failing: output of n",
            ),
            (&[check("me", "", Critical)], Passing, "No checks found."),
            (&[check("o", "web", Status::Other("odd".into()))], Passing, "All checks passing."),
        ];
        for (checks, status, output) in cases {
            assert_eq!(
                alias("", "web").evaluate(true, checks),
                Outcome::new(status, output),
                "{checks:?}"
            );
        }
    }

    #[test]
    fn a_missing_service_is_critical() {
        assert_eq!(
            alias("n2", "web").evaluate(false, &[]).output,
            "Service web could not be found on node n2"
        );
        assert_eq!(
            alias("", "web").evaluate(false, &[]).output,
            "Service web could not be found on node "
        );
        assert_eq!(alias("n2", "").evaluate(false, &[]).output, "No checks found.");
    }

    #[test]
    fn failures_to_ask_are_reported_from_the_second_on_and_back_off_after_the_third() {
        let mut retries = Retries::default();
        let mut seconds = Vec::new();
        for failure in 1..=8 {
            let (wait, outcome) = retries.handle_failure("no servers");
            assert_eq!(outcome.is_some(), failure >= 2, "{failure}");
            if let Some(outcome) = outcome {
                assert_eq!(outcome.output, "Failure checking aliased node or service: no servers");
            }
            seconds.push(wait.as_secs());
        }
        assert_eq!(seconds, [0, 0, 0, 16, 32, 60, 60, 60]);
        retries.handle_success();
        assert_eq!(retries.handle_failure("again"), (Duration::ZERO, None));
    }
}
