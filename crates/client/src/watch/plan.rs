//! A watch as a machine: answers in, changes out. It knows no network and no clock.

use std::fmt;
use std::time::Duration;

use serde_json::Value as Json;
use types::Index;

use super::query::{Blocking, WatchQuery};
use super::shape::{WrongShape, reshape};
use crate::Request;

/// The wait after the first failure; it grows with the square of their number.
const RETRY_BASE: Duration = Duration::from_secs(5);
/// The longest wait after a failure.
const RETRY_MAX: Duration = Duration::from_secs(180);

/// A state of what is watched that the last delivered one did not have.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// The index of the answer; 0 for a type without indexes.
    pub index: Index,
    /// The state as one line of JSON, without a line break.
    pub json: Vec<u8>,
    /// Stands for the state.
    pub fingerprint: Fingerprint,
}

// The state may hold a secret.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("index", &self.index)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

/// A hash of a state (SHA-256): what remains of it between two answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest.as_ref());
        Self(fingerprint)
    }

    /// Reads what [`fmt::Display`] writes: 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut fingerprint = [0; 32];
        for (byte, digits) in fingerprint.iter_mut().zip(text.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(fingerprint))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What came back from the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanAnswer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// `X-Consul-Index`; zero when there is none.
    pub index: Index,
    /// The body.
    pub body: &'a [u8],
}

/// An answer that says nothing about what is watched.
#[derive(Debug, thiserror::Error)]
pub enum UnusableAnswer {
    /// The agent refused.
    #[error("Unexpected response code: {status} ({body})")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The body without the white space around it.
        body: String,
    },
    /// The body is not what it should be.
    #[error("{0}")]
    Body(String),
}

impl From<WrongShape> for UnusableAnswer {
    fn from(wrong: WrongShape) -> Self {
        Self::Body(wrong.to_string())
    }
}

/// One watch.
///
/// [`WatchPlan::request`] says what to ask, [`WatchPlan::handle_answer`] whether the answer is
/// a change, [`WatchPlan::handle_failure`] how long to wait before the question is asked
/// again.
///
/// **A change is a state that differs from the last one that was delivered**, and the first
/// state of all. Consul also delivers an unchanged state after every failed request; here
/// a failure makes the next request one that does not wait, and its answer is compared like
/// any other.
#[derive(Debug)]
pub struct WatchPlan {
    query: WatchQuery,
    /// What the next request waits to change; nothing when it does not wait.
    position: Position,
    /// The index of the last event that was delivered.
    last_event: Option<u64>,
    delivered: Option<Fingerprint>,
    failures: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Position {
    Start,
    Index(Index),
    Hash(String),
}

impl WatchPlan {
    /// A watch that has delivered nothing.
    pub fn new(query: WatchQuery) -> Self {
        Self { query, position: Position::Start, last_event: None, delivered: None, failures: 0 }
    }

    /// A watch that goes on where another one ended: a state with this fingerprint is no change.
    #[must_use]
    pub fn after(mut self, delivered: Option<Fingerprint>) -> Self {
        self.delivered = delivered;
        self
    }

    /// What is watched.
    pub fn query(&self) -> &WatchQuery {
        &self.query
    }

    /// Whether the next request waits for a change.
    pub fn waits(&self) -> bool {
        self.position != Position::Start
    }

    /// The next request.
    pub fn request(&self) -> Request {
        match &self.position {
            Position::Start => self.query.request(Index::ZERO, ""),
            Position::Index(index) => self.query.request(*index, ""),
            Position::Hash(hash) => self.query.request(Index::ZERO, hash),
        }
    }

