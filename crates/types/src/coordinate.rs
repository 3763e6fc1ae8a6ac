//! Network coordinates: points whose distances estimate round trips.
//!
//! The model is Vivaldi with heights (Dabek et al., 2004) and the adjustment term of
//! Ledlie et al., as serf's MPL-licensed `coordinate` package has it; constants and rules:
//! `reference/gossip-wire.md` section 14. All values but [`Coordinate::error`] are seconds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Datacenter, NodeName};

/// How many dimensions a coordinate has, besides its height.
pub const DIMENSIONS: usize = 8;

/// The error of a node that knows nothing, and the largest there is.
pub const ERROR_MAX: f64 = 1.5;

/// The least height.
pub const HEIGHT_MIN: f64 = 10.0e-6;

/// Where a node is in the space of round trips.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Coordinate {
    /// The point, in seconds; [`DIMENSIONS`] numbers unless it came from elsewhere.
    #[serde(deserialize_with = "crate::null::or_null")]
    pub vec: Vec<f64>,
    /// How little the node trusts its own coordinate: 0 for fully, [`ERROR_MAX`] for not
    /// at all. A plain number.
    pub error: f64,
    /// What estimates from this point were off lately, in seconds.
    pub adjustment: f64,
    /// The way from the node to the network's core, in seconds.
    pub height: f64,
}

/// As in Go, what a body leaves out is zero.
impl Default for Coordinate {
    fn default() -> Self {
        Self { vec: Vec::new(), error: 0.0, adjustment: 0.0, height: 0.0 }
    }
}

/// Why a coordinate is refused. The texts are Consul's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoordinateError {
    /// A part of it is not a finite number.
    #[error("invalid coordinate")]
    Invalid,
    /// It does not have [`DIMENSIONS`] dimensions.
    #[error("incompatible coordinate")]
    Incompatible,
}

impl Coordinate {
    /// The coordinate of a node that has measured nothing.
    pub fn fresh() -> Self {
        Self { vec: vec![0.0; DIMENSIONS], error: ERROR_MAX, adjustment: 0.0, height: HEIGHT_MIN }
    }

    /// Whether it can be measured with and kept.
    ///
    /// # Errors
    /// See [`CoordinateError`]; what is not finite is named first.
    pub fn check(&self) -> Result<(), CoordinateError> {
        let mut parts = self.vec.iter().chain([&self.error, &self.adjustment, &self.height]);
        if !parts.all(|part| part.is_finite()) {
            return Err(CoordinateError::Invalid);
        }
        if self.vec.len() != DIMENSIONS {
            return Err(CoordinateError::Incompatible);
        }
        Ok(())
    }

    /// The estimated round trip between two nodes in seconds: the way through the core,
    /// both heights, and both adjustments unless they would make it zero or less. `None`
    /// if the two have not the same dimensions.
    pub fn distance_to(&self, other: &Coordinate) -> Option<f64> {
        let raw = self.raw_distance_to(other)?;
        let adjusted = raw + (self.adjustment + other.adjustment);
        Some(if adjusted > 0.0 { adjusted } else { raw })
    }

    /// [`Self::distance_to`] in whole nanoseconds, as Consul compares and prints it. What is
    /// out of the range of a [`Duration`] is the nearest that is in it.
    pub fn round_trip_to(&self, other: &Coordinate) -> Option<Duration> {
        const NANOS_PER_SECOND: f64 = 1.0e9;
        let nanos = self.distance_to(other)? * NANOS_PER_SECOND;
        // A cast saturates, which is right for all but what is not a number.
        let nanos = if nanos.is_nan() { u64::MAX } else { nanos as u64 };
        Some(Duration::from_nanos(nanos))
    }

    /// The way through the core and both heights, without the adjustments.
    pub fn raw_distance_to(&self, other: &Coordinate) -> Option<f64> {
        if self.vec.len() != other.vec.len() {
            return None;
        }
        let squares = self.vec.iter().zip(&other.vec).map(|(a, b)| (a - b) * (a - b));
        // The heights are added first so that the sum is the same both ways to the last bit.
        Some(squares.sum::<f64>().sqrt() + (self.height + other.height))
    }
}

/// A node's coordinate in one network segment, as the HTTP API, Raft commands and
/// snapshots show it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeCoordinate {
    /// The node.
    pub node: NodeName,
    /// The segment; empty for the only one that Community Edition has.
    pub segment: String,
    /// Where the node is; nothing only in what came from outside.
    pub coord: Option<Coordinate>,
}

