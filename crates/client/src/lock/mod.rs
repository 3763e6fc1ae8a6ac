//! Locks: of all who ask for a key, one has it (`reference/http-api.md` 3.1 and 3.2).
//!
//! The protocol is that of `lock.go` in `hashicorp/consul/api`: the same flags on the key, the
//! same session, the same requests, so that programs in Go, `consul lock` and programs with
//! this crate exclude each other.
//!
//! ```no_run
//! # async fn example(client: client::Client) -> Result<(), client::lock::LockError> {
//! use client::lock::{Lock, LockOptions};
//!
//! let lock = Lock::new(client, LockOptions::new("service/web/leader"))?;
//! let never = std::future::pending();
//! if let Some(mut held) = lock.acquire(never).await? {
//!     tokio::select! {
//!         () = held.lost() => eprintln!("somebody else leads"),
//!         () = lead() => held.release().await?,
//!     }
//! }
//! # async fn lead() {}
//! # Ok(())
//! # }
//! ```
//!
//! **What a holder may believe.** A lock is lost when its session ends: when the node or one
//! of its checks fails, when an operator ends it, or when it was not renewed for its time. Go's
//! client hears of that from the agent only. [`Held`] also counts the time itself: when no
//! renewal came through for the session's time, [`Held::lost`] completes and
//! [`Held::is_held`] is false, whatever the agent would say. The server counts from a later
//! moment, so nobody else can have the lock while `is_held` is true, also for a process that
//! was stopped or cut off. What such a process did a moment before it was stopped may still
//! arrive later: the session's lock-delay is there for that.

mod attempt;
mod monitor;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use types::{GoDuration, Index, SessionId};

pub use attempt::LOCK_FLAGS;
use attempt::{LockAttempt, LockStep};
pub(crate) use monitor::{Monitor, MonitorStep};

use crate::kept_session::{KeptSession, expired};
use crate::{Client, Error, KvCondition, KvDelete, KvPut, QueryOptions, SessionCreate};

/// How a lock is acquired and watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockOptions {
    /// The key.
    pub key: String,
    /// What is written into it.
    pub value: Bytes,
    /// A session of the caller, who keeps it alive. Without one a session is created, kept
    /// alive, and ended with the lock.
    pub session: Option<SessionId>,
    /// The name of a session that is created.
    pub session_name: String,
    /// Its time; 10 s to 24 h.
    pub session_ttl: GoDuration,
    /// Its lock-delay; zero for the default of 15 s.
    pub lock_delay: GoDuration,
    /// How many reads in a row may fail before the lock counts as lost.
    pub monitor_retries: u32,
    /// The pause before each of them.
    pub monitor_retry_time: Duration,
    /// How long each read waits for the lock, and with `try_once` how long all of them do.
    pub wait_time: Duration,
    /// Whether there is an end to waiting.
    pub try_once: bool,
}

impl LockOptions {
    /// Consul's defaults.
    pub fn new(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: Bytes::new(),
            session: None,
            session_name: "Consul API Lock".to_owned(),
            session_ttl: GoDuration::from(Duration::from_secs(15)),
            lock_delay: GoDuration::default(),
            monitor_retries: 0,
            monitor_retry_time: Duration::from_secs(2),
            wait_time: Duration::from_secs(15),
            try_once: false,
        }
    }
}

/// Why a lock or a semaphore could not be had, given back or removed; the words are those of
/// Consul's Go client.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// There is no key.
    #[error("missing key")]
    MissingKey,
    /// The key is used for something that is no lock.
    #[error("Existing key does not match lock use")]
    Conflict,
    /// Somebody has it.
    #[error("Lock in use")]
    InUse,
    /// A request failed.
    #[error("{action}: {source}")]
    Request {
        /// What was tried.
        action: &'static str,
        /// What happened.
        source: Box<Error>,
    },
}

fn request(action: &'static str) -> impl FnOnce(Error) -> LockError {
    move |source| LockError::Request { action, source: Box::new(source) }
}

/// A lock that can be acquired.
#[derive(Clone)]
pub struct Lock {
    client: Client,
    options: LockOptions,
}

impl Lock {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// [`LockError::MissingKey`].
    pub fn new(client: Client, options: LockOptions) -> Result<Self, LockError> {
        if options.key.is_empty() {
            return Err(LockError::MissingKey);
        }
        Ok(Self { client, options })
    }

