//! `/v1/kv/` (`reference/http-api.md` 2.11).

use bytes::Bytes;
use types::json::Unknown;
use types::kv::KvEntry;

use crate::{Answer, Client, Error, QueryOptions, Request};

/// When a key is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KvCondition {
    /// Always.
    #[default]
    Always,
    /// If its `ModifyIndex` is this; 0 if it does not exist.
    Unchanged(u64),
    /// If this session can take its lock.
    Acquire(String),
    /// If this session holds its lock, which it then gives back.
    Release(String),
}

/// A value to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvPut {
    /// The key, without a slash at the start.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Opaque number of the client.
    pub flags: u64,
    /// When it is written.
    pub condition: KvCondition,
}

impl KvPut {
    /// Writes always, with flags 0.
    pub fn new(key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), value: value.into(), flags: 0, condition: KvCondition::Always }
    }
}

/// What is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvDelete {
    /// One key.
    Key(String),
    /// One key if its `ModifyIndex` is this.
    Unchanged(String, u64),
    /// All keys that begin so.
    Prefix(String),
}

impl Client {
    /// One key; `None` if it does not exist.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn kv_get(
        &self,
        key: &str,
        options: &QueryOptions,
    ) -> Result<Answer<Option<KvEntry>>, Error> {
        let found = self.kv_read::<Vec<KvEntry>>(Request::get(path(key)), options).await?;
        let rows = found.rows.unwrap_or_default().into_iter().next();
        Ok(Answer { rows, meta: found.meta })
    }

    /// All keys that begin with `prefix`, in order.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn kv_list(
        &self,
        prefix: &str,
        options: &QueryOptions,
    ) -> Result<Answer<Vec<KvEntry>>, Error> {
        let request = Request::get(path(prefix)).query("recurse", "");
        let found = self.kv_read(request, options).await?;
        Ok(Answer { rows: found.rows.unwrap_or_default(), meta: found.meta })
    }

    /// The names of all keys that begin with `prefix`, each cut behind the
    /// first `separator` that follows the prefix. An empty separator cuts nothing.
    ///
    /// # Errors
    /// Those of [`Client::read`].
    pub async fn kv_keys(
        &self,
        prefix: &str,
        separator: &str,
        options: &QueryOptions,
    ) -> Result<Answer<Vec<String>>, Error> {
        let request = Request::get(path(prefix)).query("keys", "");
        let request = request.query_unless_empty("separator", separator);
        let found = self.kv_read(request, options).await?;
        Ok(Answer { rows: found.rows.unwrap_or_default(), meta: found.meta })
    }

    /// Writes a key. Gives whether the condition held.
    ///
    /// # Errors
    /// [`Error::LeadingSlash`] and those of [`Client::call`].
    pub async fn kv_put(&self, put: &KvPut) -> Result<bool, Error> {
        if put.key.starts_with('/') {
            return Err(Error::LeadingSlash(put.key.clone()));
        }
        let mut request = Request::put(format!("/v1/kv/{}", put.key)).body(put.value.clone());
        if put.flags != 0 {
            request = request.query("flags", put.flags.to_string());
        }
        request = match &put.condition {
            KvCondition::Always => request,
            KvCondition::Unchanged(index) => request.query("cas", index.to_string()),
            KvCondition::Acquire(session) => request.query("acquire", session),
            KvCondition::Release(session) => request.query("release", session),
        };
        let answer = self.call(request).await?.bytes().await?;
        Ok(answer.trim_ascii() == b"true")
    }

    /// Deletes. Gives whether the condition held; a key that does not exist is
    /// deleted all the same.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub async fn kv_delete(&self, delete: &KvDelete) -> Result<bool, Error> {
        let request = match delete {
            KvDelete::Key(key) => Request::delete(path(key)),
            KvDelete::Unchanged(key, index) => {
                Request::delete(path(key)).query("cas", index.to_string())
            }
            KvDelete::Prefix(prefix) => Request::delete(path(prefix)).query("recurse", ""),
        };
        let answer = self.call(request).await?.bytes().await?;
        Ok(answer.trim_ascii() == b"true")
    }

    /// A read for which 404 means that there is nothing.
    async fn kv_read<T: serde::de::DeserializeOwned>(
        &self,
        request: Request,
        options: &QueryOptions,
    ) -> Result<Answer<Option<T>>, Error> {
        let response = self.send(request.options(options)).await?;
        let meta = response.meta();
        if response.status() == http::StatusCode::NOT_FOUND {
            // Reading to the end lets the connection serve the next request.
            response.bytes().await?;
            return Ok(Answer { rows: None, meta });
        }
        let body = response.success().await?.bytes().await?;
        Ok(Answer { rows: Some(types::json::decode(&body, Unknown::Ignore)?), meta })
    }
}

fn path(key: &str) -> String {
    format!("/v1/kv/{}", key.strip_prefix('/').unwrap_or(key))
}
