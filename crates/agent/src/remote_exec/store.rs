//! The KV store, as remote execution needs it.

use bytes::Bytes;
use contract::{CallError, Consistency, ReadOptions};
use domains::kv::{KvCommand, KvGet, KvOp};
use http_server::BoxFuture;
use types::kv::KvEntry;
use types::{Blob, Datacenter, SecretId, SessionId};

use crate::delegate::Delegate;

/// Where jobs, and what became of them, stand.
pub(crate) trait JobStore: Send + Sync + 'static {
    /// The value of a key, if it is there; asked of the leader if `consistent`.
    fn read(&self, key: &str, consistent: bool) -> BoxFuture<Result<Option<Bytes>, CallError>>;

    /// Writes a key and takes its lock for the session. False if another holds it.
    fn write(
        &self,
        key: &str,
        value: Bytes,
        session: &SessionId,
    ) -> BoxFuture<Result<bool, CallError>>;
}

/// The store of the agent's datacenter.
pub(crate) struct KvJobStore {
    delegate: Delegate,
    datacenter: Datacenter,
    /// The agent's own token.
    token: SecretId,
}

impl KvJobStore {
    /// The store of this datacenter, asked with this token.
    pub(crate) fn new(delegate: Delegate, datacenter: Datacenter, token: SecretId) -> Self {
        Self { delegate, datacenter, token }
    }
}

impl JobStore for KvJobStore {
    fn read(&self, key: &str, consistent: bool) -> BoxFuture<Result<Option<Bytes>, CallError>> {
        let consistency = if consistent { Consistency::Consistent } else { Consistency::Stale };
        let options = ReadOptions {
            datacenter: self.datacenter.clone(),
            token: self.token.clone(),
            consistency,
            ..ReadOptions::default()
        };
        let (delegate, query) = (self.delegate.clone(), KvGet { key: key.into() });
        Box::pin(async move {
            let (found, _) = delegate.read_typed(query, &options).await?;
            Ok(found.as_ref().as_ref().map(|entry| entry.value.0.clone()))
        })
    }

    fn write(
        &self,
        key: &str,
        value: Bytes,
        session: &SessionId,
    ) -> BoxFuture<Result<bool, CallError>> {
        let command = KvCommand {
            datacenter: self.datacenter.clone(),
            op: KvOp::Lock,
            entry: KvEntry {
                key: key.into(),
                value: Blob(value),
                session: session.clone(),
                ..KvEntry::default()
            },
        };
        let (delegate, token) = (self.delegate.clone(), self.token.clone());
        Box::pin(async move { delegate.write_typed(command, &token).await })
    }
}
