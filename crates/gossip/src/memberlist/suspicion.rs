//! How long a suspect has to answer (Lifeguard: "Local Health Awareness for More Accurate Failure
//! Detection", section IV-B; `reference/gossip-wire.md` section 6).
//!
//! A suspicion that nobody shares may be the accuser's own trouble: it lasts long. Each further
//! accuser brings the end nearer, down to the least that the pool's size asks for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::options::Timings;

/// A suspicion that is running.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Suspicion {
    started: Instant,
    least: Duration,
    most: Duration,
    /// How many confirmations are expected.
    expected: usize,
    /// Who has said so, the first accuser first.
    accusers: Vec<Arc<str>>,
}

impl Suspicion {
    /// One that `accuser` begins, in a pool of `nodes` nodes.
    pub(super) fn new(accuser: &str, nodes: usize, timings: &Timings, now: Instant) -> Self {
        let wanted = (timings.suspicion_mult as usize).saturating_sub(2);
        // The suspect and this node confirm nothing.
        let expected = if nodes < wanted + 2 { 0 } else { wanted };
        let least = least_timeout(timings, nodes);
        let most = least * timings.suspicion_max_mult;
        Self { started: now, least, most, expected, accusers: vec![accuser.into()] }
    }

    /// Counts another accuser. False if it is not new, or no more are wanted.
    pub(super) fn confirm(&mut self, accuser: &str) -> bool {
        if self.confirmations() >= self.expected || self.accusers.iter().any(|a| **a == *accuser) {
            return false;
        }
        self.accusers.push(accuser.into());
        true
    }

    /// How many have confirmed the first accuser's word.
    pub(super) fn confirmations(&self) -> usize {
        self.accusers.len() - 1
    }

    /// Whether fewer have confirmed it than there should be.
    pub(super) fn lacks_confirmations(&self) -> bool {
        self.confirmations() < self.expected
    }

    /// When it ends.
    pub(super) fn deadline(&self) -> Instant {
        self.started + self.timeout()
    }

    fn timeout(&self) -> Duration {
        match (self.expected, self.confirmations()) {
            (0, _) => self.least,
            (_, 0) => self.most,
            (expected, confirmations) => {
                let part = (confirmations as f64 + 1.0).ln() / (expected as f64 + 1.0).ln();
                let (least, most) = (self.least.as_secs_f64(), self.most.as_secs_f64());
                let seconds = most - part * (most - least);
                Duration::from_millis((1000.0 * seconds) as u64).max(self.least)
            }
        }
    }
}

/// What a suspect has at least, in a pool of `nodes` nodes.
fn least_timeout(timings: &Timings, nodes: usize) -> Duration {
    let scale = (nodes.max(1) as f64).log10().max(1.0);
    timings.suspicion_mult * timings.probe_interval * (scale * 1000.0) as u32 / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The timeouts, in milliseconds, as accusers come one after the other.
    fn check(timings: &Timings, nodes: usize, expected: &[u128]) {
        // Any instant will do, and only the shell may ask for one.
        let now = crate::memberlist::tests::start();
        let mut suspicion = Suspicion::new("a", nodes, timings, now);
        let mut timeouts = vec![suspicion.timeout().as_millis()];
        for accuser in ["a", "b", "b", "c", "d", "e", "f"] {
            if suspicion.confirm(accuser) {
                timeouts.push(suspicion.timeout().as_millis());
            }
        }
        assert_eq!(timeouts, expected);
    }

    #[test]
    fn confirmations_bring_the_end_nearer() {
        check(&Timings::lan(), 2, &[4_000]);
        check(&Timings::lan(), 3, &[4_000]);
        check(&Timings::lan(), 4, &[24_000, 11_381, 4_000]);
        check(&Timings::lan(), 100, &[48_000, 22_762, 8_000]);
        check(&Timings::lan(), 5_000, &[88_752, 42_088, 14_792]);
        check(&Timings::wan(), 10, &[180_000, 115_398, 77_609, 50_797, 30_000]);
        check(&Timings::local(), 3, &[18_000, 3_000]);
        check(&Timings::lan().dev(), 1, &[300]);
    }
}
