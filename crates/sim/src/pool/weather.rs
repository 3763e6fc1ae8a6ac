//! What a seed does to a pool: which faults there are, and how often.

use std::time::Duration;

use fastrand::Rng;

use super::bug::Bug;

/// When the first fault may come: the pool has formed.
pub(super) const CALM: Duration = Duration::from_secs(40);

/// After the last fault, all agents must agree within this.
pub(super) const HEALING: Duration = Duration::from_secs(900);

/// And still do after this.
pub(super) const STAYING: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(super) struct Weather {
    /// Nothing is lost, cut or frozen, and who crashes does not come back: then nobody who is
    /// there may be taken for failed, and who crashed is found within a bound.
    pub(super) calm: bool,
    /// How long faults go on.
    pub(super) duration: Duration,
    /// Mean time between faults.
    pub(super) pause: Duration,
    /// Packets lost, twice delivered, and much delayed; of a thousand.
    pub(super) lost: u32,
    pub(super) doubled: u32,
    pub(super) stuck: u32,
    /// Weights of [`Fault`]s.
    pub(super) weights: [u32; FAULTS.len()],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Event,
    Tags,
    Leave,
    Crash,
    Restart,
    ForceLeave,
    Partition,
    Freeze,
}

/// All faults; those of the first [`GENTLE`] may come in calm weather too.
pub(super) const FAULTS: [Fault; 8] = [
    Fault::Event,
    Fault::Tags,
    Fault::Leave,
    Fault::Crash,
    Fault::Restart,
    Fault::ForceLeave,
    Fault::Partition,
    Fault::Freeze,
];

const GENTLE: usize = 4;

impl Weather {
    pub(super) fn draw(rng: &mut Rng, bug: Option<Bug>) -> Self {
        let calm = rng.u8(0..4) == 0 && bug.is_none();
        let mut weights = [0; FAULTS.len()];
        for weight in &mut weights[..if calm { GENTLE } else { FAULTS.len() }] {
            *weight = if rng.bool() { rng.u32(1..10) } else { 0 };
        }
        weights[0] += 1;
        let mut some = |most: u32| if !calm && rng.bool() { rng.u32(0..=most) } else { 0 };
        let (lost, doubled, stuck) = (some(250), some(100), some(20));
        let mut weather = Weather {
            calm,
            duration: Duration::from_secs(rng.u64(60..240)),
            pause: Duration::from_millis([1_000, 4_000, 10_000][rng.usize(0..3)]),
            lost,
            doubled,
            stuck,
            weights,
        };
        match bug {
            Some(Bug::OldDeathCounts) => (weather.stuck, weather.doubled) = (300, 500),
            Some(Bug::SuspicionNeverEnds) => weather.weights[3] += 5,
            Some(Bug::LeftIgnored) => (weather.weights[2], weather.weights[4]) = (5, 5),
            Some(Bug::EventClockForgotten) => weather.weights[..5].fill(5),
            Some(Bug::RefuteQuietly) => weather.weights[7] = 20,
            None => {}
        }
        weather
    }

    pub(super) fn next_fault(&self, rng: &mut Rng) -> Fault {
        let mut rest = rng.u32(0..self.weights.iter().sum());
        for (fault, weight) in FAULTS.into_iter().zip(self.weights) {
            if rest < weight {
                return fault;
            }
            rest -= weight;
        }
        Fault::Event
    }
}

/// Within what time who crashed must be found, in calm weather and a pool of `agents`: two
/// rounds of probes, the longest suspicion, and the spreading of the word.
pub(super) fn found_within(agents: usize) -> Duration {
    let suspicion = 24.0 * (agents as f64).log10().max(1.0);
    Duration::from_secs(2 * agents as u64 + suspicion as u64 + 60)
}
