//! A session that is kept alive, and until when it is sure to live.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use types::{GoDuration, SessionId};

use crate::{Client, Error, SessionCreate, Sessions};

/// The next try after a renewal that failed.
const RENEW_RETRY: Duration = Duration::from_secs(1);

/// When a session is renewed, and until when it is sure to live. Knows no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Renewal {
    ttl: Duration,
    next: Instant,
    alive_until: Instant,
}

impl Renewal {
    /// A session that was created, or renewed, by a request sent at `asked`.
    pub(crate) fn new(ttl: Duration, asked: Instant) -> Self {
        Self { ttl, next: asked + ttl / 2, alive_until: asked + ttl }
    }

    /// When to renew.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.next
    }

    /// The session may be gone after this: a server ends it no earlier than its time after
    /// it was renewed, and it was renewed after the request was sent.
    pub(crate) fn alive_until(&self) -> Instant {
        self.alive_until
    }

    /// A request sent at `asked` renewed it; the server may have changed the time.
    pub(crate) fn handle_renewed(&mut self, ttl: Option<Duration>, asked: Instant) {
        *self = Self::new(ttl.unwrap_or(self.ttl), asked);
    }

    /// A request failed.
    pub(crate) fn handle_failure(&mut self, now: Instant) {
        self.next = now + RENEW_RETRY.min(self.ttl / 4);
    }
}

/// A session that this client created and renews until [`KeptSession::end`].
pub(crate) struct KeptSession {
    pub(crate) id: SessionId,
    alive_until: watch::Receiver<Instant>,
    /// Dropped to stop the renewals.
    _stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    client: Client,
}

impl KeptSession {
    /// Creates a session and begins to renew it.
    pub(crate) async fn create(
        client: &Client,
        session: SessionCreate,
        ttl: GoDuration,
    ) -> Result<Self, Error> {
        let session = SessionCreate { ttl: ttl.to_string(), ..session };
        let asked = Instant::now();
        let id = Sessions(client).create(&session).await?;
        let renewal = Renewal::new(ttl.to_std(), asked);
        let (tell, alive_until) = watch::channel(renewal.alive_until());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(renew(client.clone(), id.clone(), renewal, tell, stopped));
        Ok(Self { id, alive_until, _stop: stop, task, client: client.clone() })
    }

    /// The moment up to which the session is sure to live; it moves with every renewal.
    pub(crate) fn alive_until(&self) -> watch::Receiver<Instant> {
        self.alive_until.clone()
    }

    /// Ends the session. It ends by itself if the agent cannot be told.
    pub(crate) async fn end(self) {
        self.task.abort();
        let left = self.alive_until.borrow().saturating_duration_since(Instant::now());
        // Whether it ends now or by its time is the same to whoever waits for its locks.
        let _ = timeout(left, Sessions(&self.client).destroy(&self.id)).await;
    }
}

/// Renews until it is told to stop, or until the session is gone; then `alive_until` is not
/// moved any more.
async fn renew(
    client: Client,
    id: SessionId,
    mut renewal: Renewal,
    alive_until: watch::Sender<Instant>,
    mut stopped: oneshot::Receiver<()>,
) {
    while Instant::now() < renewal.alive_until() {
        tokio::select! {
            () = sleep_until(renewal.poll_timeout()) => {}
            _ = &mut stopped => return,
        }
        let asked = Instant::now();
        let left = renewal.alive_until().saturating_duration_since(asked);
        match timeout(left, Sessions(&client).renew(&id)).await {
            Ok(Ok(Some(session))) => {
                renewal.handle_renewed(session.time_to_live(), asked);
                alive_until.send_replace(renewal.alive_until());
            }
            Ok(Ok(None)) => {
                alive_until.send_replace(asked);
                return;
            }
            Ok(Err(_)) | Err(_) => renewal.handle_failure(Instant::now()),
        }
    }
}

/// Waits until a session may be gone.
pub(crate) async fn expired(mut alive_until: watch::Receiver<Instant>) {
    loop {
        let until = *alive_until.borrow_and_update();
        if Instant::now() >= until {
            return;
        }
        tokio::select! {
            () = sleep_until(until) => {}
            // Without its sender the moment stands.
            changed = alive_until.changed() => if changed.is_err() { sleep_until(until).await },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_session_is_renewed_at_half_its_time_and_counts_from_the_request() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut renewal = Renewal::new(Duration::from_secs(16), start);
        assert_eq!((renewal.poll_timeout(), renewal.alive_until()), (at(8), at(16)));
        renewal.handle_failure(at(9));
        assert_eq!((renewal.poll_timeout(), renewal.alive_until()), (at(10), at(16)));
        renewal.handle_renewed(Some(Duration::from_secs(20)), at(10));
        assert_eq!((renewal.poll_timeout(), renewal.alive_until()), (at(20), at(30)));
        renewal.handle_renewed(None, at(20));
        assert_eq!((renewal.poll_timeout(), renewal.alive_until()), (at(30), at(40)));
    }

    proptest! {
        /// The server's clock of a session starts when it gets the request, which is after the
        /// request was sent: whatever is lost, the client never believes in it for longer.
        #[test]
        fn a_client_never_outlives_its_session(
            ttl in 1u64..60,
            steps in prop::collection::vec((0u64..20, 0u64..5, any::<bool>()), 0..30),
        ) {
            let ttl = Duration::from_secs(ttl);
            let mut now = Instant::now();
            let mut renewal = Renewal::new(ttl, now);
            let mut server_ends = now + ttl;
            for (pause, transit, arrives) in steps {
                now = now.max(renewal.poll_timeout()) + Duration::from_secs(pause);
                if now >= renewal.alive_until() {
                    break;
                }
                let asked = now;
                now += Duration::from_secs(transit);
                if now >= server_ends {
                    break;
                }
                server_ends = now + ttl;
                if arrives {
                    renewal.handle_renewed(None, asked);
                } else {
                    renewal.handle_failure(now);
                }
                prop_assert!(renewal.alive_until() <= server_ends);
                prop_assert!(renewal.poll_timeout() > asked);
            }
        }
    }
}
