//! `limits.request_limits`: how many reads and writes a second this server takes on.
//!
//! Every call that reaches the server counts once, whoever asks: clients over HTTP and
//! DNS, and the server's own agent. What the server does as a leader does not count. A
//! call that does not change the state is a read (`reference/config.md` limits,
//! `reference/http-api.md` 1.6). Consul logs and counts each call above the limit; so that
//! a flood of calls does not become a flood of lines, no more than [`LINES_PER_SECOND`]
//! are written, and those left out are counted.

mod bucket;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use contract::{CallError, ErrorKind};
use telemetry::names::{RPC_RATE_LIMIT_EXCEEDED, RPC_RATE_LIMIT_LOG_DROPPED};

pub use bucket::TokenBucket;

/// Most lines a second about calls above the limit.
const LINES_PER_SECOND: f64 = 100.0;

/// Another server could answer.
const TRY_ELSEWHERE: &str = "rate limit exceeded, try again later or against a different server";

/// No other server could.
const TRY_LATER: &str = "rate limit exceeded for operation that can only be performed by the \
                         leader, try again later";

/// What becomes of calls above the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitMode {
    /// There is no limit.
    #[default]
    Disabled,
    /// They are logged and counted.
    Permissive,
    /// They are refused, logged and counted.
    Enforcing,
}

/// The limits. Rates are calls per second; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RequestLimits {
    /// `limits.request_limits.mode`.
    pub mode: LimitMode,
    /// `limits.request_limits.read_rate`.
    pub read_rate: Option<f64>,
    /// `limits.request_limits.write_rate`.
    pub write_rate: Option<f64>,
}

/// Who asks a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Caller {
    /// The server itself. It is not limited: a leader that may not do its duties helps nobody.
    #[default]
    Server,
    /// The agent in the same process: anti-entropy, DNS.
    Agent,
    /// A client at this address; one at a unix socket has none.
    Client(Option<IpAddr>),
}

/// Whether a call changes the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Read,
    Write,
}

impl Class {
    /// The label of metrics and log lines.
    fn limit_type(self) -> &'static str {
        match self {
            Class::Read => "global/read",
            Class::Write => "global/write",
        }
    }
}

/// One call as the limiter sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) class: Class,
    /// Consul's name of the call, `KVS.Apply`.
    pub(crate) name: &'static str,
    pub(crate) caller: Caller,
    /// Whether no other server could answer.
    pub(crate) here_only: bool,
}

/// Counts calls.
#[derive(Debug, Default)]
pub(crate) struct RequestLimiter {
    /// Whether there are limits at all: most servers have none, and pay for this alone.
    is_on: AtomicBool,
    counting: Mutex<Counting>,
}

#[derive(Debug, Default)]
struct Counting {
    limits: RequestLimits,
    read: Option<TokenBucket>,
    write: Option<TokenBucket>,
    lines: Option<TokenBucket>,
}

impl RequestLimiter {
    /// Sets the limits. Buckets begin full; limits that stay as they are keep theirs.
    pub(crate) fn set(&self, limits: RequestLimits, now: Instant) {
        let mut counting = self.counting();
        if counting.limits == limits {
            return;
        }
        let full = |rate: Option<f64>| rate.map(|rate| TokenBucket::new(rate, now));
        *counting = Counting {
            limits,
            read: full(limits.read_rate),
            write: full(limits.write_rate),
            lines: full(Some(LINES_PER_SECOND)),
        };
        self.is_on.store(limits.mode != LimitMode::Disabled, Ordering::Relaxed);
    }

    /// Counts a call, and refuses it when there are too many and that is the mode.
    pub(crate) fn admit(&self, asked: Asked, now: Instant) -> Result<(), CallError> {
        if !self.is_on.load(Ordering::Relaxed) || asked.caller == Caller::Server {
            return Ok(());
        }
        let (mode, is_told) = {
            let mut counting = self.counting();
            let bucket = match asked.class {
                Class::Read => &mut counting.read,
                Class::Write => &mut counting.write,
            };
            if bucket.as_mut().is_none_or(|bucket| bucket.take(now)) {
                return Ok(());
            }
            let is_told = counting.lines.as_mut().is_none_or(|lines| lines.take(now));
            (counting.limits.mode, is_told)
        };
        tell(asked, mode, is_told);
        match (mode, asked.here_only) {
            (LimitMode::Enforcing, true) => Err(CallError::new(ErrorKind::Unavailable, TRY_LATER)),
            (LimitMode::Enforcing, false) => Err(CallError::new(ErrorKind::TooMany, TRY_ELSEWHERE)),
            _ => Ok(()),
        }
    }

