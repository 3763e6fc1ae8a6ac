//! What the test knows of each thing that it wrote, and what must be found of it.

use std::fmt;

/// Longest value. Few are; they make records that span many pages.
const VALUE_BYTES_MAX: u64 = 96 << 10;

/// Tells a write from all others of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) writer: usize,
    pub(super) number: u64,
}

impl Stamp {
    /// The value of this write: it begins with the stamp, and its length depends on it.
    pub(super) fn value(self) -> String {
        let spread = self.number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let bytes = match spread % 32 {
            0 => spread % VALUE_BYTES_MAX,
            1..=8 => spread % 4096,
            _ => spread % 256,
        };
        let text = self.to_string();
        let filler = text.repeat(bytes as usize / text.len());
        text + &filler
    }

    /// The stamp at the start of a text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (inside, _) = text.strip_prefix('[')?.split_once(']')?;
        let (writer, number) = inside.split_once('.')?;
        Some(Self { writer: writer.parse().ok()?, number: number.parse().ok()? })
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}.{}]", self.writer, self.number)
    }
}

/// Something that was read, with its indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sighting {
    pub(super) stamp: Stamp,
    pub(super) create: u64,
    pub(super) modify: u64,
}

/// A key, or a node with its service and checks: one writer writes it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) name: String,
    /// What was acknowledged last; `None` when it is not, or no longer, there.
    acknowledged: Option<Stamp>,
    /// A write of which no answer came.
    in_flight: Option<Option<Stamp>>,
    /// How it was read last, if it was not deleted since.
    seen: Option<Sighting>,
    /// The highest index at which it was ever seen.
    floor: u64,
}

/// What became of a write of which no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// All was answered.
    NoneInFlight,
    /// It took effect.
    Whole,
    /// It did not.
    Absent,
}

impl Item {
    pub(super) fn new(name: String) -> Self {
        Self { name, acknowledged: None, in_flight: None, seen: None, floor: 0 }
    }

    /// Whether it is there.
    pub(super) fn exists(&self) -> bool {
        self.acknowledged.is_some()
    }

    /// Notes that a write is on its way: of this stamp, or a deletion.
    pub(super) fn begin(&mut self, target: Option<Stamp>) {
        self.in_flight = Some(target);
    }

    /// Notes that the write on its way was acknowledged.
    pub(super) fn acknowledge(&mut self) {
        if let Some(target) = self.in_flight.take() {
            self.become_(target);
        }
    }

    /// The write on its way, if it is not known how it ended.
    pub(super) fn in_flight(&self) -> Option<Option<Stamp>> {
        self.in_flight
    }