    /// Acquires the lock. `None` when `stop` completes first, or when there is one try and its
    /// time is over.
    ///
    /// Dropping the future gives up too, but leaves the session to end by its time; `stop` ends
    /// it at once.
    ///
    /// # Errors
    /// [`LockError`] but `InUse` and `MissingKey`.
    pub async fn acquire(&self, stop: impl Future<Output = ()>) -> Result<Option<Held>, LockError> {
        let options = &self.options;
        let delay = options.lock_delay;
        let create = SessionCreate {
            name: options.session_name.clone(),
            lock_delay: if delay.is_zero() { String::new() } else { delay.to_string() },
            ..SessionCreate::default()
        };
        let claim = Claim::new(&self.client, options.session.as_ref(), create, options.session_ttl)
            .await
            .map_err(request("failed to create session"))?;
        let acquired = tokio::select! {
            acquired = self.attempt(&claim.session) => acquired,
            () = stop => Ok(false),
        };
        match acquired {
            Ok(true) => Ok(Some(Held::start(self.clone(), claim))),
            Ok(false) => {
                self.give_back(&claim.session).await;
                claim.end().await;
                Ok(None)
            }
            Err(error) => {
                claim.end().await;
                Err(error)
            }
        }
    }

    /// Removes the key of a lock that nobody has.
    ///
    /// # Errors
    /// [`LockError`] but `MissingKey`.
    pub async fn destroy(&self) -> Result<(), LockError> {
        let options = QueryOptions::default();
        let found = self.client.kv_get(&self.options.key, &options).await;
        let Some(entry) = found.map_err(request("failed to read lock"))?.rows else {
            return Ok(());
        };
        if entry.flags != LOCK_FLAGS {
            return Err(LockError::Conflict);
        }
        if !entry.session.is_empty() {
            return Err(LockError::InUse);
        }
        let delete = KvDelete::Unchanged(self.options.key.clone(), entry.modify_index.0);
        match self.client.kv_delete(&delete).await.map_err(request("failed to remove lock"))? {
            true => Ok(()),
            false => Err(LockError::InUse),
        }
    }

    async fn attempt(&self, session: &SessionId) -> Result<bool, LockError> {
        let LockOptions { wait_time, try_once, .. } = self.options;
        let start = Instant::now();
        let mut attempt = LockAttempt::new(session.clone(), wait_time, try_once);
        let mut step = attempt.read(Duration::ZERO);
        loop {
            step = match step {
                LockStep::Read { index, wait } => {
                    let options = QueryOptions {
                        wait_index: index,
                        wait_time: GoDuration::from(wait),
                        ..QueryOptions::default()
                    };
                    let found = self.client.kv_get(&self.options.key, &options).await;
                    let found = found.map_err(request("failed to read lock"))?;
                    attempt
                        .handle_read(found.rows.as_ref(), found.meta.last_index, start.elapsed())
                        .map_err(|_| LockError::Conflict)?
                }
                LockStep::Acquire => {
                    let put = self.put(KvCondition::Acquire(session.to_string()));
                    let acquired = self.client.kv_put(&put).await;
                    attempt.handle_acquired(acquired.map_err(request("failed to acquire lock"))?)
                }
                LockStep::Pause(pause) => {
                    sleep(pause).await;
                    attempt.read(start.elapsed())
                }
                LockStep::Held => return Ok(true),
                LockStep::OutOfTime => return Ok(false),
            };
        }
    }

    /// Undoes a try that may have succeeded although nobody waited for the answer. It matters
    /// for sessions of the caller only, and to them the release is as good as none.
    async fn give_back(&self, session: &SessionId) {
        if self.options.session.is_some() {
            let put = self.put(KvCondition::Release(session.to_string()));
            let _ = self.client.kv_put(&put).await;
        }
    }

    async fn release(&self, session: &SessionId) -> Result<(), LockError> {
        let put = self.put(KvCondition::Release(session.to_string()));
        self.client.kv_put(&put).await.map_err(request("failed to release lock"))?;
        Ok(())
    }

    async fn monitor(self, session: SessionId) {
        let mut monitor = Monitor::new(self.options.monitor_retries);
        let mut step = monitor.read();
        loop {
            step = match step {
                MonitorStep::Read(index) => {
                    let options = consistent(index);
                    match self.client.kv_get(&self.options.key, &options).await {
                        Ok(found) => {
                            let held = found.rows.is_some_and(|entry| entry.session == session);
                            monitor.handle_read(held, found.meta.last_index)
                        }
                        Err(error) => monitor.handle_failure(may_pass(&error)),
                    }
                }
                MonitorStep::Retry => {
                    sleep(self.options.monitor_retry_time).await;
                    monitor.read()
                }
                MonitorStep::Lost => return,
            };
        }
    }