    fn counting(&self) -> MutexGuard<'_, Counting> {
        self.counting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts and logs a call above the limit.
fn tell(asked: Asked, mode: LimitMode, is_told: bool) {
    let limit_type = asked.class.limit_type();
    let enforced = mode == LimitMode::Enforcing;
    let shown_mode = if enforced { "enforcing" } else { "permissive" };
    let labels = [limit_type.into(), asked.name.into(), shown_mode.into()];
    RPC_RATE_LIMIT_EXCEEDED.increment(labels, 1);
    if !tracing::enabled!(target: "agent.server.rpc-rate-limit", tracing::Level::DEBUG) {
        return;
    }
    if !is_told {
        RPC_RATE_LIMIT_LOG_DROPPED.increment([], 1);
        return;
    }
    let source_addr = match asked.caller {
        Caller::Client(Some(address)) => address.to_string(),
        Caller::Client(None) => "unix".to_owned(),
        Caller::Agent | Caller::Server => "agent".to_owned(),
    };
    tracing::debug!(
        target: "agent.server.rpc-rate-limit",
        rpc = asked.name,
        source_addr,
        limit_type,
        limit_enforced = enforced,
        "RPC exceeded allowed rate limit"
    );
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn asked(class: Class, caller: Caller, here_only: bool) -> Asked {
        Asked { class, name: "KVS.Apply", caller, here_only }
    }

    fn limiter(mode: LimitMode, read_rate: Option<f64>, now: Instant) -> RequestLimiter {
        let limiter = RequestLimiter::default();
        limiter.set(RequestLimits { mode, read_rate, write_rate: Some(2.0) }, now);
        limiter
    }

    #[test]
    fn calls_above_the_limit_are_refused_by_what_else_could_answer() {
        let now = Instant::now();
        let client = Caller::Client(None);
        for (class, here_only, kind, text) in [
            (Class::Read, false, ErrorKind::TooMany, TRY_ELSEWHERE),
            (Class::Read, true, ErrorKind::Unavailable, TRY_LATER),
            (Class::Write, true, ErrorKind::Unavailable, TRY_LATER),
        ] {
            let limiter = limiter(LimitMode::Enforcing, Some(1.0), now);
            let admitted = (0..9)
                .filter(|_| limiter.admit(asked(class, client, here_only), now).is_ok())
                .count();
            assert_eq!(admitted, if class == Class::Read { 1 } else { 2 });
            let error = limiter.admit(asked(class, client, here_only), now).unwrap_err();
            assert_eq!((error.kind(), error.text()), (kind, text));
            let later = now + Duration::from_secs(1);
            assert_eq!(limiter.admit(asked(class, client, here_only), later), Ok(()));
        }
    }

    #[test]
    fn reads_and_writes_are_counted_apart() {
        let now = Instant::now();
        let limiter = limiter(LimitMode::Enforcing, None, now);
        for _ in 0..2 {
            assert!(limiter.admit(asked(Class::Write, Caller::Agent, true), now).is_ok());
        }
        assert!(limiter.admit(asked(Class::Write, Caller::Agent, true), now).is_err());
        for _ in 0..1000 {
            assert!(limiter.admit(asked(Class::Read, Caller::Agent, false), now).is_ok());
        }
    }

    #[test]
    fn nobody_is_refused_unless_the_mode_enforces_and_the_server_itself_never_is() {
        let now = Instant::now();
        for (mode, caller) in [
            (LimitMode::Disabled, Caller::Agent),
            (LimitMode::Permissive, Caller::Agent),
            (LimitMode::Permissive, Caller::Client(None)),
            (LimitMode::Enforcing, Caller::Server),
        ] {
            let limiter = limiter(mode, Some(0.0), now);
            for _ in 0..10 {
                let outcome = limiter.admit(asked(Class::Read, caller, false), now);
                assert_eq!(outcome, Ok(()), "{mode:?} {caller:?}");
            }
        }
    }

    #[test]
    fn new_limits_begin_at_once_and_the_same_limits_are_not_a_refill() {
        let now = Instant::now();
        let limiter = limiter(LimitMode::Enforcing, Some(1.0), now);
        let read = asked(Class::Read, Caller::Agent, false);
        assert!(limiter.admit(read, now).is_ok());
        let same = limiter.counting().limits;
        limiter.set(same, now);
        assert!(limiter.admit(read, now).is_err());
        limiter.set(RequestLimits { read_rate: Some(5.0), ..same }, now);
        assert!(limiter.admit(read, now).is_ok());
        limiter.set(RequestLimits::default(), now);
        for _ in 0..10 {
            assert!(limiter.admit(read, now).is_ok());
        }
    }
}
