//! Durations as Go writes and reads them: `"1h30m0s"`, `"150ms"`, `"1.5s"`.
//!
//! The grammar and the printed form are those of Go's `time.ParseDuration` and
//! `Duration.String` (<https://pkg.go.dev/time#ParseDuration>).

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use thiserror::Error;

/// A signed span of nanoseconds. In JSON it is written as Go text (`"10s"`)
/// and read as text or as a number of nanoseconds; in msgpack it is the number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(i64);

/// Text that is not a duration. The message is Go's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseDurationError {
    /// The text does not follow the grammar at all.
    #[error("time: invalid duration {}", go_quote(.0))]
    Invalid(String),
    /// A number has no unit.
    #[error("time: missing unit in duration {}", go_quote(.0))]
    MissingUnit(String),
    /// A unit is not one of ns, us, ms, s, m, h.
    #[error("time: unknown unit {} in duration {}", go_quote(.unit), go_quote(.text))]
    UnknownUnit {
        /// The unit as written.
        unit: String,
        /// The whole text.
        text: String,
    },
}

const NANOSECOND: i64 = 1;
const MICROSECOND: i64 = 1_000 * NANOSECOND;
const MILLISECOND: i64 = 1_000 * MICROSECOND;
const SECOND: i64 = 1_000 * MILLISECOND;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

impl GoDuration {
    /// No time at all, which in Consul's formats usually means "not given".
    pub const ZERO: GoDuration = GoDuration(0);

    /// A span of `nanoseconds`, which may be negative.
    pub const fn from_nanos(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// A span of whole milliseconds.
    pub const fn from_millis(milliseconds: i64) -> Self {
        Self(milliseconds * MILLISECOND)
    }

    /// A span of whole seconds.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds * SECOND)
    }

    /// The span in nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whether the span is zero.
    pub const fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// Whether the span is above zero.
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// The span as a standard duration; a negative one becomes zero.
    pub fn to_std(self) -> Duration {
        Duration::from_nanos(self.0.max(0).unsigned_abs())
    }

    /// Reads Go's duration text.
    pub fn parse(text: &str) -> Result<Self, ParseDurationError> {
        let invalid = || ParseDurationError::Invalid(text.to_owned());
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self::ZERO);
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let (nanoseconds, tail) = parse_term(rest, text)?;
            total = total.checked_add(nanoseconds).filter(|t| *t <= 1 << 63).ok_or_else(invalid)?;
            rest = tail;
        }
        if negative {
            return Ok(Self((total as i64).wrapping_neg()));
        }
        i64::try_from(total).map(Self).map_err(|_| invalid())
    }
}

/// Reads one `<number><unit>` term and returns its nanoseconds and the rest.
fn parse_term<'a>(rest: &'a str, text: &str) -> Result<(u64, &'a str), ParseDurationError> {
    let invalid = || ParseDurationError::Invalid(text.to_owned());
    let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
    let whole_len = digits(rest);
    let (whole, mut rest) = rest.split_at(whole_len);
    let mut fraction = "";
    if let Some(after_dot) = rest.strip_prefix('.') {
        let (digits, tail) = after_dot.split_at(digits(after_dot));
        fraction = digits;
        rest = tail;
    }
    if whole.is_empty() && fraction.is_empty() {
        return Err(invalid());
    }
    let unit_len = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_len);
    let scale = match unit {
        "" => return Err(ParseDurationError::MissingUnit(text.to_owned())),
        "ns" => NANOSECOND,
        "us" | "µs" | "μs" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => {
            return Err(ParseDurationError::UnknownUnit {
                unit: unit.to_owned(),
                text: text.to_owned(),
            });
        }
    } as u64;
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
    let mut nanoseconds = whole.checked_mul(scale).ok_or_else(invalid)?;
    // Digits beyond the eighteenth are below a nanosecond for every unit.
    let fraction = &fraction[..fraction.len().min(18)];
    if !fraction.is_empty() {
        let numerator: u128 = fraction.parse().map_err(|_| invalid())?;
        let denominator = 10u128.pow(fraction.len() as u32);
        let part = numerator * u128::from(scale) / denominator;
        nanoseconds = nanoseconds.checked_add(part as u64).ok_or_else(invalid)?;
    }
    Ok((nanoseconds, rest))
}

