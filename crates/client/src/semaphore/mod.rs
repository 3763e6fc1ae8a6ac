//! Semaphores: of all who ask, a number at a time has a slot (`reference/http-api.md` 3.1).
//!
//! The protocol is that of `semaphore.go` in `hashicorp/consul/api`, so that programs in
//! Go, `consul lock -n` and programs with this crate share the slots. Every contender has a key
//! below the prefix, held by its session, whose end deletes it. The key `.lock` lists who has
//! a slot; it is changed by compare-and-set, and a holder without its contender key is dead.
//!
//! What a holder may believe is told in [`crate::lock`].

mod slots;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use types::{GoDuration, Index, SessionId};

pub use slots::SEMAPHORE_FLAGS;
use slots::{SlotsSeen, Unfit, coordination_key, join};

use crate::lock::{Claim, Monitor, MonitorStep, Watched, consistent, may_pass};
use crate::{Client, Error, KvCondition, KvDelete, KvPut, QueryOptions, SessionCreate};

/// How a slot is acquired and watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SemaphoreOptions {
    /// The keys of the semaphore are below this.
    pub prefix: String,
    /// How many slots there are, at least 1; all contenders have to agree.
    pub limit: i64,
    /// What is written into the contender's key.
    pub value: Bytes,
    /// A session of the caller, who keeps it alive. Without one a session is created, kept
    /// alive, and ended with the slot.
    pub session: Option<SessionId>,
    /// The name of a session that is created.
    pub session_name: String,
    /// Its time; 10 s to 24 h.
    pub session_ttl: GoDuration,
    /// How many reads in a row may fail before the slot counts as lost.
    pub monitor_retries: u32,
    /// The pause before each of them.
    pub monitor_retry_time: Duration,
    /// How long each read waits for a slot, and with `try_once` how long all of them do.
    pub wait_time: Duration,
    /// Whether there is an end to waiting.
    pub try_once: bool,
}

impl SemaphoreOptions {
    /// Consul's defaults.
    pub fn new(prefix: impl Into<String>, limit: i64) -> Self {
        Self {
            prefix: prefix.into(),
            limit,
            value: Bytes::new(),
            session: None,
            session_name: "Consul API Semaphore".to_owned(),
            session_ttl: GoDuration::from(Duration::from_secs(15)),
            monitor_retries: 0,
            monitor_retry_time: Duration::from_secs(2),
            wait_time: Duration::from_secs(15),
            try_once: false,
        }
    }
}

/// Why a slot could not be had, given back or removed; the words are those of Consul's Go
/// client.
#[derive(Debug, thiserror::Error)]
pub enum SemaphoreError {
    /// There is no prefix.
    #[error("missing prefix")]
    MissingPrefix,
    /// There would be no slot.
    #[error("semaphore limit must be positive")]
    LimitNotPositive,
    /// The key is used for something that is no semaphore.
    #[error("Existing key does not match semaphore use")]
    Conflict,
    /// Others count to another limit.
    #[error("semaphore limit conflict (lock: {theirs}, local: {ours})")]
    LimitConflict {
        /// The limit that is written.
        theirs: i64,
        /// The limit of this contender.
        ours: i64,
    },
    /// What is written cannot be read.
    #[error("lock decoding failed: {0}")]
    Undecodable(String),
    /// Somebody has a slot.
    #[error("Semaphore in use")]
    InUse,
    /// The contender's key is held by another session.
    #[error("failed to make contender entry: the key is held by another session")]
    Contender,
    /// A request failed.
    #[error("{action}: {source}")]
    Request {
        /// What was tried.
        action: &'static str,
        /// What happened.
        source: Box<Error>,
    },
}

impl From<Unfit> for SemaphoreError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Conflict => SemaphoreError::Conflict,
            Unfit::Undecodable(reason) => SemaphoreError::Undecodable(reason),
        }
    }
}

fn request(action: &'static str) -> impl FnOnce(Error) -> SemaphoreError {
    move |source| SemaphoreError::Request { action, source: Box::new(source) }
}

/// A semaphore of which a slot can be acquired.
#[derive(Clone)]
pub struct Semaphore {
    client: Client,
    options: SemaphoreOptions,
}

impl Semaphore {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// [`SemaphoreError::MissingPrefix`], [`SemaphoreError::LimitNotPositive`].
    pub fn new(client: Client, options: SemaphoreOptions) -> Result<Self, SemaphoreError> {
        if options.prefix.is_empty() {
            return Err(SemaphoreError::MissingPrefix);
        }
        if options.limit <= 0 {
            return Err(SemaphoreError::LimitNotPositive);
        }
        Ok(Self { client, options })
    }