    fn put(&self, condition: KvCondition) -> KvPut {
        let LockOptions { key, value, .. } = &self.options;
        KvPut { key: key.clone(), value: value.clone(), flags: LOCK_FLAGS, condition }
    }
}

/// A read that the leader confirms, as a holder needs it.
pub(crate) fn consistent(index: Index) -> QueryOptions {
    QueryOptions { wait_index: index, require_consistent: true, ..QueryOptions::default() }
}

/// Whether a failure may go away by itself: no connection, or trouble among the servers.
pub(crate) fn may_pass(error: &Error) -> bool {
    match error {
        Error::Transport { .. } => true,
        error => error.status().is_some_and(|status| status >= 500),
    }
}

/// A lock that was acquired. Dropping it leaves the lock to its session, which ends when it
/// is no longer renewed; [`Held::release`] gives it back.
pub struct Held {
    lock: Lock,
    watched: Watched,
}

impl Held {
    fn start(lock: Lock, claim: Claim) -> Self {
        let monitor = lock.clone().monitor(claim.session.clone());
        Self { watched: Watched::start(claim, monitor), lock }
    }

    /// The session that holds it.
    pub fn session(&self) -> &SessionId {
        &self.watched.claim.session
    }

    /// Waits until the lock is lost. It may have been lost already.
    pub async fn lost(&mut self) {
        self.watched.lost().await;
    }

    /// Whether the lock is held, as far as anybody can know.
    pub fn is_held(&self) -> bool {
        self.watched.is_held()
    }

    /// Gives the lock back and ends the session.
    ///
    /// # Errors
    /// [`LockError::Request`]; the session is ended all the same, and the lock with it.
    pub async fn release(self) -> Result<(), LockError> {
        let released = self.lock.release(&self.watched.claim.session).await;
        self.watched.end().await;
        released
    }
}

/// The session of a lock or a semaphore: the caller's, or one that is kept alive here.
pub(crate) struct Claim {
    pub(crate) session: SessionId,
    kept: Option<KeptSession>,
}

impl Claim {
    pub(crate) async fn new(
        client: &Client,
        given: Option<&SessionId>,
        create: SessionCreate,
        ttl: GoDuration,
    ) -> Result<Self, Error> {
        if let Some(session) = given {
            return Ok(Self { session: session.clone(), kept: None });
        }
        let kept = KeptSession::create(client, create, ttl).await?;
        Ok(Self { session: kept.id.clone(), kept: Some(kept) })
    }

    pub(crate) async fn end(self) {
        if let Some(kept) = self.kept {
            kept.end().await;
        }
    }
}

/// Something held by a session, and the task that notices its loss.
pub(crate) struct Watched {
    pub(crate) claim: Claim,
    alive_until: Option<watch::Receiver<Instant>>,
    lost: watch::Receiver<bool>,
    task: Ended,
}

/// A task that ends with this.
struct Ended(JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watched {
    /// `monitor` completes when the agent says that it is lost.
    pub(crate) fn start(claim: Claim, monitor: impl Future<Output = ()> + Send + 'static) -> Self {
        let alive_until = claim.kept.as_ref().map(KeptSession::alive_until);
        let (tell, lost) = watch::channel(false);
        let session = alive_until.clone();
        let task = tokio::spawn(async move {
            let session_expired = async {
                match session {
                    Some(alive_until) => expired(alive_until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = monitor => {}
                () = session_expired => {}
            }
            tell.send_replace(true);
        });
        Self { claim, alive_until, lost, task: Ended(task) }
    }

    pub(crate) async fn lost(&mut self) {
        // The sender goes after it has told; gone without a word, it is as lost.
        let _ = self.lost.wait_for(|lost| *lost).await;
    }

    pub(crate) fn is_held(&self) -> bool {
        let expired =
            self.alive_until.as_ref().is_some_and(|until| Instant::now() >= *until.borrow());
        !*self.lost.borrow() && !expired
    }

    pub(crate) async fn end(self) {
        drop(self.task);
        self.claim.end().await;
    }
}
