//! Points in time: RFC 3339 text in JSON, Go's binary form in msgpack.
//!
//! `reference/http-api.md` 1.4 (timestamps), `reference/rpc-wire.md` section 5
//! (`time`). The zero value is Go's: midnight of 1 January of the year 1, which
//! Consul's formats show where no time was set.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// A point in time, to the nanosecond, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since the start of the year 1.
    seconds: i64,
    /// 0 to 999,999,999.
    nanos: u32,
}

/// Seconds from the start of the year 1 to that of 1970.
const UNIX_EPOCH: i64 = 62_135_596_800;
/// The first second of the year 10000, which RFC 3339 cannot write.
const END: i64 = 315_537_897_600;
const DAY: i64 = 86_400;
/// A version-1 time in UTC carries this in place of an offset in minutes.
const UTC: [u8; 2] = [0xff, 0xff];

impl Timestamp {
    /// No time: the start of the year 1.
    pub const ZERO: Timestamp = Timestamp { seconds: 0, nanos: 0 };

    /// The point `nanoseconds` after the start of 1970. Times outside the years
    /// 1 to 9999 become the nearest inside.
    pub fn from_unix_nanos(nanoseconds: i128) -> Self {
        let second = 1_000_000_000;
        let seconds = nanoseconds.div_euclid(second) + i128::from(UNIX_EPOCH);
        if !(0..i128::from(END)).contains(&seconds) {
            let seconds = if seconds < 0 { 0 } else { END - 1 };
            return Self { seconds, nanos: 0 };
        }
        Self { seconds: seconds as i64, nanos: nanoseconds.rem_euclid(second) as u32 }
    }

    /// Nanoseconds since the start of 1970, negative before.
    pub fn unix_nanos(self) -> i128 {
        i128::from(self.seconds - UNIX_EPOCH) * 1_000_000_000 + i128::from(self.nanos)
    }

    /// Whether no time was set.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// Reads RFC 3339 text, with any offset and up to nine digits of a fraction.
    ///
    /// # Errors
    /// Text that is something else, or a date that does not exist.
    pub fn parse(text: &str) -> Result<Self, ParseTimestampError> {
        parse(text).ok_or_else(|| ParseTimestampError(text.to_owned()))
    }

    /// Go's binary form (`reference/rpc-wire.md` section 5).
    fn to_binary(self) -> [u8; 15] {
        let mut bytes = [0; 15];
        bytes[0] = 1;
        bytes[1..9].copy_from_slice(&self.seconds.to_be_bytes());
        bytes[9..13].copy_from_slice(&self.nanos.to_be_bytes());
        bytes[13..].copy_from_slice(&UTC);
        bytes
    }

    /// Version 1 has 15 bytes, version 2 one more for the seconds of the offset.
    /// The offset says where the time was written, not what it is.
    fn from_binary(bytes: &[u8]) -> Option<Self> {
        match (bytes.first(), bytes.len()) {
            (Some(1), 15) | (Some(2), 16) => {}
            _ => return None,
        }
        let (seconds, rest) = bytes[1..].split_first_chunk::<8>()?;
        let (nanos, _) = rest.split_first_chunk::<4>()?;
        let time =
            Self { seconds: i64::from_be_bytes(*seconds), nanos: u32::from_be_bytes(*nanos) };
        ((0..END).contains(&time.seconds) && time.nanos < 1_000_000_000).then_some(time)
    }
}

