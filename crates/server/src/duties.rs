//! A leader's duties and an operator's restore take turns.
//!
//! A duty writes what follows from the state that it looked at. Were one under way while
//! a restore puts another state in its place, its write could come behind the restore and
//! do to the new state what only the old one asked for. So a restore first has the duties
//! stop, waits for the last of them, and lets them begin anew with what it brought.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard, watch};

/// Whose turn it is.
#[derive(Default)]
pub(crate) struct Duties {
    /// How many restores there are that wait or work.
    pausing: watch::Sender<usize>,
    turn: Arc<Mutex<()>>,
}

/// The duties' turn. A task that a duty starts holds a clone for as long as it may write:
/// the turn is over when the last one is dropped.
#[derive(Clone)]
pub(crate) struct OnDuty {
    _turn: Arc<OwnedMutexGuard<()>>,
}

/// The turn of a restore.
pub(crate) struct Paused<'d> {
    _turn: OwnedMutexGuard<()>,
    _wish: Wish<'d>,
}

/// Counts among those who have the duties stop.
struct Wish<'d>(&'d Duties);

impl Duties {
    /// Waits for the duties' turn.
    pub(crate) async fn begin(&self) -> OnDuty {
        let mut pausing = self.pausing.subscribe();
        loop {
            let turn = self.turn.clone().lock_owned().await;
            if *pausing.borrow_and_update() == 0 {
                return OnDuty { _turn: Arc::new(turn) };
            }
            drop(turn);
            // The sender is in `self`: it outlives the receiver.
            let _ = pausing.wait_for(|count| *count == 0).await;
        }
    }

    /// Completes when the duties have to stop.
    pub(crate) async fn until_paused(&self) {
        let _ = self.pausing.subscribe().wait_for(|count| *count > 0).await;
    }

    /// Has the duties stop and waits for the last of them; they begin anew when what is
    /// returned is dropped.
    pub(crate) async fn pause(&self) -> Paused<'_> {
        self.pausing.send_modify(|count| *count += 1);
        let wish = Wish(self);
        Paused { _turn: self.turn.clone().lock_owned().await, _wish: wish }
    }
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        self.0.pausing.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;

    /// Whether the future is done; each step that it can take is taken.
    async fn is_done<F: Future>(future: &mut Pin<Box<F>>) -> bool {
        std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
    }

    #[tokio::test]
    async fn a_restore_waits_for_the_last_duty_and_duties_for_the_last_restore() {
        let duties = Duties::default();
        let on_duty = duties.begin().await;
        let task = on_duty.clone();
        let mut told = Box::pin(duties.until_paused());
        assert!(!is_done(&mut told).await);

        let mut restore = Box::pin(duties.pause());
        assert!(!is_done(&mut restore).await);
        told.await;
        drop(on_duty);
        assert!(!is_done(&mut restore).await, "a task may still write");
        drop(task);
        let first = restore.await;

        let mut second = Box::pin(duties.pause());
        let mut begin = Box::pin(duties.begin());
        assert!(!is_done(&mut second).await && !is_done(&mut begin).await);
        drop(first);
        assert!(!is_done(&mut begin).await, "another restore is there");
        drop(second.await);
        begin.await;
    }

    #[tokio::test]
    async fn a_restore_that_is_given_up_while_it_waits_stops_nobody() {
        let duties = Duties::default();
        let on_duty = duties.begin().await;
        let mut restore = Box::pin(duties.pause());
        assert!(!is_done(&mut restore).await);
        drop(restore);
        drop(on_duty);
        duties.begin().await;
    }
}
