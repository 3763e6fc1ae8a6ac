//! What a run is: how many servers, how long, which bug, and, drawn from the seed, the weather.
//!
//! Each seed has only some kinds of faults, so that rare ones are not drowned by frequent ones
//! ("swarm testing": Groce and others, 2012).

use std::time::Duration;

use fastrand::Rng;
use raft::Options;

use crate::bug::Bug;
use crate::clock::Tempers;
use crate::nemesis::{self, KINDS};

/// What to simulate; with a seed it says everything about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Voters at the beginning, 1 to 7.
    pub servers: u8,
    /// The mistake to make, if any.
    pub bug: Option<Bug>,
}

impl Scenario {
    /// That many servers, no bug.
    pub fn new(servers: u8) -> Self {
        Scenario { servers, bug: None }
    }
}

/// Servers that are not members at the beginning.
pub(crate) const SPARES: u8 = 1;

/// Clients that work at the same time.
pub(crate) const CLIENTS: usize = 4;

/// Clients that wait for changes.
pub(crate) const WATCHERS: usize = 4;

/// Clients whose sessions have to be renewed.
pub(crate) const KEEPERS: usize = 2;

/// Groups of keys.
pub(crate) const GROUPS: usize = 3;

/// When the first fault may come.
pub(crate) const CALM: Duration = Duration::from_millis(700);

/// After the last fault, a write must be acknowledged within this.
pub(crate) const RECOVERY: Duration = Duration::from_secs(4);

/// After that, without clients, all members must come to the same state within this.
pub(crate) const SETTLING: Duration = Duration::from_secs(3);

/// Which faults there are, and how often: per thousand of those drawn, zero for never.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    pub(crate) clocks: Tempers,
    /// How long faults go on.
    pub(crate) duration: Duration,
    /// Mean time between faults.
    pub(crate) pause: Duration,
    /// Mean time between changes of members or leader; `None` for none.
    pub(crate) admin: Option<Duration>,
    /// Whether members are changed only while all voters know the latest configuration, and a
    /// leader does not give up its vote with but one other. A voter that lacks a configuration
    /// refuses a candidate that only it names, as `reference/raft-and-snapshots.md` asks, so
    /// that after careless changes there may be no one who can win: then a leader is not promised.
    pub(crate) careful: bool,
    /// Messages lost, twice delivered, and much delayed; of a thousand.
    pub(crate) lost: u32,
    pub(crate) doubled: u32,
    pub(crate) stuck: u32,
    /// Of a thousand lost requests, those whose sender is told.
    pub(crate) told: u32,
    /// Weights of the kinds in [`nemesis`].
    pub(crate) weights: [u32; KINDS],
    pub(crate) options: Options,
}

impl Weather {
    /// Whether a leader must be found once all is well.
    pub(crate) fn promises_a_leader(&self) -> bool {
        self.careful || self.admin.is_none()
    }

    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let wild = rng.u8(0..4) == 0;
        let mut weights = [0; KINDS];
        for weight in &mut weights {
            *weight = if rng.bool() { rng.u32(1..10) } else { 0 };
        }
        let pause = [80, 200, 500][rng.usize(0..3)];
        let some = |rng: &mut Rng, most: u32| if rng.bool() { rng.u32(0..=most) } else { 0 };
        Weather {
            clocks: if wild { Tempers::Wild } else { Tempers::Steady },
            duration: Duration::from_millis(rng.u64(5000..9000)),
            pause: Duration::from_millis(pause),
            admin: rng.bool().then(|| Duration::from_millis(rng.u64(200..1500))),
            careful: rng.bool(),
            lost: some(rng, 60),
            doubled: some(rng, 60),
            stuck: some(rng, 8),
            told: some(rng, 1000),
            weights,
            options: draw_options(rng),
        }
    }

    /// Makes the weather one in which a planted bug that needs rare coincidences shows sooner.
    pub(crate) fn favour(&mut self, bug: Bug) {
        match bug {
            Bug::CommitOlderTerm => {
                self.weights = nemesis::weights(&[(nemesis::CURSE, 9), (nemesis::POWER, 1)]);
                self.options.max_append_entries = 1;
                self.options.max_in_flight = 1;
                self.options.trailing_logs = 60;
                self.options.snapshot_threshold = 500;
                self.pause = Duration::from_millis(200);
                self.admin = None;
                self.duration = Duration::from_secs(30);
            }
            Bug::NonvotersCount => {
                self.admin = Some(Duration::from_millis(250));
                self.weights = nemesis::weights(&[(nemesis::SPLIT, 9), (nemesis::POWER, 1)]);
                self.pause = Duration::from_millis(300);
            }
            Bug::AcknowledgedBeforeCommit => {
                self.weights = nemesis::weights(&[(nemesis::SPLIT, 1)]);
                self.pause = Duration::from_millis(400);
            }
            Bug::TimersKept => {
                self.admin = Some(Duration::from_millis(300));
                self.weights = [0; KINDS];
                self.clocks = Tempers::Steady;
            }
            Bug::VoteNotPersisted => {
                self.weights = nemesis::weights(&[(nemesis::CURSE, 2), (nemesis::POWER, 9)]);
                self.pause = Duration::from_millis(50);
            }
            _ => {}
        }
    }
}

/// Timings at a third of Consul's base ones, with the same ratios, and small limits.
fn draw_options(rng: &mut Rng) -> Options {
    let pick = |rng: &mut Rng, choices: &[u64]| choices[rng.usize(0..choices.len())];
    Options {
        heartbeat_timeout: Duration::from_millis(300),
        election_timeout: Duration::from_millis(300),
        leader_lease_timeout: Duration::from_millis(150),
        commit_timeout: Duration::from_millis(20),
        pre_vote: true,
        request_timeout: Duration::from_millis(pick(rng, &[200, 500, 1000])),
        max_append_entries: pick(rng, &[1, 3, 64]) as usize,
        max_append_bytes: pick(rng, &[40, 1000, 4 << 20]) as usize,
        max_in_flight: pick(rng, &[1, 2, 4]) as usize,
        max_apply_bytes: pick(rng, &[40, 4 << 20]) as usize,
        cache_bytes: pick(rng, &[0, 2000, 8 << 20]) as usize,
        trailing_logs: pick(rng, &[0, 2, 10, 60]),
        snapshot_threshold: pick(rng, &[5, 20, 60]),
    }
}
