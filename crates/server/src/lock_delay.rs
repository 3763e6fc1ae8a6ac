//! Keys that cannot be locked yet, because the session that held them ended lately.
//!
//! They are known to the leader under which the session ended, by its own clock, and
//! are forgotten with it (`reference/http-api.md` 3.2).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domains::session::LockDelay;

/// The delayed keys. Cloning gives another handle to the same ones.
#[derive(Clone, Debug, Default)]
pub struct LockDelays {
    delayed: Arc<Mutex<Delayed>>,
}

impl LockDelays {
    /// Notes keys that cannot be locked from now on.
    pub(crate) fn note(&self, delays: Vec<LockDelay>) {
        if !delays.is_empty() {
            self.lock().handle_delays(delays, Instant::now());
        }
    }

    /// Whether the key cannot be locked at this moment.
    pub(crate) fn is_delayed(&self, key: &str) -> bool {
        self.lock().is_delayed(key, Instant::now())
    }

    /// For how long the key cannot be locked from now on; `None` if it can.
    pub(crate) fn left(&self, key: &str) -> Option<Duration> {
        self.lock().left(key, Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, Delayed> {
        self.delayed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys with the moment from which on they can be locked. There are as many as keys
/// that lost their session within the longest delay, one minute.
#[derive(Debug, Default)]
struct Delayed {
    by_key: BTreeMap<Arc<str>, Instant>,
    by_end: BTreeSet<(Instant, Arc<str>)>,
}

impl Delayed {
    fn handle_delays(&mut self, delays: Vec<LockDelay>, now: Instant) {
        self.forget_until(now);
        for LockDelay { key, delay } in delays {
            let end = now + delay;
            if let Some(earlier) = self.by_key.insert(Arc::clone(&key), end) {
                self.by_end.remove(&(earlier, Arc::clone(&key)));
            }
            self.by_end.insert((end, key));
        }
    }

    fn is_delayed(&self, key: &str, now: Instant) -> bool {
        self.left(key, now).is_some()
    }

    fn left(&self, key: &str, now: Instant) -> Option<Duration> {
        let end = self.by_key.get(key)?;
        Some(end.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    fn forget_until(&mut self, now: Instant) {
        while let Some((end, _)) = self.by_end.first()
            && *end <= now
        {
            if let Some((_, key)) = self.by_end.pop_first() {
                self.by_key.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delay(key: &str, seconds: u64) -> LockDelay {
        LockDelay { key: key.into(), delay: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_key_is_delayed_for_as_long_as_its_last_session_asked() {
        let (mut delayed, start) = (Delayed::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        delayed.handle_delays(vec![delay("a", 15), delay("b", 5)], start);
        assert!(delayed.is_delayed("a", after(14)) && !delayed.is_delayed("a", after(15)));
        assert!(delayed.is_delayed("b", start) && !delayed.is_delayed("b", after(5)));
        assert!(!delayed.is_delayed("c", start));
        delayed.handle_delays(vec![delay("a", 1)], after(6));
        assert!(delayed.is_delayed("a", after(6)) && !delayed.is_delayed("a", after(7)));
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let (mut delayed, start) = (Delayed::default(), Instant::now());
        delayed.handle_delays(vec![delay("a", 1), delay("b", 9)], start);
        delayed.handle_delays(vec![delay("c", 9)], start + Duration::from_secs(1));
        assert_eq!(delayed.by_key.keys().map(|key| &**key).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(delayed.by_end.len(), 2);
    }
}
