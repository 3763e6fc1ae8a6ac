//! `deregister_critical_service_after`: services that stay critical too long
//! are removed (`reference/checks.md` section 6).
//!
//! The owner feeds every status of every check that has the option, asks every
//! [`SCAN_INTERVAL`], removes what it is told, and logs it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use types::check::{CheckDefinition, Status};
use types::{CheckId, GoDuration, ServiceId};

use super::definition;

/// The time between two scans.
pub const SCAN_INTERVAL: Duration = Duration::from_secs(30);

/// A service to remove, with all its checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// The service.
    pub service: ServiceId,
    /// The check that was critical too long.
    pub check: CheckId,
    /// The time that it had.
    pub timeout: GoDuration,
}

impl Overdue {
    /// Logs the removal, which the caller has done.
    pub fn log(&self) {
        tracing::info!(
            target: "agent",
            service = %self.service,
            check = %self.check,
            timeout = %self.timeout,
            "deregistered service with critical health due to exceeding health check's \
             'deregister_critical_service_after' timeout"
        );
    }
}

#[derive(Clone, Debug)]
struct Tracked {
    service: ServiceId,
    timeout: GoDuration,
    critical_since: Option<Instant>,
}

/// The checks whose services may have to go.
#[derive(Clone, Debug, Default)]
pub struct Deregistrations {
    tracked: BTreeMap<CheckId, Tracked>,
}

impl Deregistrations {
    /// Takes a new or changed check under its final id. Checks of the node and
    /// checks without the option are not tracked. A time below the minimum is
    /// raised, with a WARN line. A check that is known and whose service is the
    /// same keeps its time.
    pub fn handle_registration(&mut self, check: &CheckId, check_definition: &CheckDefinition) {
        let service = &check_definition.service_id;
        let after = definition::deregister_after(check_definition);
        let Some((timeout, was_raised)) = after.filter(|_| !service.is_empty()) else {
            self.tracked.remove(check);
            return;
        };
        if was_raised {
            tracing::warn!(
                target: "agent",
                check = %check,
                minimum_interval = %definition::DEREGISTER_AFTER_MIN,
                "check has deregister interval below minimum"
            );
        }
        let known = self.tracked.get(check).filter(|known| known.service == *service);
        let critical_since = known.and_then(|known| known.critical_since);
        let tracked = Tracked { service: service.clone(), timeout, critical_since };
        self.tracked.insert(check.clone(), tracked);
    }

    /// Takes the status that a check has at `now`, also right after its
    /// registration. The time of a check that was critical already goes on.
    pub fn handle_status(&mut self, check: &CheckId, status: &Status, now: Instant) {
        if let Some(tracked) = self.tracked.get_mut(check) {
            tracked.critical_since = match status {
                Status::Critical => tracked.critical_since.or(Some(now)),
                _ => None,
            };
        }
    }

    /// Forgets a check that was removed.
    pub fn handle_removal(&mut self, check: &CheckId) {
        self.tracked.remove(check);
    }

    /// The services to remove at `now`, each once; their checks are forgotten.
    pub fn handle_scan(&mut self, now: Instant) -> Vec<Overdue> {
        let mut overdue: BTreeMap<ServiceId, Overdue> = BTreeMap::new();
        for (check, tracked) in &self.tracked {
            let critical = tracked.critical_since.map(|since| now.saturating_duration_since(since));
            if critical.is_some_and(|time| time > tracked.timeout.to_std()) {
                overdue.entry(tracked.service.clone()).or_insert_with(|| Overdue {
                    service: tracked.service.clone(),
                    check: check.clone(),
                    timeout: tracked.timeout,
                });
            }
        }
        self.tracked.retain(|_, tracked| !overdue.contains_key(&tracked.service));
        overdue.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(service: &str, seconds: i64) -> CheckDefinition {
        CheckDefinition {
            service_id: service.into(),
            deregister_critical_service_after: GoDuration::from_secs(seconds),
            ..CheckDefinition::default()
        }
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_service_goes_when_its_check_was_critical_longer_than_allowed() {
        let start = Instant::now();
        let mut machine = Deregistrations::default();
        machine.handle_registration(&"c".into(), &option("web", 90));
        machine.handle_status(&"c".into(), &Status::Critical, start);
        machine.handle_status(&"c".into(), &Status::Critical, after(start, 80));
        assert_eq!(machine.handle_scan(after(start, 90)), []);
        let overdue = machine.handle_scan(after(start, 91));
        assert_eq!(
            overdue,
            [Overdue {
                service: "web".into(),
                check: "c".into(),
                timeout: GoDuration::from_secs(90)
            }]
        );
        assert_eq!(machine.handle_scan(after(start, 999)), []);
    }

    #[test]
    fn any_other_status_starts_the_time_again() {
        let start = Instant::now();
        let mut machine = Deregistrations::default();
        machine.handle_registration(&"c".into(), &option("web", 60));
        machine.handle_status(&"c".into(), &Status::Critical, start);
        machine.handle_status(&"c".into(), &Status::Warning, after(start, 50));
        machine.handle_status(&"c".into(), &Status::Critical, after(start, 55));
        assert_eq!(machine.handle_scan(after(start, 100)), []);
        assert_eq!(machine.handle_scan(after(start, 116)).len(), 1);
    }

    #[test]
    fn low_times_are_raised_to_a_minute_and_two_checks_remove_a_service_once() {
        let start = Instant::now();
        let mut machine = Deregistrations::default();
        for check in ["a", "b"] {
            machine.handle_registration(&check.into(), &option("web", 1));
            machine.handle_status(&check.into(), &Status::Critical, start);
        }
        assert_eq!(machine.handle_scan(after(start, 60)), []);
        let overdue = machine.handle_scan(after(start, 61));
        assert_eq!(overdue.len(), 1);
        assert_eq!(overdue[0].check, "a");
        assert_eq!(overdue[0].timeout.to_string(), "1m0s");
    }

    #[test]
    fn node_checks_removed_checks_and_checks_without_the_option_do_nothing() {
        let start = Instant::now();
        let mut machine = Deregistrations::default();
        machine.handle_registration(&"node".into(), &option("", 60));
        machine.handle_registration(&"off".into(), &option("web", 0));
        machine.handle_registration(&"gone".into(), &option("web", 60));
        for check in ["node", "off", "gone", "unknown"] {
            machine.handle_status(&check.into(), &Status::Critical, start);
        }
        machine.handle_removal(&"gone".into());
        assert_eq!(machine.handle_scan(after(start, 9999)), []);
    }

    #[test]
    fn registering_again_keeps_the_time() {
        let start = Instant::now();
        let mut machine = Deregistrations::default();
        machine.handle_registration(&"c".into(), &option("web", 60));
        machine.handle_status(&"c".into(), &Status::Critical, start);
        machine.handle_registration(&"c".into(), &option("web", 120));
        assert_eq!(machine.handle_scan(after(start, 119)), []);
        assert_eq!(machine.handle_scan(after(start, 121)).len(), 1);
    }
}