    /// Compares what was read with what must be there; afterwards nothing is on its way.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub(super) fn meet(&mut self, found: Option<Sighting>) -> Result<Fate, String> {
        let stamp = found.map(|found| found.stamp);
        let fate = match self.in_flight.take() {
            None if stamp == self.acknowledged => Fate::NoneInFlight,
            Some(_) if stamp == self.acknowledged => Fate::Absent,
            Some(target) if stamp == target => {
                self.become_(target);
                Fate::Whole
            }
            in_flight => return Err(self.lost(stamp, in_flight)),
        };
        if let Some(found) = found {
            self.check_indexes(found)?;
            self.floor = self.floor.max(found.modify);
        }
        self.seen = found;
        Ok(fate)
    }

    fn become_(&mut self, target: Option<Stamp>) {
        self.acknowledged = target;
        if target.is_none() {
            self.seen = None;
        }
    }

    fn check_indexes(&self, found: Sighting) -> Result<(), String> {
        let sound = match self.seen {
            Some(seen) if seen.stamp == found.stamp => seen == found,
            Some(seen) => found.create == seen.create && found.modify > seen.modify,
            None => found.create > self.floor && found.modify >= found.create,
        };
        if sound {
            return Ok(());
        }
        let name = &self.name;
        let (seen, floor) = (self.seen, self.floor);
        Err(format!("indexes of {name} go wrong: {found:?} after {seen:?}, highest so far {floor}"))
    }

    fn lost(&self, found: Option<Stamp>, in_flight: Option<Option<Stamp>>) -> String {
        let text = |stamp: Option<Stamp>| stamp.map_or("nothing".to_owned(), |s| s.to_string());
        let (name, seen) = (&self.name, self.seen);
        let (acknowledged, found) = (text(self.acknowledged), text(found));
        let in_flight = in_flight.map_or("no write".to_owned(), text);
        format!(
            "{name}: {acknowledged} was acknowledged, {in_flight} was in flight, but {found} is \
             there (last seen: {seen:?})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn stamp(number: u64) -> Stamp {
        Stamp { writer: 3, number }
    }

    fn sighting(number: u64, create: u64, modify: u64) -> Option<Sighting> {
        Some(Sighting { stamp: stamp(number), create, modify })
    }

    fn written(numbers: &[u64]) -> Item {
        let mut item = Item::new("key".to_owned());
        for number in numbers {
            item.begin(Some(stamp(*number)));
            item.acknowledge();
        }
        item
    }

    #[test]
    fn a_value_tells_its_stamp_and_has_the_same_length_each_time() {
        for number in 0..2000 {
            let value = stamp(number).value();
            assert_eq!(Stamp::parse(&value), Some(stamp(number)));
            assert_eq!(value, stamp(number).value());
            assert!(value.len() as u64 <= VALUE_BYTES_MAX + 32);
        }
        assert!((0..2000).any(|number| stamp(number).value().len() > 16 << 10));
        assert_eq!(Stamp::parse("3.4"), None);
        assert_eq!(Stamp::parse("[3.x]"), None);
    }

    #[test]
    fn what_was_acknowledged_must_be_there() {
        assert_eq!(written(&[1]).meet(sighting(1, 5, 5)), Ok(Fate::NoneInFlight));
        assert!(written(&[1]).meet(None).is_err());
        assert!(written(&[1, 2]).meet(sighting(1, 5, 5)).is_err());
        assert!(written(&[]).meet(sighting(1, 5, 5)).is_err());
    }

    #[test]
    fn what_was_in_flight_may_be_there_or_not_but_nothing_else() {
        let mut item = written(&[1]);
        item.begin(Some(stamp(2)));
        assert_eq!(item.clone().meet(sighting(2, 5, 6)), Ok(Fate::Whole));
        assert_eq!(item.clone().meet(sighting(1, 5, 5)), Ok(Fate::Absent));
        assert!(item.clone().meet(sighting(3, 5, 7)).is_err());
        assert!(item.clone().meet(None).is_err());
        item.begin(None);
        assert_eq!(item.clone().meet(None), Ok(Fate::Whole));
        assert!(item.meet(sighting(2, 5, 6)).is_err());
    }

    #[test]
    fn once_found_it_must_stay_so() {
        let mut item = written(&[1]);
        item.begin(Some(stamp(2)));
        assert_eq!(item.meet(sighting(2, 5, 6)), Ok(Fate::Whole));
        assert!(item.clone().meet(sighting(1, 5, 5)).is_err());
        assert_eq!(item.meet(sighting(2, 5, 6)), Ok(Fate::NoneInFlight));
    }

    #[test]
    fn indexes_never_go_backwards() {
        let mut item = written(&[1]);
        assert!(item.meet(sighting(1, 5, 6)).is_ok());
        assert!(item.clone().meet(sighting(1, 5, 7)).is_err(), "nothing was written");
        item.begin(Some(stamp(2)));
        item.acknowledge();
        assert!(item.clone().meet(sighting(2, 5, 6)).is_err(), "a write has an index of its own");
        assert!(item.clone().meet(sighting(2, 7, 7)).is_err(), "it was not created again");
        assert!(item.meet(sighting(2, 5, 9)).is_ok());
        item.begin(None);
        item.acknowledge();
        item.begin(Some(stamp(3)));
        item.acknowledge();
        assert!(item.clone().meet(sighting(3, 9, 9)).is_err(), "created anew, so later");
        assert!(item.meet(sighting(3, 11, 11)).is_ok());
    }
}
