//! TTL checks: critical unless they are told otherwise in time
//! (`reference/checks.md` section 3, `ttl`).
//!
//! [`Ttl`] is driven with the time it is now. [`SavedTtl`] is what an agent
//! writes to `checks/state/` so that a restart does not forget a status that is
//! still good (`reference/config.md`, data directory).

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use types::CheckId;
use types::check::Status;

use super::{Outcome, output};

/// A check that is not a TTL check was told a status.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("CheckID \"{0}\" does not have associated TTL")]
pub struct NotTtl(pub CheckId);

/// The timer of one TTL check.
#[derive(Clone, Debug)]
pub struct Ttl {
    ttl: Duration,
    output_limit: usize,
    last_output: String,
    deadline: Option<Instant>,
}

impl Ttl {
    /// Starts the timer. `output_limit` is in bytes; `last_output` is what the
    /// check showed before, empty for a new one.
    pub fn new(ttl: Duration, output_limit: usize, last_output: String, now: Instant) -> Self {
        Self { ttl, output_limit, last_output, deadline: now.checked_add(ttl) }
    }

    /// Takes a status from outside and starts the timer again.
    pub fn handle_update(&mut self, status: Status, note: String, now: Instant) -> Outcome {
        self.last_output = output::head(note, self.output_limit);
        self.deadline = now.checked_add(self.ttl);
        Outcome::new(status, self.last_output.clone())
    }

    /// When [`Ttl::handle_timeout`] has something to say; `None` once expired.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// The outcome of an expiry, once for each time the timer runs out.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Outcome> {
        if self.deadline? > now {
            return None;
        }
        self.deadline = None;
        Some(Outcome::critical(match self.last_output.as_str() {
            "" => "TTL expired".to_owned(),
            last => format!("TTL expired (last output before timeout follows): {last}"),
        }))
    }
}

/// The state of a TTL check as it is kept on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SavedTtl {
    /// The check.
    #[serde(rename = "CheckID")]
    pub check_id: CheckId,
    /// Its last output.
    #[serde(default)]
    pub output: String,
    /// Its last status.
    pub status: Status,
    /// Seconds since 1970 after which the state is worth nothing.
    pub expires: i64,
}

impl SavedTtl {
    /// The state to keep for an `outcome` at `now_unix` (seconds since 1970).
    pub fn new(check_id: CheckId, outcome: &Outcome, ttl: Duration, now_unix: i64) -> Self {
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        Self {
            check_id,
            output: outcome.output.clone(),
            status: outcome.status.clone(),
            expires: now_unix.saturating_add(seconds),
        }
    }

    /// What the check starts with after a restart; `None` when it is too old.
    pub fn restore(self, now_unix: i64) -> Option<Outcome> {
        (now_unix < self.expires).then(|| Outcome::new(self.status, self.output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_check_that_was_never_told_anything_expires() {
        let start = Instant::now();
        let mut ttl = Ttl::new(10 * SECOND, 100, String::new(), start);
        assert_eq!(ttl.poll_timeout(), Some(start + 10 * SECOND));
        assert_eq!(ttl.handle_timeout(start + 9 * SECOND), None);
        assert_eq!(ttl.handle_timeout(start + 10 * SECOND), Some(Outcome::critical("TTL expired")));
        assert_eq!(ttl.poll_timeout(), None);
        assert_eq!(ttl.handle_timeout(start + 99 * SECOND), None);
    }

    #[test]
    fn an_update_starts_the_timer_again_and_its_note_is_told_at_expiry() {
        let start = Instant::now();
        let mut ttl = Ttl::new(10 * SECOND, 8, String::new(), start);
        let told = ttl.handle_update(Status::Warning, "0123456789".into(), start + 9 * SECOND);
        assert_eq!(told, Outcome::new(Status::Warning, "01234567 ... (captured 8 of 10 bytes)"));
        assert_eq!(ttl.handle_timeout(start + 18 * SECOND), None);
        let expired = ttl.handle_timeout(start + 19 * SECOND).unwrap();
        assert_eq!(
            expired.output,
            "TTL expired (last output before timeout follows): 01234567 ... (captured 8 of 10 bytes)"
        );
        ttl.handle_update(Status::Passing, String::new(), start + 30 * SECOND);
        assert_eq!(ttl.poll_timeout(), Some(start + 40 * SECOND));
    }

    #[test]
    fn a_saved_state_is_restored_until_it_expires() {
        let outcome = Outcome::passing("fine");
        let saved = SavedTtl::new("web".into(), &outcome, 30 * SECOND, 1000);
        let text = serde_json::to_string(&saved).unwrap();
        assert_eq!(text, r#"{"CheckID":"web","Output":"fine","Status":"passing","Expires":1030}"#);
        let read: SavedTtl = serde_json::from_str(&text).unwrap();
        assert_eq!(read.clone().restore(1029), Some(outcome));
        assert_eq!(read.restore(1030), None);
    }
}