/// The coordinates of the servers of one datacenter (`/v1/coordinate/datacenters`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DatacenterMap {
    /// The datacenter.
    pub datacenter: Datacenter,
    /// The pool that measured them: `wan`.
    #[serde(rename = "AreaID")]
    pub area_id: String,
    /// The servers, without the datacenter in their names.
    pub coordinates: Vec<NodeCoordinate>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(x: f64, height: f64, adjustment: f64) -> Coordinate {
        let mut vec = vec![0.0; DIMENSIONS];
        vec[0] = x;
        Coordinate { vec, error: ERROR_MAX, adjustment, height }
    }

    #[test]
    fn a_distance_is_the_way_through_the_core_the_heights_and_the_adjustments() {
        let check = |a: Coordinate, b: Coordinate, expected: f64| {
            let distance = a.distance_to(&b).expect("both have eight dimensions");
            assert!((distance - expected).abs() < 1e-12, "{a:?} {b:?}: {distance}");
        };
        check(Coordinate::fresh(), Coordinate::fresh(), 2.0 * HEIGHT_MIN);
        check(at(0.5, HEIGHT_MIN, 0.0), at(0.001, HEIGHT_MIN, 0.0), 0.49902);
        check(at(0.1, 0.02, 0.003), at(0.2, 0.03, 0.004), 0.157);
        check(at(0.1, 0.02, -0.003), at(0.2, 0.03, 0.001), 0.148);
        // Adjustments that would make it nothing or less do not count.
        check(at(0.1, 0.0, -0.05), at(0.2, 0.0, -0.05), 0.1);
        check(at(0.1, 0.0, -0.4), at(0.2, 0.0, 0.0), 0.1);
    }

    #[test]
    fn what_is_not_finite_or_has_other_dimensions_is_refused() {
        assert_eq!(Coordinate::fresh().check(), Ok(()));
        let vec = vec![0.0; 2];
        let flat = Coordinate { vec, ..Coordinate::fresh() };
        assert_eq!(flat.check(), Err(CoordinateError::Incompatible));
        assert_eq!(flat.distance_to(&Coordinate::fresh()), None);
        assert_eq!(Coordinate::default().check(), Err(CoordinateError::Incompatible));
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let invalid = [
                at(wrong, 0.0, 0.0),
                at(0.0, wrong, 0.0),
                at(0.0, 0.0, wrong),
                Coordinate { error: wrong, ..Coordinate::fresh() },
                Coordinate { vec: vec![wrong], ..Coordinate::fresh() },
            ];
            for coordinate in invalid {
                assert_eq!(coordinate.check(), Err(CoordinateError::Invalid), "{coordinate:?}");
            }
        }
    }

    #[test]
    fn round_trips_are_whole_nanoseconds_and_never_overflow() {
        let origin = at(0.0, 0.0, 0.0);
        let check = |coordinate: Coordinate, nanos: u64| {
            let round_trip = origin.round_trip_to(&coordinate);
            assert_eq!(round_trip, Some(Duration::from_nanos(nanos)), "{coordinate:?}");
        };
        check(at(1.5e-9, 0.0, 0.0), 1);
        check(at(1e308, 1e308, 0.0), u64::MAX);
        check(at(0.0, -1.0, 0.0), 0);
        check(at(f64::INFINITY, f64::NEG_INFINITY, 0.0), u64::MAX);
    }

    #[test]
    fn json_is_that_of_consul() {
        let row = NodeCoordinate {
            node: "far".into(),
            segment: String::new(),
            coord: Some(at(0.5, HEIGHT_MIN, 0.0)),
        };
        let text = r#"{"Node":"far","Segment":"","Coord":{"Vec":[0.5,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":0.00001}}"#;
        assert_eq!(String::from_utf8_lossy(&crate::json::encode(&row)), text);
        let read = crate::json::decode(text.as_bytes(), crate::json::Unknown::Deny);
        assert_eq!(read, Ok(row));
    }

    fn coordinate() -> impl Strategy<Value = Coordinate> {
        let part = || any::<f64>().prop_filter("finite", |part| part.is_finite());
        (prop::collection::vec(part(), DIMENSIONS), part(), part(), part()).prop_map(
            |(vec, error, adjustment, height)| Coordinate { vec, error, adjustment, height },
        )
    }

    proptest! {
        #[test]
        fn distances_are_the_same_both_ways(a in coordinate(), b in coordinate()) {
            prop_assert!(a.check().is_ok() && b.check().is_ok());
            prop_assert_eq!(a.round_trip_to(&b), b.round_trip_to(&a));
            prop_assert!(a.round_trip_to(&b).is_some());
        }
    }
}
