//! Watching what is held, as a machine: for locks and semaphores alike.

use types::Index;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MonitorStep {
    /// Read, waiting for what is newer than the index.
    Read(Index),
    /// Wait, then read without waiting for a change.
    Retry,
    /// It is held no longer, or nobody can tell.
    Lost,
}

/// Reads again and again what is held.
#[derive(Debug)]
pub(crate) struct Monitor {
    retries: u32,
    left: u32,
    index: Index,
}

impl Monitor {
    /// So many reads in a row may fail.
    pub(crate) fn new(retries: u32) -> Self {
        Self { retries, left: retries, index: Index::ZERO }
    }

    /// The first step, and the one after a pause.
    pub(crate) fn read(&self) -> MonitorStep {
        MonitorStep::Read(self.index)
    }

    /// Whether it is held, as of `index`.
    pub(crate) fn handle_read(&mut self, held: bool, index: Index) -> MonitorStep {
        if !held {
            return MonitorStep::Lost;
        }
        self.left = self.retries;
        // An index that goes back belongs to a server that lost its state.
        self.index = if index < self.index { Index::ZERO } else { index };
        self.read()
    }

    /// A read failed; `passing` says that the reason may go away by itself.
    pub(crate) fn handle_failure(&mut self, passing: bool) -> MonitorStep {
        self.index = Index::ZERO;
        match self.left.checked_sub(1) {
            Some(left) if passing => {
                self.left = left;
                MonitorStep::Retry
            }
            _ => MonitorStep::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MonitorStep::{Lost, Read, Retry};
    use super::*;

    #[test]
    fn what_is_held_is_read_until_it_is_not() {
        let mut monitor = Monitor::new(0);
        assert_eq!(monitor.read(), Read(Index(0)));
        assert_eq!(monitor.handle_read(true, Index(5)), Read(Index(5)));
        assert_eq!(monitor.handle_read(true, Index(3)), Read(Index(0)));
        assert_eq!(monitor.handle_read(false, Index(6)), Lost);
    }

    #[test]
    fn failures_in_a_row_are_counted() {
        let mut monitor = Monitor::new(2);
        monitor.handle_read(true, Index(5));
        assert_eq!(monitor.handle_failure(true), Retry);
        assert_eq!(monitor.read(), Read(Index(0)));
        assert_eq!(monitor.handle_failure(true), Retry);
        assert_eq!(monitor.handle_read(true, Index(5)), Read(Index(5)), "they are forgotten");
        assert_eq!(monitor.handle_failure(true), Retry);
        assert_eq!(monitor.handle_failure(true), Retry);
        assert_eq!(monitor.handle_failure(true), Lost);
    }

    #[test]
    fn a_refusal_is_not_asked_again() {
        assert_eq!(Monitor::new(9).handle_failure(false), Lost);
        assert_eq!(Monitor::new(0).handle_failure(true), Lost);
    }
}
