//! Where to look next when there is no instance here: a machine that is told of every
//! place without one.

use types::Datacenter;
use types::prepared_query::{QueryFailover, QueryFailoverTarget};

/// The places that are left to try, in order.
///
/// - With `NearestN`, the nearest of the other datacenters come first. Then come those
///   that are listed and were not among them; one that is listed twice is tried twice.
/// - With `Targets`, those and nothing else.
/// - This datacenter has been tried, and unknown ones cannot be: both are passed over and
///   do not count.
#[derive(Debug)]
pub(super) struct Failover {
    targets: std::vec::IntoIter<QueryFailoverTarget>,
    attempts: i64,
}

impl Failover {
    /// The plan of a definition. `others` are the other datacenters, the nearest first.
    pub(super) fn new(wanted: &QueryFailover, others: &[Datacenter]) -> Self {
        let datacenter = |datacenter: &Datacenter| QueryFailoverTarget {
            datacenter: datacenter.clone(),
            ..QueryFailoverTarget::default()
        };
        let is_known = |target: &QueryFailoverTarget| {
            !target.peer.is_empty() || others.contains(&target.datacenter)
        };
        let nearest = usize::try_from(wanted.nearest_n).unwrap_or(0).min(others.len());
        let (nearest, farther) = others.split_at(nearest);
        let listed = wanted.datacenters.iter().flatten().filter(|name| farther.contains(name));
        let targets = wanted.targets.iter().flatten().filter(|target| is_known(target)).cloned();
        let all: Vec<QueryFailoverTarget> =
            nearest.iter().chain(listed).map(datacenter).chain(targets).collect();
        Self { targets: all.into_iter(), attempts: 0 }
    }

    /// The place to try next, if any is left.
    pub(super) fn poll_target(&mut self) -> Option<QueryFailoverTarget> {
        let target = self.targets.next()?;
        self.attempts += 1;
        Some(target)
    }

    /// How many places were tried.
    pub(super) fn attempts(&self) -> i64 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is tried, when nowhere is an instance.
    fn tried(nearest: i64, listed: &[&str], targets: &[(&str, &str)], others: &[&str]) -> String {
        let names = |names: &[&str]| names.iter().map(|name| Datacenter::from(*name)).collect();
        let targets = targets
            .iter()
            .map(|(peer, datacenter)| QueryFailoverTarget {
                peer: (*peer).to_owned(),
                datacenter: (*datacenter).into(),
            })
            .collect();
        let wanted = QueryFailover {
            nearest_n: nearest,
            datacenters: Some(names(listed)),
            targets: Some(targets),
        };
        let others: Vec<Datacenter> = names(others);
        let mut failover = Failover::new(&wanted, &others);
        let mut tried = Vec::new();
        while let Some(target) = failover.poll_target() {
            tried.push(match target.peer.as_str() {
                "" => target.datacenter.to_string(),
                peer => format!("peer {peer}"),
            });
        }
        assert_eq!(failover.attempts(), tried.len() as i64);
        tried.join(" ")
    }

    #[test]
    fn places_are_tried_in_the_order_in_which_consul_tries_them() {
        let others = ["dc3", "dc2"];
        let cases: [(i64, &[&str], &str); 10] = [
            (0, &[], ""),
            (0, &["dc1"], ""),
            (0, &["dc1", "dc2"], "dc2"),
            (0, &["dc9", "dc2"], "dc2"),
            (0, &["DC2"], ""),
            (0, &["dc2", "dc2", "dc3"], "dc2 dc2 dc3"),
            (1, &[], "dc3"),
            (5, &[], "dc3 dc2"),
            (1, &["dc2", "dc3"], "dc3 dc2"),
            (2, &["dc2", "dc3", "dc1"], "dc3 dc2"),
        ];
        for (nearest, listed, expected) in cases {
            assert_eq!(tried(nearest, listed, &[], &others), expected, "{nearest} {listed:?}");
        }
    }

    #[test]
    fn targets_are_peers_and_known_datacenters() {
        let targets = [("", "dc9"), ("east", ""), ("", "dc2"), ("west", "dc9"), ("", "dc1")];
        assert_eq!(tried(0, &[], &targets, &["dc2"]), "peer east dc2 peer west");
        assert_eq!(tried(0, &[], &targets, &[]), "peer east peer west");
    }

    #[test]
    fn with_one_datacenter_there_is_nowhere_to_go() {
        assert_eq!(tried(3, &["dc2", "dc1"], &[("", "dc2")], &[]), "");
    }
}