    /// Acquires a slot. `None` when `stop` completes first, or when there is one try and its
    /// time is over.
    ///
    /// Dropping the future gives up too, but leaves the session to end by its time; `stop` ends
    /// it at once.
    ///
    /// # Errors
    /// [`SemaphoreError`].
    pub async fn acquire(
        &self,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Slot>, SemaphoreError> {
        let options = &self.options;
        let create = SessionCreate {
            name: options.session_name.clone(),
            behavior: "delete".to_owned(),
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
            Ok(true) => {
                let monitor = self.clone().monitor(claim.session.clone());
                let watched = Watched::start(claim, monitor);
                Ok(Some(Slot { semaphore: self.clone(), watched }))
            }
            Ok(false) => {
                // The end of the session says the same.
                let _ = self.leave(&claim.session).await;
                claim.end().await;
                Ok(None)
            }
            Err(error) => {
                claim.end().await;
                Err(error)
            }
        }
    }

    /// Removes the coordination key of a semaphore whose slots nobody has.
    ///
    /// # Errors
    /// [`SemaphoreError`].
    pub async fn destroy(&self) -> Result<(), SemaphoreError> {
        let found = self.client.kv_list(&self.options.prefix, &QueryOptions::default()).await;
        let entries = found.map_err(request("failed to read prefix"))?.rows;
        let seen = self.see(&entries)?;
        if seen.modify_index == 0 {
            return Ok(());
        }
        if !seen.slots.holders.is_empty() {
            return Err(SemaphoreError::InUse);
        }
        let delete = KvDelete::Unchanged(self.key(), seen.modify_index);
        match self.client.kv_delete(&delete).await.map_err(request("failed to remove semaphore"))? {
            true => Ok(()),
            false => Err(SemaphoreError::InUse),
        }
    }

    async fn attempt(&self, session: &SessionId) -> Result<bool, SemaphoreError> {
        let SemaphoreOptions { wait_time, try_once, limit, .. } = self.options;
        let contender = KvPut {
            key: join(&self.options.prefix, session.as_str()),
            value: self.options.value.clone(),
            flags: SEMAPHORE_FLAGS,
            condition: KvCondition::Acquire(session.to_string()),
        };
        let made = self.client.kv_put(&contender).await;
        if !made.map_err(request("failed to make contender entry"))? {
            return Err(SemaphoreError::Contender);
        }
        let start = Instant::now();
        let mut index = Index::ZERO;
        let mut wait = wait_time;
        loop {
            let options = QueryOptions {
                wait_index: index,
                wait_time: GoDuration::from(wait),
                ..QueryOptions::default()
            };
            let found = self.client.kv_list(&self.options.prefix, &options).await;
            let found = found.map_err(request("failed to read prefix"))?;
            let seen = self.see(&found.rows)?;
            if seen.slots.limit != limit {
                let theirs = seen.slots.limit;
                return Err(SemaphoreError::LimitConflict { theirs, ours: limit });
            }
            if seen.has(session) {
                return Ok(true);
            }
            match seen.with(session) {
                Some(value) => {
                    if self.write(value, seen.modify_index).await? {
                        return Ok(true);
                    }
                    // Another contender was faster: look at once what it left.
                    index = Index::ZERO;
                }
                // An index that goes back belongs to a server that lost its state.
                None if found.meta.last_index < index => index = Index::ZERO,
                None => index = found.meta.last_index,
            }
            if try_once {
                match wait_time.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
                    Some(left) => wait = left,
                    None => return Ok(false),
                }
            }
        }
    }

    /// Gives the slot back and removes the contender's key.
    async fn leave(&self, session: &SessionId) -> Result<(), SemaphoreError> {
        let options = QueryOptions::default();
        loop {
            let found = self.client.kv_get(&self.key(), &options).await;
            let entry = found.map_err(request("failed to read lock"))?.rows;
            let seen = SlotsSeen::of_key(entry.as_ref(), self.options.limit)
                .map_err(SemaphoreError::from)?;
            if !seen.has(session) || self.write(seen.without(session), seen.modify_index).await? {
                break;
            }
        }
        let contender = KvDelete::Key(join(&self.options.prefix, session.as_str()));
        self.client
            .kv_delete(&contender)
            .await
            .map_err(request("failed to remove contender entry"))?;
        Ok(())
    }

    async fn monitor(self, session: SessionId) {
        let mut monitor = Monitor::new(self.options.monitor_retries);
        let mut step = monitor.read();
        loop {
            step = match step {
                MonitorStep::Read(index) => {
                    match self.client.kv_list(&self.options.prefix, &consistent(index)).await {
                        Ok(found) => {
                            let held = self.see(&found.rows).is_ok_and(|seen| seen.has(&session));
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

    fn see(&self, entries: &[types::kv::KvEntry]) -> Result<SlotsSeen, SemaphoreError> {
        SlotsSeen::of_prefix(entries, &self.options.prefix, self.options.limit)
            .map_err(SemaphoreError::from)
    }

    /// Writes the coordination key if it is still what was read.
    async fn write(&self, value: Vec<u8>, modify_index: u64) -> Result<bool, SemaphoreError> {
        let put = KvPut {
            key: self.key(),
            value: value.into(),
            flags: SEMAPHORE_FLAGS,
            condition: KvCondition::Unchanged(modify_index),
        };
        self.client.kv_put(&put).await.map_err(request("failed to update lock"))
    }

    fn key(&self) -> String {
        coordination_key(&self.options.prefix)
    }
}

/// A slot that was acquired. Dropping it leaves the slot to its session, which ends when it
/// is no longer renewed; [`Slot::release`] gives it back.
pub struct Slot {
    semaphore: Semaphore,
    watched: Watched,
}

impl Slot {
    /// The session that holds it.
    pub fn session(&self) -> &SessionId {
        &self.watched.claim.session
    }

    /// Waits until the slot is lost. It may have been lost already.
    pub async fn lost(&mut self) {
        self.watched.lost().await;
    }

    /// Whether the slot is held, as far as anybody can know.
    pub fn is_held(&self) -> bool {
        self.watched.is_held()
    }

    /// Gives the slot back and ends the session.
    ///
    /// # Errors
    /// [`SemaphoreError`]; the session is ended all the same, and with it the slot.
    pub async fn release(self) -> Result<(), SemaphoreError> {
        let left = self.semaphore.leave(&self.watched.claim.session).await;
        self.watched.end().await;
        left
    }
}
