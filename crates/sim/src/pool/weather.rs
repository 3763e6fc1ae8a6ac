//! What a seed does to a pool: which faults there are, and how often.

use std::time::Duration;

use fastrand::Rng;

use super::bug::Bug;

/// The longest that a starved agent stands still, in milliseconds.
const STOP_MAX: u64 = 15_000;

/// When the first fault may come: the pool has formed.
pub(super) const CALM: Duration = Duration::from_secs(40);

/// After the last fault, all agents must agree within this.
pub(super) const HEALING: Duration = Duration::from_secs(900);

/// And still do after this.
pub(super) const STAYING: Duration = Duration::from_secs(60);

/// What is promised of a run, and what may happen in it therefore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything may happen.
    Rough,
    /// Nothing is lost, cut or frozen, and who crashes does not come back: then nobody who is
    /// there may be suspected, and who crashed is found within a bound.
    Calm,
    /// As calm, and nobody goes; but of one pair at a time one does not reach the other, or
    /// neither does.
    Cut,
    /// As calm, and nobody goes; but some get too little of the processor: then those who do not
    /// may not be taken for failed by each other.
    Starved,
    /// As calm, and nobody goes; but others come who have the names of some.
    Twins,
}

#[derive(Clone, Debug)]
pub(super) struct Weather {
    pub(super) kind: Kind,
    /// Whether there are keys.
    pub(super) keys: bool,
    /// The longest that a starved agent stands still, in milliseconds.
    pub(super) stop: u64,
    /// The longest that it works in between, in milliseconds.
    pub(super) work: u64,
    /// Whether who stood still looks at the clock before it reads what came meanwhile.
    pub(super) timers_first: bool,
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
    Query,
    Keys,
    /// Some do not reach some others.
    OneWay,
    /// Of one pair one does not reach the other, or neither does.
    Pair,
    Twin,
}

pub(super) const FAULTS: [Fault; 13] = [
    Fault::Event,
    Fault::Tags,
    Fault::Leave,
    Fault::Crash,
    Fault::Restart,
    Fault::ForceLeave,
    Fault::Partition,
    Fault::Freeze,
    Fault::Query,
    Fault::Keys,
    Fault::OneWay,
    Fault::Pair,
    Fault::Twin,
];

impl Kind {
    fn draw(rng: &mut Rng, bug: Option<Bug>) -> Self {
        let drawn = rng.u8(0..10);
        match bug {
            Some(Bug::RelayLost | Bug::RelayAnswers | Bug::IndirectLost) => Kind::Cut,
            Some(Bug::TwinStays) => Kind::Twins,
            Some(Bug::NoAwareness) => Kind::Starved,
            Some(_) => Kind::Rough,
            None => match drawn {
                0 | 1 => Kind::Calm,
                2 => Kind::Cut,
                3 => Kind::Starved,
                4 => Kind::Twins,
                _ => Kind::Rough,
            },
        }
    }

    fn allows(self, fault: Fault) -> bool {
        match fault {
            Fault::Event | Fault::Tags | Fault::Query | Fault::Keys => true,
            Fault::Leave | Fault::Crash => matches!(self, Kind::Rough | Kind::Calm),
            Fault::Pair => self == Kind::Cut,
            Fault::Twin => self == Kind::Twins,
            _ => self == Kind::Rough,
        }
    }
}

impl Weather {
    pub(super) fn draw(rng: &mut Rng, bug: Option<Bug>) -> Self {
        let kind = Kind::draw(rng, bug);
        let mut weights = [0; FAULTS.len()];
        for (weight, fault) in weights.iter_mut().zip(FAULTS) {
            let drawn = if rng.bool() { rng.u32(1..10) } else { 0 };
            *weight = match fault {
                _ if !kind.allows(fault) => 0,
                // What the kind is for.
                Fault::Pair | Fault::Twin => drawn + 3,
                _ => drawn,
            };
        }
        weights[0] += 1;
        let rough = kind == Kind::Rough;
        let mut some = |most: u32| if rough && rng.bool() { rng.u32(0..=most) } else { 0 };
        let (lost, doubled, stuck) = (some(250), some(100), some(20));
        let mut weather = Weather {
            kind,
            keys: rng.u8(0..3) == 0,
            stop: rng.u64(500..STOP_MAX),
            work: rng.u64(100..500),
            timers_first: rng.bool(),
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
            Some(Bug::LeaveUnheard) => weather.weights[5] = 5,
            Some(Bug::RelayLost | Bug::RelayAnswers) => weather.weights[8] = 20,
            Some(Bug::KeyNotKept) => {
                weather.keys = true;
                weather.weights[9] = 20;
                weather.weights[3..5].fill(5);
            }
            Some(Bug::NoAwareness) => {
                (weather.stop, weather.work, weather.timers_first) = (STOP_MAX, 120, true);
            }
            Some(Bug::IndirectLost | Bug::TwinStays) | None => {}
        }
        weather
    }

    /// Whether nobody who is there may be taken for failed, at least not by those who are well.
    pub(super) fn calm(&self) -> bool {
        self.kind != Kind::Rough
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