/// Text that is no RFC 3339 time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parsing time \"{0}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{0}\"")]
pub struct ParseTimestampError(String);

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let nanos = |span: Duration| i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => Self::from_unix_nanos(nanos(after)),
            Err(before) => Self::from_unix_nanos(-nanos(before.duration())),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.seconds / DAY);
        let second = self.seconds % DAY;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanos > 0 {
            let digits = format!("{:09}", self.nanos);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

/// Days from the start of the year 1 to that of `year`.
fn days_before_year(year: i64) -> i64 {
    let past = year - 1;
    past * 365 + past / 4 - past / 100 + past / 400
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Year, month and day of the day that is `days` after 1 January of the year 1.
fn date(days: i64) -> (i64, i64, i64) {
    // A year has at most 366 days: the guess is never late, and early by some
    // twenty years in ten thousand.
    let mut year = days / 366 + 1;
    while days_before_year(year + 1) <= days {
        year += 1;
    }
    let mut day = days - days_before_year(year);
    let mut month = 1;
    while day >= days_in_month(year, month) {
        day -= days_in_month(year, month);
        month += 1;
    }
    (year, month, day + 1)
}

fn parse(text: &str) -> Option<Timestamp> {
    let (date_text, rest) = text.split_at_checked(10)?;
    let (time_text, rest) = rest.strip_prefix('T')?.split_at_checked(8)?;
    let [year, month, day] = numbers(date_text, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time_text, ':', [2, 2, 2])?;
    let exists = year >= 1
        && (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !exists {
        return None;
    }
    let (nanos, offset) = match rest.strip_prefix('.') {
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let digits = &rest[..end.min(9)];
            let scale = 10u32.pow(9 - u32::try_from(digits.len()).ok()?);
            (digits.parse::<u32>().ok()? * scale, &rest[end..])
        }
        None => (0, rest),
    };
    let days = days_before_year(year)
        + (1..month).map(|month| days_in_month(year, month)).sum::<i64>()
        + (day - 1);
    let local = days * DAY + hour * 3600 + minute * 60 + second;
    let seconds = local - offset_seconds(offset)?;
    (0..END).contains(&seconds).then_some(Timestamp { seconds, nanos })
}

fn offset_seconds(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let [hours, minutes] = numbers(&text[1..], ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Numbers of fixed widths, parted by `separator`.
fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, width) in numbers.iter_mut().zip(widths) {
        let part = parts.next()?;
        let digits = part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = if digits { part.parse().ok()? } else { return None };
    }
    parts.next().is_none().then_some(numbers)
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.to_binary())
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(TimestampVisitor)
        } else {
            deserializer.deserialize_bytes(TimestampVisitor)
        }
    }
}

struct TimestampVisitor;

impl Visitor<'_> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as \"2006-01-02T15:04:05Z\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
        if text.is_empty() {
            return Ok(Timestamp::ZERO);
        }
        Timestamp::parse(text).map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Timestamp, E> {
        if bytes.is_empty() {
            return Ok(Timestamp::ZERO);
        }
        Timestamp::from_binary(bytes).ok_or_else(|| E::custom("bytes that are no time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, unix_nanos: i128, printed: &str) {
        let time = Timestamp::parse(text).unwrap();
        assert_eq!(time.unix_nanos(), unix_nanos, "{text}");
        assert_eq!(time.to_string(), printed, "{text}");
        assert_eq!(Timestamp::from_unix_nanos(unix_nanos), time, "{text}");
        assert_eq!(Timestamp::from_binary(&time.to_binary()), Some(time), "{text}");
    }

    #[test]
    fn times_read_and_print_as_in_go() {
        let second = 1_000_000_000;
        let year_one = -i128::from(UNIX_EPOCH) * second;
        check("0001-01-01T00:00:00Z", year_one, "0001-01-01T00:00:00Z");
        check("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z");
        check("1969-12-31T23:59:59.5Z", -second / 2, "1969-12-31T23:59:59.5Z");
        check(
            "2000-02-29T12:34:56.000000001Z",
            951_827_696 * second + 1,
            "2000-02-29T12:34:56.000000001Z",
        );
        check("2026-11-21T13:46:05+02:00", 1_795_261_565 * second, "2026-11-21T11:46:05Z");
        check("2025-12-31T23:30:00-01:00", 1_767_227_400 * second, "2026-01-01T00:30:00Z");
        check("9999-12-31T23:59:59Z", 253_402_300_799 * second, "9999-12-31T23:59:59Z");
    }

    #[test]
    fn text_that_is_no_time_is_refused() {
        for text in [
            "x",
            "2026-11-21",
            "2026-11-21 11:46:05Z",
            "2026-13-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T11:46:05",
            "2026-11-21T11:46:05.Z",
            "2026-11-21T11:46:05+0200",
            "0001-01-01T00:00:00+01:00",
            "２０２６-11-21T11:46:05Z",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_zero_time_has_the_bytes_of_go() {
        let expected = [0xaf, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        assert_eq!(crate::msgpack::to_vec(&Timestamp::ZERO), expected);
        assert_eq!(crate::msgpack::from_slice(&expected), Ok(Timestamp::ZERO));
        assert_eq!(crate::msgpack::from_slice(&[0xc0]), Ok(Timestamp::ZERO));
        assert_eq!(crate::json::encode(&Timestamp::ZERO), b"\"0001-01-01T00:00:00Z\"");
        let short = crate::msgpack::from_slice::<Timestamp>(&[0xa2, 1, 0]);
        assert_eq!(short.unwrap_err().to_string(), "msgpack: bytes that are no time");
    }

    #[test]
    fn every_day_of_ten_thousand_years_has_its_date() {
        let days = END / DAY;
        for day in (0..days).step_by(97) {
            let time = Timestamp { seconds: day * DAY + 1, nanos: 0 };
            assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
        }
    }
}
