//! Where this node is in the space of round trips: the Vivaldi algorithm (Dabek et al., 2004)
//! with heights, the adjustment term and the median filter of Ledlie et al., and gravity
//! towards the origin, as serf's MPL-licensed `coordinate` package combines them. Rules and
//! constants: `reference/gossip-wire.md` section 14.
//!
//! Each answered probe is one sample. The node is pushed away from, or drawn to, the peer as
//! if by a spring whose length at rest is the round trip; the less certain of the two moves
//! more. What lies behind the network's core (a slow link) goes into the height, what a
//! flat space cannot express into the adjustment. Gravity keeps the whole cloud of
//! nodes from drifting away.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use types::coordinate::{Coordinate, CoordinateError, DIMENSIONS, ERROR_MAX, HEIGHT_MIN};

/// How much a sample changes the error.
const CE: f64 = 0.25;
/// How far a sample moves the node.
const CC: f64 = 0.25;
/// Samples that the adjustment is an average of.
const ADJUSTMENT_WINDOW: usize = 20;
/// Samples of one peer of which the median counts.
const LATENCY_WINDOW: usize = 3;
/// How weak gravity is, in seconds.
const GRAVITY_RHO: f64 = 150.0;
/// Below this, in seconds or as a plain number, a value counts as nothing.
const ZERO_THRESHOLD: f64 = 1.0e-6;
/// The longest round trip that is believed.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);

/// Why a sample is refused. The node stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The peer's coordinate cannot be measured with.
    #[error(transparent)]
    Coordinate(#[from] CoordinateError),
    /// Longer than ten seconds.
    #[error("round trip time not in valid range, duration {} is not a positive value less than {}",
        types::GoDuration::from(*.0), types::GoDuration::from(ROUND_TRIP_MAX))]
    RoundTrip(Duration),
}

/// The coordinate of this node, and what it is made from.
#[derive(Clone, Debug)]
pub struct Vivaldi {
    own: Coordinate,
    /// What estimates were off, in seconds, in a ring.
    adjustments: [f64; ADJUSTMENT_WINDOW],
    next_adjustment: usize,
    /// The last round trips of each peer, in seconds, oldest first.
    latencies: BTreeMap<String, Vec<f64>>,
    resets: u64,
}

impl Default for Vivaldi {
    /// A node that has measured nothing.
    fn default() -> Self {
        Self {
            own: Coordinate::fresh(),
            adjustments: [0.0; ADJUSTMENT_WINDOW],
            next_adjustment: 0,
            latencies: BTreeMap::new(),
            resets: 0,
        }
    }
}

impl Vivaldi {
    /// Where the node is.
    pub fn coordinate(&self) -> &Coordinate {
        &self.own
    }

    /// How often the node began anew because its coordinate was no number any more.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// Takes in that `peer`, which says it is at `other`, answered within `round_trip`. The
    /// random source decides the direction in which two nodes on one spot part.
    ///
    /// # Errors
    /// See [`Rejected`].
    pub fn update(
        &mut self,
        peer: &str,
        other: &Coordinate,
        round_trip: Duration,
        rng: &mut Rng,
    ) -> Result<(), Rejected> {
        other.check()?;
        if round_trip > ROUND_TRIP_MAX {
            return Err(Rejected::RoundTrip(round_trip));
        }
        let round_trip = self.median(peer, round_trip.as_secs_f64());
        self.pull(other, round_trip, rng);
        self.adjust(other, round_trip);
        self.gravitate(rng);
        if self.own.check().is_err() {
            self.own = Coordinate::fresh();
            self.resets += 1;
        }
        Ok(())
    }

    /// Forgets the round trips of a peer that is gone for good.
    pub fn forget(&mut self, peer: &str) {
        self.latencies.remove(peer);
    }