impl From<Duration> for GoDuration {
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let second = SECOND as u64;
        if total == 0 {
            return f.write_str("0s");
        }
        if total < second {
            let (scale, unit) = match total {
                t if t < MICROSECOND as u64 => (1, "ns"),
                t if t < MILLISECOND as u64 => (MICROSECOND as u64, "µs"),
                _ => (MILLISECOND as u64, "ms"),
            };
            return write!(f, "{sign}{}{unit}", Decimal { value: total, scale });
        }
        let minutes = total / (60 * second);
        let seconds = Decimal { value: total % (60 * second), scale: second };
        match (minutes / 60, minutes % 60) {
            (0, 0) => write!(f, "{sign}{seconds}s"),
            (0, minutes) => write!(f, "{sign}{minutes}m{seconds}s"),
            (hours, minutes) => write!(f, "{sign}{hours}h{minutes}m{seconds}s"),
        }
    }
}

/// `value / scale` as a decimal without trailing zeros; `scale` is a power of ten.
struct Decimal {
    value: u64,
    scale: u64,
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.value / self.scale)?;
        let fraction = self.value % self.scale;
        if fraction == 0 {
            return Ok(());
        }
        let width = self.scale.ilog10() as usize;
        let digits = format!("{fraction:0width$}");
        write!(f, ".{}", digits.trim_end_matches('0'))
    }
}

/// Quotes text as Go's `%q` does for the texts that occur in durations.
fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DurationVisitor;

        impl<'de> Visitor<'de> for DurationVisitor {
            type Value = GoDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"10s\" or a number of nanoseconds")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GoDuration, E> {
                if text.is_empty() {
                    return Ok(GoDuration::ZERO);
                }
                GoDuration::parse(text).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, nanoseconds: i64) -> Result<GoDuration, E> {
                Ok(GoDuration(nanoseconds))
            }

            fn visit_u64<E: de::Error>(self, nanoseconds: u64) -> Result<GoDuration, E> {
                i64::try_from(nanoseconds).map(GoDuration).map_err(E::custom)
            }

            fn visit_f64<E: de::Error>(self, nanoseconds: f64) -> Result<GoDuration, E> {
                Ok(GoDuration(nanoseconds as i64))
            }

            fn visit_none<E: de::Error>(self) -> Result<GoDuration, E> {
                Ok(GoDuration::ZERO)
            }

            fn visit_unit<E: de::Error>(self) -> Result<GoDuration, E> {
                Ok(GoDuration::ZERO)
            }
        }

        deserializer.deserialize_any(DurationVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, nanoseconds: i64, printed: &str) {
        let duration = GoDuration::parse(text).unwrap();
        assert_eq!(duration.as_nanos(), nanoseconds, "{text}");
        assert_eq!(duration.to_string(), printed, "{text}");
    }

    #[test]
    fn durations_read_and_print_as_in_go() {
        check("0", 0, "0s");
        check("5s", 5 * SECOND, "5s");
        check("30m", 30 * MINUTE, "30m0s");
        check("1h", HOUR, "1h0m0s");
        check("1h15m30.918s", HOUR + 15 * MINUTE + 30_918 * MILLISECOND, "1h15m30.918s");
        check("-1.5h", -90 * MINUTE, "-1h30m0s");
        check(".5s", 500 * MILLISECOND, "500ms");
        check("1us", 1_000, "1µs");
        check("1.5µs", 1_500, "1.5µs");
        check("150ms", 150 * MILLISECOND, "150ms");
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_go() {
        let error = |text: &str| GoDuration::parse(text).unwrap_err().to_string();
        assert_eq!(error("abc"), r#"time: invalid duration "abc""#);
        assert_eq!(error(""), r#"time: invalid duration """#);
        assert_eq!(error("5"), r#"time: missing unit in duration "5""#);
        assert_eq!(error("5x"), r#"time: unknown unit "x" in duration "5x""#);
        assert_eq!(
            error("9223372036854775808ns"),
            r#"time: invalid duration "9223372036854775808ns""#
        );
    }
}
