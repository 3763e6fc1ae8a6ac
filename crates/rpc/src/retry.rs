//! Whether a failed call is made again, and when (`reference/rpc-wire.md` 6).

use std::time::Duration;

use fastrand::Rng;

use crate::error::RpcError;

/// The wait before the first retry is at most the hold timeout divided by this.
const FIRST_WAIT_DIVISOR: u32 = 16;

/// Doublings after which waits grow no more; the hold timeout is long over then.
const DOUBLINGS_MAX: u32 = 16;

/// What a limit on requests says to those who may ask another server.
pub const RETRY_ELSEWHERE: &str =
    "rate limit exceeded, try again later or against a different server";

/// What a limit on requests says where nobody but the leader could do it.
pub const RETRY_LATER: &str =
    "rate limit exceeded for operation that can only be performed by the leader, try again later";

/// Texts after which anybody may try again.
const ANYBODY: [&str; 2] = ["No cluster leader", "please resubmit call for rechunking"];

/// Who makes the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// An agent, which may ask any server.
    Client,
    /// A server, which asks the leader.
    Server,
}

/// What the call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Reads, and may wait this long for a change.
    Read(Duration),
    /// Writes: after a broken connection nobody knows whether it was done.
    Write,
}

/// The retries of one call.
#[derive(Debug)]
pub struct Retry {
    /// `performance.rpc_hold_timeout`.
    hold: Duration,
    caller: Caller,
    purpose: Purpose,
    attempts: u32,
    waited: Duration,
    rng: Rng,
}

impl Retry {
    /// A call that was not made yet.
    pub fn new(hold: Duration, caller: Caller, purpose: Purpose, seed: u64) -> Self {
        let rng = Rng::with_seed(seed);
        Self { hold, caller, purpose, attempts: 0, waited: Duration::ZERO, rng }
    }

    /// How long to wait before making the call again, `elapsed` after it was first made;
    /// `None` if its error stands.
    pub fn next(&mut self, error: &RpcError, elapsed: Duration) -> Option<Duration> {
        let patience = match self.purpose {
            Purpose::Read(blocking) => self.hold.saturating_add(blocking),
            Purpose::Write => self.hold,
        };
        if elapsed > patience || !self.may_help(error) {
            return None;
        }
        let longest =
            (self.hold / FIRST_WAIT_DIVISOR).saturating_mul(1 << self.attempts.min(DOUBLINGS_MAX));
        self.attempts += 1;
        let spread = longest.saturating_sub(self.waited);
        self.waited += spread.mul_f64(self.rng.f64());
        Some(self.waited)
    }

    /// Whether the same call may fare better.
    fn may_help(&self, error: &RpcError) -> bool {
        let text = error.to_string();
        let limited = match self.caller {
            Caller::Client => RETRY_ELSEWHERE,
            Caller::Server => RETRY_LATER,
        };
        ANYBODY.iter().any(|part| text.contains(part))
            || text.contains(limited)
            || (matches!(self.purpose, Purpose::Read(_)) && error.is_eof_like())
    }
}

/// How long the answer to a query may take that waits for a change: the time that it
/// waits, a sixteenth of it, and `hold` (`performance.rpc_hold_timeout`).
pub fn blocking_deadline(max_query_time: Duration, hold: Duration) -> Duration {
    let wait = blocking_time(max_query_time);
    wait + wait / 16 + hold
}

/// How long a query waits for a change that asks to wait for `max_query_time`: zero for
/// 300 s, at most 600 s.
pub fn blocking_time(max_query_time: Duration) -> Duration {
    let default = Duration::from_secs(300);
    let asked = if max_query_time.is_zero() { default } else { max_query_time };
    asked.min(Duration::from_secs(600))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(7);
    const READ: Purpose = Purpose::Read(Duration::ZERO);

    fn retries(caller: Caller, purpose: Purpose, error: &RpcError, elapsed: Duration) -> bool {
        Retry::new(HOLD, caller, purpose, 1).next(error, elapsed).is_some()
    }

    #[test]
    fn only_what_may_fare_better_is_tried_again() {
        let remote = |text: &str| RpcError::Remote(text.to_owned());
        let eof = RpcError::Broken("EOF".to_owned());
        for (error, [client_reads, client_writes, server_reads, server_writes]) in [
            (remote("No cluster leader"), [true; 4]),
            (remote("rpc error making call: No cluster leader"), [true; 4]),
            (remote("x: please resubmit call for rechunking"), [true; 4]),
            (remote(RETRY_ELSEWHERE), [true, true, false, false]),
            (remote(RETRY_LATER), [false, false, true, true]),
            (eof, [true, false, true, false]),
            (RpcError::Stream("session shutdown".to_owned()), [true, false, true, false]),
            (remote("rpc error making call: EOF"), [true, false, true, false]),
            (RpcError::Connect("dial tcp: connection refused".to_owned()), [false; 4]),
            (RpcError::Timeout, [false; 4]),
            (remote("Permission denied"), [false; 4]),
        ] {
            let outcome = [
                retries(Caller::Client, READ, &error, Duration::ZERO),
                retries(Caller::Client, Purpose::Write, &error, Duration::ZERO),
                retries(Caller::Server, READ, &error, Duration::ZERO),
                retries(Caller::Server, Purpose::Write, &error, Duration::ZERO),
            ];
            let expected = [client_reads, client_writes, server_reads, server_writes];
            assert_eq!(outcome, expected, "{error}");
        }
    }

    #[test]
    fn patience_is_the_hold_timeout_and_the_time_that_a_read_may_wait() {
        let error = RpcError::Remote("No cluster leader".to_owned());
        let waits = Purpose::Read(Duration::from_secs(10));
        for (purpose, elapsed_s, again) in [
            (READ, 7, true),
            (READ, 8, false),
            (Purpose::Write, 8, false),
            (waits, 17, true),
            (waits, 18, false),
        ] {
            let elapsed = Duration::from_secs(elapsed_s);
            assert_eq!(retries(Caller::Client, purpose, &error, elapsed), again, "{elapsed_s}");
        }
    }

    #[test]
    fn waits_grow_up_to_twice_as_long_each_time() {
        let error = RpcError::Remote("No cluster leader".to_owned());
        for seed in 0..200 {
            let mut retry = Retry::new(HOLD, Caller::Client, READ, seed);
            let (mut before, mut longest) = (Duration::ZERO, HOLD / 16);
            for _ in 0..40 {
                let wait = retry.next(&error, Duration::ZERO).unwrap();
                assert!((before..=longest).contains(&wait), "{before:?} {wait:?} {longest:?}");
                (before, longest) = (wait, longest * 2);
                longest = longest.min(HOLD / 16 * (1 << DOUBLINGS_MAX));
            }
        }
    }

    #[test]
    fn deadlines_leave_room_behind_the_time_of_waiting() {
        for (asked_s, deadline_ms) in
            [(0, 325_750), (16, 24_000), (300, 325_750), (600, 644_500), (6000, 644_500)]
        {
            let deadline = blocking_deadline(Duration::from_secs(asked_s), HOLD);
            assert_eq!(deadline.as_millis(), deadline_ms, "{asked_s}");
        }
    }
}