    /// Keeps the sample; the median of the last ones.
    fn median(&mut self, peer: &str, seconds: f64) -> f64 {
        let kept = self.latencies.entry(peer.to_owned()).or_default();
        kept.push(seconds);
        if kept.len() > LATENCY_WINDOW {
            kept.remove(0);
        }
        let mut sorted = kept.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    fn pull(&mut self, other: &Coordinate, round_trip: f64, rng: &mut Rng) {
        let distance = distance(&self.own, other);
        let round_trip = round_trip.max(ZERO_THRESHOLD);
        let wrong = (distance - round_trip).abs() / round_trip;
        let weight = self.own.error / (self.own.error + other.error).max(ZERO_THRESHOLD);
        let error = CE * weight * wrong + self.own.error * (1.0 - CE * weight);
        // As in Go, and unlike `f64::min`, what is no number stays one and is caught later.
        self.own.error = if error > ERROR_MAX { ERROR_MAX } else { error };
        apply_force(&mut self.own, CC * weight * (round_trip - distance), other, rng);
    }

    fn adjust(&mut self, other: &Coordinate, round_trip: f64) {
        let raw = self.own.raw_distance_to(other).unwrap_or(f64::NAN);
        self.adjustments[self.next_adjustment] = round_trip - raw;
        self.next_adjustment = (self.next_adjustment + 1) % ADJUSTMENT_WINDOW;
        let sum: f64 = self.adjustments.iter().sum();
        self.own.adjustment = sum / (2.0 * ADJUSTMENT_WINDOW as f64);
    }

    fn gravitate(&mut self, rng: &mut Rng) {
        let origin = Coordinate::fresh();
        let pull = distance(&origin, &self.own) / GRAVITY_RHO;
        apply_force(&mut self.own, -(pull * pull), &origin, rng);
    }
}

/// In seconds; not a number for coordinates of other dimensions, which never come here.
fn distance(from: &Coordinate, to: &Coordinate) -> f64 {
    from.distance_to(to).unwrap_or(f64::NAN)
}

/// Moves `own` by `force` seconds away from `other`.
fn apply_force(own: &mut Coordinate, force: f64, other: &Coordinate, rng: &mut Rng) {
    let (unit, apart) = unit_vector(&own.vec, &other.vec, rng);
    for (place, direction) in own.vec.iter_mut().zip(unit) {
        *place += direction * force;
    }
    if apart > ZERO_THRESHOLD {
        let height = (own.height + other.height) * force / apart + own.height;
        own.height = if height < HEIGHT_MIN { HEIGHT_MIN } else { height };
    }
}

/// The direction from `from` to `to`, and how far they are apart: 0 for points on one spot,
/// for which any direction will do.
fn unit_vector(to: &[f64], from: &[f64], rng: &mut Rng) -> ([f64; DIMENSIONS], f64) {
    let mut vector = [0.0; DIMENSIONS];
    for (part, (to, from)) in vector.iter_mut().zip(to.iter().zip(from)) {
        *part = to - from;
    }
    let apart = magnitude(&vector);
    if apart > ZERO_THRESHOLD {
        return (vector.map(|part| part / apart), apart);
    }
    let random = [0.0; DIMENSIONS].map(|_: f64| rng.f64() - 0.5);
    let length = magnitude(&random);
    if length > ZERO_THRESHOLD {
        return (random.map(|part| part / length), 0.0);
    }
    let mut first = [0.0; DIMENSIONS];
    first[0] = 1.0;
    (first, 0.0)
}

fn magnitude(vector: &[f64; DIMENSIONS]) -> f64 {
    vector.iter().map(|part| part * part).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use proptest::prelude::*;

    use super::*;

    fn at(x: f64) -> Coordinate {
        let mut coordinate = Coordinate::fresh();
        coordinate.vec[0] = x;
        coordinate
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Nodes that measure each other at random; then how far the estimates are off, as a
    /// share of the round trip: on average and at worst.
    fn simulate(nodes: usize, truth: impl Fn(usize, usize) -> f64) -> (f64, f64, Vec<Vivaldi>) {
        let mut rng = Rng::with_seed(1);
        let mut all = vec![Vivaldi::default(); nodes];
        for _ in 0..1000 {
            for i in 0..nodes {
                let j = rng.usize(0..nodes);
                if i != j {
                    let other = all[j].coordinate().clone();
                    let round_trip = seconds(truth(i, j));
                    all[i].update(&j.to_string(), &other, round_trip, &mut rng).unwrap();
                }
            }
        }
        let (mut sum, mut worst, mut count) = (0.0, 0.0_f64, 0.0);
        for i in 0..nodes {
            for j in i + 1..nodes {
                let estimate = all[i].coordinate().distance_to(all[j].coordinate()).unwrap();
                let off = (estimate - truth(i, j)).abs() / truth(i, j);
                (sum, worst, count) = (sum + off, worst.max(off), count + 1.0);
            }
        }
        (sum / count, worst, all)
    }

    fn gap(i: usize, j: usize) -> f64 {
        (i as f64 - j as f64).abs()
    }

    #[test]
    fn nodes_on_a_line_find_their_places() {
        let (average, worst, _) = simulate(10, |i, j| gap(i, j) * 0.010);
        assert!(average < 0.003 && worst < 0.02, "{average} {worst}");
    }

    #[test]
    fn nodes_on_a_grid_find_their_places() {
        let truth = |i: usize, j: usize| gap(i % 5, j % 5).hypot(gap(i / 5, j / 5)) * 0.010;
        let (average, worst, _) = simulate(25, truth);
        assert!(average < 0.003 && worst < 0.02, "{average} {worst}");
    }

    #[test]
    fn two_sites_far_apart_find_their_places() {
        let truth = |i: usize, j: usize| if i / 12 == j / 12 { 0.001 } else { 0.011 };
        let (average, worst, _) = simulate(24, truth);
        assert!(average < 0.1 && worst < 0.5, "{average} {worst}");
    }

    #[test]
    fn a_node_behind_a_slow_link_is_high_above_the_others() {
        let slow = |n: usize| if n == 0 { 0.1 } else { 0.0 };
        let (_, _, all) = simulate(10, |i, j| 0.010 + slow(i) + slow(j));
        let heights: Vec<f64> = all.iter().map(|node| node.coordinate().height).collect();
        assert!(heights[1..].iter().all(|height| heights[0] > 3.0 * height), "{heights:?}");
    }

    #[test]
    fn a_longer_round_trip_than_estimated_pushes_away_and_a_shorter_one_draws_near() {
        let mut rng = Rng::with_seed(1);
        let peer = at(0.1);
        for (round_trip, farther) in [(0.4, true), (0.01, false)] {
            let mut node = Vivaldi::default();
            let before = distance(node.coordinate(), &peer);
            node.update("peer", &peer, seconds(round_trip), &mut rng).unwrap();
            let after = node.coordinate().raw_distance_to(&peer).unwrap();
            assert_eq!(after > before, farther, "{round_trip}: {before} {after}");
        }
    }

    /// By hand: the error is 1.5, its weight one half, so that the force is an eighth of
    /// what is missing.
    #[test]
    fn the_first_sample_moves_the_node_by_an_eighth_of_what_is_missing() {
        let mut node = Vivaldi::default();
        let peer = at(1.0);
        node.update("peer", &peer, seconds(2.0), &mut Rng::with_seed(1)).unwrap();
        let distance = 1.0 + 2.0 * HEIGHT_MIN;
        let force = (2.0 - distance) / 8.0;
        // Gravity is weaker than a millionth here.
        assert!((node.own.vec[0] + force).abs() < 1e-6, "{:?}", node.own);
        let error = 0.125 * ((2.0 - distance) / 2.0) + 1.5 * (1.0 - 0.125);
        assert!((node.own.error - error).abs() < 1e-12, "{:?}", node.own);
        let height = 2.0 * HEIGHT_MIN * force + HEIGHT_MIN;
        assert!((node.own.height - height).abs() < 1e-6, "{:?}", node.own);
    }

    #[test]
    fn one_slow_answer_among_quick_ones_does_not_count() {
        let mut node = Vivaldi::default();
        let medians = [0.1, 5.0, 0.2, 0.3, 0.3].map(|sample| node.median("peer", sample));
        assert_eq!(medians, [0.1, 5.0, 0.2, 0.3, 0.3]);
        assert_eq!(node.median("other", 7.0), 7.0);
        node.forget("peer");
        assert_eq!(node.median("peer", 9.0), 9.0);
    }

    #[test]
    fn what_cannot_be_is_refused_and_changes_nothing() {
        let mut rng = Rng::with_seed(1);
        let mut node = Vivaldi::default();
        let long = ROUND_TRIP_MAX + Duration::from_nanos(1);
        let refused = node.update("peer", &at(1.0), long, &mut rng);
        assert_eq!(refused, Err(Rejected::RoundTrip(long)));
        let flat = Coordinate { vec: vec![0.0], ..Coordinate::fresh() };
        let refused = node.update("peer", &flat, seconds(0.1), &mut rng);
        assert_eq!(refused, Err(Rejected::Coordinate(CoordinateError::Incompatible)));
        let refused = node.update("peer", &at(f64::NAN), seconds(0.1), &mut rng);
        assert_eq!(refused, Err(Rejected::Coordinate(CoordinateError::Invalid)));
        assert_eq!(node.coordinate(), &Coordinate::fresh());
        assert!(node.latencies.is_empty());
        assert_eq!(node.update("peer", &at(1.0), ROUND_TRIP_MAX, &mut rng), Ok(()));
    }

    #[test]
    fn a_coordinate_that_became_no_number_begins_anew() {
        let mut node = Vivaldi::default();
        node.own.vec[0] = f64::NAN;
        node.update("peer", &at(1.0), seconds(0.1), &mut Rng::with_seed(1)).unwrap();
        assert_eq!((node.coordinate(), node.resets()), (&Coordinate::fresh(), 1));
    }

    #[test]
    fn gravity_draws_a_cloud_that_drifted_back_to_the_origin() {
        let mut node = Vivaldi::default();
        node.own.vec[0] = 75.0;
        node.gravitate(&mut Rng::with_seed(1));
        assert!((node.own.vec[0] - 74.75).abs() < 1e-4, "{:?}", node.own);
    }

    proptest! {
        #[test]
        fn no_peer_can_make_the_coordinate_unusable(
            peers in prop::collection::vec(
                (prop::collection::vec(any::<f64>(), DIMENSIONS), any::<[f64; 3]>(), 0..12_000_000_u64),
                1..20,
            ),
        ) {
            let mut rng = Rng::with_seed(1);
            let mut node = Vivaldi::default();
            for (vec, [error, adjustment, height], micros) in peers {
                let other = Coordinate { vec, error, adjustment, height };
                let _ = node.update("peer", &other, Duration::from_micros(micros), &mut rng);
                prop_assert_eq!(node.coordinate().check(), Ok(()));
            }
        }
    }
}