    /// Takes the answer to [`Self::request`]; gives the state if it is a change.
    ///
    /// # Errors
    /// [`UnusableAnswer`]; the caller then goes on with [`Self::handle_failure`].
    pub fn handle_answer(
        &mut self,
        answer: &PlanAnswer<'_>,
    ) -> Result<Option<Change>, UnusableAnswer> {
        let absent = answer.status == 404 && self.query.may_be_absent();
        if !absent && !(200..300).contains(&answer.status) {
            let body = String::from_utf8_lossy(answer.body).trim().to_owned();
            return Err(UnusableAnswer::Status { status: answer.status, body });
        }
        // A request for what is newer than 0 would not wait.
        let position = answer.index.max(Index(1));
        let same_index = self.position == Position::Index(position);
        if same_index && self.query.blocking() != Blocking::Hash {
            self.failures = 0;
            return Ok(None);
        }
        let state = if absent { Json::Null } else { self.decode(answer.body)? };
        let position = self.next_position(position, &state);
        let state = self.without_old_events(state);
        let json = reshape(self.query.shape(), &state)?;
        self.failures = 0;
        self.position = position;
        if self.query.blocking() == Blocking::EventIndex {
            let newest = state.as_array().and_then(|events| events.last()).and_then(index_of);
            self.last_event = newest.or(self.last_event);
            if newest.is_none() && self.delivered.is_some() {
                return Ok(None);
            }
        }
        let fingerprint = Fingerprint::of(&json);
        if self.delivered == Some(fingerprint) {
            return Ok(None);
        }
        self.delivered = Some(fingerprint);
        let index = match self.query.blocking() {
            Blocking::Hash => Index::ZERO,
            Blocking::Index | Blocking::EventIndex => answer.index,
        };
        Ok(Some(Change { index, json, fingerprint }))
    }

    /// Notes that a request failed. Gives how long to wait before the next one, which asks for
    /// the state as it is: the index may have gone with the server that knew it.
    pub fn handle_failure(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.position = Position::Start;
        retry_after(self.failures)
    }

    fn decode(&self, body: &[u8]) -> Result<Json, UnusableAnswer> {
        let body: Json = serde_json::from_slice(body)
            .map_err(|error| UnusableAnswer::Body(format!("the answer is not JSON: {error}")))?;
        Ok(match body {
            Json::Array(rows) if self.query.wants_the_first_row() => {
                rows.into_iter().next().unwrap_or(Json::Null)
            }
            body => body,
        })
    }

    /// Of events only those behind the last one that was delivered.
    fn without_old_events(&self, state: Json) -> Json {
        match (state, self.last_event) {
            (Json::Array(mut events), Some(last)) => {
                let known = events.iter().rposition(|event| index_of(event) == Some(last));
                Json::Array(events.split_off(known.map_or(0, |position| position + 1)))
            }
            (state, _) => state,
        }
    }

    fn next_position(&self, index: Index, state: &Json) -> Position {
        match self.query.blocking() {
            Blocking::Hash => {
                let hash = state.get("ContentHash").and_then(Json::as_str).unwrap_or_default();
                if hash.is_empty() { Position::Start } else { Position::Hash(hash.to_owned()) }
            }
            Blocking::EventIndex => Position::Index(index),
            Blocking::Index => match self.position {
                Position::Index(previous) if index < previous => Position::Start,
                _ => Position::Index(index),
            },
        }
    }
}

/// 5 s after the first failure, then with the square of their number, 180 s at most.
fn retry_after(failures: u32) -> Duration {
    RETRY_BASE.saturating_mul(failures.saturating_mul(failures)).min(RETRY_MAX)
}

fn index_of(event: &Json) -> Option<u64> {
    event_index(event.get("ID")?.as_str()?)
}

/// The index that stands for an event in `X-Consul-Index`: both halves of its id, each as
/// a number, exclusive or (`reference/http-api.md` 2.9).
fn event_index(id: &str) -> Option<u64> {
    let digits: String = id.chars().filter(|letter| *letter != '-').collect();
    if digits.len() != 32 || !digits.is_ascii() {
        return None;
    }
    let half = |text: &str| u64::from_str_radix(text, 16).ok();
    Some(half(&digits[..16])? ^ half(&digits[16..])?)
}

#[cfg(test)]
mod tests;
