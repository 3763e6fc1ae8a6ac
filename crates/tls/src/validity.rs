//! How long a certificate is valid, and when somebody should be told that it ends.

use std::time::Duration;

use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The end of a certificate that lives long is told of this long before.
const WARNING_MAX: Duration = Duration::from_secs(28 * 24 * 3600);

/// From when to when a certificate is valid, in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: i64,
    /// The last second.
    pub not_after: i64,
}

impl Validity {
    /// Reads it from a certificate (DER); `None` if it is none.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let validity = certificate.validity();
        let (not_before, not_after) = (validity.not_before, validity.not_after);
        Some(Self { not_before: not_before.timestamp(), not_after: not_after.timestamp() })
    }

    /// Seconds until its end, below zero when that has passed.
    pub fn seconds_left(&self, now: i64) -> i64 {
        self.not_after.saturating_sub(now)
    }

    /// Whether so little is left that somebody has to do something: less than 28 days, or
    /// than two fifths of its life where that is shorter.
    pub fn ends_soon(&self, now: i64) -> bool {
        let life = self.not_after.saturating_sub(self.not_before);
        self.seconds_left(now) < (life / 5 * 2).min(WARNING_MAX.as_secs() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    #[test]
    fn the_end_is_near_28_days_or_two_fifths_of_a_life_before() {
        let year = Validity { not_before: 0, not_after: 365 * DAY };
        assert!(!year.ends_soon((365 - 28) * DAY));
        assert!(year.ends_soon((365 - 28) * DAY + 1));
        let days = Validity { not_before: 0, not_after: 5 * DAY };
        assert!(!days.ends_soon(3 * DAY));
        assert!(days.ends_soon(3 * DAY + 1) && days.ends_soon(9 * DAY));
        assert_eq!(days.seconds_left(6 * DAY), -DAY);
    }

    #[test]
    fn a_certificate_tells_from_when_to_when_it_is_valid() {
        let mut params = rcgen::CertificateParams::new(vec!["a1".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 11);
        let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let validity = Validity::of(made.der()).expect("it is one");
        assert_eq!(validity.not_before, 1_767_225_600);
        assert_eq!(validity.not_after - validity.not_before, 10 * DAY);
    }

    #[test]
    fn what_is_no_certificate_has_no_validity() {
        assert_eq!(Validity::of(b"\x30\x82"), None);
        assert_eq!(Validity::of(b""), None);
    }
}
